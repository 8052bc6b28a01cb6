"""Matching: what an expectation allows, and what not; how much work that is."""

from collections.abc import Iterator
from dataclasses import replace
from itertools import permutations

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from analysis.expect.events import Event, events_of
from analysis.expect.fields import meets
from analysis.expect.match import Matched, Mismatch, Undecided, match
from analysis.expect.parse import parse_expectation
from analysis.expect.pattern import AnyOrder, Block, Either, Glob, Node, Optional, PatternLine, Repeat
from analysis.expect.program import compile_expectation
from analysis.sequence import SegmentLine, Sequence, Traced, shape_of
from tests.craft import RESPONSE, Talk, fetch, lookup, report
from tests.expecting import events, first_difference
from tests.test_sequence import SEQUENCES


def matches(pattern: str, found: str | tuple[Event, ...]) -> bool:
    return first_difference(pattern, found) is None


def of_sequence(sequence: Sequence) -> tuple[Event, ...]:
    return events_of(tuple(Traced(line) for line in sequence.lines), lambda frame: frame)


# --- what is no pattern ---


@given(SEQUENCES)
def test_every_sequence_matches_itself_in_both_forms(sequence: Sequence) -> None:
    assert matches(str(sequence), of_sequence(sequence))
    shape = shape_of(sequence)
    if any(isinstance(line, SegmentLine) for line in shape.lines):
        assert matches(str(shape), of_sequence(shape))


@given(SEQUENCES, st.data())
def test_every_change_of_one_line_is_found(sequence: Sequence, data: st.DataObject) -> None:
    lines = sequence.lines
    assume(lines and "*" not in str(sequence))  # a star is any character
    place = data.draw(st.integers(0, len(lines) - 1))
    line = lines[place]
    changes = {
        "dropped": lines[:place] + lines[place + 1 :],
        "doubled": (*lines[: place + 1], *lines[place:]),
        "swapped": (*lines[:place], *reversed(lines[place : place + 2]), *lines[place + 2 :]),
    }
    if isinstance(line, SegmentLine):
        altered = {
            "sender": replace(line, sender="client" if line.sender == "server" else "server"),
            "flags": replace(line, flags="RST" if line.flags == "ACK" else "ACK"),
            "ack": replace(line, ack=(line.ack or 0) + 1),
            "options": replace(line, options=(*line.options, "eol")),
            "text": replace(line, text=(line.text or "") + "."),
        }
        if line.numbers:
            altered |= {
                name: replace(line, numbers=line.numbers._replace(**{name: 7_777_777})) for name in ("seq", "end")
            }
            altered["length"] = replace(line, numbers=line.numbers._replace(length=7_777_777))
        changes |= {name: (*lines[:place], one, *lines[place + 1 :]) for name, one in altered.items()}
    how = data.draw(st.sampled_from(sorted(changes)))
    changed = Sequence(tuple(changes[how]), "exact")
    assert matches(str(sequence), of_sequence(changed)) == (changed.lines == sequence.lines)


def test_the_events_of_a_capture_match_the_text_that_its_report_prints() -> None:
    found = report(fetch(), "complete")
    for text in (str(found.exact), str(found.shape)):
        assert matches(text, text)


# --- fields ---

SYN = "client SYN 0:0(0) <mss,ws>"
DATA = 'client DATA 1:77(76) ack 1 "GET /a HTTP/1.1"'
BARE = "client RST 1:1(0)"
ANSWER = "lookup A www.lab.test x2 tcp -> alias.lab.test -> server,192.0.2.81"

ALLOWED = [
    ("client SYN * <*>", SYN),
    ("client SYN * <mss,ws>", SYN),
    ("client SYN 0:*(*) <*>", SYN),
    ("client SYN next:0(0) <*>", SYN),
    ('client DATA * "GET *"', DATA),
    ('client DATA *:*(76) ack * "* HTTP/1.1"', DATA),
    ('client DATA 1:77(*) ack 1 "*"', DATA),
    ('client DATA * ack 1 "GET*/a*HTTP*"', DATA),
    ('client RST * "*"', BARE),
    ("client RST *:*(*)", BARE),
    ("client RST * <*>", BARE),
    ("lookup * * x* tcp -> * -> *", ANSWER),
    ("lookup A www.* x2 tcp -> *.lab.test -> server,*", ANSWER),
    ("lookup A *lab* x2 tcp -> alias.lab.test -> *,192.0.2.81", ANSWER),
]
REFUSED = [
    ("client SYN *", SYN),  # no options written: none
    ("client SYN * <mss>", SYN),
    ("client SYN next:0(0) ack * <*>", SYN),
    ("server SYN * <*>", SYN),
    ("client DATA *", DATA),  # no start line written: none
    ('client DATA * "GET"', DATA),
    ('client DATA * "GET \\* HTTP/1.1"', DATA),
    ('client DATA *:*(*) "*"', DATA),  # no ack written behind numbers: none
    ('client DATA * ack all "*"', DATA),
    ('client DATA * "GET /a* HTTP/1.1 *"', DATA),
    ("client RST * ack *", BARE),
    ('client RST * ""', BARE),
    ("lookup * * x* -> * -> *", ANSWER),
    ("lookup * * tcp -> * -> *", ANSWER),
    ("lookup * * x3 tcp -> * -> *", ANSWER),
    ("lookup * * x2 tcp -> *", ANSWER),
    ("lookup AAAA * x2 tcp -> * -> *", ANSWER),
    ("lookup A \\*.lab.test x2 tcp -> * -> *", ANSWER),
    ("lookup A * x2 tcp -> * -> server", ANSWER),
    ("lookup A * x2 tcp -> *.org -> *", ANSWER),
    ("connection 2", SYN),
    ("client SYN *", ANSWER),
]


@pytest.mark.parametrize(("pattern", "found"), ALLOWED)
def test_a_wildcard_allows_what_it_stands_for(pattern: str, found: str) -> None:
    assert matches(pattern, found)


@pytest.mark.parametrize(("pattern", "found"), REFUSED)
def test_what_a_pattern_does_not_say_does_not_match(pattern: str, found: str) -> None:
    assert not matches(pattern, found)


def test_a_star_may_be_meant() -> None:
    star = "lookup A *.lab.test -> server"
    assert matches("lookup A \\*.lab.test -> server", star)
    assert not matches("lookup A \\*.lab.test -> server", "lookup A www.lab.test -> server")
    assert matches('client DATA 1:9(8) ack 1 "OPTIONS \\* HTTP/1.1"', 'client DATA 1:9(8) ack 1 "OPTIONS * HTTP/1.1"')


@given(st.lists(st.text("ab", max_size=3), min_size=1, max_size=5), st.text("ab", max_size=9))
def test_a_glob_agrees_with_fnmatch(pieces: list[str], text: str) -> None:
    from fnmatch import fnmatchcase

    assert Glob(tuple(pieces)).matches(text) == fnmatchcase(text, "*".join(pieces))


OPEN = "client SYN 0:0(0)\nserver SYN,ACK 0:0(0) ack 1\nclient ACK 1:1(0) ack 1\n"


@pytest.mark.parametrize(
    ("segment", "is_next"),
    [
        ("client DATA 1:11(10) ack 1", True),
        ("client DATA 2:12(10) ack 1", False),  # a gap
        ("client DATA 0:10(10) ack 1", False),  # again
        ("client DATA 1:11(10) ack 2", False),  # an ack of what wasn't sent
        ("client DATA 1:11(10) ack 0", False),  # an ack that lags behind
        ("client DATA 1:11(10)", False),
    ],
)
def test_next_and_all_leave_no_gap_and_no_lag(segment: str, is_next: bool) -> None:
    assert matches(OPEN + "client DATA next:*(*) ack all", OPEN + segment) == is_next


def test_next_and_all_count_syn_fin_and_the_highest_number_alone() -> None:
    found = OPEN + "client DATA 1:11(10) ack 1\n" * 2 + "server FIN,ACK 1:1(0) ack 11\nclient ACK 11:11(0) ack 2\n"
    expected = (
        OPEN
        + "repeat 2 {\nclient DATA 1:*(*) ack all\n}\nserver FIN,ACK next:*(0) ack all\nclient ACK next:*(0) ack all"
    )
    assert matches(expected, found)


def test_next_and_all_begin_anew_with_each_connection() -> None:
    two = OPEN + "connection 2\n" + OPEN
    relational = "client SYN next:*(0)\nserver SYN,ACK next:*(0) ack all\nclient ACK next:*(0) ack all\n"
    assert matches(f"{relational}connection 2\n{relational}", two)


# --- groups ---


@pytest.mark.parametrize(
    ("pattern", "allowed"),
    [
        ("A ?", ["", "A"]),
        ("optional {\nA\nB\n}", ["", "AB"]),
        ("any order {\nA\nB\n}", ["AB", "BA"]),
        ("any order {\nA ?\nrepeat 2 {\nB\n}\n}", ["BB", "ABB", "BBA"]),
        ("either {\nA\n} or {\nB\nB\n} or {\nC\n}", ["A", "BB", "C"]),
        ("repeat 2 {\nA\n}", ["AA"]),
        ("repeat 1..3 {\nA\n}", ["A", "AA", "AAA"]),
        ("repeat 0..1 {\nA\n}", ["", "A"]),
        ("repeat 2.. {\nA\n}", ["AA", "AAA", "AAAA"]),
        ("repeat 3 {\nA ?\n}", ["", "A", "AA", "AAA"]),
        ("repeat 1.. {\nA ?\nB\n}", ["B", "AB", "BB", "ABB", "BAB", "BBB", "ABAB", "ABBB", "BABB", "BBAB", "BBBB"]),
        ("repeat 1..2 {\nrepeat 2 {\nA\n}\n}", ["AA", "AAAA"]),
        ("repeat 0.. {\noptional {\nrepeat 0.. {\nA ?\n}\n}\n}", ["", "A", "AA", "AAA", "AAAA"]),
        ("A ?\nA", ["A", "AA"]),
    ],
)
def test_a_group_allows_just_its_readings(pattern: str, allowed: list[str]) -> None:
    lines = {letter: f"client ACK {number}:{number}(0) ack 1" for number, letter in enumerate("ABC")}
    for letter, line in lines.items():
        pattern = pattern.replace(letter, line.replace("ACK", "%"))
    pattern = pattern.replace("%", "ACK")
    words = ["".join(word) for size in range(5) for word in _words("ABC", size)]
    found = [word for word in words if matches(pattern, events("\n".join(lines[one] for one in word)) if word else ())]
    assert sorted(found) == sorted(allowed)


def _words(letters: str, size: int) -> Iterator[tuple[str, ...]]:
    if size == 0:
        yield ()
        return
    yield from ((letter, *rest) for letter in letters for rest in _words(letters, size - 1))


def _lines(letter: str) -> PatternLine:
    pattern = parse_expectation(f"client ACK {ord(letter)}:*(*) ack 1").root.items[0]
    assert isinstance(pattern, PatternLine)
    return pattern


LEAF = st.sampled_from("ab").map(_lines)
TREES: st.SearchStrategy[Node] = st.recursive(
    LEAF,
    lambda inner: st.one_of(
        st.lists(inner, min_size=1, max_size=3).map(lambda items: Block(tuple(items))),
        inner.map(Optional),
        st.lists(inner, min_size=1, max_size=3).map(lambda items: AnyOrder(tuple(items))),
        st.lists(inner, min_size=2, max_size=3).map(lambda items: Either(tuple(items))),
        st.builds(
            lambda body, least, more: Repeat(body, least, None if more is None else max(1, least + more)),
            inner,
            st.integers(0, 3),
            st.one_of(st.none(), st.integers(0, 2)),
        ),
    ),
    max_leaves=6,
)


def _ends(node: Node, found: tuple[Event, ...], start: int) -> frozenset[int]:
    """Where a reading of `node` that begins at `start` may end: as the page says it, and as slowly as that is."""
    match node:
        case PatternLine():
            return frozenset({start + 1} if start < len(found) and meets(found[start], node) else ())
        case Block(items):
            return _chain(items, found, start)
        case Optional(body):
            return _ends(body, found, start) | {start}
        case Either(branches):
            return frozenset().union(*(_ends(branch, found, start) for branch in branches))
        case AnyOrder(entries):
            return frozenset().union(*(_chain(order, found, start) for order in permutations(entries)))
        case Repeat(body, least, most):
            rounds = range(least, (len(found) + least if most is None else most) + 1)
            return frozenset().union(*(_chain((body,) * count, found, start) for count in rounds))


def _chain(items: tuple[Node, ...], found: tuple[Event, ...], start: int) -> frozenset[int]:
    places = frozenset({start})
    for item in items:
        places = frozenset().union(*(_ends(item, found, place) for place in places))
    return places


@given(TREES, st.text("ab", max_size=6))
def test_matching_agrees_with_the_meaning_of_each_group(tree: Node, word: str) -> None:
    found = events("\n".join(f"client ACK {ord(one)}:{ord(one)}(0) ack 1" for one in word)) if word else ()
    expectation = replace(parse_expectation("client ACK *"), root=Block((tree,)))
    result = match(expectation, found)
    assert isinstance(result, Matched) == (len(found) in _ends(tree, found, 0))
    if isinstance(result, Mismatch):
        reached = result.position  # some longer trace with this beginning could match: what is awaited says how
        assert all(
            meets(found[reached], one.line) is False for one in result.awaited if one.line and reached < len(found)
        )


# --- times ---


@pytest.mark.parametrize(
    ("wanted", "allowed"),
    [
        ("0.9s..1.1s", True),
        ("1s..", True),
        ("1s..1s", True),
        ("..999ms", False),
        ("1000001us..", False),
        ("..1000000us", True),
        ("1.1s..2s", False),
    ],
)
def test_a_time_range_has_both_its_bounds(wanted: str, allowed: bool) -> None:
    found = "0.500000 client SYN 0:0(0)\n1.500000 client SYN 0:0(0)"
    assert matches(f"client SYN 0:0(0)\nclient SYN 0:0(0) after {wanted}", found) == allowed
    shape = "0.500000 client SYN\n1.500000 client SYN again"
    assert matches(f"client SYN\nclient SYN again after {wanted}", shape) == allowed


def test_the_first_segment_comes_after_none() -> None:
    assert not matches("client SYN 0:0(0) after 0s..", SYN.removesuffix(" <mss,ws>"))


def test_the_time_is_since_the_segment_before_on_any_connection() -> None:
    talks = [Talk(port=40000), Talk(port=40001)]
    first, second = (talk.open().exchange().close().frames for talk in talks)
    mixed = [frame for both in zip(first, second, strict=True) for frame in both]
    found = report([*lookup(), *mixed], "complete")
    assert found.story
    from analysis.sequence import exact_trace

    times = found.capture.frames.time_ns
    waits = [one.after_ns for one in events_of(exact_trace(found.story), lambda frame: int(times[frame - 1]))]
    segments = len(first) + len(second)
    assert [wait for wait in waits if wait is not None] == pytest.approx([1_000_000] * (segments - 1), abs=1000)


@pytest.mark.parametrize(("wanted", "allowed"), [("1s..1.2s", True), ("..1s", False), ("1.1s..", False)])
def test_a_lookup_takes_from_its_first_query_to_its_answer(wanted: str, allowed: bool) -> None:
    found = "0.000000..1.003000 lookup A www.lab.test x2 -> server"
    assert matches(f"lookup A www.lab.test x2 -> server took {wanted}", found) == allowed


def test_a_lookup_without_an_answer_takes_no_time_at_all() -> None:
    assert not matches("lookup A * x* -> * took 0s..", "0.000000 lookup A www.lab.test -> UNANSWERED")


# --- work ---

LONG = events("client ACK 1:1(0) ack 1\n" * 2_000)
ANY_ACK = "client ACK * ?\n"
NASTY = {
    "optional lines, then as many that aren't": ANY_ACK * 200 + "client ACK *\n" * 200,
    "repeats within repeats": "repeat 0.. {\n" * 8 + ANY_ACK * 2 + "}\n" * 8 + "server ACK *",
    "bounded repeats within each other": "repeat 0..1000 {\n" * 3 + ANY_ACK * 2 + "}\n" * 3 + "server ACK *",
    "counted repeats within each other": "repeat 1000 {\nrepeat 1..1000 {\nclient ACK *\n}\n}\nserver ACK *",
    "any order within any order": "repeat 0.. {\n" + ("any order {\n" + ANY_ACK * 7) * 5 + "}\n" * 6 + "server ACK *",
    "alternatives that are the same": "repeat 0.. {\neither {\nclient ACK *\n} or {\n" + ANY_ACK + "}\n}\nserver ACK *",
}


@pytest.mark.parametrize("name", NASTY)
def test_no_expectation_takes_more_steps_than_are_allowed(name: str) -> None:
    expectation = parse_expectation(NASTY[name])
    result, program = match(expectation, LONG), compile_expectation(expectation)
    assert not isinstance(result, Matched)
    assert result.steps <= 200_000 + max(200, 4 * len(program.steps)) * len(LONG)


@pytest.mark.parametrize("text", [ANY_ACK * 450, "repeat 1.. {\n" + ANY_ACK * 100 + "}"])
def test_many_lines_that_may_be_missing_are_not_too_many_readings(text: str) -> None:
    assert isinstance(match(parse_expectation(text), LONG[:450]), Matched)


def test_too_many_readings_of_nothing_are_said_too() -> None:
    orders = ("any order {\n" + ANY_ACK * 8 + "}\n") * 8
    text = "either {\noptional {\nclient ACK *\n}\n} or {\nany order {\n" + orders + "}\nclient SYN *\n}"
    assert isinstance(match(parse_expectation(text), ()), Undecided)


def test_where_readings_are_the_same_the_steps_grow_with_the_trace_alone() -> None:
    pattern = parse_expectation(NASTY["repeats within repeats"])
    half, whole = (match(pattern, LONG[:size]).steps for size in (1_000, 2_000))
    assert whole < 2.1 * half


def test_too_many_readings_are_undecided_and_the_rule_says_so() -> None:
    from analysis.report import make_report

    nasty = NASTY["any order within any order"]
    assert isinstance(match(parse_expectation(nasty), LONG), Undecided)
    talk = Talk().open()
    for _ in range(60):
        talk.send("client", "A")
    expected = parse_expectation(f"client SYN * <*>\nserver SYN,ACK * <*>\n{nasty}")
    finding = make_report(report(talk.frames, "complete").capture, None, expected).findings[-1]
    assert (finding.status, finding.actual[:17]) == ("inconclusive", "too many readings")


def test_a_hundred_thousand_rounds_are_no_depth() -> None:
    text = "repeat 100000 {\nclient ACK *\n}"
    assert isinstance(match(parse_expectation(text), LONG), Mismatch)
    assert isinstance(match(parse_expectation(text.replace("100000", "0..100000")), LONG), Matched)
    assert isinstance(match(parse_expectation("repeat 2000 {\nclient ACK *\n}"), LONG), Matched)


def test_a_long_download_takes_a_few_steps_a_line() -> None:
    talk = Talk().open().send("client", "PA", b"GET / HTTP/1.1\r\nHost: www.example.com\r\n\r\n")
    for _ in range(100):
        talk.send("server", "A", RESPONSE[:1] * 1000).send("client", "A")
    found = report(talk.frames)
    text = 'client SYN * <*>\nserver SYN,ACK * <*>\nclient ACK *\nclient DATA * "GET *"\nrepeat 0.. {\n'
    text += "server DATA next:*(1000) ack all\nclient ACK next:*(0) ack all ?\n}"
    result = match(parse_expectation(text), of_sequence(found.exact))
    assert isinstance(result, Matched)
    assert result.steps < 10 * len(found.exact.lines)
