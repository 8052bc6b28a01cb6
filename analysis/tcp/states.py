"""Each side's state after each segment, from a transition table (RFC 9293 §3.3.2, figure 5).

Theory of operation: a segment is an event for both sides. Its sender *sent* SYN or FIN; its receiver first learns
what it acknowledges, then what it carries (RFC 9293 §3.10.7.4). So a FIN,ACK that acknowledges a FIN moves the receiver
FIN-WAIT-1 → FIN-WAIT-2 → TIME-WAIT in one segment: the three-segment close. States are "as seen at the capture": a
segment counts as received when it was captured, unless a later one proves otherwise. Two SYNs or two FINs that
cross on the way are such a proof: who sent the second had not yet received the first.
"""

from collections.abc import Iterator, Sequence
from typing import Literal, NamedTuple

from analysis.tcp.codes import ACKS_FIN, ACKS_SYN, AHEAD, FROM_SERVER, HAS_ACK, HAS_FIN, HAS_RST, HAS_SYN

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
    walk = _Walk(steps)
    state = list(_before(steps[0].code))
    changes: list[tuple[int, States]] = []
    for which, step in enumerate(steps):
        for side, event in walk.events(which, step.code):
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


class _Walk:
    """What each segment means to whom; and what is still on its way to a side, proved not to have arrived."""

    def __init__(self, steps: Sequence[Step]) -> None:
        self._crossed = (_crossing(steps, HAS_SYN, ACKS_SYN), _crossing(steps, HAS_FIN, ACKS_FIN))
        self._pending: list[tuple[Event, ...]] = [(), ()]
        self._spoke = [False, False]  # whether the side has sent a SYN or FIN meanwhile

    def events(self, which: int, code: int) -> Iterator[tuple[int, Event | Literal["reset"]]]:
        """The events of step number `which`, by side, in the order of RFC 9293 §3.10.7.4: RST, SYN, ACK, FIN."""
        me = code & FROM_SERVER
        peer = 1 - me
        if code & HAS_RST:
            yield me, "reset"
            yield peer, "reset"
            return
        if code & ACKS_FIN or (code & HAS_SYN and code & ACKS_SYN):
            yield from self._arrived(me)  # says its receiver
        if self._spoke[peer]:
            yield from self._arrived(peer)  # what crossed the peer's own SYN or FIN comes before this segment
        if code & HAS_SYN and not code & HAS_ACK:
            yield me, "sent SYN"
        if code & HAS_FIN:
            yield me, "sent FIN"
        self._spoke[me] = self._spoke[me] or bool(self._pending[me] and code & (HAS_SYN | HAS_FIN))
        if code & HAS_SYN and code & ACKS_SYN:
            yield peer, "received SYN,ACK"
        if code & ACKS_SYN:
            yield peer, "SYN acknowledged"
        if code & ACKS_FIN:
            yield peer, "FIN acknowledged"
        carried: tuple[Event, ...] = ("received SYN",) if code & HAS_SYN and not code & HAS_ACK else ()
        carried += ("received FIN",) if code & HAS_FIN else ()
        if code & AHEAD or any(side == me and which < until for side, until in self._crossed if carried):
            self._pending[peer] = carried or self._pending[peer]
        else:
            yield from ((peer, event) for event in carried)

    def _arrived(self, side: int) -> Iterator[tuple[int, Event]]:
        yield from ((side, event) for event in self._pending[side])
        self._pending[side], self._spoke[side] = (), False


def _crossing(steps: Sequence[Step], kind: int, covers: int) -> tuple[int, int]:
    """Whose SYNs or FINs, in steps before which, cross the peer's first; (-1, 0) where none do.

    They cross if the peer's first doesn't acknowledge them, and nothing that the peer sent before it did.
    """
    first: int | None = None
    for which, (_, code) in enumerate(steps):
        side = code & FROM_SERVER
        if code & HAS_RST:
            continue
        if first is None:
            first = side if code & kind and not code & covers else None
        elif side != first and code & covers:
            return -1, 0
        elif side != first and code & kind:
            return first, which
    return -1, 0
