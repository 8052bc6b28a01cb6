"""One sentence an event: what is odd about the segment, with the arithmetic of its own numbers (RFC 9293 §3.8)."""

from collections.abc import Callable
from dataclasses import dataclass

from analysis.tcp.connection import Connection
from analysis.tcp.events import DEFAULT_RTT_NS, Event
from analysis.tcp.segment import PEER, Segment
from analysis.text import plural


@dataclass(frozen=True, slots=True)
class Scene:
    """An event, its segment, and the connection's segments by frame. `original`: the frame that is sent again."""

    event: Event
    segment: Segment
    connection: Connection
    by_frame: dict[int, Segment]
    original: int | None

    @property
    def me(self) -> str:
        return self.segment.sender

    @property
    def peer(self) -> str:
        return PEER[self.segment.sender]

    @property
    def of(self) -> Segment:
        """The segment that the event refers to."""
        return self.by_frame[self.event.of or self.segment.frame]

    def since(self, frame: int) -> str:
        """The time since `frame`, as text."""
        return milliseconds(abs(self.segment.packet.time_ns - self.by_frame[frame].packet.time_ns))


def event_sentence(scene: Scene) -> str:
    """The sentence of `scene`'s event; empty where the explanation of Seq and Ack says it already."""
    return SENTENCES[scene.event.kind](scene)


def milliseconds(time_ns: int) -> str:
    """`201 ms`, `0.05 ms`: a duration for a person."""
    value = time_ns / 1e6
    return f"{value:,.0f} ms" if abs(value) >= 10 else f"{value:.3g} ms"


def _retransmission(scene: Scene) -> str:
    if scene.original is not None:
        return f"A retransmission, {scene.since(scene.original)} after frame {scene.original}."
    return (
        f"It fills a gap, {scene.since(scene.of.frame)} after frame {scene.of.frame} had gone beyond it: "
        "a retransmission whose first copy is not in this capture."
    )


def _fast(scene: Scene) -> str:
    return (
        f"A fast retransmission: {plural(scene.event.number or 0, 'duplicate ACK')}, the last in frame "
        f"{scene.of.frame}, asked for number {scene.segment.seq}; it comes {scene.since(scene.of.frame)} later, "
        "before any timer."
    )


def _spurious(scene: Scene) -> str:
    end = scene.segment.end - 1
    return (
        f"Sent in vain: Ack {scene.event.number} in frame {scene.of.frame} had covered all up to number {end} "
        "before; that ACK was late or lost."
    )


def _out_of_order(scene: Scene) -> str:
    rtt = scene.connection.rtt_ns or DEFAULT_RTT_NS
    if scene.original is not None:
        return (
            f"It comes less than a round trip ({milliseconds(rtt)}) after frame {scene.of.frame} had come to "
            f"{scene.event.number}, as what was overtaken on the way does; but this one was sent again."
        )
    return (
        f"Out of order: frame {scene.of.frame} had come to {scene.event.number} only {scene.since(scene.of.frame)} "
        f"before, less than a round trip ({milliseconds(rtt)}): this one was overtaken on the way, not sent again."
    )


def _duplicate_ack(scene: Scene) -> str:
    count = scene.event.number
    return (
        f"A duplicate ACK, the {ordinal(count or 1)} after frame {scene.of.frame}: the same Ack, and nothing else new."
    )


def _acked_unseen(scene: Scene) -> str:
    ack, seen = scene.segment.ack or 0, scene.event.number or 0
    missing = f"number {seen} is" if ack == seen + 1 else f"numbers {seen} to {ack - 1} are"
    if ack <= seen:
        return f"It acknowledges a gap: not all before number {ack} is in this capture, but it reached the {scene.me}."
    return f"The {scene.peer}'s {missing} not in this capture, but reached the {scene.me}."


def _zero_window(scene: Scene) -> str:
    return f"Window 0: the {scene.me} has no room left, the {scene.peer} must wait."


def _zero_window_probe(scene: Scene) -> str:
    number = scene.segment.seq
    return f"A probe of a closed window: one byte, number {number}, although frame {scene.of.frame} said window 0."


def _zero_window_probe_ack(scene: Scene) -> str:
    return f"It answers the probe of frame {scene.of.frame}: still window 0, and the byte not taken."


def _window_full(scene: Scene) -> str:
    window = scene.connection.window_of(scene.of)
    end = scene.event.number or 0
    return f"It fills the window: Ack {end - window} + window {window} = {end}. The {scene.me} must wait now."


def _window_update(scene: Scene) -> str:
    now, before = scene.connection.window_of(scene.segment), scene.connection.window_of(scene.of)
    return f"A window update: room for {plural(now, 'byte')} instead of {before}, nothing else is new."


def _keep_alive(scene: Scene) -> str:
    return (
        f"A keep-alive: Seq {scene.segment.seq} = {scene.event.number} − 1, a number sent before; "
        f"the {scene.peer} must answer, if it is still there."
    )


def _keep_alive_ack(scene: Scene) -> str:
    return f"It answers the keep-alive of frame {scene.of.frame}."


def _reset_with_data(scene: Scene) -> str:
    return f"The {plural(scene.segment.length, 'byte')} of a reset are no part of the stream; they may tell its reason."


def _bad_checksum(scene: Scene) -> str:
    packet = scene.segment.packet
    return f"Its checksum is 0x{packet.checksum_sent:04x} instead of 0x{packet.checksum_right:04x}: damaged on the way."


def _duplicate_frame(scene: Scene) -> str:
    return (
        f"The same packet as frame {scene.of.frame}, {scene.since(scene.of.frame)} later: captured or carried twice, "
        "not sent twice: it is one and the same IP packet."
    )


def ordinal(number: int) -> str:
    """`1st`, `2nd`, `11th`."""
    suffix = "th" if number % 100 in (11, 12, 13) else {1: "st", 2: "nd", 3: "rd"}.get(number % 10, "th")
    return f"{number}{suffix}"


def _said(_: Scene) -> str:
    return ""


SENTENCES: dict[str, Callable[[Scene], str]] = {
    "retransmission": _retransmission,
    "fast-retransmission": _fast,
    "spurious-retransmission": _spurious,
    "out-of-order": _out_of_order,
    "duplicate-ack": _duplicate_ack,
    "previous-segment-lost": _said,
    "acked-unseen": _acked_unseen,
    "zero-window": _zero_window,
    "zero-window-probe": _zero_window_probe,
    "zero-window-probe-ack": _zero_window_probe_ack,
    "window-full": _window_full,
    "window-update": _window_update,
    "keep-alive": _keep_alive,
    "keep-alive-ack": _keep_alive_ack,
    "reset-with-data": _reset_with_data,
    "bad-checksum": _bad_checksum,
    "duplicate-frame": _duplicate_frame,
}
