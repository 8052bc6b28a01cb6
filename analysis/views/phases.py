"""The table of a fetch by phase: lookup, handshake, exchange, close; client left, server right."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from analysis.carried import Carried
from analysis.dns.lookups import Lookup, Message
from analysis.packets.packet import ACK, FIN, RST, SYN
from analysis.report import Report
from analysis.story import Story
from analysis.tcp.connection import Connection
from analysis.tcp.segment import Segment, flag_names
from analysis.text import plural, printable, some

CLOSE_NOTES = {
    "three-segment": "the ACK of the first FIN rides on the second FIN: three segments, not four",
    "four-segment": "the first FIN is acknowledged by a segment of its own: four segments",
    "simultaneous": "each side sent its FIN before it had the other's",
    "half-closed": "only one side closed",
    "reset": "a reset ends the connection at once; no FIN answers it",
    "refused": "a reset answers the SYN: there was no connection",
    "open": "the capture ends before anyone closes",
}


OPENINGS = {"three-way": "Three-way handshake", "simultaneous": "Simultaneous open", "split": "Split handshake"}
OPENING_NOTES = {
    "simultaneous": "each side sent its SYN before it had the other's",
    "split": "the server answers the SYN with a SYN of its own, the client sends the SYN,ACK",
}


@dataclass(frozen=True, slots=True)
class Phase:
    """A heading, a remark on it, and its rows."""

    title: str
    remark: str
    rows: "tuple[Row, ...]"


@dataclass(frozen=True, slots=True)
class Row:
    """One packet between `left` and `right`; `from_left` tells its direction."""

    left: str
    packet: str
    right: str
    from_left: bool
    frame: int


def phases(report: Report) -> tuple[Phase, ...]:
    """The phases of the chosen story, each connection with its own."""
    story = report.story
    if story is None:
        return ()
    return tuple(phase for phase in _phases(story) if phase.rows)


def _phases(story: Story) -> Iterator[Phase]:
    rows = sorted((row for lookup in story.lookups for row in _lookup_rows(lookup)), key=lambda row: row.frame)
    kinds = dict.fromkeys(lookup.type for lookup in story.lookups)
    questions = plural(len(story.lookups), "question")
    either = "; the answers may come in either order" if len(kinds) > 1 else ""
    yield Phase("Name lookup", f"{questions}, {' and '.join(kinds)}{either}", tuple(rows))
    for connection in story.carriers:
        carried = tuple(_segment_row(connection, segment, {}, "resolver") for segment in connection.segments)
        yield Phase("TCP to the resolver", "it carries the lookup, each message behind its length", carried)
    texts = _texts(story)
    for number, (connection, carries) in enumerate(zip(story.connections, story.carried, strict=True), 1):
        suffix = f" {number}" if len(story.connections) > 1 else ""
        handshake, exchange, close = _parts(connection)
        rows_of = [
            tuple(_segment_row(connection, segment, texts) for segment in part) for part in (handshake, exchange, close)
        ]
        opening = OPENINGS[connection.handshake.kind or "three-way"]
        yield Phase(f"{opening}{suffix}", _opening_remark(connection), rows_of[0])
        yield Phase(
            f"{_data_title(carries)}{suffix}",
            printable(carries.tls.summary) if carries.tls else "Ack is the next byte expected, no count of packets",
            rows_of[1],
        )
        variant = connection.close.variant
        yield Phase(f"{variant.capitalize()} close{suffix}", _closing_remark(connection), rows_of[2])


def _data_title(carries: Carried) -> str:
    if carries.exchanges:
        return "HTTP exchange"
    return "TLS, encrypted" if carries.tls else carries.protocol or "Data"


def _opening_remark(connection: Connection) -> str:
    handshake = connection.handshake
    notes: list[str] = [] if handshake.status == "complete" else [handshake.status]
    if handshake.kind in ("simultaneous", "split"):
        notes.append(OPENING_NOTES[handshake.kind])
    if handshake.syn_count > 1:
        notes.append(f"the SYN was sent {handshake.syn_count} times")
    if handshake.syn_data:
        by_cookie = " by its Fast Open cookie" if handshake.fast_open == "accepted" else ""
        notes.append(f"the bytes on the SYN were {handshake.syn_data}{by_cookie}")
    return "; ".join(notes)


def _closing_remark(connection: Connection) -> str:
    close = connection.close
    notes = [CLOSE_NOTES[close.variant]]
    notes += [f"the {role}'s FIN carries bytes" for role in close.fin_with_data]
    notes += [f"the {role}'s FIN was sent again" for role in close.fin_retransmitted]
    notes += ["bytes still came after the first FIN: a half-close"] if close.half_close_data else []
    notes += ["the last ACK isn't there"] if close.last_ack_missing else []
    notes += [f"frame {close.reset_after} resets what was closed already"] if close.reset_after else []
    return "; ".join(notes)


def _parts(connection: Connection) -> tuple[list[Segment], list[Segment], list[Segment]]:
    """The segments of handshake, exchange and close: by what they do, so a response's ACK isn't the close's."""
    opening, ending = set(connection.handshake.frames), set(connection.close.frames)
    first_end = min(ending, default=None)
    handshake: list[Segment] = []
    exchange: list[Segment] = []
    close: list[Segment] = []
    for segment in connection.segments:
        if segment.frame in opening or segment.flags & SYN:
            handshake.append(segment)
        elif first_end is not None and segment.frame >= first_end:
            close.append(segment)
        else:
            exchange.append(segment)
    return handshake, exchange, close


def _lookup_rows(lookup: Lookup) -> Iterator[Row]:
    for query in lookup.queries:
        yield Row("client", f"{lookup.type} {lookup.name}?{_over_tcp(query)}", "resolver", True, query.frame)
    if lookup.truncated is not None:
        yield Row("client", f"{lookup.type} truncated", "resolver", False, lookup.truncated.frame)
    if lookup.response is not None:
        what = _answer(lookup) if lookup.status == "answered" else lookup.status
        packet = f"{lookup.type} {what}{_over_tcp(lookup.response)}"
        yield Row("client", packet, "resolver", False, lookup.response.frame)
    asked = set(lookup.query_frames)
    queries = {one.frame for one in lookup.ignored if one.of in asked and one.reason == "captured twice"}
    for one in lookup.ignored:
        of = "" if one.of is None else f" (frame {one.of})"
        yield Row("client", f"{lookup.type} ignored: {one.reason}{of}", "resolver", one.frame in queries, one.frame)


def _answer(lookup: Lookup) -> str:
    """Aliases and addresses; of a type without addresses, its records."""
    records = () if lookup.addresses else (record.data for record in lookup.answers if record.type == lookup.type)
    return printable(some((*lookup.cnames, *lookup.addresses, *records)))


def _over_tcp(message: Message) -> str:
    return " over TCP" if message.transport == "tcp" else ""


def _texts(story: Story) -> dict[int, str]:
    texts: dict[int, str] = {}
    for exchange in story.exchanges:
        if exchange.request_frames:
            texts[exchange.request_frame] = exchange.start_line
        if exchange.response_frames:
            texts[exchange.response_frame] = exchange.status_line
    return texts


def _segment_row(
    connection: Connection, segment: Segment, texts: dict[int, str], server: Literal["server", "resolver"] = "server"
) -> Row:
    numbers = f"Seq={segment.seq}" + ("" if segment.ack is None else f", Ack={segment.ack}")
    text = texts.get(segment.frame) if segment.length else None
    if text:
        flag = "FIN, " if segment.flags & FIN else ""
        packet = f"{flag}{printable(text)} ({numbers}, {plural(segment.length, 'byte')})"
    elif segment.length and not segment.flags & (SYN | FIN | RST):
        packet = f"{plural(segment.length, 'byte')} ({numbers})"
    else:
        packet = f"{flag_names(segment.flags & (FIN | SYN | RST | ACK))} ({numbers})"
    kinds = [event.kind.replace("-", " ") for event in connection.events_in.get(segment.frame, ())]
    odd = "".join(f", {kind}" for kind in kinds)
    return Row("client", packet + odd, server, segment.sender == "client", segment.frame)
