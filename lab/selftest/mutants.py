"""Captures with one thing changed, for `invoke selftest`: every frame, every change, nothing left to chance.

Checksums are put right afterwards, so that what is judged is the change and not the damage.
"""

import struct
from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import accumulate

import numpy as np

from analysis.files.capture import Capture, Frames
from analysis.packets.packet import ACK, FIN, RST, SYN, TCP
from lab.fuzzing.mutants import mended
from lab.fuzzing.spots import network_of

MOST_FRAMES = 100  # of a longer capture, those that `sampled` names
FIRST, LAST, EVERY = 20, 20, 25
FAR = 1_000_000  # bytes: beyond every window of the pack
FLAGS = {"FIN": FIN, "SYN": SYN, "RST": RST, "ACK": ACK}
CIRCLE = 1 << 32


@dataclass(frozen=True, slots=True)
class Mutant:
    """`capture` with one thing changed at `frame` (from 1, as in the original): `change` says what, `kind` in a word.

    `copy` is the frame that was added behind it, in the mutant's own numbers, or None.
    """

    frame: int
    kind: str
    change: str
    capture: Capture
    copy: int | None = None


def sampled(count: int) -> tuple[int, ...]:
    """The frames of a capture of `count` that are changed: all; of a long one the first, the last and every 25th."""
    if count <= MOST_FRAMES:
        return tuple(range(1, count + 1))
    some = {*range(1, FIRST + 1), *range(EVERY, count, EVERY), *range(count - LAST + 1, count + 1)}
    return tuple(sorted(some))


def mutants(capture: Capture, frames: tuple[int, ...]) -> Iterator[Mutant]:
    """Every mutant of `capture` at `frames`."""
    original = [frame.data for frame in capture.frames]
    times = capture.frames.time_ns.tolist()
    for number in frames:
        yield from _moved(capture, original, times, number)
        for kind, change, data in _changed(original[number - 1]):
            pieces = [*original[: number - 1], data, *original[number:]]
            yield Mutant(number, kind, change, _with(capture, pieces, times))


def _moved(capture: Capture, original: list[bytes], times: list[int], number: int) -> Iterator[Mutant]:
    """The frame dropped, captured twice, sent once more by its host, swapped with the next one (times stay)."""
    at = number - 1
    gone = _with(capture, original[:at] + original[number:], times[:at] + times[number:])
    yield Mutant(number, "dropped", "dropped", gone)
    doubled_times = times[:number] + times[at:]
    doubled = _with(capture, original[:number] + original[at:], doubled_times)
    yield Mutant(number, "doubled", "doubled, byte for byte", doubled, number + 1)
    again = _identified_anew(original[at])
    if again is not None:
        pieces = [*original[:number], again, *original[number:]]
        yield Mutant(number, "sent again", "sent again", _with(capture, pieces, doubled_times), number + 1)
    if number < len(original):
        pieces = [*original[:at], original[number], original[at], *original[number + 1 :]]
        yield Mutant(number, "swapped", f"swapped with frame {number + 1}", _with(capture, pieces, times))


def _changed(frame: bytes) -> Iterator[tuple[str, str, bytes]]:
    """Each change of a TCP header: kind, words, the frame with it."""
    at = _tcp_of(frame)
    if at is None:
        return
    for name, flag in FLAGS.items():
        how = "taken away" if frame[at + 13] & flag else "added"
        yield "flag", f"{name} {how}", mended(frame[: at + 13] + bytes([frame[at + 13] ^ flag]) + frame[at + 14 :])
    yield "Seq", "Seq + 1", _add(frame, at + 4, 1)
    yield "Seq", f"Seq + {FAR:,}", _add(frame, at + 4, FAR)
    yield "Ack", "Ack + 1", _add(frame, at + 8, 1)


def _add(frame: bytes, at: int, amount: int) -> bytes:
    number = (int.from_bytes(frame[at : at + 4]) + amount) % CIRCLE
    return mended(frame[:at] + number.to_bytes(4) + frame[at + 4 :])


def _tcp_of(frame: bytes) -> int | None:
    """Where the TCP header begins, or None."""
    at = network_of(frame)
    if at is None:
        return None
    is_ipv4 = frame[at] >> 4 == 4
    protocol, header = (frame[at + 9], (frame[at] & 15) * 4) if is_ipv4 else (frame[at + 6], 40)
    return at + header if protocol == TCP else None


def _identified_anew(frame: bytes) -> bytes | None:
    """The frame as its host would send it once more: with another identification. IPv6 has none: None."""
    at = network_of(frame)
    if at is None or frame[at] >> 4 != 4:
        return None
    (number,) = struct.unpack_from("!H", frame, at + 4)
    return mended(frame[: at + 4] + struct.pack("!H", number ^ 0x8000) + frame[at + 6 :])


def _with(capture: Capture, pieces: list[bytes], times: list[int]) -> Capture:
    """The capture with other frames, which were captured whole."""
    sizes = [len(piece) for piece in pieces]
    frames = Frames(
        b"".join(pieces),
        np.array([0, *accumulate(sizes)][: len(sizes)], np.int64),
        np.array(sizes, np.uint32),
        np.array(sizes, np.uint32),
        np.array(times, np.int64),
        np.full(len(sizes), capture.frames.link_type[0], np.uint16),
    )
    return replace(capture, frames=frames)
