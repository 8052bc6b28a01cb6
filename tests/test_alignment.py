"""How much of a sequence is the expected one: the nearest reading, beside every reading tried in turn."""

from collections.abc import Iterator, Sequence
from functools import cache
from itertools import islice, permutations, product

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from analysis.expect import alignment
from analysis.expect.alignment import Alignment, align
from analysis.expect.events import Event
from analysis.expect.fields import differences, meets
from analysis.expect.match import Matched, match
from analysis.expect.parse import parse_expectation
from analysis.expect.pattern import AnyOrder, Block, Either, Node, Optional, PatternLine, Repeat
from tests.expecting import events

LINES = ("client  SYN", "server  SYN,ACK", "client  ACK", 'client  DATA  "GET"', 'client  DATA  "PUT"', "server  ACK")
FOUND = ("client  SYN", "server  SYN,ACK", "client  ACK", 'client  DATA  "GET"', "server  ACK")
MOST_ROUNDS = 4
MOST_READINGS = 500


def readings(node: Node) -> Iterator[tuple[PatternLine, ...]]:
    """Every sequence of lines that the node stands for; of a `repeat` without end those of a few rounds."""
    match node:
        case PatternLine():
            yield (node,)
        case Block(items):
            yield from chained(items)
        case Optional(body):
            yield ()
            yield from readings(body)
        case Either(branches):
            for branch in branches:
                yield from readings(branch)
        case AnyOrder(entries):
            for order in permutations(entries):
                yield from chained(order)
        case Repeat(body, least, most):
            for rounds in range(least, (MOST_ROUNDS if most is None else most) + 1):
                yield from chained([body] * rounds)


def chained(items: Sequence[Node]) -> Iterator[tuple[PatternLine, ...]]:
    for parts in product(*(tuple(readings(item)) for item in items)):
        yield tuple(line for part in parts for line in part)


def cheapest(lines: Sequence[PatternLine], found: Sequence[Event]) -> int:
    """The edit distance, where a line and an event stand together if they differ in the start line alone."""

    @cache
    def cost(at: int, seen: int) -> int:
        if at == len(lines) or seen == len(found):
            return len(lines) - at + len(found) - seen
        best = 1 + min(cost(at + 1, seen), cost(at, seen + 1))
        if meets(found[seen], lines[at]):
            return min(best, cost(at + 1, seen + 1))
        fields = {one.field for one in differences(found[seen], lines[at])}
        return min(best, 1 + cost(at + 1, seen + 1)) if fields == {"the start line"} else best

    return cost(0, 0)


def group(inner: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    body = st.lists(inner, min_size=1, max_size=2).map("\n".join)
    return st.one_of(
        body.map(lambda text: f"optional {{\n{text}\n}}"),
        st.tuples(body, body).map(lambda two: f"either {{\n{two[0]}\n}} or {{\n{two[1]}\n}}"),
        st.tuples(body, inner).map(lambda two: f"any order {{\n{two[0]}\n{two[1]}\n}}"),
        st.tuples(st.sampled_from(["2", "0..2", "1..3", "1.."]), inner).map(
            lambda two: f"repeat {two[0]} {{\n{two[1]}\n}}"
        ),
    )


LINE = st.one_of(st.sampled_from(LINES), st.sampled_from(LINES).map(lambda line: f"{line} ?"))
GROUPED = group(st.sampled_from(LINES))
PATTERNS = st.lists(st.one_of(LINE, group(LINE), group(GROUPED)), min_size=1, max_size=2).map("\n".join)
SEQUENCES = st.lists(st.sampled_from(FOUND), max_size=4)


def nearest(pattern: str, found: Sequence[str]) -> Alignment:
    reading = align(parse_expectation(pattern), seen(found))
    assert reading is not None
    return reading


def seen(found: Sequence[str]) -> tuple[Event, ...]:
    return events("\n".join(found) + "\n") if found else ()


def cost_of(reading: Alignment) -> int:
    return len(reading.edits) - reading.matched


@settings(max_examples=400)
@given(PATTERNS, SEQUENCES)
def test_the_nearest_reading_is_the_cheapest_of_all(pattern: str, found: list[str]) -> None:
    expectation = parse_expectation(pattern)
    every = set(islice(readings(expectation.root), MOST_READINGS))
    assume(len(every) < MOST_READINGS)
    reading = nearest(pattern, found)
    assert cost_of(reading) == min(cheapest(lines, seen(found)) for lines in every)
    assert (cost_of(reading) == 0) == isinstance(match(expectation, seen(found)), Matched)
    assert [edit.event for edit in reading.edits if edit.event] == list(seen(found))


OPEN = ("client  SYN", "server  SYN,ACK", "client  ACK")


@pytest.mark.parametrize(
    ("found", "missing", "extra", "lacks_an_end"),
    [
        (OPEN, [], 0, True),
        (OPEN[:2], ["client ACK"], 0, True),
        (OPEN[1:], ["client SYN"], 0, True),
        (OPEN[1:2], ["client SYN", "client ACK"], 0, True),
        (OPEN[::2], ["server SYN,ACK"], 0, False),
        ((*OPEN, "server  ACK"), [], 1, False),
        ((*OPEN[:2], "server  ACK"), ["client ACK"], 1, False),
        ((), ["client SYN", "server SYN,ACK", "client ACK"], 0, False),
    ],
)
def test_what_is_missing_and_what_is_too_many_is_told_apart(
    found: tuple[str, ...], missing: list[str], extra: int, lacks_an_end: bool
) -> None:
    reading = nearest("\n".join(OPEN), found)
    assert [" ".join(line.text.split()) for line in reading.missing] == missing
    assert (len(reading.extra), reading.lacks_an_end) == (extra, lacks_an_end)


def test_a_line_that_differs_in_its_start_line_is_the_same_line_and_in_its_flags_another() -> None:
    reading = nearest('client  DATA  "PUT"', ['client  DATA  "GET"'])
    assert (len(reading.different), len(reading.missing), len(reading.extra)) == (1, 0, 0)
    reading = nearest("client  SYN", ["client  ACK"])
    assert (len(reading.different), len(reading.missing), len(reading.extra)) == (0, 1, 1)


def test_a_repeat_without_end_is_read_as_often_as_it_came() -> None:
    pattern = "client  SYN\nrepeat 1.. {\nclient  ACK\nserver  ACK\n}\nclient  SYN"
    found = ["client  SYN", *["client  ACK", "server  ACK"] * 50, "client  ACK", "client  SYN"]
    assert cost_of(nearest(pattern, found)) == 1


def test_too_many_steps_are_not_made(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(alignment, "MOST_STEPS", 50)
    assert align(parse_expectation("\n".join(OPEN)), seen(["server  ACK"] * 40)) is None
    assert align(parse_expectation("\n".join(OPEN)), seen(OPEN)) is not None


def test_an_expectation_with_no_end_of_readings_is_given_up() -> None:
    entries = "\n".join(f"any order {{\n{line}\n{line} ?\nserver  ACK\nclient  ACK\n}}" for line in LINES)
    pattern = f"repeat 0..900 {{\nany order {{\n{entries}\n}}\n}}"
    assert align(parse_expectation(pattern), seen(["client  DATA"] * 30)) is None
