"""The folder of a class's results: what is whose, and what was marked before.

class.md class.csv grades.json junit.xml summary.md     for the teacher
students/ID/feedback.md junit.xml report.json           may be given to the student
teacher/ID.md                                           the student's page with all checks and right answers
gradescope/ID/results.json                              hidden checks included: Gradescope keeps them to itself
.marked/ID.json                                         what was marked, so that it isn't marked again
"""

import hashlib
import json
import os
import re
from pathlib import Path
from typing import NamedTuple

from analysis.errors import InputError
from grading.exercise.model import Exercise
from grading.marking.grade import Grade
from grading.marking.mark import Marked
from grading.outputs.grades_json import grade_of, grade_values
from grading.outputs.gradescope import gradescope
from grading.outputs.junit import junit
from grading.outputs.report import report_json
from grading.outputs.student_page import student_page

SAFE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@+-]{0,59}(?<!\.)")
DEVICES = re.compile(r"(?:con|prn|aux|nul|com\d|lpt\d)(?:\..*)?", re.IGNORECASE)  # no file names on Windows


class Known(NamedTuple):
    """A grade of before, and what it was made of."""

    digest: str
    grade: Grade


def safe_name(student: str) -> str:
    """A name for files about the student: the id where that is harmless, else what is, and a part of its hash."""
    if SAFE.fullmatch(student) and not DEVICES.fullmatch(student):
        return student
    rest = re.sub(r"[^A-Za-z0-9]+", "-", student).strip("-")[:40] or "student"
    return f"{rest}-{hashlib.sha256(student.encode('utf-8', 'surrogatepass')).hexdigest()[:12]}"


def write(path: Path, text: str) -> None:
    """Write a file whole, or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        partial.write_text(text, encoding="utf-8", errors="replace", newline="")
        partial.replace(path)
    except OSError:
        partial.unlink(missing_ok=True)
        raise


def unwritable(folder: Path, error: OSError) -> InputError:
    return InputError(f"{folder}: can't be written: {error.strerror}", "name another folder: --out FOLDER")


def files_of(out: Path, student: str, *, has_report: bool) -> dict[str, Path]:
    """Every file about one student, by what it is."""
    name = safe_name(student)
    own = out / "students" / name
    files = {
        "feedback": own / "feedback.md",
        "junit": own / "junit.xml",
        "teacher": out / "teacher" / f"{name}.md",
        "gradescope": out / "gradescope" / name / "results.json",
    }
    return {**files, "report": own / "report.json"} if has_report else files


def write_student(out: Path, marked: Marked, exercise: Exercise, digest: str) -> None:
    """All that is written about one student; last, that it was.

    The analysis's own report goes to the student where the work is a capture; where it is answers, to the teacher.
    """
    grade = marked.grade
    files = files_of(out, grade.student, has_report=True)
    if exercise.kind == "answers" and not exercise.reveal:
        files["report"] = out / "teacher" / f"{safe_name(grade.student)}.report.json"
    write(files["feedback"], student_page(grade, exercise))
    write(files["junit"], junit([grade], exercise))
    write(files["teacher"], student_page(grade, exercise, for_teacher=True))
    write(files["gradescope"], gradescope(grade, exercise))
    report = report_json(marked, exercise)
    if report is None:
        files["report"].unlink(missing_ok=True)
    else:
        write(files["report"], report)
    write(_known_path(out, grade.student), json.dumps({"digest": digest, "grade": grade_values(grade)}))


def _known_path(out: Path, student: str) -> Path:
    return out / ".marked" / f"{safe_name(student)}.json"


def read_known(out: Path, student: str) -> Known | None:
    """The student's grade of before, if it is there with all that was written of it."""
    try:
        values = json.loads(_known_path(out, student).read_text(encoding="utf-8"))
        known = Known(values["digest"], grade_of(values["grade"]))
    except (OSError, ValueError, KeyError, TypeError):
        return None
    there = all(path.exists() for path in files_of(out, student, has_report=False).values())
    return known if there and known.grade.student == student else None
