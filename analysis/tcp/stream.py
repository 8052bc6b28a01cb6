"""The bytes that one side of a connection sent, reassembled (RFC 9293 §3.4)."""

import heapq
from bisect import bisect_left, bisect_right
from dataclasses import dataclass
from typing import Literal, NamedTuple

from analysis.packets.packet import FIN, RST, SYN
from analysis.tcp.connection import Connection
from analysis.tcp.segment import PEER, Role


class Piece(NamedTuple):
    """Bytes `start` to `end` of a stream came with `frame`."""

    start: int
    end: int
    frame: int


@dataclass(frozen=True, slots=True)
class Stream:
    """The bytes that one side sent, in order, up to the first gap; `pieces` map them to frames.

    `has_gap`: the side sent more, of which something was not captured. `ending`: what of that side follows its last
    byte, a FIN (close) or a reset, its own or (where someone says so) the other side's. `first`: the number of the
    first byte; `starts_late`: others may have come before it, since the SYN was not captured.
    """

    data: bytes
    pieces: tuple[Piece, ...]
    has_gap: bool
    ending: Literal["open", "close", "reset", "peer-reset"]
    first: int = 1
    starts_late: bool = False

    def frames(self, start: int, end: int) -> tuple[int, ...]:
        """The frames that carried bytes `start` up to, not including, `end`."""
        first = bisect_right(self.pieces, start, key=lambda piece: piece.end)
        last = bisect_left(self.pieces, end, key=lambda piece: piece.start)
        return tuple(piece.frame for piece in self.pieces[first:last])


def _first_number(connection: Connection, role: Role) -> int:
    """The number of the stream's first byte: 1; joined midway, what came late may lie right before that."""
    first = 1
    if connection.syn_of(role) is None:
        early = (segment for segment in connection.sent_by(role) if segment.length and segment.seq < 1)
        for segment in sorted(early, key=lambda one: one.seq, reverse=True):
            first = segment.seq if segment.end >= first else first
    return first


def reassemble(connection: Connection, role: Role) -> Stream:
    """The bytes that `role` sent, up to the first gap; of bytes sent twice the first undamaged copy counts."""
    first = _first_number(connection, role)
    damaged = {event.frame for event in connection.events if event.kind == "bad-checksum"}
    waiting: list[tuple[int, int, bytes]] = []  # a heap: position, frame, bytes
    data = bytearray()
    pieces: list[Piece] = []
    fin, reset = -1, -1
    reached = max(
        (one.ack - first for one in connection.sent_by(PEER[role]) if one.ack and not one.flags & RST), default=0
    )
    for segment in sorted(connection.sent_by(role), key=lambda one: one.frame in damaged):
        position = segment.seq + bool(segment.flags & SYN) - first
        if segment.flags & RST:
            reset = position
            continue  # what it carries is no part of the stream (RFC 9293 §3.5.3)
        end = position + segment.length
        fin = end if segment.flags & FIN else fin
        reached = max(reached, end)
        if not segment.length:
            continue
        heapq.heappush(waiting, (position, segment.frame, segment.packet.payload))
        while waiting and waiting[0][0] <= len(data):
            position, frame, payload = heapq.heappop(waiting)
            new = payload[len(data) - position :]
            if new:
                pieces.append(Piece(len(data), len(data) + len(new), frame))
                data += new
    ending: Literal["open", "close", "reset"] = "close" if fin == len(data) else "open"
    if ending == "open" and reset == len(data):
        ending = "reset"
    has_gap = reached > len(data) + (fin == len(data))  # the FIN takes a number, too
    return Stream(bytes(data), tuple(pieces), has_gap, ending, first, connection.syn_of(role) is None)
