"""What is written of a whole class."""

from collections.abc import Sequence
from pathlib import Path

from grading.classes.folder import files_of
from grading.exercise.model import Exercise
from grading.files import write
from grading.marking.grade import Grade
from grading.outputs.class_csv import class_csv
from grading.outputs.class_page import class_page
from grading.outputs.github import job_summary
from grading.outputs.grades_json import grades_json
from grading.outputs.junit import junit


def write_class(out: Path, grades: Sequence[Grade], exercise: Exercise, notes: Sequence[str], *, single: bool) -> None:
    """The class's page, table, JSON and XML; and the summary for CI, the student's own where it is a single one."""
    page = class_page(grades, exercise, notes)
    write(out / "class.md", page)
    write(out / "class.csv", class_csv(grades, exercise))
    write(out / "grades.json", grades_json(grades, exercise))
    write(out / "junit.xml", junit(grades, exercise, for_teacher=not single))
    own = files_of(out, grades[0].student)["feedback"].read_text(encoding="utf-8") if single else page
    write(out / "summary.md", job_summary(own))
