"""Synthetic captures: scapy builds the frames, so that nobody checks our decoder with our encoder."""

from collections.abc import Iterable
from io import BytesIO
from itertools import cycle
from typing import Any

from scapy.layers.dns import DNS, DNSQR, DNSRR
from scapy.layers.inet import IP, TCP, UDP
from scapy.layers.l2 import Ether
from scapy.packet import Packet as Scapy
from scapy.packet import Raw
from scapy.utils import PcapWriter

from analysis.files.capture import Capture, Health, parse_capture
from analysis.report import Report, make_report
from analysis.tcp.connection import Connection

NAME = "www.example.com"
CLIENT, SERVER, RESOLVER = "10.0.0.1", "198.51.100.80", "10.0.0.53"
SYN_OPTIONS = [("MSS", 1460), ("SAckOK", b""), ("Timestamp", (1, 0)), ("NOP", None), ("WScale", 7)]
STAMPS = [("NOP", None), ("NOP", None), ("Timestamp", (2, 1))]
REQUEST = f"GET / HTTP/1.1\r\nHost: {NAME}\r\n\r\n".encode()
RESPONSE = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi"
CIRCLE = 1 << 32
IDS = cycle(range(1, 0x10000))  # a host gives each datagram another identification


class Talk:
    """A TCP connection being scripted: each `send` continues its sender's numbers, unless told otherwise."""

    def __init__(self, client_isn: int = 1000, server_isn: int = 9000, port: int = 40000, server: str = SERVER) -> None:
        self.frames: list[Scapy] = []
        self.next = {"client": client_isn, "server": server_isn}
        self.seen = {"client": 0, "server": 0}
        self.port = port
        self.server = server

    def send(self, sender: str, flags: str, payload: bytes = b"", **overrides: Any) -> "Talk":
        """A segment: flags as scapy writes them (`S`, `SA`, `FA`, …); `seq`, `ack`, … may be overridden."""
        peer = "server" if sender == "client" else "client"
        seq = overrides.get("seq", self.next[sender])
        ack = overrides.get("ack", self.seen[sender] if "A" in flags else 0)
        options = overrides.get("options", SYN_OPTIONS if "S" in flags else ([] if "R" in flags else STAMPS))
        ends = (CLIENT, self.server) if sender == "client" else (self.server, CLIENT)
        ports = (self.port, 80) if sender == "client" else (80, self.port)
        segment = TCP(
            sport=ports[0],
            dport=ports[1],
            seq=seq % CIRCLE,
            ack=ack % CIRCLE,
            flags=flags,
            window=overrides.get("window", 500),
            options=options,
        )
        frame = (
            Ether(src="02:00:00:00:00:01", dst="02:00:00:00:00:02")
            / IP(src=ends[0], dst=ends[1], id=len(self.frames) + 1)
            / segment
        )
        self.frames.append(frame / Raw(payload) if payload else frame)
        following = seq + len(payload) + ("S" in flags) + ("F" in flags)
        self.next[sender] = max(self.next[sender], following)
        self.seen[peer] = max(self.seen[peer], following)
        return self

    def open(self) -> "Talk":
        """The three-way handshake."""
        return self.send("client", "S").send("server", "SA").send("client", "A")

    def exchange(self, request: bytes = REQUEST, response: bytes = RESPONSE) -> "Talk":
        """Request and response, each acknowledged at once."""
        self.send("client", "PA", request).send("server", "A")
        return self.send("server", "PA", response).send("client", "A")

    def close(self, first: str = "client") -> "Talk":
        """Three segments: FIN, FIN that acknowledges it, ACK."""
        second = "server" if first == "client" else "client"
        return self.send(first, "FA").send(second, "FA").send(first, "A")


def question(name: str = NAME, kind: str = "A", number: int = 7, port: int = 5353) -> Scapy:
    """A DNS query over UDP."""
    message = DNS(id=number, rd=1, qd=DNSQR(qname=name, qtype=kind))
    return Ether() / IP(src=CLIENT, dst=RESOLVER, id=next(IDS)) / UDP(sport=port, dport=53) / message


def answer(
    *data: str, name: str = NAME, kind: str = "A", number: int = 7, port: int = 5353, rcode: int = 0, **changes: Any
) -> Scapy:
    """A response with one record for each of `data`; `changes` go to the DNS header."""
    message = DNS(id=number, qr=1, rd=1, ra=1, rcode=rcode, qd=DNSQR(qname=name, qtype=kind), **changes)
    if data:
        message.an = [DNSRR(rrname=name, type=kind, ttl=60, rdata=entry) for entry in data]
    return Ether() / IP(src=RESOLVER, dst=CLIENT, id=next(IDS)) / UDP(sport=53, dport=port) / message


def lookup() -> list[Scapy]:
    """The name's A record, asked and answered."""
    return [question(), answer(SERVER)]


def fetch() -> list[Scapy]:
    """An ordinary fetch: 2 DNS and 10 TCP frames."""
    return lookup() + Talk().open().exchange().close().frames


def pcap(frames: Iterable[Scapy], *, link_type: int = 1) -> bytes:
    """The frames as a pcap in nanoseconds, a millisecond apart."""
    file = BytesIO()
    writer = PcapWriter(file, nano=True, linktype=link_type, sync=True)
    for number, frame in enumerate(frames):
        frame.time = 1_700_000_000 + number / 1000
        writer.write(frame)
    return file.getvalue()


def capture(frames: Iterable[Scapy], health: Health = "unknown") -> Capture:
    """The frames as a capture, of stated health."""
    parsed = parse_capture(pcap(frames), "synthetic.pcap")
    return Capture(parsed.path, parsed.format, parsed.frames, parsed.problems, health)


def report(frames: Iterable[Scapy], health: Health = "unknown", host: str | None = None) -> Report:
    """The report on the frames."""
    return make_report(capture(frames, health), host)


def connection(talk: Talk) -> Connection:
    """The one connection of `talk`."""
    found = report(talk.frames).traffic.connections
    assert len(found) == 1
    return found[0]
