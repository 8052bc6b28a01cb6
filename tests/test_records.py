"""The records of a message: as dnspython reads them, and in bounded time where a message is made to hurt."""

import struct
import time

import dns.flags
import dns.message
import dns.name
import dns.rcode
import dns.rdata
import dns.rrset
import pytest
from hypothesis import given
from hypothesis import strategies as st

from analysis.dns.records import Edns, read_sections
from analysis.dns.wire import read_facts
from analysis.names import canonical

HEADER = struct.pack("!HHHHHH", 1, 0x8180, 1, 1, 0, 0)
QUESTION = b"\1a\0\0\1\0\1"

labels = st.binary(min_size=1, max_size=12)
names = st.lists(labels, max_size=6).map(lambda parts: dns.name.Name((*parts, b"")))
DATA = {
    "A": st.just("192.0.2.1"),
    "AAAA": st.just("2001:db8::1"),
    "CNAME": names.map(str),
    "NS": names.map(str),
    "PTR": names.map(str),
    "MX": names.map(lambda name: f"10 {name}"),
    "SOA": names.map(lambda name: f"{name} {name} 1 2 3 4 5"),
    "TXT": st.just('"some text" "and more"'),
    "SRV": names.map(lambda name: f"1 2 3 {name}"),
    "HTTPS": st.just('1 . alpn="h2" ipv4hint="192.0.2.1"'),
}
records = st.lists(st.sampled_from(sorted(DATA)).flatmap(lambda kind: st.tuples(names, st.just(kind), DATA[kind])))


@given(names, records, st.booleans())
def test_names_and_data_are_those_of_dnspython(asked: dns.name.Name, found: list, with_edns: bool) -> None:
    message = dns.message.make_response(dns.message.make_query(asked, "A"))
    for owner, kind, data in found:
        message.answer.append(dns.rrset.from_text(owner, 60, "IN", kind, data))
    if with_edns:
        message.use_edns(0, dns.flags.DO, 1232)
    message.set_rcode(dns.rcode.BADVERS if with_edns else dns.rcode.NOERROR)
    wire = message.to_wire(max_size=65535)
    sections = read_sections(wire)
    parsed = dns.message.from_wire(wire, one_rr_per_rrset=True)
    theirs = [
        (canonical(rrset.name.to_text()), dns.rdatatype.to_text(rrset.rdtype), rdata.to_text())
        for rrset in parsed.answer
        for rdata in rrset
    ]
    ours = [(record.name, record.type, record.data) for record in sections.answers]
    assert ours == [(name, kind, canonical(data) if kind == "CNAME" else data) for name, kind, data in theirs]
    assert sections.edns == (Edns(0, 1232, True, ()) if with_edns else None)
    assert sections.extended_rcode == (1 if with_edns else 0)


@given(st.binary(max_size=80))
def test_any_bytes_behind_a_question_are_survived(rest: bytes) -> None:
    read_sections(HEADER + QUESTION + rest)


@pytest.mark.parametrize(
    "rest",
    [b"\xc0\x13", b"\xc0\x15\xc0\x13", b"\xff\xff", b"\x40", b"\x05abc", b""],
    ids=["itself", "each other", "beyond", "a bad length", "cut off", "nothing"],
)
def test_names_that_lead_nowhere_end_the_reading(rest: bytes) -> None:
    assert read_sections(HEADER + QUESTION + rest).answers == ()


def test_a_name_longer_than_255_octets_is_none() -> None:
    for count, readable in ((127, True), (128, False)):
        question = b"\1a" * count + b"\0\0\1\0\1"
        assert (read_facts(HEADER[:6] + b"\0\0" + HEADER[8:] + question) is not None) == readable
    pointers = b"\1a" * 120 + b"\0" + b"\0\1\0\1\0\0\0\0\0\0" + b"\x3f" + b"b" * 63 + b"\xc0\x13"
    two = HEADER[:6] + b"\0\2" + HEADER[8:]
    assert len(read_sections(two + QUESTION + pointers + b"\0\1\0\1\0\0\0\0\0\0").answers) == 1


def test_many_records_that_point_to_a_long_name_take_no_time() -> None:
    """A kilobyte of these took a tenth of a second where each record's name was read, hashed and compared anew."""
    long_name = b"\1a" * 120 + b"\0"
    count = 3500
    record = b"\xc0\x0c" + struct.pack("!HHIH", 2, 1, 60, 5) + b"\2%s\xc0\x0c"
    body = b"".join(record.replace(b"%s", bytes((97 + number % 26, 97 + number // 26 % 26))) for number in range(count))
    message = struct.pack("!HHHHHH", 1, 0x8180, 1, count, 0, 0) + long_name + b"\0\2\0\1" + body
    start = time.process_time()
    assert len(read_sections(message).answers) == count
    assert time.process_time() - start < 1


def test_data_that_dnspython_refuses_is_shown_in_hex() -> None:
    record = b"\xc0\x0c" + struct.pack("!HHIH", 15, 1, 60, 1) + b"\x07"
    assert read_sections(HEADER + QUESTION + record).answers[0].data == "\\# 1 07"
