"""How much of a sequence is the expected one: the reading that leaves the fewest lines missing, extra or different.

It is the shortest path (edit distance: Wagner & Fischer, 1974, doi:10.1145/321796.321811) through the expectation's
program and the events, where a line that comes as expected costs nothing. Groups cost what their cheapest reading does.
"""

from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from analysis.expect.events import Event
from analysis.expect.fields import FLAGS, KIND, SENDER, TYPE, differences, meets
from analysis.expect.match import used
from analysis.expect.pattern import Expectation, PatternLine
from analysis.expect.program import End, Match, Program, Registers, compile_expectation

MOST_STEPS = 200_000
OTHERS = {KIND, SENDER, FLAGS, TYPE}  # a line that differs in one of these is another line

State = tuple[int, int, Registers]  # events that are behind, place in the program, registers


@dataclass(frozen=True, slots=True)
class Edit:
    """A step of the reading: a line and the event that it was read as; None for what stands alone."""

    line: PatternLine | None
    event: Event | None
    is_met: bool = False


@dataclass(frozen=True, slots=True)
class Alignment:
    """The reading, in order. An edit with both that isn't met is the same line with a field that differs."""

    edits: tuple[Edit, ...]

    @property
    def matched(self) -> int:
        return sum(edit.is_met for edit in self.edits)

    @property
    def missing(self) -> tuple[PatternLine, ...]:
        return tuple(edit.line for edit in self.edits if edit.line and not edit.event)

    @property
    def extra(self) -> tuple[Event, ...]:
        return tuple(edit.event for edit in self.edits if edit.event and not edit.line)

    @property
    def different(self) -> tuple[Edit, ...]:
        return tuple(edit for edit in self.edits if edit.line and edit.event and not edit.is_met)

    @property
    def lacks_an_end(self) -> bool:
        """Whether all that is wrong is that lines are missing at the beginning or at the end."""
        if self.extra or self.different or not self.matched:
            return False
        met = [place for place, edit in enumerate(self.edits) if edit.is_met]
        return all(edit.is_met for edit in self.edits[met[0] : met[-1] + 1])


def align(expectation: Expectation, events: Sequence[Event]) -> Alignment | None:
    """The reading of `events` that is nearest to the expectation; None where that would take too many steps."""
    program = compile_expectation(expectation)
    start: State = (0, 0, ())
    came: dict[State, tuple[State, Edit | None]] = {}
    todo: deque[tuple[State, State | None, Edit | None]] = deque([(start, None, None)])
    while todo and len(came) < MOST_STEPS:
        state, before, edit = todo.popleft()
        if state in came:
            continue
        came[state] = (before or start, edit)
        if state[0] == len(events) and isinstance(program.steps[state[1]], End):
            return Alignment(tuple(_edits(came, state, start))[::-1])
        for follows, how, cost in _onward(program, events, state):
            if follows not in came:
                (todo.append if cost else todo.appendleft)((follows, state, how))
    return None


def _edits(came: dict[State, tuple[State, Edit | None]], state: State, start: State) -> Iterator[Edit]:
    while state != start:
        state, edit = came[state]
        if edit is not None:
            yield edit


def _onward(program: Program, events: Sequence[Event], state: State) -> Iterator[tuple[State, Edit | None, int]]:
    """Where a reading goes on from `state`, by what edit, at what cost (0 or 1)."""
    position, place, registers = state
    step = program.steps[place]
    event = events[position] if position < len(events) else None
    if not isinstance(step, Match | End):
        for target, after in step.onward(registers):
            yield (position, target, after), None, 0
        return
    if event is not None:
        yield (position + 1, place, registers), Edit(None, event), 1
    if isinstance(step, End):
        return
    behind = used(registers)
    yield (position, place + 1, behind), Edit(step.line, None), 1
    if event is not None:
        is_met = meets(event, step.line)
        if is_met or not {one.field for one in differences(event, step.line)} & OTHERS:
            yield (position + 1, place + 1, behind), Edit(step.line, event, is_met), 0 if is_met else 1
