"""The tree of an expectation: patterns of lines, and the groups that they stand in (docs/expectations.md)."""

from dataclasses import dataclass, replace
from typing import Literal

from analysis.tcp.segment import Role

Form = Literal["exact", "shape"]
Free = Literal["*"]  # any number
ANY: Free = "*"


@dataclass(frozen=True, slots=True)
class Glob:
    """A text in which any characters may stand between the `pieces`; one piece is that text alone."""

    pieces: tuple[str, ...]

    def __str__(self) -> str:
        return "*".join(self.pieces)

    @property
    def is_any(self) -> bool:
        return len(self.pieces) > 1 and not any(self.pieces)

    @property
    def is_literal(self) -> bool:
        return len(self.pieces) == 1

    def matches(self, text: str) -> bool:
        """Whether `text` is such a text. Each piece is looked for once, so a hostile text can't make it slow."""
        first, *inner = self.pieces
        if not inner:
            return text == first
        last = inner.pop()
        if not text.startswith(first):
            return False
        at, end = len(first), len(text) - len(last)
        for piece in inner:
            found = text.find(piece, at)
            if found < 0:
                return False
            at = found + len(piece)
        return at <= end and text.endswith(last)


@dataclass(frozen=True, slots=True)
class TimeRange:
    """From `least_ns` to `most_ns`, both included; None: without end. `text`: as it was written."""

    least_ns: int
    most_ns: int | None
    text: str

    def has(self, time_ns: int) -> bool:
        return self.least_ns <= time_ns and (self.most_ns is None or time_ns <= self.most_ns)


@dataclass(frozen=True, slots=True)
class LookupPattern:
    """A lookup line. `queries` None: any number; `outcome` is matched against the targets with commas between."""

    type: Glob
    name: Glob
    queries: int | None
    transport: str
    aliases: tuple[Glob, ...]
    outcome: Glob
    took: TimeRange | None = None


@dataclass(frozen=True, slots=True)
class ConnectionPattern:
    """`connection N`."""

    number: int


@dataclass(frozen=True, slots=True)
class NumbersPattern:
    """`seq:end(length)`; `next`: the number after all that the sender has sent so far."""

    seq: int | Literal["*", "next"]
    end: int | Free
    length: int | Free


ANY_NUMBERS = NumbersPattern(ANY, ANY, ANY)


@dataclass(frozen=True, slots=True)
class SegmentPattern:
    """A segment line; in a shape `numbers` is None, and so are `ack` and `text`, unless they are written.

    `ack`: a number, `all` (that the other side has sent so far), `*` for any, None for none, `free` for any or none.
    `options` None: any. `text` None: no start line; one that is any (`Glob.is_any`): any or none.
    """

    sender: Role
    flags: str
    numbers: NumbersPattern | None = None
    ack: int | Literal["*", "all", "free"] | None = None
    options: tuple[str, ...] | None = ()
    text: Glob | None = None
    again: bool = False
    after: TimeRange | None = None


@dataclass(frozen=True, slots=True)
class PatternLine:
    """One line to match: its number in the source, from 1; its text without the `?`, blanks as one; what it says."""

    number: int
    text: str
    pattern: LookupPattern | ConnectionPattern | SegmentPattern


@dataclass(frozen=True, slots=True)
class Block:
    """One after the other."""

    items: tuple["Node", ...]


@dataclass(frozen=True, slots=True)
class Optional:
    """Once or not at all."""

    body: "Node"


@dataclass(frozen=True, slots=True)
class AnyOrder:
    """Each once, whole, in whatever order."""

    entries: tuple["Node", ...]


@dataclass(frozen=True, slots=True)
class Either:
    """One of them."""

    branches: tuple["Node", ...]


@dataclass(frozen=True, slots=True)
class Repeat:
    """`least` to `most` times (None: without end)."""

    body: "Node"
    least: int
    most: int | None


Node = PatternLine | Block | Optional | AnyOrder | Either | Repeat


@dataclass(frozen=True, slots=True)
class Expectation:
    """A checked expectation: its text, the form that its lines have, its tree, and how many lines may be matched.

    `fails` are the ids of rules that are to fail besides.
    """

    source: str
    form: Form
    root: Block
    line_count: int
    fails: frozenset[str] = frozenset()

    def shape(self) -> "Expectation | None":
        """What the shape of every sequence that this expects must meet; None where that can't be said for sure.

        A shape is its own. An exact expectation is read in all its variants (64 at most): the shape of each is
        computed as that of a sequence, `next`, `all` and lengths that are `*` included, where no later number
        depends on them. Times go: no other backend promises them.
        """
        from analysis.expect.shape import shape_of_expectation

        shape = shape_of_expectation(self)
        return None if shape is None else replace(shape, fails=self.fails)
