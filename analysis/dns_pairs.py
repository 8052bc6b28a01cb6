"""DNS queries and the responses that answer them: what pairs them and how it ended, read from the bytes.

RFC 1035 §4 (messages), §4.2.2 (length prefix on TCP), RFC 2308 §2 (NXDOMAIN, NODATA), RFC 5452 §9 (which
response answers which query). This reads only what pairing needs; `analysis.dns` has dnspython read the rest of a
message, when someone looks at it.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from struct import Struct, error
from typing import Literal, NamedTuple

import numpy as np

from analysis.columns import Packets
from analysis.packet import UDP
from analysis.segment import PEER, ROLES
from analysis.tcp import Connection, reassemble

Status = Literal["answered", "nxdomain", "nodata", "refused", "servfail", "truncated", "unanswered", "error"]

DNS_PORT = 53
BLOCK = 1 << 13  # datagrams whose bounds are worked out at once
STATUS_OF_RCODE: dict[int, Status] = {2: "servfail", 3: "nxdomain", 5: "refused"}
OPT = 41
HEADER = Struct("!HHHHHH").unpack_from
RECORD = Struct("!HHIH").unpack_from  # type, class, seconds to live, length of the data
TYPE_CLASS = 4


class TcpMessage(NamedTuple):
    """A message that came in a TCP stream; `frame` completed it. Ends are endpoint numbers, as in `Packets`."""

    frame: int
    source: tuple[str, int]
    target: tuple[str, int]
    data: bytes


Source = int | TcpMessage  # where a message is: the row of its datagram, or what came over TCP


@dataclass(slots=True)
class Pair:
    """One question: its first query, its retries, and the response that counts."""

    query: Source
    transport: str
    type: int
    status: Status = "unanswered"
    response: Source | None = None
    retries: tuple[Source, ...] = ()


class Facts(NamedTuple):
    """What pairing needs of a message. `question`: the name in lower case, type and class, as on the wire."""

    id: int
    is_response: bool
    question: bytes
    status: Status


def read_facts(data: bytes) -> Facts | None:
    """The facts of the message `data`, or None if it is none: port 53 carries other things, too."""
    try:
        number, flags, questions, answers, authorities, additionals = HEADER(data)
        end = 12
        while length := data[end]:
            if length > 63 or not questions:
                return None  # no name in a question is compressed: nothing stands before it
            end += length + 1
        end += 1 + TYPE_CLASS
        question = data[12:end].lower()
        if end > len(data) or not questions:
            return None
        if not flags & 0x8000:
            return Facts(number, False, question, "unanswered")
        return Facts(number, True, question, _status(data, end, flags, answers, (authorities, additionals), question))
    except (IndexError, error):
        return None


def _status(data: bytes, at: int, flags: int, answers: int, others: tuple[int, int], question: bytes) -> Status:
    """How the response ends its lookup; `IndexError` or `struct.error` if its records are cut off."""
    answered = False
    for _ in range(answers):
        at = _skip_name(data, at)
        kind, kind_class, _, length = RECORD(data, at)
        at += 10 + length
        answered = answered or question[-4:] == kind.to_bytes(2) + kind_class.to_bytes(2)
    if at > len(data):
        raise IndexError
    if flags & 0x0200:
        return "truncated"
    rcode = flags & 15
    if others[1] and (rcode or not answered):
        rcode |= _extended_rcode(data, at, sum(others)) << 4
    if rcode:
        return STATUS_OF_RCODE.get(rcode, "error")
    return "answered" if answered else "nodata"


def _extended_rcode(data: bytes, at: int, records: int) -> int:
    """The upper bits of the rcode, which an OPT record has in its time to live (RFC 6891 §6.1.3)."""
    for _ in range(records):
        at = _skip_name(data, at)
        kind, _, seconds, length = RECORD(data, at)
        if kind == OPT:
            return int(seconds >> 24)
        at += 10 + length
    return 0


def _skip_name(data: bytes, at: int) -> int:
    while length := data[at]:
        if length >= 0xC0:
            return at + 2  # the rest of the name stands elsewhere (RFC 1035 §4.1.4)
        at += length + 1
    return at + 1


def pair_messages(packets: Packets, connections: Iterable[Connection]) -> list[Pair]:
    """One pair a question, in order of their first query.

    A response answers the query of the same id, name, type, addresses and ports (RFC 5452 §9); any other,
    and any second one, changes nothing. A question that is asked again while unanswered is a retry.
    """
    pairs: list[Pair] = []
    waiting: dict[tuple[object, ...], Pair] = {}  # unanswered queries, by what their response must have
    latest: dict[tuple[object, ...], Pair] = {}  # unanswered questions, by who asks
    for source, transport, sender, receiver, data in _messages(packets, connections):
        facts = read_facts(data)
        if facts is None:
            continue
        number, is_response, question, status = facts
        if is_response:
            pair = waiting.pop((transport, number, question, receiver, sender), None)
            if pair is not None and pair.response is None:
                pair.response, pair.status = source, status
                latest.pop((transport, _host(receiver), question), None)
            continue
        asked = (transport, _host(sender), question)
        pair = latest.get(asked)
        if pair is None:
            pair = latest[asked] = Pair(source, transport, int.from_bytes(question[-4:-2]))
            pairs.append(pair)
        else:
            pair.retries += (source,)
        waiting[transport, number, question, sender, receiver] = pair
    return pairs


def all_messages(packets: Packets, connections: Iterable[Connection]) -> Iterator[tuple[Source, bytes, Facts]]:
    """Every DNS message of the capture, in order of the frame that completed it."""
    for source, _, _, _, data in _messages(packets, connections):
        facts = read_facts(data)
        if facts is not None:
            yield source, data, facts


End = int | tuple[str, int]


def _host(end: End) -> int | str:
    return end >> 16 if isinstance(end, int) else end[0]


def _messages(packets: Packets, connections: Iterable[Connection]) -> Iterator[tuple[Source, str, End, End, bytes]]:
    """Source, transport, sender, receiver and bytes of what may be a message."""
    streams = (_tcp_messages(connection) for connection in connections if connection.server_port == DNS_PORT)
    over_tcp = sorted((message for stream in streams for message in stream), key=lambda message: message.frame)
    frames = packets.column("frame")
    for row, sender, receiver, data in _datagrams(packets):
        while over_tcp and over_tcp[0].frame < frames[row]:
            message = over_tcp.pop(0)
            yield message, "tcp", message.source, message.target, message.data
        yield row, "udp", sender, receiver, data
    for message in over_tcp:
        yield message, "tcp", message.source, message.target, message.data


def _datagrams(packets: Packets) -> Iterator[tuple[int, int, int, bytes]]:
    """Row, sender, receiver and payload of each datagram from or to port 53."""
    source, target = packets.columns["source"], packets.columns["target"]
    port = np.uint64(0xFFFF)
    at_port = (source & port == DNS_PORT) | (target & port == DNS_PORT)
    rows = np.flatnonzero(at_port & (packets.column("protocol") == UDP))
    data = packets.frames.data
    for first in range(0, len(rows), BLOCK):
        some = rows[first : first + BLOCK]
        start, end = packets.payload_bounds(some)
        columns = (some, source[some], target[some], start, end)
        for row, sender, receiver, begin, stop in zip(*(column.tolist() for column in columns), strict=True):
            yield row, sender, receiver, data[begin:stop]


def _tcp_messages(connection: Connection) -> Iterator[TcpMessage]:
    for role in ROLES:
        stream = reassemble(connection, role)
        source, target = connection.endpoint(role), connection.endpoint(PEER[role])
        position = 0
        while position + 2 <= len(stream.data):
            length = int.from_bytes(stream.data[position : position + 2])
            start, position = position, position + 2 + length
            if position > len(stream.data):
                break
            frame = stream.frames(start, position)[-1]
            yield TcpMessage(frame, source, target, stream.data[start + 2 : position])
