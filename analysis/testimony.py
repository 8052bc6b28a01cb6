"""What the hosts' own kernels said of their connections while they were captured, beside what the segments show.

Theory of operation. A look is one kernel's answer to "in which state is this socket?", given when the host had sent and
received exactly the first `frame_count` frames of the capture. So it must be the state inferred after them. It need not
be, and nobody is wrong, in two cases. A segment that got lost was captured, but never arrived; or was sent, but never
captured: whoever made the wire says which. The receiver may then still be on the way from the state before that
segment, until a later one has brought the same; the sender may be in the state that its segment led to. And an
application or a clock may change a state without a segment: `UNSEEN` and `WAITING` list these changes, and no others.
"""

from bisect import bisect_right
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Literal, NamedTuple, get_args

from analysis.errors import InputError
from analysis.packets.packet import ACK, FIN, RST, SYN
from analysis.tcp.connection import Connection
from analysis.tcp.segment import PEER, ROLES, Endpoint, Role, Segment
from analysis.tcp.states import TRANSITIONS, State

Agreement = Literal["same", "unseen", "lost", "differs"]
STATES: frozenset[State] = frozenset(get_args(State))
START: dict[Role, State] = {"client": "CLOSED", "server": "LISTEN"}

# (inferred, the kernel's): what may have happened without a segment. CLOSED stands for "no such socket".
UNSEEN: dict[tuple[State, State], str] = {
    ("LISTEN", "CLOSED"): "nothing listens there",
    ("SYN-SENT", "CLOSED"): "the attempt was given up, which puts nothing on the wire (RFC 9293 §3.10.4)",
    ("FIN-WAIT-2", "CLOSED"): "the wait for the peer's FIN has timed out",
    ("TIME-WAIT", "CLOSED"): "TIME-WAIT is over (RFC 9293 §3.6.1)",
}
# the same, but only while the FIN has something to wait for: bytes not yet acknowledged, or a closed window
WAITING: dict[tuple[State, State], str] = {
    ("ESTABLISHED", "FIN-WAIT-1"): "the application has closed; its FIN waits behind bytes (RFC 9293 §3.10.4)",
    ("CLOSE-WAIT", "LAST-ACK"): "the application has closed; its FIN waits behind bytes (RFC 9293 §3.10.4)",
}


class Look(NamedTuple):
    """The state of one end's socket. `frame_count`: how many frames of the capture had passed that host by then."""

    frame_count: int
    role: Role
    state: State


class Loss(NamedTuple):
    """A segment that didn't reach its receiver undamaged; `frame` is its number in the capture, if it is there.

    `frame_count`: how many frames the capture had when it was sent. `flags`: the segment's.
    """

    frame: int | None
    frame_count: int
    sender: Role
    flags: int


class Testimony(NamedTuple):
    """All that was said of one pair of ends: looks in order, and the segments between these that got lost."""

    client: Endpoint
    server: Endpoint
    looks: tuple[Look, ...]
    lost: tuple[Loss, ...] = ()


class Compared(NamedTuple):
    """A look beside the state inferred; `why`: what explains a difference. `frame`: the connection's last by then."""

    look: Look
    inferred: State
    agreement: Agreement
    why: str
    frame: int | None


@dataclass(frozen=True, slots=True)
class Kernels:
    """What both kernels said of one connection: every look, compared."""

    looks: tuple[Compared, ...]

    def of(self, role: Role) -> tuple[Compared, ...]:
        """The looks at one end, in order."""
        return tuple(one for one in self.looks if one.look.role == role)

    def last(self, role: Role) -> Compared | None:
        """The last look at one end."""
        return next(reversed(self.of(role)), None)


def read_testimony(entries: Any) -> tuple[Testimony, ...]:
    """The entry `sockets` of a run's facts, as values. `InputError` if it isn't one."""
    try:
        return tuple(_testimony(entry) for entry in entries)
    except (AttributeError, KeyError, OverflowError, TypeError, ValueError) as error:
        message = f"the testimony of the kernels can't be read ({type(error).__name__}: {error})"
        raise InputError(message, "take run.json as the lab wrote it") from None


def _testimony(entry: Mapping[str, Any]) -> Testimony:
    client, server = (Endpoint(str(address), int(port)) for address, port in (entry["client"], entry["server"]))
    looks = [
        Look(_count(count), role, _known(state, STATES))
        for role in ROLES
        for count, state in entry["looks"].get(role, ())
    ]
    for role in entry["looks"]:
        _known(role, ROLES)
    lost = [
        Loss(None if frame is None else _count(frame), _count(count), _known(sender, PEER), int(flags))
        for frame, count, sender, flags in entry.get("lost", ())
    ]
    return Testimony(client, server, tuple(looks), tuple(lost))


def _count(number: Any) -> int:
    if int(number) < 0:
        raise ValueError(f"{number} frames")
    return int(number)


def _known(word: Any, words: Iterable[Any]) -> Any:
    if word not in words:
        raise ValueError(f"{word!r} is unknown")
    return word


def compare(connections: Iterable[Connection], testimony: Sequence[Testimony]) -> dict[int, Kernels]:
    """The testimony on each connection, by its index; connections without any are left out."""
    said = _by_ends(testimony)
    of_ends: dict[tuple[Endpoint, Endpoint], list[Connection]] = {ends: [] for ends in said}
    for connection in connections if of_ends else ():
        of_ends.get((connection.client, connection.server), []).append(connection)
    found: dict[int, Kernels] = {}
    for ends, one in said.items():
        same_ends = of_ends[ends]  # several: the client used its port again
        for begun, connection in enumerate(same_ends, 1):
            looks = [look for look in one.looks if _begun(same_ends, look) == begun]
            compared = [_compare(connection, look, one.lost) for look in looks]
            if compared:
                found[connection.index] = Kernels(tuple(_without_returns(compared)))
    return found


def _by_ends(testimony: Sequence[Testimony]) -> dict[tuple[Endpoint, Endpoint], Testimony]:
    """All that was said of each pair of ends, in the order of the looks."""
    said: dict[tuple[Endpoint, Endpoint], Testimony] = {}
    for one in testimony:
        ends = (one.client, one.server)
        known = said.get(ends, Testimony(*ends, ()))
        looks = sorted((*known.looks, *one.looks), key=lambda look: look.frame_count)
        said[ends] = Testimony(*ends, tuple(looks), (*known.lost, *one.lost))
    return said


def _without_returns(compared: Sequence[Compared]) -> Iterator[Compared]:
    """No explanation holds for a state from which no way leads to what the same kernel said later."""
    for index, one in enumerate(compared):
        is_gone = one.agreement == "unseen" and one.look.state == "LISTEN"
        ways = _reachable("CLOSED" if is_gone else one.look.state) | {"CLOSED", "LISTEN"}
        later = (other.look.state for other in compared[index + 1 :] if other.look.role == one.look.role)
        returned = one.agreement != "same" and any(state not in ways for state in later)
        yield one._replace(agreement="differs", why="") if returned else one


def _begun(connections: Sequence[Connection], look: Look) -> int:
    """How many of `connections` had begun at `look`; at least one: a look just before the SYN is about the first."""
    return max(1, sum(connection.frames[0] <= look.frame_count for connection in connections))


def _compare(connection: Connection, look: Look, lost: Sequence[Loss]) -> Compared:
    seen = bisect_right(connection.frames, look.frame_count)
    opened = connection.segments[0].flags & (SYN | ACK) == SYN
    first: State = START[look.role] if opened else getattr(connection.states[0], look.role)
    history = (first, *(getattr(states, look.role) for states in connection.states[:seen]))  # before and after each
    agreement, why = _agreement(connection, look, history, lost)
    return Compared(look, history[-1], agreement, why, connection.frames[seen - 1] if seen else None)


def _agreement(
    connection: Connection, look: Look, history: Sequence[State], lost: Sequence[Loss]
) -> tuple[Agreement, str]:
    inferred, said = history[-1], look.state
    # a server's LISTEN: the lookup found no socket of the connection, but the one that listens
    gone: State = "CLOSED" if (look.role, said) == ("server", "LISTEN") else said
    if said == inferred or gone == inferred == "CLOSED":
        return "same", ""
    possible = dict(_with_losses(connection, look, history, lost))
    if said in possible:
        return "lost", possible[said]
    waits = _has_to_wait(connection.segments[: len(history) - 1], look.role)
    silently = {**UNSEEN, **(WAITING if waits else {})}
    if (inferred, gone) in silently:
        return "unseen", silently[inferred, gone]
    for state, why in possible.items():
        if (state, gone) in silently:
            return "lost", f"{why}; {silently[state, gone]}"
    return "differs", ""


def _has_to_wait(segments: Sequence[Segment], role: Role) -> bool:
    """Whether a FIN of `role` may not go out yet: its bytes fill a window, or the peer's is closed."""
    peers = [one for one in segments if one.sender != role]
    acked = max((one.ack for one in peers if one.ack is not None), default=0)
    sent = max((one.next for one in segments if one.sender == role), default=0)
    return sent > acked or (bool(peers) and peers[-1].tcp.window == 0)


def _with_losses(
    connection: Connection, look: Look, history: Sequence[State], lost: Sequence[Loss]
) -> Iterator[tuple[State, str]]:
    """The states that lost segments leave possible, and why."""
    places = {frame: place for place, frame in enumerate(connection.frames)}
    gone = {loss.frame for loss in lost}
    segments = connection.segments[: len(history) - 1]
    for loss in lost:
        place = len(segments) if loss.frame is None else places.get(loss.frame, len(segments))
        if place < len(segments) and loss.sender != look.role and not _has_arrived(segments, place, gone):
            behind = {*history[place:], *_between(history[place], history[-1])}
            yield from ((state, f"frame {loss.frame} never arrived") for state in behind)
        if loss.frame is None and loss.sender == look.role and loss.frame_count <= look.frame_count:
            since = history[bisect_right(connection.frames, loss.frame_count) :]
            if loss.flags & FIN and _fin_is_acked(segments, loss):
                continue
            yield from _after_sending(since, loss.flags, PEER[loss.sender])


def _between(first: State, last: State) -> Iterator[State]:
    """The states on any way from one to another: of what a lost segment brought, a later one may bring a part."""
    return (state for state in STATES if state in _reachable(first) and last in _reachable(state))


@lru_cache
def _reachable(first: State) -> frozenset[State]:
    """The states that `first` may lead to, itself included, without a new connection."""
    steps = {
        after
        for (before, event), after in TRANSITIONS.items()
        if before == first != "CLOSED" and (before, event) != ("LISTEN", "sent SYN")  # who listens doesn't connect
    }
    return frozenset((first,)).union(*(_reachable(step) for step in steps if step != first))


def _has_arrived(segments: Sequence[Segment], place: int, gone: set[int | None]) -> bool:
    """Whether what the segment at `place` had has arrived since: it was acknowledged, or a later one brought it all."""
    one = segments[place]
    takes_numbers = one.next > one.seq

    def shows(later: Segment) -> bool:
        if later.sender != one.sender:
            return takes_numbers and (later.ack or 0) >= one.next
        brings = not takes_numbers or later.seq <= one.seq < one.next <= later.next
        return brings and later.frame not in gone and (later.ack or 0) >= (one.ack or 0)

    return any(map(shows, segments[place + 1 :]))


def _fin_is_acked(segments: Sequence[Segment], loss: Loss) -> bool:
    """Whether the lost FIN was sent again, and acknowledged."""
    again = [one for one in segments if one.sender == loss.sender and one.flags & FIN and one.frame > loss.frame_count]
    acks = [one.ack or 0 for one in segments if one.sender != loss.sender and one.frame > loss.frame_count]
    return bool(again and acks) and max(acks) >= again[0].next


def _after_sending(states: Iterable[State], flags: int, receiver: Role) -> Iterator[tuple[State, str]]:
    """What a FIN or reset that was never captured makes of its sender; a FIN may have crossed the peer's."""
    if flags & RST:
        yield "CLOSED", f"its reset never reached the {receiver}"
        yield "LISTEN", f"its reset never reached the {receiver}"
    elif flags & FIN:
        for state in states:
            sent = TRANSITIONS.get((state, "sent FIN"), state)
            for now in (sent, TRANSITIONS.get((sent, "received FIN"), sent)):
                yield now, f"its FIN never reached the {receiver}"
