"""Whether a line is as its pattern says, and in what it isn't."""

from collections.abc import Iterator
from typing import NamedTuple

from analysis.expect.events import Event
from analysis.expect.pattern import (
    ANY,
    ConnectionPattern,
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
        return f"{self.field} is {self.found}, not {self.wanted}"


KIND = "kind"  # the field of a line of another kind: a segment where a lookup is expected


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
        yield Difference("the sender", found.sender, pattern.sender)
    if found.flags != pattern.flags:
        yield Difference("flags", found.flags, pattern.flags)
    if pattern.numbers is not None and found.numbers is not None:
        yield from _numbers(event, found.numbers, pattern.numbers)
        yield from _ack(event, found.ack, pattern.ack)
    if pattern.options is not None and found.options != pattern.options:
        yield Difference("options", _options(found.options), _options(pattern.options))
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
    if glob is None and found is not None:
        yield Difference("the start line", "there", "written in the pattern")
    elif glob is not None and not glob.is_any and found is None:
        yield Difference("the start line", "missing", "so")
    elif glob is not None and found is not None and not glob.matches(found):
        yield Difference("the start line", "another", "as expected")


def _after(measured: int | None, wanted: TimeRange) -> Iterator[Difference]:
    if measured is None:
        yield Difference("the time", "that of the story's first segment", f"after {wanted.text}")
    elif not wanted.has(measured):
        yield Difference("the time", f"after {seconds(measured)}", f"after {wanted.text}")


def _lookup(event: Event, found: LookupLine, pattern: LookupPattern) -> Iterator[Difference]:
    if not pattern.type.matches(found.type):
        yield Difference("the type", found.type, "as expected")
    if not pattern.name.matches(found.name):
        yield Difference("the name", "another", "as expected")
    if pattern.queries not in (None, found.queries):
        yield Difference("the number of queries", str(found.queries), str(pattern.queries))
    if pattern.transport != found.transport:
        yield Difference("the transport", found.transport, pattern.transport)
    if len(pattern.aliases) != len(found.aliases):
        yield Difference("the number of aliases", str(len(found.aliases)), str(len(pattern.aliases)))
    elif not all(glob.matches(alias) for glob, alias in zip(pattern.aliases, found.aliases, strict=True)):
        yield Difference("an alias", "another", "as expected")
    if not pattern.outcome.matches(",".join(found.outcome)):
        yield Difference("the outcome", ",".join(found.outcome), "as expected")
    if pattern.took is not None:
        yield from _took(event.took_ns, pattern.took)


def _took(measured: tuple[int | None, ...], wanted: TimeRange) -> Iterator[Difference]:
    for one in measured or (None,):
        if one is None:
            yield Difference("the answer", "missing", f"there: took {wanted.text}")
        elif not wanted.has(one):
            yield Difference("the time", f"took {seconds(one)}", f"took {wanted.text}")


def seconds(time_ns: int) -> str:
    """A measured time in the unit that suits it: `1.021 s`, `40.2 ms`, `7 us`."""
    size = abs(time_ns)
    if size >= 1_000_000_000:
        return f"{time_ns / 1e9:.3f} s"
    return f"{time_ns / 1e6:.3f} ms" if size >= 1_000_000 else f"{time_ns / 1e3:g} us"
