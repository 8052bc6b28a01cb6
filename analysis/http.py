"""Connections to HTTP/1.x exchanges: one request and its response each (RFC 9112, parsed by h11)."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import h11

from analysis.tcp import Connection, Stream, reassemble

SWITCHING = 101
LARGEST_HEAD = 1 << 20  # bytes
PIECE = 1 << 14  # bytes of a stream that are read at once
METHODS = (b"GET ", b"HEAD ", b"POST ", b"PUT ", b"DELETE ", b"OPTIONS ", b"PATCH ", b"TRACE ", b"CONNECT ")


@dataclass(frozen=True, slots=True)
class Response:
    """A response head. `body_length` counts the body bytes seen, framing not included."""

    version: str
    status: int
    reason: str
    headers: tuple[tuple[str, str], ...]
    body_length: int


@dataclass(frozen=True, slots=True)
class Exchange:
    """One request and its final response.

    `status` is None without a response. `problem` says why the exchange can't be read to its end, or is
    empty. Frames are those that carried any byte of the message.
    """

    method: str
    target: str
    version: str
    headers: tuple[tuple[str, str], ...]
    response: Response | None
    request_frames: tuple[int, ...]
    response_frames: tuple[int, ...]
    problem: str = ""

    @property
    def status(self) -> int | None:
        return None if self.response is None else self.response.status

    @property
    def start_line(self) -> str:
        return f"{self.method} {self.target} HTTP/{self.version}"

    @property
    def status_line(self) -> str:
        if self.response is None:
            return ""
        return f"HTTP/{self.response.version} {self.response.status} {self.response.reason}".rstrip()

    def header(self, name: str) -> str | None:
        """The request's first header field `name` (lower case)."""
        return next((value for key, value in self.headers if key == name), None)


def find_exchanges(connection: Connection) -> tuple[Exchange, ...]:
    """The exchanges on `connection`, in order; none where the client doesn't speak HTTP/1.x."""
    requests = reassemble(connection, "client")
    if not requests.data.startswith(METHODS):
        return ()
    responses = _Responses(reassemble(connection, "server"))
    return tuple(_exchange(request, responses) for request in _requests(requests))


@dataclass(frozen=True, slots=True)
class _Request:
    head: h11.Request
    frames: tuple[int, ...]
    problem: str


class _Reader:
    """An h11 connection that is fed a stream piece by piece, from `start` on: what follows a message costs nothing."""

    def __init__(self, role: type[h11.CLIENT] | type[h11.SERVER], stream: Stream, start: int) -> None:
        self._h11 = h11.Connection(role, max_incomplete_event_size=LARGEST_HEAD)
        self._data = stream.data
        self._fed = start
        self._ends = role is h11.CLIENT and not stream.has_gap  # then its end completes a body that the close delimits

    def send(self, event: h11.Request) -> None:
        self._h11.send(event)

    def next_event(self) -> Any:
        """The next event; NEED_DATA where the stream doesn't go on. `h11.ProtocolError`."""
        while (event := self._h11.next_event()) is h11.NEED_DATA and self._feed():
            pass
        return event

    def _feed(self) -> bool:
        if self._fed < len(self._data):
            self._h11.receive_data(self._data[self._fed : self._fed + PIECE])
            self._fed = min(self._fed + PIECE, len(self._data))
        elif self._ends:
            self._ends = False
            self._h11.receive_data(b"")
        else:
            return False
        return True

    @property
    def position(self) -> int:
        """Where in the stream the message that was read ends."""
        return self._fed - len(self._h11.trailing_data[0])


def _requests(stream: Stream) -> Iterator[_Request]:
    position = 0
    while position < len(stream.data):
        reader = _Reader(h11.SERVER, stream, position)
        try:
            head = reader.next_event()
            if not isinstance(head, h11.Request):
                return
            problem = _read_body(reader)[1]
        except h11.ProtocolError:
            return
        yield _Request(head, stream.frames(position, reader.position), problem)
        if problem:
            return
        position = reader.position


def _read_body(reader: _Reader) -> tuple[int, str]:
    """Read on to the message's end: body bytes, and what kept it from ending."""
    length = 0
    while True:
        try:
            event = reader.next_event()
        except h11.ProtocolError as error:
            return length, str(error)
        if isinstance(event, h11.Data):
            length += len(event.data)
        elif isinstance(event, h11.EndOfMessage) or event is h11.PAUSED:
            return length, ""  # paused: the connection goes on as another protocol's
        else:
            return length, "the message is cut off"


class _Responses:
    """The server's stream, read one response at a time, each in the light of its request."""

    def __init__(self, stream: Stream) -> None:
        self.stream = stream
        self.position = 0

    def next(self, request: h11.Request) -> tuple[Response | None, tuple[int, ...], str]:
        """The final response to `request`, its frames, and what is wrong with it."""
        if self.position >= len(self.stream.data):
            return None, (), "no response was seen"
        reader = _Reader(h11.CLIENT, self.stream, self.position)
        reader.send(_stand_in(request))
        start = self.position
        try:
            head = reader.next_event()
            while isinstance(head, h11.InformationalResponse) and head.status_code != SWITCHING:
                start = reader.position
                head = reader.next_event()
        except h11.ProtocolError as error:
            return None, self.stream.frames(self.position, len(self.stream.data)), str(error)
        if not isinstance(head, h11.Response | h11.InformationalResponse):
            return None, self.stream.frames(self.position, len(self.stream.data)), "its head is cut off"
        body_length, problem = (0, "") if head.status_code == SWITCHING else _read_body(reader)
        self.position = reader.position
        response = Response(_text(head.http_version), head.status_code, _text(head.reason), _headers(head), body_length)
        return response, self.stream.frames(start, self.position), problem


def _stand_in(request: h11.Request) -> h11.Request:
    """What h11 must know of a request to read its response; it won't send HTTP/1.0 itself."""
    upgrade = [(name, value) for name, value in request.headers if name in (b"upgrade", b"connection")]
    return h11.Request(method=request.method, target=b"/", headers=[(b"host", b""), *upgrade])


def _exchange(request: _Request, responses: _Responses) -> Exchange:
    head = request.head
    response, frames, problem = responses.next(head)
    return Exchange(
        _text(head.method),
        _text(head.target),
        _text(head.http_version),
        _headers(head),
        response,
        request.frames,
        frames,
        request.problem or problem,
    )


def _headers(head: h11.Request | h11.Response | h11.InformationalResponse) -> tuple[tuple[str, str], ...]:
    return tuple((_text(bytes(name)), _text(bytes(value))) for name, value in head.headers)


def _text(data: bytes | bytearray) -> str:
    return bytes(data).decode("latin-1")
