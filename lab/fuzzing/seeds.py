"""The captures that are mutated: each story in some of the link types and file formats, cut into pieces.

A seed is a list of pieces (the file's header, a record, a block), and each piece knows the spots in it where a length,
a count, a number or a name stands. Mutations need no parser of their own, and none of the analysis's: the same number
makes the same mutant whatever the analysis reads.
"""

import gzip
import struct
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from lab.fetches import write_fetches
from lab.fuzzing.spots import Spot, spots_of
from lab.fuzzing.stories import stories

SAMPLES = Path(__file__).parent.parent.parent / "samples"
LINKS = (1, 0x8100, 0x88A8, 113, 276, 0, 108, 101)  # Ethernet plain, with a VLAN tag and with two; then link types
FORMATS = ("<us", ">ns", "pcapng", "<mod", ">us", "<ns", "rich", ">mod", "gzip", "pcapng", "rich", "<us", "<ns")
MAGIC = {"us": 0xA1B2C3D4, "ns": 0xA1B23C4D, "mod": 0xA1B2CD34}
VARIANTS = 4  # of each story
START_S = 1_700_000_000
LONGEST_CORPUS_FILE = 1 << 18
SECTION, INTERFACE, OBSOLETE, SIMPLE, NAMES, STATISTICS, PACKET = 0x0A0D0D0A, 1, 2, 3, 4, 5, 6


@dataclass(frozen=True, slots=True)
class Piece:
    """Some bytes of a file that belong together, and the spots in them.

    `frame`: where a captured frame begins in them, or -1; `length_at`: where its captured length stands, in `order`.
    """

    data: bytes
    spots: tuple[Spot, ...] = ()
    frame: int = -1
    length_at: int = 0
    order: str = "<"


@dataclass(frozen=True, slots=True)
class Seed:
    """A capture to mutate; `packed`: it is to be compressed at last."""

    name: str
    pieces: tuple[Piece, ...]
    packed: bool = False

    @property
    def data(self) -> bytes:
        """The file as it is without a mutation, uncompressed."""
        return b"".join(piece.data for piece in self.pieces)


@cache
def all_seeds(corpus: str = "") -> tuple[Seed, ...]:
    """The built-in seeds, the samples, and the captures in the folder `corpus`, in a fixed order."""
    seeds = [*_told(), *_synthetic()]
    for folder in (SAMPLES, *([Path(corpus)] if corpus else [])):
        paths = (path for path in sorted(folder.glob("*.pcap*")) if 0 < path.stat().st_size <= LONGEST_CORPUS_FILE)
        seeds += [seed_of(path.name, path.read_bytes()) for path in paths]
    return tuple(seeds)


def seed_of(name: str, data: bytes) -> Seed:
    """The file content `data` as a seed; what is no capture becomes one piece."""
    packed = data[:2] == b"\x1f\x8b"
    data = gzip.decompress(data) if packed else data
    order, header = _pcap_kind(data)
    pieces = _records(data, order, header) if order else _blocks(data)
    return Seed(name, tuple(pieces), packed)


def _told() -> Iterator[Seed]:
    """The stories, each in some of the ways to capture and write it, so that all ways come up."""
    for number, (name, packets) in enumerate(stories().items()):
        for variant in range(VARIANTS):
            link = LINKS[(number + 3 * variant) % len(LINKS)]
            form = FORMATS[(3 * number + variant) % len(FORMATS)]
            kind, frames = _linked(link, packets)
            plain = seed_of(f"{name} {link:#x} {form}", _written(form, kind, frames))
            yield Seed(plain.name, plain.pieces, packed=form == "gzip")


def _synthetic() -> Iterator[Seed]:
    """Fetches of the generator for benchmarks."""
    with tempfile.TemporaryDirectory() as folder:
        for number in (1, 2):
            path = Path(folder, "fetches.pcap")
            write_fetches(path, 2, number)
            yield seed_of(f"fetches {number}", path.read_bytes())


# --- writing ---


def _linked(link: int, packets: list[bytes]) -> tuple[int, list[bytes]]:
    """The link type, and the packets as frames of it."""
    macs = bytes.fromhex("020000000002020000000001")
    tags = {0x8100: b"\x81\x00\x00\x07", 0x88A8: b"\x88\xa8\x00\x07\x81\x00\x00\x09"}
    frames = []
    for packet in packets:
        ether = b"\x08\x00" if packet[0] >> 4 == 4 else b"\x86\xdd"
        family = 2 if packet[0] >> 4 == 4 else 30
        head = {
            113: b"\0\0\0\1\0\6" + macs[:8] + ether,
            276: ether + bytes(2) + b"\0\0\0\2\0\1\0\6" + macs[:8],
            0: family.to_bytes(4, "little"),
            108: family.to_bytes(4),
            101: b"",
        }.get(link, macs + tags.get(link, b"") + ether)
        frames.append(head + packet)
    return (link if link < 0x8000 else 1), frames


def _written(form: str, link: int, frames: list[bytes]) -> bytes:
    """The frames as a file, a millisecond apart."""
    if form == "rich":
        return _rich(link, frames)
    if form in ("pcapng", "gzip"):
        head = _section("<") + _block("<", INTERFACE, struct.pack("<HHI", link, 0, 262144))
        return head + b"".join(_packet("<", number, frame) for number, frame in enumerate(frames))
    order, resolution = form[0], form[1:]
    data = struct.pack(order + "IHHiIII", MAGIC[resolution], 2, 4, 0, 0, 262144, link)
    for number, frame in enumerate(frames):
        fraction = number * (1_000_000 if resolution == "ns" else 1000)
        data += struct.pack(order + "IIII", START_S, fraction, len(frame), len(frame))
        data += (struct.pack(order + "IHBB", 1, 0x0800, 0, 0) if resolution == "mod" else b"") + frame
    return data


def _rich(link: int, frames: list[bytes]) -> bytes:
    """A pcapng with most of what one can have: two sections, interfaces, options, every packet block, statistics."""
    comment = struct.pack("<HH", 1, 7) + b"comment\0" + struct.pack("<HH", 0, 0)
    nanoseconds = struct.pack("<HHB3xHHqHH", 9, 1, 9, 14, 8, 3600, 0, 0)  # if_tsresol, if_tsoffset
    interface = struct.pack("<HHI", link, 0, 262144)
    data = _section("<", comment) + _block("<", INTERFACE, interface) + _block("<", INTERFACE, interface + nanoseconds)
    third = max(1, len(frames) // 3)
    data += b"".join(_packet("<", number, frame, comment) for number, frame in enumerate(frames[:third]))
    for number, frame in enumerate(frames[third : 2 * third], third):
        if number % 2:
            data += _block("<", SIMPLE, struct.pack("<I", len(frame)) + frame)
        else:
            ticks = (START_S * 1000 + number) * 1000
            head = struct.pack("<HHIIII", 0, 0xFFFF, ticks >> 32, ticks & 0xFFFFFFFF, len(frame), len(frame))
            data += _block("<", OBSOLETE, head + frame)
    data += _block("<", NAMES, struct.pack("<HH4s", 1, 12, bytes((10, 0, 0, 1))) + b"client\0\0" + bytes(4))
    data += _block("<", STATISTICS, struct.pack("<III", 0, 0, 0) + struct.pack("<HHQHH", 5, 8, 0, 0, 0))
    data += _block("<", 0x0BAD, b"custom block") + _section(">")
    data += _block(">", INTERFACE, struct.pack(">HHI", link, 0, 0))
    return data + b"".join(_packet(">", number, frame) for number, frame in enumerate(frames[2 * third :], 2 * third))


def _section(order: str, options: bytes = b"") -> bytes:
    return _block(order, SECTION, struct.pack(order + "IHHq", 0x1A2B3C4D, 1, 0, -1) + options)


def _packet(order: str, number: int, frame: bytes, options: bytes = b"") -> bytes:
    ticks = (START_S * 1000 + number) * 1000
    head = struct.pack(order + "IIIII", 0, ticks >> 32, ticks & 0xFFFFFFFF, len(frame), len(frame))
    return _block(order, PACKET, head + frame + bytes(-len(frame) % 4) + options)


def _block(order: str, kind: int, body: bytes) -> bytes:
    body += bytes(-len(body) % 4)
    length = struct.pack(order + "I", 12 + len(body))
    return struct.pack(order + "I", kind) + length + body + length


# --- taking apart ---


def _pcap_kind(data: bytes) -> tuple[str, int]:
    """A pcap's byte order and the length of its record headers; empty if it is none."""
    for order in "<>":
        for name, magic in MAGIC.items():
            if data[:4] == struct.pack(order + "I", magic) and len(data) >= 24:
                return order, 24 if name == "mod" else 16
    return "", 0


def _records(data: bytes, order: str, header: int) -> Iterator[Piece]:
    """A pcap's file header and records; what can't be a record is the last piece."""
    yield Piece(data[:24], (Spot(0, 4), Spot(4, 2), Spot(16, 4), Spot(20, 4)))
    position = 24
    while position + header <= len(data):
        end = position + header + struct.unpack_from(order + "I", data, position + 8)[0]
        if end > len(data):
            break
        spots = (Spot(0, 4), Spot(4, 4), Spot(8, 4), Spot(8, 4), Spot(12, 4))
        yield Piece(data[position:end], spots + _within(data[position + header : end], header), header, 8, order)
        position = end
    if position < len(data):
        yield Piece(data[position:])


def _blocks(data: bytes) -> Iterator[Piece]:
    """The blocks of a pcapng; what can't be one is the last piece."""
    order, position = "<", 0
    while position + 12 <= len(data):
        if data[position : position + 4] == b"\x0a\x0d\x0d\x0a":
            order = ">" if data[position + 8] == 0x1A else "<"
        kind, length = struct.unpack_from(order + "II", data, position)
        if length < 12 or position + length > len(data):
            break
        yield _block_piece(order, kind, data[position : position + length])
        position += length
    if position < len(data):
        yield Piece(data[position:])


def _block_piece(order: str, kind: int, block: bytes) -> Piece:
    spots = [Spot(at, 4) for at in range(0, min(len(block) - 3, 28), 4)] + [Spot(len(block) - 4, 4)]
    spots += [Spot(at, 2) for at in range(8, min(len(block) - 4, 64), 2)] if kind in (INTERFACE, STATISTICS) else []
    at, length_at = {PACKET: (28, 20), OBSOLETE: (28, 20), SIMPLE: (12, 8)}.get(kind, (-1, 0))
    if at < 0 or len(block) < at + 4:
        return Piece(block, tuple(spots))
    end = min(at + struct.unpack_from(order + "I", block, length_at)[0], len(block) - 4)
    options = [Spot(place, 2) for place in range(end + -end % 4, len(block) - 5, 2)]
    return Piece(block, (*spots, *options, *_within(block[at:end], at)), at, length_at, order)


def _within(frame: bytes, at: int) -> tuple[Spot, ...]:
    return tuple(spot._replace(at=spot.at + at) for spot in spots_of(frame))
