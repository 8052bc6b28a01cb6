"""How a connection ended: the variant of its close, and who began it (RFC 9293 §3.6, §3.5.2)."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

from analysis.tcp.codes import (
    ACKS_FIN,
    AGAIN,
    FROM_SERVER,
    HAS_ACK,
    HAS_DATA,
    HAS_FIN,
    HAS_RST,
    HAS_SYN,
    IS_NEW,
    REFUSES,
    STRAY,
)
from analysis.tcp.segment import ROLES, Role
from analysis.tcp.states import Step

Variant = Literal["three-segment", "four-segment", "simultaneous", "half-closed", "reset", "refused", "open"]
SIDES = (0, FROM_SERVER)


@dataclass(frozen=True, slots=True)
class Ending:
    """The close as seen where the capture was taken; sides are 0 (client) and 1 (server), places count from 0.

    `first_closer` sent the first FIN, or the RST where there was no FIN; None for simultaneous, refused and open.
    `complete`: both FINs were acknowledged; None for reset and refused, where no FIN need be. `half_close_data`: who
    closed second still sent bytes after it had acknowledged the first FIN (RFC 9293 §3.6.1). `reset_after`: the place
    of a reset that came after both FINs, and changes nothing; `strays`: of resets that nobody believes.
    """

    variant: Variant
    first_closer: int | None
    complete: bool | None
    places: tuple[int, ...]
    fin_with_data: tuple[int, ...] = ()
    fin_again: tuple[int, ...] = ()
    half_close_data: bool = False
    last_ack_missing: bool = False
    reset_after: int | None = None
    strays: tuple[int, ...] = ()

    @property
    def closer(self) -> Role | None:
        """The role of `first_closer`."""
        return None if self.first_closer is None else ROLES[self.first_closer]

    @property
    def facts(self) -> tuple[str, ...]:
        """What is true beside the variant, a word each."""
        facts = {
            "complete": self.complete,
            "fin-with-data": self.fin_with_data,
            "fin-retransmitted": self.fin_again,
            "half-close-with-data": self.half_close_data,
            "last-ack-missing": self.last_ack_missing,
            "reset-after-close": self.reset_after is not None,
        }
        return tuple(name for name, holds in facts.items() if holds)


def name_close(steps: Sequence[Step]) -> Ending:
    """How the connection of `steps` ended, and the resets that had no part in it."""
    strays = tuple(step.place for step in steps if step.code & STRAY)
    return replace(_name_close(steps), strays=strays)


def _name_close(steps: Sequence[Step]) -> Ending:
    """The variant by the first FIN of each side (F1, F2 in capture order) and what F2 acknowledges.

    simultaneous: the first copy of F2 does not acknowledge F1. three-segment: F2 acknowledges F1, and no
    earlier segment of its side did. four-segment: an earlier one did. A reset after both FINs changes nothing.
    """
    fins = _first_fins(steps)
    reset = next((step for step in steps if step.code & HAS_RST), None)
    if reset is not None and (len(fins) < 2 or reset.place < fins[1].place):
        return _reset(steps, [fin for fin in fins if fin.place < reset.place], reset)
    if not fins:
        return Ending("open", None, False, ())
    first = fins[0]
    first_acks = _acknowledgements(steps, first)
    if len(fins) == 1:
        return Ending("half-closed", _side(first), False, (first.place, *first_acks[:1]), *_fin_facts(steps))
    second = fins[1]
    second_acks = _acknowledgements(steps, second)
    late = [step.place for step in steps if step.code & (HAS_RST | STRAY) and step.place > second.place]
    variant: Variant
    if not second.code & ACKS_FIN:
        variant = "simultaneous"
    elif first_acks[0] == second.place:
        variant = "three-segment"
    else:
        variant = "four-segment"
    places = sorted({first.place, second.place, *first_acks[:1], *second_acks[:1]})
    complete = bool(first_acks and second_acks)
    return Ending(
        variant,
        None if variant == "simultaneous" else _side(first),
        complete,
        tuple(places),
        *_fin_facts(steps),
        half_close_data=variant == "four-segment" and _sent_data(steps, first_acks[0], second),
        last_ack_missing=not complete,
        reset_after=late[0] if late else None,
    )


def _side(step: Step) -> int:
    return step.code & FROM_SERVER


def _fin_facts(steps: Sequence[Step]) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Which sides' FINs carried bytes, and which sent theirs again."""
    with_data = tuple(side for side in SIDES if _any(steps, side, HAS_FIN | HAS_DATA))
    return with_data, tuple(side for side in SIDES if _any(steps, side, HAS_FIN | AGAIN))


def _any(steps: Sequence[Step], side: int, code: int) -> bool:
    return any(_side(step) == side and step.code & code == code for step in steps)


def _first_fins(steps: Sequence[Step]) -> list[Step]:
    fins: list[Step] = []
    for step in steps:
        if step.code & HAS_FIN and all(_side(fin) != _side(step) for fin in fins):
            fins.append(step)
    return fins


def _acknowledgements(steps: Sequence[Step], fin: Step) -> list[int]:
    """Places of the other side's segments that acknowledge `fin`: their Ack covers the number that the FIN consumed."""
    return [step.place for step in steps if _side(step) != _side(fin) and step.code & ACKS_FIN]


def _sent_data(steps: Sequence[Step], after: int, fin: Step) -> bool:
    """Whether the sender of `fin` sent new bytes behind the place `after`, at the latest with the FIN."""
    new = HAS_DATA | IS_NEW
    mine = [step for step in steps if _side(step) == _side(fin) and after < step.place <= fin.place]
    return any(step.code & new == new for step in mine)


def _reset(steps: Sequence[Step], fins: list[Step], reset: Step) -> Ending:
    """A reset before both sides' FINs: of an answer to a SYN it is a refusal."""
    before = [step.code for step in steps if step.place < reset.place]
    answered = any(code & (HAS_SYN | HAS_ACK) == HAS_SYN | HAS_ACK for code in before)
    asked = any(code & (HAS_SYN | HAS_ACK) == HAS_SYN and code & FROM_SERVER != _side(reset) for code in before)
    if asked and not answered and reset.code & REFUSES:
        return Ending("refused", None, None, (reset.place,))
    closer = _side(fins[0]) if fins else _side(reset)
    places = tuple(sorted({*(fin.place for fin in fins), reset.place}))
    return Ending("reset", closer, None, places, *_fin_facts(steps))
