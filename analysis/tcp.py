"""Packets to TCP connections: who is client, relative numbers, handshake, reassembled streams.

RFC 9293 throughout; relative numbers and `completeness` as tshark computes them.
"""

import heapq
from bisect import bisect_left, bisect_right
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

from analysis.packet import ACK, FIN, RST, SYN, Packet, TcpHeader
from analysis.segment import PEER, Endpoint, Role, Segment
from analysis.serial import CIRCLE, unwrap
from analysis.tcp_close import Close, classify_close
from analysis.tcp_states import States, walk_states


@dataclass(frozen=True, slots=True)
class Handshake:
    """How the connection opened (RFC 9293 §3.5): `frames` are those of the SYNs and of the last ACK."""

    status: Literal["complete", "refused", "unanswered", "incomplete", "midway"]
    frames: tuple[int, ...]


class Piece(NamedTuple):
    """Bytes `start` to `end` of a stream came with `frame`."""

    start: int
    end: int
    frame: int


@dataclass(frozen=True, slots=True)
class Stream:
    """The bytes that one side sent, in order, up to the first gap; `pieces` map them to frames."""

    data: bytes
    pieces: tuple[Piece, ...]
    has_gap: bool

    def frames(self, start: int, end: int) -> tuple[int, ...]:
        """The frames that carried bytes `start` up to, not including, `end`."""
        first = bisect_right(self.pieces, start, key=lambda piece: piece.end)
        last = bisect_left(self.pieces, end, key=lambda piece: piece.start)
        return tuple(piece.frame for piece in self.pieces[first:last])


@dataclass(frozen=True, slots=True)
class Connection:
    """One TCP connection as captured. `rtt_ns` is tshark's initial RTT: last SYN to first ACK after it."""

    client: Endpoint
    server: Endpoint
    segments: tuple[Segment, ...]
    isn: dict[Role, int | None]
    handshake: Handshake
    close: Close
    states: tuple[States, ...]
    syns: dict[Role, Segment | None]
    completeness: int
    rtt_ns: int | None

    def endpoint(self, role: Role) -> Endpoint:
        return self.client if role == "client" else self.server

    def sent_by(self, role: Role) -> Iterable[Segment]:
        return (segment for segment in self.segments if segment.sender == role)

    def syn_of(self, role: Role) -> Segment | None:
        """The first SYN or SYN,ACK of `role`."""
        return self.syns[role]

    @property
    def frames(self) -> tuple[int, ...]:
        return tuple(segment.frame for segment in self.segments)


def find_connections(packets: Iterable[Packet]) -> tuple[Connection, ...]:
    """The TCP connections among `packets`, in order of their first frame.

    A pure SYN with a new initial number on a used pair of endpoints opens a new connection; the same
    number again is a retransmission (as tshark decides it).
    """
    flows: list[_Flow] = []
    current: dict[frozenset[Endpoint], _Flow] = {}
    for packet in packets:
        if packet.tcp is None:
            continue
        key = frozenset((Endpoint(packet.src, packet.sport), Endpoint(packet.dst, packet.dport)))
        flow = current.get(key)
        if flow is None or flow.is_reopened_by(packet, packet.tcp):
            flow = current[key] = _Flow.opened_by(packet, packet.tcp)
            flows.append(flow)
        flow.add(packet, packet.tcp)
    return tuple(flow.connection() for flow in flows)


class Coverage:
    """Which numbers of a sequence space were seen: disjoint, sorted intervals."""

    def __init__(self) -> None:
        self._starts: list[int] = []
        self._ends: list[int] = []

    def add(self, start: int, end: int) -> bool:
        """Mark `start` to `end`; whether any of it was new."""
        first = bisect_left(self._ends, start)  # the intervals that touch [start, end): first up to, not with, last
        last = bisect_right(self._starts, end)
        if first < last and self._starts[first] <= start and end <= self._ends[first]:
            return False
        if first < last:
            start, end = min(start, self._starts[first]), max(end, self._ends[last - 1])
        self._starts[first:last] = [start]
        self._ends[first:last] = [end]
        return True


@dataclass(slots=True)
class _Flow:
    """A connection being put together."""

    client: Endpoint
    server: Endpoint
    base: dict[Role, int | None] = field(default_factory=lambda: {"client": None, "server": None})
    newest: dict[Role, int] = field(default_factory=lambda: {"client": 0, "server": 0})
    seen: dict[Role, Coverage] = field(default_factory=lambda: {"client": Coverage(), "server": Coverage()})
    segments: list[Segment] = field(default_factory=list)

    @classmethod
    def opened_by(cls, packet: Packet, tcp: TcpHeader) -> "_Flow":
        """A flow whose roles follow from its first segment: who sends SYN is the client.

        Joined midway, the lower port is taken for the server's: ephemeral ports are high (RFC 6056 §3.2).
        """
        source, target = Endpoint(packet.src, packet.sport), Endpoint(packet.dst, packet.dport)
        from_server = tcp.flags & (SYN | ACK) == SYN | ACK or (not tcp.flags & SYN and packet.sport < packet.dport)
        return cls(target, source) if from_server else cls(source, target)

    def is_reopened_by(self, packet: Packet, tcp: TcpHeader) -> bool:
        if tcp.flags & (SYN | ACK | RST) != SYN:
            return False
        base = self.base[self._sender(packet)]
        return base is not None and tcp.seq != base

    def _sender(self, packet: Packet) -> Role:
        return "client" if (packet.src, packet.sport) == self.client else "server"

    def add(self, packet: Packet, tcp: TcpHeader) -> None:
        sender = self._sender(packet)
        peer = PEER[sender]
        if self.base[sender] is None:
            self.base[sender] = tcp.seq if tcp.flags & SYN else (tcp.seq - 1) % CIRCLE
            self.newest[sender] = 0 if tcp.flags & SYN else 1
        seq = self._relative(sender, tcp.seq)
        ack: int | None = None
        if tcp.flags & ACK:
            if self.base[peer] is None:
                self.base[peer] = (tcp.ack - 1) % CIRCLE
                self.newest[peer] = 1
            ack = self._relative(peer, tcp.ack)
        occupied = packet.payload_length + bool(tcp.flags & SYN) + bool(tcp.flags & FIN)
        repeated = occupied > 0 and not self.seen[sender].add(seq, seq + occupied)
        self.newest[sender] = max(self.newest[sender], seq + occupied)
        self.segments.append(Segment(packet, tcp, sender, seq, ack, repeated))

    def _relative(self, role: Role, number: int) -> int:
        base = self.base[role]
        assert base is not None  # noqa: S101 - `add` sets it first
        return unwrap(number - base, self.newest[role])

    def connection(self) -> Connection:
        segments = tuple(self.segments)
        close = classify_close(segments)
        handshake = _handshake(segments, close)
        syns: dict[Role, Segment | None] = {"client": None, "server": None}
        for segment in segments:
            if segment.flags & SYN and syns[segment.sender] is None:
                syns[segment.sender] = segment
        isn = {role: None if syn is None else syn.tcp.seq for role, syn in syns.items()}
        return Connection(
            self.client,
            self.server,
            segments,
            isn,
            handshake,
            close,
            walk_states(segments),
            syns,
            _completeness(segments),
            _initial_rtt(segments),
        )


def _handshake(segments: tuple[Segment, ...], close: Close) -> Handshake:
    syns = [segment for segment in segments if segment.flags & (SYN | ACK) == SYN]
    answers = [segment for segment in segments if segment.flags & (SYN | ACK) == SYN | ACK]
    opening = tuple(segment.frame for segment in (*syns, *answers))
    if not syns:
        return Handshake("midway", opening)
    if close.variant == "refused":
        return Handshake("refused", tuple(sorted({*opening, *close.frames})))
    if not answers:
        silent = all(segment.sender == syns[0].sender for segment in segments)
        return Handshake("unanswered" if silent else "incomplete", opening)
    client = syns[0].sender
    good = [one for one in answers if one.sender != client and one.ack is not None and one.ack >= syns[0].next]
    if good:
        for segment in segments:
            acks = segment.sender == client and segment.flags & (SYN | RST | ACK) == ACK
            if acks and segment.frame > good[0].frame and (segment.ack or 0) >= good[0].next:
                return Handshake("complete", (*opening, segment.frame))
    return Handshake("incomplete", opening)


def _completeness(segments: tuple[Segment, ...]) -> int:
    """Tshark's `tcp.completeness`: 1 SYN, 2 SYN,ACK, 4 ACK, 8 data, 16 FIN, 32 RST."""
    mask = 0
    for index, segment in enumerate(segments):
        flags = segment.flags
        if flags & (SYN | ACK) == SYN:
            mask |= 1 if index == 0 else 0
        elif flags & SYN:
            mask |= 2
        if index == 0 and not flags & (SYN | RST):
            pass  # the frame that opened the stream midway gets no bit
        elif flags & ACK and not flags & SYN:
            mask |= 8 if segment.length else 4
        if segment.length and flags & SYN:
            mask |= 8
        if flags & (FIN | ACK) == FIN | ACK and index:
            mask |= 16 | (0 if segment.length else 4)
        if flags & RST and (index or flags & SYN):
            mask |= 32
    return mask


def _initial_rtt(segments: tuple[Segment, ...]) -> int | None:
    syn: Segment | None = None
    for segment in segments:
        if segment.flags & (SYN | ACK) == SYN:
            syn = segment
        elif syn is not None and segment.flags & (SYN | ACK) == ACK:
            return segment.packet.time_ns - syn.packet.time_ns
    return None


def reassemble(connection: Connection, role: Role) -> Stream:
    """The bytes that `role` sent, from relative number 1 on; of bytes sent twice the first copy counts."""
    waiting: list[tuple[int, int, bytes]] = []  # a heap: position, frame, bytes
    data = bytearray()
    pieces: list[Piece] = []
    for segment in connection.sent_by(role):
        if not segment.length or segment.repeated:
            continue
        position = segment.seq + bool(segment.flags & SYN) - 1
        heapq.heappush(waiting, (position, segment.frame, segment.packet.payload))
        while waiting and waiting[0][0] <= len(data):
            position, frame, payload = heapq.heappop(waiting)
            new = payload[len(data) - position :]
            if new:
                pieces.append(Piece(len(data), len(data) + len(new), frame))
                data += new
    return Stream(bytes(data), tuple(pieces), bool(waiting))
