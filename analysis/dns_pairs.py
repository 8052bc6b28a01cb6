"""DNS queries and the responses that answer them: what pairs them and how it ended, read from the bytes.

RFC 1035 §4 (messages), §4.2.2 (length prefix on TCP), RFC 2308 §2 (NXDOMAIN, NODATA), RFC 5452 §9 (which
response answers which query). This reads only what pairing needs; `analysis.dns` has dnspython read the rest of a
message, when someone looks at it.
"""

from collections import deque
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
LONGEST_LABEL = 63
ANY_TYPE = range(251, 256)  # IXFR, AXFR, MAILB, MAILA and ANY: answered by records of any type (RFC 1035 §3.2.3)
ANY_CLASS = 255


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
    retries: list[Source] | None = None


class Facts(NamedTuple):
    """What pairing needs of a message. `question`: the name in lower case, type and class, as on the wire."""

    id: int
    is_response: bool
    question: bytes
    status: Status


def read_facts(data: bytes) -> Facts | None:
    """The facts of the message `data`, or None if it is none: port 53 carries other things, too."""
    try:
        number, flags, questions, *counts = HEADER(data)
        question, end = _question(data) if questions else (b"", 12)
        if not flags & 0x8000:
            return Facts(number, False, question, "unanswered") if questions else None
        for _ in range(questions - 1):
            end = _skip_name(data, end) + TYPE_CLASS
        return Facts(number, True, question, _status(data, end, flags, counts, question))
    except (IndexError, error):
        return None


def _question(data: bytes) -> tuple[bytes, int]:
    """The first question, its name in lower case, and where it ends; no name in it is compressed (RFC 1035 §4.1.4)."""
    end = 12
    while length := data[end]:
        if length > LONGEST_LABEL:
            raise IndexError
        end += length + 1
    end += 1
    if end + TYPE_CLASS > len(data):
        raise IndexError
    return data[12:end].lower() + data[end : end + TYPE_CLASS], end + TYPE_CLASS


def _status(data: bytes, at: int, flags: int, counts: list[int], question: bytes) -> Status:
    """How the response ends its lookup; `IndexError` or `struct.error` if its records are cut off or lead nowhere."""
    answers, authorities, additionals = counts
    kind, kind_class = int.from_bytes(question[-4:-2]), int.from_bytes(question[-2:])
    answered = False
    for _ in range(answers):
        at = _skip_name(data, at)
        found, found_class, _, length = RECORD(data, at)
        at += 10 + length
        fits = found == kind or kind in ANY_TYPE
        answered = answered or (fits and kind_class in (found_class, ANY_CLASS))
    if at > len(data):
        raise IndexError
    if flags & 0x0200:
        return "truncated"
    rcode = flags & 15
    if additionals:
        rcode |= _extended_rcode(data, at, authorities + additionals) << 4
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
    """Where the name at `at` ends; a compressed one goes on at an earlier place (RFC 1035 §4.1.4)."""
    while length := data[at]:
        if length >= 0xC0:
            if (length & 0x3F) << 8 | data[at + 1] >= at:
                raise IndexError
            return at + 2
        if length > LONGEST_LABEL:
            raise IndexError
        at += length + 1
    return at + 1


def pair_messages(packets: Packets, connections: Iterable[Connection]) -> list[Pair]:
    """One pair a question, in order of their first query.

    A response answers the query of the same id, name, type, addresses and ports (RFC 5452 §9); any other,
    and any second one, changes nothing. A question that is asked again while unanswered is a retry.
    """
    pairs: list[Pair] = []
    waiting: dict[tuple[object, ...], dict[bytes, Pair]] = {}  # unanswered queries, by what their response must have
    latest: dict[tuple[object, ...], Pair] = {}  # unanswered questions, by who asks
    for source, transport, sender, receiver, data in _messages(packets, connections):
        facts = read_facts(data)
        if facts is None:
            continue
        number, is_response, question, status = facts
        if is_response:
            pair, question = _answered(waiting, (transport, number, receiver, sender), question)
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
            pair.retries = pair.retries or []
            pair.retries.append(source)
        waiting.setdefault((transport, number, sender, receiver), {})[question] = pair
    return pairs


def _answered(
    waiting: dict[tuple[object, ...], dict[bytes, Pair]], key: tuple[object, ...], question: bytes
) -> tuple[Pair | None, bytes]:
    """Take the query that a response answers; an error may leave the question out (RFC 1035 §4.1.1)."""
    queries = waiting.get(key, {})
    if not question and queries:
        question = next(reversed(queries))
    pair = queries.pop(question, None)
    if not queries:
        waiting.pop(key, None)
    return pair, question


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
    carriers = (one for one in connections if one.server_port == DNS_PORT and one.life.has_data)
    streams = (_tcp_messages(connection) for connection in carriers)
    found = sorted((message for stream in streams for message in stream), key=lambda message: message.frame)
    over_tcp = deque(found)
    frames = packets.column("frame")
    for row, sender, receiver, data in _datagrams(packets):
        while over_tcp and over_tcp[0].frame < frames[row]:
            message = over_tcp.popleft()
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
    connection.forget_segments()  # of thousands of such connections hardly one is shown
