"""One UDP datagram or TCP segment as values: RFC 768 (UDP), RFC 9293 §3.1 (TCP)."""

from collections import Counter
from collections.abc import Iterable
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
    pseudo-header's sum alone, as checksum offloading leaves it), or `unchecked` (cut, or a UDP 0); then
    `checksum_right` is None.
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
    checksum_sent: int
    checksum_right: int | None
    tcp: TcpHeader | None = None


def ones_complement_sum(data: bytes) -> int:
    """The 16-bit ones' complement sum of RFC 1071, folded to 0..65535 with 65535 written as 0.

    2^16 = 1 (mod 65535), so the sum of the 16-bit words is the whole number modulo 65535: one division
    in C instead of a loop in Python.
    """
    return int.from_bytes(data + b"\0" * (len(data) % 2)) % 0xFFFF


def check_sum(pseudo_header: bytes, segment: bytes, length: int, sent: int, protocol: int) -> tuple[str, int | None]:
    """What the checksum `sent` is (see `Packet`), and what it should be; of a header and payload of `length` bytes."""
    if len(segment) < length or (protocol == UDP and sent == 0):
        return "unchecked", None
    total = ones_complement_sum(pseudo_header + segment)
    right = (sent - total) % 0xFFFF
    if total == 0:
        return "good", right
    return "partial" if sent % 0xFFFF == ones_complement_sum(pseudo_header) else "bad", right


def hosts_without_checksums(packets: Iterable[Packet]) -> set[str]:
    """The hosts that leave checksums to their network card: of theirs hardly one in a hundred is right, by chance."""
    good, all_ = Counter[str](), Counter[str]()
    for packet in packets:
        if packet.checksum != "unchecked":
            all_[packet.src] += 1
            good[packet.src] += packet.checksum == "good"
    return {host for host, count in all_.items() if good[host] * 100 < count}


def option_text(option: Option) -> str:
    """What an option says, for a person: `MSS 1460`, `window scale 7 (×128)`. RFC 9293 §3.2, 7323, 2018, 7413."""
    value = option.value
    number = int.from_bytes(value)
    match option.kind, len(value):
        case 2, 2:
            return f"MSS {number}"
        case 3, 1:
            return f"window scale {number} (×{1 << min(number, 14)})"
        case 4, 0:
            return "SACK permitted"
        case 8, 8:
            return f"timestamps {number >> 32} and {number & 0xFFFF_FFFF}"
        case 34, 0:
            return "Fast Open: asks for a cookie"
        case 34, size:
            return f"Fast Open cookie of {size} bytes"
    return {0: "end", 1: "padding"}.get(option.kind, f"option {option.kind}")


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
