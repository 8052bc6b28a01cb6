"""Why a capture with one thing changed still passes: the reason is derived from both reports, never assumed.

Either the sequence is the same text, since what was changed isn't in it; or the text differs where the expectation
leaves it open. A mutant without a reason has found a hole.
"""

from collections import Counter
from collections.abc import Iterator
from difflib import SequenceMatcher

from analysis.expect.events import Event, events_of
from analysis.expect.fields import meets
from analysis.expect.pattern import AnyOrder, Block, Either, Expectation, Node, Optional, PatternLine, Repeat
from analysis.packets.packet import ACK, FIN, RST, SYN
from analysis.report import Report
from analysis.sequence import line_text
from analysis.tcp.segment import Segment
from lab.scenario.model import Scenario
from lab.selftest.mutants import Mutant

NOT_OF_STORY = "the frame is none of the story's"
CARRIER = "a segment that carries a lookup over TCP: the sequence has the lookup alone"
TWICE = "the copy is the same to the byte: one packet, captured twice"
SECOND = "a second copy of a message changes nothing (lookup.ignored)"
IDLE = "the frame had changed nothing in the first place (lookup.ignored)"
TRUNCATED = "the truncated answer has no word of its own: that the lookup went on over TCP says it"
NO_ORDER = "lookups come first, sorted: the order of their frames is not in the sequence"
TWO_CONNECTIONS = "segments of two connections, each of which has its own lines"
SAME_LINE = "both frames have the same line"
NO_ACK = "without the ACK flag the number means nothing (RFC 9293 §3.1)"
ONLY_ONE = "numbers are relative to the first of their side, and the side has no other segment"
SHAPE = "the scenario expects a shape, and the shape is the same"
ORDER_OPEN = "other order of lines that the expectation has in `any order`, `either` or `repeat`"
COUNT_OPEN = "a line more or less, which the expectation has in `?`, `optional`, `repeat` or `either`"
FIELD_OPEN = "other numbers, names or words, which the expectation has as `*`, `next` or `all`"


def reason_for(mutant: Mutant, before: Report, after: Report, scenario: Scenario) -> str | None:
    """Why `mutant`, whose report is `after`, passes as the original does, whose report is `before`; None: no reason."""
    if str(before.exact) == str(after.exact):
        return _same_text(mutant, before, after)
    if scenario.expected is None or scenario.expected.form == "shape":
        return SHAPE if str(before.shape) == str(after.shape) else None
    return _left_open(_events(before), _events(after), scenario.expected)


def _same_text(mutant: Mutant, before: Report, after: Report) -> str | None:
    if before.story is None or mutant.frame not in before.story.frames:
        outside = mutant.kind != "swapped" or before.story is None or mutant.frame + 1 not in before.story.frames
        return NOT_OF_STORY if outside else NO_ORDER
    if mutant.kind == "swapped":
        return _swapped(mutant, before)
    if any(mutant.frame in connection.frames for connection in before.story.carriers):
        return CARRIER
    if mutant.copy is not None:
        return _copied(mutant.copy, after)
    if mutant.kind == "dropped":
        return _dropped(mutant.frame, before)
    segment = _segments(before).get(mutant.frame)
    if mutant.kind == "Ack" and segment is not None and not segment[1].flags & ACK:
        return NO_ACK
    if mutant.kind == "Seq" and segment is not None and _is_only_one(segment, before):
        return ONLY_ONE
    return None


def _dropped(frame: int, before: Report) -> str | None:
    """Why a frame of the story isn't missed."""
    if frame in _ignored(before):
        return IDLE
    lookups = before.story.lookups if before.story else ()
    return TRUNCATED if any(one.truncated is not None and one.truncated.frame == frame for one in lookups) else None


def _is_only_one(segment: tuple[int, Segment], report: Report) -> bool:
    """Whether its side sent nothing else in the connection."""
    others = (one for number, one in _segments(report).values() if number == segment[0])
    return sum(one.sender == segment[1].sender for one in others) == 1


def _swapped(mutant: Mutant, before: Report) -> str | None:
    segments = _segments(before)
    one, other = segments.get(mutant.frame), segments.get(mutant.frame + 1)
    if one is None or other is None:
        return NO_ORDER
    if one[0] != other[0]:
        return TWO_CONNECTIONS
    return SAME_LINE if _line(one[1]) == _line(other[1]) else None


def _copied(copy: int, after: Report) -> str | None:
    """What the analysis took the copy for."""
    if after.story is not None:
        for connection in after.story.connections:
            if any(event.kind == "duplicate-frame" for event in connection.events_in.get(copy, ())):
                return TWICE
    reason = _ignored(after).get(copy)
    return None if reason is None else TWICE if reason == "captured twice" else SECOND


def _ignored(report: Report) -> dict[int, str]:
    """The messages that changed nothing, by frame, and why."""
    lookups = report.story.lookups if report.story else ()
    return {one.frame: one.reason for lookup in lookups for one in lookup.ignored}


def _segments(report: Report) -> dict[int, tuple[int, Segment]]:
    """The segments that have a line, by frame, each with its connection's number."""
    connections = report.story.connections if report.story else ()
    return {one.frame: (number, one) for number, connection in enumerate(connections) for one in connection.segments}


def _line(segment: Segment) -> tuple[object, ...]:
    """What a sequence has of a segment, but for a start line."""
    kinds = [option.kind for option in segment.tcp.options] if segment.flags & SYN else []
    flags = segment.flags & (FIN | SYN | RST | ACK)
    return segment.sender, flags, segment.seq, segment.end, segment.ack, kinds


def _events(report: Report) -> tuple[Event, ...]:
    times = report.capture.frames.time_ns
    trace = report.trace
    return events_of(trace, lambda frame: int(times[frame - 1]))


def _left_open(before: tuple[Event, ...], after: tuple[Event, ...], expected: Expectation) -> str | None:
    """What the expectation leaves open of that in which two sequences differ, line by line; None: not all of it."""
    one, other = ([line_text(event.line) for event in events] for events in (before, after))
    gone, come = list[Event](), list[Event]()
    for change, start, end, other_start, other_end in SequenceMatcher(None, one, other, autojunk=False).get_opcodes():
        if change != "equal":
            gone += before[start:end]
            come += after[other_start:other_end]
    if Counter(one) == Counter(other):
        return ORDER_OPEN if _are_loose((*gone, *come), expected, AnyOrder, Either, Repeat) else None
    if len(gone) == len(come) and all(
        any(meets(first, line) and meets(second, line) for line in _lines(expected.root))
        for first, second in zip(gone, come, strict=True)
    ):
        return FIELD_OPEN
    return COUNT_OPEN if _are_loose((*gone, *come), expected, Optional, Either, Repeat) else None


def _are_loose(events: tuple[Event, ...], expected: Expectation, *groups: type[Node]) -> bool:
    """Whether each of `events` is as a line within one of the `groups` says."""
    lines = [line for node in _nodes(expected.root) if isinstance(node, groups) for line in _lines(node)]
    return all(any(meets(event, line) for line in lines) for event in events)


def _lines(node: Node) -> Iterator[PatternLine]:
    return (one for one in _nodes(node) if isinstance(one, PatternLine))


def _nodes(node: Node) -> Iterator[Node]:
    """The node and all below it."""
    yield node
    match node:
        case Block(nodes) | AnyOrder(nodes) | Either(nodes):
            for one in nodes:
                yield from _nodes(one)
        case Optional(body) | Repeat(body, _, _):
            yield from _nodes(body)
