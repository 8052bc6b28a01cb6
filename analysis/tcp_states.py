"""Each side's state after each segment, from a transition table (RFC 9293 §3.3.2, figure 5).

Theory of operation: a segment is an event for both sides. Its sender *sent* SYN or FIN; its receiver first learns
what it acknowledges, then what it carries (RFC 9293 §3.10.7.4). So a FIN,ACK that acknowledges a FIN moves the receiver
FIN-WAIT-1 → FIN-WAIT-2 → TIME-WAIT in one segment: the three-segment close. States are "as seen at the capture": a
segment counts as received when it was captured, unless a later one proves otherwise. Two SYNs or two FINs that
cross on the way are such a proof: who sent the second had not yet received the first.
"""

from collections.abc import Iterator, Sequence
from typing import Literal, NamedTuple

from analysis.tcp_codes import ACKS_FIN, ACKS_SYN, AHEAD, FROM_SERVER, HAS_ACK, HAS_FIN, HAS_RST, HAS_SYN

State = Literal[
    "CLOSED",
    "LISTEN",
    "SYN-SENT",
    "SYN-RECEIVED",
    "ESTABLISHED",
    "FIN-WAIT-1",
    "FIN-WAIT-2",
    "CLOSE-WAIT",
    "CLOSING",
    "LAST-ACK",
    "TIME-WAIT",
]
Event = Literal[
    "sent SYN", "received SYN", "received SYN,ACK", "SYN acknowledged", "sent FIN", "received FIN", "FIN acknowledged"
]

TRANSITIONS: dict[tuple[State, Event], State] = {
    ("CLOSED", "sent SYN"): "SYN-SENT",
    ("LISTEN", "sent SYN"): "SYN-SENT",
    ("LISTEN", "received SYN"): "SYN-RECEIVED",
    ("SYN-SENT", "received SYN"): "SYN-RECEIVED",  # simultaneous open
    ("SYN-SENT", "received SYN,ACK"): "ESTABLISHED",
    ("SYN-RECEIVED", "SYN acknowledged"): "ESTABLISHED",
    ("SYN-RECEIVED", "sent FIN"): "FIN-WAIT-1",
    ("SYN-RECEIVED", "received FIN"): "CLOSE-WAIT",
    ("ESTABLISHED", "sent FIN"): "FIN-WAIT-1",
    ("ESTABLISHED", "received FIN"): "CLOSE-WAIT",
    ("FIN-WAIT-1", "FIN acknowledged"): "FIN-WAIT-2",
    ("FIN-WAIT-1", "received FIN"): "CLOSING",  # simultaneous close
    ("FIN-WAIT-2", "received FIN"): "TIME-WAIT",
    ("CLOSE-WAIT", "sent FIN"): "LAST-ACK",
    ("CLOSING", "FIN acknowledged"): "TIME-WAIT",
    ("LAST-ACK", "FIN acknowledged"): "CLOSED",
}
# and from every state: a reset, sent or received, leads to CLOSED (RFC 9293 §3.5.2, §3.5.3)


class States(NamedTuple):
    """Both sides' states after one segment."""

    client: State
    server: State


class Step(NamedTuple):
    """A segment that may change something: its place in the connection, from 0, and its code (`tcp_codes`)."""

    place: int
    code: int


def walk_states(steps: Sequence[Step]) -> tuple[tuple[int, States], ...]:
    """The states after each segment where they change, with its place; the first entry is the first segment's."""
    state = list(_before(steps[0].code))
    pending: list[tuple[Event, ...]] = [(), ()]  # what is on its way to a side, proved not to have arrived
    changes: list[tuple[int, States]] = []
    for which, step in enumerate(steps):
        for side, event in _events(steps, which, pending):
            state[side] = "CLOSED" if event == "reset" else TRANSITIONS.get((state[side], event), state[side])
        states = States(state[0], state[1])
        if not changes or changes[-1][1] != states:
            changes.append((step.place, states))
    return tuple(changes)


def _before(code: int) -> tuple[State, State]:
    """The states before the capture's first segment."""
    if not code & HAS_SYN:
        return "ESTABLISHED", "ESTABLISHED"  # joined midway
    if code & HAS_ACK:
        return "SYN-SENT", "SYN-RECEIVED"  # the SYN came before the capture
    return "CLOSED", "LISTEN"


def _events(
    steps: Sequence[Step], which: int, pending: list[tuple[Event, ...]]
) -> Iterator[tuple[int, Event | Literal["reset"]]]:
    """What a segment means to whom, in the order of RFC 9293 §3.10.7.4: RST, SYN, ACK, FIN."""
    code = steps[which].code
    me = code & FROM_SERVER
    peer = 1 - me
    if code & HAS_RST:
        yield me, "reset"
        yield peer, "reset"
        return
    if code & ACKS_FIN or (code & HAS_SYN and code & ACKS_SYN):  # it has arrived, says its receiver
        yield from ((me, event) for event in pending[me])
        pending[me] = ()
    if code & HAS_SYN and not code & HAS_ACK:
        yield me, "sent SYN"
    if code & HAS_FIN:
        yield me, "sent FIN"
    yield from ((me, event) for event in pending[me] if code & (HAS_SYN | HAS_FIN))
    pending[me] = () if code & (HAS_SYN | HAS_FIN) else pending[me]
    if code & HAS_SYN and code & ACKS_SYN:
        yield peer, "received SYN,ACK"
    if code & ACKS_SYN:
        yield peer, "SYN acknowledged"
    if code & ACKS_FIN:
        yield peer, "FIN acknowledged"
    carried: tuple[Event, ...] = ("received SYN",) if code & HAS_SYN and not code & HAS_ACK else ()
    carried += ("received FIN",) if code & HAS_FIN else ()
    if carried and (code & AHEAD or _is_crossed(steps, which)):
        pending[peer] = carried
    else:
        yield from ((peer, event) for event in carried)


def _is_crossed(steps: Sequence[Step], which: int) -> bool:
    """Whether the peer sends a SYN or FIN of its own that doesn't acknowledge this one, before any that does."""
    code = steps[which].code
    kind, covers = (HAS_FIN, ACKS_FIN) if code & HAS_FIN else (HAS_SYN, ACKS_SYN)
    me = code & FROM_SERVER
    earlier = [step.code for step in steps[:which]]
    if any(other & kind and other & FROM_SERVER != me for other in earlier):
        return False  # this one is the second
    for step in steps[which + 1 :]:
        other = step.code
        if other & FROM_SERVER == me or other & HAS_RST:
            continue
        if other & kind:
            return not other & covers
        if other & covers:
            return False
    return False
