"""Making TLS: real handshakes by Python's ssl (OpenSSL), and hellos by hand, piece by piece."""

import ssl
from collections.abc import Callable
from pathlib import Path

from analysis.tcp.connection import Connection
from analysis.tcp.stream import Piece, Stream, reassemble
from analysis.tls import Tls, find_tls
from tests.craft import NAME, Talk, connection

Flights = list[tuple[str, bytes]]
Adjust = Callable[[ssl.SSLContext], None]
TLS12, TLS13 = ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3
NOTHING = Stream(b"", (), has_gap=False, ending="open")
SNI, ALPN, VERSIONS, ECH = 0, 16, 43, 0xFE0D


def nothing(context: ssl.SSLContext) -> None:
    """Leave the context as it is."""


def only(version: ssl.TLSVersion) -> Adjust:
    def adjust(context: ssl.SSLContext) -> None:
        if version < TLS12:
            context.set_ciphers("ALL:@SECLEVEL=0")
        context.minimum_version = context.maximum_version = version

    return adjust


def protocols(*names: str, version: ssl.TLSVersion = TLS13) -> Adjust:
    def adjust(context: ssl.SSLContext) -> None:
        context.maximum_version = version
        context.set_alpn_protocols(names)

    return adjust


def handshake(
    certificate: Path, client: Adjust = nothing, server: Adjust = nothing, name: str | None = NAME
) -> Flights:
    """What OpenSSL's two sides say to each other, up to some data or the failure."""
    contexts = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT), ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    contexts[0].check_hostname = False
    contexts[0].verify_mode = ssl.CERT_NONE
    contexts[1].load_cert_chain(certificate)
    client(contexts[0])
    server(contexts[1])
    wires = {"client": ssl.MemoryBIO(), "server": ssl.MemoryBIO()}  # what each has received
    sides = {
        "client": contexts[0].wrap_bio(wires["client"], outgoing := ssl.MemoryBIO(), server_hostname=name),
        "server": contexts[1].wrap_bio(wires["server"], answering := ssl.MemoryBIO(), server_side=True),
    }
    sent, flights = {"client": outgoing, "server": answering}, Flights()
    for sender in ("client", "server") * 4:
        try:
            sides[sender].do_handshake()
            sides[sender].write(b"nobody can read this")
        except ssl.SSLError:
            pass  # it waits for the peer, or has failed and says so
        if data := sent[sender].read():
            flights.append((sender, data))
            wires["server" if sender == "client" else "client"].write(data)
    return flights


def talk(flights: Flights, size: int = 1460, port: int = 40000) -> Talk:
    """The flights in segments of at most `size` bytes."""
    found = Talk(port=port).open()
    for sender, data in flights:
        for start in range(0, len(data), size):
            found.send(sender, "PA", data[start : start + size])
    return found


def look(found: Connection) -> Tls | None:
    return find_tls(reassemble(found, "client"), reassemble(found, "server"))


def seen(flights: Flights, size: int = 1460) -> Tls:
    found = look(connection(talk(flights, size)))
    assert found is not None
    return found


def said(sender: str, flights: Flights) -> bytes:
    return b"".join(data for one, data in flights if one == sender)


def stream(data: bytes) -> Stream:
    """All of it in frame 1."""
    return Stream(data, (Piece(0, len(data), 1),), has_gap=False, ending="open")


def read(client: bytes, server: bytes = b"") -> Tls:
    found = find_tls(stream(client), stream(server))
    assert found is not None
    return found


# --- hellos by hand ---


def vector(size: int, *parts: bytes) -> bytes:
    content = b"".join(parts)
    return len(content).to_bytes(size) + content


def record(content: bytes, kind: int = 22) -> bytes:
    return bytes((kind, 3, 1)) + vector(2, content)


def extension(kind: int, content: bytes) -> bytes:
    return kind.to_bytes(2) + vector(2, content)


def sni(*names: bytes) -> bytes:
    return extension(SNI, vector(2, *(b"\0" + vector(2, name) for name in names)))


def offers(*versions: int) -> bytes:
    return extension(VERSIONS, vector(1, *(version.to_bytes(2) for version in versions)))


def client_hello(*extensions: bytes, legacy: int = 0x0303) -> bytes:
    """The message, without a record; without extensions at all if there are none."""
    body = legacy.to_bytes(2) + bytes(32) + vector(1) + vector(2, b"\x13\x01") + vector(1, b"\0")
    return b"\1" + vector(3, body + (vector(2, *extensions) if extensions else b""))


def server_hello(*extensions: bytes, legacy: int = 0x0303, number: bytes = bytes(32), cipher: int = 0x1301) -> bytes:
    body = legacy.to_bytes(2) + number + vector(1) + cipher.to_bytes(2) + b"\0"
    return b"\2" + vector(3, body + (vector(2, *extensions) if extensions else b""))


def alert(code: int, level: int = 2) -> bytes:
    return record(bytes((level, code)), 21)
