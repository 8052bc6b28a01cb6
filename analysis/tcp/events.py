"""What is odd about a segment: retransmissions and their kinds, losses, windows, probes (RFC 9293 §3.8).

Theory of operation: of each side the machine remembers what an observer between the two can know, and asks of each
segment a fixed list of questions, in the order and with the thresholds of Wireshark, so that both use one word for
one thing (`docs/events.md` has the list). A packet that was captured twice is named first and asked nothing: no host
sent it twice. Most connections have no odd segment; `is_ordinary` finds those for all connections at once, and must
never call a segment ordinary that the machine would name.
"""

from collections.abc import Iterator
from typing import Literal, NamedTuple

import numpy as np

from analysis.packets.block import Bools
from analysis.packets.columns import Packets
from analysis.packets.copies import DOUBLED_NS, is_same_packet
from analysis.packets.packet import ACK, FIN, RST, SYN
from analysis.tcp.flows import CLIENT, NO_ACK, SERVER, Segments

EventKind = Literal[
    "retransmission",
    "fast-retransmission",
    "spurious-retransmission",
    "out-of-order",
    "duplicate-ack",
    "previous-segment-lost",
    "acked-unseen",
    "zero-window",
    "zero-window-probe",
    "zero-window-probe-ack",
    "window-full",
    "window-update",
    "keep-alive",
    "keep-alive-ack",
    "reset-with-data",
    "bad-checksum",
    "duplicate-frame",
]
SENT_AGAIN = ("retransmission", "fast-retransmission", "spurious-retransmission")
FAST_NS = 20_000_000  # a fast retransmission follows the duplicate ACK at once; Wireshark's bound
DEFAULT_RTT_NS = 3_000_000  # where the handshake wasn't seen: Wireshark's assumption
LARGEST_SCALE = 14  # RFC 7323 §2.3
CONTROL = SYN | FIN | RST


class Event(NamedTuple):
    """One odd thing about the segment in `frame`.

    `of`: the frame that it repeats or answers. `number`: what makes it odd, a relative number or a count
    (`docs/events.md`).
    """

    kind: EventKind
    frame: int
    of: int | None = None
    number: int | None = None


def is_ordinary(segments: Segments) -> Bools:
    """Where a segment is in order, acknowledges something new that was seen, and fills or closes no window."""
    is_reset, shut = segments.flags & RST != 0, segments.window == 0
    ordinary: Bools = (segments.seq == segments.newest) | _is_first(segments) | (is_reset & (segments.length == 0))
    ordinary &= ~(segments.wide | (shut & ~is_reset) | (is_reset & (segments.length > 0)))
    ordinary &= ~_repeats_itself(segments)
    ordinary &= ~_meets_the_peer(segments)
    probes = segments.any_where(segments.length == 1) & segments.any_where(shut)
    ordinary &= ~probes[segments.connection]
    return ordinary


def _repeats_itself(segments: Segments) -> Bools:
    """Where an ACK without bytes says what its side had said, or a reset follows a reset."""
    ack, _, place = segments.last_of(segments.sender)
    bare = (segments.flags & CONTROL == 0) & (segments.length == 0) & (segments.ack == ack)
    again = (segments.flags & RST != 0) & (segments.flags[place] & RST != 0)
    repeats: Bools = (place >= 0) & (bare | again)
    return repeats


def _meets_the_peer(segments: Segments) -> Bools:
    """Where a segment acknowledges more than was seen, fills the peer's window, or brings what the peer had already."""
    ack, window, place = segments.last_of(1 - segments.sender)
    newest = np.maximum(segments.next[place], segments.newest[place])
    found: Bools = segments.ack > newest
    room = np.subtract(segments.next, ack, out=newest)
    scaled = room // np.maximum(window, 1)
    fills = (room == scaled * window) & (scaled > 0) & (scaled & (scaled - 1) == 0)  # for some scale
    fills &= segments.flags & CONTROL == 0
    fills |= segments.seq + segments.length <= ack
    found |= fills & (segments.length > 0)
    found &= place >= 0
    return found


def _is_first(segments: Segments) -> Bools:
    """Whether a segment is the first of its side."""
    first = np.zeros(len(segments.index) + 1, np.bool_)
    for side in (CLIENT, SERVER):
        first[segments.first_where(segments.sender == side)] = True
    return first[:-1]


class _Side:
    """What an observer knows of one side. None: not seen yet."""

    def __init__(self) -> None:
        self.next: int | None = None  # the highest number sent, plus one
        self.next_time, self.next_frame = 0, 0  # of the segment that came to `next`
        self.whole: int | None = None  # the number up to which nothing is missing
        self.probe_end: int | None = None  # behind the byte of the last zero-window probe, which may not be taken
        self.ack: int | None = None
        self.ack_time = 0
        self.ack_frame = 0  # the first frame with this Ack
        self.duplicates = 0
        self.window = -1
        self.window_scaled = False
        self.scale: int | None = None  # of the SYN; 0 if it had none
        self.answered = False  # whether it sent a SYN,ACK
        self.last_kinds: tuple[EventKind, ...] = ()
        self.last_frame = 0


class _Segment(NamedTuple):
    """One segment, as the machine is asked about it. `taken`: bytes, SYN and FIN; `ack` is None without the flag."""

    frame: int
    time: int
    sender: int
    flags: int
    seq: int
    ack: int | None
    length: int
    taken: int
    window: int


def find_events(packets: Packets, segments: Segments, part: slice) -> tuple[Event, ...]:
    """The events of one connection, which `part` of `segments` is, in order of frames."""
    sides = (_Side(), _Side())
    rtt = _InitialRtt()
    copies = _Copies(packets, segments)
    events: list[Event] = []
    for place, segment in enumerate(_segments(packets, segments, part), part.start):
        me, peer = sides[segment.sender], sides[1 - segment.sender]
        twin = copies.note(place, segment)
        if twin is not None:
            events.append(Event("duplicate-frame", segment.frame, twin))
            continue
        if segment.flags & SYN and me.scale is None:
            me.scale = _window_scale(packets, int(segments.rows[place]))
        rtt.note(segment)
        found = tuple(_judge(segment, me, peer, rtt.value))
        events += found
        _remember(segment, me, peer, tuple(event.kind for event in found))
    return tuple(events)


def _segments(packets: Packets, segments: Segments, part: slice) -> Iterator[_Segment]:
    for block in segments.blocks(part):
        frames = packets.column("frame")[segments.rows[block]]
        columns = (
            frames,
            packets.frames.time_ns[frames - 1],
            segments.sender[block],
            segments.flags[block],
            segments.seq[block],
            segments.ack[block],
            segments.length[block],
            segments.next[block] - segments.seq[block],
            segments.window[block],
        )
        for frame, time, sender, flags, seq, ack, *rest in zip(*(column.tolist() for column in columns), strict=True):
            yield _Segment(frame, time, sender, flags, seq, None if ack == NO_ACK else ack, *rest)


class _Copies:
    """Finds packets that were captured twice; remembers those of the last moments, which is all that can be doubled."""

    def __init__(self, packets: Packets, segments: Segments) -> None:
        self._packets, self._segments = packets, segments
        self._recent: dict[tuple[int | None, ...], int] = {}  # place of the last segment with these fields
        self._older: dict[tuple[int | None, ...], int] = {}
        self._since = 0  # the time of the first one in `_recent`
        self._last = [-1, -1]  # the place of each side's last segment

    def note(self, place: int, segment: _Segment) -> int | None:
        """The frame that holds the same packet as `segment`, or None; then remember this one."""
        if abs(segment.time - self._since) >= DOUBLED_NS:
            self._older, self._recent, self._since = self._recent, {}, segment.time
        key = (segment.sender, segment.flags, segment.seq, segment.ack, segment.length, segment.window)
        twin = self._recent.get(key, self._older.get(key))
        alone = twin is not None and self._last[1 - segment.sender] < twin and segment.taken > 0
        self._last[segment.sender] = place
        rows = self._segments.rows
        if twin is not None and is_same_packet(self._packets, int(rows[twin]), int(rows[place]), alone=alone):
            return int(self._packets.column("frame")[rows[twin]])
        self._recent[key] = place
        return None


class _InitialRtt:
    """Wireshark's: from the latest pure SYN to the first ACK without SYN after it."""

    def __init__(self) -> None:
        self.value: int | None = None
        self._syn_time: int | None = None

    def note(self, segment: _Segment) -> None:
        if self.value is not None:
            return
        if segment.flags & (SYN | ACK) == SYN:
            self._syn_time = segment.time
        elif segment.flags & (SYN | ACK) == ACK and self._syn_time is not None:
            self.value = segment.time - self._syn_time


def _window_scale(packets: Packets, row: int) -> int:
    tcp = packets.packet(row).tcp
    scale = None if tcp is None else tcp.window_scale
    return min(scale or 0, LARGEST_SCALE)


def _judge(segment: _Segment, me: _Side, peer: _Side, rtt: int | None) -> Iterator[Event]:
    """The names that `segment` deserves, after what is known of both sides before it."""
    frame, plain = segment.frame, segment.flags & CONTROL == 0
    if segment.flags & RST and segment.length:
        yield Event("reset-with-data", frame, number=segment.length)
    probe = segment.length == 1 and segment.seq == me.next and peer.window == 0
    keep_alive = False
    if probe:
        yield Event("zero-window-probe", frame, peer.last_frame, segment.seq)
    else:
        if segment.window == 0 and plain:
            yield Event("zero-window", frame)
        if me.next is not None and segment.seq > me.next and not segment.flags & RST:
            yield Event("previous-segment-lost", frame, number=me.next)
        keep_alive = plain and segment.length <= 1 and me.next is not None and segment.seq == me.next - 1
        if keep_alive:
            yield Event("keep-alive", frame, number=me.next)
        if segment.length and plain and _fills_window(segment, me, peer):
            yield Event("window-full", frame, peer.last_frame, segment.seq + segment.length)
        repeats = segment.ack is not None and segment.ack == me.ack
        if plain and not segment.length and segment.seq == me.next and repeats:
            yield from _repeated_ack(segment, me, peer)
    if segment.ack is not None and segment.ack == peer.probe_end:
        peer.next = peer.whole = peer.probe_end  # the probe's byte was taken after all (RFC 9293 §3.8.6.1)
    if segment.ack is not None and peer.whole is not None and segment.ack > peer.whole:
        yield Event("acked-unseen", frame, number=peer.next)
    # after a SYN of its own, a side's SYN,ACK has that one's number by rule: simultaneous open, split handshake
    is_answer = segment.flags & (SYN | ACK) == SYN | ACK and not me.answered
    if segment.taken and not keep_alive and not is_answer:
        yield from _not_new(segment, me, peer, rtt)


def _fills_window(segment: _Segment, me: _Side, peer: _Side) -> bool:
    """Whether the bytes end where the peer's window does; a SYN's window is never scaled (RFC 7323 §2.2)."""
    if peer.scale is None or peer.ack is None:
        return False
    scale = peer.scale if peer.window_scaled and me.scale is not None else 0
    return segment.seq + segment.length == peer.ack + (peer.window << scale)


def _repeated_ack(segment: _Segment, me: _Side, peer: _Side) -> Iterator[Event]:
    """An ACK without bytes that acknowledges what its side had acknowledged already."""
    frame = segment.frame
    if segment.window != me.window:
        if segment.window:
            yield Event("window-update", frame, me.last_frame, segment.window)
    elif segment.window and "keep-alive" in peer.last_kinds:
        yield Event("keep-alive-ack", frame, peer.last_frame)
    elif not segment.window and "zero-window-probe" in peer.last_kinds:
        yield Event("zero-window-probe-ack", frame, peer.last_frame)
    elif segment.window:
        yield Event("duplicate-ack", frame, me.ack_frame, me.duplicates + 1)


def _not_new(segment: _Segment, me: _Side, peer: _Side, rtt: int | None) -> Iterator[Event]:
    """What takes numbers, but none beyond those that its side has sent."""
    frame, end = segment.frame, segment.seq + segment.length
    if segment.length and peer.ack is not None and end <= peer.ack:
        yield Event("spurious-retransmission", frame, peer.ack_frame, peer.ack)
        return
    if me.next is None or segment.seq >= me.next or (segment.length > 1 and segment.seq == me.next - 1):
        return  # new; bytes from one before the next on go with what a probe had carried
    if peer.duplicates >= 2 and peer.ack == segment.seq and segment.time - peer.ack_time < FAST_NS:
        yield Event("fast-retransmission", frame, peer.last_frame, peer.duplicates)
    elif segment.time - me.next_time < (rtt or DEFAULT_RTT_NS) and me.next != segment.seq + segment.taken:
        yield Event("out-of-order", frame, me.next_frame, me.next)
    else:
        yield Event("retransmission", frame, me.next_frame, me.next)


def _remember(segment: _Segment, me: _Side, peer: _Side, kinds: tuple[EventKind, ...]) -> None:
    if segment.ack != me.ack:
        me.ack_frame, me.duplicates = segment.frame, 0
    elif "duplicate-ack" in kinds:
        me.duplicates += 1
    if "acked-unseen" in kinds:
        peer.whole = segment.ack  # said once
    following = segment.seq + segment.taken
    me.probe_end = following if "zero-window-probe" in kinds else None
    if me.probe_end is None:
        if me.next is None or following > me.next:
            me.next, me.next_time, me.next_frame = following, segment.time, segment.frame
        if me.whole is None or segment.seq <= me.whole < following:
            me.whole = me.next
    me.window, me.window_scaled = segment.window, not segment.flags & SYN
    me.ack, me.ack_time = segment.ack, segment.time
    me.answered = me.answered or segment.flags & (SYN | ACK) == SYN | ACK
    me.last_kinds, me.last_frame = kinds, segment.frame
