"""An exercise as values: what is handed in, its rubric, and what is individual."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Literal

from analysis.expect.pattern import Expectation
from grading.exercise.individual import Individual, Use
from grading.facts.path import FactPath

Kind = Literal["capture", "answers"]
Visibility = Literal["visible", "hidden", "after_due_date", "after_published"]
VISIBILITIES: tuple[Visibility, ...] = ("visible", "hidden", "after_due_date", "after_published")
Points = int | float
GATES = ("grader", "limits", "capture", "answers", "individual", "time")  # checks before every rubric, in order
Value = str | int | float | bool


@dataclass(frozen=True, slots=True)
class Wanted:
    """A fact of the report, and what it must be: one of `values`, or a number from `least` to `most`."""

    path: FactPath
    values: tuple[Value, ...] = ()
    least: float | None = None
    most: float | None = None


@dataclass(frozen=True, slots=True)
class RuleCheck:
    """A rule of the analysis by its id (None: the facts alone), and facts that must hold beside it."""

    rule: str | None
    facts: tuple[Wanted, ...] = ()


@dataclass(frozen=True, slots=True)
class SequenceCheck:
    """The sequence of the fetch. With `partial`, the part that matches earns its part of the points."""

    expected: Expectation
    partial: bool = True


@dataclass(frozen=True, slots=True)
class Question:
    """A question about the capture; the answer is the fact at `path`.

    With `either_form` a sequence number may be raw or relative, whichever the path says. `tolerance`: how far a number
    may be off. With `partial`, a part of a list earns its part of the points. `slips`: points for an answer that is
    wrong in a known way, by the slip's name. `accept`: further answers that are right.
    """

    text: str
    path: FactPath
    either_form: bool = False
    tolerance: float = 0.0
    partial: bool = True
    slips: tuple[tuple[str, Points], ...] = ()
    accept: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Item:
    """A line of the rubric: a check that is worth points.

    `hint` is the teacher's, for who fails it. `depends_on`: items that must pass first.
    """

    id: str
    title: str
    check: RuleCheck | SequenceCheck | Question
    points: Points
    hint: str = ""
    depends_on: tuple[str, ...] = ()
    visibility: Visibility = "visible"


@dataclass(frozen=True, slots=True)
class HandIn:
    """What is handed in, and within what limits: bytes of a file, frames of a capture, seconds of marking.

    `opens`, `closes`: when the capture must have been taken; None: at any time.
    """

    capture: str = "capture.pcap"
    answers: str = "answers.toml"
    size: int = 1 << 20
    frames: int = 10_000
    seconds: float = 10.0
    opens: datetime | None = None
    closes: datetime | None = None


@dataclass(frozen=True, slots=True)
class Exercise:
    """A checked exercise. `source` is the file's text; `host` whose fetch is marked, where that isn't individual.

    `uses`: what is individual; `earlier`: editions whose captures may turn up again; `bound`: what is individual in a
    copy that was made out for one student. `scenario`: the lab's, with `$` placeholders. `hidden`: checks, and their
    points, that such a copy doesn't tell; `asked`: the questions among them. `reveal`: whether students are told the
    right answers.
    """

    id: str
    edition: str
    title: str
    text: str
    kind: Kind
    hand_in: HandIn
    items: tuple[Item, ...]
    path: Path
    source: str
    host: str | None = None
    uses: tuple[Use, ...] = ()
    earlier: tuple[str, ...] = ()
    bound: Individual | None = None
    scenario: str | None = None
    hidden: tuple[int, Points] = (0, 0)
    asked: tuple[str, ...] = ()
    reveal: bool = False
    fractions: bool = False

    @property
    def files(self) -> tuple[str, ...]:
        """The names of the files that are handed in."""
        return (self.hand_in.capture, self.hand_in.answers)[: 1 if self.kind == "capture" else 2]

    @property
    def is_asking(self) -> bool:
        """Whether students are asked what a report of their capture would tell them, and aren't to be told."""
        return self.kind == "answers" and not self.reveal

    @property
    def questions(self) -> tuple[str, ...]:
        """The ids of all questions: each is asked, though its result may be held back."""
        return (*self.asked, *(item.id for item in self.items if isinstance(item.check, Question)))

    def visible(self) -> Iterator[Item]:
        """The items that students see at once."""
        return (item for item in self.items if item.visibility == "visible")
