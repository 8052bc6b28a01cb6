"""The HTTP/1.1 server: one write a response, and a close as the scenario wants it. Requests are parsed by h11."""

import fcntl
import selectors
import socket
import struct
import sys
import termios
from collections.abc import Callable
from dataclasses import dataclass, field

import h11

from lab.scenario import Response, Server

SEND_BUFFER = 4_000_000
ACKED_POLL_S = 0.005  # before a close of its own the server waits until its response is acknowledged
BODYLESS = (204, 304)


@dataclass(slots=True)
class _Connection:
    socket: socket.socket
    peer: str
    received: bytearray = field(default_factory=bytearray)
    closing: bool = False


def serve(behaviour: Server, ready: Callable[[], None]) -> None:
    """Answer requests for ever, one thread; `ready` is called when the socket listens."""
    selector = selectors.DefaultSelector()
    listener = socket.create_server(("", behaviour.port), backlog=64)

    def accept() -> None:
        accepted, (address, port) = listener.accept()
        accepted.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        accepted.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BUFFER)
        connection = _Connection(accepted, f"{address}:{port}")
        selector.register(accepted, selectors.EVENT_READ, lambda: readable(connection))

    def readable(connection: _Connection) -> None:
        try:
            data = connection.socket.recv(65_536)
            connection.received += data
            if data and not connection.closing:
                _answer(connection, behaviour)
        except ConnectionError as error:
            print(f"{connection.peer}: {error.strerror}", file=sys.stderr, flush=True)
            data = b""
        if not data:
            end(connection)
        elif connection.closing:
            selector.unregister(connection.socket)
            close_first(connection)
            connection.socket.close()

    def close_first(connection: _Connection) -> None:
        _wait_until_acknowledged(connection.socket)
        if behaviour.close == "reset":
            linger = struct.pack("ii", 1, 0)  # close sends RST (RFC 9293 §3.9.1.5, ABORT)
            connection.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)

    def end(connection: _Connection) -> None:
        selector.unregister(connection.socket)
        connection.socket.close()

    selector.register(listener, selectors.EVENT_READ, accept)
    ready()
    while True:
        for key, _ in selector.select():
            key.data()


def _wait_until_acknowledged(connection: socket.socket) -> None:
    """Return when the peer has acknowledged all bytes, so that the FIN or RST is a segment of its own."""
    timer = selectors.DefaultSelector()
    timer.register(connection, selectors.EVENT_READ)  # the peer closing first ends the wait, too
    while struct.unpack("i", fcntl.ioctl(connection, termios.TIOCOUTQ, b"\0" * 4))[0]:
        if timer.select(ACKED_POLL_S):
            return


def _answer(connection: _Connection, behaviour: Server) -> None:
    """Answer each whole request received."""
    while connection.received and not connection.closing:
        reader = h11.Connection(h11.SERVER)
        reader.receive_data(bytes(connection.received))
        try:
            request = reader.next_event()
            event = request
            while event not in (h11.NEED_DATA, h11.PAUSED) and not isinstance(event, h11.EndOfMessage):
                event = reader.next_event()
        except h11.RemoteProtocolError as error:
            print(f"{connection.peer}: 400, {error}", file=sys.stderr, flush=True)
            connection.socket.sendall(b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\nContent-Length: 0\r\n\r\n")
            connection.closing = True
            return
        if not isinstance(request, h11.Request) or not isinstance(event, h11.EndOfMessage):
            return
        connection.received[:] = reader.trailing_data[0]
        wants_close = any(name == b"connection" and b"close" in value.lower() for name, value in request.headers)
        connection.closing = behaviour.close != "client"
        target = request.target.decode("latin-1")
        answer = behaviour.answer(target)
        is_head = request.method == b"HEAD"
        connection.socket.sendall(render_response(answer, behaviour.close, is_head=is_head, wants_close=wants_close))
        line = f"{request.method.decode()} {target}"
        print(f"{connection.peer}: {line!r}: {answer.status}", file=sys.stderr, flush=True)


def render_response(response: Response, close: str, *, is_head: bool, wants_close: bool) -> bytes:
    """Head and body. A header of the scenario takes the place of the server's own of that name.

    Where the server closes first the body is delimited by the close (RFC 9112 §6.3), else client and
    server would race to it.
    """
    own = {"Server": "handshake-lab", "Content-Type": "text/plain"}
    if not response.body:
        del own["Content-Type"]
    if close == "client" and response.status not in BODYLESS:
        own["Content-Length"] = str(len(response.body))
    if close == "server" or wants_close:
        own["Connection"] = "close"
    given = {name.lower() for name, _ in response.headers}
    headers = [
        *((name, value) for name, value in own.items() if name.lower() not in given),
        *response.headers,
    ]
    lines = [
        f"HTTP/1.1 {response.status} {response.reason}",
        *(f"{name}: {value}" for name, value in headers),
    ]
    return "\r\n".join((*lines, "", "")).encode("latin-1") + (b"" if is_head else response.body)
