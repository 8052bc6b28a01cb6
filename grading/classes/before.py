"""What was marked before: a line of JSON a student, written as they come; so a run goes on where one ended."""

import fcntl
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO

from analysis.errors import InputError
from grading.classes.folder import is_written
from grading.marking.grade import Grade
from grading.outputs.grades_json import grade_of, grade_values

NAME = ".marked.jsonl"


class Before:
    """The grades of before, by student, each with the digest of what it was made of; and the file that keeps them."""

    def __init__(self, out: Path, file: TextIO) -> None:
        self._out = out
        self._file = file
        self._known: dict[str, tuple[str, Grade]] = {}
        line = "\n"
        for line in file:
            self._read(line)
        if not line.endswith("\n"):
            file.write("\n")  # one that was cut off stays alone

    def _read(self, line: str) -> None:
        try:
            values = json.loads(line)
            grade = grade_of(values["grade"])
            self._known[grade.student] = (str(values["digest"]), grade)
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
            return  # a line that was cut off, or another version's

    def digest(self, student: str) -> str | None:
        """What the student's grade of before was made of; None if there is none, or what was written of it is gone."""
        known = self._known.get(student)
        return known[0] if known and is_written(self._out, student) else None

    def grade(self, student: str) -> Grade:
        """The grade of before."""
        return self._known[student][1]

    def keep(self, digest: str, grade: Grade) -> None:
        """Note a new grade."""
        self._known[grade.student] = (digest, grade)
        self._file.write(_line(digest, grade))
        self._file.flush()

    def tidy(self, students: set[str]) -> None:
        """Leave each student's last line alone in the file, and none of those who aren't in the class any more."""
        self._file.seek(0)
        self._file.truncate()
        self._file.writelines(_line(*self._known[student]) for student in sorted(students & self._known.keys()))


def _line(digest: str, grade: Grade) -> str:
    return json.dumps({"digest": digest, "grade": grade_values(grade)}) + "\n"


@contextmanager
def marked_before(out: Path) -> Iterator[Before]:
    """The grades of before in `out`, for as long as the block; `InputError` if another run is marking to there."""
    out.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(out / NAME, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
    with open(descriptor, "r+", encoding="utf-8", errors="replace") as file:  # noqa: PTH123
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            fix = "let it end, or name another folder: --out FOLDER"
            raise InputError(f"{out}: another run is marking to there", fix) from None
        yield Before(out, file)
