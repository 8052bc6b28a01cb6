"""What marking gives: a result for each check, and the grade of one student."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal, NamedTuple

from analysis.text import plural
from grading.exercise.model import Points, Visibility

Status = Literal["pass", "fail", "skip", "inconclusive"]
STATUSES: tuple[Status, ...] = ("pass", "fail", "skip", "inconclusive")
WHOLE = "capture from before the fetch until after its close"
HAND_IN_AGAIN = "hand in again"


@dataclass(frozen=True, slots=True)
class Result:
    """What a check found. `share`: the part of the points that is earned all the same, from 0 to 1.

    `slip`: what kind of mistake it looks like, one of `grading.marking.slips`'; `details`: lines that show it. With
    `is_secret`, what was expected is the right answer, and for the teacher alone.
    """

    status: Status
    expected: str
    found: str
    frames: tuple[int, ...] = ()
    hint: str = ""
    details: tuple[str, ...] = ()
    reference: str = ""
    slip: str = ""
    share: float = 0.0
    is_secret: bool = False


@dataclass(frozen=True, slots=True)
class Scored:
    """A check of the rubric, or one that comes before it (of 0 points), with its result and points.

    `hint`: the teacher's own, beside that of the result.
    """

    id: str
    title: str
    result: Result
    points: Points
    max_points: Points
    visibility: Visibility = "visible"
    is_gate: bool = False
    hint: str = ""

    @property
    def status(self) -> Status:
        return self.result.status

    @property
    def is_consequence(self) -> bool:
        """Whether it wasn't looked at because of another check: then that is the one to speak of."""
        return self.status in ("skip", "inconclusive") and not self.result.expected

    @property
    def pending(self) -> Points:
        """Points that the student may still earn by handing in again."""
        return self.max_points if self.status == "inconclusive" else 0


class FileRead(NamedTuple):
    """A file that was marked: its name, bytes, and sha256 in hex."""

    name: str
    size: int
    sha256: str


@dataclass(frozen=True, slots=True)
class Grade:
    """One student's grade. `notes` are for the student, `flags` for the teacher alone.

    `seen`: names and targets of the capture, by which it is known whose it is. `hidden`: checks and points that this
    copy of the exercise doesn't have.
    """

    student: str
    exercise: str
    edition: str
    checks: tuple[Scored, ...]
    files: tuple[FileRead, ...] = ()
    notes: tuple[str, ...] = ()
    flags: tuple[str, ...] = ()
    seen: tuple[str, ...] = ()
    hidden: tuple[int, Points] = (0, 0)

    @property
    def items(self) -> tuple[Scored, ...]:
        """The checks of the rubric."""
        return tuple(check for check in self.checks if not check.is_gate)

    @property
    def visible(self) -> tuple[Scored, ...]:
        """What a student may see at once; what comes before the rubric is among it."""
        return tuple(check for check in self.checks if check.visibility == "visible")

    @property
    def causes(self) -> tuple[Scored, ...]:
        """The checks that didn't pass, but for those that follow from others."""
        return tuple(check for check in self.checks if check.status != "pass" and not check.is_consequence)

    @property
    def status(self) -> Status:
        """Any fail: fail. Else any that is inconclusive: that. Else pass."""
        statuses = {check.status for check in self.checks}
        return "fail" if statuses & {"fail", "skip"} else "inconclusive" if "inconclusive" in statuses else "pass"

    @property
    def points(self) -> Points:
        return total(check.points for check in self.checks)

    @property
    def max_points(self) -> Points:
        return total((self.hidden[1], *(check.max_points for check in self.checks)))

    @property
    def pending(self) -> Points:
        return total(check.pending for check in self.checks)


def total(points: Iterable[Points]) -> Points:
    """The sum, whole where it is whole: tenths add up to what a person expects."""
    found = round(sum(points), 6)
    return int(found) if found == int(found) else found


def points_text(points: Points) -> str:
    """Points as they were computed: whole, or with as many of two decimals as there are."""
    return f"{points:.2f}".rstrip("0").rstrip(".")


def summary_line(grade: Grade, *, for_teacher: bool = False) -> str:
    """What was passed, in words that promise no more than was looked at.

    A student is told of the visible checks alone, and how many more there are.
    """
    shown = grade.items if for_teacher else tuple(check for check in grade.visible if not check.is_gate)
    count = len(grade.items) + grade.hidden[0]
    passed = sum(check.status == "pass" for check in shown)
    seen = "" if len(shown) == count else "visible "
    if shown and passed == len(shown) and all(check.status == "pass" for check in grade.visible):
        said = f"all {seen}checks passed ({passed} of {count})"
    else:
        said = f"{passed} of {plural(len(shown), f'{seen}check')} passed"
    more = count - len(shown)
    if not more:
        return said
    worth = total((grade.max_points, *(-check.max_points for check in shown)))
    noun = "point" if worth == 1 else "points"
    return (
        f"{said}; {plural(more, 'more check')} ({points_text(worth)} {noun}) {'is' if more == 1 else 'are'} not shown"
    )
