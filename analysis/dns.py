"""DNS lookups and messages as values: each question with its retries and its outcome.

RFC 1035 §4. Which response answers which query is `analysis.dns_pairs`'s business; records are read by dnspython.
"""

import struct
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

import dns.exception
import dns.message
import dns.name
import dns.rcode
import dns.rdata
import dns.rdataclass
import dns.rdatatype

from analysis.columns import Packets
from analysis.dns_pairs import Facts, Pair, Source, Status, all_messages
from analysis.tcp import Connection

for _kind in (dns.rdatatype.A, dns.rdatatype.AAAA, dns.rdatatype.CNAME, dns.rdatatype.SOA, dns.rdatatype.OPT):
    dns.rdata.get_rdata_class(dns.rdataclass.IN, _kind)  # type: ignore[no-untyped-call] # not in the midst of a message


class Record(NamedTuple):
    """One resource record: owner name, type, data as text, seconds to live."""

    name: str
    type: str
    data: str
    ttl: int


@dataclass(frozen=True, slots=True)
class Message:
    """One DNS message in the capture; `frame` is the one that completed it. An error may lack name and type."""

    frame: int
    transport: str
    src: str
    dst: str
    sport: int
    dport: int
    id: int
    is_response: bool
    truncated: bool
    rcode: str
    name: str
    type: str
    answers: tuple[Record, ...]
    authority: tuple[Record, ...]
    edns: bool


@dataclass(frozen=True, slots=True)
class Lookup:
    """One DNS question, its retries and its outcome.

    `status`: answered, nxdomain, nodata, refused, servfail, truncated, unanswered, or error (any other
    rcode). `answers` are those of the response that counts, the first that matches a query.
    """

    name: str
    type: str
    transport: str
    client: str
    resolver: str
    status: Status
    rcode: str | None
    answers: tuple[Record, ...]
    query_frames: tuple[int, ...]
    response_frame: int | None

    @property
    def addresses(self) -> tuple[str, ...]:
        """The addresses that the name resolved to, by way of its aliases; records of other names don't count."""
        owner = (self.name, *self.cnames)[-1]
        return tuple(record.data for record in self.answers if record.name == owner and record.type in ("A", "AAAA"))

    @property
    def cnames(self) -> tuple[str, ...]:
        """The aliases on the way (RFC 1034 §3.6.2), in the order in which one leads to the next."""
        targets = {record.name: record.data for record in self.answers if record.type == "CNAME"}
        chain: list[str] = []
        owner = self.name
        while owner in targets and targets[owner] not in chain:
            owner = targets[owner]
            chain.append(owner)
        return tuple(chain)

    @property
    def frames(self) -> tuple[int, ...]:
        return (*self.query_frames, *(() if self.response_frame is None else (self.response_frame,)))


def find_messages(packets: Packets, connections: Iterable[Connection]) -> dict[Source, Message]:
    """The DNS messages on port 53, over UDP and TCP, in order of the frame that completed each."""
    found = all_messages(packets, connections)
    return {source: _message(packets, source, data, facts) for source, data, facts in found}


def make_lookup(pair: Pair, messages: Mapping[Source, Message]) -> Lookup:
    """The lookup that `pair` makes, of the messages that it names."""
    first = messages[pair.query]
    response = None if pair.response is None else messages[pair.response]
    return Lookup(
        first.name,
        first.type,
        pair.transport,
        first.src,
        first.dst,
        pair.status,
        None if response is None else response.rcode,
        () if response is None else response.answers,
        tuple(messages[query].frame for query in (pair.query, *(pair.retries or ()))),
        None if response is None else response.frame,
    )


def type_name(number: int) -> str:
    """The name of a record type: `A`, `TYPE4242`."""
    return dns.rdatatype.to_text(dns.rdatatype.RdataType.make(number))


def _frame(packets: Packets, source: Source) -> int:
    return int(packets.column("frame")[source]) if isinstance(source, int) else source.frame


def _message(packets: Packets, source: Source, data: bytes, facts: Facts) -> Message:
    if isinstance(source, int):
        ends = [int(packets.columns[name][source]) for name in ("source", "target")]
        (src, sport), (dst, dport) = ((packets.address(end), end & 0xFFFF) for end in ends)
    else:
        (src, sport), (dst, dport) = source.source, source.target
    has_records = facts.is_response or data[6:12] != bytes(6)  # counts of answers, authorities, additionals
    parsed = _parse(data) if has_records else None
    flags = int.from_bytes(data[2:4])
    return Message(
        _frame(packets, source),
        "udp" if isinstance(source, int) else "tcp",
        src,
        dst,
        sport,
        dport,
        facts.id,
        facts.is_response,
        bool(flags & 0x0200),
        dns.rcode.to_text(parsed.rcode() if parsed else dns.rcode.Rcode(flags & 15)),
        *(_question_words(facts.question) if facts.question else ("", "")),
        _records(parsed.answer) if parsed else (),
        _records(parsed.authority) if parsed else (),
        parsed is not None and parsed.edns >= 0,
    )


@lru_cache(maxsize=256)
def _question_words(question: bytes) -> tuple[str, str]:
    """Name and type of a question as on the wire."""
    name = dns.name.from_wire(question, 0)[0].to_text()
    return canonical(name), type_name(int.from_bytes(question[-4:-2]))


def _parse(data: bytes) -> dns.message.Message | None:
    """The message as far as it can be read; None where dnspython gives up."""
    try:
        return dns.message.from_wire(data, ignore_trailing=True, continue_on_error=True)
    except (dns.exception.DNSException, ValueError, IndexError, struct.error):
        return None


def _records(section: Iterable[dns.rrset.RRset]) -> tuple[Record, ...]:
    records: list[Record] = []
    for rrset in section:
        name, kind = canonical(rrset.name.to_text()), dns.rdatatype.to_text(rrset.rdtype)
        if rrset.rdclass != dns.rdataclass.IN:
            kind = f"{dns.rdataclass.to_text(rrset.rdclass)}-{kind}"  # its A is no internet address
        for rdata in rrset:
            text = rdata.to_text()
            records.append(Record(name, kind, canonical(text) if kind == "CNAME" else text, rrset.ttl))
    return tuple(records)


def canonical(name: str) -> str:
    """The name in lower case without the root's dot: names compare so (RFC 4343)."""
    return name.lower().removesuffix(".") or "."
