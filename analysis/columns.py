"""Frames to columns: the link, IP, UDP and TCP header fields of all packets, gathered block by block.

RFC 791 (IPv4), RFC 8200 (IPv6), RFC 768 (UDP), RFC 9293 §3.1 (TCP). What can't be read is counted and named,
never fatal. A column costs a few bytes a packet; a `Packet` is made of a row when someone looks at it.
"""

import ipaddress
import struct
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from analysis.capture import LONGEST_FRAME, Frames
from analysis.packet import TCP, UDP, Packet, TcpHeader, check_sum, parse_options

Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]

BLOCK = 1 << 16  # frames decoded at once: intermediate columns stay in the processor's cache
IPV4_TYPE, IPV6_TYPE = 0x0800, 0x86DD
VLAN_TYPES = (0x8100, 0x88A8, 0x9100)
IPV6_EXTENSIONS = (0, 43, 60)  # hop-by-hop, routing, destination options: RFC 8200 §4
FIRST_IPV6 = 1 << 32  # address numbers: an IPv4 address is its own, IPv6 addresses are numbered from here on
ROW = np.dtype(
    [
        ("frame", "u4"),  # from 1
        ("transport", "u4"),  # where the UDP or TCP header begins in the frame
        ("network", "u2"),  # where the IP header begins in the frame
        ("protocol", "u1"),
        ("header", "u1"),  # bytes of the transport header
        ("length", "i4"),  # payload bytes, by the IP header
        ("source", "u8"),  # address number << 16 | port
        ("target", "u8"),
        ("seq", "u4"),
        ("ack", "u4"),
        ("flags", "u2"),
        ("window", "u2"),
    ]
)

# why a frame is not a packet: the low 16 bits hold a number that the reason names
ETHER_TYPE, LINK_TYPE, IP_PROTOCOL, CUT, BAD_IPV4, FRAGMENT4, BAD_IPV6, FRAGMENT6, BAD_TCP, BAD_UDP = (
    kind << 16 for kind in range(1, 11)
)
REASONS = {
    CUT: "cut header",
    BAD_IPV4: "malformed IPv4",
    FRAGMENT4: "IPv4 fragment",
    BAD_IPV6: "malformed IPv6",
    FRAGMENT6: "IPv6 fragment",
    BAD_TCP: "malformed TCP",
    BAD_UDP: "malformed UDP",
    ETHER_TYPE | 0x0806: "ARP",
    IP_PROTOCOL | 1: "ICMP",
    IP_PROTOCOL | 2: "IGMP",
    IP_PROTOCOL | 58: "ICMPv6",
}


@dataclass(slots=True)
class Packets:
    """The UDP datagrams and TCP segments of a capture, in order, as columns; and how many frames were something else.

    `ROW` has the columns. Endpoints are numbers, address and port in one; `address` reads the first.
    """

    frames: Frames
    columns: dict[str, npt.NDArray[Any]]
    ipv6: list[bytes]
    others: dict[str, int]
    _names: dict[int, str] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.columns["frame"])

    def column(self, name: str) -> Ints:
        """The column `name` (see `ROW`); do not change it."""
        return self.columns[name]

    def address(self, endpoint: int) -> str:
        """The address of an endpoint, as text."""
        number = endpoint >> 16
        name = self._names.get(number)
        if name is None:
            ipv6 = number >= FIRST_IPV6
            name = str(ipaddress.IPv6Address(self.ipv6[number - FIRST_IPV6]) if ipv6 else ipaddress.IPv4Address(number))
            self._names[number] = name
        return name

    def packet_in(self, frame: int) -> Packet | None:
        """The packet in frame number `frame`, or None if that holds something else."""
        row = int(np.searchsorted(self.columns["frame"], frame))
        return self.packet(row) if row < len(self) and self.columns["frame"][row] == frame else None

    def payload(self, row: int) -> bytes:
        """The captured bytes behind the transport header of packet `row`."""
        start, end = self._segment_bounds(row)
        return self.frames.data[start + int(self.columns["header"][row]) : end]

    def payload_bounds(self, rows: Ints) -> tuple[Ints, Ints]:
        """Where the payload of each of `rows` begins in the file, and where it ends, as far as captured."""
        frame = self.columns["frame"][rows] - 1
        start = self.frames.start[frame] + self.columns["transport"][rows] + self.columns["header"][rows]
        end = np.minimum(start + self.columns["length"][rows], self.frames.start[frame] + self.frames.captured[frame])
        return start, end

    def packet(self, row: int) -> Packet:
        """Packet `row` as a value."""
        number, protocol = int(self.columns["frame"][row]), int(self.columns["protocol"][row])
        start, end = self._segment_bounds(row)
        segment, header = self.frames.data[start:end], int(self.columns["header"][row])
        length = int(self.columns["length"][row])
        source, target = int(self.columns["source"][row]), int(self.columns["target"][row])
        field_at = 16 if protocol == TCP else 6
        sent = struct.unpack_from("!H", segment, field_at)[0]
        pseudo_header = self._address_bytes(source) + self._address_bytes(target)
        pseudo_header += struct.pack("!II", length + header, protocol)
        state, right = check_sum(pseudo_header, segment, length + header, sent, protocol)
        return Packet(
            number,
            int(self.frames.time_ns[number - 1]),
            int(self.frames.wire_length[number - 1]),
            self.address(source),
            self.address(target),
            source & 0xFFFF,
            target & 0xFFFF,
            segment[header:],
            length,
            state,
            sent,
            right,
            self._tcp_header(row, segment[20:header]) if protocol == TCP else None,
        )

    def network_bytes(self, row: int) -> bytes:
        """Packet `row` from its IP header on, as captured, link padding left out."""
        start = int(self.frames.start[int(self.columns["frame"][row]) - 1]) + int(self.columns["network"][row])
        return self.frames.data[start : self._segment_bounds(row)[1]]

    def _tcp_header(self, row: int, options: bytes) -> TcpHeader:
        seq, ack, flags, window = (int(self.columns[name][row]) for name in ("seq", "ack", "flags", "window"))
        return TcpHeader(seq, ack, flags, window, parse_options(options))

    def _segment_bounds(self, row: int) -> tuple[int, int]:
        """Where the transport header begins in the file, and where its payload ends, as far as captured."""
        index = int(self.columns["frame"][row]) - 1
        frame = int(self.frames.start[index])
        start = frame + int(self.columns["transport"][row])
        whole = start + int(self.columns["header"][row]) + int(self.columns["length"][row])
        return start, min(whole, frame + int(self.frames.captured[index]))

    def _address_bytes(self, endpoint: int) -> bytes:
        number = endpoint >> 16
        return self.ipv6[number - FIRST_IPV6] if number >= FIRST_IPV6 else number.to_bytes(4)


def decode(frames: Frames) -> Packets:
    """The UDP and TCP packets of `frames`, in order."""
    columns = {name: np.empty(len(frames), ROW[name]) for name in ROW.names or ()}
    numbers: dict[bytes, int] = {}
    reasons: dict[int, int] = {}
    count = 0
    for first in range(0, len(frames), BLOCK):
        block = _Block(frames, first)
        _decode_link(block)
        _decode_ipv4(block)
        _decode_ipv6(block, numbers)
        _decode_transport(block)
        kept = np.flatnonzero(block.why == 0)
        for name, column in columns.items():
            column[count : count + len(kept)] = block.field(name)[kept]
        count += len(kept)
        for why in block.why[block.why != 0].tolist():
            reasons[why] = reasons.get(why, 0) + 1
    others: dict[str, int] = {}
    for why, times in reasons.items():
        name = _reason(why)
        others[name] = others.get(name, 0) + times
    return Packets(frames, {name: column[:count] for name, column in columns.items()}, list(numbers), others)


def _reason(why: int) -> str:
    if why in REASONS:
        return REASONS[why]
    kind, number = why & ~0xFFFF, why & 0xFFFF
    if kind == ETHER_TYPE:
        return f"EtherType 0x{number:04x}"
    return f"link type {number}" if kind == LINK_TYPE else f"IP protocol {number}"


class _Block:
    """Some frames while they are decoded: positions in the file, and what is known of each frame so far."""

    def __init__(self, frames: Frames, first: int) -> None:
        part = slice(first, first + BLOCK)
        self.data = frames.data
        self.link_type = frames.link_type[part]
        self.start = frames.start[part]
        self.end = self.start + frames.captured[part]
        self.wire_end = self.start + frames.wire_length[part]
        count = len(self.start)
        self.frame = np.arange(first + 1, first + 1 + count)
        self.why = np.zeros(count, np.int64)  # 0: a packet so far
        self.network = self.start.copy()  # positions in the file
        self.transport = np.zeros(count, np.int64)
        self.segment_end = np.zeros(count, np.int64)  # by the IP header, beyond the captured bytes or not
        zeros = ("kind", "protocol", "source", "target", "header", "length", "seq", "ack", "flags", "window")
        self.fields = {name: np.zeros(count, np.uint64 if name in ("source", "target") else np.int64) for name in zeros}

    def field(self, name: str) -> npt.NDArray[Any]:
        if name == "frame":
            return self.frame
        if name in ("network", "transport"):
            return (self.network if name == "network" else self.transport) - self.start
        return self.fields[name]

    def read(self, size: int, position: Ints) -> Ints:
        """The big-endian number of `size` bytes at each position; whoever reads has checked that it is captured."""
        values = np.ndarray((len(self.data) - size + 1,), f">u{size}", self.data, 0, (1,))
        return values[position].astype(np.int64)

    def still(self, rows: Ints, needed: Ints | int, at: Ints) -> Ints:
        """Those of `rows` whose `needed` bytes from the position `at` on were captured; the others are cut."""
        whole = at + needed <= self.end[rows]
        self.why[rows[~whole]] = CUT
        return rows[whole]

    def drop(self, rows: Ints, bad: Bools, why: Ints | int) -> Ints:
        """`rows` without the bad ones, whose reason is noted."""
        self.why[rows[bad]] = why if isinstance(why, int) else why[bad]
        return rows[~bad]


def _decode_link(block: _Block) -> None:
    """The network layer's type and position, by the link type (https://www.tcpdump.org/linktypes.html)."""
    for number in np.flatnonzero(np.bincount(block.link_type)).tolist():
        rows = np.flatnonzero(block.link_type == number)
        decoder = LINKS.get(number)
        if decoder is None:
            block.why[rows] = LINK_TYPE | number
        else:
            decoder(block, rows)
    kind = block.fields["kind"]
    known = (kind == IPV4_TYPE) | (kind == IPV6_TYPE) | (block.why != 0)
    block.why = np.where(known, block.why, ETHER_TYPE | kind)


def _ethernet(block: _Block, rows: Ints) -> None:
    """Ethernet, and any number of VLAN tags (IEEE 802.1Q)."""
    at = block.start[rows] + 12
    while len(rows):
        whole = at + 2 <= block.end[rows]
        block.why[rows[~whole]] = CUT
        rows, at = rows[whole], at[whole]
        kind = block.read(2, at)
        tagged = np.isin(kind, VLAN_TYPES)
        block.fields["kind"][rows] = kind
        block.network[rows] = at + 2
        rows, at = rows[tagged], at[tagged] + 4


def _cooked(type_at: int, header: int) -> Callable[[_Block, Ints], None]:
    """Linux cooked capture: where the type is, how long the header is."""

    def decode_cooked(block: _Block, rows: Ints) -> None:
        rows = block.still(rows, header, block.start[rows])
        block.fields["kind"][rows] = block.read(2, block.start[rows] + type_at)
        block.network[rows] = block.start[rows] + header

    return decode_cooked


def _by_version(header: int) -> Callable[[_Block, Ints], None]:
    """An IP packet behind `header` bytes: its first four bits are the version."""

    def decode_version(block: _Block, rows: Ints) -> None:
        rows = block.still(rows, header + 1, block.start[rows])
        version = block.read(1, block.start[rows] + header) >> 4
        block.fields["kind"][rows] = np.where(version == 4, IPV4_TYPE, np.where(version == 6, IPV6_TYPE, 0))
        block.network[rows] = block.start[rows] + header

    return decode_version


LINKS: dict[int, Callable[[_Block, Ints], None]] = {
    0: _by_version(4),  # BSD loopback
    108: _by_version(4),
    1: _ethernet,
    12: _by_version(0),  # raw IP
    14: _by_version(0),
    101: _by_version(0),
    113: _cooked(14, 16),
    276: _cooked(0, 20),
}


def _decode_ipv4(block: _Block) -> None:
    rows = np.flatnonzero((block.fields["kind"] == IPV4_TYPE) & (block.why == 0))
    rows = block.still(rows, 20, block.network[rows])
    at = block.network[rows]
    first, total = block.read(1, at), block.read(2, at + 2)
    whole = np.minimum(block.wire_end[rows] - at, LONGEST_FRAME)
    total = np.where(total == 0, whole, total)  # segmentation offload leaves it 0
    header = (first & 15) * 4
    block.transport[rows] = at + header
    block.segment_end[rows] = at + total
    rows = block.drop(rows, (first >> 4 != 4) | (header < 20) | (total < header), BAD_IPV4)
    at = block.network[rows]
    rows = block.drop(rows, block.read(2, at + 6) & 0x3FFF != 0, FRAGMENT4)
    at = block.network[rows]
    block.fields["protocol"][rows] = block.read(1, at + 9)
    block.fields["source"][rows] = block.read(4, at + 12).astype(np.uint64) << np.uint64(16)
    block.fields["target"][rows] = block.read(4, at + 16).astype(np.uint64) << np.uint64(16)


def _decode_ipv6(block: _Block, numbers: dict[bytes, int]) -> None:
    rows = np.flatnonzero((block.fields["kind"] == IPV6_TYPE) & (block.why == 0))
    rows = block.still(rows, 40, block.network[rows])
    if not len(rows):
        return
    at = block.network[rows]
    block.segment_end[rows] = at + 40 + block.read(2, at + 4)
    for name, offset in (("source", 8), ("target", 24)):
        block.fields[name][rows] = _numbered(block, at + offset, numbers) << np.uint64(16)
    following, position = block.read(1, at + 6), at + 40
    waiting = np.arange(len(rows))
    while len(waiting := waiting[np.isin(following[waiting], IPV6_EXTENSIONS)]):
        whole = position[waiting] + 8 <= block.end[rows[waiting]]
        block.why[rows[waiting[~whole]]] = CUT
        waiting = waiting[whole]
        header = position[waiting]
        following[waiting] = block.read(1, header)
        position[waiting] = header + 8 + block.read(1, header + 1) * 8
    block.transport[rows] = position
    block.fields["protocol"][rows] = following
    whole = block.why[rows] == 0
    rows, position, following = rows[whole], position[whole], following[whole]
    fragment, late = following == 44, block.segment_end[rows] < position
    block.why[rows[fragment | late]] = np.where(fragment, FRAGMENT6, BAD_IPV6)[fragment | late]


def _numbered(block: _Block, at: Ints, numbers: dict[bytes, int]) -> npt.NDArray[np.uint64]:
    """The number of the IPv6 address at each position; a new address gets the next one."""
    data = np.ndarray((len(block.data) - 15,), "V16", block.data, 0, (1,))
    known = [numbers.setdefault(address, FIRST_IPV6 + len(numbers)) for address in data[at].tolist()]
    return np.array(known, np.uint64)


def _decode_transport(block: _Block) -> None:
    rows = np.flatnonzero(block.why == 0)
    protocol = block.fields["protocol"]
    number = protocol[rows]
    rows = block.drop(rows, (number != TCP) & (number != UDP), IP_PROTOCOL | number)
    for kind, least, malformed in ((TCP, 20, BAD_TCP), (UDP, 8, BAD_UDP)):
        some = rows[protocol[rows] == kind]
        some = block.still(some, least, block.transport[some])
        at = block.transport[some]
        header = (block.read(1, at + 12) >> 4) * 4 if kind == TCP else np.full(len(some), least)
        length = block.segment_end[some] - at - header
        block.fields["header"][some], block.fields["length"][some] = header, length
        some = block.drop(some, (header < least) | (length < 0), malformed)
        _ports(block, some)
        if kind == TCP:
            _tcp_fields(block, some)


def _ports(block: _Block, rows: Ints) -> None:
    at = block.transport[rows]
    block.fields["source"][rows] |= block.read(2, at).astype(np.uint64)
    block.fields["target"][rows] |= block.read(2, at + 2).astype(np.uint64)


def _tcp_fields(block: _Block, rows: Ints) -> None:
    at = block.transport[rows]
    block.fields["seq"][rows] = block.read(4, at + 4)
    block.fields["ack"][rows] = block.read(4, at + 8)
    block.fields["flags"][rows] = block.read(2, at + 12) & 0x1FF
    block.fields["window"][rows] = block.read(2, at + 14)
