"""How a connection ended: the variant of its close, and who began it (RFC 9293 §3.6, §3.5.2)."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from analysis.packet import ACK, FIN, RST, SYN
from analysis.segment import Role, Segment

Variant = Literal["three-segment", "four-segment", "simultaneous", "half-closed", "reset", "refused", "open"]


@dataclass(frozen=True, slots=True)
class Close:
    """The close as seen where the capture was taken.

    `first_closer` sent the first FIN, or the RST where there was no FIN; None for simultaneous, refused and
    open. `complete`: both FINs were acknowledged; None for reset and refused, where no FIN need be.
    """

    variant: Variant
    first_closer: Role | None
    complete: bool | None
    frames: tuple[int, ...]


def classify_close(segments: Sequence[Segment]) -> Close:
    """The variant by the first FIN of each side (F1, F2 in capture order) and what F2 acknowledges.

    simultaneous: the first copy of F2 does not acknowledge F1. three-segment: F2 acknowledges F1, and no
    earlier segment of its side did. four-segment: an earlier one did. A reset after both FINs changes nothing.
    """
    fins = _first_fins(segments)
    reset = next((segment for segment in segments if segment.flags & RST), None)
    if reset is not None and (len(fins) < 2 or reset.frame < fins[1].frame):
        return _reset(segments, [fin for fin in fins if fin.frame < reset.frame], reset)
    if not fins:
        return Close("open", None, False, ())
    first = fins[0]
    if len(fins) == 1:
        acks = _acknowledgements(segments, first)
        return Close("half-closed", first.sender, False, (first.frame, *acks[:1]))
    second = fins[1]
    first_acks, second_acks = _acknowledgements(segments, first), _acknowledgements(segments, second)
    variant: Variant
    if second.ack is None or second.ack < first.next:
        variant = "simultaneous"
    elif first_acks[0] == second.frame:
        variant = "three-segment"
    else:
        variant = "four-segment"
    frames = sorted({first.frame, second.frame, *first_acks[:1], *second_acks[:1]})
    closer = None if variant == "simultaneous" else first.sender
    return Close(variant, closer, bool(first_acks and second_acks), tuple(frames))


def _first_fins(segments: Sequence[Segment]) -> list[Segment]:
    fins: list[Segment] = []
    for segment in segments:
        if segment.flags & FIN and not segment.flags & RST and all(fin.sender != segment.sender for fin in fins):
            fins.append(segment)
    return fins


def _acknowledgements(segments: Sequence[Segment], fin: Segment) -> list[int]:
    """Frames of the other side that acknowledge `fin`: ack covers the number that the FIN consumed."""
    return [
        segment.frame
        for segment in segments
        if segment.sender != fin.sender
        and segment.frame > fin.frame
        and not segment.flags & RST
        and segment.ack is not None
        and segment.ack >= fin.next
    ]


def _reset(segments: Sequence[Segment], fins: list[Segment], reset: Segment) -> Close:
    before = [segment for segment in segments if segment.frame < reset.frame]
    answered = any(segment.flags & (SYN | ACK) == SYN | ACK for segment in before)
    for syn in before:
        if syn.flags & (SYN | ACK) != SYN or syn.sender == reset.sender:
            continue
        acks_syn = reset.ack == syn.seq + 1 + syn.length and reset.tcp.seq == 0  # RFC 9293 §3.5.2, case 1
        if not answered and (reset.ack is None or acks_syn):
            return Close("refused", None, None, (reset.frame,))
    closer = fins[0].sender if fins else reset.sender
    return Close("reset", closer, None, tuple(sorted({*(fin.frame for fin in fins), reset.frame})))
