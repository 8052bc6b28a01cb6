"""What every capture format is read into: the frames of a file as columns, and the comments in it."""

import mmap
from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from analysis.text import plural

Buffer = bytes | mmap.mmap

PCAPNG_MAGIC = b"\x0a\x0d\x0d\x0a"  # the same in either byte order
GZIP_MAGIC = b"\x1f\x8b"
LONGEST_FRAME = 0x0004_0000  # libpcap's own limit (MAXIMUM_SNAPLEN): more is damage, not a frame
READ_WHOLE = 1 << 24  # bytes; a larger file is mapped, which costs no memory, but isn't safe from being cut meanwhile
NO_PACKET = 0xFFFF  # link type of what Wireshark numbers as a frame but no network carried (a log entry); unassigned
LAST_TIME = (1 << 62) - 1  # ns, in the year 2116: the difference of any two times still fits 64 bits


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
class Comment:
    """What somebody wrote into the file: about `frame`, or, where that is None, about the file or an interface.

    Hostile like all that comes from a capture: see `analysis.text.printable`.
    """

    frame: int | None
    text: str


@dataclass(frozen=True, slots=True)
class Content:
    """What a reader found in a file: `problems` make it incomplete, `notes` are only worth saying; both sentences."""

    format: str
    frames: Frames
    problems: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    comments: tuple[Comment, ...] = ()


def words(data: Buffer, order: str) -> npt.NDArray[np.uint32]:
    """The 32-bit word that begins at each byte of `data`, in the byte order `<` or `>`: a view, not a copy."""
    return np.ndarray((max(len(data) - 3, 0),), order + "u4", data, 0, (1,))


def cut_after(whole: int) -> str:
    """The problem of a file that ends too soon, behind `whole` frames."""
    return f"the file ends in the middle of frame {whole + 1}: {plural(whole, 'whole frame')} before it could be read"
