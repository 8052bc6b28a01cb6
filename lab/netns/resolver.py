"""The resolver: a DNS server of ours, made to be told how to behave; messages by dnspython.

RFC 1035 §4.2: UDP and TCP on port 53. A response that doesn't fit a datagram goes out truncated (RFC 2181 §9).
"""

import selectors
import socket
import sys
from collections.abc import Callable, Mapping

import dns.exception
import dns.flags
import dns.message
import dns.rcode
import dns.rdataclass
import dns.rdatatype
import dns.rrset

from lab.scenario import LONGEST_CHAIN, Name

PORT = 53
TTL = 60
PLAIN_LIMIT = 512  # bytes a UDP message may have without EDNS (RFC 1035 §4.2.1)


class Answers:
    """What the scenario's names answer."""

    def __init__(self, names: Mapping[str, Name]) -> None:
        self.names = names

    def reply(self, wire: bytes, limit: int | None) -> bytes | None:
        """The response to the query `wire`, in at most `limit` bytes; None if it is no query."""
        try:
            query = dns.message.from_wire(wire)
        except dns.exception.DNSException:
            return None
        if query.flags & dns.flags.QR or not query.question:
            return None
        response = dns.message.make_response(query, recursion_available=True)
        self._fill(response)
        if limit is not None and query.edns >= 0:
            limit = max(PLAIN_LIMIT, query.payload)
        try:  # dnspython shuffles records unless told not to, and glibc takes the first: the same every time is wanted
            data = response.to_wire(max_size=limit or 65_535, want_shuffle=False)
        except dns.exception.TooBig:
            response.answer.clear()
            response.flags |= dns.flags.TC
            data = response.to_wire()
        question = query.question[0]
        self._log(f"{question.name} {dns.rdatatype.to_text(question.rdtype)}", response)
        return data

    def _log(self, question: str, response: dns.message.Message) -> None:
        truncated = ", truncated" if response.flags & dns.flags.TC else ""
        code = dns.rcode.to_text(response.rcode())
        print(
            f"{question}: {code}, {len(response.answer)} answer set(s){truncated}",
            file=sys.stderr,
            flush=True,
        )

    def _fill(self, response: dns.message.Message) -> None:
        question = response.question[0]
        owner = question.name.to_text().lower().removesuffix(".")
        for _ in range(LONGEST_CHAIN + 1):
            name = self.names.get(owner)
            if name is None:
                if not any(other.endswith(f".{owner}") for other in self.names):  # else it exists, empty: RFC 8020 §2
                    response.set_rcode(dns.rcode.NXDOMAIN)
                return
            if name.rcode is not None:
                response.set_rcode(dns.rcode.from_text(name.rcode))
                return
            if name.cname is None:
                break
            response.answer.append(_rrset(owner, "CNAME", name.cname + "."))
            owner = name.cname
        else:
            return
        version = {dns.rdatatype.A: 4, dns.rdatatype.AAAA: 6}.get(question.rdtype)
        addresses = [str(address) for address in name.addresses if address.version == version]
        if addresses:
            response.answer.append(_rrset(owner, dns.rdatatype.to_text(question.rdtype), *addresses))


def _rrset(owner: str, kind: str, *data: str) -> dns.rrset.RRset:
    return dns.rrset.from_text(owner + ".", TTL, "IN", kind, *data)


def serve(names: Mapping[str, Name], ready: Callable[[], None]) -> None:
    """Answer queries for ever; `ready` is called when both sockets listen."""
    answers = Answers(names)
    selector = selectors.DefaultSelector()
    datagrams = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    datagrams.bind(("", PORT))
    listener = socket.create_server(("", PORT))

    def datagram() -> None:
        query, source = datagrams.recvfrom(65_535)
        reply = answers.reply(query, PLAIN_LIMIT)
        if reply is not None:
            datagrams.sendto(reply, source)

    def accept() -> None:
        connection, _ = listener.accept()
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        buffer = bytearray()
        selector.register(connection, selectors.EVENT_READ, lambda: stream(connection, buffer))

    def stream(connection: socket.socket, buffer: bytearray) -> None:
        try:
            received = connection.recv(65_535)
            buffer += received
            replies = b"".join(_framed_replies(buffer, answers))
            if replies:
                connection.sendall(replies)
        except ConnectionError:
            received = b""
        if not received:
            selector.unregister(connection)
            connection.close()

    selector.register(datagrams, selectors.EVENT_READ, datagram)
    selector.register(listener, selectors.EVENT_READ, accept)
    ready()
    while True:
        for key, _ in selector.select():
            key.data()


def _framed_replies(buffer: bytearray, answers: Answers) -> list[bytes]:
    """Replies to the whole messages in `buffer`, which they leave, each behind its length (RFC 1035 §4.2.2)."""
    replies: list[bytes] = []
    while len(buffer) >= 2 and len(buffer) >= 2 + int.from_bytes(buffer[:2]):
        end = 2 + int.from_bytes(buffer[:2])
        reply = answers.reply(bytes(buffer[2:end]), None)
        del buffer[:end]
        if reply is not None:
            replies.append(len(reply).to_bytes(2) + reply)
    return replies
