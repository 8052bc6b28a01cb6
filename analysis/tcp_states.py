"""Each side's state after each segment, from a transition table (RFC 9293 §3.3.2, figure 5).

Theory of operation: a segment is an event for both sides. Its sender *sent* SYN or FIN; its receiver
first learns what it acknowledges, then what it carries. So a FIN,ACK that acknowledges a FIN moves the
receiver FIN-WAIT-1 → FIN-WAIT-2 → TIME-WAIT in one segment: the three-segment close. States are "as seen at
the capture": a segment counts as received when it was captured.
"""

from collections.abc import Iterable
from typing import NamedTuple

from analysis.packet import ACK, FIN, RST, SYN
from analysis.segment import Role, Segment

TRANSITIONS = {
    ("CLOSED", "sent SYN"): "SYN-SENT",
    ("LISTEN", "received SYN"): "SYN-RECEIVED",
    ("SYN-SENT", "received SYN"): "SYN-RECEIVED",  # simultaneous open
    ("SYN-SENT", "received SYN,ACK"): "ESTABLISHED",
    ("SYN-RECEIVED", "SYN acknowledged"): "ESTABLISHED",
    ("SYN-RECEIVED", "sent FIN"): "FIN-WAIT-1",
    ("ESTABLISHED", "sent FIN"): "FIN-WAIT-1",
    ("ESTABLISHED", "received FIN"): "CLOSE-WAIT",
    ("FIN-WAIT-1", "FIN acknowledged"): "FIN-WAIT-2",
    ("FIN-WAIT-1", "received FIN"): "CLOSING",
    ("FIN-WAIT-2", "received FIN"): "TIME-WAIT",
    ("CLOSE-WAIT", "sent FIN"): "LAST-ACK",
    ("CLOSING", "FIN acknowledged"): "TIME-WAIT",
    ("LAST-ACK", "FIN acknowledged"): "CLOSED",
}


class States(NamedTuple):
    """Both sides' states after one segment."""

    client: str
    server: str


def walk_states(segments: Iterable[Segment]) -> tuple[States, ...]:
    """The states after each of `segments`, which are one connection's, in capture order."""
    state: dict[Role, str] = {}
    fin_end: dict[Role, int] = {}
    history: list[States] = []
    for segment in segments:
        if not state:
            opening = bool(segment.flags & SYN)
            state = (
                {"client": "CLOSED", "server": "LISTEN"}
                if opening
                else {"client": "ESTABLISHED", "server": "ESTABLISHED"}
            )
            if opening and segment.flags & ACK:
                state["client"] = "SYN-SENT"  # its SYN came before the capture
                state["server"] = "SYN-RECEIVED"
        receiver: Role = "server" if segment.sender == "client" else "client"
        for role, event in _events(segment, receiver, fin_end.get(receiver)):
            state[role] = "CLOSED" if event == "reset" else TRANSITIONS.get((state[role], event), state[role])
        if segment.flags & FIN:
            fin_end.setdefault(segment.sender, segment.next)
        history.append(States(state["client"], state["server"]))
    return tuple(history)


def _events(segment: Segment, receiver: Role, receivers_fin: int | None) -> list[tuple[Role, str]]:
    """What `segment` means to whom, in the order that RFC 9293 §3.10.7.4 processes it: RST, ACK, FIN."""
    if segment.flags & RST:
        return [(segment.sender, "reset"), (receiver, "reset")]
    events: list[tuple[Role, str]] = []
    if segment.flags & SYN:
        name = "SYN,ACK" if segment.flags & ACK else "SYN"
        return [(segment.sender, f"sent {name}"), (receiver, f"received {name}")]
    if segment.flags & FIN:
        events.append((segment.sender, "sent FIN"))
    if segment.ack is not None:
        if segment.ack >= 1:
            events.append((receiver, "SYN acknowledged"))
        if receivers_fin is not None and segment.ack >= receivers_fin:
            events.append((receiver, "FIN acknowledged"))
    if segment.flags & FIN:
        events.append((receiver, "received FIN"))
    return events
