"""How fast a run on Docker is beside the same compose file by hand, and how alike runs are, one or four at a time."""

import os
import statistics
import subprocess
import tempfile
import time
from pathlib import Path

from lab.bench.runs import HEAD, Batch, Progress, batch_of, listed, one_run, settled_difference, times, traces
from lab.containers.compose import FOLDER
from lab.containers.engine import Engine
from lab.containers.image import image_tag
from lab.containers.leftovers import find_leftovers
from lab.errors import BackendError

AT_ONCE = 4
BY_HAND = (
    ("up", "--detach", "--no-build", "--pull", "never"),
    ("exec", "--no-TTY", "client", "curl", "--silent", "http://www.lab.test/"),
    ("down", "--timeout", "0"),
)
PAIR_HEAD = "| in pairs, one after the other | runs | min s | median s | max s |\n| --- | --- | --- | --- | --- |"


def bench_docker(pairs: int, repeat: int, progress: Progress) -> tuple[str, bool]:
    """Time `pairs` of a run and of its three compose commands by hand; then `repeat` runs in a row, and four at a time.

    Markdown tables, and whether every run passed with one shape and left nothing behind.
    """
    engine = Engine()
    before = traces() | {"containers and networks": len(find_leftovers(engine))}
    with tempfile.TemporaryDirectory() as folder:
        ours, by_hand = _pairs(pairs, Path(folder), progress)
        row = batch_of("in a row", "docker", repeat, Path(folder), progress)
        together = batch_of(f"{AT_ONCE} at a time", "docker", repeat, Path(folder), progress, AT_ONCE)
    left = settled_difference({name: count for name, count in before.items() if name != "containers and networks"})
    left["containers and networks"] = len(find_leftovers(engine)) - before["containers and networks"]
    batches = [batch for batch in (ours, row, together) if batch.seconds]
    ratios = [run / hand for run, hand in zip(ours.seconds, by_hand, strict=True)]
    shapes = {shape for batch in batches for shape in batch.shapes}
    lines = [PAIR_HEAD]
    lines += [f"| `docker compose up -d`, `exec client curl`, `down -t 0` | {times(by_hand)} |"]
    lines += [f"| `invoke lab --backend docker` | {times(ours.seconds)} |", ""]
    lines += [
        f"ratio, pair by pair: median {statistics.median(ratios):.2f}, {min(ratios):.2f} to {max(ratios):.2f}",
        "",
    ]
    lines += [HEAD.format("docker"), *(batch.row() for batch in batches), ""]
    lines += [f"shapes in all: {len(shapes)}", f"left behind: {listed(left)}"]
    good = all(batch.verdicts.keys() == {"pass"} for batch in batches) and not any(left.values())
    return "\n".join(lines), good and len(shapes) == 1


def _pairs(count: int, folder: Path, progress: Progress) -> tuple[Batch, list[float]]:
    """Runs, and the seconds of as many fetches by hand, in turn; one of each first that doesn't count."""
    ours, by_hand = Batch("in pairs", "docker"), list[float]()
    for number in range(count + 1):
        counted = ours if number else Batch("cold", "docker")
        one_run(folder, counted)
        seconds = _fetch_by_hand()
        by_hand += [seconds] if number else []
    progress(f"docker, in pairs with compose by hand: {count}")
    return ours, by_hand


def _fetch_by_hand() -> float:
    """Seconds that the three commands take."""
    environment = {**os.environ, "LAB_IMAGE": image_tag()}
    command = ["docker", "compose", "--file", str(FOLDER / "compose.yaml"), "--project-name", "handshake-lab-by-hand"]
    start = time.monotonic()
    for words in BY_HAND:
        done = subprocess.run([*command, *words], env=environment, capture_output=True, text=True, check=False)
        if done.returncode:
            raise BackendError(
                f"docker compose {words[0]} failed by hand: {done.stderr.strip()[-200:]}", "mend that first"
            )
    return time.monotonic() - start
