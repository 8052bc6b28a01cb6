"""The folder of a class's results: what is whose.

| file | holds |
| --- | --- |
| class.md, class.csv, grades.json, junit.xml, summary.md | the whole class, for the teacher |
| students/ID/feedback.md, report.json | what may be given to the student |
| teacher/ID.md | the student's page with all checks and right answers |
| gradescope/ID.json | a results.json: Gradescope keeps what is hidden to itself |
| .marked.jsonl | what was marked, so that it isn't marked again |
"""

from pathlib import Path

from grading.exercise.model import Exercise
from grading.files import partial_of, safe_name, write
from grading.marking.grade import Grade
from grading.marking.ladder import ladder
from grading.marking.mark import Marked
from grading.outputs.gradescope import gradescope
from grading.outputs.report import report_json
from grading.outputs.student_page import student_page


def files_of(out: Path, student: str) -> dict[str, Path]:
    """Every file about one student that is always written, by what it is."""
    name = safe_name(student)
    return {
        "feedback": out / "students" / name / "feedback.md",
        "teacher": out / "teacher" / f"{name}.md",
        "gradescope": out / "gradescope" / f"{name}.json",
    }


def report_path(out: Path, student: str, exercise: Exercise) -> Path:
    """Where the analysis's own report goes: to the student, unless it has the answers that are asked for."""
    name = safe_name(student)
    return out / "teacher" / f"{name}.report.json" if exercise.is_asking else out / "students" / name / "report.json"


def write_student(out: Path, marked: Marked, exercise: Exercise) -> None:
    """All that is written about one student."""
    grade = marked.grade
    files, rows = files_of(out, grade.student), ladder(marked.report)
    write(files["feedback"], student_page(grade, exercise, rows))
    write(files["teacher"], student_page(grade, exercise, rows, for_teacher=True))
    write(files["gradescope"], gradescope(grade, exercise))
    report, path = report_json(marked, exercise), report_path(out, grade.student, exercise)
    if report is not None:
        write(path, report)
    else:
        for old in (path, partial_of(path)):  # of what was handed in before
            old.unlink(missing_ok=True)


def is_written(out: Path, grade: Grade, exercise: Exercise) -> bool:
    """Whether all that was written about the student is still there."""
    paths = [*files_of(out, grade.student).values()]
    if not any(check.id in ("capture", "grader", "limits") for check in grade.checks):
        paths.append(report_path(out, grade.student, exercise))
    try:
        return all(path.stat().st_size for path in paths)
    except OSError:
        return False
