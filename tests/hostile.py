"""A corpus of texts that do harm where they are printed as they are, in every place of a capture that holds text."""

import struct

from scapy.layers.dns import DNS, DNSQR
from scapy.layers.inet import IP, UDP
from scapy.layers.l2 import Ether
from scapy.packet import Packet as Scapy
from scapy.packet import Raw

from tests.blocks import Blocks
from tests.craft import CLIENT, IDS, NAME, RESOLVER, SERVER, Talk, answer, question

CORPUS = (
    b"\x1b[2J\x1b[31m",  # clears the screen, paints
    b"\x1b]0;title\x07\x1b]8;;http://evil/\x07",  # sets the title, makes a link
    b"\x9b31m\x90\x9c",  # the same with one-byte controls
    b"a\rb\x08\x08c\x7f",  # overwrites
    b"x\n::error file=a.py::owned\n::set-output name=x::y",  # a GitHub workflow command on a line of its own
    b"::add-mask::" + b"z" * 90 + b"::error::",
    b"##[error]owned ##vso[task.complete result=Succeeded] ##teamcity[x]",
    "\u202egnp.exe \u2066\u2069\u200b\u00ad\ufeff".encode(),  # reorders, hides
    "\u2028\u2029\u0085".encode(),  # other line ends
    b"<script>alert(1)</script><img src=x onerror=y>&lt;",
    b"[click](javascript:alert(1)) `code` **b** | cell | <!-- x -->",
    b"=cmd|' /C calc'!A0,\"quoted\"",
    b"%s%n{0.__class__}{}$(id)`id`",
    b"client  FIN,ACK  1:1(0)  ack 1\nlookup  A  x -> server",  # a line of a sequence
    b"\xff\xfe\xc3\x28\x00\x00",  # no UTF-8
    "🙂漢字".encode() * 20,  # two columns each
)


def label(text: bytes) -> bytes:
    """`text` as one label of a name."""
    return bytes([len(text[:63])]) + text[:63]


def dns_frames(text: bytes, number: int) -> list[Scapy]:
    """A query for a name of `text`, and the answer with an alias and a TXT record of it."""
    name = label(text) + b"\4evil\4test\0"
    asked = struct.pack("!HHHHHH", number, 0x100, 1, 0, 0, 0) + name + b"\0\1\0\1"
    alias = label(text[::-1]) + b"\0"
    record = b"\xc0\x0c" + struct.pack("!HHIH", 5, 1, 60, len(alias)) + alias
    data = bytes([len(text[:255])]) + text[:255]
    record += b"\xc0\x0c" + struct.pack("!HHIH", 16, 1, 60, len(data)) + data
    said = struct.pack("!HHHHHH", number, 0x8180, 1, 2, 0, 0) + asked[12:] + record
    query = Ether() / IP(src=CLIENT, dst=RESOLVER, id=next(IDS)) / UDP(sport=4000, dport=53) / Raw(asked)
    return [query, Ether() / IP(src=RESOLVER, dst=CLIENT, id=next(IDS)) / UDP(sport=53, dport=4000) / Raw(said)]


def txt_frames(text: bytes, number: int) -> list[Scapy]:
    """A TXT record of `text` for an honest name, which is the story's."""
    data = bytes([len(text[:255])]) + text[:255]
    asked = DNS(id=number, qd=DNSQR(qname=NAME, qtype="TXT"))
    said = bytes(DNS(id=number, qr=1, ancount=1, qd=DNSQR(qname=NAME, qtype="TXT")))
    said += b"\xc0\x0c" + struct.pack("!HHIH", 16, 1, 60, len(data)) + data
    query = Ether() / IP(src=CLIENT, dst=RESOLVER, id=next(IDS)) / UDP(sport=4001, dport=53) / asked
    return [query, Ether() / IP(src=RESOLVER, dst=CLIENT, id=next(IDS)) / UDP(sport=53, dport=4001) / Raw(said)]


def http_frames(text: bytes, port: int) -> list[Scapy]:
    """An exchange with `text` in target, fields, reason and body; the story of an honest name."""
    flat = text.replace(b"\r", b"").replace(b"\n", b"").replace(b"\0", b"").replace(b" ", b"")
    request = b"GET /" + flat + b" HTTP/1.1\r\nHost: " + NAME.encode() + b"\r\nX: " + flat + b"\r\n\r\n"
    response = b"HTTP/1.1 302 " + flat + b"\r\nLocation: //" + flat + b"/\r\nContent-Type: " + flat
    return Talk(port=port).open().exchange(request, response + b"\r\nContent-Length: 4\r\n\r\nbody").close().frames


def bad_http_frames(text: bytes, port: int) -> list[Scapy]:
    """A request that breaks the rules, with `text` as it is in every part."""
    request = b"GET " + text + b" " + text + b"\r\nHost: " + text + b"\r\n\r\n"
    return Talk(port=port).open().exchange(request, b"HTTP/1.1 200 " + text + b"\r\n" + text).close().frames


def tls_frames(text: bytes, port: int) -> list[Scapy]:
    """A ClientHello with `text` as server name and protocol, answered by an alert."""
    name = struct.pack("!HBH", len(text) + 3, 0, len(text)) + text
    alpn = struct.pack("!HB", len(text[:255]) + 1, len(text[:255])) + text[:255]
    extensions = b"".join(struct.pack("!HH", kind, len(data)) + data for kind, data in ((0, name), (16, alpn)))
    hello = b"\3\3" + bytes(32) + b"\0" + b"\0\2\x13\1" + b"\1\0" + struct.pack("!H", len(extensions)) + extensions
    message = b"\1" + len(hello).to_bytes(3) + hello
    record = b"\x16\3\1" + len(message).to_bytes(2) + message
    return Talk(port=port).open().exchange(record, b"\x15\3\3\0\2\2\x46").close().frames


def hostile_captures(text: bytes) -> list[list[Scapy]]:
    """Captures whose story has `text` in it, each in another place."""
    honest = [question(), answer(SERVER)]
    return [
        dns_frames(text, 5),
        [*honest, *txt_frames(text, 6), *http_frames(text, 40100)],
        [*honest, *bad_http_frames(text, 40101)],
        bad_http_frames(text, 40102),
        [*honest, *tls_frames(text, 40103)],
        tls_frames(text, 40104),
    ]


def hostile_pcapng(text: bytes) -> bytes:
    """A pcapng with `text` in every option that holds text."""
    blocks = Blocks().section([(code, text) for code in (1, 2, 3, 4)])
    blocks.interface(1, [(code, text) for code in (1, 2, 3, 11, 12)])
    for frame in (question(), answer(SERVER)):
        blocks.enhanced(bytes(frame), options=[(1, text), (1, text)])
    return blocks.content
