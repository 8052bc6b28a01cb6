"""Lookups: which answer belongs to which question, retries, outcomes, TCP."""

import dns.message
import pytest
from scapy.layers.dns import DNS, DNSRR
from scapy.layers.inet import IP, TCP, UDP
from scapy.packet import Packet as Scapy

from analysis.dns import Lookup
from tests.craft import CLIENT, NAME, RESOLVER, SERVER, Talk, answer, question, report


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


@pytest.mark.parametrize("change", [{"number": 8}, {"port": 5354}, {"name": "www.example.org"}, {"kind": "AAAA"}])
def test_an_answer_to_another_question_is_ignored(change: dict[str, object]) -> None:
    stray = answer(**({"kind": "A"} | change))  # type: ignore[arg-type]
    assert one([question(), stray]).status == "unanswered"


def test_an_answer_from_another_address_is_ignored() -> None:
    stray = answer(SERVER)
    stray[IP].src = "10.0.0.54"
    assert one([question(), stray]).status == "unanswered"


def test_truncated_is_an_outcome() -> None:
    assert one([question(), answer(tc=1)]).status == "truncated"


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
    for frame in talk.frames:
        segment = frame[TCP]
        segment.sport, segment.dport = (53, segment.dport) if segment.sport == 80 else (segment.sport, 53)
    found = lookups(talk.frames)
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
