"""A fetch of twenty frames as one student would hand it in, made and not captured: for benchmarks and for damage."""

from io import BytesIO
from ipaddress import IPv4Address
from random import Random

from grading.exercise.individual import Individual
from lab.fetches import (
    AAAA,
    ACK,
    DNS_PORT,
    FILE_HEADER,
    FIN,
    GATEWAY,
    HTTP_PORT,
    NOERROR,
    PSH,
    QUERY,
    START_US,
    SYN,
    UDP,
    UDP_HEADER,
    A,
    End,
    Host,
    Step,
    Wire,
    dns_message,
    send_segment,
)

FRAMES = 20
PIECES = 4  # of the response, each acknowledged
OPENING = (Step(0, SYN), Step(1, SYN | ACK), Step(0, ACK))
EXCHANGE = (Step(0, PSH | ACK), Step(1, ACK), *(Step(1, PSH | ACK), Step(0, ACK)) * PIECES)
CLOSING = (Step(0, FIN | ACK), Step(1, FIN | ACK), Step(0, ACK))


def fetch(own: Individual, seed: int) -> bytes:
    """The student's own fetch as a pcap: two lookups, handshake, an answer in four pieces, a three-segment close."""
    rng = Random(seed)  # noqa: S311 - traffic that can be made again, no secret
    file = BytesIO()
    file.write(FILE_HEADER)
    wire = Wire(file, START_US + seed * 1_000_000)
    client, resolver, server = (
        Host(int(IPv4Address(address)), mac, 64, rng.getrandbits(16))
        for address, mac in ((own.client, b"\2\0\0\1\0\1"), (own.resolver, GATEWAY), (own.server, GATEWAY))
    )
    _lookups(wire, own, client, resolver, rng)
    body = rng.randbytes(800)
    head = b"HTTP/1.1 302 Found\r\nLocation: http://%b/home\r\nContent-Length: %d\r\n\r\n" % (
        own.host.encode(),
        len(body),
    )
    request = f"GET /{own.nonce} HTTP/1.1\r\nHost: {own.host}\r\nUser-Agent: handshake-lab\r\nAccept: */*\r\n\r\n"
    ends = (
        End(client, own.port, rng.getrandbits(32), rng.getrandbits(32), 64_240, request.encode()),
        End(server, HTTP_PORT, rng.getrandbits(32), rng.getrandbits(32), 65_160, b""),
    )
    pieces = iter([head + body[:200], body[200:400], body[400:600], body[600:]])
    for step in (*OPENING, *EXCHANGE, *CLOSING):
        if step.side == 1 and step.flags & PSH:
            ends[1].data = next(pieces)
        wire.now_us += 1 + rng.randrange(2_000)
        send_segment(wire, step, ends[step.side], ends[1 - step.side])
    return file.getvalue()


def _lookups(wire: Wire, own: Individual, client: Host, resolver: Host, rng: Random) -> None:
    port = 30_000 + rng.randrange(10_000)
    for kind, address in ((A, IPv4Address(own.server).packed), (AAAA, bytes.fromhex("20010db8") + bytes(11) + b"\x80")):
        number = rng.randbytes(2)
        for source, target, ports, message in (
            (client, resolver, (port, DNS_PORT), dns_message(own.host, kind, QUERY, edns=False)),
            (resolver, client, (DNS_PORT, port), dns_message(own.host, kind, NOERROR, address, edns=False)),
        ):
            wire.now_us += 1 + rng.randrange(1_000)
            wire.send(source, target, UDP, UDP_HEADER.pack(*ports, 10 + len(message), 0) + number + message)
