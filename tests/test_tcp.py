"""Connections: relative numbers, handshake, reassembly, close, states."""

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from analysis.carried import NOTHING
from analysis.sequence import exact_sequence, shape_of
from analysis.story import Story
from analysis.tcp.coverage import Coverage
from analysis.tcp.stream import reassemble
from tests.craft import REQUEST, RESPONSE, SYN_OPTIONS, Talk, connection, lookup, report

ISN = st.one_of(st.integers(0, 2**32 - 1), st.integers(2**32 - 60, 2**32 - 1))


@given(ISN, ISN)
@example(2**32 - 1, 2**32 - 1)
@example(2**32 - 20, 2**32 - 30)
def test_relative_numbers_do_not_depend_on_the_initial_ones(client_isn: int, server_isn: int) -> None:
    found = connection(Talk(client_isn, server_isn).open().exchange().close())
    first, last = len(REQUEST) + 1, len(RESPONSE) + 1
    assert [(segment.seq, segment.ack) for segment in found.segments] == [
        (0, None),
        (0, 1),
        (1, 1),
        (1, 1),
        (1, first),
        (1, first),
        (first, last),
        (first, last),
        (last, first + 1),
        (first + 1, last + 1),
    ]
    assert found.isn == {"client": client_isn, "server": server_isn}
    assert found.close.variant == "three-segment"
    assert reassemble(found, "server").data == RESPONSE


@given(ISN, st.permutations(range(4)))
def test_reassembly_puts_segments_in_order_around_the_wrap(isn: int, order: list[int]) -> None:
    talk = Talk(client_isn=isn).open()
    start, parts = talk.next["client"], [b"GET ", b"/ HT", b"TP/1", b".1\r\n"]
    for index in order:
        talk.send("client", "PA", parts[index], seq=start + 4 * index)
    stream = reassemble(connection(talk), "client")
    assert stream.data == b"".join(parts)
    assert not stream.has_gap
    assert stream.frames(0, 4) == (4 + order.index(0),)


def test_a_gap_ends_the_stream_and_is_said() -> None:
    talk = Talk().open()
    talk.send("client", "PA", b"one")
    talk.send("client", "PA", b"three", seq=talk.next["client"] + 3)
    stream = reassemble(connection(talk), "client")
    assert (stream.data, stream.has_gap) == (b"one", True)


@given(st.lists(st.tuples(st.integers(0, 30), st.integers(1, 10)), max_size=20))
def test_coverage_knows_what_is_new(spans: list[tuple[int, int]]) -> None:
    coverage, known = Coverage(), set[int]()
    for start, length in spans:
        numbers = set(range(start, start + length))
        assert coverage.add(start, start + length) == bool(numbers - known)
        known |= numbers


def test_a_segment_sent_twice_is_marked_and_counts_once() -> None:
    talk = Talk().open().send("client", "PA", REQUEST)
    talk.send("client", "PA", REQUEST, seq=talk.next["client"] - len(REQUEST))
    found = connection(talk)
    assert [segment.repeated for segment in found.segments] == [False, False, False, False, True]
    assert reassemble(found, "client").data == REQUEST


def _opened() -> Talk:
    return Talk().open()


HANDSHAKES = {
    "complete": Talk().open(),
    "refused": Talk().send("client", "S").send("server", "RA", seq=0),
    "unanswered": Talk().send("client", "S").send("client", "S", seq=1000),
    "incomplete": Talk().send("client", "S").send("server", "SA"),
    "incomplete: an Ack that no SYN asked for": (
        Talk().send("client", "S").send("server", "SA", ack=1007).send("client", "A")
    ),
    "midway": Talk().exchange(),
}


def _cookie(value: bytes) -> list[tuple[object, object]]:
    return [*SYN_OPTIONS, (34, value)]


OPENINGS = {  # kind, SYNs, data on the SYN, Fast Open
    "three-way": (_opened(), ("three-way", 1, None, None)),
    "the SYN is sent again": (
        Talk().send("client", "S").send("client", "S", seq=1000).send("server", "SA").send("client", "A"),
        ("three-way", 2, None, None),
    ),
    "simultaneous": (
        Talk()
        .send("client", "S")
        .send("server", "S")
        .send("client", "SA", seq=1000)
        .send("server", "SA", seq=9000)
        .exchange(),
        ("simultaneous", 1, None, None),
    ),
    "split": (
        Talk().send("client", "S").send("server", "S").send("client", "SA", seq=1000).send("server", "A"),
        ("split", 1, None, None),
    ),
    "split, its SYN acknowledged first": (
        Talk()
        .send("client", "S")
        .send("server", "A")
        .send("server", "S")
        .send("client", "SA", seq=1000)
        .send("server", "A"),
        ("split", 1, None, None),
    ),
    "Fast Open accepted": (
        Talk().send("client", "S", b"GET", options=_cookie(b"12345678")).send("server", "SA").send("client", "A"),
        ("three-way", 1, "accepted", "accepted"),
    ),
    "Fast Open ignored": (
        Talk()
        .send("client", "S", b"GET", options=_cookie(b"12345678"))
        .send("server", "SA", ack=1001)
        .send("client", "PA", b"GET", seq=1001),
        ("three-way", 1, "ignored", "ignored"),
    ),
    "a cookie asked for": (
        Talk().send("client", "S", options=_cookie(b"")).send("server", "SA").send("client", "A"),
        ("three-way", 1, None, "requested"),
    ),
    "bytes on the SYN without a cookie": (
        Talk().send("client", "S", b"GET").send("server", "SA").send("client", "A"),
        ("three-way", 1, "accepted", None),
    ),
}


@pytest.mark.parametrize("name", OPENINGS)
def test_the_kind_of_opening_is_named(name: str) -> None:
    talk, expected = OPENINGS[name]
    found = connection(talk).handshake
    assert found.status == "complete"
    assert (found.kind, found.syn_count, found.syn_data, found.fast_open) == expected


@pytest.mark.parametrize("numbers", [(9000, 5000), (5000, 9000)])
def test_a_server_that_draws_another_number_for_each_answer_counts_from_the_one_acknowledged(
    numbers: tuple[int, int],
) -> None:
    talk = Talk().send("client", "S").send("server", "SA", seq=numbers[0]).send("client", "S", seq=1000)
    talk.send("server", "SA", seq=numbers[1])
    talk.next["server"] = talk.seen["client"] = numbers[1] + 1
    found = connection(talk.send("client", "A").exchange().close())
    assert [segment.seq for segment in found.segments if segment.sender == "server"] == [0, 0, 1, 1, 1 + len(RESPONSE)]
    assert (found.handshake.status, found.close.variant) == ("complete", "three-segment")
    assert reassemble(found, "server").data == RESPONSE


def test_a_stray_reset_changes_nothing() -> None:
    for offset in (-50_000, -1, 1000, 10**9):
        talk = _opened().exchange()
        end = talk.next["client"]
        talk.send("client", "R", seq=end + offset)
        talk.next["client"] = talk.seen["server"] = end
        close = connection(talk.close()).close
        assert (close.variant, close.complete, close.stray_resets) == ("three-segment", True, (8,)), offset


def test_a_fin_behind_a_gap_has_not_arrived() -> None:
    talk = _opened().exchange()
    start = talk.next["client"]
    talk.send("client", "PA", b"def", seq=start + 3).send("client", "FA")
    talk.send("server", "A", ack=start).send("client", "PA", b"abc", seq=start).send("server", "A")
    servers = [states.server for states in connection(talk).states]
    assert servers[-5:] == ["ESTABLISHED"] * 4 + ["CLOSE-WAIT"]


FACTS = {
    "a FIN with bytes": (
        _opened().send("client", "FPA", b"bye").send("server", "FA").send("client", "A"),
        "fin-with-data",
    ),
    "a FIN sent again": (
        _opened().send("client", "FA").send("client", "FA", seq=1001).send("server", "FA").send("client", "A"),
        "fin-retransmitted",
    ),
    "bytes after the first FIN": (
        _opened()
        .send("client", "FA")
        .send("server", "A")
        .send("server", "PA", b"late")
        .send("client", "A")
        .send("server", "FA")
        .send("client", "A"),
        "half-close-with-data",
    ),
    "no last ACK": (_opened().send("client", "FA").send("server", "FA"), "last-ack-missing"),
    "a reset after all": (_opened().close().send("client", "R"), "reset-after-close"),
}


@pytest.mark.parametrize("name", FACTS)
def test_what_is_true_beside_a_close_is_said(name: str) -> None:
    talk, fact = FACTS[name]
    facts = {fact} if fact == "last-ack-missing" else {fact, "complete"}
    assert set(connection(talk).life.ending.facts) == facts


@pytest.mark.parametrize("status", HANDSHAKES)
def test_the_handshake_is_named(status: str) -> None:
    assert connection(HANDSHAKES[status]).handshake.status == status.split(":", maxsplit=1)[0]


def _fetched() -> Talk:
    return Talk().open().exchange()


CLOSES = {
    "three-segment": (_fetched().close(), "client", True),
    "three-segment by the server": (_fetched().close("server"), "server", True),
    "four-segment": (
        _fetched().send("client", "FA").send("server", "A").send("server", "FA").send("client", "A"),
        "client",
        True,
    ),
    "simultaneous": (
        _fetched()
        .send("client", "FA")
        .send("server", "FA", ack=1001 + len(REQUEST))
        .send("client", "A")
        .send("server", "A"),
        None,
        True,
    ),
    "half-closed": (_fetched().send("client", "FA").send("server", "A"), "client", False),
    "reset": (_fetched().send("server", "RA"), "server", None),
    "reset after a FIN": (_fetched().send("client", "FA").send("server", "R"), "client", None),
    "refused": (HANDSHAKES["refused"], None, None),
    "open": (_fetched(), None, False),
    "three-segment without its last ACK": (
        _fetched().send("server", "FA").send("client", "FA"),
        "server",
        False,
    ),
}


@pytest.mark.parametrize("name", CLOSES)
def test_the_close_is_named_with_who_began_it(name: str) -> None:
    talk, first_closer, complete = CLOSES[name]
    close = connection(talk).close
    words = name.split(" ", maxsplit=1)[0]
    assert (close.variant, close.first_closer, close.complete) == (words, first_closer, complete)


STATES = {
    "three-segment": [("FIN-WAIT-1", "CLOSE-WAIT"), ("TIME-WAIT", "LAST-ACK"), ("TIME-WAIT", "CLOSED")],
    "four-segment": [
        ("FIN-WAIT-1", "CLOSE-WAIT"),
        ("FIN-WAIT-2", "CLOSE-WAIT"),
        ("TIME-WAIT", "LAST-ACK"),
        ("TIME-WAIT", "CLOSED"),
    ],
}


@pytest.mark.parametrize("name", STATES)
def test_states_follow_the_diagram_of_rfc_9293(name: str) -> None:
    found = connection(CLOSES[name][0])
    opening = [("SYN-SENT", "SYN-RECEIVED"), ("ESTABLISHED", "SYN-RECEIVED"), ("ESTABLISHED", "ESTABLISHED")]
    assert [tuple(states) for states in found.states[:3]] == opening
    assert [tuple(states) for states in found.states[7:]] == STATES[name]


def test_a_syn_with_a_new_number_on_used_ports_is_a_new_connection() -> None:
    first, second = Talk().open().exchange().close(), Talk(client_isn=77_000).open().exchange().close()
    found = report(first.frames + second.frames).traffic.connections
    assert [len(one.segments) for one in found] == [10, 10]


def test_a_syn_with_the_same_number_is_a_retransmission() -> None:
    talk = Talk().send("client", "S").send("client", "S", seq=1000).send("server", "SA").send("client", "A")
    found = connection(talk)
    assert found.segments[1].repeated
    assert found.handshake.frames == (1, 2, 3, 4)


def test_completeness_and_initial_rtt_are_tsharks() -> None:
    found = connection(_fetched().close())
    assert found.completeness == 31
    assert found.rtt_ns is not None
    assert abs(found.rtt_ns - 2_000_000) < 1000


def test_datagrams_open_no_connection() -> None:
    assert report(lookup()).traffic.connections == ()


def test_the_shape_of_a_close_keeps_its_acks_and_no_others() -> None:
    found = connection(CLOSES["four-segment"][0])
    shape = shape_of(exact_sequence(Story(("",), (), (found,), (NOTHING,), ())))
    assert [" ".join(line.split()) for line in str(shape).splitlines()] == [
        "client SYN",
        "server SYN,ACK",
        "client ACK",
        "client DATA",
        "server DATA",
        "client FIN,ACK",
        "server ACK",
        "server FIN,ACK",
        "client ACK",
    ]
