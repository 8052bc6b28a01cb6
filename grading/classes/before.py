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
from grading.marking.grade import Grade
from grading.outputs.grades_json import grade_of, grade_values

NAME = ".marked.jsonl"
NO_LINE = (ValueError, KeyError, TypeError, AttributeError, RecursionError)  # of one cut off, or another version's


class Line(NamedTuple):
    """A line of the file: what the grade was made of, the grade, and the text itself."""

    digest: str
    grade: Grade
    text: str


def line_of(digest: str, grade: Grade) -> str:
    """A grade as a line. Workers write it: it is what comes back from them, too."""
    return json.dumps({"digest": digest, "grade": grade_values(grade)}) + "\n"


def _parse(text: str) -> Line:
    values = json.loads(text)
    return Line(str(values["digest"]), grade_of(values["grade"]), text)


class Before:
    """The grades of before, by student, each with the digest of what it was made of; and the file that keeps them."""

    def __init__(self, out: Path, file: TextIO) -> None:
        self._out = out
        self._file = file
        self._known: dict[str, Line] = {}
        text = "\n"
        for text in file:
            with suppress(*NO_LINE):
                self._note(_parse(text))
        if not text.endswith("\n"):
            file.write("\n")  # one that was cut off stays alone

    def _note(self, line: Line) -> None:
        self._known[line.grade.student] = line

    def digest(self, student: str) -> str | None:
        """What the student's grade of before was made of; None if there is none, or what was written of it is gone."""
        known = self._known.get(student)
        return known.digest if known and is_written(self._out, student) else None

    def grade(self, student: str) -> Grade:
        """The grade of before."""
        return self._known[student].grade

    def keep(self, text: str) -> Grade:
        """Note a new grade, as `line_of` wrote it; the grade."""
        line = _parse(text)
        self._note(line)
        self._file.write(text)
        return line.grade

    def tidy(self, students: set[str]) -> None:
        """Leave each student's last line alone in the file, and none of those who aren't in the class any more."""
        self._file.seek(0)
        self._file.truncate()
        self._file.writelines(self._known[student].text for student in sorted(students & self._known.keys()))


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
