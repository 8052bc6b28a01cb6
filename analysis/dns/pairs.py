"""DNS queries and the responses that answer them: which belong together, and what belongs nowhere.

RFC 1035 §4.2.2 (length prefix on TCP), RFC 5452 §9 (which response answers which query), RFC 7766 §5 (truncated over
UDP, then asked over TCP).
"""

from array import array
from collections import Counter, deque
from collections.abc import Iterator
from typing import NamedTuple, get_args

import numpy as np
import numpy.typing as npt

from analysis.dns.wire import HEADER_LENGTH, Facts, Status, read_facts
from analysis.packets.columns import Packets
from analysis.packets.copies import DatagramCopies
from analysis.packets.packet import UDP
from analysis.tcp.connection import Connection
from analysis.tcp.connections import Connections
from analysis.tcp.segment import PEER, ROLES
from analysis.tcp.stream import reassemble

DNS_PORT = 53
STATUSES: tuple[Status, ...] = get_args(Status)
UNANSWERED = STATUSES.index("unanswered")
NO_SOURCE = 1 << 62
FAILURES: tuple[Status, ...] = ("malformed", "servfail", "refused", "error")  # another resolver may know better
SOONEST_RETRY_NS = 300_000_000  # resolvers wait a second or longer, before they ask again from another port
TRANSFERS = (251, 252)  # IXFR, AXFR
KEPT = 1 << 8  # messages of a capture so short that they needn't be read twice
ENDS_AND_PROTOCOL = ("source", "target", "protocol")
PART = 1 << 20  # rows of columns that are looked through at once
BLOCK = 1 << 13  # datagrams whose bounds are worked out at once
AROUND = 1 << 10  # datagrams before and behind a block, among which a twin is looked for


class TcpMessage(NamedTuple):
    """A message that came in a TCP stream: the frames that carried it, of which the last completed it."""

    frames: tuple[int, ...]
    place: int  # in its stream: two messages may come in one frame
    sender: int  # endpoint numbers, as in `Packets`
    receiver: int


Source = int | TcpMessage  # where a message is: the row of its datagram, or what came over TCP


class Raw(NamedTuple):
    """A message as captured. `is_cut`: `data` is only its beginning. `twin`: the row that holds the same datagram."""

    source: Source
    transport: str
    sender: int
    receiver: int
    data: bytes
    is_cut: bool
    twin: int | None = None


class Pair(NamedTuple):
    """One question: its first query, its retries, and the response that counts.

    `truncated`: the response over UDP that sent the client to TCP; `status` is then that of the answer over TCP.
    """

    query: Source
    transport: str
    type: int
    status: Status
    response: Source | None
    retries: tuple[Source, ...]
    truncated: Source | None


class Pairing:
    """All questions in order of their first query; responses that none takes; datagrams captured twice, by row.

    A capture may have millions of questions, so they are columns, of which a `Pair` is made when someone looks.
    """

    def __init__(self) -> None:
        self.strays: list[Source] = []
        self.twins: dict[int, int] = {}
        self.messages: list[tuple[Raw, Facts]] = []  # all of them, in a capture so short that they are worth keeping
        self._query, self._response = array("q"), array("q")  # rows, or places in `_over_tcp` (`_stored`)
        self._type, self._status = array("H"), array("B")
        self._over_tcp: list[TcpMessage] = []
        self._retries: dict[int, list[Source]] = {}
        self._truncated: dict[int, Source] = {}

    def __len__(self) -> int:
        return len(self._query)

    def __iter__(self) -> Iterator[Pair]:
        return (self.pair(number) for number in range(len(self)))

    def pair(self, number: int) -> Pair:
        """Question `number`, from 0."""
        query, response = self._source(self._query[number]), self._source(self._response[number])
        assert query is not None  # noqa: S101 - there is no question without one
        retries = tuple(self._retries.get(number, ()))
        transport = "udp" if isinstance((query, *retries)[-1], int) else "tcp"
        status, truncated = STATUSES[self._status[number]], self._truncated.get(number)
        return Pair(query, transport, self._type[number], status, response, retries, truncated)

    def counts(self) -> Counter[tuple[int, Status, bool]]:
        """How many questions of each type and status there are, and whether they were asked more than once."""
        counts: Counter[tuple[int, Status, bool]] = Counter()
        for (kind, code), times in Counter(zip(self._type, self._status, strict=True)).items():
            counts[kind, STATUSES[code], False] += times
        for number in self._retries:
            kind, status = self._type[number], STATUSES[self._status[number]]
            counts[kind, status, False] -= 1
            counts[kind, status, True] += 1
        return +counts

    def begin(self, query: Source, kind: int) -> int:
        """A new question; its number."""
        self._query.append(self._stored(query))
        self._response.append(NO_SOURCE)
        self._type.append(kind)
        self._status.append(UNANSWERED)
        return len(self._query) - 1

    def ask_again(self, number: int, query: Source) -> None:
        self._retries.setdefault(number, []).append(query)

    def answer(self, number: int, response: Source, status: Status) -> None:
        """The response that counts; a failure before it is a stray."""
        before = self._source(self._response[number])
        if before is not None:
            self.strays.append(before)
        self._response[number], self._status[number] = self._stored(response), STATUSES.index(status)

    def go_to_tcp(self, number: int) -> None:
        """The truncated response was not the last word."""
        truncated = self._source(self._response[number])
        assert truncated is not None  # noqa: S101 - says the caller
        self._truncated[number] = truncated
        self._response[number], self._status[number] = NO_SOURCE, UNANSWERED

    def takes(self, number: int, status: Status) -> bool:
        """Whether a response of `status` counts: the first one does, or the first that isn't a failure."""
        if self._response[number] == NO_SOURCE:
            return True
        return STATUSES[self._status[number]] in FAILURES and status not in FAILURES

    def is_over_tcp(self, number: int) -> bool:
        """Whether it was asked over TCP at last."""
        return isinstance((self._retries.get(number) or [0])[-1], TcpMessage)

    def note_truncated(self, number: int, response: Source) -> None:
        """A truncated response over UDP to a question that is asked over TCP already."""
        if number in self._truncated:
            self.strays.append(response)
        self._truncated.setdefault(number, response)

    def is_transfer(self, number: int) -> bool:
        """Whether its answer may come in several messages: a zone transfer (RFC 5936 §2.2)."""
        return self._type[number] in TRANSFERS

    def _stored(self, source: Source) -> int:
        if isinstance(source, int):
            return source
        self._over_tcp.append(source)
        return -len(self._over_tcp)

    def _source(self, stored: int) -> Source | None:
        if stored == NO_SOURCE:
            return None
        return stored if stored >= 0 else self._over_tcp[-stored - 1]


def pair_messages(packets: Packets, connections: Connections) -> Pairing:
    """Which response answers which query.

    It does with the same id, name, type, addresses and ports (RFC 5452 §9); any other, and any second one, changes
    nothing. A question that is asked again while unanswered is a retry; one that is asked over TCP after a truncated
    response, the same lookup.
    """
    pairer = _Pairer(packets)
    kept, left = pairer.found.messages, KEPT
    for raw in _raw_messages(packets, connections):
        facts = read_facts(raw.data, is_cut=raw.is_cut)
        if facts is None:
            continue
        if left:
            kept.append((raw, facts))
            left -= 1
        else:
            kept.clear()
        if raw.twin is not None and isinstance(raw.source, int):
            pairer.found.twins[raw.source] = raw.twin
            continue
        if facts.is_response:
            pairer.respond(raw, facts)
        else:
            pairer.ask(raw, facts.id, facts.question)
    return pairer.found


class _Pairer:
    """The queries that wait, and what becomes of them."""

    def __init__(self, packets: Packets) -> None:
        self.found = Pairing()
        self._packets = packets
        # unanswered queries, by what their response must have: the question's number
        self._waiting: dict[tuple[object, ...], dict[bytes, int]] = {}
        self._latest: dict[
            tuple[object, ...], tuple[int, Raw]
        ] = {}  # unanswered questions, by who asks; the last query
        self._truncated: dict[tuple[object, ...], int] = {}

    def ask(self, raw: Raw, number: int, question: bytes) -> None:
        transport, host = raw.transport, raw.sender >> 16
        asked = (transport, host, question)
        pair = self._retried(asked, raw)
        if pair is None and transport == "tcp":
            pair = self._gone_to_tcp(host, question)
        if pair is None:
            pair = self.found.begin(raw.source, int.from_bytes(question[-4:-2]))
        else:
            self.found.ask_again(pair, raw.source)
        self._latest[asked] = (pair, raw)
        self._waiting.setdefault((transport, number, raw.sender, raw.receiver), {})[question] = pair

    def _retried(self, asked: tuple[object, ...], raw: Raw) -> int | None:
        """The question that `raw` asks again: from the same port, or after a while; else somebody else asks it, too."""
        if asked not in self._latest:
            return None
        pair, last = self._latest[asked]
        is_same_port = raw.sender == last.sender
        return pair if is_same_port or self._time_ns(raw) - self._time_ns(last) >= SOONEST_RETRY_NS else None

    def _gone_to_tcp(self, host: int, question: bytes) -> int | None:
        """The question that a truncated answer sent to TCP; or that goes along, as glibc's AAAA does with its A."""
        pair = self._truncated.pop((host, question), None)
        if pair is not None:
            self.found.go_to_tcp(pair)
            return pair
        waiting = self._latest.pop(("udp", host, question), None)
        return None if waiting is None else waiting[0]

    def _time_ns(self, raw: Raw) -> int:
        frame = raw.source.frames[-1] if isinstance(raw.source, TcpMessage) else self._packets.frames_of(raw.source)[-1]
        return int(self._packets.frames.time_ns[frame - 1])

    def respond(self, raw: Raw, facts: Facts) -> None:
        key = (raw.transport, facts.id, raw.receiver, raw.sender)
        queries = self._waiting.get(key, {})
        question = facts.question
        if not question and queries:
            question = next(reversed(queries))  # an error may leave it out (RFC 1035 §4.1.1)
        pair = queries.get(question)
        if pair is not None and facts.status == "truncated" and self.found.is_over_tcp(pair):
            self.found.note_truncated(pair, raw.source)  # it came late: the client had gone to TCP already
            return
        if pair is None or not self.found.takes(pair, facts.status):
            if pair is None or not self.found.is_transfer(pair):
                self.found.strays.append(raw.source)
            return
        self.found.answer(pair, raw.source, facts.status)
        if self.found.is_transfer(pair):
            return  # more of it may follow
        if facts.status == "malformed":
            return  # its client has no answer yet: a better one may follow
        asked = (raw.transport, raw.receiver >> 16, question)
        if asked in self._latest and self._latest[asked][0] == pair:
            del self._latest[asked]
        if facts.status == "truncated":
            self._truncated[raw.receiver >> 16, question] = pair
        del queries[question]
        if not queries:
            self._waiting.pop(key, None)


def all_messages(packets: Packets, connections: Connections, pairing: Pairing) -> Iterator[tuple[Raw, Facts]]:
    """Every DNS message of the capture, in order of the frame that completed it."""
    if pairing.messages:
        yield from pairing.messages
        return
    for raw in _raw_messages(packets, connections):
        facts = read_facts(raw.data, is_cut=raw.is_cut)
        if facts is not None:
            yield raw, facts


def _raw_messages(packets: Packets, connections: Connections) -> Iterator[Raw]:
    """What may be a message, in order of the frame that completed it."""
    streams = (_tcp_messages(connection) for connection in connections.carriers_to(DNS_PORT))
    over_tcp = deque(sorted((raw for stream in streams for raw in stream), key=_completed))
    frames = packets.column("frame")
    datagrams = _datagrams(packets)
    while over_tcp and (raw := next(datagrams, None)) is not None:
        while over_tcp and _completed(over_tcp[0])[0] < frames[raw.source]:
            yield over_tcp.popleft()
        yield raw
    yield from over_tcp
    yield from datagrams


def _completed(raw: Raw) -> tuple[int, int]:
    """The frame that completed a message over TCP, and its place there."""
    assert isinstance(raw.source, TcpMessage)  # noqa: S101 - says its only caller
    return raw.source.frames[-1], raw.source.place


def _datagrams(packets: Packets) -> Iterator[Raw]:
    """Each datagram from or to port 53; its source is its row."""
    source, target = packets.columns["source"], packets.columns["target"]
    rows = _rows_at_port(packets)
    data, whole, copies = packets.frames.data, packets.whole, DatagramCopies(packets)
    for first in range(0, len(rows), BLOCK):
        some = rows[first : first + BLOCK]
        copies.watch(rows[max(0, first - AROUND) : first + BLOCK + AROUND])
        start, end = packets.payload_bounds(some)
        cut = end - start < packets.columns["length"][some]
        columns = (some, source[some], target[some], start, end, cut)
        for row, sender, receiver, begin, stop, is_cut in zip(*(column.tolist() for column in columns), strict=True):
            payload = data[begin:stop]
            if row in whole:
                payload = packets.payload(row)
                is_cut = len(payload) < int(packets.columns["length"][row])  # noqa: PLW2901 - it is elsewhere
            twin = copies.note(row, sender, receiver, payload) if row in copies.candidates else None
            yield Raw(row, "udp", sender, receiver, payload, is_cut, twin)


def _rows_at_port(packets: Packets) -> npt.NDArray[np.int32]:
    """The datagrams from or to port 53, gathered a part at a time: the columns may be long."""
    port, found = np.uint64(0xFFFF), [np.empty(0, np.int32)]
    for first in range(0, len(packets), PART):
        source, target, protocol = (packets.columns[name][first : first + PART] for name in ENDS_AND_PROTOCOL)
        at_port = (source & port == DNS_PORT) | (target & port == DNS_PORT)
        found.append((np.flatnonzero(at_port & (protocol == UDP)) + first).astype(np.int32))
    return np.concatenate(found)


def _tcp_messages(connection: Connection) -> Iterator[Raw]:
    """Both directions' messages, each behind its length; where a stream breaks off, what is there of its last."""
    for role in ROLES:
        stream = reassemble(connection, role)
        sender, receiver = connection.end_numbers[role], connection.end_numbers[PEER[role]]
        position = 0
        while position + 2 + HEADER_LENGTH <= len(stream.data):
            length = int.from_bytes(stream.data[position : position + 2])
            start, position = position, position + 2 + length
            if length < HEADER_LENGTH:
                continue
            frames = sorted(stream.frames(start, min(position, len(stream.data))))
            source = TcpMessage(tuple(frames), start, sender, receiver)
            yield Raw(source, "tcp", sender, receiver, stream.data[start + 2 : position], position > len(stream.data))
    connection.forget()
