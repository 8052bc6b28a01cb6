"""Hand something in and have it marked: as a file of one student's, or as a class by the command."""

import subprocess
from pathlib import Path

from grading.exercise.load import load_exercise
from grading.handed_in.find import Entry
from grading.handed_in.read import read_submission
from grading.marking.grade import Grade
from grading.marking.mark import mark
from tests import hostile_exercises
from tests.conftest import HERE
from tests.craft import fetch, pcap
from tests.test_lab import INVOKE

WHOLE = pcap(fetch())
TEXTS = {"capture": hostile_exercises.CAPTURE, "answers": hostile_exercises.ANSWERS}


def exercise_file(folder: Path, kind: str) -> Path:
    path = folder / f"{kind}.toml"
    path.write_text(TEXTS[kind])
    return path


def grade(submissions: Path, exercise: Path, out: Path, *options: str) -> subprocess.CompletedProcess[str]:
    """Run `invoke grade` on a class."""
    folders = ["--submissions", str(submissions), "--exercise", str(exercise), "--out", str(out)]
    command = [*INVOKE, "grade", *folders, *options]
    return subprocess.run(command, cwd=HERE, capture_output=True, text=True, timeout=120)


def graded(path: Path, kind: str = "capture") -> Grade:
    """The grade of what one student handed in at `path`."""
    exercise = load_exercise(exercise_file(path.parent, kind))
    if path.is_dir():
        entry = Entry("alice", folders=(path,))
    else:
        entry = Entry("alice", zips=(path,)) if path.suffix == ".zip" else Entry("alice", files=(path,))
    return mark(exercise, read_submission(entry, exercise)).grade


def said(one: Grade, gate: str) -> tuple[str, str, str]:
    """The status of a gate; all that is said of it and around it; the next step."""
    check = next(check for check in one.checks if check.id == gate)
    return check.status, " ".join((*one.notes, check.result.found)), check.result.hint


def folder_of(path: Path, **files: bytes) -> None:
    path.mkdir()
    for name, data in files.items():
        (path / name.replace("__", ".")).write_bytes(data)
