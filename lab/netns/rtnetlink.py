"""Configure a network namespace over rtnetlink: link, address, default route, neighbours.

A library would be pyroute2; importing it takes longer than a whole run may (0.2 s of 0.5). Four kinds of
message are all that the lab sends. Layouts: linux/rtnetlink.h, linux/if_link.h, linux/neighbour.h; RFC 3549.
"""

import os
import socket
import struct
from ipaddress import IPv4Address

NLM_F_REQUEST, NLM_F_ACK, NLM_F_REPLACE, NLM_F_CREATE = 0x1, 0x4, 0x100, 0x400
RTM_NEWLINK, RTM_NEWADDR, RTM_NEWROUTE, RTM_NEWNEIGH = 16, 20, 24, 28
IFLA_ADDRESS, IFLA_MTU, IFLA_TXQLEN, IFLA_GSO_MAX_SEGS = 1, 4, 13, 40
IFA_ADDRESS, IFA_LOCAL = 1, 2
RTA_OIF, RTA_PREFSRC, RTA_METRICS, RTAX_QUICKACK = 4, 7, 8, 15
NDA_DST, NDA_LLADDR = 1, 2
IFF_UP = 1
NUD_PERMANENT = 0x80
RT_TABLE_MAIN, RTPROT_STATIC, RT_SCOPE_LINK, RTN_UNICAST = 254, 4, 253, 1


class Network:
    """The network of the namespace in which this object was made."""

    def __init__(self) -> None:
        self._socket = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, socket.NETLINK_ROUTE)
        self._sequence = 0

    def close(self) -> None:
        self._socket.close()

    def set_link(self, name: str, *, mac: bytes, mtu: int, queue_length: int) -> int:
        """Bring the link up, with segments cut by the sending TCP; its index."""
        index = socket.if_nametoindex(name)
        change = struct.pack("BxHiII", socket.AF_UNSPEC, 0, index, IFF_UP, IFF_UP)
        attributes = (
            (IFLA_ADDRESS, mac),
            (IFLA_MTU, struct.pack("I", mtu)),
            (IFLA_TXQLEN, struct.pack("I", queue_length)),
            (IFLA_GSO_MAX_SEGS, struct.pack("I", 1)),
        )
        self._request(RTM_NEWLINK, 0, change, attributes)
        return index

    def add_address(self, index: int, address: IPv4Address) -> None:
        """Add `address` alone, without a subnet: any two addresses can be neighbours then."""
        header = struct.pack("BBBBi", socket.AF_INET, 32, 0, 0, index)
        attributes = ((IFA_LOCAL, address.packed), (IFA_ADDRESS, address.packed))
        self._request(RTM_NEWADDR, NLM_F_CREATE, header, attributes)

    def add_default_route(self, index: int, source: IPv4Address, *, quickack: bool) -> None:
        """Every address is on the link, reached from `source`; with `quickack` its segments get their ACK at once."""
        header = struct.pack(
            "BBBBBBBBI", socket.AF_INET, 0, 0, 0, RT_TABLE_MAIN, RTPROT_STATIC, RT_SCOPE_LINK, RTN_UNICAST, 0
        )
        metrics = _attribute(RTAX_QUICKACK, struct.pack("I", quickack))
        attributes = ((RTA_OIF, struct.pack("i", index)), (RTA_PREFSRC, source.packed), (RTA_METRICS, metrics))
        self._request(RTM_NEWROUTE, NLM_F_CREATE, header, attributes)

    def add_neighbour(self, index: int, address: IPv4Address, mac: bytes) -> None:
        """A permanent neighbour, so that no ARP is in the capture."""
        header = struct.pack("BxxxiHBB", socket.AF_INET, index, NUD_PERMANENT, 0, 0)
        attributes = ((NDA_DST, address.packed), (NDA_LLADDR, mac))
        self._request(RTM_NEWNEIGH, NLM_F_CREATE | NLM_F_REPLACE, header, attributes)

    def _request(self, kind: int, flags: int, header: bytes, attributes: tuple[tuple[int, bytes], ...]) -> None:
        body = header + b"".join(_attribute(code, value) for code, value in attributes)
        self._sequence += 1
        flags |= NLM_F_REQUEST | NLM_F_ACK
        self._socket.send(struct.pack("IHHII", 16 + len(body), kind, flags, self._sequence, 0) + body)
        reply = self._socket.recv(65536)
        code = -struct.unpack_from("i", reply, 16)[0]
        if code:
            raise OSError(code, os.strerror(code), f"rtnetlink request {kind}")


def _attribute(code: int, value: bytes) -> bytes:
    return struct.pack("HH", 4 + len(value), code) + value + b"\0" * (-len(value) % 4)
