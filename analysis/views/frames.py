"""Frames as one line each, in the columns and the wording of tshark's summary.

One difference is meant: a body that the close delimits ends a message in its last frame with data here, and in
the FIN's frame in tshark, which then doesn't show the FIN.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from analysis.dns.lookups import Message
from analysis.dns.records import Record
from analysis.http import Exchange
from analysis.packets.packet import UDP, Packet
from analysis.report import Report
from analysis.story import Story
from analysis.tcp.connection import Connection
from analysis.tcp.segment import Segment, flag_names
from analysis.text import printable

SHOWN_TYPES = ("A", "AAAA", "CNAME", "NS", "PTR", "SOA", "MX", "TXT")
MARKS = {
    "zero-window-probe-ack": "ZeroWindowProbeAck",
    "zero-window": "ZeroWindow",
    "zero-window-probe": "ZeroWindowProbe",
    "duplicate-ack": "Dup ACK",
    "keep-alive-ack": "Keep-Alive ACK",
    "keep-alive": "Keep-Alive",
    "window-full": "Window Full",
    "window-update": "Window Update",
    "acked-unseen": "ACKed unseen segment",
    "previous-segment-lost": "Previous segment not captured",
    "out-of-order": "Out-Of-Order",
    "spurious-retransmission": "Spurious Retransmission",
    "fast-retransmission": "Fast Retransmission",
    "retransmission": "Retransmission",
    "duplicate-frame": "Duplicate frame",
}
RCODE_WORDS = {
    "FORMERR": "Format error",
    "SERVFAIL": "Server failure",
    "NXDOMAIN": "No such name",
    "NOTIMP": "Not implemented",
    "REFUSED": "Refused",
}


@dataclass(frozen=True, slots=True)
class FrameLine:
    """One frame of the story. `time_ns` counts from the capture's first frame; `decimals` are those it has."""

    frame: int
    time_ns: int
    decimals: int
    src: str
    dst: str
    protocol: str
    length: int
    info: str

    def __str__(self) -> str:
        return f"{self.head}{self.info}"

    @property
    def head(self) -> str:
        """All columns before the last."""
        seconds, nanoseconds = divmod(self.time_ns, 1_000_000_000)
        when = f"{seconds}.{nanoseconds:09d}"[: self.decimals - 9 or None]
        return f"{self.frame:>5} {when:>11} {self.src:>12} → {self.dst:<12} {self.protocol} {self.length} "


def frame_lines(report: Report) -> tuple[FrameLine, ...]:
    """The lines of the chosen story's frames, in capture order."""
    story = report.story
    if story is None:
        return ()
    start = report.capture.frames[0].time_ns
    decimals = 9 if np.any(report.capture.frames.time_ns % 1000) else 6
    infos = _infos(report, story)
    packets = story.packets(report.traffic).items()
    lines = [_line(packet, start, decimals, *infos[frame]) for frame, packet in packets if frame in infos]
    lines += _fragment_lines(report, story, start, decimals)
    return tuple(sorted(lines, key=lambda line: line.frame))


def _infos(report: Report, story: Story) -> dict[int, tuple[str, str]]:
    """Protocol and info by frame."""
    infos: dict[int, tuple[str, str]] = {}
    in_story = set(story.frames)
    for message in report.traffic.messages:  # several may have come in one segment
        if message.frame in in_story:
            before = infos.get(message.frame)
            infos[message.frame] = ("DNS", f"{before[1]}; {dns_info(message)}" if before else dns_info(message))
    ends = {**_message_ends(story.exchanges), **_hello_ends(story)}
    parts = {frame for one in story.exchanges for frame in (*one.request_frames, *one.response_frames)}
    parts |= {frame for lookup in story.lookups for frame in lookup.frames}
    for connection in (*story.connections, *story.carriers):
        for segment in connection.segments:
            part = " [TCP segment of a reassembled PDU]" if segment.frame in parts and segment.length else ""
            info = ends.get(segment.frame) or ("TCP", tcp_info(connection, segment) + part)
            infos.setdefault(segment.frame, info)
    return infos


def _hello_ends(story: Story) -> dict[int, tuple[str, str]]:
    """Protocol and info of the frames that complete TLS's hellos."""
    ends: dict[int, tuple[str, str]] = {}
    for connection, carried in zip(story.connections, story.carried, strict=True):
        tls = carried.tls
        if tls is None:
            continue
        frames = set(tls.hello_frames)
        version = (tls.version or "TLS").replace("TLS ", "TLSv")
        for segment in connection.segments:
            if segment.frame in frames:
                name = f" (SNI={tls.server_name})" if tls.server_name and segment.sender == "client" else ""
                hello = "Client Hello" if segment.sender == "client" else "Server Hello"
                ends[segment.frame] = (version, hello + name)
    return ends


def _fragment_lines(report: Report, story: Story, start: int, decimals: int) -> Iterator[FrameLine]:
    """The fragments before the one that completed a datagram of the story."""
    packets, in_story = report.traffic.packets, set(story.frames)
    for datagram in packets.whole.values():
        whole = datagram.frames[-1]
        for piece in datagram.pieces[:-1] if whole in in_story else ():
            protocol = "UDP" if piece.protocol == UDP else "TCP"
            place = f"proto={protocol} {piece.protocol}, off={piece.offset}, ID={piece.ident:04x}"
            frame = packets.frames[piece.frame - 1]
            ends = packets.address(piece.source), packets.address(piece.target)
            info = f"Fragmented IP protocol ({place}) [Reassembled in #{whole}]"
            time_ns, name = max(0, frame.time_ns - start), f"IPv{piece.version}"
            yield FrameLine(piece.frame, time_ns, decimals, *ends, name, frame.wire_length, info)


def _line(packet: Packet, start: int, decimals: int, protocol: str, info: str) -> FrameLine:
    time_ns = max(0, packet.time_ns - start)
    return FrameLine(packet.frame, time_ns, decimals, packet.src, packet.dst, protocol, packet.length, printable(info))


def _message_ends(exchanges: tuple[Exchange, ...]) -> dict[int, tuple[str, str]]:
    """Protocol and info of the frames that complete an HTTP message: tshark names the message there."""
    ends: dict[int, tuple[str, str]] = {}
    for exchange in exchanges:
        if exchange.request_frames:
            ends[exchange.request_frames[-1]] = ("HTTP", exchange.start_line)
        if exchange.response_frames and exchange.response is not None:
            kind = next((value for key, value in exchange.response.headers if key == "content-type"), "")
            kind = kind.split(";")[0].strip()
            shown = f"  ({kind})" if kind and exchange.response.body_length else ""
            ends[exchange.response_frames[-1]] = ("HTTP", exchange.status_line + shown)
    return ends


def tcp_info(connection: Connection, segment: Segment) -> str:
    """Ports, flags, relative numbers, scaled window and options, as tshark words them."""
    names = flag_names(segment.flags).replace(",", ", ") or "<None>"
    words = [
        f"{_marks(connection, segment)}{segment.packet.sport} → {segment.packet.dport} [{names}] Seq={segment.seq}"
    ]
    if segment.ack is not None:
        words.append(f"Ack={segment.ack}")
    words.append(f"Win={connection.window_of(segment)}")
    words.append(f"Len={segment.length}")
    return " ".join(words + _options(segment))


def _marks(connection: Connection, segment: Segment) -> str:
    """The events in tshark's words and order; those that tshark has no word for go without."""
    found = {event.kind: event for event in connection.events_in.get(segment.frame, ())}
    words: list[str] = []
    for kind, word in MARKS.items():
        if kind in found:
            event = found[kind]
            count = f" {event.of}#{event.number}" if kind == "duplicate-ack" else ""
            words.append(f"[TCP {word}{count}] ")
    return "".join(words)


def _options(segment: Segment) -> list[str]:
    words: list[str] = []
    for kind, value in segment.tcp.options:
        if kind == 2 and len(value) == 2:
            words.append(f"MSS={int.from_bytes(value)}")
        elif kind == 3 and len(value) == 1:
            words.append(f"WS={1 << min(value[0], 14)}")
        elif kind == 4:
            words.append("SACK_PERM")
        elif kind == 8 and len(value) == 8:
            words.append(f"TSval={int.from_bytes(value[:4])} TSecr={int.from_bytes(value[4:])}")
        elif kind == 5 and segment.ack is not None:
            words += _sack_blocks(segment, value, segment.ack)
    return words


def _sack_blocks(segment: Segment, value: bytes, ack: int) -> list[str]:
    """Left and right edges (RFC 2018 §3), relative as the Ack is."""
    edges = [int.from_bytes(value[at : at + 4]) - segment.tcp.ack + ack for at in range(0, len(value) - 3, 4)]
    return [f"SLE={left} SRE={right}" for left, right in zip(edges[::2], edges[1::2], strict=False)]


def dns_info(message: Message) -> str:
    """Kind, id, rcode, question and records, as tshark words them."""
    kind = "Standard query response" if message.is_response else "Standard query"
    words = [f"{kind} 0x{message.id:04x}"]
    if message.is_response and message.rcode != "NOERROR":
        words.append(RCODE_WORDS.get(message.rcode, message.rcode))
    words += [f"{message.type} {message.name}"] if message.type else []
    words += [_record(record) for record in (*message.answers, *message.authority)]
    words += ["OPT"] if message.edns else []
    return " ".join(words)


def _record(record: Record) -> str:
    """Type and what tshark shows of the data: of an SOA the primary server alone, of most types nothing."""
    if record.type not in SHOWN_TYPES:
        return record.type
    data = record.data.split(" ")[0] if record.type == "SOA" else record.data
    return f"{record.type} {data.removesuffix('.')}"
