"""Where in a frame a length, a count, a number or a name stands: the places at which a lie does most harm.

It reads only frames that are well formed, so it guesses boldly: where a guess fails, the frame has fewer spots.
"""

import re
import struct
from collections.abc import Iterator
from contextlib import suppress
from typing import NamedTuple

from lab.fetches import DNS_PORT, HTTP_PORT, TCP, UDP

NETWORK_OFFSETS = (14, 18, 22, 16, 20, 4, 0)  # of the link types that seeds have
EXTENSIONS = (0, 43, 44, 60)
POINTER = 0xC0
DIGITS = re.compile(rb"[0-9a-f]+(?=\r\n|;)|\d+")


class Spot(NamedTuple):
    """`size` bytes at `at`; `kind`: `number` (any size), `digits` in a text, `name` (a label's length, a pointer)."""

    at: int
    size: int
    kind: str = "number"


def spots_of(frame: bytes) -> tuple[Spot, ...]:
    """The spots of a frame of any link type, relative to its start."""
    spots = [Spot(at, 1) for at in range(min(12, len(frame)), min(24, len(frame)))]
    at = network_of(frame)
    if at is not None:
        found = _network(frame, at)
        with suppress(IndexError, struct.error):
            spots += found
    return tuple(spot for spot in spots if spot.at + spot.size <= len(frame))


def network_of(frame: bytes) -> int | None:
    """Where the IP header begins: the first offset at which one fits the frame."""
    for at in NETWORK_OFFSETS:
        if len(frame) < at + 20:
            continue
        if 0x45 <= frame[at] <= 0x4F and at + int.from_bytes(frame[at + 2 : at + 4]) <= len(frame):
            return at
        if frame[at] >> 4 == 6 and at + 40 + int.from_bytes(frame[at + 4 : at + 6]) == len(frame):
            return at
    return None


def _network(frame: bytes, at: int) -> Iterator[Spot]:
    if frame[at] >> 4 == 4:
        header = (frame[at] & 15) * 4
        yield from (Spot(at, 1), Spot(at + 2, 2), Spot(at + 6, 2), Spot(at + 4, 2), Spot(at + 9, 1))
        yield from (Spot(at + one, 1) for one in range(20, header))
        first_fragment = int.from_bytes(frame[at + 6 : at + 8]) & 0x1FFF == 0
        protocol, at = frame[at + 9], at + header
    else:
        yield from (Spot(at, 1), Spot(at + 4, 2), Spot(at + 6, 1))
        protocol, at, first_fragment = frame[at + 6], at + 40, True
        while protocol in EXTENSIONS:
            yield from (Spot(at, 1), Spot(at + 1, 1), Spot(at + 2, 2), Spot(at + 4, 4))
            protocol, at = frame[at], at + 8 * (1 + frame[at + 1])
    if first_fragment:
        yield from _transport(frame, at, protocol)


def _transport(frame: bytes, at: int, protocol: int) -> Iterator[Spot]:
    ports = struct.unpack_from(">HH", frame, at)
    yield from (Spot(at, 2), Spot(at + 2, 2))
    if protocol == UDP:
        yield Spot(at + 4, 2)
        if DNS_PORT in ports:
            yield from _dns(frame, at + 8)
    elif protocol == TCP:
        header = (frame[at + 12] >> 4) * 4
        yield from (Spot(at + 4, 4), Spot(at + 8, 4), Spot(at + 12, 1), Spot(at + 13, 1), Spot(at + 14, 2))
        yield from (Spot(at + one, 1) for one in range(20, header))
        yield from _stream(frame, at + header, ports)


def _stream(frame: bytes, at: int, ports: tuple[int, ...]) -> Iterator[Spot]:
    """Spots of a TCP payload: DNS messages behind lengths, digits of a text, or whatever looks like a length."""
    if DNS_PORT in ports:
        yield Spot(at, 2)
        yield from _dns(frame, at + 2)
    elif HTTP_PORT in ports:
        for found in DIGITS.finditer(frame, at):
            yield Spot(found.start(), found.end() - found.start(), "digits")
        yield from (Spot(found.start(), 2) for found in re.finditer(b"\r\n", frame[at:]))
    else:
        for place in range(at, len(frame) - 1):
            if 0 < int.from_bytes(frame[place : place + 2]) <= len(frame) - place:
                yield Spot(place, 2)


def _dns(frame: bytes, at: int) -> Iterator[Spot]:
    """The header's flags and counts, then every name, type, TTL and data length (RFC 1035 §4.1)."""
    yield from (Spot(at + offset, 2) for offset in (0, 2, 4, 6, 8, 10, 4, 6))
    questions, *others = struct.unpack_from(">4H", frame, at + 4)
    at += 12
    for _ in range(questions):
        at, spots = _name(frame, at)
        yield from (*spots, Spot(at, 2), Spot(at + 2, 2))
        at += 4
    for _ in range(sum(others)):
        at, spots = _name(frame, at)
        length = struct.unpack_from(">H", frame, at + 8)[0]
        yield from (*spots, Spot(at, 2), Spot(at + 2, 2), Spot(at + 4, 4), Spot(at + 8, 2), Spot(at + 8, 2))
        yield from (Spot(place, 1, "name") for place in range(at + 10, at + 10 + min(length, 12)))
        at += 10 + length


def _name(frame: bytes, at: int) -> tuple[int, list[Spot]]:
    """Where the name at `at` ends, and a spot for each label's length."""
    spots = []
    while True:
        spots.append(Spot(at, 1, "name"))
        if frame[at] >= POINTER:
            return at + 2, [*spots, Spot(at, 2)]
        if frame[at] == 0:
            return at + 1, spots
        at += 1 + frame[at]
