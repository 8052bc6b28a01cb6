"""The lab's own network: a subnet that nothing on this machine uses, and who has which address in it."""

import socket
import struct
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network
from pathlib import Path

from lab.errors import BackendError
from lab.scenario.model import CLIENT_ADDRESS, RESOLVER_ADDRESS, Scenario

RANGES = (  # documentation (RFC 5737) and benchmarks (RFC 2544, RFC 6890)
    IPv4Network("192.0.2.0/24"),
    IPv4Network("198.51.100.0/24"),
    IPv4Network("203.0.113.0/24"),
    IPv4Network("198.18.0.0/15"),
)
GATEWAY, FIRST_SERVER, LAST_HOST = 254, 80, 253  # last bytes of addresses
DEFAULT_LIKE = 8  # a route with a shorter prefix is a VPN's way to say "all": the lab's own is more specific


@dataclass(frozen=True, slots=True)
class Addresses:
    """Who has which address. `server` maps every address of the scenario's to the one that stands for it here."""

    subnet: IPv4Network
    client: IPv4Address
    resolver: IPv4Address
    gateway: IPv4Address
    server: dict[IPv4Address, IPv4Address]

    @property
    def of_server(self) -> tuple[IPv4Address, ...]:
        """The server's addresses, in the scenario's order."""
        return tuple(self.server.values())


def capacity() -> int:
    """How many addresses the server can have: all hosts of a /24 but client, resolver and gateway."""
    return LAST_HOST - 2


def place(scenario: Scenario, subnet: IPv4Network) -> Addresses:
    """Give every address of `scenario` one in `subnet`, with the same last byte where that is free."""
    client, resolver = (subnet[int(address) & 0xFF] for address in (CLIENT_ADDRESS, RESOLVER_ADDRESS))
    free = {subnet[number] for number in range(1, LAST_HOST + 1)} - {client, resolver}
    wanted = [address for address in scenario.addresses.server if isinstance(address, IPv4Address)]
    server: dict[IPv4Address, IPv4Address] = {}
    for address in wanted:
        alike = subnet[int(address) & 0xFF]
        chosen = alike if alike in free else min(free, key=lambda one: (one < subnet[FIRST_SERVER], one))
        free.remove(chosen)
        server[address] = chosen
    return Addresses(subnet, client, resolver, subnet[GATEWAY], server)


@dataclass(frozen=True, slots=True)
class Blocker:
    """A network that something on this machine uses already, and what that is."""

    network: IPv4Network
    owner: str


class SubnetLock:
    """Keeps a subnet from the other labs of this machine, until it is closed or its process ends, however it ends.

    An abstract Unix socket (unix(7)): a name that the kernel forgets with its owner. Systems without such names have
    the engine's own refusal of overlapping pools, after which another subnet is tried.
    """

    def __init__(self, subnet: IPv4Network) -> None:
        """`OSError` if another lab has it."""
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | getattr(socket, "SOCK_CLOEXEC", 0))
        if Path("/proc/net/unix").exists():
            try:
                self._socket.bind(f"\0handshake-lab/{subnet}")
            except OSError:
                self._socket.close()
                raise

    def close(self) -> None:
        """Give the subnet back."""
        self._socket.close()


def take_subnet(engines: Iterable[Blocker], refused: Iterable[IPv4Network]) -> tuple[IPv4Network, SubnetLock]:
    """The first subnet that neither a network of the engine's, a route of this machine's nor another lab uses.

    `BackendError` names the blockers if there is none.
    """
    blockers = [*engines, *routes(), *(Blocker(network, "the engine refused it") for network in refused)]
    for subnet in candidates():
        if any(subnet.overlaps(blocker.network) for blocker in blockers):
            continue
        try:
            return subnet, SubnetLock(subnet)
        except OSError:
            continue
    ours = [blocker for blocker in blockers if any(blocker.network.overlaps(network) for network in RANGES)]
    named = "; ".join(f"{blocker.network}: {blocker.owner}" for blocker in ours[:4]) + ("; …" if len(ours) > 4 else "")
    raise BackendError(
        f"no subnet is free for the lab ({named or 'other labs have them all'})",
        "remove a network that isn't needed (docker network rm NAME), or use --backend netns",
    )


def candidates() -> Iterator[IPv4Network]:
    """Subnets the lab may take, the scenarios' own first."""
    for network in RANGES:
        yield from network.subnets(new_prefix=24)


def routes(table: Path = Path("/proc/net/route")) -> Iterator[Blocker]:
    """Networks to which this machine has a route of its own, a VPN's too; none where the table can't be read."""
    try:
        lines = table.read_text().splitlines()[1:]
    except OSError:
        return
    for line in lines:
        device, destination, _, _, _, _, _, mask = line.split()[:8]
        network, prefix = (struct.pack("=I", int(word, 16)) for word in (destination, mask))
        length = int.from_bytes(prefix).bit_count()
        if length >= DEFAULT_LIKE:
            yield Blocker(IPv4Network((network, length)), f"a route through {device}")
