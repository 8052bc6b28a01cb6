"""The sequence of a fetch: the one text that reports print, expectations match and fingerprints hash.

`docs/sequence.md` has the grammar and three test vectors. In short: a line a lookup, then a line a segment, by
role and in relative numbers. The *exact* form has the numbers; the *shape* is what is left when numbers, names and
pure ACKs go, and is computed from the exact form alone.
"""

import hashlib
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from itertools import chain
from typing import TYPE_CHECKING, Literal, NamedTuple

from analysis.errors import InputError
from analysis.packets.packet import ACK, FIN, RST, SYN
from analysis.tcp.segment import PEER, Role, Segment, flag_names

if TYPE_CHECKING:  # whoever only reads a sequence, as a scenario does, needn't load what finds a story
    from analysis.dns.lookups import Lookup
    from analysis.http import Exchange
    from analysis.story import Story

LONGEST_TEXT = 120
ANY_NAME = "NAME"  # in a shape; upper case, since names are written in lower case
OPTION_NAMES = {0: "eol", 1: "nop", 2: "mss", 3: "ws", 4: "sackok", 5: "sack", 8: "ts", 34: "tfo"}
STATUS_WORDS = ("NXDOMAIN", "NODATA", "REFUSED", "SERVFAIL", "UNANSWERED", "TRUNCATED", "ERROR", "CUT", "MALFORMED")


class Numbers(NamedTuple):
    """Relative sequence number, end (the number after the last byte), payload bytes."""

    seq: int
    end: int
    length: int


@dataclass(frozen=True, slots=True)
class LookupLine:
    """`lookup TYPE NAME [xN] [tcp] -> OUTCOME`; `outcome`: aliases, then addresses, roles or a status word."""

    type: str
    name: str
    queries: int
    transport: str
    aliases: tuple[str, ...]
    outcome: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class ConnectionLine:
    """`connection N`: the lines that follow are the story's N-th connection's (not written for the first)."""

    number: int


@dataclass(frozen=True, slots=True)
class SegmentLine:
    """`SENDER FLAGS [SEQ:END(LENGTH)] [ack N] [<options>] ["start line"] [again]`.

    In the shape `numbers`, `ack` and `options` are empty, and `text` is a method or a status code.
    """

    sender: Role
    flags: str
    numbers: Numbers | None = None
    ack: int | None = None
    options: tuple[str, ...] = ()
    text: str | None = None
    again: bool = False


Line = LookupLine | ConnectionLine | SegmentLine


@dataclass(frozen=True, slots=True)
class Sequence:
    """Lines in order, in one of the two forms."""

    lines: tuple[Line, ...]
    form: Literal["exact", "shape"]

    def __str__(self) -> str:
        """The canonical text: one line each, fixed columns, each ended by a line feed."""
        return "".join(line_text(line) + "\n" for line in self.lines)

    @property
    def fingerprint(self) -> str:
        """The sha256 of the canonical text, in hex."""
        return fingerprint_of(str(self))


def fingerprint_of(text: str) -> str:
    """The fingerprint of a sequence's canonical text."""
    return hashlib.sha256(text.encode()).hexdigest()


@dataclass(frozen=True, slots=True)
class Traced:
    """A line, and the frames that it was read from, in capture order.

    `asked`: of a line of lookups, for each the frame of its first query, and of the answer that counts, if one came.
    """

    line: Line
    frames: tuple[int, ...] = ()
    asked: tuple[tuple[int, int | None], ...] = ()


Trace = tuple[Traced, ...]


def exact_sequence(story: "Story") -> Sequence:
    """The exact form of `story`."""
    return Sequence(tuple(traced.line for traced in exact_trace(story)), "exact")


def exact_trace(story: "Story") -> Trace:
    """The lines of the exact form of `story`, each with its frames; `connection N` has none."""
    used = {connection.server.address for connection in story.connections}
    texts = _start_lines(story.exchanges)
    lookups = ((_lookup_line(lookup, used), lookup) for lookup in story.lookups)
    trace = [
        Traced(line, lookup.frames, ((lookup.queries[0].frames[0], lookup.response_frame),))
        for line, lookup in sorted(lookups, key=lambda pair: (pair[0].name, pair[0].type))
    ]
    for number, connection in enumerate(story.connections, 1):
        if number > 1:
            trace.append(Traced(ConnectionLine(number)))
        trace += (Traced(_segment_line(segment, texts), (segment.frame,)) for segment in connection.segments)
    return tuple(trace)


def _lookup_line(lookup: "Lookup", used: set[str]) -> LookupLine:
    if lookup.status == "answered" and lookup.addresses:
        roles = ("server",) if used & set(lookup.addresses) else ()
        outcome = (*roles, *sorted(address for address in lookup.addresses if address not in used))
    elif lookup.status == "answered":
        outcome = ("answered",)  # a type that has no address, such as MX
    else:
        outcome = (lookup.status.upper(),)
    name = _name(lookup.name)
    aliases = tuple(_name(alias) for alias in lookup.cnames)
    return LookupLine(lookup.type, name, len(lookup.query_frames), lookup.transport, aliases, outcome)


def _name(name: str) -> str:
    """A name as one word: dnspython escapes what isn't printable, but leaves a few marks of our grammar."""
    return "".join(char if "!" <= char <= "~" and char not in '",<>#' else f"\\{ord(char):03d}" for char in name)


def _start_lines(exchanges: "Iterable[Exchange]") -> dict[tuple[int, Role], str]:
    """The start line of each HTTP message, by the first frame that carries it and its sender."""
    texts: dict[tuple[int, Role], str] = {}
    for exchange in exchanges:
        if exchange.request_frames:
            texts.setdefault((exchange.request_frame, "client"), exchange.start_line)
        if exchange.response_frames and exchange.response is not None:
            texts.setdefault((exchange.response_frame, "server"), exchange.status_line)
    return texts


def flag_word(segment: Segment) -> str:
    """The sequence's word for a segment: its flags without PSH; `DATA` for bytes with ACK alone."""
    flags = segment.flags & (FIN | SYN | RST | ACK)
    if flags == ACK and segment.length:
        return "DATA"
    return flag_names(flags) or "NONE"


def _segment_line(segment: Segment, texts: dict[tuple[int, Role], str]) -> SegmentLine:
    kinds = [option.kind for option in segment.tcp.options] if segment.flags & SYN else []
    text = texts.get((segment.frame, segment.sender))
    return SegmentLine(
        segment.sender,
        flag_word(segment),
        Numbers(segment.seq, segment.end, segment.length),
        segment.ack,
        tuple(OPTION_NAMES.get(kind, f"kind-{kind}") for kind in kinds),
        None if text is None else text[:LONGEST_TEXT],
    )


# --- the shape, from the exact form alone ---


def shape_of(sequence: Sequence) -> Sequence:
    """The shape of an exact sequence: no numbers, no names, no pure ACKs but the handshake's and the close's."""
    if sequence.form == "shape":
        return sequence
    shape = shape_trace(tuple(Traced(line) for line in sequence.lines))
    return Sequence(tuple(traced.line for traced in shape), "shape")


def shape_trace(exact: Trace) -> Trace:
    """The shape's lines, from those of the exact form; each has the frames of all the lines that it stands for."""
    shape = _lookup_shapes(exact)
    for connection in _connections(exact):
        shape += (traced for traced in connection if isinstance(traced.line, ConnectionLine))
        shape += _merged(_segment_shapes(connection))
    return tuple(shape)


def _lookup_shapes(exact: Trace) -> list[Traced]:
    """The lookups' shapes; those that are the same become one line."""
    alike: dict[LookupLine, list[Traced]] = {}
    for traced in exact:
        if isinstance(traced.line, LookupLine):
            alike.setdefault(_lookup_shape(traced.line), []).append(traced)
    return [
        Traced(line, _all_frames(of), tuple(chain.from_iterable(one.asked for one in of))) for line, of in alike.items()
    ]


def _all_frames(parts: Iterable[Traced]) -> tuple[int, ...]:
    return tuple(sorted(set(chain.from_iterable(one.frames for one in parts))))


def _lookup_shape(line: LookupLine) -> LookupLine:
    outcome = line.outcome[:1]
    if outcome[0] not in (*STATUS_WORDS, "server", "answered"):
        outcome = ("ADDRESS",)
    return replace(line, name=ANY_NAME, aliases=("ALIAS",) * len(line.aliases), outcome=outcome)


def _connections(exact: Trace) -> Iterator[list[Traced]]:
    part: list[Traced] = []
    for traced in exact:
        if isinstance(traced.line, ConnectionLine):
            yield part
            part = []
        if not isinstance(traced.line, LookupLine):
            part.append(traced)
    yield part


@dataclass(slots=True)
class _Side:
    """What the shape must remember of one side of a connection."""

    highest: int = 0  # the number after all that this side sent
    owed: int | None = None  # the peer's SYN or FIN that awaits this side's ACK: the number it must reach
    paid: int = 0  # the highest SYN or FIN of the peer that this side has acknowledged


def _segment_shapes(connection: Iterable[Traced]) -> Iterator[Traced]:
    sides: dict[Role, _Side] = {"client": _Side(), "server": _Side()}
    for traced in connection:
        line = traced.line
        if not isinstance(line, SegmentLine) or line.numbers is None:
            continue
        me, peer = sides[line.sender], sides[PEER[line.sender]]
        words = line.flags.split(",")
        control = words.count("SYN") + words.count("FIN")
        next_number = line.numbers.end + control
        again = control + line.numbers.length > 0 and next_number <= me.highest
        me.highest = max(me.highest, next_number)
        pays = me.owed is not None and line.ack is not None and line.ack >= me.owed
        shapes = [SegmentLine(line.sender, "ACK", again=me.paid == me.owed)] if line.flags == "ACK" and pays else []
        data = (
            [SegmentLine(line.sender, "DATA", text=_text_shape(line.text), again=again)] if line.numbers.length else []
        )
        flags = [SegmentLine(line.sender, line.flags, again=again)] if control or "RST" in words else []
        shapes += (*flags, *data) if "SYN" in words else (*data, *flags)
        yield from (Traced(shape, traced.frames) for shape in shapes)
        if pays and me.owed is not None:
            me.paid, me.owed = me.owed, None
        if control:
            peer.owed = next_number


def _text_shape(text: str | None) -> str | None:
    """The method of a request line, the status code of a status line."""
    if text is None:
        return None
    words = text.split(" ")
    return words[1] if words[0].startswith("HTTP/") and len(words) > 1 else words[0]


def _merged(lines: Iterable[Traced]) -> Iterator[Traced]:
    """Adjacent data of one side as one line, unless a new message begins in it."""
    parts: list[Traced] = []
    for traced in lines:
        if parts and not _continues(parts[0].line, traced.line):
            yield Traced(parts[0].line, _all_frames(parts))
            parts = []
        parts.append(traced)
    if parts:
        yield Traced(parts[0].line, _all_frames(parts))


def _continues(first: Line, line: Line) -> bool:
    if not isinstance(first, SegmentLine) or not isinstance(line, SegmentLine):
        return False
    is_more = line == SegmentLine(line.sender, "DATA")
    return is_more and (first.sender, first.flags, first.again) == (line.sender, "DATA", False)


# --- printing and parsing ---


def line_text(line: Line) -> str:
    """The line's canonical text: one line of printable ASCII, whatever was captured."""
    if isinstance(line, LookupLine):
        marks = (f" x{line.queries}" if line.queries > 1 else "") + (" tcp" if line.transport == "tcp" else "")
        return f"lookup  {line.type:<4}  {line.name}{marks} -> {' -> '.join((*line.aliases, ','.join(line.outcome)))}"
    if isinstance(line, ConnectionLine):
        return f"connection  {line.number}"
    numbers = "" if line.numbers is None else f"{line.numbers.seq}:{line.numbers.end}({line.numbers.length})"
    ack = "" if line.ack is None else f"ack {line.ack}"
    rest = [f"<{','.join(line.options)}>"] if line.options else []
    rest += [] if line.text is None else [f'"{_escape(line.text)}"']
    rest += ["again"] if line.again else []
    if line.numbers is None:
        return f"{line.sender}  {line.flags:<7}  {' '.join(rest)}".rstrip()
    return f"{line.sender}  {line.flags:<7}  {numbers:<12}  {ack:<9}  {' '.join(rest)}".rstrip()


def _escape(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return "".join(char if " " <= char <= "~" else f"\\x{ord(char):02x}" for char in escaped)


def _unescape(text: str) -> str:
    return re.sub(r"\\(x([0-9a-f]{2})|.)", lambda found: chr(int(found[2], 16)) if found[2] else found[1], text)


FLAGS_PATTERN = "NONE|DATA|(?:FIN,)?(?:SYN,)?(?:RST,)?ACK|(?:FIN,)?(?:SYN,)?RST|(?:FIN,)?SYN|FIN"
LOOKUP = re.compile(r"lookup\s+(\S+)\s+(\S+)(?:\s+x([1-9]\d{0,8}))?(\s+tcp)?\s+->\s+(\S+(?:\s+->\s+\S+)*)")
CONNECTION = re.compile(r"connection\s+([1-9]\d{0,8})")
SEGMENT = re.compile(
    rf"(client|server)\s+({FLAGS_PATTERN})"
    r"(?:\s+(-?\d{1,19}):(-?\d{1,19})\((\d{1,9})\)(?:\s+ack\s+(-?\d{1,19}))?)?"
    r'(?:\s+<([a-z0-9,-]+)>)?(?:\s+"((?:[^"\\]|\\.)*)")?(\s+again)?'
)


def parse_sequence(text: str) -> Sequence:
    """Read a sequence in either form; blank lines and lines that start with `#` don't count.

    `InputError` names the line that isn't one. `parse_sequence(str(s)) == s` for every sequence s.
    """
    lines: list[Line] = []
    forms: set[Literal["exact", "shape"]] = set()
    for number, raw in enumerate(text.split("\n"), 1):
        content = raw.strip()
        if not content or content.startswith("#"):
            continue
        line = _parse(content, number)
        lines.append(line)
        if isinstance(line, SegmentLine):
            forms.add("shape" if line.numbers is None else "exact")
        elif isinstance(line, LookupLine) and line.name == ANY_NAME:
            forms.add("shape")
    if len(forms) > 1:
        raise InputError(
            "the sequence mixes the two forms: some segments have numbers, some have none",
            "give every segment its seq:end(length), or none",
        )
    return Sequence(tuple(lines), forms.pop() if forms else "exact")


def _parse(content: str, number: int) -> Line:
    if found := LOOKUP.fullmatch(content):
        *aliases, last = re.split(r"\s+->\s+", found[5])
        transport = "tcp" if found[4] else "udp"
        return LookupLine(found[1], found[2], int(found[3] or 1), transport, tuple(aliases), tuple(last.split(",")))
    if found := CONNECTION.fullmatch(content):
        return ConnectionLine(int(found[1]))
    found = SEGMENT.fullmatch(content)
    if found:
        sender: Role = "client" if found[1] == "client" else "server"
        numbers = Numbers(int(found[3]), int(found[4]), int(found[5])) if found[3] else None
        options = tuple(found[7].split(",")) if found[7] else ()
        text = None if found[8] is None else _unescape(found[8])
        return SegmentLine(
            sender, found[2], numbers, int(found[6]) if found[6] else None, options, text, bool(found[9])
        )
    raise InputError(
        f"line {number} of the sequence can't be read: {content[:60]!r}",
        'lines look like: lookup A www.lab.test -> server | client SYN 0:0(0) | server DATA 1:242(241) ack 77 "…"',
    )
