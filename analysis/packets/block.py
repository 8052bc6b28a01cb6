"""Some frames while they are decoded: positions in the file, and what is known of each frame so far."""

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from analysis.files.frames import NO_PACKET, Frames

Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]

BLOCK = 1 << 16  # frames decoded at once: intermediate columns stay in the processor's cache

# why a frame is not a packet: the low 16 bits hold a number that the reason names
(
    ETHER_TYPE,
    LINK_TYPE,
    FAMILY,
    IP_PROTOCOL,
    CUT,
    BAD_IPV4,
    FRAGMENT4,
    BAD_IPV6,
    FRAGMENT6,
    BAD_TCP,
    BAD_UDP,
    NO_IP,
) = (kind << 16 for kind in range(1, 13))
REASONS = {
    CUT: "cut header",
    BAD_IPV4: "malformed IPv4",
    FRAGMENT4: "IPv4 fragment",
    BAD_IPV6: "malformed IPv6",
    FRAGMENT6: "IPv6 fragment",
    BAD_TCP: "malformed TCP",
    BAD_UDP: "malformed UDP",
    NO_IP: "neither IPv4 nor IPv6",
}
NUMBERED = {ETHER_TYPE: "EtherType 0x{:04x}", LINK_TYPE: "link type {}", FAMILY: "address family {}"}
NAMES = {  # https://www.tcpdump.org/linktypes.html, IANA's lists of EtherTypes and of protocol numbers
    ETHER_TYPE | 0x0806: "ARP",
    ETHER_TYPE | 0x0842: "Wake-on-LAN",
    ETHER_TYPE | 0x8035: "RARP",
    ETHER_TYPE | 0x8863: "PPPoE discovery",
    ETHER_TYPE | 0x8864: "PPPoE",
    ETHER_TYPE | 0x8847: "MPLS",
    ETHER_TYPE | 0x888E: "EAPOL",
    ETHER_TYPE | 0x88CC: "LLDP",
    ETHER_TYPE | 0x88E5: "MACsec",
    ETHER_TYPE | 0x8899: "Realtek",
    LINK_TYPE | 9: "PPP",
    LINK_TYPE | 50: "PPP",
    LINK_TYPE | 51: "PPPoE",
    LINK_TYPE | 105: "802.11",
    LINK_TYPE | 119: "802.11 (Prism)",
    LINK_TYPE | 127: "802.11 (radiotap)",
    LINK_TYPE | 187: "Bluetooth",
    LINK_TYPE | 189: "USB",
    LINK_TYPE | 195: "802.15.4",
    LINK_TYPE | 201: "Bluetooth",
    LINK_TYPE | 220: "USB",
    LINK_TYPE | 239: "NFLOG",
    LINK_TYPE | 249: "USB",
    LINK_TYPE | 251: "Bluetooth LE",
    LINK_TYPE | NO_PACKET: "no packet (an event or a journal's entry)",
    IP_PROTOCOL | 1: "ICMP",
    IP_PROTOCOL | 2: "IGMP",
    IP_PROTOCOL | 4: "IP in IP",
    IP_PROTOCOL | 41: "IPv6 in IP",
    IP_PROTOCOL | 47: "GRE",
    IP_PROTOCOL | 50: "ESP",
    IP_PROTOCOL | 51: "AH",
    IP_PROTOCOL | 58: "ICMPv6",
    IP_PROTOCOL | 59: "no next header",
    IP_PROTOCOL | 89: "OSPF",
    IP_PROTOCOL | 103: "PIM",
    IP_PROTOCOL | 112: "VRRP",
    IP_PROTOCOL | 132: "SCTP",
}
SHORTEST_ETHER_TYPE = 0x600  # a smaller number is the length of an 802.3 frame (IEEE 802.3 §3.2.6)


def reason_text(why: int) -> str:
    """The name of a reason; the unknown go by their number."""
    kind, number = why & ~0xFFFF, why & 0xFFFF
    if kind == ETHER_TYPE and number < SHORTEST_ETHER_TYPE:
        return "802.3 (LLC)"
    return REASONS.get(why) or NAMES.get(why) or NUMBERED.get(kind, "IP protocol {}").format(number)


class Fragment(NamedTuple):
    """A fragment of an IP datagram: bytes `offset` to `end` of what follows the IP header; `start`: in the file.

    `captured`: how many of these bytes the file has. `source` and `target` are endpoint numbers without a port.
    """

    frame: int
    source: int
    target: int
    version: int
    ident: int
    protocol: int
    offset: int
    end: int
    is_last: bool
    start: int
    captured: int


class Block:
    """Up to `BLOCK` frames from index `first` on."""

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
        self.fragments: list[Fragment] = []
        zeros = ("kind", "protocol", "source", "target", "header", "length", "flags")
        self.fields = {name: np.zeros(count, np.uint64 if name in ("source", "target") else np.int64) for name in zeros}

    def field(self, name: str) -> npt.NDArray[Any]:
        """One entry a frame of the column `name` (see `columns.ROW`)."""
        if name == "frame":
            return self.frame
        if name in ("network", "transport"):
            return (self.network if name == "network" else self.transport) - self.start
        return self.fields[name]

    def read(self, size: int, position: Ints, order: str = ">") -> Ints:
        """The number of `size` bytes at each position; whoever reads has checked that it is captured."""
        values = np.ndarray((len(self.data) - size + 1,), f"{order}u{size}", self.data, 0, (1,))
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
