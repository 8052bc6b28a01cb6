"""Frames as one line each, in the columns and the wording of tshark's summary.

One difference is meant: a body that the close delimits ends a message in its last frame with data here, and in
the FIN's frame in tshark, which then doesn't show the FIN.
"""

from dataclasses import dataclass

import numpy as np

from analysis.dns import Message, Record
from analysis.http import Exchange
from analysis.packet import Packet
from analysis.report import Report
from analysis.segment import Segment, flag_names
from analysis.tcp import Connection
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
    infos: dict[int, tuple[str, str]] = {}
    ends = _message_ends(story.exchanges)
    parts = {frame for one in story.exchanges for frame in (*one.request_frames, *one.response_frames)}
    for connection in story.connections:
        for segment in connection.segments:
            part = " [TCP segment of a reassembled PDU]" if segment.frame in parts else ""
            infos[segment.frame] = ends.get(segment.frame) or ("TCP", tcp_info(connection, segment) + part)
    in_story = set(story.frames)
    for message in report.traffic.messages:
        if message.frame in in_story:
            infos.setdefault(message.frame, ("DNS", dns_info(message)))
    packets = report.traffic.packets_of(story).items()
    return tuple(_line(packet, start, decimals, *infos[frame]) for frame, packet in packets if frame in infos)


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
