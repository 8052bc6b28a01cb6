"""What was marked before: a line of JSON a student, written as they come; so a run goes on where one ended."""

import fcntl
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import NamedTuple, TextIO

from analysis.errors import InputError
from grading.classes.folder import is_written
from grading.exercise.model import Exercise
from grading.handed_in.candidate import MARKED
from grading.marking.grade import Grade
from grading.outputs.grades_json import grade_of, grade_values

NO_LINE = (ValueError, KeyError, TypeError, AttributeError, RecursionError)  # of one cut off, or another version's


class Known(NamedTuple):
    """A grade of before, and the digest of what it was made of."""

    digest: str
    grade: Grade


def line_of(digest: str, grade: Grade) -> str:
    """A grade as a line. Workers write it: it is what comes back from them, too."""
    return json.dumps({"digest": digest, "grade": grade_values(grade)}) + "\n"


def _parse(line: str) -> Known:
    values = json.loads(line)
    return Known(str(values["digest"]), grade_of(values["grade"]))


class Before:
    """The grades of before, by student; and the file that keeps them."""

    def __init__(self, out: Path, file: TextIO) -> None:
        self._out = out
        self._file = file
        self._known: dict[str, Known] = {}
        self._lines = 0
        line = "\n"
        for line in file:
            self._lines += 1
            with suppress(*NO_LINE):
                self._note(_parse(line))
        if not line.endswith("\n"):
            file.write("\n")  # one that was cut off stays alone

    def _note(self, known: Known) -> Grade:
        self._known[known.grade.student] = known
        return known.grade

    def digest(self, student: str, exercise: Exercise) -> str | None:
        """What the student's grade of before was made of; None if there is none, or what was written of it is gone."""
        known = self._known.get(student)
        return known.digest if known and is_written(self._out, known.grade, exercise) else None

    def grade(self, student: str) -> Grade:
        """The grade of before."""
        return self._known[student].grade

    def keep(self, line: str) -> Grade:
        """Note a new grade, as `line_of` wrote it; the grade."""
        self._lines += 1
        self._file.write(line)
        return self._note(_parse(line))

    def tidy(self, students: set[str]) -> None:
        """Leave each student's last line alone in the file, and none of those who aren't in the class any more."""
        left = sorted(students & self._known.keys())
        if self._lines == len(left) == len(self._known):
            return
        self._file.seek(0)
        self._file.truncate()
        self._file.writelines(line_of(*self._known[student]) for student in left)


@contextmanager
def marked_before(out: Path) -> Iterator[Before]:
    """The grades of before in `out`, for as long as the block; `InputError` if another run is marking to there."""
    out.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(out / MARKED, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
    with open(descriptor, "r+", encoding="utf-8", errors="replace") as file:  # noqa: PTH123
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            fix = "let it end, or name another folder: --out FOLDER"
            raise InputError(f"{out}: another run is marking to there", fix) from None
        yield Before(out, file)
