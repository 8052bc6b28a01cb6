"""How many students a second: whole runs of `invoke grade`, measured from outside, with all outputs written."""

import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from grading.bench.fetch import FRAMES, fetch
from grading.exercise.individual import derive, read_key
from grading.exercise.load import load_exercise
from lab.bench.analysis import peak_bytes
from lab.bench.runs import HERE, times

EXERCISE = HERE / "exercises" / "watch-one-fetch" / "exercise.toml"
STUDENTS, ROUNDS = 1_000, 5
WANTED_S, WANTED_A_SECOND = 10.0, 300
HEAD = (
    "| `invoke grade`, whole process | runs | min s | median s | max s | students/s |\n"
    "| --- | --- | --- | --- | --- | --- |"
)
Progress = Callable[[str], None]


def bench_grading(students: int, tell: Progress) -> tuple[str, bool]:
    """A table of times, of as many students and of a quarter; and whether it is fast enough, if it is a whole class."""
    with tempfile.TemporaryDirectory() as folder:
        base = Path(folder)
        key = base / "course.key"
        key.write_text("a key for measurements alone, known to everybody\n")
        few = _class(base / "few", students // 4, key)
        many = _class(base / "many", students, key)
        rows: list[str] = []
        seconds = [_timed(many, key, base, tell) for _ in range(ROUNDS)]
        rows.append(_row(f"{students} students, {FRAMES} frames each", seconds, students))
        _timed(many, key, base, tell, keep=True)
        again = [_timed(many, key, base, tell, keep=True) for _ in range(ROUNDS)]
        rows.append(_row("the same once more, nothing new", again, students))
        small = [_timed(few, key, base, tell) for _ in range(ROUNDS)]
        rows.append(_row(f"{students // 4} students", small, students // 4))
        peaks = [peak_bytes(_command(one, key, base / f"peak-{one.name}")) for one in (few, many)]
    middle = statistics.median(seconds)
    rate = students / middle
    figures = [
        "",
        "| figure | wanted | measured |",
        "| --- | --- | --- |",
        f"| {students} submissions, all outputs | under {WANTED_S:g} s | {middle:.2f} s |",
        f"| students a second | {WANTED_A_SECOND} | {rate:.0f} |",
        f"| peak memory, {students // 4} and {students} students | flat | {peaks[0] >> 20} MB, {peaks[1] >> 20} MB |",
    ]
    return "\n".join((HEAD, *rows, *figures)), students < STUDENTS or middle < WANTED_S * students / STUDENTS


def _class(folder: Path, students: int, key: Path) -> Path:
    """A folder of submissions, each student's own."""
    exercise, secret = load_exercise(EXERCISE), read_key(key)
    folder.mkdir()
    for number in range(students):
        student = f"student{number:05}"
        own = derive(secret, exercise.id, exercise.edition, student)
        (folder / student).mkdir()
        (folder / student / "capture.pcap").write_bytes(fetch(own, number))
    return folder


def _command(submissions: Path, key: Path, out: Path) -> list[str]:
    options = ["--submissions", str(submissions), "--exercise", str(EXERCISE), "--key", str(key), "--out", str(out)]
    return [sys.executable, "-m", "invoke", "grade", *options]


def _timed(submissions: Path, key: Path, base: Path, tell: Progress, *, keep: bool = False) -> float:
    """Seconds of one run, to a new folder unless `keep`: to one that was just emptied the disk would be slower."""
    out = base / "kept" if keep else Path(tempfile.mkdtemp(dir=base)) / "out"
    quiet = {**os.environ, "GITHUB_ACTIONS": ""}
    start = time.perf_counter()
    subprocess.run(_command(submissions, key, out), cwd=HERE, check=True, capture_output=True, env=quiet)
    seconds = time.perf_counter() - start
    tell(f"{submissions.name}: {seconds:.2f} s")
    return seconds


def _row(name: str, seconds: list[float], students: int) -> str:
    return f"| {name} | {times(seconds)} | {students / statistics.median(seconds):.0f} |"
