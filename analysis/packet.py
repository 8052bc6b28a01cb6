"""Frames to packets: link, IP, UDP and TCP headers as values.

RFC 791 (IPv4), RFC 8200 (IPv6), RFC 768 (UDP), RFC 9293 §3.1 (TCP). What can't be read is named, never fatal.
"""

import ipaddress
import struct
from collections.abc import Iterable
from dataclasses import dataclass
from typing import NamedTuple

from analysis.capture import Frame

FIN, SYN, RST, PSH, ACK, URG, ECE, CWR, AE = (1 << bit for bit in range(9))
TCP, UDP = 6, 17

IPV4_TYPE, IPV6_TYPE = 0x0800, 0x86DD
VLAN_TYPES = (0x8100, 0x88A8, 0x9100)


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


@dataclass(frozen=True, slots=True)
class Decoded:
    """The packets of a capture, and how many frames were something else, by name."""

    packets: tuple[Packet, ...]
    others: dict[str, int]


class _UnreadableError(Exception):
    """The frame is something else; the text names it."""


def decode(frames: Iterable[Frame]) -> Decoded:
    """The UDP and TCP packets of `frames`, in order."""
    packets: list[Packet] = []
    others: dict[str, int] = {}
    for frame in frames:
        try:
            packets.append(_packet(frame))
        except _UnreadableError as reason:
            others[str(reason)] = others.get(str(reason), 0) + 1
        except (struct.error, IndexError):
            others["cut header"] = others.get("cut header", 0) + 1
    return Decoded(tuple(packets), others)


def ones_complement_sum(data: bytes) -> int:
    """The 16-bit ones' complement sum of RFC 1071, folded to 0..65535 with 65535 written as 0.

    2^16 = 1 (mod 65535), so the sum of the 16-bit words is the whole number modulo 65535: one division
    in C instead of a loop in Python.
    """
    return int.from_bytes(data + b"\0" * (len(data) % 2)) % 0xFFFF


def _packet(frame: Frame) -> Packet:
    network_type, data = _network(frame.link_type, frame.data)
    if network_type == IPV4_TYPE:
        return _ipv4(frame, data)
    if network_type == IPV6_TYPE:
        return _ipv6(frame, data)
    raise _UnreadableError({0x0806: "ARP"}.get(network_type, f"EtherType 0x{network_type:04x}"))


def _network(link_type: int, data: bytes) -> tuple[int, bytes]:
    if link_type == 1:
        offset = 12
        while (kind := int.from_bytes(data[offset : offset + 2])) in VLAN_TYPES:
            offset += 4
        return kind, data[offset + 2 :]
    if link_type == 113:
        return int.from_bytes(data[14:16]), data[16:]
    if link_type == 276:
        return int.from_bytes(data[:2]), data[20:]
    if link_type in (12, 14, 101):
        return _by_version(data)
    if link_type in (0, 108):
        return _by_version(data[4:])
    raise _UnreadableError(f"link type {link_type}")


def _by_version(data: bytes) -> tuple[int, bytes]:
    return {4: IPV4_TYPE, 6: IPV6_TYPE}.get(data[0] >> 4, 0), data


def _ipv4(frame: Frame, data: bytes) -> Packet:
    header_length = (data[0] & 15) * 4
    total, _identification, fragment = struct.unpack_from("!HHH", data, 2)
    if data[0] >> 4 != 4 or header_length < 20 or total < header_length:
        raise _UnreadableError("malformed IPv4")
    if fragment & 0x3FFF:
        raise _UnreadableError("IPv4 fragment")
    src, dst = data[12:16], data[16:20]
    if len(dst) < 4:
        raise _UnreadableError("cut header")
    payload = data[header_length:total]
    addresses = str(ipaddress.IPv4Address(src)), str(ipaddress.IPv4Address(dst))
    return _transport(frame, data[9], payload, total - header_length, src + dst, addresses)


def _ipv6(frame: Frame, data: bytes) -> Packet:
    length, protocol = struct.unpack_from("!HB", data, 4)
    src, dst = data[8:24], data[24:40]
    if len(dst) < 16:
        raise _UnreadableError("cut header")
    offset = 40
    while protocol in (0, 43, 60):  # hop-by-hop, routing, destination options: RFC 8200 §4
        protocol, offset = data[offset], offset + 8 + data[offset + 1] * 8
    if protocol == 44:
        raise _UnreadableError("IPv6 fragment")
    if length + 40 < offset:
        raise _UnreadableError("malformed IPv6")
    payload = data[offset : 40 + length]
    addresses = str(ipaddress.IPv6Address(src)), str(ipaddress.IPv6Address(dst))
    return _transport(frame, protocol, payload, length + 40 - offset, src + dst, addresses)


def _transport(
    frame: Frame, protocol: int, segment: bytes, length: int, ends: bytes, addresses: tuple[str, str]
) -> Packet:
    if protocol not in (TCP, UDP):
        names = {1: "ICMP", 2: "IGMP", 58: "ICMPv6"}
        raise _UnreadableError(names.get(protocol, f"IP protocol {protocol}"))
    sport, dport = struct.unpack_from("!HH", segment)
    tcp: TcpHeader | None = None
    if protocol == UDP:
        header_length, field = 8, struct.unpack_from("!H", segment, 6)[0]
    else:
        seq, ack, offset_flags, window, field = struct.unpack_from("!IIHHH", segment, 4)
        header_length = (offset_flags >> 12) * 4
        if header_length < 20:
            raise _UnreadableError("malformed TCP")
        tcp = TcpHeader(seq, ack, offset_flags & 0x1FF, window, _options(segment[20:header_length]))
    if length < header_length:
        raise _UnreadableError("malformed UDP" if protocol == UDP else "malformed TCP")
    pseudo_header = ends + struct.pack("!II", length, protocol)
    return Packet(
        frame.number,
        frame.time_ns,
        frame.wire_length,
        *addresses,
        sport,
        dport,
        segment[header_length:],
        length - header_length,
        _checksum(pseudo_header, segment, length, field, protocol),
        tcp,
    )


def _checksum(pseudo_header: bytes, segment: bytes, length: int, field: int, protocol: int) -> str:
    if len(segment) < length or (protocol == UDP and field == 0):
        return "unchecked"
    if ones_complement_sum(pseudo_header + segment) == 0:
        return "good"
    return "partial" if field % 0xFFFF == ones_complement_sum(pseudo_header) else "bad"


def _options(data: bytes) -> tuple[Option, ...]:
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
