"""The link layer: which network protocol a frame carries, and where its header begins.

By link type (https://www.tcpdump.org/linktypes.html): Ethernet, Linux cooked capture, BSD loopback, raw IP; with any
number of VLAN tags (IEEE 802.1Q, 802.1ad).
"""

from collections.abc import Callable

import numpy as np

from analysis.packets.block import CUT, ETHER_TYPE, FAMILY, LINK_TYPE, NO_IP, Block, Ints

IPV4_TYPE, IPV6_TYPE = 0x0800, 0x86DD
VLAN_TYPES = (0x8100, 0x88A8, 0x9100)
MOST_TAGS = 16  # of one frame that are stepped over
IPV4_FAMILY = 2
IPV6_FAMILIES = (10, 24, 28, 30)  # AF_INET6 of Linux, of NetBSD and OpenBSD, of FreeBSD, of Darwin


def decode_link(block: Block) -> None:
    """Set the network layer's type and position, or the reason why a frame has none that can be read."""
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


def _typed(type_at: int, header: int) -> Callable[[Block, Ints], None]:
    """A link header of `header` bytes whose EtherType is at `type_at`; behind each VLAN tag stands another."""

    def decode_typed(block: Block, rows: Ints) -> None:
        type_position, network = block.start[rows] + type_at, block.start[rows] + header
        for _ in range(MOST_TAGS):
            if not len(rows):
                break
            whole = np.maximum(type_position + 2, network) <= block.end[rows]
            block.why[rows[~whole]] = CUT
            rows, type_position, network = rows[whole], type_position[whole], network[whole]
            kind = block.read(2, type_position)
            block.fields["kind"][rows] = kind
            block.network[rows] = network
            tagged = np.isin(kind, VLAN_TYPES)
            rows, type_position, network = rows[tagged], network[tagged] + 2, network[tagged] + 4

    return decode_typed


def _loopback(block: Block, rows: Ints) -> None:
    """Four bytes with the address family, in the byte order of the machine that captured, or of the network."""
    rows = block.still(rows, 4, block.start[rows])
    at = block.start[rows]
    family = np.minimum(block.read(4, at, "<"), block.read(4, at, ">"))  # the other order makes a large number of it
    kind = np.where(family == IPV4_FAMILY, IPV4_TYPE, np.where(np.isin(family, IPV6_FAMILIES), IPV6_TYPE, 0))
    block.fields["kind"][rows] = kind
    block.network[rows] = at + 4
    block.drop(rows, kind == 0, FAMILY | np.minimum(family, 0xFFFF))


def _raw(block: Block, rows: Ints) -> None:
    """An IP packet: its first four bits are the version."""
    rows = block.still(rows, 1, block.start[rows])
    version = block.read(1, block.start[rows]) >> 4
    kind = np.where(version == 4, IPV4_TYPE, np.where(version == 6, IPV6_TYPE, 0))
    block.fields["kind"][rows] = kind
    block.drop(rows, kind == 0, NO_IP)


def _only(kind: int) -> Callable[[Block, Ints], None]:
    def decode_only(block: Block, rows: Ints) -> None:
        block.fields["kind"][rows] = kind

    return decode_only


LINKS: dict[int, Callable[[Block, Ints], None]] = {
    0: _loopback,
    1: _typed(12, 14),
    12: _raw,
    14: _raw,
    101: _raw,
    108: _loopback,
    113: _typed(14, 16),
    228: _only(IPV4_TYPE),
    229: _only(IPV6_TYPE),
    276: _typed(0, 20),
}
