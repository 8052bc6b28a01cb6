"""Capture files to frames: pcap (either byte order, µs or ns) and pcapng, recognised by content.

Formats: https://www.ietf.org/archive/id/draft-ietf-opsawg-pcap-04.html and
https://www.ietf.org/archive/id/draft-ietf-opsawg-pcapng-02.html.
"""

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, NamedTuple

from analysis.errors import InputError
from analysis.text import plural

Health = Literal["complete", "incomplete", "unknown"]

PCAP_MAGICS = {  # the first four bytes: byte order for `struct`, nanoseconds a tick
    b"\xa1\xb2\xc3\xd4": (">", 1000),
    b"\xd4\xc3\xb2\xa1": ("<", 1000),
    b"\xa1\xb2\x3c\x4d": (">", 1),
    b"\x4d\x3c\xb2\xa1": ("<", 1),
}
PCAPNG_MAGIC = b"\x0a\x0d\x0d\x0a"
LONGEST_FRAME = 0x0004_0000  # libpcap's own limit (MAXIMUM_SNAPLEN): more is damage, not a frame


class Frame(NamedTuple):
    """One captured packet. `number` counts from 1; `time_ns` is ns since 1970; lengths are bytes."""

    number: int
    time_ns: int
    link_type: int
    wire_length: int
    data: bytes


@dataclass(frozen=True, slots=True)
class Capture:
    """A file's frames, and what is known of its health.

    `health` is `complete` only where whoever captured vouches for it (the lab's sidecar), and
    `incomplete` where something is known to be missing; `problems` says what, in sentences.
    """

    path: str
    format: str
    frames: tuple[Frame, ...]
    problems: tuple[str, ...] = ()
    health: Health = "unknown"


def read_capture(path: Path) -> Capture:
    """Read the capture at `path`; `InputError` if it can't be opened or is no capture."""
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        raise InputError(f"{path}: there is no such file", "check the path") from None
    except IsADirectoryError:
        raise InputError(f"{path}: is a folder, not a capture", f"name a file, such as {path}/capture.pcap") from None
    except OSError as error:
        raise InputError(f"{path}: can't be read: {error.strerror}", "check its permissions") from None
    return parse_capture(data, str(path))


def parse_capture(data: bytes, path: str) -> Capture:
    """Frames of the file content `data`; a file cut in the middle is read up to there, and says so."""
    problems: list[str] = []
    if data[:4] in PCAP_MAGICS:
        kind, frames = _pcap(data, path, problems)
    elif data[:4] == PCAPNG_MAGIC:
        kind, frames = _pcapng(data, path, problems)
    else:
        raise InputError(f"{path}: {_what_it_is(data)}", "hand in a .pcap or .pcapng as tcpdump or Wireshark save it")
    short = [frame.number for frame in frames if len(frame.data) < frame.wire_length]
    if short:
        problems.append(f"the snap length cut {plural(len(short), 'frame')}, first frame {short[0]}: capture with -s 0")
    return Capture(path, kind, tuple(frames), tuple(problems), "incomplete" if problems else "unknown")


def _what_it_is(data: bytes) -> str:
    if not data:
        return "is empty"
    if data[:2] == b"\x1f\x8b":
        return "is gzip-compressed; unpack it with gunzip first"
    if len(data) < 4:
        return f"is no capture: it has only {plural(len(data), 'byte')}"
    return f"is no capture: it begins with {data[:4].hex(' ')}, which neither pcap nor pcapng does"


def _pcap(data: bytes, path: str, problems: list[str]) -> tuple[str, list[Frame]]:
    order, tick_ns = PCAP_MAGICS[data[:4]]
    kind = "pcap-ns" if tick_ns == 1 else "pcap"
    if len(data) < 24:
        raise InputError(f"{path}: ends within its 24-byte file header", "capture again")
    link_type = struct.unpack_from(order + "I", data, 20)[0] & 0x0FFF_FFFF  # the upper bits tell of an FCS
    header = struct.Struct(order + "IIII")
    frames: list[Frame] = []
    position = 24
    while position < len(data):
        if position + 16 > len(data):
            problems.append(_cut(len(frames)))
            break
        seconds, ticks, captured, wire_length = header.unpack_from(data, position)
        position += 16
        if captured > LONGEST_FRAME:
            problems.append(f"frame {len(frames) + 1} claims {captured} bytes: the file is damaged from there on")
            break
        if position + captured > len(data):
            problems.append(_cut(len(frames)))
            break
        time_ns = seconds * 1_000_000_000 + ticks * tick_ns
        content = data[position : position + captured]
        frames.append(Frame(len(frames) + 1, time_ns, link_type, max(wire_length, captured), content))
        position += captured
    return kind, frames


def _cut(whole: int) -> str:
    return f"the file ends in the middle of frame {whole + 1}: {plural(whole, 'whole frame')} before it could be read"


class _Interface(NamedTuple):
    link_type: int
    ticks_per_second: int


def _pcapng(data: bytes, path: str, problems: list[str]) -> tuple[str, list[Frame]]:
    frames: list[Frame] = []
    interfaces: list[_Interface] = []
    for order, kind, body in _blocks(data, path, frames, problems):
        if kind == 0x0A0D0D0A:
            interfaces = []  # a new section starts its own list
        elif kind == 1 and len(body) >= 8:
            interfaces.append(_interface(order, body))
        elif kind == 6 and len(body) >= 20:
            index, high, low, captured, wire_length = struct.unpack_from(order + "IIIII", body)
            if index >= len(interfaces) or captured > len(body) - 20:
                problems.append(f"frame {len(frames) + 1} is damaged: the file was read up to there")
                break
            interface = interfaces[index]
            time_ns = (high << 32 | low) * 1_000_000_000 // interface.ticks_per_second
            content = body[20 : 20 + captured]
            frames.append(Frame(len(frames) + 1, time_ns, interface.link_type, max(wire_length, captured), content))
        elif kind == 3 and len(body) >= 4 and interfaces:
            wire_length = struct.unpack_from(order + "I", body)[0]
            content = body[4 : 4 + wire_length]
            time_ns = frames[-1].time_ns if frames else 0  # a simple packet block has no time of its own
            frames.append(Frame(len(frames) + 1, time_ns, interfaces[0].link_type, wire_length, content))
    return "pcapng", frames


def _blocks(data: bytes, path: str, frames: list[Frame], problems: list[str]) -> Iterator[tuple[str, int, bytes]]:
    """The blocks of a pcapng file: byte order of the section, block type, body."""
    order, position = "<", 0
    while position < len(data):
        if position + 12 > len(data):
            problems.append(_cut(len(frames)))
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
            problems.append(_cut(len(frames)))
            return
        yield order, kind, data[position + 8 : position + length - 4]
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
