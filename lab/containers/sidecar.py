"""The sidecar: tcpdump in the client's network namespace, and the proof that its capture is complete.

Theory of operation. tcpdump may start late, lag, or lose its tail, and a file doesn't show it. So datagrams of our own,
*sentinels*, go out on the client's link before the client's command and after the last close. What the sidecar sees it
sees in order: between two sentinels nothing is missing but what the kernel dropped, and that it counts. The frames
between them are the capture; ARP's and the bridge's chatter before them is not.
"""

import re
import secrets
import struct
import time
from collections.abc import Mapping
from pathlib import Path
from typing import BinaryIO

from lab.containers.engine import Engine
from lab.containers.stream import STDOUT, Command

FOLLOW = ("/usr/local/lib/handshake-lab/follow.sh",)
FILE_HEADER, RECORD = 24, struct.Struct("=IIII")  # of a pcap file; tcpdump writes in its machine's byte order
COUNTS = re.compile(
    r"^(\d+) packets? (captured|received by filter|dropped by kernel|dropped by interface)", re.MULTILINE
)


class Sidecar:
    """Follows the capture in `container`; writes the frames between the sentinels to `path`."""

    def __init__(self, engine: Engine, container: str, path: Path) -> None:
        self._command = Command(engine, container, FOLLOW, user="nobody")  # it needs no privilege
        self._first, self._last = (
            f"handshake-lab {word} {secrets.token_hex(16)}".encode() for word in ("first", "last")
        )
        self._file: BinaryIO = path.open("wb")
        self._received = bytearray()
        self._has_header = False
        self.seen_first = self.seen_last = False
        self.frame_count = 0
        self.last_activity = time.monotonic()

    @property
    def ended(self) -> bool:
        """Whether there will be no more of the capture: tcpdump's container is gone."""
        return self._command.ended

    def begin(self, timeout_s: float) -> bool:
        """Send the first sentinel; whether it has been captured in time."""
        self._command.write(self._first + b"\n")
        self._read_until("seen_first", timeout_s)
        return self.seen_first

    def finish(self, timeout_s: float) -> None:
        """Send the last sentinel, and wait until it has been captured, and with it all that came before."""
        self._command.write(self._last + b"\n")
        self._read_until("seen_last", timeout_s)
        self._file.flush()

    def doubts(self, counts: Mapping[str, int], said: str) -> tuple[str, ...]:
        """Why the capture may not be complete; `counts` are tcpdump's (`parse_counts`), `said` is its last line."""
        doubts: list[str] = []
        if self.ended and not self.seen_last:
            doubts.append("the sidecar ended before the run did: frames since then are missing")
        elif not self.seen_last:
            doubts.append("the sentinel sent after the close is not in the capture: its end may be missing")
        if "dropped by kernel" not in counts:
            doubts.append(
                f"tcpdump didn't say how many frames the kernel dropped: some may be missing; its last words: {said}"
            )
        lost = (where for where in ("dropped by kernel", "dropped by interface") if counts.get(where))
        doubts.extend(f"tcpdump: {counts[where]} frame(s) {where}" for where in lost)
        return tuple(doubts)

    def _read_until(self, seen: str, timeout_s: float) -> None:
        deadline = time.monotonic() + timeout_s
        while not getattr(self, seen) and not self.ended and time.monotonic() < deadline:
            self.read(deadline - time.monotonic())

    def read(self, timeout_s: float) -> None:
        """Take in what the sidecar has captured, waiting at most `timeout_s` for more."""
        for stream, data in self._command.read(timeout_s):
            if stream == STDOUT:
                self._received += data
        self._take_records()

    def flush(self) -> None:
        """Let a reader of the file see every frame so far."""
        self._file.flush()

    def close(self) -> None:
        """Close stream and file."""
        self._command.close()
        self._file.close()

    def _take_records(self) -> None:
        if not self._has_header:
            if len(self._received) < FILE_HEADER:
                return
            self._file.write(self._received[:FILE_HEADER])
            del self._received[:FILE_HEADER]
            self._has_header = True
        position = 0
        while position + RECORD.size <= len(self._received):
            end = position + RECORD.size + RECORD.unpack_from(self._received, position)[2]
            if end > len(self._received):
                break
            self._take(bytes(self._received[position:end]))
            position = end
        del self._received[:position]

    def _take(self, record: bytes) -> None:
        if record.endswith(self._first):
            self.seen_first = True
        elif record.endswith(self._last):
            self.seen_last = True
        elif self.seen_first and not self.seen_last:
            self._file.write(record)
            self.frame_count += 1
            self.last_activity = time.monotonic()


def parse_counts(log: str) -> dict[str, int]:
    """What tcpdump counted, by its own words (`captured`, `dropped by kernel`, …); empty before it has ended."""
    return {words: int(number) for number, words in COUNTS.findall(log)}
