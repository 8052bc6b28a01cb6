"""Connections to HTTP/1.x exchanges: one request and its response each (RFC 9112, parsed by h11)."""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import h11

from analysis.tcp.connection import Connection
from analysis.tcp.stream import Stream, reassemble
from analysis.text import plural

SWITCHING = 101
LARGEST_HEAD = 1 << 20  # bytes
PIECE = 1 << 14  # bytes of a stream that are read at once
METHODS = (b"GET ", b"HEAD ", b"POST ", b"PUT ", b"DELETE ", b"OPTIONS ", b"PATCH ", b"TRACE ", b"CONNECT ")
OTHER_METHOD = re.compile(rb"[A-Z][A-Z-]{1,31} [^ \r\n]{1,8000} HTTP/1\.[01]\r?\n")  # such as WebDAV's
BEYOND_H11 = "Only Transfer-Encoding: chunked is supported"  # its limit, and lawful (RFC 9112 §7)


@dataclass(frozen=True, slots=True)
class Response:
    """A response head. `body_length` counts the body bytes seen, framing not included."""

    version: str
    status: int
    reason: str
    headers: tuple[tuple[str, str], ...]
    body_length: int

    def header(self, name: str) -> str | None:
        """The first header field `name` (lower case)."""
        return next((value for key, value in self.headers if key == name), None)


@dataclass(frozen=True, slots=True)
class Exchange:
    """One request and its final response.

    `status` is None without a response. `problem` says why the exchange isn't as HTTP/1.x wants it, or can't be read
    to its end; else it is empty. `is_certain`: no frame that the capture lacks could mend it. Frames are those that
    carried any byte of the message, in capture order: the last one completed it.
    """

    method: str
    target: str
    version: str
    headers: tuple[tuple[str, str], ...]
    response: Response | None
    request_frames: tuple[int, ...]
    response_frames: tuple[int, ...]
    problem: str = ""
    is_certain: bool = True
    request_frame: int = 0  # of the request's first byte
    response_frame: int = 0  # of the response's first byte; 0 without one

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
    """The exchanges on `connection`: see `read_exchanges`."""
    client, server = reassemble(connection, "client"), reassemble(connection, "server")
    return read_exchanges(client, server, answered_before(connection, client, server))


def answered_before(connection: Connection, client: Stream, server: Stream) -> int:
    """How many bytes of `server` the client had when it sent the first byte of `client`.

    Joined midway, those belong to requests that were not captured.
    """
    if not client.starts_late or not client.pieces:
        return 0
    ack = next(one.ack for one in connection.segments if one.frame == client.pieces[0].frame)
    return min(max(0, (ack or 0) - server.first), len(server.data))


def read_exchanges(client: Stream, server: Stream, answered: int = 0) -> tuple[Exchange, ...]:
    """The exchanges in a connection's two streams, in order; none where the client doesn't speak HTTP/1.x.

    `answered`: how many bytes of the server belong to requests before the first one here.
    """
    if not _is_request(client.data, _skip_blank(client.data, 0)):
        return ()
    if server.ending == "open" and client.ending == "reset":
        server = replace(server, ending="peer-reset")
    requests, responses = _Requests(client), _Responses(server, answered)
    exchanges = [_exchange(request, responses) for request in requests]
    if client.starts_late or server.starts_late:  # then a stream may begin in the midst of a message
        exchanges = [replace(one, is_certain=not one.problem) for one in exchanges]
    last = exchanges[-1]
    if not last.problem and not responses.has_switched and (left := requests.left or responses.left):
        may_lack_requests = client.has_gap or client.starts_late
        exchanges[-1] = replace(last, problem=left, is_certain=not may_lack_requests)
    return tuple(exchanges)


class _Problem(NamedTuple):
    """What is wrong with a message, or an empty text; `is_certain` as in `Exchange`."""

    text: str = ""
    is_certain: bool = True


@dataclass(frozen=True, slots=True)
class _Request:
    method: bytes
    target: bytes
    version: bytes
    headers: tuple[tuple[str, str], ...]
    upgrade: tuple[tuple[bytes, bytes], ...]  # what h11 must know to read an answer that switches protocols
    frames: tuple[int, ...]
    problem: _Problem
    is_short: bool = False  # its head is there, and not all of its body


def _is_request(data: bytes, at: int) -> bool:
    return data.startswith(METHODS, at) or OTHER_METHOD.match(data, at) is not None


def _skip_blank(data: bytes, at: int) -> int:
    """Behind the empty lines at `at`, which a server ignores before a request (RFC 9112 §2.2)."""
    while data.startswith(b"\r\n", at):
        at += 2
    return at


class _Reader:
    """An h11 connection that is fed a stream piece by piece, from `start` on: what follows a message costs nothing."""

    def __init__(self, role: type[h11.CLIENT] | type[h11.SERVER], stream: Stream, start: int) -> None:
        self._h11 = h11.Connection(role, max_incomplete_event_size=LARGEST_HEAD)
        self._data = stream.data
        self._fed = start
        self._stream = stream
        self._ends = (
            role is h11.CLIENT and stream.ending == "close"
        )  # then its end completes a body that the close delimits

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

    def cut(self, what: str) -> _Problem:
        """Why the stream doesn't go on."""
        if self._stream.has_gap:
            return _Problem(f"{what} lacks bytes that were not captured", is_certain=False)
        if self._stream.ending == "peer-reset":
            return _Problem(f"the other side's reset cuts {what} off", is_certain=False)
        if self._stream.ending != "open":
            return _Problem(f"the {self._stream.ending} cuts {what} off")
        return _Problem(f"{what} is cut off: no more of it, and no close, is in the capture", is_certain=False)


class _Requests:
    """The client's stream, read one request at a time; `left` says what remains behind the last one."""

    def __init__(self, stream: Stream) -> None:
        self._stream = stream
        self._position = 0

    def __iter__(self) -> Iterator[_Request]:
        data = self._stream.data
        while _is_request(data, start := _skip_blank(data, self._position)):
            reader = _Reader(h11.SERVER, self._stream, start)
            try:
                head = reader.next_event()
            except h11.ProtocolError as error:
                yield self._unlawful(start, str(error))
                return
            if not isinstance(head, h11.Request):
                yield self._unlawful(start, "")
                return
            problem = _read_body(reader)[1]
            self._position = reader.position
            frames = self._stream.frames(start, self._position)
            upgrade = tuple((name, value) for name, value in head.headers if name in (b"upgrade", b"connection"))
            fields = (head.method, head.target, head.http_version, _headers(head), upgrade, frames, problem)
            yield _Request(*fields, is_short=bool(problem.text))
            if problem.text:
                return

    def _unlawful(self, start: int, why: str) -> _Request:
        """A head that h11 doesn't take, or that isn't all there: its lines as far as they can be told apart."""
        data = self._stream.data
        ends = [end for mark in (b"\r\n\r\n", b"\n\n") if (end := data.find(mark, start, start + LARGEST_HEAD)) >= 0]
        self._position = min(ends) + 4 if ends else len(data)
        first, *lines = data[start : min(ends) if ends else start + LARGEST_HEAD].splitlines() or [b""]
        lines = lines if ends else lines[:-1]  # the last one isn't all there
        method, target, version = (*first.split(b" ", 2), b"", b"")[:3]
        problem = _Problem(f"the request is not as it should be: {why}")
        if not ends:
            problem = _Reader(h11.SERVER, self._stream, start).cut("the request's head")
        elif not version:
            problem = _Problem("the request line has no version, as in HTTP/0.9")
        frames = self._stream.frames(start, min(self._position, len(data)))
        number = version.removeprefix(b"HTTP/") or b"0.9"
        return _Request(method, target, number, _lines_as_headers(lines), (), frames, problem)

    @property
    def left(self) -> str:
        rest = len(self._stream.data) - _skip_blank(self._stream.data, self._position)
        return f"{plural(rest, 'byte')} of the client follow that are no request" if rest > 0 else ""


def _lines_as_headers(lines: Iterable[bytes]) -> tuple[tuple[str, str], ...]:
    split = (line.partition(b":") for line in lines)
    return tuple((_text(name).strip().lower(), _text(value).strip()) for name, colon, value in split if colon)


def _refused(error: Exception) -> _Problem:
    """What h11 doesn't take is wrong, unless it is only more than h11 can."""
    if str(error) == BEYOND_H11:
        return _Problem("its transfer coding is not read here", is_certain=False)
    return _Problem(re.sub(r"bytearray\(b(.*)\)", r"\1", str(error)))


def _read_body(reader: _Reader) -> tuple[int, _Problem]:
    """Read on to the message's end: body bytes, and what kept it from ending."""
    length = 0
    while True:
        try:
            event = reader.next_event()
        except h11.ProtocolError as error:
            return length, _refused(error)
        if isinstance(event, h11.Data):
            length += len(event.data)
        elif isinstance(event, h11.EndOfMessage) or event is h11.PAUSED:
            return length, _Problem()  # paused: the connection goes on as another protocol's
        else:
            return length, reader.cut("the message")


class _Responses:
    """The server's stream, read one response at a time, each in the light of its request."""

    def __init__(self, stream: Stream, start: int) -> None:
        self.stream = stream
        self.has_switched = False  # to another protocol: what follows isn't HTTP
        self._position = start

    @property
    def left(self) -> str:
        rest = len(self.stream.data) - self._position
        return f"{plural(rest, 'byte')} of the server follow that no request asked for" if rest > 0 else ""

    def next(self, request: _Request) -> tuple[Response | None, tuple[int, ...], _Problem]:
        """The final response to `request`, its frames, and what is wrong with it."""
        reader = _Reader(h11.CLIENT, self.stream, self._position)
        if self._position >= len(self.stream.data):
            return None, (), _Problem("no response was seen", is_certain=reader.cut("").is_certain)
        reader.send(_stand_in(request))
        start = self._position
        try:
            head = reader.next_event()
            while isinstance(head, h11.InformationalResponse) and head.status_code != SWITCHING:
                start = reader.position
                head = reader.next_event()
        except (h11.ProtocolError, ValueError) as error:
            return None, self._rest(), _refused(error)
        if not isinstance(head, h11.Response | h11.InformationalResponse):
            return None, self._rest(), reader.cut("the response's head")
        switches = head.status_code == SWITCHING or (request.method == b"CONNECT" and head.status_code < 300)
        self.has_switched = self.has_switched or switches
        body_length, problem = (0, _Problem()) if head.status_code == SWITCHING else _read_body(reader)
        self._position = reader.position
        response = Response(_text(head.http_version), head.status_code, _text(head.reason), _headers(head), body_length)
        return response, self.stream.frames(start, self._position), problem

    def _rest(self) -> tuple[int, ...]:
        """The frames of all that is left, which belongs to nothing else now."""
        start, self._position = self._position, len(self.stream.data)
        return self.stream.frames(start, self._position)


def _stand_in(request: _Request) -> h11.Request:
    """What h11 must know of a request to read its response; it won't send HTTP/1.0 itself."""
    return h11.Request(method=request.method, target=b"/", headers=[(b"host", b""), *request.upgrade])


def _exchange(request: _Request, responses: _Responses) -> Exchange:
    response, frames, problem = responses.next(request)
    found = _worst(request, response, problem)
    return Exchange(
        _text(request.method),
        _text(request.target),
        _text(request.version),
        request.headers,
        response,
        tuple(sorted(request.frames)),
        tuple(sorted(frames)),
        found.text,
        found.is_certain,
        next(iter(request.frames), 0),
        next(iter(frames), 0),
    )


def _worst(request: _Request, response: Response | None, problem: _Problem) -> _Problem:
    """The request's problem, or else the response's.

    A server may refuse before it has all of a request, whose client then needn't send the rest (RFC 9110 §10.1.1,
    RFC 9112 §9.3): that is no problem. Where no response was seen for want of frames, nothing is certain.
    """
    if not request.problem.text or (response is not None and response.status >= 300 and request.is_short):
        return problem
    if response is None and not problem.is_certain:
        return request.problem._replace(is_certain=False)
    return request.problem


def _headers(head: h11.Request | h11.Response | h11.InformationalResponse) -> tuple[tuple[str, str], ...]:
    return tuple((_text(bytes(name)), _text(bytes(value))) for name, value in head.headers)


def _text(data: bytes | bytearray) -> str:
    return bytes(data).decode("latin-1")
