"""Sequences as texts, with or without times, to try expectations on."""

import re
from collections.abc import Sequence

from analysis.expect.difference import Explained, explain_mismatch
from analysis.expect.events import Event, events_of
from analysis.expect.match import Matched, Mismatch, match
from analysis.expect.parse import parse_expectation
from analysis.sequence import LookupLine, Traced, parse_sequence

TIMED = re.compile(r"^(\d+\.\d{6})(?:\.\.(\d+\.\d{6}))?\s+", re.MULTILINE)
ANSWER = 1_000_000  # frame numbers of answers begin here


def events(text: str) -> tuple[Event, ...]:
    """The events of a sequence whose lines may begin with a time in seconds, of a lookup `asked..answered`.

    Line n is frame n, and a microsecond after line n - 1 where no time is given.
    """
    times: dict[int, int] = {}
    trace: list[Traced] = []
    lines = parse_sequence(TIMED.sub("", text)).lines
    for number, (raw, line) in enumerate(zip(text.strip("\n").split("\n"), lines, strict=True), 1):
        found = TIMED.match(raw)
        times[number] = _ns(found[1]) if found else number * 1_000
        answer = ANSWER + number if found and found[2] else None
        times[ANSWER + number] = _ns(found[2]) if found and found[2] else 0
        trace.append(Traced(line, (number,), ((number, answer),) if isinstance(line, LookupLine) else ()))
    return events_of(tuple(trace), times.__getitem__)


def _ns(text: str) -> int:
    return round(float(text) * 1e9)


def first_difference(pattern: str, found: str | Sequence[Event]) -> Explained | None:
    """What is said of `found` where it isn't as expected; None if it is."""
    expectation = parse_expectation(pattern)
    seen = events(found) if isinstance(found, str) else found
    result = match(expectation, seen)
    assert isinstance(result, Matched | Mismatch)
    return explain_mismatch(seen, result) if isinstance(result, Mismatch) else None
