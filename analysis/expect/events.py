"""What patterns are matched against: the lines of a sequence, with the numbers and times that follow from them."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from analysis.expect.pattern import Form
from analysis.sequence import ConnectionLine, Line, LookupLine, SegmentLine, Trace, Traced, shape_trace
from analysis.tcp.segment import PEER, Role

Clock = Callable[[int], int]  # the time of a frame, in ns


@dataclass(frozen=True, slots=True)
class Event:
    """A line of the sequence, and its frames.

    `next`, `all`: the number after all that the sender, or its peer, had sent before in the connection. `after_ns`:
    since the segment line before it in the capture, in the story; None for the first. `took_ns`: for each lookup of the
    line, from its first query to its answer; None where none came. `times` are ns, frames count from 1.
    """

    line: Line
    frames: tuple[int, ...]
    next: int = 0
    all: int = 0
    after_ns: int | None = None
    took_ns: tuple[int | None, ...] = ()


def sequence_events(exact: Trace, form: Form, times_ns: NDArray[np.int64]) -> tuple[Event, ...]:
    """The events of a story's exact trace, in the form that an expectation has; `times_ns`: of all frames."""
    return events_of(exact if form == "exact" else shape_trace(exact), lambda frame: int(times_ns[frame - 1]))


def events_of(trace: Trace, clock: Clock) -> tuple[Event, ...]:
    """The events of a trace, in its order; `clock` knows when each of its frames was captured."""
    waits = _waits(trace, clock)
    sent: dict[Role, int] = {"client": 0, "server": 0}
    events: list[Event] = []
    for place, traced in enumerate(trace):
        line = traced.line
        if isinstance(line, ConnectionLine):
            sent = {"client": 0, "server": 0}
            events.append(Event(line, traced.frames))
        elif isinstance(line, LookupLine):
            events.append(Event(line, traced.frames, took_ns=_took(traced, clock)))
        else:
            before, peers = sent[line.sender], sent[PEER[line.sender]]
            events.append(Event(line, traced.frames, before, peers, waits.get(place)))
            sent[line.sender] = max(before, following(line))
    return tuple(events)


def following(line: SegmentLine) -> int:
    """The number that follows a segment: SYN and FIN take up one each. 0 without numbers, as in a shape."""
    words = line.flags.split(",")
    return 0 if line.numbers is None else line.numbers.end + words.count("SYN") + words.count("FIN")


def _took(traced: Traced, clock: Clock) -> tuple[int | None, ...]:
    return tuple(None if answer is None else clock(answer) - clock(query) for query, answer in traced.asked)


def _waits(trace: Trace, clock: Clock) -> dict[int, int]:
    """For each place of a segment line, but the first captured: ns since the one before, by their first frames."""
    seen = [(one.frames[0], place) for place, one in enumerate(trace) if one.frames and _is_segment(one)]
    seen.sort()
    times = [clock(frame) for frame, _ in seen]
    return {place: times[number] - times[number - 1] for number, (_, place) in enumerate(seen) if number}


def _is_segment(traced: Traced) -> bool:
    return isinstance(traced.line, SegmentLine)
