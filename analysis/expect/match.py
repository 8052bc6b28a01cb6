"""An expectation against the events of a sequence: it matches, or how far it came and what would have matched there.

All readings of the expectation advance together, an event at a time; readings in the same place are one. So no text can
make it explode as backtracking would: the steps grow as lines of the expectation times events. Only counts that a
reading must remember (`repeat 3` within `repeat 5`, entries of `any order`) make it more, and those steps are bounded.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

from analysis.expect.events import Event
from analysis.expect.fields import meets
from analysis.expect.pattern import Expectation, PatternLine
from analysis.expect.program import End, Match, Program, Registers, compile_expectation

STEPS_AT_LEAST, STEPS_PER_EVENT = 200_000, 200
ROUNDS = 4  # that the readings may go through the whole text at each event: enough where none must remember a count
MOST_STEPS = 5_000_000  # of such rounds

Path = tuple[PatternLine, Any] | None  # the line that matched the event before, and the path to that
Thread = tuple[int, Registers, Path]  # a reading: its place in the program, its registers, how it came there


@dataclass(frozen=True, slots=True)
class Matched:
    """The sequence is the expected one. `steps`: how much work that was."""

    steps: int


@dataclass(frozen=True, slots=True)
class Awaited:
    """A line that a reading waits for (None: the end), where that reading stands, and the lines that it has matched."""

    line: PatternLine | None
    place: int
    registers: Registers
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
    program: Program

    def behind(self, one: Awaited) -> tuple[Awaited, ...]:
        """What would be awaited if a line like that had come."""
        if one.line is None:
            return ()
        front = _Front(self.program, STEPS_AT_LEAST)
        front.enter(one.place + 1, used(one.registers), (one.line, one.path))
        return front.awaited()


@dataclass(frozen=True, slots=True)
class Undecided:
    """There are too many readings: given up after `steps`."""

    steps: int


def match(expectation: Expectation, events: Sequence[Event]) -> Matched | Mismatch | Undecided:
    """Whether `events` are what is expected, from the first to the last."""
    program = compile_expectation(expectation)
    rounds = min(ROUNDS * len(program.steps) * len(events), MOST_STEPS)
    most = STEPS_AT_LEAST + max(STEPS_PER_EVENT * len(events), rounds)
    front = _Front(program, most)
    front.enter(0, (), None)
    if front.steps >= most:
        return Undecided(front.steps)
    for position, event in enumerate(events):
        behind = front.advance(event)
        if behind.steps >= most:
            return Undecided(behind.steps)
        if not (behind.waiting or behind.ends):
            return Mismatch(position, front.awaited(), behind.steps, program)
        front = behind
    if front.ends:
        return Matched(front.steps)
    return Mismatch(len(events), front.awaited(), front.steps, program)


def _backwards(path: Path) -> Iterable[PatternLine]:
    while path is not None:
        yield path[0]
        path = path[1]


def used(registers: Registers) -> Registers:
    """The registers behind a line: the rounds that it is in have matched something."""
    return tuple([register & ~1 for register in registers])


@dataclass(slots=True)
class _Front:
    """All readings between two events: those that wait for a line, and those that are at the end."""

    program: Program
    most: int
    steps: int = 0
    waiting: list[tuple[PatternLine, Thread]] = field(default_factory=list)
    ends: list[Thread] = field(default_factory=list)
    seen: set[tuple[int, Registers]] = field(default_factory=set)
    rounds: dict[tuple[int, Registers], list[Registers]] = field(default_factory=dict)

    def advance(self, event: Event) -> "_Front":
        """The front behind the event: of the readings that wait for such a line."""
        behind = _Front(self.program, self.most, self.steps)
        known: dict[int, bool] = {}
        self.waiting.sort(key=lambda one: one[1][1])  # those with few rounds first: they stand for those with more
        for line, (place, registers, path) in self.waiting:
            is_met = known.get(place)
            if is_met is None:
                is_met = known[place] = meets(event, line)
            if is_met:
                behind.enter(place + 1, used(registers), (line, path))
        return behind

    def enter(self, place: int, registers: Registers, path: Path) -> None:
        """Follow a reading to the lines that it waits for."""
        todo = [(place, registers)]
        while todo and self.steps < self.most:
            place, registers = todo.pop()
            self.steps += 1
            if not self._is_new(place, registers):
                continue
            step = self.program.steps[place]
            if isinstance(step, Match):
                self.waiting.append((step.line, (place, registers, path)))
            elif isinstance(step, End):
                self.ends.append((place, registers, path))
            else:
                todo += step.onward(registers)

    def _is_new(self, place: int, registers: Registers) -> bool:
        """Whether no reading was here that can do all that this one can: the same, or one with fewer rounds done."""
        if (place, registers) in self.seen:
            return False
        self.seen.add((place, registers))
        leasts = self.program.leasts[place]
        return not leasts or self._is_ahead(place, registers, leasts)

    def _is_ahead(self, place: int, registers: Registers, leasts: Sequence[int | None]) -> bool:
        key, own = list(registers), list[int]()
        for index, least in enumerate(leasts):
            if least is not None and registers[index] >> 1 >= least:
                own.append(registers[index] >> 1)
                key[index] = -1 - (registers[index] & 1)
        others = self.rounds.setdefault((place, tuple(key)), [])
        if any(all(map(int.__le__, one, own)) for one in others):
            return False
        others.append(tuple(own))
        return True

    def awaited(self) -> tuple[Awaited, ...]:
        """Every line that is waited for, once, in the order of the text; then the end, if that is."""
        first: dict[int, Awaited] = {}
        for line, (place, registers, path) in self.waiting:
            first.setdefault(place, Awaited(line, place, registers, path))
        ends = (Awaited(None, *thread) for thread in self.ends[:1])
        return (*(first[place] for place in sorted(first)), *ends)
