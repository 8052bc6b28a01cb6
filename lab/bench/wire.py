"""How right the wire's delays are, and how much it carries in free order: whole runs, measured from their reports."""

import json
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent.parent.parent
DELAYS_MS = (1, 2, 5, 10, 20, 50, 100, 200)
TIMES = 5  # runs of each delay
WANTED_MS = 1.0  # a crossing may be that much late
DOWNLOAD = 100_000_000
DOWNLOADS = 2
WANTED_MBIT_S = 500
NAMES = '[names]\n"www.lab.test" = "192.0.2.80"\n'
DELAYED = NAMES + '[client]\ncurl = ["http://www.lab.test/"]\n[wire]\ndelay = "{delay}ms"\norder = "{order}"\n'
LARGE = (
    f"{NAMES}[server]\nbody = {DOWNLOAD}\n[client]\n"
    'curl = ["-o", "/dev/null", "http://www.lab.test/"]\n[wire]\norder = "free"\n'
)
Progress = Callable[[str], None]


def bench_wire(progress: Progress) -> tuple[str, bool]:
    """A Markdown table of both, and whether the figures were reached."""
    lines = ["| delay, one way | order | crossings | median late, ms | most late, ms |", f"|{' --- |' * 5}"]
    good = True
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for order in ("lock-step", "free"):
            for delay in DELAYS_MS:
                late = [_late_ms(folder, delay, order) for _ in range(TIMES)]
                good = good and all(0 <= one <= WANTED_MS for one in late)
                median, most = statistics.median(late), max(late)
                lines.append(f"| {delay} ms | {order} | {2 * len(late)} | {median:.3f} | {most:.3f} |")
            progress(f"wire: delays in {order} order measured")
        lines += ["", "| free order | frames | s | Mbit/s | frames lost |", f"|{' --- |' * 5}"]
        for _ in range(DOWNLOADS):
            row, as_well = _download(folder)
            lines.append(row)
            good = good and as_well
    return "\n".join(lines), good


def _run(folder: Path, scenario: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """One run of a scenario's text: its report and its `run.json`."""
    (folder / "bench.toml").write_text(scenario)
    runs = folder / "runs"
    words = ["lab", "--backend", "netns", "--scenario", str(folder / "bench.toml"), "--json", "--runs", str(runs)]
    subprocess.run([sys.executable, "-m", "invoke", *words], cwd=HERE, capture_output=True, check=False)
    (run,) = runs.iterdir()
    report, facts = (json.loads((run / name).read_text()) for name in ("report.json", "run.json"))
    for path in sorted(run.rglob("*"), reverse=True):
        path.unlink()
    run.rmdir()
    return report, facts


def _late_ms(folder: Path, delay_ms: int, order: str) -> float:
    """How much later than it should each of the two crossings from SYN to SYN,ACK was, on average."""
    report, _ = _run(folder, DELAYED.format(delay=delay_ms, order=order))
    syn, answer = (_seconds(one["time"]) for one in report["stories"][0]["segments"][:2])
    return (1000 * (answer - syn) - 2 * delay_ms) / 2


def _seconds(time: str) -> float:
    """A report's time, to the microsecond."""
    return datetime.fromisoformat(time[:26] + "+00:00").timestamp()


def _download(folder: Path) -> tuple[str, bool]:
    """A row on a large download: from the request to the last byte's ACK."""
    report, facts = _run(folder, LARGE)
    segments = report["stories"][0]["segments"]
    start = next(_seconds(one["time"]) for one in segments if one["len"])
    end = max(_seconds(one["time"]) for one in segments if one["from"] == "server" and one["len"])
    seconds = end - start
    rate = 8 * report["connections"][0]["bytes"]["server"] / seconds / 1e6
    lost = sum(facts["dropped_for_want_of_queue"].values()) + len(report["connections"][0]["events"])
    row = f"| 100 MB | {facts['frame_count']} | {seconds:.2f} | {rate:.0f} | {lost} |"
    whole = report["connections"][0]["bytes"]["server"] >= DOWNLOAD
    return row, whole and rate >= WANTED_MBIT_S and not lost and report["verdict"] == "pass"
