"""An expectation against the events of a sequence: it matches, or how far it came and what would have matched there.

All readings of the expectation advance together, an event at a time; readings in the same place are one. So no text can
make it explode as backtracking would: the steps grow as lines of the expectation times events. Only counts that a
reading must remember (`repeat 3` within `repeat 5`, entries of `any order`) make it more, and those steps are bounded.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Any, NamedTuple

from analysis.expect.events import Event
from analysis.expect.fields import meets
from analysis.expect.pattern import Expectation, PatternLine
from analysis.expect.program import (
    Again,
    Done,
    End,
    Loop,
    Match,
    Order,
    Program,
    Push,
    Split,
    compile_expectation,
)

STEPS_AT_LEAST, STEPS_PER_EVENT = 200_000, 1_000

Path = tuple[PatternLine, Any] | None  # the line that matched the event before, and the path to that


@dataclass(frozen=True, slots=True)
class Matched:
    """The sequence is the expected one. `steps`: how much work that was."""

    steps: int


@dataclass(frozen=True, slots=True)
class Awaited:
    """A line that would have matched, and the lines that had matched all events before (None: the expected end)."""

    line: PatternLine | None
    path: Path

    def before(self, most: int) -> list[PatternLine]:
        """The lines that matched the last events before, in order."""
        return list(islice(_backwards(self.path), most))[::-1]


@dataclass(frozen=True, slots=True)
class Mismatch:
    """No reading gets past the event at `position` (from 0; their number, if the sequence ends too soon)."""

    position: int
    awaited: tuple[Awaited, ...]
    steps: int


@dataclass(frozen=True, slots=True)
class Undecided:
    """There are too many readings: given up after `steps`."""

    steps: int


def match(expectation: Expectation, events: Sequence[Event]) -> Matched | Mismatch | Undecided:
    """Whether `events` are what is expected, from the first to the last."""
    program = compile_expectation(expectation)
    most = STEPS_AT_LEAST + STEPS_PER_EVENT * len(events)
    front = _Front(program)
    front.enter(_Thread(0, (), None), most)
    for position, event in enumerate(events):
        behind = _Front(program, front.steps)
        known: dict[int, bool] = {}
        for thread, line in sorted(front.waiting, key=lambda one: one[0].registers):
            if thread.place not in known:
                known[thread.place] = meets(event, line)
            if known[thread.place]:
                behind.enter(_Thread(thread.place + 1, _used(thread), (line, thread.path)), most)
        if behind.steps >= most:
            return Undecided(behind.steps)
        if not behind.seen:
            return Mismatch(position, front.awaited(), front.steps)
        front = behind
    return Matched(front.steps) if front.ends else Mismatch(len(events), front.awaited(), front.steps)


def _backwards(path: Path) -> Iterable[PatternLine]:
    while path is not None:
        yield path[0]
        path = path[1]


class _Thread(NamedTuple):
    place: int
    registers: tuple[int, ...]
    path: Path


def _used(thread: _Thread) -> tuple[int, ...]:
    """The registers after a line: its rounds have matched something."""
    return tuple(register & ~1 for register in thread.registers) if thread.registers else ()


@dataclass(slots=True)
class _Front:
    """All threads between two events: those that wait for a line, and whether the end is reached."""

    program: Program
    steps: int = 0
    waiting: list[tuple[_Thread, PatternLine]] = field(default_factory=list)
    ends: list[Path] = field(default_factory=list)
    seen: dict[tuple[int, tuple[int, ...]], list[tuple[int, ...]]] = field(default_factory=dict)

    def enter(self, thread: _Thread, most: int) -> None:
        """Follow a thread to the lines that it waits for."""
        todo = [thread]
        while todo and self.steps < most:
            thread = todo.pop()
            if not self._is_new(thread):
                continue
            self.steps += 1
            step = self.program.steps[thread.place]
            if isinstance(step, Match):
                self.waiting.append((thread, step.line))
            elif isinstance(step, End):
                self.ends.append(thread.path)
            else:
                todo += (_Thread(place, registers, thread.path) for place, registers in _onward(step, thread))

    def _is_new(self, thread: _Thread) -> bool:
        """Whether no thread was here that can do all that this one can: with the same or fewer rounds done."""
        place, registers, _ = thread
        leasts = self.program.leasts[place]
        key = tuple(
            register if least is None or register >> 1 < least else -1 - (register & 1)
            for register, least in zip(registers, leasts, strict=True)
        )
        rounds = tuple(register >> 1 for register, mark in zip(registers, key, strict=True) if mark < 0)
        others = self.seen.setdefault((place, key), [])
        if any(all(other <= own for other, own in zip(one, rounds, strict=True)) for one in others):
            return False
        others.append(rounds)
        return True

    def awaited(self) -> tuple[Awaited, ...]:
        """Every line that is waited for, once, in the order of the text; then the end, if that is."""
        first: dict[int, Awaited] = {}
        for thread, line in self.waiting:
            first.setdefault(thread.place, Awaited(line, thread.path))
        ends = (Awaited(None, path) for path in self.ends[:1])
        return (*(first[place] for place in sorted(first)), *ends)


def _onward(step: Split | Push | Loop | Again | Order | Done, thread: _Thread) -> Iterable[tuple[int, tuple[int, ...]]]:
    """Where a thread goes on from a step that matches nothing, with what registers."""
    place, registers, _ = thread
    match step:
        case Split(targets):
            return ((target, registers) for target in reversed(targets))
        case Push():
            return ((place + 1, (*registers, 0)),)
        case Loop():
            return _loop(step, registers)
        case Again(head):
            *outer, own = registers
            return () if own & 1 else ((head, (*outer, own + 2)),)
        case Order():
            return _order(step, registers)
        case Done(entry, head):
            *outer, own = registers
            return ((head, (*outer, own | 2 << entry)),)


def _loop(step: Loop, registers: tuple[int, ...]) -> Iterable[tuple[int, tuple[int, ...]]]:
    *outer, own = registers
    rounds = own >> 1
    if step.most is None:
        rounds = min(rounds, step.least)  # more make no difference, and readings that differ in no more are one
    if rounds >= step.least:
        yield step.leave, tuple(outer)
    if step.most is None or rounds < step.most:
        yield step.body, (*outer, rounds << 1 | 1)


def _order(step: Order, registers: tuple[int, ...]) -> Iterable[tuple[int, tuple[int, ...]]]:
    *outer, own = registers
    if own >> 1 == (1 << len(step.entries)) - 1:
        yield step.leave, tuple(outer)
    for number, entry in enumerate(step.entries):
        if not own & 2 << number:
            yield entry, registers
