"""Whether a capture can be trusted: what it lacks or has twice, and that no rule fails for want of frames."""

import random
from collections.abc import Callable
from dataclasses import replace

import pytest
from scapy.layers.inet import IP, fragment
from scapy.layers.l2 import Ether
from scapy.packet import Packet as Scapy

from analysis.files.capture import Capture, parse_capture
from analysis.health import Doubt
from analysis.report import Report, make_report
from tests.craft import CLIENT, REQUEST, RESOLVER, RESPONSE, SERVER, Talk, answer, lookup, pcap, question, report
from tests.test_dns import MAC, over_tcp, prefixed

RESPONSE_OF_3000 = b"HTTP/1.1 200 OK\r\nContent-Length: 3000\r\n\r\n" + b"x" * 3000


def doubts(found: Report) -> dict[str, Doubt]:
    return {doubt.kind: doubt for doubt in found.doubts}


def statuses(found: Report) -> dict[str, str]:
    return {finding.rule: finding.status for finding in found.findings}


def snapped(frames: list[Scapy], length: int, only: Callable[[int], bool] = lambda _: True) -> Capture:
    """The frames as a snap length would leave them, where `only` holds for a frame's number."""
    whole = parse_capture(pcap(frames), "snapped.pcap")
    captured = whole.frames.captured.copy()
    for index in range(len(captured)):
        if only(index + 1):
            captured[index] = min(captured[index], length)
    return replace(whole, frames=replace(whole.frames, captured=captured))


def download() -> Talk:
    """A response in three segments, each acknowledged."""
    talk = Talk().open().send("client", "PA", REQUEST).send("server", "A")
    for start in range(0, len(RESPONSE_OF_3000), 1400):
        talk.send("server", "PA", RESPONSE_OF_3000[start : start + 1400]).send("client", "A")
    return talk


def without(frames: list[Scapy], *places: int) -> list[Scapy]:
    return [frame for place, frame in enumerate(frames) if place not in places]


WHOLE = lookup() + download().close().frames
FIRST_DATA = 7  # the place of the response's first segment


def test_a_whole_capture_is_not_doubted() -> None:
    found = report(WHOLE)
    assert (found.doubts, found.health, found.verdict) == ((), "unknown", "pass")


def test_a_vouched_capture_is_never_doubted() -> None:
    assert report(without(WHOLE, FIRST_DATA), "complete").doubts == ()


def test_acknowledged_bytes_that_were_not_captured_are_the_captures_fault() -> None:
    found = report(without(WHOLE, FIRST_DATA + 2))
    doubt = doubts(found)["unseen"]
    assert doubt.needed == "the server's segments from Seq 1401 on"
    assert (found.health, found.verdict) == ("incomplete", "inconclusive")
    for rule in ("capture.whole", "tcp.numbers", "http.complete"):
        (finding,) = [one for one in found.findings if one.rule == rule]
        assert finding.status == "inconclusive"
        assert finding.needed


def test_bytes_lost_in_the_network_and_sent_again_are_no_fault_of_the_capture() -> None:
    talk = Talk().open().send("client", "PA", REQUEST).send("server", "A")
    start = talk.next["server"]
    talk.send("server", "PA", RESPONSE[9:], seq=start + 9).send("client", "A", ack=start)
    talk.send("server", "PA", RESPONSE, seq=start).send("client", "A")
    found = report(lookup() + talk.close().frames)
    assert (found.doubts, found.verdict) == ((), "pass")


def test_numbers_before_the_first_one_lack_nothing_that_was_acknowledged() -> None:
    talk = Talk().send("client", "P", b"a").send("server", "P", b"b", seq=9000).send("server", "P", b"c", seq=8990)
    assert "unseen" not in doubts(report(talk.frames))


@pytest.mark.parametrize("side", ["client", "server"])
def test_one_side_only_is_said_and_fails_nothing(side: str) -> None:
    address = CLIENT if side == "client" else SERVER
    found = report([frame for frame in WHOLE[2:] if frame[IP].src == address])
    assert "only" in doubts(found)["one-sided"].text
    assert "fail" not in statuses(found).values()
    assert found.verdict == "inconclusive"


def test_a_syn_alone_is_unanswered_not_one_sided() -> None:
    assert doubts(report(Talk().send("client", "S").frames)) == {}


def test_a_capture_that_started_midway_says_what_would_be_needed() -> None:
    found = report(WHOLE[5:])
    assert doubts(found)["midway"].needed == "its SYN, SYN,ACK and ACK, before frame 1"
    (finding,) = [one for one in found.findings if one.rule == "tcp.handshake"]
    assert (finding.status, finding.needed) == ("inconclusive", "SYN, SYN,ACK and ACK, before frame 1")


def test_a_capture_that_ended_early_says_what_would_be_needed() -> None:
    found = report(lookup() + download().frames)
    assert doubts(found)["ended-early"].needed == ""  # nobody knows whether there was more
    (finding,) = [one for one in found.findings if one.rule == "tcp.close"]
    assert (finding.status, finding.needed) == ("inconclusive", "each side's FIN and its ACK")


def test_the_missing_last_ack_is_named_with_its_number() -> None:
    found = report(WHOLE[:-1])
    assert "no-final-ack" in doubts(found)
    (finding,) = [one for one in found.findings if one.rule == "tcp.close"]
    assert finding.status == "inconclusive"
    assert finding.needed == f"the client's ACK of the server's FIN (Ack={len(RESPONSE_OF_3000) + 2})"


def test_one_fin_alone_wants_the_others() -> None:
    found = report(WHOLE[:-2])
    (finding,) = [one for one in found.findings if one.rule == "tcp.close"]
    assert finding.needed == "the FIN of the server and its ACK"


def test_frames_that_were_captured_twice_count_once() -> None:
    twice = [frame for frame in WHOLE for _ in range(2)]
    content = bytearray(pcap(twice))
    found = make_report(parse_capture(bytes(content), "twice"))
    assert found.traffic.lookups[0].query_frames == (1,)
    assert len(doubts(found)["captured-twice"].frames) >= len(WHOLE) - 8  # equal bare ACKs may be twins or not
    assert found.verdict == "pass"


def test_a_snap_length_that_cut_the_body_makes_its_length_inconclusive() -> None:
    found = make_report(snapped(WHOLE, 200))
    doubt = doubts(found)["snap-length"]
    assert doubt.needed == "the whole of frames 8, 10, 12"
    assert statuses(found)["http.complete"] == "inconclusive"
    assert statuses(found)["http.exchange"] == "pass"  # its head is there
    assert "fail" not in statuses(found).values()


def test_a_snap_length_that_cut_other_frames_alone_is_only_said() -> None:
    other = Talk(server="203.0.113.99", port=50000).open().send("client", "PA", b"z" * 900).frames
    found = make_report(snapped(WHOLE + other, 200, lambda number: number > len(WHOLE)))
    assert doubts(found)["snap-length"].needed == ""
    assert found.verdict == "pass"


def test_headers_that_were_cut_leave_everything_open() -> None:
    found = make_report(snapped(WHOLE, 30))
    assert (found.story, found.verdict) == (None, "inconclusive")
    assert doubts(found)["snap-length"].needed == "whole frames"


def test_an_answer_that_was_cut_decides_nothing() -> None:
    found = make_report(snapped(lookup(), 80, lambda number: number == 2))
    assert found.traffic.lookups[0].status == "cut"
    (finding,) = [one for one in found.findings if one.rule == "dns.answered"]
    assert (finding.status, finding.needed) == ("inconclusive", "the whole of frame 2")


def test_segments_larger_than_a_wires_frames_are_offload() -> None:
    talk = Talk().open().exchange(response=RESPONSE_OF_3000).close()
    found = report(lookup() + talk.frames)
    assert "segmentation offload" in doubts(found)["offload"].text
    assert (found.health, found.verdict) == ("unknown", "pass")


def test_frames_out_of_order_in_time_are_said() -> None:
    capture = parse_capture(pcap(WHOLE), "a")
    times = capture.frames.time_ns.copy()
    times[3] += 2_000_000
    content = bytearray(pcap(WHOLE))
    at = int(capture.frames.start[3]) - 12
    content[at : at + 4] = int(times[3] % 1_000_000_000).to_bytes(4, "little")
    found = make_report(parse_capture(bytes(content), "a"))
    assert "not in order of time" in doubts(found)["note"].text
    assert found.verdict == "pass"


def both_families() -> list[Scapy]:
    """A answered, AAAA without a record, at once."""
    asked = [question(), question(kind="AAAA", number=8)]
    return [*asked, answer(kind="AAAA", number=8), answer(SERVER), *Talk().open().exchange().close().frames]


def redirected() -> list[Scapy]:
    there = Talk(server=OTHER, port=40001).open().exchange(REQUEST.replace(b"www", b"new")).close().frames
    response = b"HTTP/1.1 301 Moved\r\nLocation: http://new.example.com/\r\nContent-Length: 0\r\n\r\n"
    here = Talk().open().exchange(REQUEST, response).close().frames
    new = [question("new.example.com", number=9), answer(OTHER, name="new.example.com", number=9)]
    return [*lookup(), *here, *new, *there]


def over_two_transports() -> list[Scapy]:
    talk = Talk(server=RESOLVER, port=40005).open()
    talk.exchange(prefixed(question(number=8)), prefixed(answer(SERVER, number=8)))
    return [question(), answer(tc=1), *over_tcp(talk.close()), *Talk().open().exchange().close().frames]


def after_a_refusal() -> list[Scapy]:
    refused = Talk(server=OTHER, port=40001).send("client", "S").send("server", "RA", seq=0).frames
    return [question(), answer(OTHER, SERVER), *refused, *Talk().open().exchange().close().frames]


OTHER = "203.0.113.7"
GOOD = {
    "a download": WHOLE,
    "kept alive": lookup() + Talk().open().exchange().exchange().exchange().close("server").frames,
    "until the close": lookup()
    + Talk().open().exchange(response=b"HTTP/1.0 200 OK\r\n\r\nto the end").close("server").frames,
    "both families": both_families(),
    "redirected": redirected(),
    "over two transports": over_two_transports(),
    "after a refusal": after_a_refusal(),
}


def failures(found: Report) -> list[tuple[str, str]]:
    """What failed; a refusal is there to see, also where the connection that took its place isn't."""
    failed = [(finding.rule, finding.actual) for finding in found.findings if finding.status == "fail"]
    return [one for one in failed if one != ("tcp.handshake", "the SYN was refused with a reset")]


@pytest.mark.parametrize("name", GOOD)
def test_no_run_of_frames_that_is_missing_from_a_good_capture_makes_a_rule_fail(name: str) -> None:
    frames = GOOD[name]
    assert report(frames).verdict == "pass"
    for first in range(len(frames)):
        for last in range(first, len(frames) - (first == 0)):  # one frame is left at least
            found = report(without(frames, *range(first, last + 1)))
            assert failures(found) == [], (first + 1, last + 1)


@pytest.mark.parametrize("name", GOOD)
def test_no_frames_that_are_missing_here_and_there_make_a_rule_fail(name: str) -> None:
    frames, draw = GOOD[name], random.Random(name)
    for _ in range(150):
        places = draw.sample(range(len(frames)), draw.randint(2, 5))
        found = report(without(frames, *places))
        assert failures(found) == [], sorted(place + 1 for place in places)


def test_every_inconclusive_finding_says_what_would_decide_it() -> None:
    for missing in range(len(WHOLE)):
        for finding in report(without(WHOLE, missing)).findings:
            assert bool(finding.needed) == (finding.status == "inconclusive"), finding


def test_an_answer_whose_fragments_are_not_all_there_is_doubted() -> None:
    big = answer(*[f"198.51.100.{number}" for number in range(1, 100)])
    pieces = [Ether(src=MAC, dst=MAC) / piece for piece in fragment(big[IP], fragsize=600)]
    found = report([question(), *pieces[:-1]])
    assert doubts(found)["fragments"].frames == tuple(range(2, 1 + len(pieces)))
    assert found.verdict == "inconclusive"


def test_numbers_far_away_after_both_fins_may_be_another_connections() -> None:
    """Its SYN was lost, and the ports are the same."""
    again = Talk(client_isn=500_000_000, server_isn=700_000_000).open().exchange().close().frames[3:]
    found = report(lookup() + Talk().open().exchange().close().frames + again)
    assert statuses(found)["tcp.numbers"] == "inconclusive"


def test_a_syn_that_was_captured_twice_was_sent_once() -> None:
    frames = [frame for frame in WHOLE for _ in range(2)]
    assert report(frames).traffic.connections[0].handshake.syn_count == 1
