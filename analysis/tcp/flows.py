"""Packets to connections: which TCP segments belong together, and their numbers relative to each side's first.

Relative numbers and the rule for ports used again are tshark's: a pure SYN with another initial number opens a new
connection; with the same number it is a retransmission.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from analysis.packets.block import Bools, Ints
from analysis.packets.columns import Packets
from analysis.packets.packet import ACK, FIN, RST, SYN, TCP
from analysis.tcp.serial import CIRCLE, HALF, unwrap

NO_ACK = -(1 << 62)  # where a segment has no ACK flag; less than any relative number
BATCH = 1 << 16  # segments whose relative numbers are computed at once
SORTED_AT_ONCE = 1 << 20  # segments
BLOCK = 1 << 12  # segments of a connection that are walked through at once
CLIENT, SERVER = 0, 1


@dataclass(frozen=True, slots=True)
class Flows:
    """The TCP packets in order of connection, then of capture; connections in order of their first frame.

    Connection i has the rows `order[bounds[i] : bounds[i + 1]]`; its ends are `client[i]` and `server[i]`.
    """

    packets: Packets
    order: npt.NDArray[Any]
    bounds: Ints
    client: npt.NDArray[np.uint64]
    server: npt.NDArray[np.uint64]

    def __len__(self) -> int:
        return len(self.client)

    def batches(self) -> Iterator[tuple[int, int]]:
        """Ranges of connections with about `BATCH` segments each."""
        first = 0
        while first < len(self):
            last = int(np.searchsorted(self.bounds, self.bounds[first] + BATCH, "right")) - 1
            last = min(max(last, first + 1), len(self))
            yield first, last
            first = last


def find_flows(packets: Packets) -> Flows:
    """Sort the TCP segments among `packets` into connections."""
    order, begins = _by_endpoints(packets)
    _split_reopened(packets, order, begins)
    starts = np.flatnonzero(begins)
    lengths = np.diff(np.append(starts, len(order)))
    del begins
    by_first_frame = np.argsort(order[starts])
    starts, lengths = starts[by_first_frame], lengths[by_first_frame]
    bounds = np.append(0, np.cumsum(lengths))
    order = _gathered(order, starts, bounds)
    return Flows(packets, order, bounds, *_ends(packets, order[bounds[:-1]]))


def _gathered(order: npt.NDArray[np.int32], starts: Ints, bounds: Ints) -> npt.NDArray[np.int32]:
    """The rows of each connection, which begin at `starts`, in the order of `bounds`; some connections at a time."""
    gathered = np.empty_like(order)
    first = 0
    while first < len(starts):
        last = max(first + 1, int(np.searchsorted(bounds, bounds[first] + SORTED_AT_ONCE, "right")) - 1)
        begin, end = int(bounds[first]), int(bounds[last])
        shift = np.repeat(starts[first:last] - bounds[first:last], np.diff(bounds[first : last + 1]))
        gathered[begin:end] = order[shift + np.arange(begin, end)]
        first = last
    return gathered


def _by_endpoints(packets: Packets) -> tuple[npt.NDArray[np.int32], Bools]:
    """The TCP rows, those between two endpoints side by side in order of capture; and where each pair begins.

    A long capture is sorted in parts, each of whole pairs, since sorting takes several times the memory of its rows.
    """
    rows = np.flatnonzero(packets.column("protocol") == TCP).astype(np.int32)
    count = -(-len(rows) // SORTED_AT_ONCE)
    if count <= 1:
        return _sorted_by_endpoints(packets, rows)
    part_of = np.empty(len(rows), np.uint8)
    for first in range(0, len(rows), SORTED_AT_ONCE):
        some = slice(first, first + SORTED_AT_ONCE)
        mixed = _mixed(*_pairs(packets, rows[some]))
        part_of[some] = (mixed >> np.uint64(48)) % np.uint64(min(count, 256))
    parts = [_sorted_by_endpoints(packets, rows[part_of == part]) for part in range(min(count, 256))]
    del rows, part_of
    return np.concatenate([order for order, _ in parts]), np.concatenate([begins for _, begins in parts])


def _pairs(packets: Packets, rows: npt.NDArray[np.int32]) -> tuple[npt.NDArray[np.uint64], npt.NDArray[np.uint64]]:
    """The lower and the higher endpoint of each of `rows`."""
    low, high = packets.columns["source"][rows], packets.columns["target"][rows]
    backward = low > high
    low[backward], high[backward] = high[backward], low[backward]
    return low, high


def _mixed(low: npt.NDArray[np.uint64], high: npt.NDArray[np.uint64]) -> npt.NDArray[np.uint64]:
    mixed = low * np.uint64(0x9E37_79B9_7F4A_7C15)  # any odd numbers do
    mixed ^= high * np.uint64(0xC2B2_AE3D_27D4_EB4F)
    return mixed


def _sorted_by_endpoints(packets: Packets, rows: npt.NDArray[np.int32]) -> tuple[npt.NDArray[np.int32], Bools]:
    low, high = _pairs(packets, rows)
    mixed = _mixed(low, high)
    order = np.argsort(mixed, kind="stable")
    mixed = mixed[order]
    same_mix = mixed[1:] == mixed[:-1]
    del mixed
    begins = _changes(low, high, order)
    if np.any(same_mix & begins[1:]):  # two pairs have one mix: made on purpose, so sort by the pairs themselves
        order = np.lexsort((high, low))
        begins = _changes(low, high, order)
    return rows[order], begins


def _changes(low: npt.NDArray[np.uint64], high: npt.NDArray[np.uint64], order: Ints) -> Bools:
    """Where the pair differs from the one before, in `order`."""
    begins = np.zeros(len(order), np.bool_)
    begins[:1] = True
    for ends in (low, high):
        sorted_ends = ends[order]
        begins[1:] |= sorted_ends[1:] != sorted_ends[:-1]
    return begins


def _split_reopened(packets: Packets, order: npt.NDArray[np.int32], begins: Bools) -> None:
    """Mark in `begins` where a pure SYN opens the same endpoints' next connection."""
    again = np.flatnonzero((packets.column("flags")[order] & (SYN | ACK | RST) == SYN) & ~begins)
    if not len(again):
        return
    starts = np.append(np.flatnonzero(begins), len(order))
    for group in sorted(set((np.searchsorted(starts, again, "right") - 1).tolist())):
        start, end = int(starts[group]), int(starts[group + 1])
        rows = order[start:end]
        names = ("source", "target", "flags")
        base: dict[int, int] = {}
        guessed: set[int] = set()  # whose SYN hasn't been seen
        fields = [packets.columns[name][rows].tolist() for name in names]
        fields += [column.tolist() for column in packets.tcp_fields(rows, "seq", "ack")]
        for index, (source, target, flag, seq, ack) in enumerate(zip(*fields, strict=True), start):
            if flag & (SYN | ACK | RST) == SYN and source in guessed and base[source] == (seq - 1) % CIRCLE:
                base[source] = seq  # a split handshake: the server's bare ACK has the number of the SYN that follows
            if flag & (SYN | ACK | RST) == SYN and base.get(source, seq) != seq:
                begins[index] = True
                base.clear()
                guessed.clear()
            if source not in base and not flag & SYN:
                guessed.add(source)
            base.setdefault(source, seq if flag & SYN else (seq - 1) % CIRCLE)
            if flag & ACK:
                base.setdefault(target, (ack - 1) % CIRCLE)


def _ends(packets: Packets, first: npt.NDArray[Any]) -> tuple[npt.NDArray[np.uint64], npt.NDArray[np.uint64]]:
    """Client and server, by a connection's first segment: the client sent the SYN.

    Joined midway, the lower port is taken for the server's: ephemeral ports are high (RFC 6056 §3.2).
    """
    source, target, flags = (packets.columns[name][first] for name in ("source", "target", "flags"))
    port = np.uint64(0xFFFF)
    flags = flags.astype(np.int64)
    lower = (flags & SYN == 0) & ((source & port) < (target & port))
    from_server = (flags & (SYN | ACK) == SYN | ACK) | lower
    return np.where(from_server, target, source), np.where(from_server, source, target)


class Segments:
    """The segments of connections `first` to `last` (excluded) as columns, in relative numbers that don't wrap.

    `begin`: where each connection begins; `connection`: which one each segment belongs to, from 0. `sender` is
    CLIENT or SERVER. `ack` is NO_ACK without the flag; `next` is the number after bytes, SYN and FIN; `newest`, the
    highest `next` that the sender had reached before (0 at first). `wide` marks the segments of connections whose
    numbers don't fit into half the circle of 2^32: there each number is the nearest to the newest before it.
    """

    def __init__(self, flows: Flows, first: int, last: int) -> None:
        packets = flows.packets
        self.rows = flows.order[flows.bounds[first] : flows.bounds[last]]
        self.begin = flows.bounds[first:last] - flows.bounds[first]
        count = len(self.rows)
        # narrow types: a connection may have millions of segments
        numbers = np.arange(last - first, dtype=np.int32)
        self.connection = np.repeat(numbers, np.diff(np.append(self.begin, count)))
        is_server = packets.columns["source"][self.rows] != flows.client[first:last][self.connection]
        self.sender = is_server.astype(np.int8)
        self.flags = packets.column("flags")[self.rows].astype(np.int16)
        self.length = packets.column("length")[self.rows]
        self._seq, self._ack, window = packets.tcp_fields(self.rows, "seq", "ack", "window")
        self.window = window.astype(np.int32)
        self.index = np.arange(count, dtype=np.int32)
        self._relate()

    @property
    def raw_seq(self) -> Ints:
        """The sequence numbers as sent."""
        return self._seq.astype(np.int64)

    @property
    def raw_ack(self) -> Ints:
        """The acknowledgement fields as sent."""
        return self._ack.astype(np.int64)

    def first_where(self, mask: Bools) -> Ints:
        """Each connection's first segment where `mask` holds, or the number of all segments where none does."""
        places: Ints = np.minimum.reduceat(np.where(mask, self.index, len(self.index)), self.begin)
        return places

    def any_where(self, mask: Bools) -> Bools:
        """Whether `mask` holds anywhere in each connection."""
        return np.logical_or.reduceat(mask, self.begin)

    def blocks(self, part: slice) -> Iterator[slice]:
        """`part` in pieces: as Python's numbers, a million segments at once would take more memory than their file."""
        for start in range(part.start, part.stop, BLOCK):
            yield slice(start, min(start + BLOCK, part.stop))

    def last_of(self, side: npt.NDArray[Any]) -> tuple[Ints, npt.NDArray[Any], npt.NDArray[Any]]:
        """Ack, window and place of the last segment of `side` before each segment; the place is -1 without one."""
        place = np.full(len(side), -1, np.int32)
        for which in (CLIENT, SERVER):
            sent = np.where(self.sender == which, self.index, np.int32(-1))
            before = np.maximum.accumulate(sent)
            place[1:] = np.where(side[1:] == which, before[:-1], place[1:])
        place[place < self.begin[self.connection]] = -1
        return self.ack[place], self.window[place], place

    def _relate(self) -> None:
        has_ack = self.flags & ACK != 0
        base = np.stack([self._base(side, has_ack) for side in (CLIENT, SERVER)])
        others = self._choose_syns(base)
        self.seq = self.raw_seq
        self.seq -= base[self.sender, self.connection]
        self.seq %= CIRCLE
        self.seq[others] = 0
        self.ack = self.raw_ack
        self.ack -= base[1 - self.sender, self.connection]
        self.ack %= CIRCLE
        wide = self.any_where((self.seq >= HALF) | (has_ack & (self.ack >= HALF)))
        self.ack[~has_ack] = NO_ACK
        taken = self.length + (self.flags & SYN != 0) + (self.flags & FIN != 0)
        self.next = self.seq + taken
        self.newest = self._newest()
        bounds = [*self.begin.tolist(), len(self.rows)]
        for connection in np.flatnonzero(wide).tolist():
            self._unwrap(slice(bounds[connection], bounds[connection + 1]), taken)
        self.wide = wide[self.connection]

    def _base(self, side: int, has_ack: Bools) -> Ints:
        """The raw number that counts as 0: the SYN's; else what was seen first of the side, less one."""
        sent = self.first_where(self.sender == side)
        acked = self.first_where((self.sender != side) & has_ack)
        is_syn = self.flags & SYN != 0
        raw_seq, raw_syn = np.append(self.raw_seq, 0), np.append(np.where(is_syn, self.raw_seq, -1), -1)
        syn = self.first_where((self.sender == side) & is_syn)
        by_seq = raw_seq[sent] - (raw_syn[syn] != raw_seq[sent])  # its SYN may come later, behind a bare ACK
        return np.where(sent < acked, by_seq, np.append(self.raw_ack - 1, 0)[acked]) % CIRCLE

    def _choose_syns(self, base: Ints) -> list[int]:
        """Where a side sent SYNs with several numbers, count from the one that the peer acknowledged.

        A server that restarted, or keeps no state (SYN cookies), draws a number for each SYN,ACK. Gives the places of
        the SYNs with other numbers.
        """
        is_syn = self.flags & SYN != 0
        raw_seq = self.raw_seq
        other = is_syn & (raw_seq != base[self.sender, self.connection])
        if not other.any():
            return []
        raw_ack = self.raw_ack
        bounds = [*self.begin.tolist(), len(self.rows)]
        places: list[int] = []
        for connection in np.flatnonzero(self.any_where(other)).tolist():
            inside = self.index[bounds[connection] : bounds[connection + 1]]
            for side in (CLIENT, SERVER):
                sent = inside[self.sender[inside] == side]
                syns = sent[: int(np.argmin(np.append(is_syn[sent], False)))]  # those before anything else
                numbers = raw_seq[syns].tolist()
                acked = set(((raw_ack[inside[self.sender[inside] != side]] - 1) % CIRCLE).tolist())
                if len(set(numbers)) > 1:
                    base[side, connection] = next((number for number in numbers if number in acked), numbers[-1])
                    places += syns[raw_seq[syns] != base[side, connection]].tolist()
        return places

    def most_acked(self) -> Ints:
        """The highest Ack of its sender's peer before each segment; 0 without one."""
        most = np.zeros(len(self.rows), np.int64)
        lift = self.connection.astype(np.int64) << 34
        for side in (CLIENT, SERVER):
            acked = np.where(self.sender == side, np.maximum(self.ack, 0), 0) + lift
            before = np.maximum.accumulate(acked)[:-1] - lift[1:]
            peers = self.sender[1:] != side
            most[1:][peers] = np.maximum(before, 0)[peers]
        return most

    def _newest(self) -> Ints:
        newest = np.zeros(len(self.rows), np.int64)
        lift = self.connection.astype(np.int64) << 34  # each connection's numbers lie above those of the one before
        for side in (CLIENT, SERVER):
            mine = self.sender == side
            reached = np.where(mine, self.next, 0)
            reached += lift
            np.maximum.accumulate(reached, out=reached)
            before = reached[:-1] - lift[1:]
            newest[1:][mine[1:]] = np.maximum(before, 0, out=before)[mine[1:]]
        return newest

    def _unwrap(self, part: slice, taken: Ints) -> None:
        """Number by number, each the nearest to what its side had reached (RFC 1982)."""
        reached: list[int | None] = [None, None]
        sent = [0, 0]
        for block in self.blocks(part):
            columns = (self.flags, self.sender, self.seq, self.ack, taken)
            flags, sender, seqs, acks, lengths = (column[block].tolist() for column in columns)
            newest: list[int] = []
            for index, (me, flag) in enumerate(zip(sender, flags, strict=True)):
                mine, theirs = reached[me], reached[1 - me]
                seqs[index] = seq = unwrap(seqs[index], (0 if flag & SYN else 1) if mine is None else mine)
                if flag & ACK:
                    theirs = 1 if theirs is None else theirs
                    acks[index], reached[1 - me] = unwrap(acks[index], theirs), theirs
                newest.append(sent[me])
                sent[me] = max(sent[me], seq + lengths[index])
                reached[me] = max(seq if mine is None else mine, seq + lengths[index])
            self.seq[block], self.ack[block], self.newest[block] = seqs, acks, newest
        self.next[part] = self.seq[part] + taken[part]
