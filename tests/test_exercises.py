"""The ready exercises: each model solution and each typical mistake gets what a teacher would give."""

import re
import tomllib
from functools import cache
from pathlib import Path

import pytest

from grading.classes.before import marked_before
from grading.classes.marker import Marker
from grading.classes.run import mark_class
from grading.exercise.individual import read_key
from grading.exercise.load import load_exercise
from grading.handed_in.find import find_entries
from grading.marking.grade import Grade, total
from grading.outputs.student_page import student_page

EXERCISES = Path(__file__).parent.parent / "exercises"
NAMES = ("watch-one-fetch", "read-the-numbers")
EXPECTED = {name: tomllib.loads((EXERCISES / name / "expected.toml").read_text()) for name in NAMES}
CASES = [(name, student) for name, students in EXPECTED.items() for student in students]


@cache
def grades(name: str, out: Path) -> dict[str, Grade]:
    """The grades of an exercise's submissions, by student."""
    marker = Marker(load_exercise(EXERCISES / name / "exercise.toml"), read_key(EXERCISES / "example.key"), out)
    entries, _ = find_entries(EXERCISES / name / "submissions")
    with marked_before(out) as before:
        found = mark_class(marker, entries, 2, before, lambda _done, _again: None)
    return {grade.student: grade for grade in found}


@pytest.fixture(scope="module")
def out(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("grades")


@pytest.mark.parametrize(("name", "student"), CASES)
def test_a_submission_gets_what_a_teacher_would_give(name: str, student: str, out: Path) -> None:
    grade, expected = grades(name, out / name)[student], EXPECTED[name][student]
    assert (grade.points, grade.pending) == (expected["points"], expected.get("pending", 0))
    page = re.sub(r"\\(?=[^\w\s])", "", student_page(grade, load_exercise(EXERCISES / name / "exercise.toml")))
    for words in expected.get("says", []):
        assert words in page


@pytest.mark.parametrize("name", NAMES)
def test_an_exercise_has_a_model_and_five_mistakes_and_all_are_expected(name: str, out: Path) -> None:
    assert set(EXPECTED[name]) == set(grades(name, out / name))
    assert len(EXPECTED[name]) == 6
    full = total(item.points for item in load_exercise(EXERCISES / name / "exercise.toml").items)
    assert EXPECTED[name]["model"]["points"] == full
    assert all(one["points"] < full for student, one in EXPECTED[name].items() if student != "model")


def test_a_neighbours_capture_is_named_to_the_teacher_and_not_to_the_student(out: Path) -> None:
    grade = grades("watch-one-fetch", out / "watch-one-fetch")["neighbour"]
    assert "the capture is model's" in grade.flags
    assert "model" not in student_page(grade, load_exercise(EXERCISES / "watch-one-fetch" / "exercise.toml"))


def test_the_answers_that_are_asked_for_are_not_told(out: Path) -> None:
    exercise = load_exercise(EXERCISES / "read-the-numbers" / "exercise.toml")
    grade = grades("read-the-numbers", out / "read-the-numbers")["other-side"]
    right = next(check.result.expected for check in grade.checks if check.id == "client-isn")
    page = (out / "read-the-numbers" / "students" / "other-side" / "feedback.md").read_text()
    assert right.partition(" ")[0] not in page
    assert right in student_page(grade, exercise, for_teacher=True).replace("\\", "")
    assert "Ack=" not in page  # the ladder would tell the relative numbers
    assert not (out / "read-the-numbers" / "students" / "other-side" / "report.json").exists()
