"""The HTTP/1.1 server: it answers as the scenario wants it, and closes so. Requests are parsed by h11."""

import fcntl
import socket
import struct
import sys
import termios
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial

import h11

from lab.netns.loop import Loop
from lab.netns.response import render_continue, render_response, split_response
from lab.scenario.model import Response, Server

ACKED_POLL_S = 0.005  # before a close of its own the server waits until its response is acknowledged
BAD_REQUEST = b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"


def serve(behaviour: Server, ready: Callable[[], None], *, ipv6: bool = False) -> None:
    """Answer requests for ever, one thread; `ready` is called when the sockets listen."""
    loop = Loop()
    listeners = [socket.create_server(("", behaviour.port), backlog=64)]
    if ipv6:
        listeners.append(socket.create_server(("", behaviour.port), family=socket.AF_INET6, backlog=64))
    for listener in listeners:
        loop.watch(listener, partial(_accept, loop, listener, behaviour))
    ready()
    loop.run()


def _accept(loop: Loop, listener: socket.socket, behaviour: Server) -> None:
    accepted, (address, port, *_) = listener.accept()
    accepted.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    host = f"[{address}]" if ":" in address else address
    connection = _Connection(loop, accepted, f"{host}:{port}", behaviour)
    loop.watch(accepted, connection.readable)


@dataclass(slots=True)
class _Connection:
    """One connection: requests come in, each is answered before the next is looked at, then somebody closes."""

    loop: Loop
    socket: socket.socket
    peer: str
    behaviour: Server
    received: bytearray = field(default_factory=bytearray)
    answered: int = 0
    is_busy: bool = False  # with a response
    is_closing: bool = False
    has_ended: bool = False  # the client has sent its FIN
    has_continued: bool = False  # 100 (Continue) was sent for the request that is coming in

    def readable(self) -> None:
        try:
            data = self.socket.recv(65_536)
        except ConnectionError as error:
            self._log(error.strerror or "reset")
            self._close()
            return
        self.received += data
        if not data:
            self._ended()
        elif not (self.is_busy or self.is_closing):
            self._look()

    def _ended(self) -> None:
        """The client has closed its half: now it is this side's turn, unless it has a time of its own."""
        self.has_ended = True
        self.loop.forget(self.socket)
        if not (self.is_busy or self.is_closing):
            self._finish()

    def _finish(self) -> None:
        """Close after the client has."""
        wait_s = self.behaviour.close_after_s if self.behaviour.close == "client" else None
        self.is_closing = True
        self.loop.later(wait_s or 0.0, self._close)

    def _look(self) -> None:
        """Answer the request at the beginning of what was received, if it is whole."""
        reader = h11.Connection(h11.SERVER)
        reader.receive_data(bytes(self.received))
        try:
            request = event = reader.next_event()
            while event not in (h11.NEED_DATA, h11.PAUSED) and not isinstance(event, h11.EndOfMessage):
                event = reader.next_event()
        except h11.RemoteProtocolError as error:
            self._log(f"400, {error}")
            self.received.clear()
            self._send([BAD_REQUEST], 0.0, closes=True)
            return
        if not isinstance(request, h11.Request):
            return
        if isinstance(event, h11.EndOfMessage):
            self.received[:] = reader.trailing_data[0]
            self._answer(request)
        elif reader.they_are_waiting_for_100_continue and not self.has_continued:
            self.has_continued = True
            self._write(render_continue())

    def _answer(self, request: h11.Request) -> None:
        target = request.target.decode("latin-1")
        response = self.behaviour.answer(target)
        self._log(f"{f'{request.method.decode()} {target}'!r}: {response.status}")
        self.has_continued = False
        self.answered += 1
        asked_to = _asks_to_close(request)
        is_last = self.behaviour.close != "client" and self.answered >= self.behaviour.requests
        text = render_response(
            response,
            is_head=request.method == b"HEAD",
            says_length=not is_last if self.behaviour.content_length is None else self.behaviour.content_length,
            says_close=asked_to or (is_last and self.behaviour.close == "server"),
        )
        self.is_busy = True
        if asked_to and not is_last:
            self._let_fin_ride()
        self.loop.later(response.think_s, partial(self._respond, text, response, closes=asked_to or is_last))

    def _respond(self, text: bytes, response: Response, *, closes: bool) -> None:
        self._send(split_response(text, response), response.pause_s, closes=closes)

    def _send(self, pieces: list[bytes], pause_s: float, *, closes: bool) -> None:
        """Send the first piece, and the others one by one with a pause before each."""
        if not self._write(pieces[0]):
            return
        if pieces[1:]:
            self.loop.later(pause_s, partial(self._send, pieces[1:], pause_s, closes=closes))
            return
        self.is_busy = False
        if closes:
            self.is_closing = True
            self._close_first()
        elif self.received:
            self._look()
        elif self.has_ended:
            self._finish()

    def _close_first(self) -> None:
        """Close before the client does: when the scenario says so, or once the response is acknowledged.

        In the latter case the FIN or RST is a segment of its own.
        """
        if self.socket.fileno() < 0:  # the client has reset the connection meanwhile
            return
        if self.behaviour.close_after_s is not None and self.behaviour.close != "client":
            self.loop.later(self.behaviour.close_after_s, self._close)
        elif self.behaviour.close == "client" or self.has_ended or not self._unacknowledged():
            self._close()
        else:
            self.loop.later(ACKED_POLL_S, self._close_first)

    def _let_fin_ride(self) -> None:
        """Have the response's last segment carry the FIN, too: a client that knows where it ends closes at once."""
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_CORK, 1)

    def _unacknowledged(self) -> int:
        """Bytes that the client has not acknowledged."""
        count: int = struct.unpack("i", fcntl.ioctl(self.socket, termios.TIOCOUTQ, b"\0" * 4))[0]
        return count

    def _write(self, data: bytes) -> bool:
        """Send all of it; False if the connection is gone, and closed then."""
        try:
            self.socket.sendall(data)
        except OSError as error:
            self._log(error.strerror or "gone")
            self._close()
            return False
        return True

    def _close(self) -> None:
        self.loop.forget(self.socket)
        if self.behaviour.close == "reset" and self.socket.fileno() >= 0:
            linger = struct.pack("ii", 1, 0)  # close sends RST (RFC 9293 §3.9.1.5, ABORT)
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        self.socket.close()

    def _log(self, text: str) -> None:
        print(f"{self.peer}: {text}", file=sys.stderr, flush=True)


def _asks_to_close(request: h11.Request) -> bool:
    """Whether this side must close after the response (RFC 9112 §9.3, §9.6)."""
    options = {
        word.strip().lower() for name, value in request.headers if name == b"connection" for word in value.split(b",")
    }
    return b"close" in options or (request.http_version < b"1.1" and b"keep-alive" not in options)
