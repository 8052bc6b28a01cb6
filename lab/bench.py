"""How fast a run is, and how alike runs are: whole processes, measured from outside."""

import json
import os
import platform
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from lab.record import PARTIAL

HERE = Path(__file__).parent.parent
BUSY = "while True: pass"


@dataclass(slots=True)
class Batch:
    """Runs of one kind: seconds each, the exact fingerprints and verdicts seen."""

    name: str
    seconds: list[float] = field(default_factory=list)
    fingerprints: Counter[str] = field(default_factory=Counter)
    verdicts: Counter[str] = field(default_factory=Counter)

    def row(self) -> str:
        """A row of the Markdown table."""
        low, middle, high = min(self.seconds), statistics.median(self.seconds), max(self.seconds)
        verdicts = ", ".join(f"{count} {verdict}" for verdict, count in sorted(self.verdicts.items()))
        runs, prints = len(self.seconds), len(self.fingerprints)
        return f"| {self.name} | {runs} | {low:.3f} | {middle:.3f} | {high:.3f} | {prints} | {verdicts} |"


HEAD = (
    "| `invoke lab`, whole process | runs | min s | median s | max s | exact fingerprints | verdicts |\n"
    "| --- | --- | --- | --- | --- | --- | --- |"
)


def machine() -> str:
    """What the figures were measured on."""
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    model = next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "unknown CPU")
    kernel = os.uname().release.partition("-")[0]
    return f"{os.cpu_count()} × {model}, Linux {kernel}, Python {platform.python_version()}"


def bench(runs: int, repeat: int, progress: Callable[[str], None]) -> tuple[str, bool]:
    """Time `runs` warm runs, then do `repeat`, half of them with every core kept busy.

    A Markdown table, and whether every run passed with one exact fingerprint and left nothing behind.
    """
    before = traces()
    with tempfile.TemporaryDirectory() as folder:
        _one(Path(folder), Batch("cold"))
        quick = _batch("warm", runs, Path(folder), progress)
        quiet = _batch("in a row, quiet", repeat - repeat // 2, Path(folder), progress)
        with _busy_cores():
            loaded = _batch("in a row, every core busy", repeat // 2, Path(folder), progress)
        partial = len(list(Path(folder).glob(f"{PARTIAL}*")))
    left = _settled_difference(before)
    left["partial folders"] = partial
    batches = [batch for batch in (quick, quiet, loaded) if batch.seconds]
    prints = {fingerprint for batch in batches for fingerprint in batch.fingerprints}
    verdicts = {verdict for batch in batches for verdict in batch.verdicts}
    leftovers = ", ".join(f"{count} {name}" for name, count in left.items())
    lines = [machine(), "", HEAD, *(batch.row() for batch in batches), ""]
    lines += [f"exact fingerprints in all: {len(prints)}", f"left behind: {leftovers}"]
    good = len(prints) == 1 and verdicts == {"pass"} and not any(left.values())
    return "\n".join(lines), good


def _batch(name: str, count: int, folder: Path, progress: Callable[[str], None]) -> Batch:
    batch = Batch(name)
    for number in range(1, count + 1):
        _one(folder, batch)
        if number % 10 == 0 or number == count:
            progress(f"{name}: {number} of {count}")
    return batch


def _one(folder: Path, batch: Batch) -> None:
    """One whole process, timed; what it reported."""
    command = [sys.executable, "-m", "invoke", "lab", "--json", "--runs", str(folder)]
    start = time.monotonic()
    done = subprocess.run(command, cwd=HERE, capture_output=True, check=False)
    batch.seconds.append(time.monotonic() - start)
    try:
        report = json.loads(done.stdout)
        batch.fingerprints[report["fingerprint"]["exact"]] += 1
        batch.verdicts[report["verdict"]] += 1
    except ValueError:
        batch.verdicts["no report"] += 1


@contextmanager
def _busy_cores() -> Iterator[None]:
    """A process a core that computes without end."""
    busy = [subprocess.Popen([sys.executable, "-c", BUSY]) for _ in range(os.cpu_count() or 1)]
    try:
        yield
    finally:
        for process in busy:
            process.send_signal(signal.SIGKILL)
            process.wait()


def traces(mark: str = "invoke\0lab") -> dict[str, int]:
    """What labs could leave: processes with `mark` in their command line, their namespaces, interfaces, mounts."""
    processes, namespaces = 0, set[str]()
    for path in Path("/proc").glob("[0-9]*"):
        try:
            if mark.encode() in (path / "cmdline").read_bytes():
                processes += 1
                namespaces.add(str((path / "ns" / "net").readlink()))
        except OSError:
            continue
    return {
        "processes": processes,
        "network namespaces": len(namespaces),
        "interfaces": len(Path("/proc/net/dev").read_text().splitlines()),
        "mounts": len(Path("/proc/self/mountinfo").read_text().splitlines()),
    }


def _settled_difference(before: dict[str, int], patience_s: float = 5.0) -> dict[str, int]:
    """How much more there is than `before`, once the kernel has had time to free what ended."""
    deadline = time.monotonic() + patience_s
    while True:
        now = traces()
        difference = {name: max(0, now[name] - count) for name, count in before.items()}
        if not any(difference.values()) or time.monotonic() > deadline:
            return difference
        time.sleep(0.05)
