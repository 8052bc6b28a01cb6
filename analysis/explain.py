"""One sentence a frame: why its Seq and Ack are what they are, from that frame's own numbers (RFC 9293 §3.4)."""

from dataclasses import dataclass

from analysis.dns import Lookup, Message
from analysis.packet import FIN, RST, SYN
from analysis.report import Report
from analysis.segment import PEER, Role, Segment
from analysis.story import Story
from analysis.tcp import Connection
from analysis.text import plural, printable

QUESTIONS = {"A": "the IPv4 address (A)", "AAAA": "the IPv6 address (AAAA)"}


def explain(report: Report) -> dict[int, str]:
    """The sentence of every frame of the chosen story, by frame number."""
    story = report.story
    if story is None:
        return {}
    sentences: dict[int, str] = {}
    for lookup in story.lookups:
        sentences.update(_lookup_sentences(lookup, story, report.traffic.messages))
    for connection in story.connections:
        sentences.update(_connection_sentences(connection))
    return {frame: printable(sentence) for frame, sentence in sentences.items()}


def _lookup_sentences(lookup: Lookup, story: Story, messages: tuple[Message, ...]) -> dict[int, str]:
    ids = {message.frame: message.id for message in messages}
    what = QUESTIONS.get(lookup.type, f"the {lookup.type} records")
    sentences: dict[int, str] = {}
    for count, frame in enumerate(lookup.query_frames):
        again = " again, since no answer came" if count else ""
        carrier = "UDP has no Seq and no Ack:" if lookup.transport == "udp" else "Over TCP:"
        sentences[frame] = (
            f"The client asks {lookup.resolver} for {what} of {lookup.name}{again}. {carrier} "
            f"the id 0x{ids[frame]:04x} will pair the answer with this question."
        )
    if lookup.response_frame is not None:
        asked = [frame for frame in lookup.query_frames if ids[frame] == ids[lookup.response_frame]]
        where = f" in frame {asked[-1]}" if asked else ""
        sentences[lookup.response_frame] = (
            f"The same id 0x{ids[lookup.response_frame]:04x} as{where or ' the question'}: this is its answer. "
            + _meaning(lookup, story)
        )
    return sentences


def _meaning(lookup: Lookup, story: Story) -> str:
    words = {
        "nxdomain": f"There is no such name as {lookup.name}, of any type.",
        "nodata": f"The name exists, but has no {lookup.type} record.",
        "refused": "The resolver refuses to answer.",
        "servfail": "The resolver couldn't find out.",
        "truncated": "It didn't fit into the datagram: the client must ask again over TCP.",
    }
    if lookup.status != "answered":
        return words.get(lookup.status, f"The resolver reports {lookup.rcode}.")
    used = {connection.server.address for connection in story.connections} & set(lookup.addresses)
    answer = ", ".join(lookup.addresses) or "no address"
    if used:
        return f"{answer} is the address that the SYN goes to."
    return f"{answer} goes unused: the connection takes another answer." if story.connections else f"It is {answer}."


@dataclass(slots=True)
class _Side:
    """One side so far: its newest number, last Ack, last segment, last one that took numbers, its FIN's end."""

    isn: int | None
    newest: int = 0
    ack: int | None = None
    previous: Segment | None = None
    last: Segment | None = None
    fin_next: int | None = None


def _connection_sentences(connection: Connection) -> dict[int, str]:
    sides: dict[Role, _Side] = {role: _Side(connection.isn[role]) for role in PEER}
    first_frames: dict[tuple[Role, int, int], int] = {}
    sentences: dict[int, str] = {}
    for segment in connection.segments:
        me, peer = sides[segment.sender], sides[PEER[segment.sender]]
        key = (segment.sender, segment.seq, segment.next)
        earlier = first_frames.get(key) if segment.repeated else None
        parts = [_seq_part(segment, me, earlier), _load_part(segment), _ack_part(segment, me, peer)]
        sentences[segment.frame] = " ".join(part for part in parts if part)
        first_frames.setdefault(key, segment.frame)
        if segment.next > segment.seq and not segment.repeated:
            me.last = segment
        me.previous = segment
        me.newest = max(me.newest, segment.next)
        if segment.flags & FIN:
            me.fin_next = segment.next
        me.ack = segment.ack if segment.ack is not None else me.ack
    return sentences


def _seq_part(segment: Segment, me: _Side, earlier: int | None) -> str:
    seq = segment.seq
    if segment.repeated:
        return f"Seq {seq} again: {f'frame {earlier} is sent once more' if earlier else 'bytes sent once more'}."
    if segment.flags & SYN:
        return (
            f"Seq {seq} stands for the {segment.sender}'s initial number {me.isn}, drawn at random: "
            "all its numbers count from there."
        )
    if me.last is None:
        return f"Seq {seq}: the first segment of the {segment.sender} in this capture counts as {seq}."
    if seq == me.newest - 1 and segment.length <= 1 and not segment.flags & (SYN | FIN):
        return f"Seq {seq}: one number back, to make the other side answer: a keep-alive."
    if seq > me.newest:
        return f"Seq {seq}: numbers {me.newest} to {seq - 1} of the {segment.sender} are not in this capture so far."
    if seq != me.last.next:
        return f"Seq {seq}: the {segment.sender} had come to {me.newest}, so this comes late, or once more."
    if me.previous is not None and me.previous.is_pure_ack and me.previous.seq == seq:
        return f"Seq {seq} as in frame {me.previous.frame}: an ACK alone consumes no number."
    if me.last.flags & SYN and not me.last.length:
        return f"Seq {seq} = {me.last.seq} + 1: the {segment.sender}'s SYN consumed one number."
    if me.last.flags & FIN:
        return f"Seq {seq} = {me.last.end} + 1: the {segment.sender}'s FIN consumed one number."
    start, count = me.last.seq + bool(me.last.flags & SYN), me.last.length
    return f"Seq {seq} = {start} + {count}: the {segment.sender} has sent {plural(seq - 1, 'byte')} so far."


def _load_part(segment: Segment) -> str:
    parts: list[str] = []
    if segment.length and not segment.repeated:
        first = segment.seq + bool(segment.flags & SYN)
        headers = segment.packet.length - segment.length
        bytes_ = f"bytes {first} to {first + segment.length - 1}" if segment.length > 1 else f"byte {first}"
        sum_ = f"{segment.packet.length} on the wire − {headers} of headers = {segment.length}"
        parts.append(f"It carries {bytes_}: {sum_}.")
    if segment.flags & FIN and not segment.repeated:
        parts.append(f"The FIN takes number {segment.next - 1} and carries no byte.")
    if segment.flags & RST:
        parts.append("RST: the connection ends here, at once.")
    return " ".join(parts)


def _ack_part(segment: Segment, me: _Side, peer: _Side) -> str:
    who, ack = PEER[segment.sender], segment.ack
    if ack is None:
        return "No Ack yet: nothing has been received." if segment.flags & SYN else ""
    if ack > max(peer.newest, 1):
        return f"Ack {ack}: more than this capture shows of the {who}."
    before = me.ack if me.ack is not None else 0
    if me.ack is not None and ack == me.ack and peer.newest > ack and segment.is_pure_ack:
        return f"Ack {ack} as before: {ack} is still the next expected of the {who}."
    if me.ack is not None and ack == me.ack:
        return f"Ack {ack} as before: nothing new has come from the {who}."
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
