"""The scenario as values: names and addresses, how hosts behave, the client's commands, the wire and its faults."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv6Address
from typing import Literal
from urllib.parse import unquote

from analysis.expect.pattern import Expectation

Address = IPv4Address | IPv6Address
Role = Literal["client", "resolver", "server"]
ROLES: tuple[Role, ...] = ("client", "resolver", "server")
CLIENT_ADDRESS, RESOLVER_ADDRESS = IPv4Address("192.0.2.10"), IPv4Address("192.0.2.53")
CLIENT_ADDRESS_6 = IPv6Address("2001:db8::10")
TTL_S = 60
MTU = 1500
SETTLE_S = 5.0
CROSSINGS = 8  # of the wire that an end of a connection may take, one after the other


@dataclass(frozen=True, slots=True)
class Answer:
    """What the resolver says to one query: addresses, an alias or an rcode; or nothing at all if it is `silent`.

    A `truncated` one is empty over UDP and has the TC bit (RFC 2181 §9); over TCP it is whole.
    """

    addresses: tuple[Address, ...] = ()
    cname: str | None = None
    rcode: str | None = None
    silent: bool = False
    truncated: bool = False
    delay_s: float = 0.0
    ttl_s: int = TTL_S


@dataclass(frozen=True, slots=True)
class Name:
    """What the resolver knows of a name: the n-th query of a type gets the n-th turn, later ones the last."""

    turns: tuple[Answer, ...] = (Answer(),)

    def turn(self, number: int) -> Answer:
        """The answer to the query `number`, from 0."""
        return self.turns[min(number, len(self.turns) - 1)]

    @property
    def addresses(self) -> tuple[Address, ...]:
        """The addresses of all turns, each once."""
        return tuple(dict.fromkeys(address for turn in self.turns for address in turn.addresses))


@dataclass(frozen=True, slots=True)
class Response:
    """What the HTTP server answers, and how slowly.

    It thinks for `think_s` before it sends anything; the body goes out in `pieces`, with `pause_s` before each but the
    first.
    """

    status: int = 200
    reason: str = "OK"
    headers: tuple[tuple[str, str], ...] = ()
    body: bytes = b""
    think_s: float = 0.0
    pieces: int = 1
    pause_s: float = 0.0


@dataclass(frozen=True, slots=True)
class Route:
    """What a host's route says to its TCP: acknowledge without delay; least retransmission timeout (None: its own)."""

    quickack: bool = False
    rto_min_s: float | None = None


@dataclass(frozen=True, slots=True)
class Server:
    """How the HTTP server answers and who closes first.

    If it is the server (`close` is "server" or "reset"), then after `requests` of them. `close_after_s` is counted from
    its response, or from the client's close where that comes first; None: once the response is acknowledged, or at
    once. `content_length` is whether the last response says how long it is; else its end is the close (RFC 9112 §6.3).
    """

    port: int = 80
    response: Response = Response()
    paths: Mapping[str, Response] = field(default_factory=dict)
    close: str = "client"
    close_after_s: float | None = None
    requests: int = 1
    content_length: bool | None = None
    route: Route = Route()

    def answer(self, target: str) -> Response:
        """The response to a request for `target`: its path's own, or the one for all others."""
        return self.paths.get(unquote(target.partition("?")[0]), self.response)


@dataclass(frozen=True, slots=True)
class Client:
    """The client's commands, one after the other: `curl` arguments; local port (None: the kernel's choice).

    `deadline_s` is for all of them; `resolver_options` are those of resolv.conf(5).
    """

    commands: tuple[tuple[str, ...], ...]
    port: int | None = None
    deadline_s: float = 10.0
    resolver_options: tuple[str, ...] = ()
    route: Route = Route()


@dataclass(frozen=True, slots=True)
class Addresses:
    """Each host's addresses, its IPv4 address first. Without IPv6 hosts have IPv4 addresses alone."""

    client: tuple[Address, ...] = (CLIENT_ADDRESS,)
    resolver: tuple[Address, ...] = (RESOLVER_ADDRESS,)
    server: tuple[Address, ...] = ()

    def of(self, role: Role) -> tuple[Address, ...]:
        return {"client": self.client, "resolver": self.resolver, "server": self.server}[role]


@dataclass(frozen=True, slots=True)
class Leg:
    """The wire, or the part of it that leads to one host: seconds one way, bits per second each way, MTU in bytes."""

    delay_s: float = 0.0
    bandwidth: float | None = None
    mtu: int | None = None


@dataclass(frozen=True, slots=True)
class Selection:
    """Frames, chosen by sender, kind and which of those: the `first` to the `last` of them (None: to the end)."""

    text: str
    sender: Role
    kind: str
    first: int = 1
    last: int | None = None

    def includes(self, number: int) -> bool:
        """Whether the sender's frame of that kind, counted from 1, is chosen."""
        return number >= self.first and (self.last is None or number <= self.last)

    def overlaps(self, other: "Selection") -> bool:
        """Whether some frame is chosen by both, as far as their words tell."""
        if (self.sender, self.kind) != (other.sender, other.kind):
            return False
        return (self.last or other.first) >= other.first and (other.last or self.first) >= self.first


Action = Literal["drop", "delay", "duplicate", "reorder", "corrupt"]


@dataclass(frozen=True, slots=True)
class Fault:
    """One instruction to the wire. `delay_s` is a delay's; `byte` a corruption's: an offset into the Ethernet frame,

    from its end where negative. With `chance` < 1 only that part of the chosen frames is hit, by the
    dice of `seed`.
    """

    action: Action
    frames: Selection
    delay_s: float = 0.0
    byte: int = -1
    chance: float = 1.0
    seed: int = 0

    @property
    def text(self) -> str:
        """As the scenario has it."""
        return f"{self.action} {self.frames.text}"


@dataclass(frozen=True, slots=True)
class WirePlan:
    """What joins the hosts: the whole of it, what single legs add, the faults, and the order of deliveries."""

    whole: Leg = Leg()
    legs: Mapping[Role, Leg] = field(default_factory=dict)
    faults: tuple[Fault, ...] = ()
    order: Literal["lock-step", "free"] = "lock-step"

    def leg(self, role: Role) -> Leg:
        return self.legs.get(role, Leg())

    @property
    def may_lose(self) -> bool:
        """Whether a frame may be lost: by a fault, or as too large for a leg."""
        legs = (self.whole, *self.legs.values())
        return bool(self.faults) or any(leg.mtu is not None for leg in legs)

    @property
    def waits_s(self) -> float:
        """How long its delays make a few frames wait that are sent one after the other."""
        legs = sum(leg.delay_s for leg in self.legs.values())
        return CROSSINGS * (self.whole.delay_s + legs) + sum(fault.delay_s for fault in self.faults)

    def mtu(self, role: Role) -> int:
        """The MTU of the host's link, in bytes."""
        return self.leg(role).mtu or self.whole.mtu or MTU


@dataclass(frozen=True, slots=True)
class Scenario:
    """A checked scenario. `source` is the file's text; `takes_s` about how long a run takes.

    `inexact_because` says why runs may differ in their exact sequence; None where they don't. `expected_shape` is the
    measure where exact numbers aren't promised; None where nothing is expected, or no shape follows. `host` is the one
    whose story is judged; `closes` whether every connection comes to its end.
    """

    name: str
    path: str
    source: str
    title: str
    look_for: str
    takes_s: float | None
    inexact_because: str | None
    ipv6: bool
    addresses: Addresses
    names: Mapping[str, Name]
    server: Server
    client: Client
    wire: WirePlan
    expected: Expectation | None
    expected_shape: Expectation | None
    host: str | None
    closes: bool

    @property
    def settle_s(self) -> float:
        """How long it may take until all connections have ended once the client has: what is to be waited for, and 5 s.

        A FIN's loss is noticed after the least timeout, twice that if its second is lost, too.
        """
        timeouts = (self.server.route.rto_min_s, self.client.route.rto_min_s)
        waits_s = self.wire.waits_s + (self.server.close_after_s or 0.0)
        return SETTLE_S + waits_s + 3 * sum(one or 0.0 for one in timeouts)

    @property
    def sha256(self) -> str:
        """Of the source, in hex."""
        return hashlib.sha256(self.source.encode()).hexdigest()
