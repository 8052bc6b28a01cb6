"""The sidecar: writes the frames of the client's link to a nanosecond pcap."""

import struct
import time
from pathlib import Path
from typing import BinaryIO

SNAP_LENGTH = 262_144
ETHERNET = 1


class Sidecar:
    """An open capture file. Times are the wall clock's at the start, then only grow."""

    def __init__(self, path: Path) -> None:
        self._file: BinaryIO = path.open("wb")
        self._file.write(struct.pack("<IHHiIII", 0xA1B2_3C4D, 2, 4, 0, 0, SNAP_LENGTH, ETHERNET))
        self._start = time.time_ns() - time.monotonic_ns()
        self.frame_count = 0

    def write(self, frame: bytes) -> None:
        seconds, nanoseconds = divmod(self._start + time.monotonic_ns(), 1_000_000_000)
        self._file.write(struct.pack("<IIII", seconds, nanoseconds, len(frame), len(frame)) + frame)
        self.frame_count += 1

    def flush(self) -> None:
        self._file.flush()

    def close(self) -> None:
        self._file.close()
