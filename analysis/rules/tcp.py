"""Rules about the TCP connections of a story."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

from analysis.packets.packet import FIN, RST, SYN, hosts_without_checksums
from analysis.rules.case import Case, Outcome
from analysis.tcp.connection import Connection
from analysis.tcp.segment import PEER, Role, Segment
from analysis.text import plural, some

OPEN = ("complete", "midway")
BOTH: tuple[Role, Role] = ("client", "server")
FAR = 1 << 15  # numbers: another initial number is hardly ever nearer; for ports used again, Linux adds 65,537 at least
LARGEST_SCALE = 14  # RFC 7323 §2.3


def _each(case: Case, expected: str, check: Callable[[Case, Connection], Outcome]) -> Outcome:
    """The worst of what `check` says of each connection; of all passes, one that names them all."""
    connections = case.story.connections if case.story else ()
    if not connections:
        return Outcome("skip", expected, "there is no connection")
    outcomes = [check(case, connection) for connection in connections]
    for status in ("fail", "inconclusive"):
        for outcome in outcomes:
            if outcome.status == status:
                return outcome
    good = [outcome for outcome in outcomes if outcome.status == "pass"]
    if not good:
        return outcomes[0]
    actual = some(list(dict.fromkeys(outcome.actual for outcome in good)), separator="; ")
    return Outcome("pass", expected, actual, tuple(frame for outcome in good for frame in outcome.frames))


def handshake(case: Case) -> Outcome:
    """SYN, SYN,ACK with ack = ISN + 1, ACK (RFC 9293 §3.5)."""
    expected, tries = "SYN; SYN,ACK with Ack = the client's initial number + 1; ACK", _tries(case)

    def check(case: Case, connection: Connection) -> Outcome:
        found = connection.handshake
        if found.status != "complete" and _is_spare(tries, connection):
            return _spared(expected, connection)
        if found.status == "complete":
            numbers = ", ".join(str(frame) for frame in found.frames)
            return Outcome("pass", expected, f"frames {numbers}", found.frames)
        if found.status == "refused":
            hint = "nothing listens on that port, or a firewall answers for it"
            return Outcome("fail", expected, "the SYN was refused with a reset", found.frames, hint)
        if found.status == "unanswered":
            actual = f"{plural(len(found.frames), 'SYN')}, no answer"
            return case.absent(expected, actual, "the server's SYN,ACK", found.frames)
        if found.status == "midway":
            needed = f"SYN, SYN,ACK and ACK, before frame {connection.frames[0]}"
            return case.absent(expected, "the connection was open already", needed, connection.frames[:1])
        return _wrong_handshake(case, connection, expected)

    return _each(case, expected, check)


class _Tries(NamedTuple):
    """Of a story's connections, whether one carried data, and whether one came about."""

    has_data: bool
    is_open: bool


def _tries(case: Case) -> _Tries:
    connections = case.story.connections if case.story else ()
    is_open = any(one.handshake.status in OPEN for one in connections)
    return _Tries(any(one.life.has_data for one in connections), is_open)


def _is_spare(tries: _Tries, connection: Connection) -> bool:
    """Whether it is a try that another connection of the story took the place of (RFC 8305 §5)."""
    if connection.life.has_data:
        return False
    never_open = connection.handshake.status in ("refused", "unanswered")
    return tries.has_data or (never_open and tries.is_open)


def _spared(expected: str, connection: Connection) -> Outcome:
    what = connection.handshake.status if connection.handshake.status != "complete" else "given up unused"
    actual = f"the try to {connection.server.address} was {what}; another connection took its place"
    return Outcome("skip", expected, actual, connection.frames)


def _wrong_handshake(case: Case, connection: Connection, expected: str) -> Outcome:
    syn, answer = connection.syn_of("client"), connection.syn_of("server")
    frames = connection.handshake.frames
    if syn and answer and answer.ack is not None and 0 < abs(answer.ack - syn.next) <= FAR:
        return Outcome("fail", expected, f"SYN,ACK with Ack={answer.ack} instead of {syn.next}", frames)
    lacking = "ACK of the SYN,ACK" if answer else "SYN,ACK"
    return case.absent(expected, f"no {lacking}", f"the {lacking}", frames)


def options(case: Case) -> Outcome:
    """Window scale only on SYN and at most 14 (RFC 7323 §2.2, §2.3); timestamps on all or none (§3.2)."""
    expected = "window scale on SYNs only, at most 14; timestamps on every segment once agreed"

    def check(_: Case, connection: Connection) -> Outcome:
        syns = [connection.syn_of(role) for role in BOTH]
        agreed = all(syn is not None and syn.tcp.timestamps is not None for syn in syns)
        for segment in connection.segments:
            scale = segment.tcp.window_scale
            if scale is not None and not segment.flags & SYN:
                return Outcome("fail", expected, f"window scale in frame {segment.frame}, no SYN", (segment.frame,))
            if scale is not None and scale > LARGEST_SCALE:
                return Outcome("fail", expected, f"window scale {scale}", (segment.frame,), "receivers take it as 14")
            if agreed and not segment.flags & RST and segment.tcp.timestamps is None:
                return Outcome("fail", expected, f"no timestamps in frame {segment.frame}", (segment.frame,))
        frames = tuple(syn.frame for syn in syns if syn)
        if not frames:
            return Outcome("skip", expected, "no SYN is in the capture")
        return Outcome("pass", expected, "timestamps agreed" if agreed else "as negotiated, no timestamps", frames)

    return _each(case, expected, check)


def numbers(case: Case) -> Outcome:
    """Each side's numbers leave no gap, and nothing is acknowledged that wasn't sent (RFC 9293 §3.4)."""
    expected = "no gap in either side's numbers, and no Ack beyond what was sent, or back"

    def check(case: Case, connection: Connection) -> Outcome:
        sides: dict[Role, _Numbers] = {role: _Numbers() for role in BOTH}
        for segment in connection.segments:
            me, peer = sides[segment.sender], sides[PEER[segment.sender]]
            contradiction = _contradiction(segment, me, peer)
            if contradiction:
                actual = f"frame {segment.frame}, of the {segment.sender}: {contradiction}"
                if _may_be_another(segment, me, peer):
                    return case.absent(
                        expected, actual, "the SYN of another connection on these ports", (segment.frame,)
                    )
                return Outcome("fail", expected, actual, (segment.frame,))
            if segment.ack is not None and segment.ack > max(peer.newest, 1):
                actual = f"Ack={segment.ack} in frame {segment.frame}, but the other side was seen to {peer.newest}"
                needed = f"the {PEER[segment.sender]}'s segments from Seq {peer.newest} on"
                return case.absent(expected, actual, needed, (segment.frame,))
            me.note(segment)
        for role in BOTH:
            gap = _gap(connection, role)
            if gap:
                missing = f"the {role}'s numbers {gap[0]} to {gap[1] - 1}"
                return case.absent(expected, f"{missing} are missing", f"the segments with {missing}", gap[2:])
        totals = ", ".join(f"{role} 0 to {sides[role].newest - 1}" for role in BOTH if sides[role].newest)
        return Outcome("pass", expected, f"numbers used: {totals}", connection.frames)

    return _each(case, expected, check)


@dataclass(slots=True)
class _Numbers:
    """One side so far: the number after all it sent, its highest Ack, and the number after its FIN."""

    newest: int = 0
    ack: int = 0
    fin_end: int | None = None

    def note(self, segment: Segment) -> None:
        self.newest = max(self.newest, segment.next)
        self.ack = max(self.ack, segment.ack or 0)
        if segment.flags & FIN and self.fin_end is None:
            self.fin_end = segment.next


def _may_be_another(segment: Segment, me: _Numbers, peer: _Numbers) -> bool:
    """Whether a segment, after a FIN or with a SYN, has numbers so far away that it may be a later connection's."""
    if me.fin_end is None and peer.fin_end is None and not segment.flags & SYN:
        return False
    ack = peer.newest if segment.ack is None else segment.ack
    return max(abs(segment.seq - me.newest), abs(ack - peer.newest)) > FAR


def _contradiction(segment: Segment, me: _Numbers, peer: _Numbers) -> str:
    """What no missing or reordered frame can explain, or an empty text."""
    if segment.flags & RST:
        return "SYN and RST in one segment" if segment.flags & SYN else ""
    takes_new = segment.next > segment.seq and segment.next > me.newest
    if segment.ack is None and not segment.flags & SYN:
        return "no ACK flag; every segment after the SYN has it"
    if peer.fin_end is not None and segment.ack is not None and segment.ack > peer.fin_end:
        return f"Ack={segment.ack}, but the other side's FIN ended at {peer.fin_end}: it consumes one number, not more"
    if me.fin_end is not None and takes_new:
        return f"it takes numbers beyond its own FIN, which ended at {me.fin_end}"
    if segment.flags & SYN and me.newest > 1 and segment.seq != 0:  # a late copy of the first one is no contradiction
        return "a SYN in the middle of the connection"
    if takes_new and segment.seq >= me.newest and segment.ack is not None and segment.ack < me.ack:
        return f"Ack={segment.ack} on new numbers, less than the {me.ack} that it had acknowledged before"
    return ""


def _gap(connection: Connection, role: Role) -> tuple[int, ...]:
    """The first numbers that `role` left out, as start, end, and the frame that came after them."""
    covered: int | None = None
    for segment in sorted(connection.sent_by(role), key=lambda segment: segment.seq):
        if segment.flags & RST:
            continue
        if covered is not None and segment.seq > covered:
            return (covered, segment.seq, segment.frame)
        covered = max(covered or segment.seq, segment.next)
    return ()


def acknowledged(case: Case) -> Outcome:
    """Each byte that a side sent is covered by an Ack of the other (RFC 9293 §3.4)."""
    expected = "an Ack beyond the last byte of each side"

    def check(case: Case, connection: Connection) -> Outcome:
        if connection.close.variant == "refused":
            return Outcome("skip", expected, "the connection was refused")
        left = _unacknowledged(connection)
        if left:
            role, last, best = left
            actual = f"the {role} sent up to {last.end - 1}, acknowledged up to {best - 1}"
            return case.absent(expected, actual, f"the {PEER[role]}'s Ack {last.end}", (last.frame,))
        sent = {role: sum(s.length for s in connection.sent_by(role) if not s.repeated) for role in BOTH}
        words = " and ".join(f"{sent[role]} bytes of the {role}" for role in BOTH)
        return Outcome("pass", expected, words, ())

    return _each(case, expected, check)


def _unacknowledged(connection: Connection) -> tuple[Role, Segment, int] | None:
    """A side whose last bytes no Ack covers: its last segment with bytes, and the best Ack of the other."""
    for role in BOTH:
        last = max((segment for segment in connection.sent_by(role)), key=lambda s: s.end, default=None)
        best = max((segment.ack or 0 for segment in connection.sent_by(PEER[role])), default=0)
        if last is not None and last.length and best < last.end:
            return role, last, best
    return None


def checksums(case: Case) -> Outcome:
    """TCP and UDP checksums by the pseudo-header (RFC 9293 §3.1, RFC 768).

    A host that leaves checksums to its network card captures its own frames before the card fills them in:
    such frames tell nothing about the wire.
    """
    expected = "the checksum of RFC 1071 over pseudo-header, header and data"
    packets = list(case.story.packets(case.traffic).values()) if case.story else []
    if not packets:
        return Outcome("skip", expected, "there is no frame to check")
    good = [packet for packet in packets if packet.checksum == "good"]
    bad = [packet for packet in packets if packet.checksum == "bad"]
    unfinished = hosts_without_checksums(packets)
    damaged = tuple(packet.frame for packet in bad if case.is_vouched or packet.src not in unfinished)
    if damaged:
        return Outcome(
            "fail", expected, f"{plural(len(damaged), 'frame')} with a wrong checksum", damaged, "damaged on the way"
        )
    left = [packet for packet in packets if packet.checksum in ("bad", "partial")]
    if left:
        actual = f"{len(good)} right; {len(left)} of {left[0].src} not filled in yet: checksum offload, no damage"
        return Outcome("pass", expected, actual, tuple(packet.frame for packet in left))
    if not good:
        return Outcome("skip", expected, "no frame is whole enough to check")
    return Outcome("pass", expected, f"{len(good)} right", ())


def close(case: Case) -> Outcome:
    """FIN from both sides, each acknowledged: the FIN consumes one number (RFC 9293 §3.6)."""
    expected, tries = "a FIN from each side, acknowledged with its number + 1", _tries(case)

    def check(case: Case, connection: Connection) -> Outcome:
        found = connection.close
        opening = connection.handshake.status
        if not found.complete and _is_spare(tries, connection):
            return _spared(expected, connection)
        if opening in ("refused", "unanswered", "incomplete"):
            return Outcome("skip", expected, f"the handshake is {opening}: there is nothing to close")
        if found.variant == "open" and _unacknowledged(connection):
            return Outcome("skip", expected, "bytes await their acknowledgement: the close has not begun")
        if found.variant == "reset":
            if connection.handshake.status == "midway":
                actual = "a reset, of a connection whose beginning isn't there"
                return case.absent(expected, actual, f"what came before frame {connection.frames[0]}", found.frames)
            hint = "a reset ends a connection at once; data on the way may be lost"
            return Outcome("fail", expected, f"a reset, begun by the {found.first_closer}", found.frames, hint)
        if found.complete:
            first = f"the {found.first_closer} first" if found.first_closer else "both at once"
            return Outcome("pass", expected, f"{found.variant} close, {first}", found.frames)
        words = {"open": "no FIN", "half-closed": f"only the {found.first_closer}'s FIN"}
        return case.absent(
            expected, words.get(found.variant, "the last ACK isn't there"), _missing_close(connection), found.frames
        )

    return _each(case, expected, check)


def _missing_close(connection: Connection) -> str:
    """The segments that would complete the close."""
    found = connection.close
    if found.variant == "open":
        return "each side's FIN and its ACK"
    last = {
        segment.sender: segment for segment in connection.segments if segment.flags & FIN and not segment.flags & RST
    }
    if found.variant == "half-closed" and found.first_closer is not None:
        return f"the FIN of the {PEER[found.first_closer]} and its ACK"
    missing = [f"the {PEER[role]}'s ACK of the {role}'s FIN (Ack={fin.next})" for role, fin in last.items()]
    acked = {role: max((one.ack or 0 for one in connection.sent_by(PEER[role])), default=0) for role in last}
    return "; ".join(text for text, (role, fin) in zip(missing, last.items(), strict=True) if acked[role] < fin.next)
