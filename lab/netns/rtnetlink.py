"""Configure a network namespace over rtnetlink: link, addresses, default routes, neighbours.

A library would be pyroute2; importing it takes longer than a whole run may (0.2 s of 0.5). Four kinds of
message are all that the lab sends. Layouts: linux/rtnetlink.h, linux/if_link.h, linux/neighbour.h; RFC 3549.
"""

import os
import socket
import struct

from lab.scenario.model import Address, Route

NLM_F_REQUEST, NLM_F_ACK, NLM_F_REPLACE, NLM_F_CREATE = 0x1, 0x4, 0x100, 0x400
RTM_NEWLINK, RTM_NEWADDR, RTM_NEWROUTE, RTM_NEWNEIGH = 16, 20, 24, 28
IFLA_ADDRESS, IFLA_MTU, IFLA_TXQLEN, IFLA_GSO_MAX_SEGS = 1, 4, 13, 40
IFA_ADDRESS, IFA_LOCAL = 1, 2
IFA_F_NODAD = 0x02
RTA_OIF, RTA_PREFSRC, RTA_METRICS = 4, 7, 8
RTAX_LOCK, RTAX_RTO_MIN, RTAX_QUICKACK = 1, 13, 15
NDA_DST, NDA_LLADDR = 1, 2
IFF_UP = 1
NUD_PERMANENT = 0x80
RT_TABLE_MAIN, RTPROT_STATIC, RTN_UNICAST = 254, 4, 1
RT_SCOPE_UNIVERSE, RT_SCOPE_LINK = 0, 253
FAMILIES = {4: socket.AF_INET, 6: socket.AF_INET6}


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

    def add_address(self, index: int, address: Address) -> None:
        """Add `address` alone, without a subnet: any two addresses can be neighbours then."""
        length = address.max_prefixlen
        header = struct.pack("BBBBi", FAMILIES[address.version], length, IFA_F_NODAD, 0, index)
        attributes = ((IFA_LOCAL, address.packed), (IFA_ADDRESS, address.packed))
        self._request(RTM_NEWADDR, NLM_F_CREATE, header, attributes)

    def add_default_route(self, index: int, source: Address, route: Route) -> None:
        """Every address is on the link, reached from `source`, with what `route` says to TCP."""
        scope = RT_SCOPE_LINK if source.version == 4 else RT_SCOPE_UNIVERSE
        family = FAMILIES[source.version]
        header = struct.pack("BBBBBBBBI", family, 0, 0, 0, RT_TABLE_MAIN, RTPROT_STATIC, scope, RTN_UNICAST, 0)
        attributes = ((RTA_OIF, struct.pack("i", index)), (RTA_PREFSRC, source.packed), (RTA_METRICS, _metrics(route)))
        self._request(RTM_NEWROUTE, NLM_F_CREATE, header, attributes)

    def add_neighbour(self, index: int, address: Address, mac: bytes) -> None:
        """A permanent neighbour, so that no ARP and no neighbour discovery is in the capture."""
        header = struct.pack("BxxxiHBB", FAMILIES[address.version], index, NUD_PERMANENT, 0, 0)
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


def _metrics(route: Route) -> bytes:
    """The route's metrics. The least timeout (ms) counts only if it is locked (tcp_rto_min() in net/tcp.h)."""
    metrics = _attribute(RTAX_QUICKACK, struct.pack("I", route.quickack))
    if route.rto_min_s is not None:
        metrics += _attribute(RTAX_LOCK, struct.pack("I", 1 << RTAX_RTO_MIN))
        metrics += _attribute(RTAX_RTO_MIN, struct.pack("I", round(route.rto_min_s * 1000)))
    return metrics


def _attribute(code: int, value: bytes) -> bytes:
    return struct.pack("HH", 4 + len(value), code) + value + b"\0" * (-len(value) % 4)
