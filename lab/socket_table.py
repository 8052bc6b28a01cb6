"""A kernel's table of TCP sockets, as /proc/net/tcp and tcp6 print it (proc_net_tcp.rst)."""

import sys
from collections.abc import Iterable, Mapping, Sequence
from ipaddress import IPv6Address, ip_address
from typing import Any, NamedTuple

# include/net/tcp_states.h; RFC 9293 §3.3.2. The last is NEW_SYN_RECV.
STATES = (
    "CLOSED",
    "ESTABLISHED",
    "SYN-SENT",
    "SYN-RECEIVED",
    "FIN-WAIT-1",
    "FIN-WAIT-2",
    "TIME-WAIT",
    "CLOSED",
    "CLOSE-WAIT",
    "LAST-ACK",
    "LISTEN",
    "CLOSING",
    "SYN-RECEIVED",
)
Address = tuple[str, int]
Table = Mapping[tuple[Address, Address], str]  # (own, peer) → state


class Connection(NamedTuple):
    """The ends of a connection, the client's first."""

    client: Address
    server: Address


class Seen(NamedTuple):
    """A state, and how many frames of the capture had passed the host when it was seen."""

    frame_count: int
    state: str


def describe(
    connection: Connection, looks: Mapping[str, Iterable[Seen]], lost: Iterable[Sequence[Any]] = ()
) -> dict[str, Any]:
    """What was seen of one connection, by end, as an entry of the facts `sockets` (`analysis.testimony` reads it)."""
    seen = {role: [list(one) for one in ones] for role, ones in looks.items()}
    return {**connection._asdict(), "looks": seen, "lost": [list(one) for one in lost]}


def parse_table(text: str) -> dict[tuple[Address, Address], str]:
    """The sockets of a table: (own address and port, the peer's) → state. Lines that are no sockets are left out."""
    table: dict[tuple[Address, Address], str] = {}
    for line in text.splitlines():
        words = line.split()
        if len(words) > 3 and words[0].endswith(":"):
            state = int(words[3], 16)
            table[_address(words[1]), _address(words[2])] = STATES[state] if state < len(STATES) else "CLOSED"
    return table


def state_in(table: Table, own: Address, peer: Address) -> str:
    """The state of one 4-tuple: its socket's; without one LISTEN, if a socket listens for it, else CLOSED."""
    if (own, peer) in table:
        return table[own, peer]
    listens = any(
        state == "LISTEN" and address[1] == own[1] and address[0] in (own[0], "0.0.0.0", "::")  # noqa: S104
        for (address, _), state in table.items()
    )
    return "LISTEN" if listens else "CLOSED"


def _address(text: str) -> Address:
    """`0100007F:0050`: 32-bit words in this machine's byte order, then the port."""
    words, _, port = text.partition(":")
    raw = b"".join(int(words[at : at + 8], 16).to_bytes(4, sys.byteorder) for at in range(0, len(words), 8))
    address = ip_address(raw)
    if isinstance(address, IPv6Address) and address.ipv4_mapped:
        address = address.ipv4_mapped
    return str(address), int(port, 16)
