"""Answers: how they may be written, what slips are found in wrong ones, and that no answer breaks the marking."""

import math
import re
import tomllib
from collections.abc import Mapping
from functools import cache
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from grading.exercise.model import Points, Question
from grading.facts.facts import Facts
from grading.facts.path import parse_path
from grading.facts.schema import check_path
from grading.marking.answers import check_answer
from grading.marking.grade import Result
from grading.marking.slips import SLIPS
from tests.craft import CIRCLE, CLIENT, NAME, REQUEST, RESPONSE, SERVER, Talk, lookup, report

CLIENT_ISN, SERVER_ISN = 0x12345678, 4_000_000_000
LENGTH, ANSWERED = len(REQUEST), len(RESPONSE)
RTT_S = 0.001999856
# frames: 1, 2 the lookup; 3–5 the handshake; 6–9 the exchange; 10–12 the close
SYN_ACK = "segments[from=server][flags~SYN]"
FIN_ACK = "segments[from=server][flags~FIN]"


@cache
def facts() -> Facts:
    talk = Talk(CLIENT_ISN, SERVER_ISN).open().exchange().close()
    return Facts(report([*lookup(), *talk.frames], host=NAME))


def answer(fact: str, written: Any, points: Points = 10, **changes: Any) -> Result:
    """What comes of `written` as the answer to the question for `fact`."""
    question = Question("Which?", check(fact), **changes)
    return check_answer(question, points, {"q": written}, "q", facts())


def check(fact: str) -> Any:
    path = parse_path(fact)
    check_path(path)
    return path


RIGHT: list[tuple[str, Any]] = [
    ("connection.client_isn", CLIENT_ISN),
    ("connection.client_isn", float(CLIENT_ISN)),
    ("connection.client_isn", "0x12345678"),
    ("connection.client_isn", " 0X12345678 "),
    ("connection.client_isn", "305419896"),
    ("connection.client_isn", "305,419,896"),
    ("connection.client_isn", "305_419_896"),
    ("connection.client_isn", "305 419 896"),
    ("connection.client_isn", "305'419'896"),
    ("connection.client_isn", "305\u202f419\u202f896"),
    ("connection.client_isn", "+305419896"),
    ("connection.close.variant", "three-segment"),
    ("connection.close.variant", " Three-Segment."),
    ("connection.close.first_closer", "the client"),
    ("connection.close.first_closer", "The  CLIENT"),
    ("connection.handshake.frames", [3, 4, 5]),
    ("connection.handshake.frames", [5, 3, 4]),
    ("connection.handshake.frames", ["3-5"]),
    ("connection.handshake.frames", ["3", "0x4", 5.0]),
    ("connection.handshake.frames", "3-5"),
    ("connection.handshake.frames", "3 – 5"),
    ("connection.handshake.frames", "3..4, 5"),
    ("connection.handshake.frames", "3, 4, 5,"),
    ("connection.handshake.frames", "3;4 5"),
    ("lookup.query_frames", 1),
    ("lookup.query_frames", [1]),
    ("connection.handshake.frames[-1]", "5"),
    ("connection.rtt_s", RTT_S),
    ("connection.rtt_s", "1.999856 ms"),
    ("connection.rtt_s", "1.999856ms"),
    ("connection.rtt_s", "1999.856 us"),
    ("connection.rtt_s", "1999.8560 µs"),
    ("connection.rtt_s", "+1999.856 μs"),
    ("connection.rtt_s", "0.001999856 s"),
    ("connection.rtt_s", "0.001999856"),
    ("connection.close.complete", True),
    ("connection.close.complete", "yes"),
    ("connection.close.complete", "True"),
    ("connection.close.half_close_data", "No."),
    ("connection.client.address", CLIENT),
    ("connection.client.address", f" {CLIENT}. "),
    ("lookup.name", "WWW.Example.COM."),
    ("lookup.name", "www.example.com"),
    ("connection.protocol", "http/1.X"),
    ("stories.names", "WWW.example.com"),
    ("stories.names", [f"{NAME}."]),
    ("connection.handshake.options.client.name", "MSS"),
]


@pytest.mark.parametrize(("fact", "written"), RIGHT)
def test_a_right_answer_may_be_written_in_many_ways(fact: str, written: Any) -> None:
    result = answer(fact, written)
    assert (result.status, result.slip) == ("pass", "")


def test_an_address_may_be_written_in_another_way() -> None:
    talk = Talk().open().close()
    frames = [*lookup(), *talk.frames]
    values = Facts(report(frames))
    values.values["connections"][0]["server"]["address"] = "2001:db8::80"
    question = Question("Which?", parse_path("connection.server.address"))
    for written in ("2001:DB8:0:0::80", "2001:0db8::0080"):
        assert check_answer(question, 1, {"q": written}, "q", values).status == "pass"
    assert check_answer(question, 1, {"q": "2001:db8::81"}, "q", values).status == "fail"


UNREADABLE: list[tuple[str, Any, str]] = [
    ("connection.client_isn", "about 300", "a whole number"),
    ("connection.client_isn", True, "a whole number"),
    ("connection.client_isn", 305419896.5, "a whole number"),
    ("connection.client_isn", [CLIENT_ISN], "a whole number"),
    ("connection.client_isn", {"raw": CLIENT_ISN}, "a whole number"),
    ("connection.client_isn", math.nan, "a whole number"),
    ("connection.client_isn", math.inf, "a whole number"),
    ("connection.client_isn", "30,5419,896", "a whole number"),
    ("connection.client_isn", "", "a whole number"),
    ("connection.client_isn", "١٢", "a whole number"),
    ("connection.close.variant", True, "a text"),
    ("connection.close.variant", ["three-segment"], "a text"),
    ("connection.handshake.frames", {}, "a list"),
    ("connection.handshake.frames", [3, 4, "and 5"], "a list"),
    ("connection.handshake.frames", [[3, 4, 5]], "a list"),
    ("connection.handshake.frames", True, "a list"),
    ("connection.handshake.frames", "1-999999999", "a list"),
    ("connection.handshake.frames", ["1-900", "1-900"], "a list"),
    ("connection.handshake.frames", [3] * 1_001, "a list"),
    ("connection.rtt_s", "1 minute", "a number of seconds"),
    ("connection.rtt_s", False, "a number of seconds"),
    ("connection.rtt_s", 10**400, "a number of seconds"),
    ("connection.close.complete", 1, "true or false"),
    ("connection.close.complete", "perhaps", "true or false"),
]


@pytest.mark.parametrize(("fact", "written", "kind"), UNREADABLE)
def test_an_answer_of_another_kind_is_wrong_and_the_kind_is_said(fact: str, written: Any, kind: str) -> None:
    result = answer(fact, written, slips=tuple((slip, 5) for slip in SLIPS))
    assert (result.status, result.share) == ("fail", 0.0)
    assert kind in result.hint


SLIPPED: list[tuple[str, Any, str, str]] = [
    ("connection.client_isn", 0, "relative-for-raw", "the relative number"),
    (f"{SYN_ACK}.raw_ack", 1, "relative-for-raw", "the relative number"),
    (f"{SYN_ACK}.raw_ack", 0, "relative-for-raw", "the relative number.*off by one: the SYN"),
    (f"{SYN_ACK}.ack", CLIENT_ISN + 1, "raw-for-relative", "the raw number"),
    (f"{SYN_ACK}.ack", CLIENT_ISN, "raw-for-relative", "the raw number.*off by one"),
    ("connection.client_isn", SERVER_ISN, "other-side", "the other side's"),
    ("connection.bytes.client", ANSWERED, "other-side", "was mixed up"),
    ("connection.close.first_closer", "server", "other-side", "the other side's"),
    ("connection.close.first_closer", "The Server", "other-side", "the other side's"),
    ("connection.client.address", SERVER, "other-side", "the other side's"),
    (f"{FIN_ACK}.ack", 1 + ANSWERED, "seq-for-ack", "next byte expected"),
    (f"{FIN_ACK}.seq", LENGTH + 2, "ack-for-seq", "the first byte"),
    (f"{FIN_ACK}.raw_ack", (SERVER_ISN + 1 + ANSWERED) % CIRCLE, "seq-for-ack", "next byte expected"),
    (f"{FIN_ACK}.ack", LENGTH + 1, "off-by-one", "off by one: the FIN takes up one number"),
    (f"{FIN_ACK}.raw_ack", CLIENT_ISN + LENGTH + 1, "off-by-one", "the FIN takes up"),
    (f"{SYN_ACK}.raw_ack", CLIENT_ISN, "off-by-one", "off by one: the SYN takes up"),
    (f"{SYN_ACK}.raw_ack", CLIENT_ISN + 2, "off-by-one", "off by one"),
    ("segments[from=server][kind=data].ack", LENGTH, "off-by-one", "off by one$"),
    ("segments[from=client][kind=data].ack", 0, "off-by-one", "the SYN takes up"),
    ("connection.client_isn", CLIENT_ISN + 1, "off-by-one", "the SYN takes up"),
    ("connection.bytes.client", LENGTH + 1, "off-by-one", "off by one$"),
    ("connection.handshake.frames[-1]", 6, "next-frame", "the frame next to it"),
    ("connection.handshake.frames[-1]", "4", "next-frame", "the frame next to it"),
    ("segments[-1].ack", 2, "counts-packets", "an Ack counts bytes"),
    ("segments[from=server][kind=data].ack", 3, "counts-packets", "an Ack counts bytes"),
    ("connection.client_isn", 12345678, "hex-as-decimal", "without its 0x"),
    ("connection.client_isn", "12345678", "hex-as-decimal", "without its 0x"),
    ("connection.handshake.frames", [3, 4], "partly", "a part of it"),
    ("connection.handshake.frames", "3-6", "partly", "a part of it"),
]


@pytest.mark.parametrize(("fact", "written", "slip", "says"), SLIPPED)
def test_a_slip_is_known_for_what_it_is(fact: str, written: Any, slip: str, says: str) -> None:
    result = answer(fact, written)
    assert (result.status, result.slip) == ("fail", slip)
    assert result.hint.startswith(SLIPS[slip])
    assert re.search(says, result.hint), result.hint


def test_every_slip_is_found_in_some_answer() -> None:
    assert {slip for _, _, slip, _ in SLIPPED} == set(SLIPS)


def test_off_by_one_goes_round_the_circle_of_numbers() -> None:
    talk = Talk(CIRCLE - 1, 9).open().exchange().close()
    values = Facts(report([*lookup(), *talk.frames], host=NAME))
    question = Question("Which?", parse_path(f"{SYN_ACK}.raw_ack"))
    result = check_answer(question, 1, {"q": CIRCLE - 1}, "q", values)
    assert (result.expected, result.slip) == ("0", "off-by-one")


@pytest.mark.parametrize(
    ("fact", "written"),
    [
        ("connection.client_isn", 77),
        ("connection.close.variant", "four-segment"),
        ("connection.close.complete", False),
        ("connection.handshake.frames", [9]),
        ("connection.rtt_s", "5 ms"),
        ("connection.close.first_closer", "resolver"),
    ],
)
def test_a_wrong_answer_without_a_known_slip_is_only_wrong(fact: str, written: Any) -> None:
    result = answer(fact, written, slips=tuple((slip, 5) for slip in SLIPS))
    assert (result.status, result.slip, result.share, result.hint) == ("fail", "", 0.0, "")


def test_a_known_slip_earns_what_it_is_worth_and_another_nothing() -> None:
    slips = (("off-by-one", 4),)
    assert answer(f"{SYN_ACK}.raw_ack", CLIENT_ISN, slips=slips).share == 0.4
    assert answer(f"{SYN_ACK}.raw_ack", 1, slips=slips).share == 0.0
    assert answer("connection.handshake.frames", [3], partial=False, slips=(("partly", 2),)).share == 0.2


def test_a_question_of_no_points_can_be_answered_wrong() -> None:
    assert answer(f"{SYN_ACK}.raw_ack", CLIENT_ISN, points=0, slips=(("off-by-one", 0),)).share == 0.0


@pytest.mark.parametrize(
    ("written", "share"),
    [([3, 4], 2 / 3), ([3, 4, 5, 6], 3 / 4), ([3, 9], 1 / 4), ([9], 0.0), ([], 0.0), ([3, 4, 5, 5], 3 / 4)],
)
def test_a_part_of_a_list_earns_its_part_and_never_all(written: list[int], share: float) -> None:
    result = answer("connection.handshake.frames", written)
    assert (result.status, result.share) == ("fail", share)
    assert answer("connection.handshake.frames", written, partial=False).share == 0.0


def test_all_frames_at_once_earn_next_to_nothing() -> None:
    assert answer("connection.handshake.frames", "1-1000").share == 3 / 1000


@pytest.mark.parametrize(
    ("fact", "written", "tolerance", "status"),
    [
        ("connection.client_isn", CLIENT_ISN + 5, 5.0, "pass"),
        ("connection.client_isn", CLIENT_ISN - 5, 5.0, "pass"),
        ("connection.client_isn", CLIENT_ISN + 6, 5.0, "fail"),
        ("connection.rtt_s", RTT_S + 0.0005, 0.0005, "pass"),
        ("connection.rtt_s", "1.499856 ms", 0.0005, "pass"),
        ("connection.rtt_s", RTT_S + 0.000501, 0.0005, "fail"),
        ("connection.rtt_s", RTT_S + 1e-9, 0.0, "fail"),
        ("connection.rtt_s", math.inf, 1e6, "fail"),
        ("connection.rtt_s", math.nan, 1e6, "fail"),
        ("connection.client_isn", 10**400, 1e18, "fail"),
    ],
)
def test_a_tolerance_holds_to_its_very_edge(fact: str, written: Any, tolerance: float, status: str) -> None:
    assert answer(fact, written, tolerance=tolerance).status == status


def test_either_form_is_right_where_the_question_says_so() -> None:
    for written in (1, "0x1", CLIENT_ISN + 1):
        assert answer(f"{SYN_ACK}.raw_ack", written, either_form=True).status == "pass"
        assert answer(f"{SYN_ACK}.ack", written, either_form=True).status == "pass"
    assert answer(f"{SYN_ACK}.raw_ack", True, either_form=True).status == "fail"
    assert answer(f"{SYN_ACK}.raw_ack", 2, either_form=True).status == "fail"


@pytest.mark.parametrize(
    ("fact", "written", "status"),
    [
        ("connection.close.variant", "Three", "pass"),
        ("connection.close.variant", 3, "pass"),
        ("connection.close.variant", "3", "pass"),
        ("connection.close.variant", True, "fail"),
        ("connection.close.variant", ["three"], "fail"),
        ("connection.close.variant", 4, "fail"),
        ("connection.rtt_s", "three", "pass"),
        ("connection.close.complete", "three", "pass"),
    ],
)
def test_what_the_teacher_accepts_besides_is_right(fact: str, written: Any, status: str) -> None:
    assert answer(fact, written, accept=("three", "3")).status == status


def test_no_answer_is_a_wrong_one() -> None:
    result = check_answer(Question("Which?", parse_path("connection.client_isn")), 2, {"p": 1}, "q", facts())
    assert (result.status, result.found) == ("fail", "no answer")
    assert "write q =" in result.hint
    assert result.is_secret


@pytest.mark.parametrize("fact", ["exchange.status", "connection.close.fin_with_data", "lookups[7].status"])
def test_what_the_capture_does_not_show_can_be_neither_right_nor_wrong(fact: str) -> None:
    values = Facts(report([*lookup(), *Talk().open().close().frames], host=NAME))
    question = Question("Which?", check(fact), accept=("x",))
    written: Any
    for written in ("x", 200, []):
        result = check_answer(question, 2, {"q": written}, "q", values)
        assert (result.status, result.share) == ("inconclusive", 0.0)
        assert "doesn't show" in result.found


def test_numbers_too_long_for_a_page_are_only_called_long() -> None:
    long = tomllib.loads(f"q = 0x{'f' * 5000}")["q"]
    for fact in ("connection.client_isn", "connection.close.variant", "connection.handshake.frames"):
        for written in (long, -long, [long], {"a": long}, [[long]]):
            assert "more than 64 bits" in answer(fact, written).found


def test_an_answer_is_shown_without_what_moves_a_cursor_and_cut() -> None:
    found = answer("connection.close.variant", "\x1b[2J\u202e" + "x" * 500).found
    assert found.isprintable()
    assert len(found) <= 80


FACTS = [
    *("connection.client_isn", f"{SYN_ACK}.raw_ack", "segments[-1].ack", "connection.handshake.frames"),
    *("connection.close.variant", "connection.close.first_closer", "connection.close.complete", "connection.rtt_s"),
    *(
        "lookup.name",
        "stories.names",
        "connection.client.address",
        "connection.handshake.frames[-1]",
        "exchange.status",
    ),
    *("connection.close.fin_with_data", "capture.other_frames.arp", "connection.client.port", "fingerprint.exact"),
]
TEXTS = st.one_of(
    st.text(max_size=30),
    st.from_regex(r"[+-]?(0x)?[0-9a-f]{1,20}( ?(s|ms|us|-|\.\.) ?[0-9]{0,9})?", fullmatch=True),
    st.sampled_from(["yes", "client", "3-5", "1-999999999", "::1", "1.2.3.4", "½", "²", "0x", "nan", "inf", "1e999"]),
)
LEAVES = st.one_of(
    TEXTS,
    st.booleans(),
    st.integers(),
    st.sampled_from([10**400, -(10**400), CIRCLE - 1, 305419896]),
    st.floats(),
    st.datetimes(),
    st.dates(),
    st.times(),
)
ANSWERS = st.recursive(
    LEAVES,
    lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(st.text(max_size=3), inner, max_size=2)),
)


@given(st.sampled_from(FACTS), ANSWERS, st.booleans(), st.sampled_from([0.0, 1.0, 1e18]))
def test_no_answer_breaks_the_marking_or_earns_more_than_there_is(
    fact: str, written: Any, either: bool, tolerance: float
) -> None:
    answers: Mapping[str, Any] = {"q": written}
    question = Question("Which?", check(fact), either, tolerance, slips=(("off-by-one", 1),), accept=("x",))
    result = check_answer(question, 2, answers, "q", facts())
    assert result.status in ("pass", "fail", "inconclusive")
    assert 0.0 <= result.share < 1.0
    assert (result.found + result.expected + result.hint).isprintable()
