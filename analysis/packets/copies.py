"""Frames that hold one and the same packet, as a capture on several interfaces takes it."""

import numpy as np
import numpy.typing as npt

from analysis.packets.columns import Packets

DOUBLED_NS = 10_000_000  # two captures of one packet are closer than any retransmission timer
UNIDENTIFIED_NS = 1_000_000  # of a packet without IP identification


def is_same_packet(packets: Packets, first: int, second: int, *, alone: bool) -> bool:
    """Whether two frames hold one and the same IP packet: equal but for what routers change, and close in time.

    Most hosts that send again give a new IP identification, but none must (RFC 6864 §4.1), and IPv6 has none. Where it
    is missing, `alone` must hold: it is no bare ACK or reset, of which a host sends equal ones, and nothing came from
    the other side in between that could have been answered twice.
    """
    frame = packets.column("frame")
    apart = packets.frames.time_ns[frame[second] - 1] - packets.frames.time_ns[frame[first] - 1]
    if abs(apart) >= DOUBLED_NS:
        return False
    if first in packets.whole or second in packets.whole:
        return packets.identity(first) is not None and packets.identity(first) == packets.identity(second)
    one, other = packets.network_bytes(first), packets.network_bytes(second)
    identified = one[:1] < b"\x60" and one[4:6] != b"\0\0"
    if not identified and (not alone or abs(apart) >= UNIDENTIFIED_NS):
        return False
    if one[:1] >= b"\x60":
        return one[:7] + one[8:] == other[:7] + other[8:]  # but for the hop limit
    return one[:8] + one[9:10] + one[12:] == other[:8] + other[9:10] + other[12:]  # but for TTL and header checksum


def _close_alike(packets: Packets, rows: npt.NDArray[np.int32]) -> npt.NDArray[np.int32]:
    """Those of `rows` that another one is like, by ends, length and first bytes, less than `DOUBLED_NS` away."""
    columns, data = packets.columns, packets.frames.data
    words = np.ndarray((max(0, len(data) - 3),), ">u4", data, 0, (1,))  # the one that begins at each byte
    start, end = packets.payload_bounds(rows)
    there = end - start >= 4
    mixed = columns["source"][rows] * np.uint64(0x9E37_79B9_7F4A_7C15)  # any odd numbers do
    mixed ^= columns["target"][rows] * np.uint64(0xC2B2_AE3D_27D4_EB4F)
    mixed ^= columns["length"][rows].astype(np.uint64) * np.uint64(0x1656_67B1_9E37_79F9)
    mixed[there] ^= words[start[there]].astype(np.uint64) * np.uint64(0x2545_F491_4F6C_DD1D)
    order = np.argsort(mixed, kind="stable")
    times = packets.frames.time_ns[columns["frame"][rows[order]] - 1]
    close = (mixed[order[1:]] == mixed[order[:-1]]) & (np.abs(np.diff(times)) < DOUBLED_NS)
    found: npt.NDArray[np.int32] = rows[np.concatenate([order[1:][close], order[:-1][close]])]
    return found


class DatagramCopies:
    """Finds datagrams that were captured twice; remembers those of the last moments, which is all that can be.

    `candidates`: those of the rows watched that have another like them at about the same time, as far as it is cheap to
    tell.
    """

    def __init__(self, packets: Packets) -> None:
        self.candidates: set[int] = set()
        self._packets = packets
        self._recent: dict[tuple[int, int, bytes], int] = {}  # row of the last datagram with these ends and bytes
        self._older: dict[tuple[int, int, bytes], int] = {}
        self._since = 0  # the time of the first one in `_recent`

    def watch(self, rows: npt.NDArray[np.int32]) -> None:
        """Look for candidates among `rows`: those that are noted next, and some around them."""
        self.candidates = set(_close_alike(self._packets, rows).tolist())

    def note(self, row: int, sender: int, receiver: int, data: bytes) -> int | None:
        """The row that holds the same datagram as `row`, or None; then remember this one."""
        time_ns = int(self._packets.frames.time_ns[self._packets.columns["frame"][row] - 1])
        if abs(time_ns - self._since) >= DOUBLED_NS:
            self._older, self._recent, self._since = self._recent, {}, time_ns
        key = (sender, receiver, data)
        twin = self._recent.get(key, self._older.get(key))
        if twin is not None and is_same_packet(self._packets, twin, row, alone=True):
            return twin
        self._recent[key] = row
        return None
