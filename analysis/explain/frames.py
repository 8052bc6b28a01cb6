"""One sentence a frame: why its Seq and Ack are what they are, from that frame's own numbers (RFC 9293 §3.4)."""

from bisect import bisect_right, insort
from dataclasses import dataclass, field

from analysis.explain.events import Scene, event_sentence
from analysis.explain.lookups import lookup_sentences
from analysis.packets.packet import FIN, RST, SYN, option_text
from analysis.report import Report
from analysis.tcp.connection import Connection
from analysis.tcp.events import EventKind
from analysis.tcp.segment import PEER, Role, Segment
from analysis.text import plural, printable

SHORTEST_FRAME = 60  # bytes, without its check sequence: Ethernet pads to that
STRAY_RESET = "RST, but Seq {} is no number that the other side can expect: it changes nothing (RFC 5961 §3.2)."


def explain(report: Report) -> dict[int, str]:
    """The sentence of every frame of the chosen story, by frame number."""
    story = report.story
    if story is None:
        return {}
    sentences: dict[int, str] = {}
    for lookup in story.lookups:
        for frame, sentence in lookup_sentences(lookup, story):
            sentences[frame] = f"{sentences[frame]} {sentence}" if frame in sentences else sentence
    for connection in (*story.connections, *story.carriers):
        for frame, sentence in _connection_sentences(connection).items():
            sentences[frame] = f"{sentences[frame]} {sentence}" if frame in sentences else sentence
    for datagram in report.traffic.packets.whole.values():
        for frame in datagram.frames[:-1] if datagram.frames[-1] in sentences else ():
            sentences[frame] = f"A part of the datagram that frame {datagram.frames[-1]} completes."
    return {frame: printable(sentence) for frame, sentence in sentences.items()}


@dataclass(slots=True)
class _Side:
    """One side so far: its newest number, last Ack, last segment, last one that took numbers, its FIN's end."""

    isn: int | None
    newest: int = 0
    ack: int | None = None
    previous: Segment | None = None
    last: Segment | None = None
    fin_next: int | None = None
    bytes_sent: int = 0  # captured, each once, as far as whole segments tell
    exact: dict[tuple[int, int], Segment] = field(default_factory=dict)  # the first to carry just these numbers
    starts: list[tuple[int, int]] = field(default_factory=list)  # Seq and frame of what took new numbers, sorted
    by_frame: dict[int, Segment] = field(default_factory=dict)

    def note(self, segment: Segment) -> None:
        """Remember a segment that takes numbers."""
        if segment.next == segment.seq:
            return
        self.exact.setdefault((segment.seq, segment.next), segment)
        if not segment.repeated:
            insort(self.starts, (segment.seq, segment.frame))
            self.by_frame[segment.frame] = self.last = segment
            self.bytes_sent += segment.length

    def first_to_carry(self, segment: Segment) -> Segment | None:
        """The first segment that carried the numbers of `segment`, or else one that carried the first of them."""
        exact = self.exact.get((segment.seq, segment.next))
        if exact is not None:
            return exact
        at = bisect_right(self.starts, (segment.seq, 1 << 62))
        return self.by_frame[self.starts[at - 1][1]] if at else None


def _connection_sentences(connection: Connection) -> dict[int, str]:
    sides: dict[Role, _Side] = {role: _Side(connection.isn[role]) for role in PEER}
    by_frame = {segment.frame: segment for segment in connection.segments}
    sentences: dict[int, str] = {}
    strays = set(connection.close.stray_resets)
    for segment in connection.segments:
        me, peer = sides[segment.sender], sides[PEER[segment.sender]]
        found = connection.events_in.get(segment.frame, ())
        original = me.first_to_carry(segment) if segment.repeated else None
        first = None if original is None else original.frame
        odd = [event_sentence(Scene(event, segment, connection, by_frame, first)) for event in found]
        if any(event.kind == "duplicate-frame" for event in found):
            sentences[segment.frame] = " ".join(odd)
            continue
        if segment.frame in strays:
            sentences[segment.frame] = " ".join((*odd, STRAY_RESET.format(segment.seq)))
            continue
        kinds = {event.kind for event in found}
        parts = [
            _seq_part(segment, me, peer, original, kinds),
            *odd,
            _load_part(segment),
            _ack_part(segment, me, peer, kinds),
        ]
        sentences[segment.frame] = " ".join(part for part in parts if part)
        me.note(segment)
        me.previous = segment
        me.newest = max(me.newest, segment.next)
        if segment.flags & FIN:
            me.fin_next = segment.next
        me.ack = segment.ack if segment.ack is not None else me.ack
    return sentences


def _seq_part(segment: Segment, me: _Side, peer: _Side, earlier: Segment | None, kinds: set[EventKind]) -> str:
    seq = segment.seq
    if kinds & {"keep-alive", "zero-window-probe"}:
        return ""
    if segment.repeated and earlier is not None:
        if segment.flags & SYN and segment.tcp.seq != earlier.tcp.seq:
            return f"Seq {seq} stands for another number, {segment.tcp.seq}: the {segment.sender} has drawn a new one."
        if segment.flags & SYN and segment.ack is not None and not kinds:
            return f"Seq {seq} as in frame {earlier.frame}: its own SYN again, now with the ACK of the other side's."
        return f"Seq {seq} again: {_again(segment, earlier)}."
    if segment.flags & SYN:
        return (
            f"Seq {seq} stands for the {segment.sender}'s initial number {segment.tcp.seq}, drawn at random: "
            "all its numbers count from there."
        )
    if me.last is None:
        return f"Seq {seq}: the first segment of the {segment.sender} in this capture counts as {seq}."
    if segment.flags & RST and seq == peer.ack and seq != me.newest:
        return f"Seq {seq} is the Ack of what it answers (RFC 9293 §3.5.2)."
    if seq > me.newest:
        return f"Seq {seq}: numbers {me.newest} to {seq - 1} of the {segment.sender} are not in this capture so far."
    if seq != me.newest:
        return f"Seq {seq}: the {segment.sender} had come to {me.newest}, so this comes late, or once more."
    if me.previous is not None and me.previous.is_pure_ack and me.previous.seq == seq:
        return f"Seq {seq} as in frame {me.previous.frame}: an ACK alone consumes no number."
    if seq != me.last.next:
        return f"Seq {seq} follows {seq - 1}, the highest number that the {segment.sender} has used."
    if me.last.flags & SYN and not me.last.length:
        return f"Seq {seq} = {me.last.seq} + 1: the {segment.sender}'s SYN consumed one number."
    if me.last.flags & FIN:
        return f"Seq {seq} = {seq - 1} + 1: the {segment.sender}'s FIN consumed one number."
    start, count = me.last.seq + bool(me.last.flags & SYN), me.last.length
    if me.isn is not None and me.bytes_sent == seq - 1:
        return f"Seq {seq} = {start} + {count}: the {segment.sender} has sent {plural(seq - 1, 'byte')} so far."
    return f"Seq {seq} = {start} + {count}: it follows the {plural(count, 'byte')} of frame {me.last.frame}."


def _again(segment: Segment, earlier: Segment) -> str:
    if (segment.length, segment.flags & (SYN | FIN)) == (earlier.length, earlier.flags & (SYN | FIN)):
        return f"frame {earlier.frame} is sent once more"
    return f"frame {earlier.frame} had {'it' if earlier.next >= segment.next else 'the first of it'} already"


def _load_part(segment: Segment) -> str:
    parts: list[str] = []
    if segment.length and not segment.repeated:
        first = segment.seq + bool(segment.flags & SYN)
        rest = segment.packet.length - segment.length
        headers = f"{rest} of headers" + (" and padding" if segment.packet.length == SHORTEST_FRAME else "")
        bytes_ = f"bytes {first} to {first + segment.length - 1}" if segment.length > 1 else f"byte {first}"
        sum_ = f"{segment.packet.length} on the wire − {headers} = {segment.length}"
        parts.append(f"It carries {bytes_}: {sum_}.")
    if segment.flags & FIN and not segment.repeated:
        parts.append(f"The FIN takes number {segment.next - 1} and carries no byte.")
    if segment.flags & SYN and not segment.repeated:
        words = [option_text(option) for option in segment.tcp.options if option.kind > 1]
        parts.append(f"It offers {', '.join(words)}." if words else "It offers no option.")
    if segment.flags & RST:
        parts.append("RST: the connection ends here, at once.")
    return " ".join(parts)


def _ack_part(segment: Segment, me: _Side, peer: _Side, kinds: set[EventKind]) -> str:
    who, ack = PEER[segment.sender], segment.ack
    if ack is None:
        if not segment.flags & SYN:
            return ""
        return "No Ack: nothing had been received." if peer.newest else "No Ack yet: nothing has been received."
    if "acked-unseen" in kinds:
        return f"Ack {ack}: {ack} is the next expected of the {who}."
    if ack > max(peer.newest, 1):
        return f"Ack {ack}: more than this capture shows of the {who}."
    before = me.ack if me.ack is not None else 0
    if me.ack is not None and ack == me.ack and peer.newest > ack and segment.is_pure_ack:
        return f"Ack {ack} as before: {ack} is still the next expected of the {who}."
    if me.ack is not None and ack == me.ack:
        in_order = " in order" if peer.newest > ack else ""
        return f"Ack {ack} as before: nothing new{in_order} has come from the {who}."
    if ack < before:
        return f"Ack {ack}: less than the {before} said before; this segment is an older one."
    fin = 1 if peer.fin_next is not None and ack == peer.fin_next else 0
    syn = 1 if before == 0 and peer.isn is not None else 0
    count = ack - before - fin - syn
    if count < 0 or before < 0 or (me.ack is None and not syn):
        return f"Ack {ack}: number {ack} is the next expected of the {who}."
    if count == 0:
        name = "SYN" if syn else "FIN"
        return f"Ack {ack} = {before} + 1: the {who}'s {name} consumes one number."
    terms = " + ".join([str(before), *(["1"] * syn), str(count), *(["1"] * fin)])
    arrived = (
        f"bytes {before + syn} to {before + syn + count - 1} have arrived" if count > 1 else "one byte has arrived"
    )
    tail = f", and the {who}'s FIN consumes one number" if fin else f", {ack} is the next expected"
    return f"Ack {ack} = {terms}: {arrived}{tail}."
