"""What each host's kernel says of a run's TCP connections, asked over netlink while nothing moves.

A lookup of one 4-tuple costs 3 µs; /proc/net/tcp walks the hash table of the whole machine, which takes 5 ms. A netlink
socket belongs to the namespace in which it was made, so that init can ask every host. Layouts: linux/sock_diag.h,
linux/inet_diag.h.
"""

import errno
import os
import socket
import struct
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from ipaddress import ip_address
from pathlib import Path
from typing import Any, NamedTuple

from lab.netns import kernel
from lab.netns.host import Host
from lab.socket_table import STATES, Connection, Seen, Table, describe, parse_table, state_in

NETLINK_SOCK_DIAG, SOCK_DIAG_BY_FAMILY, NLM_F_REQUEST, NLMSG_ERROR = 4, 20, 1, 2
ALL_STATES, NO_COOKIE = 0xFFFF_FFFF, b"\xff" * 8
MOST_CONNECTIONS = 200  # a run that opens more has testimony on the first ones
MOST_LOST = 200  # segments of a connection
IPV4, IPV6 = b"\x08\x00", b"\x86\xdd"
SYN, ACK = 0x02, 0x10
ENDED = frozenset({"CLOSED", "LISTEN", "TIME-WAIT"})  # the second: no socket but the one that listens
ENDS: tuple[str, str] = ("client", "server")  # of a connection: the latter may be the resolver's host


class _Header(NamedTuple):
    """Of one TCP segment: its ends as (address, port) in network order, and its flags."""

    source: tuple[bytes, bytes]
    target: tuple[bytes, bytes]
    flags: int

    @property
    def ends(self) -> frozenset[tuple[bytes, bytes]]:
        """The same for both directions."""
        return frozenset((self.source, self.target))


@dataclass(slots=True, eq=False)
class _Watched:
    """One connection: whom to ask, with which request, and what has been seen. By end: 0 client, 1 server."""

    connection: Connection
    hosts: tuple[str, str]
    requests: tuple[bytes, bytes]
    stale: list[bool] = field(default_factory=lambda: [True, True])  # a segment has moved since the last look
    seen: tuple[list[Seen], list[Seen]] = field(default_factory=lambda: ([], []))
    lost: list[tuple[int | None, int, str, int]] = field(default_factory=list)  # as `analysis.testimony.Loss`


class SocketTables:
    """The kernels' testimony on the connections whose SYNs passed.

    What a host's state must be follows from the frames that it has sent and received. At the client's link these are
    the frames captured so far; at a server they are so unless a frame is on the way.
    """

    def __init__(self, hosts: Sequence[Host]) -> None:
        self._namespaces: dict[str, int] = {host.role: host.namespace for host in hosts}
        self._netlink = _open_netlink(self._namespaces)
        self._watched: dict[frozenset[tuple[bytes, bytes]], _Watched] = {}
        self._stale: dict[_Watched, None] = {}  # in order
        self._answers: list[tuple[_Watched, int, Seen]] = []

    def sent(self, frame: bytes, source: str, target: str) -> None:
        """`frame` goes from the host `source` to `target`: a SYN makes a connection known, anything may change it."""
        header = _header(frame)
        if header is None:
            return
        watched = self._watched.get(header.ends)
        if watched is None:
            if header.flags & (SYN | ACK) != SYN or len(self._watched) >= MOST_CONNECTIONS:
                return
            watched = self._watched[header.ends] = _watch(header, (source, target))
        self._has_moved(watched)

    def arrived(self, frame: bytes) -> None:
        """`frame` has been delivered."""
        header = _header(frame)
        watched = None if header is None else self._watched.get(header.ends)
        if watched is not None:
            self._has_moved(watched)

    def _has_moved(self, watched: _Watched) -> None:
        watched.stale[:] = True, True
        self._stale[watched] = None

    def lost(self, frame: bytes, source: str, captured: int | None, frame_count: int) -> None:
        """What `source` sent won't arrive, or damaged. `captured`: its number in the capture, if it is there."""
        header = _header(frame)
        watched = None if header is None else self._watched.get(header.ends)
        if header is not None and watched is not None and len(watched.lost) < MOST_LOST:
            sender = ENDS[watched.hosts.index(source)]
            watched.lost.append((captured, frame_count, sender, header.flags))

    def ask(self, captured: int, arrived: int | None, *, all_of_them: bool = False) -> None:
        """Ask about what has moved since the last look; `keep` keeps the answers, unless something moved meanwhile.

        The client has sent and received the `captured` frames of the capture, exactly. The servers have those up to
        number `arrived`; None: they are ahead of the capture, or no such number exists.
        """
        self._answers.clear()
        known = (captured, arrived)
        for watched in tuple(self._watched.values()) if all_of_them else tuple(self._stale):
            for end in (0, 1):
                frame_count = known[end]
                if self._netlink and frame_count is not None and (watched.stale[end] or all_of_them):
                    state = ask_state(self._netlink[watched.hosts[end]], watched.requests[end])
                    self._answers.append((watched, end, Seen(frame_count, state)))

    def keep(self) -> None:
        """Keep what the kernels have answered."""
        for watched, end, seen in self._answers:
            watched.stale[end] = False
            if not any(watched.stale):
                self._stale.pop(watched, None)
            _add(watched.seen[end], seen)
        self._answers.clear()

    def facts(self, captured: int, arrived: int | None) -> dict[str, Any]:
        """For `run.json`: what was seen of each connection, with a last look at all of them."""
        if self._netlink:
            self.ask(captured, arrived, all_of_them=True)
            self.keep()
        elif arrived == captured:
            self._read_tables(captured)
        return {
            "sockets": [
                describe(one.connection, dict(zip(ENDS, one.seen, strict=True)), one.lost)
                for one in self._watched.values()
            ]
        }

    def all_ended(self) -> bool:
        """Whether every connection has come to its end on both sides, of which a capture may know less.

        A side that waits for an ACK, a FIN or its application has not; one in TIME-WAIT only waits.
        """
        tables = {} if self._netlink else self._tables()
        return all(self._state(one, end, tables) in ENDED for one in self._watched.values() for end in range(len(ENDS)))

    def _state(self, watched: _Watched, end: int, tables: Mapping[str, Table]) -> str:
        role = watched.hosts[end]
        if self._netlink:
            return ask_state(self._netlink[role], watched.requests[end])
        own, peer = watched.connection[:: 1 if end == 0 else -1]
        return state_in(tables[role], own, peer)

    def close(self) -> None:
        """Close the netlink sockets."""
        for one in self._netlink.values():
            one.close()

    def _read_tables(self, frame_count: int) -> None:
        """Where the kernel has no sock_diag: one look at the end, in the tables that every kernel has."""
        tables = self._tables()
        for one in self._watched.values():
            for end in range(len(ENDS)):
                _add(one.seen[end], Seen(frame_count, self._state(one, end, tables)))

    def _tables(self) -> dict[str, Table]:
        """Each host's table of sockets, as far as a connection leads there."""
        tables: dict[str, Table] = {}
        for role in {role for one in self._watched.values() for role in one.hosts}:
            kernel.setns(self._namespaces[role], kernel.CLONE_NEWNET)
            paths = (Path("/proc/net/tcp"), Path("/proc/net/tcp6"))
            tables[role] = parse_table("".join(path.read_text() for path in paths if path.exists()))
        return tables


def _add(seen: list[Seen], now: Seen) -> None:
    """Of looks that found the same state keep the first and the last: a connection never returns to a state."""
    if len(seen) > 1 and seen[-2].state == seen[-1].state == now.state:
        seen.pop()
    if now not in seen[-1:]:
        seen.append(now)


def _watch(header: _Header, hosts: tuple[str, str]) -> _Watched:
    ends = [(str(ip_address(address)), int.from_bytes(port)) for address, port in (header.source, header.target)]
    requests = (exact_request(header.source, header.target), exact_request(header.target, header.source))
    return _Watched(Connection(*ends), hosts, requests)


def _header(frame: bytes) -> _Header | None:
    """The TCP header in an Ethernet frame; None where there is none: other protocols, extension headers, fragments."""
    kind = frame[12:14]
    if kind == IPV4 and frame[23] == socket.IPPROTO_TCP:
        ends, start = (frame[26:30], frame[30:34]), 14 + (frame[14] & 15) * 4
    elif kind == IPV6 and frame[20] == socket.IPPROTO_TCP:
        ends, start = (frame[22:38], frame[38:54]), 54
    else:
        return None
    if len(frame) < start + 14:
        return None
    return _Header((ends[0], frame[start : start + 2]), (ends[1], frame[start + 2 : start + 4]), frame[start + 13])


def exact_request(own: tuple[bytes, bytes], peer: tuple[bytes, bytes]) -> bytes:
    """The request for exactly one socket (`struct inet_diag_req_v2`); ends are (address, port) in network order."""
    family = socket.AF_INET if len(own[0]) == 4 else socket.AF_INET6
    ids = own[1] + peer[1] + own[0].ljust(16, b"\0") + peer[0].ljust(16, b"\0") + bytes(4) + NO_COOKIE
    body = struct.pack("=BBxxI", family, socket.IPPROTO_TCP, ALL_STATES) + ids
    return struct.pack("=IHHII", 16 + len(body), SOCK_DIAG_BY_FAMILY, NLM_F_REQUEST, 0, 0) + body


def ask_state(netlink: socket.socket, request: bytes) -> str:
    """The state of one socket: of its listener's, if there is none. The kernel answers within `send`. `OSError`."""
    netlink.send(request)
    reply = netlink.recv(4096, socket.MSG_DONTWAIT)
    if reply[4] == NLMSG_ERROR:
        code = -int(struct.unpack_from("=i", reply, 16)[0])
        if code != errno.ENOENT:
            raise OSError(code, os.strerror(code), "sock_diag")
        return "CLOSED"
    return STATES[reply[17]]


def _open_netlink(namespaces: Mapping[str, int]) -> dict[str, socket.socket]:
    """A netlink socket in each namespace; none if this kernel has no sock_diag, or doesn't let us."""
    opened: dict[str, socket.socket] = {}
    works = False
    with suppress(OSError):
        for role, namespace in namespaces.items():
            kernel.setns(namespace, kernel.CLONE_NEWNET)
            kind = socket.SOCK_RAW | socket.SOCK_CLOEXEC
            opened[role] = socket.socket(socket.AF_NETLINK, kind, NETLINK_SOCK_DIAG)
            works = _answers(opened[role])
    if works:
        return opened
    for one in opened.values():
        one.close()
    return {}


def _answers(netlink: socket.socket) -> bool:
    """Whether a socket that is there is found: a kernel without the module says ENOENT of every one."""
    with socket.socket() as listener:
        listener.bind(("", 0))
        listener.listen()
        own = (bytes(4), listener.getsockname()[1].to_bytes(2))
        return ask_state(netlink, exact_request(own, (bytes(4), bytes(2)))) == "LISTEN"
