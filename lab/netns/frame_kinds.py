"""What kinds of frame a frame is, in the words of the scenario file's faults.

A few fields at fixed places, read for every frame that passes: the analysis, which knows everything, takes longer than
the wire may. IPv4 (RFC 791 §3.1), IPv6 without extension headers (RFC 8200 §3), TCP (RFC 9293 §3.1), UDP (RFC 768), DNS
(RFC 1035 §4.1.1). Over TCP each DNS message stands behind its length (RFC 1035 §4.2.2), so where one begins depends on
all before it: `FrameKinds` remembers that for each way of each connection.
"""

from collections.abc import Iterator

IPV4, IPV6 = b"\x08\x00", b"\x86\xdd"
TCP, UDP, DNS_PORT = 6, 17, 53
FIN, SYN, RST, ACK = 0x01, 0x02, 0x04, 0x10
QUERY_TYPES = {1: "A", 28: "AAAA"}
ANY = frozenset({"any"})
CIRCLE = 1 << 32  # sequence numbers begin anew there
MOST_BEGINNINGS = 10_000  # of messages that are remembered of one way


class FrameKinds:
    """The kinds of frames, seen in the order in which they were sent."""

    def __init__(self) -> None:
        self._messages: dict[bytes, _Beginnings] = {}  # by addresses and ports

    def of(self, frame: bytes, *, may_be_dns: bool = True) -> frozenset[str]:
        """The kinds of an Ethernet frame: "any" and what of TCP and DNS it is."""
        ethernet_type = frame[12:14]
        try:
            if ethernet_type == IPV4:
                start = 14 + 4 * (frame[14] & 0x0F)
                is_first = not int.from_bytes(frame[20:22]) & 0x1FFF  # a later fragment has no header of TCP or UDP
                ends, segment = frame[26:34], frame[start : 14 + int.from_bytes(frame[16:18])]
                return ANY | self._transport(frame[23], ends, segment, may_be_dns) if is_first else ANY
            if ethernet_type == IPV6:
                segment = frame[54 : 54 + int.from_bytes(frame[18:20])]
                return ANY | self._transport(frame[20], frame[22:54], segment, may_be_dns)
        except IndexError:
            pass
        return ANY

    def _transport(self, protocol: int, ends: bytes, segment: bytes, may_be_dns: bool) -> frozenset[str]:
        is_dns = may_be_dns and DNS_PORT in (int.from_bytes(segment[0:2]), int.from_bytes(segment[2:4]))
        if protocol == UDP:
            return _dns(segment[8:]) if is_dns else frozenset()
        if protocol != TCP:
            return frozenset()
        payload = segment[4 * (segment[12] >> 4) :]
        kinds = _tcp(segment[13], has_data=bool(payload))
        if not is_dns:
            return kinds
        first = int.from_bytes(segment[4:8]) + bool(segment[13] & SYN)
        way = ends + segment[0:4]
        if segment[13] & SYN:
            self._messages[way] = _Beginnings(first)
        beginnings = self._messages.get(way)
        return kinds.union(*map(_dns, beginnings.messages(first, payload) if beginnings and payload else ()))


class _Beginnings:
    """Where the DNS messages of one way of a connection begin, in numbers of the first byte's circle."""

    def __init__(self, first: int) -> None:
        self._known = {first % CIRCLE}
        self._next = first % CIRCLE  # where the one after all that was sent begins

    def messages(self, first: int, payload: bytes) -> Iterator[bytes]:
        """What is there of each message that begins in a segment, be it sent again or not."""
        offset = (self._next - first) % CIRCLE
        while offset + 2 <= len(payload) and len(self._known) < MOST_BEGINNINGS:
            offset += 2 + int.from_bytes(payload[offset : offset + 2])
            self._next = (first + offset) % CIRCLE
            self._known.add(self._next)
        for at in range(len(payload)):
            if (first + at) % CIRCLE in self._known:
                yield payload[at + 2 :]


def _tcp(flags: int, *, has_data: bool) -> frozenset[str]:
    kinds = {"data"} if has_data else set()
    if flags & SYN:
        kinds.add("SYN,ACK" if flags & ACK else "SYN")
    if flags & FIN:
        kinds.add("FIN")
    if flags & RST:
        kinds.add("RST")
    if flags & ACK and not kinds:
        kinds.add("ACK")
    return frozenset(kinds)


def _dns(message: bytes) -> frozenset[str]:
    """The kinds of a message of which the beginning is there; none if too little of it is."""
    position = 12
    try:
        word = "answer" if message[2] & 0x80 else "query"
        while message[position]:
            position += 1 + message[position]
    except IndexError:
        return frozenset()
    name = QUERY_TYPES.get(int.from_bytes(message[position + 1 : position + 3]))
    return frozenset({f"DNS {word}", *([f"{name} {word}"] if name else [])})
