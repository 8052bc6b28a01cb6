"""Every rule: a capture that passes it, and mutants that fail on it."""

from collections.abc import Callable
from dataclasses import replace

import pytest
from scapy.layers.dns import DNS
from scapy.layers.inet import IP, TCP
from scapy.packet import Packet as Scapy

from analysis.expect.parse import parse_expectation
from analysis.report import make_report
from analysis.rules.case import Case
from analysis.rules.judge import RULES, Finding, judge, verdict_of
from analysis.sequence import exact_sequence, shape_of
from tests.craft import (
    CLIENT,
    NAME,
    REQUEST,
    RESPONSE,
    SERVER,
    Talk,
    answer,
    capture,
    fetch,
    lookup,
    question,
    report,
)

PASSING = {rule.id for rule in RULES} - {"expect.sequence", "tcp.kernel"}


def statuses(frames: list[Scapy], health: str = "complete") -> dict[str, str]:
    return {finding.rule: finding.status for finding in report(frames, health).findings}  # type: ignore[arg-type]


def failing(frames: list[Scapy]) -> set[str]:
    return {rule for rule, status in statuses(frames).items() if status == "fail"}


def test_an_ordinary_fetch_passes_every_rule() -> None:
    found = report(fetch())
    assert {finding.rule for finding in found.findings if finding.status == "pass"} == PASSING
    assert found.verdict == "pass"


def _without(*indexes: int) -> list[Scapy]:
    return [frame for index, frame in enumerate(fetch()) if index not in indexes]


def _changed(index: int, change: Callable[[Scapy], None]) -> list[Scapy]:
    frames = fetch()
    change(frames[index])
    return frames


def _talk(talk: Talk) -> list[Scapy]:
    return lookup() + talk.frames


def _bad_checksum(frame: Scapy) -> None:
    frame[TCP].chksum = 0x1234


def _other_host() -> Talk:
    return Talk().open().exchange(REQUEST.replace(NAME.encode(), b"www.example.org"))


MUTANTS: dict[str, tuple[set[str], list[Scapy]]] = {
    "the name does not exist": ({"dns.answered"}, [question(), answer(rcode=3)]),
    "nobody asked": ({"dns.answered"}, _without(0, 1)),
    "a forged answer beside the real one": (
        {"dns.match"},
        [*fetch()[:1], answer("203.0.113.6", number=99), *fetch()[1:]],
    ),
    "the connection goes elsewhere": (
        {"dns.answer-used"},
        lookup() + Talk(server="203.0.113.5").open().exchange().close().frames,
    ),
    "no connection follows the answer": ({"dns.answer-used"}, lookup()),
    "the SYN comes before the answer": ({"dns.before-syn"}, [fetch()[0], *fetch()[2:], fetch()[1]]),
    "the handshake lacks its ACK": (
        {"tcp.handshake"},
        _talk(Talk().send("client", "S").send("server", "SA")),
    ),
    "refused": ({"tcp.handshake"}, _talk(Talk().send("client", "S").send("server", "RA", seq=0))),
    "unanswered": ({"tcp.handshake"}, _talk(Talk().send("client", "S"))),
    "a window scale of 15": (
        {"tcp.options"},
        _talk(
            Talk()
            .send("client", "S", options=[("MSS", 1460), ("WScale", 15)])
            .send("server", "SA")
            .send("client", "A")
            .exchange()
            .close()
        ),
    ),
    "a segment without the agreed timestamps": (
        {"tcp.options"},
        _talk(Talk().open().exchange().send("client", "FA", options=[]).send("server", "FA").send("client", "A")),
    ),
    "a gap in the numbers": (
        {"tcp.numbers"},
        _talk(Talk().open().exchange().send("client", "FA", seq=2000).send("server", "FA").send("client", "A")),
    ),
    "the last Ack is one too high": (
        {"tcp.numbers"},
        _talk(
            Talk()
            .open()
            .exchange()
            .send("client", "FA")
            .send("server", "FA")
            .send("client", "A", ack=9003 + len(RESPONSE))
        ),
    ),
    "a FIN without ACK": (
        {"tcp.numbers"},
        _talk(Talk().open().exchange().send("client", "F").send("server", "FA").send("client", "A")),
    ),
    "bytes after the FIN": (
        {"tcp.numbers"},
        _talk(Talk().open().exchange().close().send("client", "PA", b"x").send("server", "A")),
    ),
    "an Ack that goes back": (
        {"tcp.numbers"},
        _talk(Talk().open().exchange().send("client", "FA", ack=9001).send("server", "FA").send("client", "A")),
    ),
    "a reset before the FINs": ({"tcp.close"}, _talk(Talk().open().exchange().send("client", "RA").close())),
    "the last byte is not acknowledged": (
        {"tcp.acknowledged"},
        _talk(Talk().open().send("client", "PA", REQUEST).send("server", "A").send("server", "PA", RESPONSE)),
    ),
    "a checksum is wrong": ({"tcp.checksums"}, _changed(5, _bad_checksum)),
    "no response": (
        {"http.exchange"},
        _talk(Talk().open().send("client", "PA", REQUEST).send("server", "A").close()),
    ),
    "another Host": ({"http.host"}, _talk(_other_host().close())),
    "a body shorter than said": (
        {"http.complete"},
        _talk(Talk().open().exchange(response=b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhi").close()),
    ),
    "a SYN in the middle": ({"tcp.numbers"}, _talk(Talk().open().exchange().send("server", "SA").close())),
    "only one side closes": ({"tcp.close"}, _talk(Talk().open().exchange().send("client", "FA").send("server", "A"))),
    "reset": ({"tcp.close"}, _talk(Talk().open().exchange().send("server", "RA"))),
    "the last ACK is missing": ({"tcp.close"}, _without(11)),
}


@pytest.mark.parametrize("name", MUTANTS)
def test_a_mutant_fails_on_its_rules_alone(name: str) -> None:
    rules, frames = MUTANTS[name]
    assert failing(frames) == rules


def test_every_rule_has_a_mutant_that_fails_on_it_alone() -> None:
    alone = {next(iter(rules)) for rules, _ in MUTANTS.values() if len(rules) == 1}
    # never fail, need a scenario (below), or need kernels to say something (test_testimony.py)
    judged_elsewhere = {"capture.whole", "expect.sequence", "tcp.kernel"}
    assert alone | judged_elsewhere == {rule.id for rule in RULES}


@pytest.mark.parametrize(
    "name", [name for name, (rules, _) in MUTANTS.items() if rules & {"tcp.close", "http.exchange"}]
)
def test_what_a_foreign_capture_may_have_missed_never_fails(name: str) -> None:
    _, frames = MUTANTS[name]
    if "reset" in name:
        assert statuses(frames, "unknown")["tcp.close"] == "fail"  # the reset is there to see
    elif name == "no response":
        assert statuses(frames, "unknown")["http.exchange"] == "fail"  # the FIN's number shows that no byte is missing
    else:
        assert report(frames).verdict == "inconclusive"


def test_what_frames_contradict_fails_in_any_capture() -> None:
    for name in (
        "the name does not exist",
        "refused",
        "another Host",
        "a window scale of 15",
        "the last Ack is one too high",
    ):
        assert report(MUTANTS[name][1]).verdict == "fail", name


def test_unfinished_checksums_of_one_host_are_offload_not_damage() -> None:
    frames = fetch()
    for frame in frames:
        if frame[IP].src == "10.0.0.1":
            frame[IP].payload.chksum = 0xBEEF
    found = report(frames)
    (finding,) = [finding for finding in found.findings if finding.rule == "tcp.checksums"]
    assert finding.status == "pass"
    assert "offload" in finding.actual


def test_a_checksum_that_is_right_by_chance_makes_no_damage_of_the_others() -> None:
    talk = Talk().open()
    for _ in range(120):
        talk.send("client", "PA", b"x").send("server", "A")
    frames = lookup() + talk.exchange().close().frames
    for number, frame in enumerate(frames):
        if frame[IP].src == CLIENT and number != 4:
            frame[IP].payload.chksum = 0xBEEF
    assert statuses(frames, "unknown")["tcp.checksums"] == "pass"


def test_one_wrong_checksum_among_right_ones_is_damage_in_any_capture() -> None:
    assert report(MUTANTS["a checksum is wrong"][1]).verdict == "fail"


INCONCLUSIVE = {
    "an answer missing beside a NODATA": [
        question(),
        question(kind="AAAA", number=8),
        answer(kind="AAAA", number=8),
        *Talk().open().exchange().close().frames,
    ],
    "an answer after the connection": MUTANTS["the SYN comes before the answer"][1],
    "a second request without response or close": _talk(
        Talk().open().exchange().send("client", "PA", REQUEST).send("server", "A")
    ),
    "only the SYN,ACK is missing": [*fetch()[:3], *fetch()[4:]],
    "a reset of a connection joined midway": _talk(Talk().exchange().send("server", "RA")),
}


@pytest.mark.parametrize("name", INCONCLUSIVE)
def test_a_frame_that_may_be_missing_makes_a_foreign_capture_inconclusive(name: str) -> None:
    assert report(INCONCLUSIVE[name]).verdict == "inconclusive"


def test_a_record_of_another_name_is_no_answer() -> None:
    stray = answer(SERVER)
    stray[DNS].an[0].rrname = "evil.example.net"
    assert report([question(), stray, *Talk().open().exchange().close().frames], "complete").verdict == "fail"


def test_an_empty_capture_is_inconclusive() -> None:
    frame = fetch()[0]
    frame[IP].proto = 1
    assert report([frame]).verdict == "inconclusive"


def test_problems_of_the_file_make_the_verdict_inconclusive() -> None:
    from dataclasses import replace

    from analysis.report import make_report

    cut = replace(capture(fetch()), problems=("the file ends early",), health="incomplete")
    found = make_report(cut)
    assert found.verdict == "inconclusive"
    assert [finding.rule for finding in found.findings if finding.status != "pass"] == ["capture.whole"]


def test_a_host_that_is_not_in_the_capture_is_said() -> None:
    found = report(fetch(), host="www.example.org")
    assert (found.story, found.verdict) == (None, "inconclusive")
    assert "www.example.org is not in the capture" in found.why


def _judged(frames: list[Scapy], expected: str, *fails: str) -> tuple[Finding, ...]:
    found = report(frames, "complete")
    expectation = replace(parse_expectation(expected), fails=frozenset(fails))
    return judge(Case(found.traffic, found.doubts, found.story, found.trace, expectation))


def test_a_refusal_that_the_scenario_expects_passes() -> None:
    refused = MUTANTS["refused"][1]
    expected = "lookup A NAME -> server\nclient SYN\nserver RST,ACK\n"
    findings = _judged(refused, expected)
    assert verdict_of(findings) == "pass"
    assert {finding.rule: finding.status for finding in findings}["tcp.handshake"] == "skip"


def test_an_unexpected_sequence_fails_and_shows_the_first_difference() -> None:
    story = report(fetch()).story
    assert story is not None
    exact = exact_sequence(story)
    for expected in (str(exact).replace("<mss", "<ws,mss"), str(shape_of(exact)).replace('"200"', '"404"')):
        found = _judged(fetch(), expected)[-1]
        assert (found.rule, found.status) == ("expect.sequence", "fail")
        assert "instead of" in found.actual


def test_an_unexpected_sequence_alone_fails_on_that_rule_alone() -> None:
    other = str(report(fetch()).exact).replace("-> server", "-> 203.0.113.9")
    assert {finding.rule for finding in _judged(fetch(), other) if finding.status == "fail"} == {"expect.sequence"}


def test_what_a_scenario_expects_never_excuses_wrong_numbers() -> None:
    frames = MUTANTS["the last Ack is one too high"][1]
    found = report(frames, "complete")
    assert verdict_of(_judged(frames, str(found.exact))) == "fail"


def test_a_rule_that_a_scenario_expects_to_fail_must_fail() -> None:
    frames = MUTANTS["the last Ack is one too high"][1]
    exact = str(report(frames, "complete").exact)
    failed = [finding.rule for finding in _judged(frames, exact) if finding.status == "fail"]
    assert failed
    assert verdict_of(_judged(frames, exact, *failed)) == "pass"
    (turned,) = [finding for finding in _judged(frames, exact, *failed, "dns.match") if finding.status == "fail"]
    assert (turned.rule, turned.actual.partition(":")[0]) == ("dns.match", "pass")


def test_other_traffic_is_left_out_of_the_story() -> None:
    other = Talk(port=41000, server="203.0.113.77").open().exchange(REQUEST.replace(NAME.encode(), b"mail.example.org"))
    found = report([*other.frames, *fetch(), question(name="time.example.org", port=9)])
    assert found.story is not None
    assert found.story.name == NAME
    assert found.story.frames == tuple(range(len(other.frames) + 1, len(other.frames) + 13))
    assert found.verdict == "pass"


def test_two_names_at_one_address_are_two_stories() -> None:
    second = [question(name="other.example.com", number=9), answer(SERVER, name="other.example.com", number=9)]
    talk = Talk(port=40001).open().exchange(REQUEST.replace(NAME.encode(), b"other.example.com")).close()
    found = report([*fetch(), *second, *talk.frames])
    assert [(story.name, len(story.connections)) for story in found.stories] == [(NAME, 1), ("other.example.com", 1)]
    assert report([*fetch(), *second, *talk.frames], host="other.example.com").verdict == "pass"


def test_an_expectation_excuses_no_damage_that_its_sequence_cannot_show() -> None:
    """A `Content-Length` is no part of a sequence, so the expected one says nothing about it."""
    cut = b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhello"
    damaged = [*lookup(), *Talk().open().exchange(response=cut).close().frames]
    for frames, verdict in ((fetch(), "pass"), (damaged, "fail")):
        printed = str(report(frames).exact)
        judged = make_report(capture(frames), expected=parse_expectation(printed))
        statuses = {finding.rule: finding.status for finding in judged.findings}
        assert (statuses["expect.sequence"], statuses["http.complete"], judged.verdict) == ("pass", verdict, verdict)
