"""A command in a container, and its two streams as they come."""

import select
import socket
import struct
import time
from collections.abc import Sequence
from typing import Any

from lab.containers.engine import Engine

STDOUT, STDERR = 1, 2
HEADER = struct.Struct(">BxxxI")  # Docker Engine API, "Attach to a container": stream, length
CHUNK = 1 << 16
POLL_S = 0.002  # the engine knows the status a moment after the streams have ended


class Command:
    """A running `docker exec`. `OSError` and the SDK's errors come through: see `engine_errors`.

    It must say nothing before it is written to: what comes together with the engine's own answer is lost in the buffer
    of the HTTP client, out of which the SDK takes the bare socket.
    """

    def __init__(self, engine: Engine, container: str, words: Sequence[str], user: str = "") -> None:
        self._api = engine.api
        self._id = self._api.exec_create(container, list(words), stdin=True, user=user)["Id"]
        self._stream: Any = self._api.exec_start(self._id, socket=True)
        self._socket: socket.socket = getattr(self._stream, "_sock", self._stream)
        self._buffer = bytearray()
        self.ended = False

    def write(self, data: bytes) -> None:
        """Send `data` to the command's standard input."""
        self._socket.sendall(data)

    def read(self, timeout_s: float) -> list[tuple[int, bytes]]:
        """Wait at most `timeout_s` for output: (STDOUT or STDERR, bytes) in order. `ended` is set at its end."""
        readable, _, _ = select.select([self._socket], [], [], max(0.0, timeout_s))
        if not readable:
            return []
        received = self._socket.recv(CHUNK)
        self.ended = not received
        self._buffer += received
        return self._whole_parts()

    def _whole_parts(self) -> list[tuple[int, bytes]]:
        parts: list[tuple[int, bytes]] = []
        position = 0
        while position + HEADER.size <= len(self._buffer):
            stream, length = HEADER.unpack_from(self._buffer, position)
            end = position + HEADER.size + length
            if end > len(self._buffer):
                break
            parts.append((stream, bytes(self._buffer[position + HEADER.size : end])))
            position = end
        del self._buffer[:position]
        return parts

    def wait(self, deadline: float) -> int | None:
        """The exit status of a command whose output has ended; None if it isn't known by `deadline` (monotonic)."""
        while time.monotonic() < deadline:
            status: int | None = self._api.exec_inspect(self._id)["ExitCode"]
            if status is not None:
                return status
            time.sleep(POLL_S)
        return None

    def close(self) -> None:
        """Let go of the streams."""
        self._stream.close()
        self._socket.close()
