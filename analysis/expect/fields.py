"""Whether a line is as its pattern says, and in what it isn't."""

from collections.abc import Iterable, Iterator
from typing import NamedTuple

from analysis.expect.events import Event
from analysis.expect.pattern import (
    ANY,
    ConnectionPattern,
    Glob,
    LookupPattern,
    NumbersPattern,
    PatternLine,
    SegmentPattern,
    TimeRange,
)
from analysis.sequence import ConnectionLine, LookupLine, Numbers, SegmentLine


class Difference(NamedTuple):
    """A field in which a line isn't as its pattern says; in words."""

    field: str
    found: str
    wanted: str

    def __str__(self) -> str:
        verb = "are" if self.field in (FLAGS, OPTIONS, QUERIES, ALIASES) else "is"
        return f"{self.field} {verb} {self.found}, not {self.wanted}"


KIND = "the line"  # of another kind: a segment where a lookup is expected
SENDER, FLAGS, TYPE, OPTIONS, QUERIES, ALIASES = "the sender", "flags", "the type", "options", "queries", "aliases"
NO_OPTIONS, NO_TEXT = "none (`<*>` is any)", 'none ("*" is any)'
WAIT, TOOK = "the time since the segment before", "the time to the answer"


def meets(event: Event, line: PatternLine) -> bool:
    return next(differences(event, line), None) is None


def differences(event: Event, line: PatternLine) -> Iterator[Difference]:
    """The fields in which the event isn't as the pattern line says, one after the other; none if it is."""
    pattern, found = line.pattern, event.line
    if isinstance(pattern, SegmentPattern) and isinstance(found, SegmentLine):
        yield from _segment(event, found, pattern)
    elif isinstance(pattern, LookupPattern) and isinstance(found, LookupLine):
        yield from _lookup(event, found, pattern)
    elif isinstance(pattern, ConnectionPattern) and isinstance(found, ConnectionLine):
        if pattern.number != found.number:
            yield Difference("the connection", str(found.number), str(pattern.number))
    else:
        yield Difference(KIND, _kind(found), _kind(pattern))


def _kind(what: object) -> str:
    return {"S": "a segment", "L": "a lookup", "C": "a connection's beginning"}[type(what).__name__[0]]


def _segment(event: Event, found: SegmentLine, pattern: SegmentPattern) -> Iterator[Difference]:
    if found.sender != pattern.sender:
        yield Difference(SENDER, found.sender, pattern.sender)
    if found.flags != pattern.flags:
        yield Difference(FLAGS, found.flags, pattern.flags)
    if pattern.numbers is not None and found.numbers is not None:
        yield from _numbers(event, found.numbers, pattern.numbers)
        yield from _ack(event, found.ack, pattern.ack)
    if pattern.options is not None and found.options != pattern.options:
        yield Difference(OPTIONS, _options(found.options), _options(pattern.options) if pattern.options else NO_OPTIONS)
    yield from _text(found.text, pattern)
    if found.again != pattern.again:
        yield Difference("it", *(("sent again", "sent first") if found.again else ("sent first", "sent again")))
    if pattern.after is not None:
        yield from _after(event.after_ns, pattern.after)


def _numbers(event: Event, found: Numbers, pattern: NumbersPattern) -> Iterator[Difference]:
    if pattern.seq == "next":
        if found.seq != event.next:
            yield Difference("seq", str(found.seq), f"next, which is {event.next}")
    elif pattern.seq not in (ANY, found.seq):
        yield Difference("seq", str(found.seq), str(pattern.seq))
    if pattern.end not in (ANY, found.end):
        yield Difference("end", str(found.end), str(pattern.end))
    if pattern.length not in (ANY, found.length):
        yield Difference("length", str(found.length), str(pattern.length))


def _ack(event: Event, found: int | None, wanted: int | str | None) -> Iterator[Difference]:
    if wanted == "free":
        return
    seen = "none" if found is None else str(found)
    if wanted == "all":
        if found != event.all:
            yield Difference("ack", seen, f"all, which is {event.all}")
    elif wanted == ANY:
        if found is None:
            yield Difference("ack", seen, "any number")
    elif wanted != found:
        yield Difference("ack", seen, "none" if wanted is None else str(wanted))


def _options(options: tuple[str, ...]) -> str:
    return f"<{','.join(options)}>" if options else "none"


def _text(found: str | None, pattern: SegmentPattern) -> Iterator[Difference]:
    glob = pattern.text
    is_met = found is None if glob is None else glob.is_any or (found is not None and glob.matches(found))
    if not is_met:
        yield Difference("the start line", _quoted(found), NO_TEXT if glob is None else _quoted(str(glob)))


def _quoted(text: str | None) -> str:
    return "none" if text is None else f'"{text}"'


def _after(measured: int | None, wanted: TimeRange) -> Iterator[Difference]:
    if measured is None:
        yield Difference(WAIT, "none, as it is the first", wanted.text)
    elif not wanted.has(measured):
        yield Difference(WAIT, _beside(measured, wanted), wanted.text)


def _lookup(event: Event, found: LookupLine, pattern: LookupPattern) -> Iterator[Difference]:
    if not pattern.type.matches(found.type):
        yield Difference(TYPE, found.type, str(pattern.type))
    if not pattern.name.matches(found.name):
        yield Difference("the name", found.name, str(pattern.name))
    if pattern.queries not in (None, found.queries):
        yield Difference(QUERIES, str(found.queries), str(pattern.queries))
    if pattern.transport != found.transport:
        yield Difference("the transport", found.transport, pattern.transport)
    if len(pattern.aliases) != len(found.aliases) or not all(map(Glob.matches, pattern.aliases, found.aliases)):
        yield Difference(ALIASES, _chain(found.aliases), _chain(map(str, pattern.aliases)))
    if not pattern.outcome.matches(",".join(found.outcome)):
        yield Difference("the outcome", ",".join(found.outcome), str(pattern.outcome))
    if pattern.took is not None:
        yield from _took(event.took_ns, pattern.took)


def _chain(names: Iterable[str]) -> str:
    return " -> ".join(names) or "none"


def _took(measured: tuple[int | None, ...], wanted: TimeRange) -> Iterator[Difference]:
    for one in measured or (None,):
        if one is None:
            yield Difference(TOOK, "none, as none came", wanted.text)
        elif not wanted.has(one):
            yield Difference(TOOK, _beside(one, wanted), wanted.text)


def _beside(time_ns: int, wanted: TimeRange) -> str:
    """A measured time that isn't wanted, with as many digits as show that."""
    unit = 1_000_000_000 if abs(time_ns) >= 1_000_000_000 else 1_000_000
    is_near = wanted.has(round(time_ns * 1000 / unit) * unit // 1000)
    return seconds(time_ns, 9 if is_near else 3)


def seconds(time_ns: int, digits: int = 3) -> str:
    """A measured time in the unit that suits it: `1.021 s`, `40.2 ms`, `7 us`."""
    size = abs(time_ns)
    if size >= 1_000_000_000:
        return f"{time_ns / 1e9:.{digits}f} s"
    return f"{time_ns / 1e6:.{min(digits, 6)}f} ms" if size >= 1_000_000 else f"{time_ns / 1e3:g} us"
