"""Packets to DNS lookups: each question with its retries and its outcome.

RFC 1035 §4 (messages), §4.2.2 (length prefix on TCP), RFC 2308 §2 (NXDOMAIN, NODATA), RFC 5452 §9 (which
response answers which query). Messages are parsed by dnspython.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import NamedTuple

import dns.exception
import dns.flags
import dns.message
import dns.rcode
import dns.rdataclass
import dns.rdatatype

from analysis.packet import Packet
from analysis.segment import PEER, Role
from analysis.tcp import Connection, reassemble

DNS_PORT = 53
STATUS_OF_RCODE = {"NXDOMAIN": "nxdomain", "REFUSED": "refused", "SERVFAIL": "servfail"}


class Record(NamedTuple):
    """One resource record: owner name, type, data as text, seconds to live."""

    name: str
    type: str
    data: str
    ttl: int


@dataclass(frozen=True, slots=True)
class Message:
    """One DNS message in the capture; `frame` is the one that completed it."""

    frame: int
    time_ns: int
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
    status: str
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


def find_messages(packets: Iterable[Packet], connections: Iterable[Connection]) -> tuple[Message, ...]:
    """The DNS messages on port 53, over UDP and TCP, in order of the frame that completed each."""
    found: list[Message] = []
    for packet in packets:
        if packet.tcp is None and DNS_PORT in (packet.sport, packet.dport):
            ends = (packet.src, packet.dst, packet.sport, packet.dport)
            message = _message(packet.payload, packet.frame, packet.time_ns, "udp", ends)
            if message:
                found.append(message)
    for connection in connections:
        if connection.server.port == DNS_PORT:
            found += _tcp_messages(connection)
    return tuple(sorted(found, key=lambda message: message.frame))


def _tcp_messages(connection: Connection) -> Iterator[Message]:
    times = {segment.frame: segment.packet.time_ns for segment in connection.segments}
    roles: tuple[Role, ...] = ("client", "server")
    for role in roles:
        stream = reassemble(connection, role)
        source, target = connection.endpoint(role), connection.endpoint(PEER[role])
        ends = (source.address, target.address, source.port, target.port)
        position = 0
        while position + 2 <= len(stream.data):
            length = int.from_bytes(stream.data[position : position + 2])
            start, position = position, position + 2 + length
            if position > len(stream.data):
                break
            frame = stream.frames(start, position)[-1]
            message = _message(stream.data[start + 2 : position], frame, times[frame], "tcp", ends)
            if message:
                yield message


def _message(data: bytes, frame: int, time_ns: int, transport: str, ends: tuple[str, str, int, int]) -> Message | None:
    try:
        parsed = dns.message.from_wire(data, ignore_trailing=True)
    except (dns.exception.DNSException, ValueError, IndexError):
        return None  # port 53 carries other things too
    if not parsed.question:
        return None
    question = parsed.question[0]
    return Message(
        frame,
        time_ns,
        transport,
        *ends,
        parsed.id,
        bool(parsed.flags & dns.flags.QR),
        bool(parsed.flags & dns.flags.TC),
        dns.rcode.to_text(parsed.rcode()),
        canonical(question.name.to_text()),
        dns.rdatatype.to_text(question.rdtype),
        _records(parsed.answer),
        _records(parsed.authority),
        parsed.edns >= 0,
    )


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


@dataclass(slots=True)
class _Open:
    """A lookup being put together."""

    queries: list[Message]
    response: Message | None = None

    def lookup(self) -> Lookup:
        first, response = self.queries[0], self.response
        return Lookup(
            first.name,
            first.type,
            first.transport,
            first.src,
            first.dst,
            _status(first.type, response),
            None if response is None else response.rcode,
            () if response is None else response.answers,
            tuple(query.frame for query in self.queries),
            None if response is None else response.frame,
        )


def find_lookups(messages: Iterable[Message]) -> tuple[Lookup, ...]:
    """The lookups among `messages`, in order of their first query.

    A response answers the query of the same id, name, type, addresses and ports (RFC 5452 §9); any other,
    and any second one, changes nothing. A question that is asked again while unanswered is a retry.
    """
    lookups: list[_Open] = []
    waiting: dict[tuple[object, ...], _Open] = {}
    latest: dict[tuple[str, ...], _Open] = {}
    for message in messages:
        question = (message.id, message.name, message.type, message.transport)
        if message.is_response:
            lookup = waiting.get((*question, message.dst, message.dport, message.src, message.sport))
            if lookup is not None and lookup.response is None:
                lookup.response = message
            continue
        asked = (message.src, message.name, message.type, message.transport)
        lookup = latest.get(asked)
        if lookup is None or lookup.response is not None:
            lookup = latest[asked] = _Open([])
            lookups.append(lookup)
        lookup.queries.append(message)
        waiting[*question, message.src, message.sport, message.dst, message.dport] = lookup
    return tuple(lookup.lookup() for lookup in lookups)


def _status(kind: str, response: Message | None) -> str:
    if response is None:
        return "unanswered"
    if response.truncated:
        return "truncated"
    if response.rcode != "NOERROR":
        return STATUS_OF_RCODE.get(response.rcode, "error")
    return "answered" if any(record.type == kind for record in response.answers) else "nodata"
