"""The sequence: its published vectors, its grammar, both forms."""

import hashlib
import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from analysis.errors import InputError
from analysis.sequence import (
    ConnectionLine,
    Line,
    LookupLine,
    Numbers,
    SegmentLine,
    Sequence,
    parse_sequence,
    shape_of,
)
from tests.conftest import HERE
from tests.craft import NAME, SERVER, Talk, answer, fetch, question, report

DOCUMENT = (HERE / "docs" / "sequence.md").read_text()
VECTOR = re.compile(
    r"### (?P<title>[^\n]*)\n\nExact, `(?P<exact_hash>\w+)`:\n\n```sequence\n(?P<exact>.*?)```\n\n"
    r"Shape, `(?P<shape_hash>\w+)`:\n\n```sequence\n(?P<shape>.*?)```",
    re.DOTALL,
)
VECTORS = [match.groupdict() for match in VECTOR.finditer(DOCUMENT)]


def test_three_vectors_are_published() -> None:
    assert len(VECTORS) == 3


@pytest.mark.parametrize("vector", VECTORS, ids=lambda vector: vector["title"])
def test_a_published_vector_holds(vector: dict[str, str]) -> None:
    exact = parse_sequence(vector["exact"])
    shape = shape_of(exact)
    assert str(exact) == vector["exact"]
    assert str(shape) == vector["shape"]
    assert parse_sequence(vector["shape"]) == shape
    for sequence, text, fingerprint in (
        (exact, vector["exact"], vector["exact_hash"]),
        (shape, vector["shape"], vector["shape_hash"]),
    ):
        assert hashlib.sha256(text.encode()).hexdigest() == fingerprint == sequence.fingerprint


WORDS = st.from_regex(r"[a-z0-9-]{1,10}(\.[a-z0-9-]{1,10}){0,2}", fullmatch=True)
TEXTS = st.text(st.characters(max_codepoint=255), max_size=40)
LOOKUPS = st.builds(
    LookupLine,
    st.sampled_from(["A", "AAAA", "MX"]),
    WORDS,
    st.integers(1, 5),
    st.sampled_from(["udp", "tcp"]),
    st.lists(WORDS, max_size=3).map(tuple),
    st.one_of(st.sampled_from([("NXDOMAIN",), ("server",)]), st.just(("server", "192.0.2.7"))),
)
FLAGS = ["SYN", "SYN,ACK", "ACK", "DATA", "FIN,ACK", "FIN", "RST", "RST,ACK", "NONE", "FIN,SYN", "FIN,SYN,RST,ACK"]
SEGMENTS = st.builds(
    SegmentLine,
    st.sampled_from(["client", "server"]),
    st.sampled_from(FLAGS),
    st.builds(lambda seq, length: Numbers(seq, seq + length, length), st.integers(-5, 1 << 40), st.integers(0, 65535)),
    st.one_of(st.none(), st.integers(0, 1 << 40)),
    st.lists(st.sampled_from(["mss", "nop", "ws", "kind-254"]), max_size=3).map(tuple),
    st.one_of(st.none(), TEXTS),
    st.just(value=False),
)
CONNECTIONS = st.builds(ConnectionLine, st.integers(2, 9))
SEQUENCES = st.builds(
    lambda lookups, rest: Sequence((*lookups, *rest), "exact"),
    st.lists(LOOKUPS, max_size=3),
    st.lists(st.one_of(SEGMENTS, CONNECTIONS), max_size=12),
)


@given(SEQUENCES)
def test_what_is_printed_is_read_back(sequence: Sequence) -> None:
    assert parse_sequence(str(sequence)) == sequence
    assert str(sequence).isascii()
    assert len(str(sequence).splitlines()) == len(sequence.lines)


@given(SEQUENCES)
def test_a_shape_is_read_back_and_is_its_own_shape(sequence: Sequence) -> None:
    shape = shape_of(sequence)
    assert shape_of(shape) == shape
    if any(not isinstance(line, ConnectionLine) for line in shape.lines):
        assert parse_sequence(str(shape)) == shape


@given(SEQUENCES, st.integers(1, 1000))
def test_the_shape_does_not_depend_on_ack_counts_options_or_reason_phrases(sequence: Sequence, extra: int) -> None:
    def altered(line: Line) -> Line:
        if not isinstance(line, SegmentLine):
            return line
        options = ("mss", "nop", f"kind-{extra}") if line.options else ()
        return SegmentLine(line.sender, line.flags, line.numbers, line.ack, options, line.text, again=line.again)

    changed = Sequence(tuple(altered(line) for line in sequence.lines), "exact")
    assert shape_of(changed) == shape_of(sequence)


def test_spaces_and_comments_do_not_count() -> None:
    loose = "\n# a comment\n   client   SYN  0:0(0)\n\n server SYN,ACK   0:0(0) ack  1  \n"
    assert str(parse_sequence(loose)) == "client  SYN      0:0(0)\nserver  SYN,ACK  0:0(0)        ack 1\n"


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("client SYN 0:0(0)\nclient HELLO 1:1(0)", "line 2"),
        ("client SYN 0:0", "line 1"),
        ("lookup A www.lab.test", "line 1"),
        ("client SYN\nserver SYN,ACK 0:0(0) ack 1", "mixes the two forms"),
        ('client DATA 1:2(1) ack 1 "unclosed', "line 1"),
        ("proxy SYN 0:0(0)", "line 1"),
    ],
)
def test_what_is_no_sequence_is_said_with_its_line(text: str, complaint: str) -> None:
    with pytest.raises(InputError, match=complaint) as caught:
        parse_sequence(text)
    assert caught.value.next_step


def test_answers_in_either_order_give_the_same_sequence() -> None:
    asked = [question(), question(kind="AAAA", number=8)]
    answers = [answer(SERVER), answer("2001:db8::1", kind="AAAA", number=8)]
    talk = Talk().open().exchange().close().frames
    one, other = report([*asked, *answers, *talk]), report([*asked[::-1], *answers[::-1], *talk])
    assert one.exact == other.exact
    assert str(one.exact).startswith(f"lookup  A     {NAME} -> server\nlookup  AAAA  {NAME} -> 2001:db8::1\n")


def test_ports_addresses_and_initial_numbers_are_not_in_it() -> None:
    first = report(fetch())
    moved = [question(), answer("203.0.113.9")]
    moved += Talk(client_isn=2**32 - 9, server_isn=5, port=50123, server="203.0.113.9").open().exchange().close().frames
    assert report(moved).exact.fingerprint == first.exact.fingerprint


def test_a_hostile_request_line_stays_in_its_quotes() -> None:
    request = f'GET /"\\x\x1b[2J HTTP/1.1\r\nHost: {NAME}\r\n\r\n'.encode()
    found = report(Talk().open().send("client", "PA", request).frames)
    assert all(line.isprintable() for line in str(found.exact).splitlines())
    assert parse_sequence(str(found.exact)) == found.exact


def test_the_sample_has_the_shape_that_the_document_says() -> None:
    from analysis.files.capture import read_capture
    from analysis.report import make_report

    sample = make_report(read_capture(Path(HERE, "samples", "google-2016.pcap")))
    assert sample.shape.fingerprint == VECTORS[0]["shape_hash"]
