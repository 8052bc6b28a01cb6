"""Whether a capture can be trusted: what it lacks, or has twice, as far as the frames themselves tell.

Asked before any rule: a rule whose frames may be missing can't fail anybody. Where whoever captured vouches for the
capture, as the lab's sidecar does, nothing is doubted.
"""

from collections.abc import Iterator
from typing import Literal, NamedTuple

import numpy as np

from analysis.files.capture import Capture
from analysis.packets.packet import RST, SYN
from analysis.story import Story
from analysis.tcp.connection import Connection
from analysis.tcp.coverage import Coverage
from analysis.tcp.segment import PEER, ROLES, Role
from analysis.text import listed, plural
from analysis.traffic import Traffic

Kind = Literal[
    "file",
    "note",
    "snap-length",
    "unseen",
    "one-sided",
    "midway",
    "ended-early",
    "no-final-ack",
    "fragments",
    "captured-twice",
    "offload",
]
CUT_HEADER = "cut header"
LONGEST_ON_A_WIRE = 1522  # bytes of an Ethernet frame with a tag, without its check sequence (IEEE 802.3 §3.2.7)


class Doubt(NamedTuple):
    """One thing about the capture that a judge must know, as a sentence; the `frames` that show it.

    `needed`: what is known to be missing, so that no rule that needs it can fail; empty where nothing is.
    """

    kind: Kind
    text: str
    frames: tuple[int, ...] = ()
    needed: str = ""


def examine(traffic: Traffic, story: Story | None) -> tuple[Doubt, ...]:
    """What is to be doubted about the capture, for the sake of `story`."""
    capture = traffic.capture
    if capture.health == "complete":
        return ()
    doubts = [Doubt("file", problem, needed="what the file lacks") for problem in capture.problems]
    doubts += _snap_length(traffic, story)
    if story is not None:
        for number, connection in enumerate(story.connections, 1):
            which = f"connection {number}" if len(story.connections) > 1 else "the connection"
            doubts += _of_connection(connection, which)
        doubts += _twice(story)
        doubts += _fragments(traffic, story)
    return (*doubts, *(Doubt("note", note) for note in capture.notes))


def cut_frames(capture: Capture) -> tuple[int, str]:
    """How many frames the snap length cut, and a sentence about it; 0 and an empty text if none."""
    frames = capture.frames
    short = np.flatnonzero(frames.captured < frames.wire_length)
    if not len(short):
        return 0, ""
    return len(short), f"the snap length cut {plural(len(short), 'frame')}, first frame {short[0] + 1}"


def _snap_length(traffic: Traffic, story: Story | None) -> Iterator[Doubt]:
    count, text = cut_frames(traffic.capture)
    if not count:
        return
    frames = traffic.capture.frames
    own = [
        frame for frame in (story.frames if story else ()) if frames.captured[frame - 1] < frames.wire_length[frame - 1]
    ]
    if own:
        of_story = f"{text}; of this fetch, {plural(len(own), 'frame')}: capture with -s 0"
        yield Doubt(
            "snap-length",
            of_story,
            tuple(own),
            f"the whole of {'frame' if len(own) == 1 else 'frames'} {listed(tuple(own))}",
        )
    elif story is None or CUT_HEADER in traffic.packets.others:
        yield Doubt("snap-length", f"{text}: capture with -s 0", (), "whole frames")
    else:
        yield Doubt("snap-length", f"{text}, none of this fetch")


def _of_connection(connection: Connection, which: str) -> Iterator[Doubt]:
    frames = connection.frames
    senders = {segment.sender for segment in connection.segments}
    answers = any(segment.ack is not None and not segment.flags & RST for segment in connection.segments)
    opening, close = connection.handshake.status, connection.close
    if len(senders) == 1 and answers:
        (seen,) = senders
        other = PEER[seen]
        text = f"of {which} only the {seen}'s segments were captured, though they acknowledge the {other}'s"
        yield Doubt("one-sided", text, frames[:1], f"the {other}'s segments")
    elif opening == "midway":
        text = f"the capture began after {which} did"
        yield Doubt("midway", text, frames[:1], f"its SYN, SYN,ACK and ACK, before frame {frames[0]}")
    for role in ROLES if len(senders) > 1 else ():
        yield from _unseen(connection, which, role)
    if opening in ("complete", "midway") and close.variant in ("open", "half-closed"):
        last = "nobody has closed it" if close.variant == "open" else "only one side has closed it"
        yield Doubt("ended-early", f"the capture ends with {which} still open: {last}", frames[-1:])
    if close.last_ack_missing:
        yield Doubt("no-final-ack", f"the ACK of the last FIN of {which} was not captured", close.frames[-1:])
    yield from _offload(connection, which)


def _unseen(connection: Connection, which: str, role: Role) -> Iterator[Doubt]:
    """Numbers of `role` that the other side acknowledged, and that the capture lacks."""
    seen = Coverage()
    for segment in connection.sent_by(role):
        if segment.next > segment.seq and not segment.flags & RST:
            seen.add(segment.seq, segment.next)
    acking = (one for one in connection.sent_by(PEER[role]) if not one.flags & RST)
    acks = [(one.ack, -one.frame) for one in acking if one.ack is not None]
    missing = seen.first_missing
    if not acks or missing is None:
        return
    ack, frame = max(acks)
    if missing < ack:
        text = f"of {which} the {role}'s bytes from number {missing} on were acknowledged, but not all captured"
        yield Doubt("unseen", text, (-frame,), f"the {role}'s segments from Seq {missing} on")


def _twice(story: Story) -> Iterator[Doubt]:
    again = [event.frame for one in story.connections for event in one.odd if event.kind == "duplicate-frame"]
    again += [one.frame for lookup in story.lookups for one in lookup.ignored if one.reason == "captured twice"]
    if again:
        text = f"{plural(len(again), 'frame')} captured twice, as on several interfaces: what was sent once counts once"
        yield Doubt("captured-twice", text, tuple(sorted(again)))


def _fragments(traffic: Traffic, story: Story) -> Iterator[Doubt]:
    """Datagrams between the ends of an unanswered lookup that lack fragments: one of them may be its answer."""
    ends = {frozenset((one.client, one.resolver)) for one in story.lookups if one.status == "unanswered"}
    packets = traffic.packets
    for pieces in packets.unfinished if ends else ():
        if frozenset((packets.address(pieces[0].source), packets.address(pieces[0].target))) in ends:
            frames = tuple(piece.frame for piece in pieces)
            text = f"of a datagram in fragments, not all were captured, only frames {listed(frames)}"
            yield Doubt("fragments", text, frames, f"the other fragments of frame {frames[0]}'s datagram")


def _offload(connection: Connection, which: str) -> Iterator[Doubt]:
    """Frames larger than any wire's: the host captured what it handed to its network card."""
    large = [one for one in connection.segments if one.packet.length > LONGEST_ON_A_WIRE and not one.flags & SYN]
    limits = {role: syn.tcp.option(2, 2) for role, syn in connection.syns.items() if syn is not None}
    beyond = [one for one in large if one.length > (limits.get(PEER[one.sender]) or LONGEST_ON_A_WIRE)]
    if beyond:
        most = max(one.packet.length for one in beyond)
        text = (
            f"{plural(len(beyond), 'frame')} of {which} of up to {most} bytes: the host leaves the cutting to its "
            "network card (segmentation offload), so the wire carried more and smaller segments"
        )
        yield Doubt("offload", text, tuple(one.frame for one in beyond))
