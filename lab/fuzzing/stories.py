"""What the captures that are mutated tell: lookups, fetches and troubles as lists of IP packets.

Everything is built from bytes here, without the test extra, so that whoever installs the lab can fuzz it. Numbers
are fixed: the same story is the same bytes everywhere.
"""

import ipaddress
import struct
from dataclasses import dataclass, field

import dns.message

from lab.fetches import ACK, DNS_PORT, FIN, HTTP_PORT, MODULO, PSH, RST, SYN, TCP, UDP

TLS_PORT, FRAGMENT_NEXT, ROUTING = 443, 44, 43
V4 = tuple(ipaddress.ip_address(text).packed for text in ("10.0.0.1", "198.51.100.80", "10.0.0.53"))
V6 = tuple(ipaddress.ip_address(text).packed for text in ("2001:db8::1", "2001:db8:1::80", "2001:db8::53"))
CLIENT, SERVER, RESOLVER = 0, 1, 2
PROTECT = PSH | ACK
SYN_OPTIONS = bytes.fromhex("020405b4 0402 080a 00000001 00000000 01 030307")
STAMPS = bytes.fromhex("0101 080a 00000002 00000001")
ROUTER_ALERT = bytes.fromhex("94040000 01010100")
EXTENSIONS = (0, ROUTING, 60)  # hop by hop, routing, destination options
PACKET_OF_OPTIONS = bytes.fromhex("01 04 00000000")  # PadN that fills the eight bytes of an extension header

QUESTION = "id 7\nopcode QUERY\nrcode {code}\nflags {flags}\n{edns};QUESTION\n{name} IN {kind}\n;ANSWER\n"
EDNS = "edns 0\npayload 1232\n"
NAME = "www.example.com."
CHAIN = (
    "www.example.com. 300 IN CNAME cdn.example.net.\ncdn.example.net. 60 IN CNAME edge.cdn.example.net.\n"
    "edge.cdn.example.net. 30 IN A 198.51.100.80\nedge.cdn.example.net. 30 IN A 198.51.100.81\n"
)
ZONE_SOA = "example.com. 60 IN SOA ns1.example.com. hostmaster.example.com. 2026 7200 900 1209600 300\n"
MANY = "".join(f'www.example.com. 60 IN TXT "part {one} of a response too long for one frame"\n' for one in range(12))

GET = b"GET /index.html HTTP/1.1\r\nHost: www.example.com\r\nUser-Agent: curl/8.5.0\r\nAccept: */*\r\n\r\n"
OK = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 5\r\n\r\nhello"
CHUNKS = b"5\r\nhello\r\n1a;x=y\r\nabcdefghijklmnopqrstuvwxyz\r\n0\r\nTrailer: 1\r\n\r\n"
CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + CHUNKS
POST = b"POST /form HTTP/1.1\r\nHost: www.example.com\r\nExpect: 100-continue\r\nContent-Length: 9\r\n\r\nfield=one"
CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
HEAD = b"HEAD / HTTP/1.1\r\nHost: www.example.com\r\nConnection: close\r\n\r\n"
HEADED = b"HTTP/1.1 200 OK\r\nContent-Length: 4242\r\nConnection: close\r\n\r\n"
UNTIL_CLOSE = b"HTTP/1.0 200 OK\r\nServer: old\r\n\r\n<html>until the end</html>"


def checksum(data: bytes) -> int:
    """The internet checksum (RFC 1071): 2^16 = 1 (mod 65535), so one division adds all words at once."""
    return -int.from_bytes(data + bytes(len(data) % 2)) % 0xFFFF or 0xFFFF


def ipv4(source: int, target: int, protocol: int, payload: bytes, *, options: bytes = b"", fragment: int = 0) -> bytes:
    """An IPv4 packet; `fragment`: the word of flags and offset."""
    first = 0x45 + len(options) // 4
    total = 20 + len(options) + len(payload)
    head = struct.pack(">BBHHHBBH", first, 0, total, 0x1234, fragment or 0x4000, 64, protocol, 0)
    head += V4[source] + V4[target] + options
    return head[:10] + checksum(head).to_bytes(2) + head[12:] + payload


def ipv6(source: int, target: int, protocol: int, payload: bytes, *, extensions: tuple[int, ...] = ()) -> bytes:
    """An IPv6 packet, with extension headers of eight bytes each."""
    kinds = (*extensions, protocol)
    body = b"".join(bytes((following, 0)) + PACKET_OF_OPTIONS for following in kinds[1:]) + payload
    return struct.pack(">IHBB", 0x6000_0000, len(body), kinds[0], 64) + V6[source] + V6[target] + body


def datagram(source: int, target: int, ports: tuple[int, int], payload: bytes, *, v6: bool = False) -> bytes:
    """A UDP datagram with its checksum, without the IP header."""
    length = 8 + len(payload)
    addresses = V6 if v6 else V4
    pseudo = addresses[source] + addresses[target] + struct.pack(">II", length, UDP)
    head = struct.pack(">HHH", *ports, length)
    return head + checksum(pseudo + head + payload).to_bytes(2) + payload


def message(kind: str = "A", answers: str = "", *, code: str = "NOERROR", edns: bool = False, more: str = "") -> bytes:
    """A DNS message in wire format: a query, or with `answers` or a `code` that says so a response."""
    is_response = bool(answers or more or code != "NOERROR")
    flags = "QR RD RA" if is_response else "RD"
    text = QUESTION.format(code=code, flags=flags + (" TC" if more == "TC" else ""), edns="", name=NAME, kind=kind)
    text = text.replace(";QUESTION", (EDNS if edns else "") + ";QUESTION") + answers
    text += f";AUTHORITY\n{more}" if more not in ("", "TC") else ""
    return dns.message.from_text(text).to_wire(want_shuffle=False)


def udp_lookup(query: bytes, response: bytes, port: int, *, v6: bool = False) -> list[bytes]:
    """A query and its response, each in one packet."""
    there = datagram(CLIENT, RESOLVER, (port, DNS_PORT), query, v6=v6)
    back = datagram(RESOLVER, CLIENT, (DNS_PORT, port), response, v6=v6)
    if v6:
        return [ipv6(CLIENT, RESOLVER, UDP, there), ipv6(RESOLVER, CLIENT, UDP, back, extensions=EXTENSIONS)]
    return [ipv4(CLIENT, RESOLVER, UDP, there), ipv4(RESOLVER, CLIENT, UDP, back)]


@dataclass(slots=True)
class Talk:
    """A TCP connection being scripted; each segment continues its sender's numbers, less `back`."""

    port: int = 40000
    server_port: int = HTTP_PORT
    v6: bool = False
    server: int = SERVER
    seq: list[int] = field(default_factory=lambda: [1000, 9000])
    packets: list[bytes] = field(default_factory=list)

    def send(
        self, side: int, flags: int, payload: bytes = b"", *, back: int = 0, options: bytes | None = None
    ) -> "Talk":
        """A segment of `side` 0 (the client) or 1 (the server)."""
        if options is None:
            options = SYN_OPTIONS if flags & SYN else STAMPS
        ends = (CLIENT, self.server) if side == 0 else (self.server, CLIENT)
        ports = (self.port, self.server_port) if side == 0 else (self.server_port, self.port)
        number, seen = (self.seq[side] - back) % MODULO, self.seq[1 - side] % MODULO if flags & ACK else 0
        head = struct.pack(">HHIIHHHH", *ports, number, seen, (20 + len(options)) << 10 | flags, 501, 0, 0)
        self.packets.append(self._packet(ends, head + options + payload))
        self.seq[side] += max(0, len(payload) + bool(flags & (SYN | FIN)) - back)
        return self

    def _packet(self, ends: tuple[int, int], segment: bytes) -> bytes:
        addresses = V6 if self.v6 else V4
        pseudo = addresses[ends[0]] + addresses[ends[1]] + struct.pack(">II", len(segment), TCP)
        segment = segment[:16] + checksum(pseudo + segment).to_bytes(2) + segment[18:]
        if self.v6:
            return ipv6(*ends, TCP, segment, extensions=EXTENSIONS[: len(self.packets) % 4])
        return ipv4(*ends, TCP, segment, options=ROUTER_ALERT if len(self.packets) % 5 == 4 else b"")

    def open(self) -> "Talk":
        """The three-way handshake."""
        return self.send(0, SYN).send(1, SYN | ACK).send(0, ACK)

    def says(self, side: int, *parts: bytes) -> "Talk":
        """A segment for each part, then the peer's ACK."""
        for part in parts:
            self.send(side, PROTECT, part)
        return self.send(1 - side, ACK)

    def close(self, first: int = 0) -> "Talk":
        """FIN, FIN, ACK."""
        return self.send(first, FIN | ACK).send(1 - first, FIN | ACK).send(first, ACK)


def stories() -> dict[str, list[bytes]]:
    """Every story by name: its IP packets in order."""
    lookup = udp_lookup(message(), message(answers=CHAIN), 5353)
    return {
        "fetch": lookup + Talk().open().says(0, GET).says(1, OK).close().packets,
        "ipv6": _ipv6(),
        "names": _names(),
        "tcp-dns": _tcp_dns(),
        "pipeline": lookup
        + Talk().open().says(0, GET + GET, POST).says(1, OK, CHUNKED, CONTINUE + OK).close(1).packets,
        "head": Talk().open().says(0, HEAD).says(1, HEADED).close(1).packets + _until_close(),
        "tls": lookup + _tls(),
        "trouble": _trouble(),
        "fragments": _fragments(),
        "refused": _refused(),
    }


def _ipv6() -> list[bytes]:
    answer = message("AAAA", "www.example.com. 9 IN AAAA 2001:db8:1::80\n", edns=True)
    lookup = udp_lookup(message("AAAA", edns=True), answer, 5353, v6=True)
    return lookup + Talk(v6=True).open().says(0, GET).says(1, CHUNKED[:60], CHUNKED[60:]).close().packets


def _names() -> list[bytes]:
    """No such name, no data, a failure, a type without addresses, a retry, an answer that nobody asked for."""
    missing = udp_lookup(message(edns=True), message(code="NXDOMAIN", more=ZONE_SOA), 5301)
    empty = udp_lookup(message("AAAA"), message("AAAA", more=ZONE_SOA), 5302)
    failed = udp_lookup(message(), message(code="SERVFAIL"), 5303)
    mail = udp_lookup(message("MX"), message("MX", "www.example.com. 5 IN MX 10 mail.example.com.\n"), 5304)
    both = udp_lookup(message(), message(answers=CHAIN, edns=True), 5305)
    return [*missing, *empty, *failed, *mail, both[0], *both, both[1]]


def _tcp_dns() -> list[bytes]:
    """A truncated answer, then the same over TCP: two queries in one segment, two responses in three."""
    queries = b"".join(len(one).to_bytes(2) + one for one in (message(), message("TXT")))
    answers = b"".join(len(one).to_bytes(2) + one for one in (message(answers=CHAIN), message("TXT", MANY)))
    talk = Talk(server_port=DNS_PORT, server=RESOLVER).open().says(0, queries[:1], queries[1:])
    talk.says(1, answers[:31], answers[31:200], answers[200:]).close()
    return udp_lookup(message(), message(answers=CHAIN, more="TC"), 5353) + talk.packets


def _until_close() -> list[bytes]:
    return Talk(port=40001).open().says(0, GET).says(1, UNTIL_CLOSE).close(1).packets


def _tls() -> list[bytes]:
    """A ClientHello with a name, a ServerHello, some records, an alert."""
    name = b"www.example.com"
    sni = struct.pack(">HHHBH", 0, len(name) + 5, len(name) + 3, 0, len(name)) + name
    alpn = bytes.fromhex("0010 000e 000c 026832 08687474702f312e31")
    versions = bytes.fromhex("002b 0005 04 0304 0303")
    hello = _hello(1, bytes.fromhex("0006 1301 1302 c02f 0100"), sni + alpn + versions)
    answer = _hello(2, bytes.fromhex("1301 00"), bytes.fromhex("002b 0002 0304"))
    rest = bytes.fromhex("140303000101") + b"\x17\x03\x03\x00\x20" + bytes(range(32))
    alert = bytes.fromhex("1503030002 0100")
    talk = Talk(server_port=TLS_PORT).open().says(0, hello[:100], hello[100:]).says(1, answer + rest)
    return talk.says(0, rest).says(1, alert).close(1).packets


def _hello(kind: int, suites: bytes, extensions: bytes) -> bytes:
    """A TLS hello in a record of its own (RFC 8446 §4.1)."""
    body = b"\3\3" + bytes(range(32)) + b"\x20" + bytes(32) + suites + len(extensions).to_bytes(2) + extensions
    shake = bytes((kind,)) + len(body).to_bytes(3) + body
    return b"\x16\3\1" + len(shake).to_bytes(2) + shake


def _trouble() -> list[bytes]:
    """Numbers that pass 2^32, data lost, late, twice and in a probe, SACK blocks, a closed window, a reset."""
    talk = Talk(seq=[MODULO - 40, MODULO - 3]).send(0, SYN).send(0, SYN, back=1).send(1, SYN | ACK).send(0, ACK)
    talk.says(0, GET).send(0, PROTECT, GET, back=len(GET))
    talk.seq[1] += 20  # not in the capture yet
    talk.send(1, PROTECT, OK[20:])
    edges = struct.pack(">II", (talk.seq[1] - len(OK) + 20) % MODULO, talk.seq[1] % MODULO)
    talk.send(0, ACK, options=b"\1\1\5\x0a" + edges).send(0, ACK, options=b"\1\1\5\x0a" + edges)
    talk.send(1, PROTECT, OK[:20], back=len(OK)).send(0, ACK)
    talk.send(1, ACK, b"\0", back=1).send(0, ACK, options=b"")
    talk.send(1, FIN | ACK).send(1, FIN | ACK, back=1).send(0, PROTECT, b"late").send(1, RST, options=b"")
    return [*talk.packets, talk.packets[3], talk.packets[-1]]


def _fragments() -> list[bytes]:
    """A response in three IPv4 fragments, the last two in the wrong order; one in two IPv6 fragments."""
    response = message("TXT", MANY)
    whole = datagram(RESOLVER, CLIENT, (DNS_PORT, 5353), response)
    query = ipv4(CLIENT, RESOLVER, UDP, datagram(CLIENT, RESOLVER, (5353, DNS_PORT), message("TXT")))
    cuts = ((0, 256, 0x2000), (512, len(whole), 64), (256, 512, 0x2020))
    parts = [ipv4(RESOLVER, CLIENT, UDP, whole[first:end], fragment=word) for first, end, word in cuts]
    whole = datagram(RESOLVER, CLIENT, (DNS_PORT, 5354), response, v6=True)
    asked = datagram(CLIENT, RESOLVER, (5354, DNS_PORT), message("TXT"), v6=True)
    query6 = ipv6(CLIENT, RESOLVER, UDP, asked)
    heads = [struct.pack(">BBHI", UDP, 0, word, 77) for word in (1, 400)]
    parts6 = [heads[0] + whole[:400], heads[1] + whole[400:]]
    return [query, *parts, query6, *(ipv6(RESOLVER, CLIENT, FRAGMENT_NEXT, part) for part in parts6)]


def _refused() -> list[bytes]:
    """IPv6 refused, IPv4 then tried; a server that never answers; a segment of nobody's connection."""
    lookups = udp_lookup(message(), message(answers=CHAIN), 5353)
    refused = Talk(v6=True).send(0, SYN).send(1, RST | ACK, options=b"").packets
    silent = Talk(port=40002).send(0, SYN).send(0, SYN, back=1).send(0, SYN, back=1).packets
    stray = Talk(port=40003).send(1, PROTECT, OK).packets
    return lookups + refused + silent + stray + Talk(port=40004).open().says(0, GET).says(1, OK).close().packets
