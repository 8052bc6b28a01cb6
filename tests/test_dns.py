"""Lookups: which answer belongs to which question, retries, outcomes, TCP."""

import struct
import time

import dns.message
import numpy as np
import pytest
from scapy.layers.dns import DNS, DNSRR, DNSRROPT
from scapy.layers.inet import IP, TCP, UDP, fragment
from scapy.layers.l2 import Ether
from scapy.packet import Packet as Scapy

from analysis.dns.lookups import Lookup
from analysis.dns.records import Edns
from analysis.dns.strays import Ignored
from analysis.files.capture import parse_capture
from analysis.report import make_report
from analysis.views.frames import frame_lines
from analysis.views.style import Style
from analysis.views.terminal import render
from tests.craft import CLIENT, NAME, RESOLVER, SERVER, Talk, answer, pcap, question, report

MAC = "02:00:00:00:00:01"


def lookups(frames: list[Scapy]) -> tuple[Lookup, ...]:
    return report(frames).traffic.lookups


def one(frames: list[Scapy]) -> Lookup:
    (found,) = lookups(frames)
    return found


def test_an_answered_lookup_has_its_addresses_and_frames() -> None:
    found = one([question(), answer(SERVER)])
    assert (found.name, found.type, found.status, found.addresses) == (NAME, "A", "answered", (SERVER,))
    assert (found.client, found.resolver) == (CLIENT, RESOLVER)
    assert (found.query_frames, found.response_frame) == ((1,), 2)


@pytest.mark.parametrize(
    ("rcode", "status"), [(0, "nodata"), (2, "servfail"), (3, "nxdomain"), (5, "refused"), (4, "error")]
)
def test_an_answer_without_records_is_named_by_its_rcode(rcode: int, status: str) -> None:
    assert one([question(), answer(rcode=rcode)]).status == status


def test_a_question_asked_again_unanswered_is_a_retry() -> None:
    found = one([question(), question(), answer(SERVER)])
    assert (found.query_frames, found.response_frame, found.status) == ((1, 2), 3, "answered")


def test_a_question_asked_again_after_its_answer_is_another_lookup() -> None:
    assert len(lookups([question(), answer(SERVER), question(), answer(SERVER)])) == 2


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"number": 8}, "wrong id"),
        ({"port": 5354}, "wrong port"),
        ({"name": "www.example.org"}, "wrong question"),
        ({"kind": "AAAA"}, "wrong question"),
    ],
)
def test_an_answer_that_fits_but_for_one_thing_is_ignored_and_said(change: dict[str, object], reason: str) -> None:
    stray = answer(**({"kind": "A"} | change))  # type: ignore[arg-type]
    found = one([question(), stray])
    assert found.status == "unanswered"
    assert found.ignored == (Ignored(2, reason, 1),)  # type: ignore[arg-type]


def test_an_answer_from_another_address_is_ignored_and_said() -> None:
    stray = answer(SERVER)
    stray[IP].src = "10.0.0.54"
    found = one([question(), stray, answer(SERVER)])
    assert (found.status, found.response_frame) == ("answered", 3)
    assert found.ignored == (Ignored(2, "wrong address", 1),)


def test_an_answer_that_nothing_asked_for_belongs_to_no_lookup() -> None:
    found = report([question(), answer(number=9, port=99, name="x.example")]).traffic
    assert [lookup.ignored for lookup in found.lookups] == [()]
    assert found.unasked == (Ignored(2, "unasked", None),)


def test_of_two_answers_the_first_counts() -> None:
    found = one([question(), answer(SERVER), answer("203.0.113.66")])
    assert (found.addresses, found.ignored) == ((SERVER,), (Ignored(3, "second answer", 1),))


def test_a_datagram_that_was_captured_twice_is_no_retry_and_no_second_answer() -> None:
    asked, answered = question(), answer(SERVER)
    found = one([asked, asked, answered, answered])
    assert (found.query_frames, found.response_frame) == ((1,), 3)
    assert found.ignored == (Ignored(2, "captured twice", 1), Ignored(4, "captured twice", 3))


def test_truncated_is_an_outcome() -> None:
    assert one([question(), answer(tc=1)]).status == "truncated"


def over_tcp(talk: Talk) -> list[Scapy]:
    for frame in talk.frames:
        segment = frame[TCP]
        segment.sport, segment.dport = (53, segment.dport) if segment.sport == 80 else (segment.sport, 53)
    return talk.frames


def prefixed(*frames: Scapy) -> bytes:
    return b"".join(len(bytes(frame[DNS])).to_bytes(2) + bytes(frame[DNS]) for frame in frames)


def test_a_truncated_answer_and_the_one_over_tcp_are_one_lookup() -> None:
    talk = Talk(server=RESOLVER).open().exchange(prefixed(question(number=8)), prefixed(answer(SERVER, number=8)))
    found = one([question(), answer(tc=1), *over_tcp(talk.close())])
    assert (found.transport, found.status, found.addresses) == ("tcp", "answered", (SERVER,))
    assert (found.query_frames, found.response_frame) == ((1, 6), 8)
    assert found.truncated is not None
    assert found.truncated.frame == 2
    assert "x2 tcp -> " in str(report([question(), answer(tc=1), *over_tcp(talk)]).exact)


def test_a_truncated_answer_is_linked_with_its_own_question_alone() -> None:
    talk = Talk(server=RESOLVER).open()
    talk.exchange(prefixed(question(kind="AAAA", number=8)), prefixed(answer(number=8, kind="AAAA")))
    found = lookups([question(), answer(tc=1), *over_tcp(talk)])
    assert [(lookup.type, lookup.transport, lookup.status) for lookup in found] == [
        ("A", "udp", "truncated"),
        ("AAAA", "tcp", "nodata"),
    ]


def test_the_connection_that_carried_a_lookup_is_told_with_it() -> None:
    talk = Talk(server=RESOLVER).open().exchange(prefixed(question(number=8)), prefixed(answer(SERVER, number=8)))
    found = report([question(), answer(tc=1), *over_tcp(talk.close()), *Talk().open().exchange().close().frames])
    assert found.story is not None
    assert [len(found.story.carriers), len(found.story.connections)] == [1, 1]
    assert [line.frame for line in frame_lines(found)] == list(range(1, 23))
    assert found.verdict == "pass"


def test_an_answer_in_fragments_is_read() -> None:
    big = answer(*[f"198.51.100.{number}" for number in range(1, 101)])
    pieces = [Ether(src=MAC, dst=MAC) / piece for piece in fragment(big[IP], fragsize=600)]
    found = one([question(), *pieces])
    assert (found.status, len(found.addresses), found.response_frame) == ("answered", 100, 1 + len(pieces))
    assert found.frames == tuple(range(1, 2 + len(pieces)))
    assert len(frame_lines(report([question(), *pieces]))) == 1 + len(pieces)


def test_a_message_that_the_capture_cuts_off_is_an_answer_that_cant_be_read() -> None:
    talk = Talk(server=RESOLVER).open().send("client", "PA", prefixed(question()))
    talk.send("server", "PA", prefixed(answer(SERVER))[:-3])
    assert one(over_tcp(talk)).status == "cut"


def test_edns_is_shown() -> None:
    frame = question()
    frame[DNS].ar = DNSRROPT(rclass=1232, z=0x8000)
    found = one([frame, answer(SERVER)])
    assert found.queries[0].edns == Edns(0, 1232, True, ())


@pytest.mark.parametrize(
    ("kind", "data", "shown"),
    [("MX", b"\0\x0a\x04mail\0", "10 mail."), ("TXT", b"\x03a b", '"a b"'), ("NS", b"\x03ns1\0", "ns1.")],
)
def test_other_types_are_shown(kind: str, data: bytes, shown: str) -> None:
    number = {"MX": 15, "TXT": 16, "NS": 2}[kind]
    response = answer(kind=kind)
    response[DNS].ancount = 1
    message = bytes(response[DNS]) + b"\xc0\x0c" + struct.pack("!HHIH", number, 1, 60, len(data)) + data
    response[UDP].remove_payload()
    found = one([question(kind=kind), response / message])
    assert (found.status, found.answers[0].data) == ("answered", shown)


LIES = {
    "a count beyond the records": lambda message: message[:6] + b"\xff\xff" + message[8:],
    "a length beyond the message": lambda message: message[:-6] + b"\xff\xff" + message[-4:],
    "a name that points to itself": lambda message: message[:33] + b"\xc0\x21" + message[35:],
    "two names that point to each other": lambda message: message[:33] + b"\xc0\x23\xc0\x21" + message[37:],
    "a label that is too long": lambda message: message[:33] + b"\x7f" + message[34:],
}


@pytest.mark.parametrize("name", LIES)
def test_an_answer_that_lies_is_malformed_and_a_better_one_may_follow(name: str) -> None:
    lie = answer(SERVER)
    message = LIES[name](bytes(lie[DNS]))
    lie[UDP].remove_payload()
    assert one([question(), lie / message]).status == "malformed"
    found = one([question(), lie / message, answer(SERVER)])
    assert (found.status, found.addresses, found.response_frame) == ("answered", (SERVER,), 3)
    assert found.ignored == (Ignored(2, "malformed", 1),)


def test_aliases_are_followed() -> None:
    response = answer()
    response[DNS].an = [
        DNSRR(rrname=NAME, type="CNAME", ttl=60, rdata="edge.example.net"),
        DNSRR(rrname="edge.example.net", type="A", ttl=60, rdata=SERVER),
    ]
    found = one([question(), response])
    assert (found.cnames, found.addresses) == (("edge.example.net",), (SERVER,))


def test_messages_over_tcp_may_be_split_and_share_a_segment() -> None:
    talk = Talk(server=RESOLVER)
    queries = [bytes(question(number=number, kind=kind)[DNS]) for number, kind in ((1, "A"), (2, "AAAA"))]
    replies = [bytes(answer(SERVER, number=1)[DNS]), bytes(answer(number=2, kind="AAAA")[DNS])]
    stream = b"".join(len(query).to_bytes(2) + query for query in queries)
    back = b"".join(len(reply).to_bytes(2) + reply for reply in reversed(replies))
    talk.open().send("client", "PA", stream).send("server", "PA", back[:9]).send("server", "PA", back[9:])
    found = lookups(over_tcp(talk))
    assert [(lookup.type, lookup.status, lookup.transport) for lookup in found] == [
        ("A", "answered", "tcp"),
        ("AAAA", "nodata", "tcp"),
    ]
    assert [lookup.response_frame for lookup in found] == [6, 6]


def test_names_compare_without_case() -> None:
    assert one([question(name="WWW.Example.COM"), answer(SERVER)]).name == NAME


@pytest.mark.parametrize(
    "payload",
    [b"", b"\0" * 5, b"\xff" * 40, bytes.fromhex("0001 0100 0001 0000 0000 0000 c00c 0001 0001")],
    ids=["empty", "short", "noise", "a name that points to itself"],
)
def test_what_is_no_message_is_no_lookup(payload: bytes) -> None:
    frame = question()
    frame[UDP].remove_payload()
    assert lookups([frame / payload]) == ()


def test_scapy_and_dnspython_agree_on_the_craft() -> None:
    assert dns.message.from_wire(bytes(question()[DNS])).id == 7


def to_resolver(frame: Scapy, address: str) -> Scapy:
    end = "dst" if frame[IP].src == CLIENT else "src"
    setattr(frame[IP], end, address)
    return frame


def test_of_two_resolvers_asked_at_once_the_one_that_knows_counts() -> None:
    """As musl asks; the failure of the other comes first."""
    second = "10.0.0.54"
    asked = [question(), to_resolver(question(), second)]
    found = one([*asked, answer(rcode=2), to_resolver(answer(SERVER), second)])
    assert (found.status, found.addresses, found.response_frame) == ("answered", (SERVER,), 4)
    assert found.ignored == (Ignored(3, "overruled", 1),)
    late = one([*asked, to_resolver(answer(SERVER), second), answer(rcode=2)])
    assert (late.status, late.response_frame) == ("answered", 3)
    assert late.ignored == (Ignored(4, "second answer", 1),)


def test_a_message_whose_segments_came_out_of_order_is_complete_with_the_last_of_them() -> None:
    talk = Talk(server=RESOLVER).open().send("client", "PA", prefixed(question()))
    reply = prefixed(answer(SERVER))
    start = talk.next["server"]
    talk.send("server", "PA", reply[20:], seq=start + 20).send("server", "PA", reply[:20], seq=start)
    found = one(over_tcp(talk))
    assert (found.response_frame, found.frames) == (6, (4, 5, 6))


def test_a_zone_transfer_in_several_messages_is_one_answer() -> None:
    talk = Talk(server=RESOLVER).open().send("client", "PA", prefixed(question(kind="AXFR")))
    talk.send("server", "PA", prefixed(answer(SERVER, kind="A"))[:0] + prefixed(*[answer(kind="AXFR")] * 3))
    found = one(over_tcp(talk))
    assert (len(found.queries), found.ignored) == (1, ())


def test_a_retry_in_fragments_is_no_copy() -> None:
    def pieces() -> list[Scapy]:
        frame = question()
        frame[DNS].ar = DNSRROPT(rdata=b"x" * 900)
        return [Ether(src=MAC, dst=MAC) / piece for piece in fragment(frame[IP], fragsize=400)]

    again = pieces()
    assert len(one([*again, *pieces()]).queries) == 2
    assert len(one([*again, *again]).queries) == 1


def test_thousands_of_retries_are_told_in_no_time() -> None:
    frames = [question() for _ in range(3)]
    content = pcap(frames)
    capture = parse_capture(content[:24] + content[24:] * 2000, "a")
    capture.frames.time_ns[:] += np.arange(6000) * 20_000_000
    start = time.process_time()
    render(make_report(capture), Style(80), with_explanations=True)
    assert time.process_time() - start < 6  # it was quadratic


def test_two_programs_that_ask_at_once_make_two_lookups() -> None:
    frames = [question(number=1, port=4001), question(number=2, port=4002)]
    frames += [answer(SERVER, number=2, port=4002), answer(SERVER, number=1, port=4001)]
    found = lookups(frames)
    assert [(one.query_frames, one.response_frame, one.ignored) for one in found] == [((1,), 4, ()), ((2,), 3, ())]


def test_a_question_that_goes_along_over_tcp_is_one_lookup_with_that_over_udp() -> None:
    """As glibc asks: the answer for A was truncated, so it asks both over TCP; the other truncated answer is late."""
    both = [question(number=1), question(number=2, kind="AAAA")]
    talk = Talk(server=RESOLVER).open().send("client", "PA", prefixed(*both))
    late = answer(number=2, kind="AAAA", tc=1)
    over = over_tcp(talk)
    talk.send("server", "PA", prefixed(answer(SERVER, number=1), answer(number=2, kind="AAAA")))
    found = lookups([*both, answer(number=1, tc=1), *over[:4], late, *over_tcp(talk)[4:]])
    assert [(one.type, one.transport, one.status, one.query_frames) for one in found] == [
        ("A", "tcp", "answered", (1, 7)),
        ("AAAA", "tcp", "nodata", (2, 7)),
    ]
    assert [None if one.truncated is None else one.truncated.frame for one in found] == [3, 8]
