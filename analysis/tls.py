"""TLS on a TCP connection: what its hellos and alerts say in the clear (RFC 8446 §4.1, §6), before nothing can be read.

Records (§5.1) carry handshake messages (§4), which may begin and end anywhere in them. All is read as far as it is
there: a value counts once it is whole, and lengths that lie only end the reading. No copy is larger than `LARGEST`.
"""

from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

from analysis.names import canonical
from analysis.tcp.segment import Role
from analysis.tcp.stream import Stream

LARGEST = 1 << 16  # bytes of a stream that are looked at: real hellos take two thousand
HEADER, LARGEST_FRAGMENT = 5, 1 << 14  # bytes of a record; its header: type, version, length
MAJOR, TLS12, FATAL = 3, 0x0303, 2  # the first byte of every version since SSL 3.0; a version; an alert's level
CHANGE_CIPHER_SPEC, ALERT, HANDSHAKE, CLIENT_HELLO, SERVER_HELLO = 20, 21, 22, 1, 2  # records; handshake messages
SERVER_NAME, ALPN, SUPPORTED_VERSIONS, ENCRYPTED_CLIENT_HELLO = 0, 16, 43, 0xFE0D  # the last: RFC 9849 §5
RETRY = bytes.fromhex("cf21ad74e59a6111be1d8c021e65b891c2a211167abb8c5e079e09e2c8a8339c")  # RFC 8446 §4.1.3
VERSIONS = {0x0300: "SSL 3.0", 0x0301: "TLS 1.0", 0x0302: "TLS 1.1", TLS12: "TLS 1.2", 0x0304: "TLS 1.3"}
ALERTS = {
    0: "close notify", 10: "unexpected message", 20: "bad record MAC", 22: "record overflow", 40: "handshake failure",
    42: "bad certificate", 43: "unsupported certificate", 44: "certificate revoked", 45: "certificate expired",
    46: "certificate unknown", 47: "illegal parameter", 48: "unknown CA", 49: "access denied", 50: "decode error",
    51: "decrypt error", 70: "protocol version", 71: "insufficient security", 80: "internal error",
    86: "inappropriate fallback", 90: "user canceled", 109: "missing extension", 110: "unsupported extension",
    112: "unrecognized name", 113: "bad certificate status response", 115: "unknown PSK identity",
    116: "certificate required", 120: "no application protocol", 121: "ECH required",
}  # fmt: skip # RFC 8446 §6


@dataclass(frozen=True, slots=True)
class Tls:
    """What the hellos of a TLS connection say in the clear (RFC 8446 §4.1).

    `server_name` is the client's (RFC 6066 §3), as `canonical` has it; with `has_ech` it may be a front's, or the
    offer a sham (RFC 9849 §6). `offered` are the client's versions in its order; `version` is the server's choice, None
    while its hello doesn't tell. `alpn` is chosen in the clear up to TLS 1.2 only (RFC 7301 §3.1). `alert` is the first
    fatal one and its sender. `hello_frames` carried hellos, those of a HelloRetryRequest's second round included.
    """

    server_name: str | None
    version: str | None
    offered: tuple[str, ...]
    alpn: str | None
    offered_alpn: tuple[str, ...]
    cipher: int | None
    alert: str | None
    has_ech: bool
    hello_frames: tuple[int, ...]

    @property
    def summary(self) -> str:
        """A line for people: `TLS 1.3 to www.example.com`. It isn't `printable` yet."""
        what = self.version or ("TLS" if self.alert else "TLS (version unseen)")
        name = "" if self.server_name is None else f" to {self.server_name}"
        front = " (or who is behind it: ECH)" if name and self.has_ech else ""
        return what + name + front + (f"; {self.alert}" if self.alert else "")


def find_tls(client: Stream, server: Stream) -> Tls | None:
    """What a connection's two streams say of TLS; None where the client's doesn't begin with a ClientHello."""
    if not _is_hello(client.data):
        return None
    asking, answering = _read_clear(client, "client"), _read_clear(server, "server")
    asked, answered = list(_hellos(asking, CLIENT_HELLO)), list(_hellos(answering, SERVER_HELLO))
    if not answered or answered[0].random != RETRY:
        del asked[1:], answered[1:]  # what looks like a second hello is encrypted
    alerts = [one.alert for one in (asking, answering) if one.alert is not None]
    hello, reply = asked[0], answered[0] if answered else NO_HELLO
    return Tls(
        _server_name(hello),
        next(iter(_versions(reply, 0)), None),
        _versions(hello, 1),
        next(_protocols(reply), None),
        tuple(_protocols(hello)),
        reply.cipher,
        min(alerts)[1] if alerts else None,
        ENCRYPTED_CLIENT_HELLO in hello.extensions,
        tuple(sorted({frame for one in (*asked, *answered) for frame in one.frames})),
    )


def speaks(client: bytes, server: bytes) -> str | None:
    """What the first bytes of a connection's two streams belong to, where it isn't HTTP/1.x; None if unknown."""
    if _is_hello(client):
        return "TLS"
    if client.startswith(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"):  # RFC 9113 §3.4
        return "HTTP/2"
    if client.startswith(b"SSH-") or server.startswith(b"SSH-"):  # RFC 4253 §4.2
        return "SSH"
    if server.startswith((b"220 ", b"220-")):  # RFC 5321 §4.2 and RFC 959 §5.4 greet alike
        greeting, command = server[:512].upper(), client[:5].upper()
        if command in (b"EHLO ", b"HELO ") or b"SMTP" in greeting:
            return "SMTP"
        return "FTP" if command == b"USER " or b"FTP" in greeting else None
    return None


class _Reader:
    """Takes bytes from the front of `data`, which should hold `length`. What isn't wholly there is empty, or 0."""

    def __init__(self, data: bytes, length: int) -> None:
        self._data = data[:length]
        self.left = len(self._data)
        self.is_cut = length > self.left

    def take(self, length: int) -> bytes:
        if length > self.left:
            self.is_cut, self.left = True, 0
            return b""
        start = len(self._data) - self.left
        self.left -= length
        return self._data[start : start + length]

    def number(self, size: int) -> int:
        return int.from_bytes(self.take(size))

    def vector(self, size: int) -> bytes:
        """What follows its own length of `size` bytes (RFC 8446 §3.4)."""
        return self.take(self.number(size))

    def inner(self, size: int) -> "_Reader":
        """A vector, to be read as far as it is there."""
        length = self.number(size)
        found = _Reader(self._data[len(self._data) - self.left :], length)
        self.take(length)
        return found


class _Clear(NamedTuple):
    """A side's handshake bytes; per record, where they and where it start; the frame and name of its fatal alert."""

    stream: Stream
    handshake: bytes
    records: list[tuple[int, int]]
    alert: tuple[int, str] | None

    def frames(self, start: int, end: int) -> tuple[int, ...]:
        """The frames that carried handshake bytes `start` up to `end`, from their record's header on."""
        first, last = (self.records[bisect_right(self.records, (at, LARGEST)) - 1] for at in (start, end - 1))
        return self.stream.frames(first[1], last[1] + HEADER + end - last[0])


class _Hello(NamedTuple):
    """A ClientHello or ServerHello (RFC 8446 §4.1.2, §4.1.3). `is_whole`: nothing of it is missing."""

    legacy_version: int
    random: bytes
    cipher: int | None
    extensions: dict[int, bytes]
    is_whole: bool
    frames: tuple[int, ...]

    def extension(self, number: int) -> _Reader:
        content = self.extensions.get(number, b"")
        return _Reader(content, len(content))


NO_HELLO = _Hello(0, b"", None, {}, is_whole=False, frames=())


def _is_hello(data: bytes) -> bool:
    kinds = data[:2] + data[HEADER : HEADER + 1]
    return kinds == bytes((HANDSHAKE, MAJOR, CLIENT_HELLO)) and 0 < int.from_bytes(data[3:HEADER]) <= LARGEST_FRAGMENT


def _read_clear(stream: Stream, role: Role) -> _Clear:
    """What `role` sent before its first record of application data, or what is no record at all."""
    handshake, records, alert = bytearray(), list[tuple[int, int]](), None
    data, start = stream.data[:LARGEST], 0
    while start + HEADER < len(data) and CHANGE_CIPHER_SPEC <= data[start] <= HANDSHAKE and data[start + 1] == MAJOR:
        kind, end = data[start], start + HEADER + int.from_bytes(data[start + 3 : start + HEADER])
        fragment = data[start + HEADER : end]
        if kind == HANDSHAKE:
            records.append((len(handshake), start))
            handshake += fragment
        elif alert is None and kind == ALERT and len(fragment) == 2 and fragment[0] == FATAL:  # encrypted, it is longer
            name = f"the {role}'s alert: {ALERTS.get(fragment[1], 'unknown')} ({fragment[1]})"
            alert = (max(stream.frames(start, end), default=0), name)
        start = end
    return _Clear(stream, bytes(handshake), records, alert)


def _hellos(clear: _Clear, kind: int) -> Iterator[_Hello]:
    """The side's first messages, at most two, as far as they are of `kind`."""
    position = 0
    for _ in range(2):
        if clear.handshake[position : position + 1] != bytes((kind,)):
            return
        message = _Reader(clear.handshake[position + 1 :], LARGEST)
        body = message.inner(3)
        end = len(clear.handshake) - message.left
        yield _read_hello(body, kind, clear.frames(position, end))
        position = end


def _read_hello(body: _Reader, kind: int, frames: tuple[int, ...]) -> _Hello:
    legacy_version, random = body.number(2), body.take(32)
    body.vector(1)  # the session's name
    is_client = kind == CLIENT_HELLO  # then there are lists of suites and of compressions
    suites, _ = (body.vector(2), body.vector(1)) if is_client else (body.take(2), body.take(1))
    cipher = int.from_bytes(suites) if suites and not is_client else None
    extensions: dict[int, bytes] = {}
    block = body.inner(2) if body.left else body  # before TLS 1.3 a hello may end here
    while block.left:  # what is cut off is there, but empty
        number, value = block.number(2), block.vector(2)
        extensions.setdefault(number, value)  # a second one is forbidden (§4.2)
    return _Hello(legacy_version, random, cipher, extensions, not (body.is_cut or block.is_cut), frames)


def _versions(hello: _Hello, prefix: int) -> tuple[str, ...]:
    """Those in supported_versions, behind a prefix of so many bytes, else the legacy one (RFC 8446 §4.2.1)."""
    content, numbers = hello.extensions.get(SUPPORTED_VERSIONS), list[int]()
    if content is not None:
        numbers = [int.from_bytes(content[place : place + 2]) for place in range(prefix, len(content) - 1, 2)]
    elif hello.is_whole or 0 < hello.legacy_version < TLS12:  # TLS 1.2 may mean another that was cut off
        numbers = [hello.legacy_version]
    names = (VERSIONS.get(number, f"version 0x{number:04x}") for number in numbers if not _is_grease(number))
    return tuple(dict.fromkeys(names))


def _is_grease(number: int) -> bool:
    """Whether it stands for nothing, to keep servers tolerant (RFC 8701 §2): 0x0a0a, 0x1a1a, … 0xfafa."""
    return number & 0x0F0F == 0x0A0A and number >> 8 == number & 0xFF


def _server_name(hello: _Hello) -> str | None:
    """The first host name of a ServerNameList that isn't empty (RFC 6066 §3)."""
    names = hello.extension(SERVER_NAME).inner(2)
    while names.left:
        is_host, name = names.number(1) == 0, names.vector(2)
        if is_host and name:
            return canonical(name.decode("latin-1"))
    return None


def _protocols(hello: _Hello) -> Iterator[str]:
    """A ProtocolNameList (RFC 7301 §3.1)."""
    names = hello.extension(ALPN).inner(2)
    while names.left:
        name = names.vector(1)
        if name and not (len(name) == 2 and _is_grease(int.from_bytes(name))):
            yield name.decode("latin-1")
