"""Capture files to frames: pcap and pcapng, plain or compressed with gzip, recognised by content and never by name.

The formats are read in `analysis.files.pcap` and `analysis.files.pcapng`, gzip in `analysis.files.unpack`.
"""

import mmap
import os
import stat
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np

from analysis.errors import InputError
from analysis.files.frames import (
    GZIP_MAGIC,
    LONGEST_FRAME,
    PCAPNG_MAGIC,
    READ_WHOLE,
    Buffer,
    Comment,
    Content,
    Frame,
    Frames,
)
from analysis.files.pcap import VARIANTS, read_pcap

__all__ = [
    "LONGEST_FRAME",
    "Buffer",
    "Capture",
    "Comment",
    "Frame",
    "Frames",
    "Health",
    "parse_capture",
    "read_capture",
]

LONG = 1 << 16  # frames of a capture whose columns are worth a look
Health = Literal["complete", "incomplete", "unknown"]


@dataclass(frozen=True, slots=True)
class Capture:
    """A file's frames, and what is known of its health.

    `format` is `pcap`, `pcap-ns` or `pcapng`, whether the file is `compressed` or not. `health` is `complete` only
    where whoever captured vouches for it (the lab's sidecar), and `incomplete` where something is known to be
    missing; `problems` says what, in sentences. `notes` are sentences too, of what is odd and yet all there;
    `comments` are what people wrote into the file.
    """

    path: str
    format: str
    frames: Frames
    problems: tuple[str, ...] = ()
    health: Health = "unknown"
    comments: tuple[Comment, ...] = ()
    notes: tuple[str, ...] = ()
    compressed: bool = False


def read_capture(path: Path) -> Capture:
    """Read the capture at `path`; `InputError` if it can't be opened or is no capture."""
    try:
        data = _content(path)
    except FileNotFoundError:
        raise InputError(f"{path}: there is no such file", "check the path") from None
    except PermissionError as error:
        raise InputError(f"{path}: can't be read: {error.strerror}", "check its permissions") from None
    except OSError as error:
        raise InputError(f"{path}: can't be read: {error.strerror}", "check the path") from None
    except ValueError:  # a NUL, or what the file system's encoding doesn't have
        raise InputError(f"{str(path)!r}: can't be the name of a file", "check the path") from None
    return parse_capture(data, str(path))


def _content(path: Path) -> Buffer:
    _refuse_special(path, path.stat().st_mode)
    # not blocking, should a pipe have taken the file's place by now
    with open(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC), "rb") as file:  # noqa: PTH123
        status = os.fstat(file.fileno())
        _refuse_special(path, status.st_mode)
        if status.st_size < READ_WHOLE:
            return file.read()
        return mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)


def _refuse_special(path: Path, mode: int) -> None:
    """Only a file that stays has frames to go back to; opening a pipe may wait forever, a device do anything."""
    if stat.S_ISREG(mode):
        return
    if stat.S_ISDIR(mode):
        raise InputError(f"{path}: is a folder, not a capture", f"name a file, such as {path}/capture.pcap")
    kind = "a pipe" if stat.S_ISFIFO(mode) else "a socket" if stat.S_ISSOCK(mode) else "a device"
    raise InputError(f"{path}: is {kind}, not a file", "save what comes out of it in a file first")


def parse_capture(data: Buffer, path: str) -> Capture:
    """Frames of the file content `data`; a file cut in the middle is read up to there, and says so.

    `path` is only a name, for messages. `InputError` if `data` is no capture.
    """
    compressed, problem = data[:2] == GZIP_MAGIC, ""
    if compressed:
        from analysis.files.unpack import unpack

        data, problem = unpack(data, path)
    content = _read(data, path, compressed=compressed)
    problems = [problem] * bool(problem) + list(content.problems)
    return Capture(
        path,
        content.format,
        _compact(content.frames),
        tuple(problems),
        "incomplete" if problems else "unknown",
        content.comments,
        (*content.notes, *_out_of_order(content.frames)),
        compressed,
    )


def _read(data: Buffer, path: str, *, compressed: bool) -> Content:
    if data[:4] in VARIANTS:
        return read_pcap(data, path)
    if data[:4] == PCAPNG_MAGIC:
        from analysis.files.pcapng import read_pcapng

        return read_pcapng(data, path)
    from analysis.files.foreign import describe

    what, next_step = describe(data)
    raise InputError(f"{path}: {'is gzip-compressed, and what is in it ' * compressed}{what}", next_step)


def _compact(frames: Frames) -> Frames:
    """The same in less memory where a column says nothing: all of one link, no frame cut short."""
    if len(frames) < LONG:
        return frames
    is_whole = np.array_equal(frames.captured, frames.wire_length)
    is_one_link = (frames.link_type == frames.link_type[0]).all()
    return replace(
        frames,
        wire_length=frames.captured if is_whole else frames.wire_length,
        link_type=np.broadcast_to(frames.link_type[0], len(frames)) if is_one_link else frames.link_type,
    )


def _out_of_order(frames: Frames) -> list[str]:
    earlier = frames.time_ns[1:] < frames.time_ns[:-1]
    if not earlier.any():
        return []
    return [f"the frames are not in order of time: first at frame {int(earlier.argmax()) + 2}"]
