"""Capture files to frames: pcap (either byte order, µs or ns) and pcapng, recognised by content.

Formats: https://www.ietf.org/archive/id/draft-ietf-opsawg-pcap-04.html and
https://www.ietf.org/archive/id/draft-ietf-opsawg-pcapng-02.html.
"""

import mmap
import struct
from array import array
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np
import numpy.typing as npt

from analysis.errors import InputError
from analysis.text import plural

Health = Literal["complete", "incomplete", "unknown"]
Buffer = bytes | mmap.mmap

PCAP_MAGICS = {  # the first four bytes: byte order for `struct`, nanoseconds a tick
    b"\xa1\xb2\xc3\xd4": (">", 1000),
    b"\xd4\xc3\xb2\xa1": ("<", 1000),
    b"\xa1\xb2\x3c\x4d": (">", 1),
    b"\x4d\x3c\xb2\xa1": ("<", 1),
}
PCAPNG_MAGIC = b"\x0a\x0d\x0d\x0a"
LONGEST_FRAME = 0x0004_0000  # libpcap's own limit (MAXIMUM_SNAPLEN): more is damage, not a frame
READ_WHOLE = 1 << 24  # bytes; a larger file is mapped, which costs no memory, but isn't safe from being cut meanwhile
LAST_TIME = (1 << 63) - 1  # ns: what 64 bits can count


class Frame(NamedTuple):
    """One captured packet. `number` counts from 1; `time_ns` is ns since 1970; lengths are bytes."""

    number: int
    time_ns: int
    link_type: int
    wire_length: int
    data: bytes


@dataclass(frozen=True, slots=True)
class Frames:
    """The frames of a file as columns, one entry a frame: their bytes stay in `data`, the file's content.

    `start`: where a frame's bytes begin in `data`; `captured`, `wire_length`: bytes; `time_ns`: ns since 1970.
    Indexed or walked through, it gives a `Frame` each.
    """

    data: Buffer
    start: npt.NDArray[np.int64]
    captured: npt.NDArray[np.uint32]
    wire_length: npt.NDArray[np.uint32]
    time_ns: npt.NDArray[np.int64]
    link_type: npt.NDArray[np.uint16]

    def __len__(self) -> int:
        return len(self.start)

    def __getitem__(self, index: int) -> Frame:
        number = range(1, len(self) + 1)[index]
        start = int(self.start[index])
        return Frame(
            number,
            int(self.time_ns[index]),
            int(self.link_type[index]),
            int(self.wire_length[index]),
            self.data[start : start + int(self.captured[index])],
        )

    def __iter__(self) -> Iterator[Frame]:
        return (self[index] for index in range(len(self)))


@dataclass(frozen=True, slots=True)
class Capture:
    """A file's frames, and what is known of its health.

    `health` is `complete` only where whoever captured vouches for it (the lab's sidecar), and
    `incomplete` where something is known to be missing; `problems` says what, in sentences.
    """

    path: str
    format: str
    frames: Frames
    problems: tuple[str, ...] = ()
    health: Health = "unknown"


def read_capture(path: Path) -> Capture:
    """Read the capture at `path`; `InputError` if it can't be opened or is no capture."""
    try:
        data = _content(path)
    except FileNotFoundError:
        raise InputError(f"{path}: there is no such file", "check the path") from None
    except IsADirectoryError:
        raise InputError(f"{path}: is a folder, not a capture", f"name a file, such as {path}/capture.pcap") from None
    except OSError as error:
        raise InputError(f"{path}: can't be read: {error.strerror}", "check its permissions") from None
    return parse_capture(data, str(path))


def _content(path: Path) -> Buffer:
    with path.open("rb") as file:
        if path.stat().st_size < READ_WHOLE:
            return file.read()
        return mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)


def parse_capture(data: Buffer, path: str) -> Capture:
    """Frames of the file content `data`; a file cut in the middle is read up to there, and says so."""
    problems: list[str] = []
    if data[:4] in PCAP_MAGICS:
        kind, frames = _pcap(data, path, problems)
    elif data[:4] == PCAPNG_MAGIC:
        kind, frames = _pcapng(data, path, problems)
    else:
        raise InputError(f"{path}: {_what_it_is(data)}", "hand in a .pcap or .pcapng as tcpdump or Wireshark save it")
    short = np.flatnonzero(frames.captured < frames.wire_length)
    if len(short):
        cut = plural(len(short), "frame")
        problems.append(f"the snap length cut {cut}, first frame {short[0] + 1}: capture with -s 0")
    return Capture(path, kind, frames, tuple(problems), "incomplete" if problems else "unknown")


def _what_it_is(data: Buffer) -> str:
    if not data:
        return "is empty"
    if data[:2] == b"\x1f\x8b":
        return "is gzip-compressed; unpack it with gunzip first"
    if len(data) < 4:
        return f"is no capture: it has only {plural(len(data), 'byte')}"
    return f"is no capture: it begins with {data[:4].hex(' ')}, which neither pcap nor pcapng does"


def _pcap(data: Buffer, path: str, problems: list[str]) -> tuple[str, Frames]:
    order, tick_ns = PCAP_MAGICS[data[:4]]
    kind = "pcap-ns" if tick_ns == 1 else "pcap"
    if len(data) < 24:
        raise InputError(f"{path}: ends within its 24-byte file header", "capture again")
    link_type = struct.unpack_from(order + "I", data, 20)[0] & 0xFFFF  # the upper bits tell of an FCS
    start = np.array(_pcap_records(data, order, problems), np.int64)
    word = np.ndarray((len(data) - 3,), order + "u4", data, 0, (1,))  # the 32-bit word that begins at each byte
    captured = word[start - 8].astype(np.uint32)
    return kind, Frames(
        data,
        start,
        captured,
        np.maximum(word[start - 4], captured).astype(np.uint32),
        word[start - 16].astype(np.int64) * 1_000_000_000 + word[start - 12].astype(np.int64) * tick_ns,
        np.full(len(start), link_type, np.uint16),
    )


def _pcap_records(data: Buffer, order: str, problems: list[str]) -> "array[int]":
    """Where the bytes of each whole frame begin: the one step that must go record by record."""
    starts = array("q")
    add, length_at, end = starts.append, struct.Struct(order + "I").unpack_from, len(data)
    position = 40  # the file header, and the first record's
    while position <= end:
        following = position + length_at(data, position - 8)[0]
        if following > end or following - position > LONGEST_FRAME:
            break
        add(position)
        position = following + 16
    if position - 16 < end:
        captured = length_at(data, position - 8)[0] if position <= end else 0
        damaged = f"frame {len(starts) + 1} claims {captured} bytes: the file is damaged from there on"
        problems.append(damaged if captured > LONGEST_FRAME else _cut(len(starts)))
    return starts


def _cut(whole: int) -> str:
    return f"the file ends in the middle of frame {whole + 1}: {plural(whole, 'whole frame')} before it could be read"


class _Interface(NamedTuple):
    link_type: int
    ticks_per_second: int


class _Record(NamedTuple):
    """A frame's entry in every column, in the order of `Frames`' own."""

    start: int
    captured: int
    wire_length: int
    time_ns: int
    link_type: int


def _pcapng(data: Buffer, path: str, problems: list[str]) -> tuple[str, Frames]:
    records: list[_Record] = []
    interfaces: list[_Interface] = []
    for order, kind, body, length in _blocks(data, path, records, problems):
        if kind == 0x0A0D0D0A:
            interfaces = []  # a new section starts its own list
        elif kind == 1 and length >= 8:
            interfaces.append(_interface(order, data[body : body + length]))
        elif kind == 6 and length >= 20:
            index, high, low, captured, wire_length = struct.unpack_from(order + "IIIII", data, body)
            if index >= len(interfaces) or captured > min(length - 20, LONGEST_FRAME):
                problems.append(f"frame {len(records) + 1} is damaged: the file was read up to there")
                break
            interface = interfaces[index]
            time_ns = min((high << 32 | low) * 1_000_000_000 // interface.ticks_per_second, LAST_TIME)
            records.append(_Record(body + 20, captured, max(wire_length, captured), time_ns, interface.link_type))
        elif kind == 3 and length >= 4 and interfaces:
            wire_length = struct.unpack_from(order + "I", data, body)[0]
            time_ns = records[-1].time_ns if records else 0  # a simple packet block has no time of its own
            records.append(
                _Record(
                    body + 4, min(wire_length, length - 4, LONGEST_FRAME), wire_length, time_ns, interfaces[0].link_type
                )
            )
    return "pcapng", _frames(data, records)


def _frames(data: Buffer, records: list[_Record]) -> Frames:
    columns = np.array(records, np.int64).reshape(len(records), 5).T
    start, captured, wire_length, time_ns, link_type = columns
    lengths = captured.astype(np.uint32), wire_length.astype(np.uint32)
    return Frames(data, start.copy(), *lengths, time_ns.copy(), link_type.astype(np.uint16))


def _blocks(
    data: Buffer, path: str, records: list[_Record], problems: list[str]
) -> Iterator[tuple[str, int, int, int]]:
    """The blocks of a pcapng file: byte order of the section, block type, where the body begins, its length."""
    order, position = "<", 0
    while position < len(data):
        if position + 12 > len(data):
            problems.append(_cut(len(records)))
            return
        if data[position : position + 4] == PCAPNG_MAGIC:
            orders = {b"\x1a\x2b\x3c\x4d": ">", b"\x4d\x3c\x2b\x1a": "<"}
            marker = data[position + 8 : position + 12]
            if marker not in orders:
                raise InputError(f"{path}: its pcapng section header has no byte-order mark", "capture again")
            order = orders[marker]
        kind, length = struct.unpack_from(order + "II", data, position)
        if length < 12 or length % 4:
            problems.append(f"a block at byte {position} claims {length} bytes: the file is damaged from there on")
            return
        if position + length > len(data):
            problems.append(_cut(len(records)))
            return
        yield order, kind, position + 8, length - 12
        position += length


def _interface(order: str, body: bytes) -> _Interface:
    link_type = struct.unpack_from(order + "H", body)[0]
    ticks = 1_000_000
    position = 8
    while position + 4 <= len(body):
        code, length = struct.unpack_from(order + "HH", body, position)
        if code == 0:
            break
        if code == 9 and length == 1 and position + 4 < len(body):  # if_tsresol
            value = body[position + 4]
            ticks = 1 << (value & 0x7F) if value & 0x80 else 10 ** min(value, 18)
        position += 4 + length + (-length % 4)
    return _Interface(link_type, ticks)
