"""What each reader is shown of a check: a student less than the teacher."""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from analysis.text import listed
from grading.exercise.model import GATES
from grading.marking.grade import HAND_IN_AGAIN, Grade, Scored, points_text, total

MARKS = {"pass": "✓", "fail": "✗", "skip": "–", "inconclusive": "?"}


class Shown(NamedTuple):
    """A check as text: what it is worth and what was earned, then label and text of each line about it."""

    check: Scored
    mark: str
    points: str
    lines: tuple[tuple[str, str], ...]
    details: tuple[str, ...]


def shown(grade: Grade, *, for_teacher: bool = False) -> tuple[Shown, ...]:
    """The checks that the reader may see."""
    checks = grade.checks if for_teacher else grade.visible
    return tuple(shown_check(check, for_teacher=for_teacher) for check in checks)


def shown_check(check: Scored, *, for_teacher: bool) -> Shown:
    """A check as the reader sees it: right answers are for the teacher."""
    return Shown(
        check,
        MARKS[check.status],
        _points(check),
        tuple(_lines(check, for_teacher=for_teacher)),
        check.result.details if check.status != "pass" else (),
    )


def _points(check: Scored) -> str:
    if check.is_gate:
        return ""
    pending = f", {points_text(check.pending)} pending" if check.pending else ""
    return f"{points_text(check.points)} of {points_text(check.max_points)}{pending}"


def _lines(check: Scored, *, for_teacher: bool) -> Iterator[tuple[str, str]]:
    result = check.result
    is_secret = result.is_secret and not for_teacher and check.status != "pass"
    if result.expected and not is_secret and check.status != "pass":
        yield "expected", result.expected
    frames = f" [{'frame' if len(result.frames) == 1 else 'frames'} {listed(result.frames)}]" if result.frames else ""
    if result.found:
        yield "found", result.found + ("" if is_secret else frames)
    if check.status == "pass" or check.is_consequence:
        return
    for hint in dict.fromkeys(filter(None, (result.hint, check.hint))):
        yield "hint", hint
    if check.status == "inconclusive":
        yield "pending", HAND_IN_AGAIN
    if result.reference:
        yield "source", result.reference


def missed(grade: Grade) -> list[str]:
    """What was not passed, a word each; those that follow from others are counted."""
    words = [f"{MARKS[check.status]} {check.id}" for check in grade.causes]
    rest = sum(check.is_consequence for check in grade.checks)
    return words + ([f"{rest} that depend on it" if rest > 1 else "1 that depends on it"] if rest else [])


def gate_ids(grades: Sequence[Grade]) -> list[str]:
    """The checks before the rubric that somebody met, in their order."""
    found = {check.id for grade in grades for check in grade.checks if check.is_gate}
    return [name for name in GATES if name in found]


def score_text(grade: Grade, *, for_teacher: bool = False) -> str:
    """`7 of 12 points, 3 pending`: for a student those of the visible checks."""
    if for_teacher:
        pending = f", {points_text(grade.pending)} pending" if grade.pending else ""
        return f"{points_text(grade.points)} of {points_text(grade.max_points)} points{pending}"
    checks = [check for check in grade.visible if not check.is_gate]
    worth = total(check.max_points for check in checks)
    pending_points = total(check.pending for check in checks)
    pending = f", {points_text(pending_points)} pending" if pending_points else ""
    return f"{points_text(total(check.points for check in checks))} of {points_text(worth)} points{pending}"
