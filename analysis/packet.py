"""One UDP datagram or TCP segment as values: RFC 768 (UDP), RFC 9293 §3.1 (TCP)."""

from dataclasses import dataclass
from typing import NamedTuple

FIN, SYN, RST, PSH, ACK, URG, ECE, CWR, AE = (1 << bit for bit in range(9))
TCP, UDP = 6, 17


class Option(NamedTuple):
    """One TCP option: its kind (IANA), and its value without kind and length."""

    kind: int
    value: bytes


@dataclass(frozen=True, slots=True)
class TcpHeader:
    """The fixed header's fields as sent (raw numbers, unscaled window), and the options in order."""

    seq: int
    ack: int
    flags: int
    window: int
    options: tuple[Option, ...]

    def option(self, kind: int, length: int) -> int | None:
        """The value of the first option `kind` whose value has `length` bytes, as a number."""
        for option in self.options:
            if option.kind == kind and len(option.value) == length:
                return int.from_bytes(option.value)
        return None

    @property
    def window_scale(self) -> int | None:
        return self.option(3, 1)

    @property
    def timestamps(self) -> tuple[int, int] | None:
        """TSval and TSecr (RFC 7323 §3.2)."""
        both = self.option(8, 8)
        return None if both is None else (both >> 32, both & 0xFFFF_FFFF)


@dataclass(frozen=True, slots=True)
class Packet:
    """One UDP datagram or TCP segment.

    `length` is the frame's on the wire; `payload_length` the transport payload's, by the IP header, so
    it is right where the snap length cut `payload` short. `checksum` is `good`, `bad`, `partial` (the
    pseudo-header's sum alone, as checksum offloading leaves it), or `unchecked` (cut, or a UDP 0).
    """

    frame: int
    time_ns: int
    length: int
    src: str
    dst: str
    sport: int
    dport: int
    payload: bytes
    payload_length: int
    checksum: str
    tcp: TcpHeader | None = None


def ones_complement_sum(data: bytes) -> int:
    """The 16-bit ones' complement sum of RFC 1071, folded to 0..65535 with 65535 written as 0.

    2^16 = 1 (mod 65535), so the sum of the 16-bit words is the whole number modulo 65535: one division
    in C instead of a loop in Python.
    """
    return int.from_bytes(data + b"\0" * (len(data) % 2)) % 0xFFFF


def checksum_state(pseudo_header: bytes, segment: bytes, length: int, field: int, protocol: int) -> str:
    """`good`, `bad`, `partial` or `unchecked` (see `Packet`), for a transport header and payload of `length` bytes."""
    if len(segment) < length or (protocol == UDP and field == 0):
        return "unchecked"
    if ones_complement_sum(pseudo_header + segment) == 0:
        return "good"
    return "partial" if field % 0xFFFF == ones_complement_sum(pseudo_header) else "bad"


def parse_options(data: bytes) -> tuple[Option, ...]:
    """The option list (RFC 9293 §3.1); a lying length ends it."""
    options: list[Option] = []
    position = 0
    while position < len(data):
        kind = data[position]
        if kind == 0:
            options.append(Option(0, b""))
            break
        if kind == 1:
            options.append(Option(1, b""))
            position += 1
            continue
        length = data[position + 1] if position + 1 < len(data) else 0
        if length < 2 or position + length > len(data):
            break
        options.append(Option(kind, data[position + 2 : position + length]))
        position += length
    return tuple(options)
