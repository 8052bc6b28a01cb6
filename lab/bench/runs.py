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
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from lab.record import PARTIAL

HERE = Path(__file__).parent.parent.parent
BUSY = "while True: pass"
REPEAT = 200
Progress = Callable[[str], None]


@dataclass(slots=True)
class Batch:
    """Runs of one kind: seconds each, the fingerprints and verdicts seen."""

    name: str
    backend: str
    seconds: list[float] = field(default_factory=list)
    exact: Counter[str] = field(default_factory=Counter)
    shapes: Counter[str] = field(default_factory=Counter)
    verdicts: Counter[str] = field(default_factory=Counter)

    def row(self) -> str:
        """A row of the Markdown table."""
        verdicts = ", ".join(f"{count} {verdict}" for verdict, count in sorted(self.verdicts.items()))
        return f"| {self.name} | {times(self.seconds)} | {len(self.exact)} | {len(self.shapes)} | {verdicts} |"


HEAD = (
    "| `invoke lab --backend {}`, whole process | runs | min s | median s | max s | exact | shapes | verdicts |\n"
    "| --- | --- | --- | --- | --- | --- | --- | --- |"
)


def times(seconds: list[float]) -> str:
    """How many, and their minimum, median and maximum, as cells of a table."""
    return f"{len(seconds)} | {min(seconds):.3f} | {statistics.median(seconds):.3f} | {max(seconds):.3f}"


def machine() -> str:
    """What the figures were measured on."""
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    model = next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "unknown CPU")
    kernel = os.uname().release.partition("-")[0]
    return f"{os.cpu_count()} × {model}, Linux {kernel}, Python {platform.python_version()}"


def bench(runs: int, repeat: int, progress: Progress) -> tuple[str, bool]:
    """Time `runs` warm runs of the netns backend, then do `repeat`, half of them with every core kept busy.

    A Markdown table, and whether every run passed with one exact fingerprint and left nothing behind.
    """
    before = traces()
    with tempfile.TemporaryDirectory() as folder:
        one_run(Path(folder), Batch("cold", "netns"))
        quick = batch_of("warm", "netns", runs, Path(folder), progress)
        quiet = batch_of("in a row, quiet", "netns", repeat - repeat // 2, Path(folder), progress)
        with busy_cores():
            loaded = batch_of("in a row, every core busy", "netns", repeat // 2, Path(folder), progress)
        partial = len(list(Path(folder).glob(f"{PARTIAL}*")))
    left = settled_difference(before) | {"partial folders": partial}
    batches = [batch for batch in (quick, quiet, loaded) if batch.seconds]
    good = all(batch.verdicts.keys() == {"pass"} for batch in batches) and not any(left.values())
    prints = {fingerprint for batch in batches for fingerprint in batch.exact}
    lines = [HEAD.format("netns"), *(batch.row() for batch in batches), ""]
    lines += [f"exact fingerprints in all: {len(prints)}", f"left behind: {listed(left)}"]
    return "\n".join(lines), good and len(prints) == 1


def listed(left: dict[str, int]) -> str:
    """What was left behind, in words."""
    return ", ".join(f"{count} {name}" for name, count in left.items())


def batch_of(name: str, backend: str, count: int, folder: Path, progress: Progress, at_once: int = 1) -> Batch:
    """`count` runs of the baseline, `at_once` of them at a time."""
    batch = Batch(name, backend)
    with ThreadPoolExecutor(at_once) as pool:
        started = [pool.submit(one_run, folder, batch) for _ in range(count)]
        for number, run in enumerate(started, 1):
            run.result()
            if number % 10 == 0 or number == count:
                progress(f"{backend}, {name}: {number} of {count}")
    return batch


def one_run(folder: Path, batch: Batch) -> None:
    """One whole process, timed; what it reported."""
    command = [sys.executable, "-m", "invoke", "lab", "--backend", batch.backend, "--json", "--runs", str(folder)]
    start = time.monotonic()
    done = subprocess.run(command, cwd=HERE, capture_output=True, check=False)
    batch.seconds.append(time.monotonic() - start)
    try:
        report = json.loads(done.stdout)
        batch.exact[report["fingerprint"]["exact"]] += 1
        batch.shapes[report["fingerprint"]["shape"]] += 1
        batch.verdicts[report["verdict"]] += 1
    except ValueError:
        batch.verdicts["no report"] += 1


@contextmanager
def busy_cores() -> Iterator[None]:
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


def settled_difference(before: dict[str, int], patience_s: float = 5.0) -> dict[str, int]:
    """How much more there is than `before`, once the kernel has had time to free what ended."""
    deadline = time.monotonic() + patience_s
    while True:
        now = traces()
        difference = {name: max(0, now[name] - count) for name, count in before.items()}
        if not any(difference.values()) or time.monotonic() > deadline:
            return difference
        time.sleep(0.05)
