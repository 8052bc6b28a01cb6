"""A DNS message's bytes: the few facts that pairing needs, and how a response ends its lookup.

RFC 1035 §4 (messages), RFC 2308 §2 (NXDOMAIN, NODATA), RFC 6891 §6.1.3 (the rcode's upper bits). A summary reads
hundreds of thousands of messages so; `analysis.dns.records` reads the rest, when someone looks at it.
"""

from struct import Struct, error
from typing import Literal, NamedTuple

Status = Literal[
    "answered",
    "nxdomain",
    "nodata",
    "refused",
    "servfail",
    "truncated",
    "unanswered",
    "error",
    "cut",  # the response is there, but not all of it was captured, and what is missing might tell
    "malformed",  # the response's records are cut short or lead nowhere, though all was captured
]

STATUS_OF_RCODE: dict[int, Status] = {2: "servfail", 3: "nxdomain", 5: "refused"}
OPT = 41
HEADER_LENGTH = 12
HEADER = Struct("!HHHHHH").unpack_from
RECORD = Struct("!HHIH").unpack_from  # type, class, seconds to live, length of the data
TYPE_CLASS = 4
LONGEST_LABEL, LONGEST_NAME = 63, 255  # octets (RFC 1035 §2.3.4)
IS_RESPONSE, OPCODE, IS_TRUNCATED, RCODE = 0x8000, 0x7800, 0x0200, 0x000F
ANY_TYPE = range(251, 256)  # IXFR, AXFR, MAILB, MAILA and ANY: answered by records of any type (RFC 1035 §3.2.3)
ANY_CLASS = 255


class Facts(NamedTuple):
    """What pairing needs of a message. `question`: the name in lower case, type and class, as on the wire."""

    id: int
    is_response: bool
    question: bytes
    status: Status


def read_facts(data: bytes, *, is_cut: bool = False) -> Facts | None:
    """The facts of the message `data`, or None if it is none: port 53 carries other things, too.

    `is_cut`: `data` is only the beginning of what was sent.
    """
    try:
        number, flags, questions, *counts = HEADER(data)
        if flags & OPCODE:
            return None  # a notification or an update (RFC 1996, RFC 2136) looks nothing up
        question, end = _question(data) if questions else (b"", HEADER_LENGTH)
    except (IndexError, error):
        return None
    if not flags & IS_RESPONSE:
        return Facts(number, False, question, "unanswered") if questions else None
    try:
        for _ in range(questions - 1):
            end = _skip_name(data, end) + TYPE_CLASS
        status = _status(data, end, flags, counts, question)
    except (IndexError, error):
        status = _status_of_flags(flags, "cut" if is_cut else "malformed")
    return Facts(number, True, question, status)


def _status_of_flags(flags: int, otherwise: Status) -> Status:
    """What the header alone says of a response whose records can't be read."""
    if flags & IS_TRUNCATED:
        return "truncated"
    return STATUS_OF_RCODE.get(flags & RCODE, "error") if flags & RCODE else otherwise


def _question(data: bytes) -> tuple[bytes, int]:
    """The first question, its name in lower case, and where it ends; no name in it is compressed (RFC 1035 §4.1.4)."""
    end = HEADER_LENGTH
    while length := data[end]:
        if length > LONGEST_LABEL:
            raise IndexError
        end += length + 1
    end += 1
    if end + TYPE_CLASS > len(data) or end - HEADER_LENGTH > LONGEST_NAME:
        raise IndexError
    return data[HEADER_LENGTH:end].lower() + data[end : end + TYPE_CLASS], end + TYPE_CLASS


def _status(data: bytes, at: int, flags: int, counts: list[int], question: bytes) -> Status:
    """How the response ends its lookup; `IndexError` or `struct.error` if its records are cut off or lead nowhere."""
    answers, authorities, additionals = counts
    kind, kind_class = int.from_bytes(question[-4:-2]), int.from_bytes(question[-2:])
    answered = False
    for _ in range(answers):
        at = _skip_name(data, at)
        found, found_class, _, length = RECORD(data, at)
        at += 10 + length
        fits = found == kind or kind in ANY_TYPE
        answered = answered or (fits and kind_class in (found_class, ANY_CLASS))
    if at > len(data):
        raise IndexError
    if flags & IS_TRUNCATED:
        return "truncated"
    rcode = flags & RCODE
    if additionals:
        rcode |= _extended_rcode(data, at, authorities + additionals) << 4
    if rcode:
        return STATUS_OF_RCODE.get(rcode, "error")
    return "answered" if answered else "nodata"


def _extended_rcode(data: bytes, at: int, records: int) -> int:
    """The upper bits of the rcode, which an OPT record has in its time to live (RFC 6891 §6.1.3)."""
    for _ in range(records):
        at = _skip_name(data, at)
        kind, _, seconds, length = RECORD(data, at)
        if kind == OPT:
            return int(seconds >> 24)
        at += 10 + length
    return 0


def _skip_name(data: bytes, at: int) -> int:
    """Where the name at `at` ends; a compressed one goes on at an earlier place (RFC 1035 §4.1.4)."""
    while length := data[at]:
        if length >= 0xC0:
            if (length & 0x3F) << 8 | data[at + 1] >= at:
                raise IndexError
            return at + 2
        if length > LONGEST_LABEL:
            raise IndexError
        at += length + 1
    return at + 1
