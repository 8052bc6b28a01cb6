"""Damaged captures that can be made again: the same seed and number give the same bytes, on any machine.

First pieces (records, blocks) are moved about, then bytes are changed in place, most of them where a length, a count
or a name stands; half the time checksums are put right afterwards, since what is damaged on the way is read otherwise.
"""

import gzip
import struct
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from itertools import accumulate
from random import Random
from typing import Literal

from lab.fetches import TCP, UDP
from lab.fuzzing.seeds import Piece, Seed, all_seeds
from lab.fuzzing.spots import Spot, network_of
from lab.fuzzing.stories import checksum

MOVES = (1, 1, 1, 2, 2, 3, 4, 6, 8)  # how many are stacked
PIECE_MOVES = 0.25  # the share of them that moves pieces
MOST_REPEATS = 2000
BYTES = (0, 1, 0x7F, 0x80, 0xC0, 0xFF)
NUMBERS = (
    *(0, 1, 2, 4, 7, 8, 12, 19, 20, 40, 63, 64, 127, 128, 255, 256, 512, 1024, 1500, 4095, 4096),
    *(0x7FFF, 0x8000, 0xC00C, 0xFFFE, 0xFFFF, 0x10000, 0x3FFFF, 0x40000),
    *(0x7FFFFFFF, 0x80000000, 0xFFFFFFFE, 0xFFFFFFFF),
)
DIGITS = (b"0", b"1", b"-1", b"+5", b"99999999999999999999", b"ffffffffffffffff", b"4294967296", b"1e9", b" 7", b"\xb2")
IN_FRAMES, AT_SPOTS = 0.92, 0.7
MENDED, CUT, TRAILED, REPACKED = 0.5, 0.06, 0.02, 0.3


@dataclass(frozen=True, slots=True)
class Mutant:
    """A damaged capture, which number of its fuzz job it is, and what it was made of."""

    number: int
    seed_name: str
    data: bytes


def make_mutant(seed: int, number: int, corpus: str = "") -> Mutant:
    """Mutant `number` of the job with `seed`; `corpus` is a folder of further captures to start from."""
    dice = Random(f"{seed}/{number}")  # noqa: S311 - damage that can be made again, no secret
    seeds = all_seeds(corpus)
    base = dice.choice(seeds)
    return Mutant(number, base.name, mutate(base, dice, seeds))


def mutate(base: Seed, dice: Random, seeds: tuple[Seed, ...]) -> bytes:
    """The seed `base` with some damage, perhaps with pieces of the other `seeds`, as the content of a file."""
    moves = dice.choice(MOVES)
    for_pieces = sum(dice.random() < PIECE_MOVES for _ in range(moves))
    pieces = list(base.pieces)
    for _ in range(for_pieces):
        dice.choice(OF_PIECES)(pieces, dice, seeds)
    draft = Draft(pieces or list(base.pieces[:1]), dice)
    for _ in range(moves - for_pieces):
        dice.choice(OF_BYTES)(draft)
    if dice.random() < MENDED:
        draft.mend()
    return _finished(bytes(draft.content), base, dice)


def _finished(data: bytes, base: Seed, dice: Random) -> bytes:
    """The file cut, followed by something, or compressed: what can be done to any file."""
    if dice.random() < CUT:
        data = data[: dice.randrange(len(data) + 1)]
    if dice.random() < TRAILED:
        data += dice.randbytes(dice.randrange(1, 40))
    if not base.packed:
        return data
    packed = bytearray(gzip.compress(data, 1, mtime=0))
    if dice.random() < REPACKED:
        packed[dice.randrange(len(packed))] ^= 1 << dice.randrange(8)
    if dice.random() < CUT:
        del packed[dice.randrange(len(packed)) :]
    return bytes(packed) + (bytes(packed) if dice.random() < TRAILED else b"")


# --- moves of pieces; the first one, a file's header, mostly stays where it is ---


def _index(pieces: list[Piece], dice: Random) -> int:
    return dice.randrange(min(1, len(pieces) - 1), len(pieces)) if dice.random() < 0.98 else 0


def _duplicate(pieces: list[Piece], dice: Random, _: tuple[Seed, ...]) -> None:
    pieces.insert(_index(pieces, dice) + 1, pieces[_index(pieces, dice)])


def _remove(pieces: list[Piece], dice: Random, _: tuple[Seed, ...]) -> None:
    if len(pieces) > 1:
        del pieces[_index(pieces, dice)]


def _swap(pieces: list[Piece], dice: Random, _: tuple[Seed, ...]) -> None:
    one, other = _index(pieces, dice), _index(pieces, dice)
    pieces[one], pieces[other] = pieces[other], pieces[one]


def _shuffle(pieces: list[Piece], dice: Random, _: tuple[Seed, ...]) -> None:
    first = _index(pieces, dice)
    some = pieces[first : first + 5]
    dice.shuffle(some)
    pieces[first : first + 5] = some


def _splice(pieces: list[Piece], dice: Random, seeds: tuple[Seed, ...]) -> None:
    """Some pieces of another seed, mostly of one whose records can be read here."""
    others = [seed.pieces for seed in seeds]
    kin = [other for other in others if other[0].data[:4] == pieces[0].data[:4]]
    source = dice.choice(kin if kin and dice.random() < 0.9 else others)
    first = _index(list(source), dice)
    at = _index(pieces, dice) + 1
    pieces[at:at] = source[first : first + dice.randrange(1, 12)]


def _amplify(pieces: list[Piece], dice: Random, _: tuple[Seed, ...]) -> None:
    """One piece or a few, over and over; rarely very often, since that takes long."""
    if dice.random() < 0.6 or len(pieces) > 100:
        return
    first = _index(pieces, dice)
    some = pieces[first : first + dice.choice((1, 1, 2, 5))]
    times = int(MOST_REPEATS ** dice.random() / len(some))
    pieces[first:first] = some * times


def _shorten(pieces: list[Piece], dice: Random, _: tuple[Seed, ...]) -> None:
    """A frame cut by a snap length: all that the file says of it stays right."""
    index = _index(pieces, dice)
    piece = pieces[index]
    if piece.frame < 0:
        return
    captured = struct.unpack_from(piece.order + "I", piece.data, piece.length_at)[0]
    kept = dice.randrange(min(captured, len(piece.data) - piece.frame) + 1)
    data = bytearray(piece.data)
    struct.pack_into(piece.order + "I", data, piece.length_at, kept)
    if piece.length_at == 8 and piece.frame >= 16:  # a pcap's record ends where its frame does
        del data[piece.frame + kept :]
    pieces[index] = replace(piece, data=bytes(data))


OF_PIECES: tuple[Callable[[list[Piece], Random, tuple[Seed, ...]], None], ...] = (
    *(_duplicate, _remove, _swap, _shuffle, _splice, _amplify, _shorten, _shorten),
)


# --- moves of bytes ---


@dataclass(slots=True)
class Draft:
    """A file being damaged in place: where its pieces begin, and which have been touched."""

    pieces: list[Piece]
    dice: Random
    content: bytearray = field(init=False)
    starts: list[int] = field(init=False)
    touched: set[int] = field(default_factory=set)

    def __post_init__(self) -> None:
        self.content = bytearray(b"".join(piece.data for piece in self.pieces))
        self.starts = [0, *accumulate(len(piece.data) for piece in self.pieces)][:-1]

    def spot(self) -> Spot:
        """Somewhere to do damage, by its place in the file: mostly in a frame, mostly where something stands."""
        index = self._piece()
        piece, start = self.pieces[index], self.starts[index]
        self.touched.add(index)
        spots = piece.spots
        if spots and self.dice.random() < AT_SPOTS:
            spot = self.dice.choice(spots)
        else:
            first = max(0, min(piece.frame, len(piece.data) - 1))
            spot = Spot(self.dice.randrange(first, max(1, len(piece.data))), 1)
        return spot._replace(at=min(start + spot.at, len(self.content) - 1))

    def _piece(self) -> int:
        for _ in range(5):
            index = self.dice.randrange(len(self.pieces))
            if self.pieces[index].frame >= 0 or self.dice.random() > IN_FRAMES:
                return index
        return 0

    def write(self, at: int, data: bytes) -> None:
        """Overwrite, without making the file longer."""
        room = max(0, len(self.content) - at)
        self.content[at : at + len(data)] = data[:room]

    def mend(self) -> None:
        """Make the checksums of the frames that were touched right again."""
        for index in self.touched:
            piece, start = self.pieces[index], self.starts[index]
            if piece.frame >= 0:
                first, end = start + piece.frame, start + len(piece.data)
                self.write(first, mended(bytes(self.content[first:end])))


def mended(frame: bytes) -> bytes:
    """The frame with the checksums of its IPv4 header and of the TCP or UDP in it put right, where it has them."""
    at = network_of(frame)
    if at is None:
        return frame
    data = bytearray(frame)
    if frame[at] >> 4 == 4:
        transport, end = at + (frame[at] & 15) * 4, at + int.from_bytes(frame[at + 2 : at + 4])
        protocol, addresses = frame[at + 9], frame[at + 12 : at + 20]
        data[at + 10 : at + 12] = checksum(frame[at : at + 10] + b"\0\0" + frame[at + 12 : transport]).to_bytes(2)
    else:
        transport, end = at + 40, at + 40 + int.from_bytes(frame[at + 4 : at + 6])
        protocol, addresses = frame[at + 6], frame[at + 8 : at + 40]
    place = transport + {TCP: 16, UDP: 6}.get(protocol, len(frame))
    if place + 2 <= end <= len(frame):
        data[place : place + 2] = b"\0\0"
        segment = bytes(data[transport:end])
        pseudo = addresses + struct.pack(">II", len(segment), protocol)
        data[place : place + 2] = checksum(pseudo + segment).to_bytes(2)
    return bytes(data)


def _flip(draft: Draft) -> None:
    spot = draft.spot()
    draft.content[spot.at] ^= 1 << draft.dice.randrange(8)


def _set_byte(draft: Draft) -> None:
    spot = draft.spot()
    draft.content[spot.at] = draft.dice.choice((*BYTES, draft.dice.randrange(256)))


def _set_number(draft: Draft) -> None:
    """An odd number of the spot's size, or of another one, in either byte order."""
    spot = draft.spot()
    size = spot.size if spot.size in (1, 2, 4) and draft.dice.random() < 0.9 else draft.dice.choice((1, 2, 4))
    number = draft.dice.choice(NUMBERS) % (1 << 8 * size)
    draft.write(spot.at, number.to_bytes(size, "big" if draft.dice.random() < 0.7 else "little"))


def _nudge(draft: Draft) -> None:
    """A length or a count that is off by a few."""
    spot = draft.spot()
    order: Literal["big", "little"] = "little" if spot.size == 4 and draft.dice.random() < 0.5 else "big"
    number = int.from_bytes(draft.content[spot.at : spot.at + spot.size], order)
    number = (number + draft.dice.choice((-8, -4, -2, -1, 1, 2, 4, 8))) % (1 << 8 * spot.size)
    draft.write(spot.at, number.to_bytes(spot.size, order))


def _zeros(draft: Draft) -> None:
    draft.write(draft.spot().at, bytes(draft.dice.randrange(1, 64)))


def _noise(draft: Draft) -> None:
    draft.write(draft.spot().at, draft.dice.randbytes(draft.dice.randrange(1, 12)))


def _copy(draft: Draft) -> None:
    """Bytes from somewhere else in the file."""
    source = draft.spot().at
    draft.write(draft.spot().at, bytes(draft.content[source : source + draft.dice.randrange(1, 48)]))


def _absurd(draft: Draft) -> None:
    """Ones, or the largest positive number: as many as nothing can have."""
    spot = draft.spot()
    draft.write(spot.at, draft.dice.choice((b"\xff", b"\xff", b"\x7f")) + b"\xff" * (spot.size - 1))


def _lie(draft: Draft) -> None:
    """What fits the spot: other digits, a pointer in a name, or an odd number."""
    for _ in range(10):
        spot = draft.spot()
        if spot.kind == "digits":
            draft.write(spot.at, draft.dice.choice(DIGITS)[: spot.size].rjust(spot.size, b"0"))
            return
        if spot.kind == "name":
            near = draft.dice.choice((0, 12, 12, draft.dice.randrange(256), 0x3FFF))
            draft.write(spot.at, (0xC000 | near).to_bytes(2) if draft.dice.random() < 0.7 else b"\x3f")
            return
    _set_number(draft)


OF_BYTES: tuple[Callable[[Draft], None], ...] = (
    *(_flip, _flip, _set_byte, _set_byte, _set_number, _set_number, _nudge, _nudge),
    *(_zeros, _noise, _copy, _absurd, _lie, _lie),
)
