"""The shape of an expectation: what another backend must meet; sound, or none."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from analysis.expect.match import Matched, match
from analysis.expect.parse import parse_expectation
from analysis.sequence import Sequence, parse_sequence, shape_of
from tests.expecting import first_difference
from tests.test_expect import of_sequence
from tests.test_expect_difference import EXAMPLES, FOUND
from tests.test_sequence import SEQUENCES, VECTORS


def meets_shape(expected: str, sequence: Sequence) -> bool:
    shape = parse_expectation(expected).shape()
    assert shape is not None
    assert shape.form == "shape"
    return isinstance(match(shape, of_sequence(shape_of(sequence))), Matched)


@pytest.mark.parametrize("vector", VECTORS, ids=lambda vector: vector["title"])
def test_the_shape_of_a_plain_text_is_its_sequences(vector: dict[str, str]) -> None:
    shape = parse_expectation(vector["exact"]).shape()
    assert shape is not None
    assert first_difference(shape.source, vector["shape"]) is None
    assert shape.source == vector["shape"]


def test_a_shape_is_its_own() -> None:
    shape = parse_expectation("client SYN\nserver RST,ACK ?")
    assert shape.shape() == shape


@given(SEQUENCES)
def test_every_sequence_meets_the_shape_of_its_text(sequence: Sequence) -> None:
    shape = parse_expectation(str(sequence)).shape()
    if shape is not None and shape.form == "shape":
        assert isinstance(match(shape, of_sequence(shape_of(sequence))), Matched)


def test_an_optional_ack_that_a_shape_drops_makes_no_difference() -> None:
    loose = FOUND.replace("server  ACK      1:1(0)        ack 77", "server  ACK      1:1(0)        ack 77 ?")
    shape = parse_expectation(loose).shape()
    assert shape is not None
    assert shape.source == str(shape_of(parse_sequence(FOUND)))


def test_an_optional_ack_of_the_close_makes_two_shapes() -> None:
    loose = FOUND.replace(
        "server  FIN,ACK  242:242(0)    ack 78", "server ACK 242:242(0) ack 78 ?\nserver  FIN,ACK  242:242(0)    ack 78"
    )
    four = FOUND.replace("server  FIN,ACK", "server  ACK 242:242(0) ack 78\nserver  FIN,ACK")
    for text in (FOUND, four):
        assert meets_shape(loose, parse_sequence(text))
    assert not meets_shape(loose, parse_sequence(FOUND.replace("server  FIN,ACK", "server  RST,ACK")))


RELATIONAL = """\
lookup  A     *.lab.test -> server
lookup  AAAA  *.lab.test -> 2001:db8::80,*
client  SYN      0:0(0)                   <*>
server  SYN,ACK  0:0(0)        ack all    <*>
client  ACK      next:*(0)     ack all
client  DATA     next:*(*)     ack all    "GET * HTTP/1.1"
repeat 2..4 {
    server  DATA     next:*(*)     ack all    "*" ?
    server  DATA     next:*(*)     ack all
}
client  ACK      next:*(*)     ack all    after ..1s
client  FIN,ACK  next:*(0)     ack all
server  FIN,ACK  next:*(0)     ack all
client  ACK      next:*(0)     ack all
"""


def test_what_is_relative_has_a_shape_of_its_own() -> None:
    first = '    server  DATA     next:*(*)     ack all    "*" ?\n'
    text = RELATIONAL.replace(first, "").replace("repeat", 'server DATA next:*(*) ack all "HTTP/1.1 200 *"\nrepeat')
    shape = parse_expectation(text).shape()
    assert shape is not None
    expected = shape_of(parse_sequence(FOUND.replace("302 Found", "200 OK")))
    assert shape.source == str(expected)


UNSOUND = {
    "a start line that may be there": RELATIONAL,
    "a start line whose code is open": 'server DATA 1:9(8) ack 1 "HTTP/1.1 30*"',
    "a seq that is open": "client DATA *:9(8) ack 1",
    "numbers that are open": "client RST *",
    "an ack that is open": "client ACK 1:1(0) ack *",
    "a FIN that may have bytes": "client FIN,ACK next:*(*) ack 1",
    "a number behind a length that is open": "client DATA next:*(*) ack 0\nclient DATA 9:10(1) ack 0",
    "an ack of a length that is open": "client DATA next:*(*) ack 0\nserver ACK 0:0(0) ack 9",
    "a repetition without end": "repeat 1.. {\nclient SYN 0:0(0)\n}",
    "more variants than can be looked at": "client ACK 0:0(0) ack 1 ?\n" * 7,
    "more lines than can be looked at": "repeat 1000000 {\nclient SYN 0:0(0)\n}",
    "repetitions within each other": "repeat 9000 {\n" * 4 + "client SYN 0:0(0)\n" + "}\n" * 4,
    "orders within each other": ("any order {\n" + "client SYN 0:0(0)\n" * 7) * 4 + "}\n" * 4,
    "how often a name was asked for": "lookup A a x* -> server",
    "any outcome": "lookup A a -> *",
    "any type": "lookup * a -> server",
}


@pytest.mark.parametrize("name", UNSOUND)
def test_where_the_shape_hangs_on_what_is_open_there_is_none(name: str) -> None:
    assert parse_expectation(UNSOUND[name]).shape() is None


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda example: example["title"])
def test_a_sequence_that_matches_meets_the_shape_too(example: dict[str, str]) -> None:
    from tests.expecting import TIMED

    expected, sequence = parse_expectation(example["pattern"]), parse_sequence(TIMED.sub("", example["good"]))
    shape = expected.shape()
    if shape is not None and expected.form == "exact":
        assert isinstance(match(shape, of_sequence(shape_of(sequence))), Matched)


LINES = st.sampled_from(FOUND.splitlines()[2:])


@given(st.lists(LINES, min_size=1, max_size=6), st.data())
def test_whatever_matches_an_expectation_meets_its_shape(lines: list[str], data: st.DataObject) -> None:
    """Groups around lines, and one of the readings: its shape is among those of the expectation."""
    text, reading = "", ""
    for line in lines:
        how = data.draw(st.sampled_from(["plain", "optional", "twice", "either"]))
        if how == "plain":
            text, reading = f"{text}{line}\n", f"{reading}{line}\n"
        elif how == "optional":
            text += f"{line} ?\n"
            reading += f"{line}\n" * data.draw(st.integers(0, 1))
        elif how == "twice":
            text += f"repeat 1..2 {{\n{line}\n}}\n"
            reading += f"{line}\n" * data.draw(st.integers(1, 2))
        else:
            other = data.draw(LINES)
            text += f"either {{\n{line}\n}} or {{\n{other}\n}}\n"
            reading += data.draw(st.sampled_from([line, other])) + "\n"
    sequence = parse_sequence(reading)
    assert isinstance(match(parse_expectation(text), of_sequence(sequence)), Matched)
    shape = parse_expectation(text).shape()
    if shape is not None:
        assert isinstance(match(shape, of_sequence(shape_of(sequence))), Matched)
