"""A synthetic capture for benchmarks: thousands of fetches, as a tap beside the clients would see them.

Fetches are made by little programs (generators) that send a frame and say how many µs they wait before the next one.
A heap resumes the one whose time has come: the frames of fifty fetches mix, and only those fifty are in memory.
"""

import heapq
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from random import Random
from struct import Struct
from typing import BinaryIO, NamedTuple

START_US = 1_700_000_000_000_000  # after the epoch
AT_ONCE, SITES = 50, 3000
TCP, UDP, DNS_PORT, HTTP_PORT = 6, 17, 53, 80
FIN, SYN, RST, PSH, ACK = 0x01, 0x02, 0x04, 0x08, 0x10
A, SOA, AAAA, OPT = 1, 6, 28, 41
QUERY, NOERROR, NXDOMAIN = 0x0100, 0x8180, 0x8183
FIRST_PORT, PORTS = 32768, 28232
RTO_US, MODULO = 200_000, 2**32
GATEWAY = bytes.fromhex("020000000001")
CLIENT_NET, RESOLVER_NET = 0x0A000100, 0x0A000000  # 10.0.1.0 and 10.0.0.0
SERVER_NETS = (0xC6336400, 0xCB007100, 0xC0000200)  # 198.51.100.0, 203.0.113.0, 192.0.2.0
ZONE = "example.net"
LABELS = ("", ".www", ".cdn.eu", ".static.assets", ".api.europe-west", ".a.very.deep.tree")
PATHS = ("/", "/index.html", "/v1/status", "/images/logo.bin", "/search?q=seq")

FILE_HEADER = Struct("<IHHiIII").pack(0xA1B2C3D4, 2, 4, 0, 0, 262144, 1)
RECORD, IP_HEADER = Struct("<IIII"), Struct(">HHHHHHII")
TCP_HEADER, UDP_HEADER = Struct(">HHIIHHHH"), Struct(">HHHH")
SYN_OPTIONS, TIMESTAMPS = Struct(">HHHHIIBBBB"), Struct(">III")
RESOURCE = Struct(">HHIH")  # a DNS record, between its name and its data


class Step(NamedTuple):
    """One segment of a connection, of `side` 0 (the client) or 1 (the server); PSH: with that side's data."""

    side: int
    flags: int
    kind: str = ""  # `again`: retransmitted; `crosses` and is `crossed`: two FINs under way at once; `refuses`


FETCH = tuple(map(Step, (0, 1, 0, 0, 1, 1, 0), (SYN, SYN | ACK, ACK, PSH | ACK, ACK, PSH | ACK, ACK)))
WITH_DATA = [number for number, step in enumerate(FETCH) if step.flags & PSH]
REFUSED = (Step(0, SYN), Step(1, RST | ACK, "refuses"))
CLOSES = (  # how many in a hundred, and how
    (80, (Step(0, FIN | ACK), Step(1, FIN | ACK), Step(0, ACK))),
    (10, (Step(1, FIN | ACK), Step(0, FIN | ACK), Step(1, ACK))),
    (5, (Step(0, FIN | ACK), Step(1, ACK), Step(1, FIN | ACK), Step(0, ACK))),
    (3, (Step(1, RST | ACK),)),
    (2, (Step(0, FIN | ACK, "crosses"), Step(1, FIN | ACK, "crossed"), Step(0, ACK), Step(1, ACK))),
)
FETCHES = [FETCH + close for share, close in CLOSES for _ in range(share)]


@dataclass(slots=True)
class Host:
    """A host, its counters included; a server's MAC is the gateway's. `rtt_us`: from the tap there and back."""

    address: int
    mac: bytes
    ttl: int
    ip_id: int
    port: int = 0
    rtt_us: int = 0

    def next_port(self) -> int:
        self.port += 1
        return FIRST_PORT + self.port % PORTS


class Site(NamedTuple):
    """A host name: its DNS messages by type (A, AAAA) without their ids, its request, and the server if it exists."""

    queries: tuple[bytes, bytes]
    responses: tuple[bytes, bytes]
    request: bytes
    server: Host | None


class Network(NamedTuple):
    """Everybody who takes part."""

    clients: list[Host]
    resolvers: list[Host]
    sites: list[Site]


@dataclass(slots=True)
class Wire:
    """Where frames are written; `now_us` is set by the one who runs the fetches."""

    file: BinaryIO
    now_us: int
    frames: int = 0

    def send(self, source: Host, target: Host, protocol: int, segment: bytes) -> None:
        """Write one frame around `segment`, a TCP segment or UDP datagram whose checksum is still 0."""
        length, at = len(segment), 16 if protocol == TCP else 6
        source.ip_id = (source.ip_id + 1) & 0xFFFF
        addresses = source.address + target.address
        # 2^16 = 1 (mod 65535): whole numbers may be added for their 16-bit words, see `ones_complement_sum`
        total = addresses + protocol + length + (int.from_bytes(segment) << 8 * (length % 2))
        checksum = -total % 0xFFFF or (0xFFFF if protocol == UDP else 0)
        words = (0x4500, 20 + length, source.ip_id, 0x4000, source.ttl << 8 | protocol)
        header = IP_HEADER.pack(*words, -(sum(words) + addresses) % 0xFFFF, source.address, target.address)
        ethernet = target.mac + source.mac + b"\x08\0"
        frame = (ethernet + header + segment[:at] + checksum.to_bytes(2) + segment[at + 2 :]).ljust(60, b"\0")
        seconds, micros = divmod(self.now_us, 1_000_000)
        self.file.write(RECORD.pack(seconds, micros, len(frame), len(frame)) + frame)
        self.frames += 1


@dataclass(slots=True)
class End:
    """One side of a connection: `seq` it sends next, `received` it expects next, `held` bytes it hasn't read yet."""

    host: Host
    port: int
    seq: int
    clock: int  # its timestamps, in ms, less the time of day
    buffer: int
    data: bytes
    scale: int = 7
    received: int = 0
    echo: int = 0
    held: int = 0


def write_fetches(path: Path, fetches: int, seed: int = 1) -> int:
    """Write `fetches` fetches, about 14 frames each, as a pcap (µs, Ethernet, IPv4); the number of frames."""
    rng = Random(seed)  # noqa: S311 - traffic that can be made again, no secret
    network = make_network(rng)
    with path.open("wb", buffering=1 << 20) as file:
        file.write(FILE_HEADER)
        wire = Wire(file, START_US)
        left = iter(range(fetches))
        running = [(START_US + 2000 * one, one, _fetches(wire, network, left, rng)) for one in range(AT_ONCE)]
        while running:
            due_us, number, actor = running[0]
            wire.now_us = max(due_us, wire.now_us + 1)
            wait_us = next(actor, None)
            if wait_us is None:
                heapq.heappop(running)
            else:
                heapq.heapreplace(running, (wire.now_us + wait_us, number, actor))
    return wire.frames


def _fetches(wire: Wire, network: Network, left: Iterator[int], rng: Random) -> Iterator[int]:
    """Fetch after fetch, while there are some `left`: send a frame when resumed, yield how many µs to wait."""
    for _ in left:
        site, client = rng.choice(network.sites), rng.choice(network.clients)
        yield from _lookups(wire, site, client, rng.choice(network.resolvers), rng)
        if site.server is not None:
            yield from _connection(wire, site.request, client, site.server, rng)
        yield _about(rng, 1000)


def _lookups(wire: Wire, site: Site, client: Host, resolver: Host, rng: Random) -> Iterator[int]:
    """A and AAAA, asked at once, from one port (as glibc does) or two; answered in either order."""
    port, first = client.next_port(), rng.getrandbits(16)
    ports = (port, port if rng.random() < 0.5 else client.next_port())
    ids = tuple(number.to_bytes(2) for number in (first, (first + 1 + rng.getrandbits(15)) & 0xFFFF))
    for one in (0, 1):
        query = ids[one] + site.queries[one]
        wire.send(client, resolver, UDP, UDP_HEADER.pack(ports[one], DNS_PORT, 8 + len(query), 0) + query)
        yield _about(rng, 30)
    order = (0, 1) if rng.random() < 0.7 else (1, 0)
    for one in order:
        yield _about(rng, resolver.rtt_us if one == order[0] else 400)
        response = ids[one] + site.responses[one]
        wire.send(resolver, client, UDP, UDP_HEADER.pack(DNS_PORT, ports[one], 8 + len(response), 0) + response)


def _connection(wire: Wire, request: bytes, client: Host, server: Host, rng: Random) -> Iterator[int]:
    """SYN to the last ACK, or to a reset."""
    ends = (
        End(client, client.next_port(), _initial_number(rng), rng.getrandbits(32), 64240, request),
        End(server, HTTP_PORT, _initial_number(rng), rng.getrandbits(32), 65160, _response(rng)),
    )
    before = 0
    for step in _script(rng):
        yield _wait_us(step, before, server.rtt_us, rng)
        before = step.side
        send_segment(wire, step, ends[step.side], ends[1 - step.side])


def _script(rng: Random) -> tuple[Step, ...]:
    """The segments of a connection: one in a hundred refused, one in a hundred with data sent twice."""
    fate = rng.random()
    if fate < 0.01:
        return REFUSED
    steps = rng.choice(FETCHES)
    if fate < 0.02:
        at = rng.choice(WITH_DATA)
        return (*steps[: at + 1], steps[at]._replace(kind="again"), *steps[at + 1 :])
    return steps


def _wait_us(step: Step, before: int, rtt_us: int, rng: Random) -> int:
    """How long after a segment of side `before` this one passes the tap: the clients are near, the servers far."""
    if step.kind == "again":
        return RTO_US + _about(rng, rtt_us)
    if step.kind == "crossed":
        return _about(rng, rtt_us >> 2)
    if step.side == 0:
        return _about(rng, 100)
    return _about(rng, 700) if before == 1 else rtt_us + _about(rng, rtt_us >> 4)


def send_segment(wire: Wire, step: Step, me: End, peer: End) -> None:
    """Send what `step` says, and let `peer` receive it."""
    ports = (me.port, peer.port)
    if step.kind == "refuses":
        wire.send(me.host, peer.host, TCP, TCP_HEADER.pack(*ports, 0, me.received, 5 << 12 | step.flags, 0, 0, 0))
        return
    data = me.data if step.flags & PSH else b""
    seq = (me.seq - len(data)) % MODULO if step.kind == "again" else me.seq
    ack = me.received if step.flags & ACK else 0
    stamp = (wire.now_us // 1000 + me.clock) % MODULO
    options = TIMESTAMPS.pack(0x0101080A, stamp, me.echo)
    if step.flags & SYN:
        options = SYN_OPTIONS.pack(0x0204, 1460, 0x0402, 0x080A, stamp, me.echo, 1, 3, 3, me.scale)
    window = me.buffer if step.flags & SYN else (me.buffer - me.held) >> me.scale
    header = TCP_HEADER.pack(*ports, seq, ack, (20 + len(options)) << 10 | step.flags, window, 0, 0)
    wire.send(me.host, peer.host, TCP, header + options + data)
    me.held >>= 1  # the application reads
    me.seq = (seq + len(data) + bool(step.flags & (SYN | FIN))) % MODULO
    if step.kind != "crosses":
        peer.received, peer.echo, peer.held = me.seq, stamp, max(peer.held, len(data))


def _response(rng: Random) -> bytes:
    """A response of 0 to 1200 bytes of body, in one segment."""
    size = int(rng.random() * 1201)
    kind = b"application/octet-stream"
    return b"HTTP/1.1 200 OK\r\nContent-Type: %b\r\nContent-Length: %d\r\n\r\n" % (kind, size) + rng.randbytes(size)


def _initial_number(rng: Random) -> int:
    """32 random bits; one in a hundred so high that the connection passes 2^32."""
    return MODULO - 1 - int(rng.random() * 80) if rng.random() < 0.01 else rng.getrandbits(32)


def _about(rng: Random, middle: int) -> int:
    """Half to one and a half times `middle`, and 1 at least."""
    return 1 + int(middle * (0.5 + rng.random()))


def make_network(rng: Random) -> Network:
    """The clients (10.0.x.y), two resolvers, and the sites on several hundred servers (documentation addresses)."""
    clients = [_host(CLIENT_NET + one, b"\2\0\0\1" + one.to_bytes(2), rng) for one in range(1, 301)]
    resolvers = [_host(RESOLVER_NET + last, GATEWAY, rng, rtt_us=4000 * (last - 52)) for last in (53, 54)]
    servers = [
        _host(net + last, GATEWAY, rng, hops=rng.randrange(5, 20), rtt_us=int(3000 * 25 ** rng.random()))
        for net in SERVER_NETS
        for last in range(1, 255)
    ]
    sites = [_site(one, None if one % 100 == 99 else rng.choice(servers), rng) for one in range(SITES)]
    return Network(clients, resolvers, sites)


def _host(address: int, mac: bytes, rng: Random, hops: int = 0, rtt_us: int = 0) -> Host:
    return Host(address, mac, 64 - hops, rng.getrandbits(16), rng.randrange(PORTS), rtt_us)


def _site(number: int, server: Host | None, rng: Random) -> Site:
    """One name: NXDOMAIN without a server; half of the others without an IPv6 address; a third with EDNS."""
    name = f"h{number:04}{rng.choice(LABELS)}.{ZONE}"
    request = f"GET {rng.choice(PATHS)} HTTP/1.1\r\nHost: {name}\r\nUser-Agent: curl/8.5.0\r\nAccept: */*\r\n\r\n"
    edns = rng.random() < 0.33
    v4 = b"" if server is None else server.address.to_bytes(4)
    v6 = b"" if server is None or rng.random() < 0.5 else bytes.fromhex("20010db8") + rng.randbytes(12)
    code = NXDOMAIN if server is None else NOERROR
    queries = (dns_message(name, A, QUERY, edns=edns), dns_message(name, AAAA, QUERY, edns=edns))
    responses = (dns_message(name, A, code, v4, edns=edns), dns_message(name, AAAA, code, v6, edns=edns))
    return Site(queries, responses, request.encode(), server)


def dns_message(name: str, kind: int, flags: int, address: bytes = b"", *, edns: bool) -> bytes:
    """A DNS message without its id: a query, an answer of one address, or none and the zone's SOA."""
    question = _encoded(name) + b"\0" + kind.to_bytes(2) + b"\0\1"
    records, counts = b"", (0, 0)
    if address:
        records, counts = b"\xc0\x0c" + RESOURCE.pack(kind, 1, 300, len(address)) + address, (1, 0)
    elif flags != QUERY:
        zone = (0xC000 | 12 + len(_encoded(name)) - len(_encoded(ZONE))).to_bytes(2)
        data = b"\3ns1" + zone + b"\x0ahostmaster" + zone + Struct(">5I").pack(2026, 7200, 900, 1209600, 300)
        records, counts = zone + RESOURCE.pack(SOA, 1, 300, len(data)) + data, (0, 1)
    extra = b"\0" + RESOURCE.pack(OPT, 1232, 0, 0) if edns else b""
    return Struct(">5H").pack(flags, 1, *counts, int(edns)) + question + records + extra


def _encoded(name: str) -> bytes:
    """A name's labels, each behind its length, without the root's."""
    return b"".join(len(label).to_bytes(1) + label.encode() for label in name.split("."))
