"""Frames to columns: the link, IP, UDP and TCP header fields of all packets, gathered block by block.

RFC 791 (IPv4), RFC 8200 (IPv6), RFC 768 (UDP), RFC 9293 §3.1 (TCP). What can't be read is counted and named,
never fatal.
"""

import struct
from collections import Counter
from collections.abc import Iterable

import numpy as np
import numpy.typing as npt

from analysis.files.capture import LONGEST_FRAME, Frames
from analysis.packets.block import (
    BAD_IPV4,
    BAD_IPV6,
    BAD_TCP,
    BAD_UDP,
    BLOCK,
    FRAGMENT4,
    FRAGMENT6,
    IP_PROTOCOL,
    Block,
    Fragment,
    Ints,
    reason_text,
)
from analysis.packets.columns import FIRST_IPV6, ROW, Packets
from analysis.packets.fragments import Datagram, reassemble_datagrams
from analysis.packets.links import IPV4_TYPE, IPV6_TYPE, decode_link
from analysis.packets.packet import TCP, UDP

IPV6_EXTENSIONS = (0, 43, 60, 135, 139, 140)  # RFC 8200 §4, and others of the same form: RFC 6564 §3
IPV6_FRAGMENT, AUTHENTICATION = 44, 51  # RFC 8200 §4.5, RFC 4302 §2
FARTHEST = 0xFFFF  # bytes from a frame's beginning to a transport header that is read
MOST_EXTENSIONS = 64  # headers of one packet that are followed


def decode(frames: Frames) -> Packets:
    """The UDP and TCP packets of `frames`, in order."""
    columns = {name: np.empty(len(frames), ROW[name]) for name in ROW.names or ()}
    numbers: dict[bytes, int] = {}
    reasons: Counter[int] = Counter()
    fragments: list[Fragment] = []
    count = 0
    for first in range(0, len(frames), BLOCK):
        block = Block(frames, first)
        decode_link(block)
        _decode_ipv4(block)
        _decode_ipv6(block, numbers)
        _decode_transport(block)
        kept = np.flatnonzero(block.why == 0)
        for name, column in columns.items():
            column[count : count + len(kept)] = block.field(name)[kept]
        count += len(kept)
        reasons.update(block.why[block.why != 0].tolist())
        fragments += block.fragments
    packets = Packets(frames, {name: column[:count] for name, column in columns.items()}, list(numbers), {})
    if fragments:
        fragments.sort(key=lambda fragment: fragment.frame)
        whole, packets.unfinished = reassemble_datagrams(fragments, frames)
        _insert(packets, whole, reasons)
    for why, times in reasons.items():
        if times > 0:
            packets.others[reason_text(why)] = packets.others.get(reason_text(why), 0) + times
    return packets


def _decode_ipv4(block: Block) -> None:
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
    block.fields["protocol"][rows] = block.read(1, at + 9)
    block.fields["source"][rows] = block.read(4, at + 12).astype(np.uint64) << np.uint64(16)
    block.fields["target"][rows] = block.read(4, at + 16).astype(np.uint64) << np.uint64(16)
    place = block.read(2, at + 6)
    broken = place & 0x3FFF != 0
    for row, bits, ident in zip(rows[broken].tolist(), place[broken].tolist(), at[broken].tolist(), strict=True):
        number = int.from_bytes(block.data[ident + 4 : ident + 6])
        _note_fragment(block, row, 4, number, (bits & 0x1FFF) * 8, more=bool(bits & 0x2000))
    block.drop(rows, broken, FRAGMENT4)


def _note_fragment(block: Block, row: int, version: int, ident: int, offset: int, *, more: bool) -> None:
    """Keep where a fragment's bytes are, from `block.transport` on."""
    start, end = int(block.transport[row]), int(block.segment_end[row])
    if end <= start or (more and (end - start) % 8):
        return  # all but the last one bring multiples of eight bytes (RFC 791 §3.2)
    source, target = int(block.fields["source"][row]), int(block.fields["target"][row])
    captured = max(0, min(end, int(block.end[row])) - start)
    protocol, frame = int(block.fields["protocol"][row]), int(block.frame[row])
    block.fragments.append(
        Fragment(
            frame, source, target, version, ident, protocol, offset, offset + end - start, not more, start, captured
        )
    )


def _decode_ipv6(block: Block, numbers: dict[bytes, int]) -> None:
    rows = np.flatnonzero((block.fields["kind"] == IPV6_TYPE) & (block.why == 0))
    rows = block.still(rows, 40, block.network[rows])
    rows = block.drop(rows, block.read(1, block.network[rows]) >> 4 != 6, BAD_IPV6) if len(rows) else rows
    if not len(rows):
        return
    at = block.network[rows]
    length = block.read(2, at + 4)
    whole = np.minimum(block.wire_end[rows] - at - 40, LONGEST_FRAME)
    block.segment_end[rows] = at + 40 + np.where(length == 0, whole, length)  # segmentation offload leaves it 0
    for name, offset in (("source", 8), ("target", 24)):
        block.fields[name][rows] = _numbered(block, at + offset, numbers) << np.uint64(16)
    block.fields["protocol"][rows], block.transport[rows] = block.read(1, at + 6), at + 40
    for _ in range(MOST_EXTENSIONS):
        protocol = block.fields["protocol"][rows]
        rows = rows[np.isin(protocol, (*IPV6_EXTENSIONS, IPV6_FRAGMENT, AUTHENTICATION))]
        if not len(rows):
            return
        rows = _skip_extension(block, rows)


def _skip_extension(block: Block, rows: Ints) -> Ints:
    """Step over one extension header of each of `rows`; those that go on."""
    rows = block.still(rows, 8, block.transport[rows])
    at = block.transport[rows]
    kind, following, size = block.fields["protocol"][rows], block.read(1, at), block.read(1, at + 1)
    is_fragment = kind == IPV6_FRAGMENT
    length = np.where(is_fragment, 8, np.where(kind == AUTHENTICATION, (size + 2) * 4, (size + 1) * 8))
    block.transport[rows] = at + length
    block.fields["protocol"][rows] = following
    late = block.transport[rows] > np.minimum(block.segment_end[rows], block.start[rows] + FARTHEST)
    place = np.where(is_fragment, block.read(2, at + 2), 0)
    broken = (place & 0xFFF9 != 0) & ~late  # one that is alone is whole (RFC 6946)
    for row, bits, header in zip(rows[broken].tolist(), place[broken].tolist(), at[broken].tolist(), strict=True):
        number = int.from_bytes(block.data[header + 4 : header + 8])
        _note_fragment(block, row, 6, number, bits & 0xFFF8, more=bool(bits & 1))
    block.why[rows[late]], block.why[rows[broken]] = BAD_IPV6, FRAGMENT6
    following_rows: Ints = rows[~(late | broken)]
    return following_rows


def _numbered(block: Block, at: Ints, numbers: dict[bytes, int]) -> npt.NDArray[np.uint64]:
    """The number of the IPv6 address at each position; a new address gets the next one."""
    data = np.ndarray((len(block.data) - 15,), "V16", block.data, 0, (1,))
    known = [numbers.setdefault(address, FIRST_IPV6 + len(numbers)) for address in data[at].tolist()]
    return np.array(known, np.uint64)


def _decode_transport(block: Block) -> None:
    rows = np.flatnonzero(block.why == 0)
    protocol = block.fields["protocol"]
    number = protocol[rows]
    rows = block.drop(rows, (number != TCP) & (number != UDP), IP_PROTOCOL | number)
    for kind, least, malformed in ((TCP, 20, BAD_TCP), (UDP, 8, BAD_UDP)):
        some = rows[protocol[rows] == kind]
        some = block.still(some, least, block.transport[some])
        at = block.transport[some]
        carried = block.segment_end[some] - at
        if kind == TCP:
            header = (block.read(1, at + 12) >> 4) * 4
        else:
            header, carried = np.full(len(some), least), _udp_length(block.read(2, at + 4), carried)
        block.fields["header"][some], block.fields["length"][some] = header, carried - header
        some = block.drop(some, (header < least) | (carried < header), malformed)
        at = block.transport[some]
        block.fields["source"][some] |= block.read(2, at).astype(np.uint64)
        block.fields["target"][some] |= block.read(2, at + 2).astype(np.uint64)
        if kind == TCP:
            block.fields["flags"][some] = block.read(2, at + 12) & 0x1FF


def _udp_length(said: Ints, carried: Ints) -> Ints:
    """Bytes of a datagram by its own header (RFC 768), unless that says nothing (0, offload) or more than there is."""
    length: Ints = np.where((said == 0) | (said > carried), carried, said)
    return length


def _insert(packets: Packets, datagrams: Iterable[Datagram], reasons: Counter[int]) -> None:
    """Add a row for each datagram that came in fragments, at the frame that completed it."""
    rows: list[dict[str, int]] = []
    whole: list[Datagram] = []
    for datagram in datagrams:
        row = _row_of(datagram)
        if row is not None:
            rows.append(row)
            whole.append(datagram)
            is_ipv6 = datagram.source >> 16 >= FIRST_IPV6
            reasons[FRAGMENT6 if is_ipv6 else FRAGMENT4] -= len(datagram.frames)
    at = np.searchsorted(packets.columns["frame"], [datagram.frames[-1] for datagram in whole])
    for name, column in packets.columns.items():
        packets.columns[name] = np.insert(column, at, np.array([row[name] for row in rows], ROW[name]))
    packets.whole.update(zip((at + np.arange(len(whole))).tolist(), whole, strict=True))


def _row_of(datagram: Datagram) -> dict[str, int] | None:
    """The columns of a datagram that came in fragments; None if it is no UDP or TCP that can be read."""
    data, protocol, carried = datagram.data, datagram.protocol, datagram.length
    row = dict.fromkeys(ROW.names or (), 0)
    if protocol == UDP and len(data) >= 8:
        sport, dport, said = struct.unpack_from("!HHH", data)
        header = 8
        carried = said if 0 < said <= carried else carried
    elif protocol == TCP and len(data) >= 20:
        sport, dport, bits = struct.unpack_from("!HH8xH", data)
        header, row["flags"] = (bits >> 12) * 4, bits & 0x1FF
    else:
        return None
    if header < (8 if protocol == UDP else 20) or carried < header:
        return None
    row |= {"frame": datagram.frames[-1], "protocol": protocol, "header": header, "length": carried - header}
    return row | {"source": datagram.source | sport, "target": datagram.target | dport}
