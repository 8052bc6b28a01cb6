"""The resolver: a DNS server of ours, made to be told how to behave; messages by dnspython.

RFC 1035 §4.2: UDP and TCP on port 53. A response that doesn't fit a datagram goes out truncated (RFC 2181 §9).
"""

import socket
import sys
from collections.abc import Callable, Mapping
from typing import NamedTuple

import dns.exception
import dns.flags
import dns.message
import dns.rcode
import dns.rdataclass
import dns.rdatatype
import dns.rrset

from lab.netns.loop import Loop
from lab.scenario.model import Answer, Name
from lab.scenario.names import LONGEST_CHAIN

PORT = 53
PLAIN_LIMIT = 512  # bytes a UDP message may have without EDNS (RFC 1035 §4.2.1)


class Reply(NamedTuple):
    """A response, and how long it takes (seconds)."""

    message: bytes
    delay_s: float


class Answers:
    """What the scenario's names answer, turn by turn."""

    def __init__(self, names: Mapping[str, Name]) -> None:
        self.names = names
        self._asked: dict[tuple[str, int], int] = {}

    def reply(self, wire: bytes, limit: int | None) -> Reply | None:
        """The response to the query `wire`, in at most `limit` bytes (None: over TCP); None if there is none."""
        try:
            query = dns.message.from_wire(wire)
        except dns.exception.DNSException:
            return None
        if query.flags & dns.flags.QR or not query.question:
            return None
        question = query.question[0]
        owner = question.name.to_text().lower().removesuffix(".")
        number = self._asked.get((owner, question.rdtype), 0)
        self._asked[owner, question.rdtype] = number + 1
        answer = self.names[owner].turn(number) if owner in self.names else Answer()
        asked = f"{question.name} {dns.rdatatype.to_text(question.rdtype)}"
        if answer.silent:
            _log(f"{asked}: no answer")
            return None
        response = dns.message.make_response(query, recursion_available=True)
        self._fill(response, owner, number)
        data = _to_wire(response, query, limit, truncated=answer.truncated)
        truncated = ", truncated" if response.flags & dns.flags.TC else ""
        _log(f"{asked}: {dns.rcode.to_text(response.rcode())}, {len(response.answer)} answer set(s){truncated}")
        return Reply(data, answer.delay_s)

    def _fill(self, response: dns.message.Message, owner: str, number: int) -> None:
        """Follow the aliases from `owner` on, as they are for the query `number`."""
        for _ in range(LONGEST_CHAIN + 1):
            if owner not in self.names:
                if not any(other.endswith(f".{owner}") for other in self.names):  # else it exists, empty: RFC 8020 §2
                    response.set_rcode(dns.rcode.NXDOMAIN)
                return
            answer = self.names[owner].turn(number)
            if answer.rcode is not None:
                response.set_rcode(dns.rcode.from_text(answer.rcode))
                return
            if answer.cname is None:
                _add_addresses(response, owner, answer)
                return
            response.answer.append(_rrset(owner, answer.ttl_s, "CNAME", answer.cname + "."))
            owner = answer.cname


def _add_addresses(response: dns.message.Message, owner: str, answer: Answer) -> None:
    kind = response.question[0].rdtype
    version = {dns.rdatatype.A: 4, dns.rdatatype.AAAA: 6}.get(kind)
    addresses = [str(address) for address in answer.addresses if address.version == version]
    if addresses:
        response.answer.append(_rrset(owner, answer.ttl_s, dns.rdatatype.to_text(kind), *addresses))


def _rrset(owner: str, ttl_s: int, kind: str, *data: str) -> dns.rrset.RRset:
    return dns.rrset.from_text(owner + ".", ttl_s, "IN", kind, *data)


def _to_wire(response: dns.message.Message, query: dns.message.Message, limit: int | None, *, truncated: bool) -> bytes:
    if limit is not None and query.edns >= 0:
        limit = max(PLAIN_LIMIT, query.payload)
    if not (truncated and limit is not None):
        try:  # dnspython shuffles records unless told not to, and glibc takes the first: the same every time is wanted
            return response.to_wire(max_size=limit or 65_535, want_shuffle=False)
        except dns.exception.TooBig:
            pass
    response.answer.clear()
    response.flags |= dns.flags.TC
    return response.to_wire()


def _log(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def serve(names: Mapping[str, Name], ready: Callable[[], None]) -> None:
    """Answer queries for ever; `ready` is called when both sockets listen."""
    answers = Answers(names)
    loop = Loop()
    datagrams = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    datagrams.bind(("", PORT))
    listener = socket.create_server(("", PORT))

    def datagram() -> None:
        query, source = datagrams.recvfrom(65_535)
        reply = answers.reply(query, PLAIN_LIMIT)
        if reply is not None:
            loop.later(reply.delay_s, lambda: _send_datagram(datagrams, reply.message, source))

    def accept() -> None:
        connection, _ = listener.accept()
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        buffer = bytearray()
        loop.watch(connection, lambda: stream(connection, buffer))

    def stream(connection: socket.socket, buffer: bytearray) -> None:
        try:
            received = connection.recv(65_535)
        except ConnectionError:
            received = b""
        buffer += received
        replies = [reply for query in _whole_messages(buffer) if (reply := answers.reply(query, None))]
        framed = b"".join(len(reply.message).to_bytes(2) + reply.message for reply in replies)
        if framed:  # together, as late as the latest
            loop.later(max(reply.delay_s for reply in replies), lambda: _send_stream(connection, framed))
        if not received:
            loop.forget(connection)
            connection.close()

    loop.watch(datagrams, datagram)
    loop.watch(listener, accept)
    ready()
    loop.run()


def _send_datagram(datagrams: socket.socket, message: bytes, target: tuple[str, int]) -> None:
    try:
        datagrams.sendto(message, target)
    except OSError as error:
        _log(f"{target[0]}:{target[1]}: {error.strerror}")


def _send_stream(connection: socket.socket, framed: bytes) -> None:
    try:
        connection.sendall(framed)
    except OSError as error:  # it may be closed already
        _log(f"over TCP: {error.strerror}")


def _whole_messages(buffer: bytearray) -> list[bytes]:
    """The whole messages in `buffer`, which they leave; each stands behind its length (RFC 1035 §4.2.2)."""
    messages: list[bytes] = []
    while len(buffer) >= 2 and len(buffer) >= 2 + int.from_bytes(buffer[:2]):
        end = 2 + int.from_bytes(buffer[:2])
        messages.append(bytes(buffer[2:end]))
        del buffer[:end]
    return messages
