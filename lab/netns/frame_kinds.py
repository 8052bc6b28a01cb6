"""What kinds of frame a frame is, in the words of the scenario file's faults.

A few fields at fixed places, read for every frame that passes: the analysis, which knows everything, takes longer than
the wire may. IPv4 (RFC 791 §3.1), IPv6 without extension headers (RFC 8200 §3), TCP (RFC 9293 §3.1), UDP (RFC 768), DNS
(RFC 1035 §4.1.1; over TCP behind a length, §4.2.2).
"""

IPV4, IPV6 = b"\x08\x00", b"\x86\xdd"
TCP, UDP, DNS_PORT = 6, 17, 53
FIN, SYN, RST, ACK = 0x01, 0x02, 0x04, 0x10
QUERY_TYPES = {1: "A", 28: "AAAA"}
ANY = frozenset({"any"})


def kinds_of(frame: bytes) -> frozenset[str]:
    """The kinds of an Ethernet frame: "any" and what of TCP and DNS it is."""
    ethernet_type = frame[12:14]
    try:
        if ethernet_type == IPV4:
            start = 14 + 4 * (frame[14] & 0x0F)
            is_first = not int.from_bytes(frame[20:22]) & 0x1FFF  # a later fragment has no header of TCP or UDP
            return ANY | _transport(frame[23], frame[start : 14 + int.from_bytes(frame[16:18])]) if is_first else ANY
        if ethernet_type == IPV6:
            return ANY | _transport(frame[20], frame[54 : 54 + int.from_bytes(frame[18:20])])
    except IndexError:
        pass
    return ANY


def _transport(protocol: int, segment: bytes) -> frozenset[str]:
    is_dns = DNS_PORT in (int.from_bytes(segment[0:2]), int.from_bytes(segment[2:4]))
    if protocol == UDP:
        return _dns(segment[8:]) if is_dns else frozenset()
    if protocol != TCP:
        return frozenset()
    payload = segment[4 * (segment[12] >> 4) :]
    kinds = _tcp(segment[13], has_data=bool(payload))
    return kinds | _dns(payload[2:]) if is_dns and payload else kinds


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
    word = "answer" if message[2] & 0x80 else "query"
    position = 12
    while message[position]:
        position += 1 + message[position]
    name = QUERY_TYPES.get(int.from_bytes(message[position + 1 : position + 3]))
    return frozenset({f"DNS {word}", *([f"{name} {word}"] if name else [])})
