"""Fragments of IP datagrams to whole ones: RFC 791 §3.2 (IPv4), RFC 8200 §4.5 (IPv6).

A datagram is known by its addresses, identification and protocol. Where fragments of one overlap in any other way than
as copies, it is given up, as RFC 5722 demands for IPv6: whoever receives such a thing may see either.
"""

from bisect import bisect_left
from collections.abc import Iterable
from typing import NamedTuple

from analysis.files.capture import Buffer, Frames
from analysis.packets.block import Fragment

EXPIRY_NS = 60_000_000_000  # RFC 8200 §4.5, RFC 1122 §3.3.2
LONGEST = 0xFFFF  # bytes of a datagram


class Datagram(NamedTuple):
    """What came in fragments: `data` is all behind the IP headers, as far as captured; `length` was sent.

    `pieces` are the fragments, the last being the one that completed it. Ends are endpoint numbers without a port.
    """

    pieces: tuple[Fragment, ...]
    source: int
    target: int
    protocol: int
    length: int
    data: bytes

    @property
    def frames(self) -> tuple[int, ...]:
        return tuple(piece.frame for piece in self.pieces)


class _Pending:
    """The pieces of one datagram so far, by offset."""

    def __init__(self, time_ns: int) -> None:
        self.since = time_ns
        self.pieces: list[Fragment] = []
        self.total: int | None = None
        self.covered = 0
        self.overlaps = False

    def add(self, piece: Fragment) -> bool:
        """Take `piece`; whether the datagram is whole now."""
        if self.overlaps:
            return False
        at = bisect_left(self.pieces, piece.offset, key=lambda one: one.offset)
        following = self.pieces[at] if at < len(self.pieces) else None
        if following is not None and (following.offset, following.end) == (piece.offset, piece.end):
            return False
        before = self.pieces[at - 1] if at else None
        beyond = following is not None and piece.end > following.offset
        if beyond or (before is not None and before.end > piece.offset) or piece.end > LONGEST:
            self.overlaps = True
        if piece.is_last:
            self.overlaps = self.overlaps or self.total not in (None, piece.end)
            self.total = piece.end
        self.pieces.insert(at, piece)
        self.covered += piece.end - piece.offset
        return self.covered == self.total and not self.overlaps

    def whole(self, frame: int, data: Buffer) -> Datagram:
        first = self.pieces[0]
        parts: list[bytes] = []
        for piece in self.pieces:
            parts.append(data[piece.start : piece.start + piece.captured])
            if piece.captured < piece.end - piece.offset:
                break  # the snap length cut it: what follows has lost its place
        by_frame = tuple(sorted(self.pieces, key=lambda piece: (piece.frame == frame, piece.frame)))
        length = self.pieces[-1].end
        return Datagram(by_frame, first.source, first.target, first.protocol, length, b"".join(parts))


def reassemble_datagrams(
    fragments: Iterable[Fragment], frames: Frames
) -> tuple[list[Datagram], list[tuple[Fragment, ...]]]:
    """The datagrams that are whole, in order of the frame that completed each; and the pieces of those that aren't."""
    given_up: list[tuple[Fragment, ...]] = []
    pending: dict[tuple[int, ...], _Pending] = {}
    found: list[Datagram] = []
    for piece in fragments:
        key = (piece.version, piece.source, piece.target, piece.ident, piece.protocol)
        time_ns = int(frames.time_ns[piece.frame - 1])
        waiting = pending.get(key)
        if waiting is None or abs(time_ns - waiting.since) > EXPIRY_NS:
            given_up += [] if waiting is None else [tuple(waiting.pieces)]
            waiting = pending[key] = _Pending(time_ns)
        if waiting.add(piece):
            found.append(waiting.whole(piece.frame, frames.data))
            del pending[key]
    return found, given_up + [tuple(one.pieces) for one in pending.values()]
