"""The records behind a message's question (RFC 1035 §4.1.3), as far as they can be read.

Names are read here, each place of a message once: what many records point to, as in a message made to hurt, is not
read again for each. Of addresses and of data that is a name nothing else is needed; the data of all other types is
read by dnspython.
"""

import ipaddress
import struct
from typing import NamedTuple

import dns.exception
import dns.rdata
import dns.rdataclass
import dns.rdatatype

from analysis.dns.wire import HEADER, HEADER_LENGTH, LONGEST_LABEL, LONGEST_NAME, OPT, RECORD, TYPE_CLASS
from analysis.names import canonical

A, AAAA, CNAME, SOA = 1, 28, 5, 6
NAMES = (2, CNAME, 12, 39)  # types whose data is a name: NS, CNAME, PTR, DNAME (RFC 6672)
IN = 1
MOST_HOPS = 128  # from one pointer to the next: as many as a name can have labels
UNREADABLE = "\\# "
SPECIAL = b'"().;\\@$'
CHARACTERS = [
    f"\\{chr(code)}" if code in SPECIAL else chr(code) if 0x20 < code < 0x7F else f"\\{code:03d}" for code in range(256)
]  # as master files write a name's (RFC 1035 §5.1)

dns.rdata.get_rdata_class(dns.rdataclass.IN, dns.rdatatype.SOA)  # type: ignore[no-untyped-call] # or it is imported later


class Record(NamedTuple):
    """One resource record: owner name, type, data as text, seconds to live."""

    name: str
    type: str
    data: str
    ttl: int

    @property
    def is_readable(self) -> bool:
        """Whether its data is of its type's form, and not only bytes."""
        return not self.data.startswith(UNREADABLE)


class Edns(NamedTuple):
    """An OPT record (RFC 6891 §6.1): version, largest UDP payload in bytes, DNSSEC OK, the numbers of its options."""

    version: int
    payload: int
    dnssec_ok: bool
    options: tuple[int, ...]


class Sections(NamedTuple):
    """Answers, authorities, EDNS, and the upper bits of the rcode that it brings (RFC 6891 §6.1.3)."""

    answers: tuple[Record, ...]
    authority: tuple[Record, ...]
    edns: Edns | None
    extended_rcode: int


class _Found(NamedTuple):
    owner: str
    type: int
    rdclass: int
    ttl: int
    start: int
    length: int


def read_sections(data: bytes) -> Sections:
    """The records of the message `data`, up to the first that is cut off or leads nowhere."""
    _, _, questions, answers, authorities, additionals = HEADER(data)
    names = _Names(data)
    sections: tuple[list[Record], list[Record]] = ([], [])
    edns, extended = None, 0
    at = HEADER_LENGTH
    try:
        for _ in range(questions):
            at = names.read(at)[1] + TYPE_CLASS
        for number in range(answers + authorities + additionals):
            found = _record_at(data, at, names)
            at = found.start + found.length
            if number < answers + authorities:
                sections[number >= answers].append(_as_record(data, found, names))
            elif found.type == OPT:
                edns, extended = _edns(data, found), found.ttl >> 24
    except (IndexError, struct.error):
        pass
    return Sections(tuple(sections[0]), tuple(sections[1]), edns, extended)


def _record_at(data: bytes, at: int, names: "_Names") -> _Found:
    owner, at = names.read(at)
    kind, rdclass, ttl, length = RECORD(data, at)
    if at + 10 + length > len(data):
        raise IndexError
    return _Found(owner, kind, rdclass, ttl, at + 10, length)


class _Names:
    """The names of a message, by the place where each begins."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._known: dict[int, tuple[str, int]] = {}  # text, and its length in octets on the wire

    def read(self, at: int) -> tuple[str, int]:
        """The name at `at`, and where it ends there; `IndexError` if it leads nowhere (RFC 1035 §4.1.4)."""
        data, path, end, hops = self._data, list[tuple[int, str, int]](), 0, 0
        while at not in self._known:
            length = data[at]
            if length >= 0xC0:
                target = (length & 0x3F) << 8 | data[at + 1]
                hops += 1
                if target >= at or hops > MOST_HOPS:
                    raise IndexError
                path.append((at, "", 0))
                end, at = end or at + 2, target
            elif length > LONGEST_LABEL:
                raise IndexError
            elif length:
                label = data[at + 1 : at + 1 + length]
                path.append((at, "".join(map(CHARACTERS.__getitem__, label)) + ".", length + 1))
                at += length + 1
                if len(label) < length or len(path) > LONGEST_NAME:
                    raise IndexError
            else:
                self._known[at] = ("", 1)
        text, octets = self._known[at]
        if not end:
            end = self._end_of(at)
        for place, label_text, size in reversed(path):
            text, octets = label_text + text, octets + size
            if octets > LONGEST_NAME:
                raise IndexError
            self._known[place] = (text, octets)
        return text or ".", end

    def _end_of(self, at: int) -> int:
        """Where the name at `at`, which is known, ends there."""
        while length := self._data[at]:
            if length >= 0xC0:
                return at + 2
            at += length + 1
        return at + 1


def _as_record(data: bytes, found: _Found, names: _Names) -> Record:
    kind = dns.rdatatype.to_text(dns.rdatatype.RdataType.make(found.type))
    if found.rdclass != IN:
        rdclass = dns.rdataclass.to_text(dns.rdataclass.RdataClass.make(found.rdclass))
        kind = f"{rdclass}-{kind}"  # its A is no internet address
    return Record(canonical(found.owner), kind, _data_text(data, found, names), found.ttl)


def _data_text(data: bytes, found: _Found, names: _Names) -> str:
    """The data as master files write it; what can't be read, as RFC 3597 §5 writes unknown types."""
    raw = data[found.start : found.start + found.length]
    if found.rdclass == IN and (found.type, found.length) in ((A, 4), (AAAA, 16)):
        return str(ipaddress.ip_address(raw))
    if found.type in NAMES:
        name, end = names.read(found.start)
        if end == found.start + found.length:
            return canonical(name) if found.type == CNAME else name
    try:
        rdclass, kind = dns.rdataclass.RdataClass.make(found.rdclass), dns.rdatatype.RdataType.make(found.type)
        return dns.rdata.from_wire(rdclass, kind, data, found.start, found.length).to_text()
    except (dns.exception.DNSException, ValueError, IndexError, struct.error):
        return f"{UNREADABLE}{found.length} {raw.hex()}".rstrip()


def _edns(data: bytes, found: _Found) -> Edns:
    options: list[int] = []
    at, end = found.start, found.start + found.length
    while at + 4 <= end:
        code, length = struct.unpack_from("!HH", data, at)
        options.append(code)
        at += 4 + length
    return Edns(found.ttl >> 16 & 0xFF, found.rdclass, bool(found.ttl & 0x8000), tuple(options))
