"""The faults of a wire: which frames they choose, what they do to them, and how often they did."""

import random
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from lab.netns.frame_kinds import kinds_of
from lab.scenario.model import Fault, Role

MOST_LISTED = 1_000  # hits that are listed one by one
ALL_BITS = 0xFF


class Fate(NamedTuple):
    """What becomes of a frame: the copies that go on (none: it is lost), how much later, and whether one lets another

    overtake it.
    """

    copies: tuple[bytes, ...]
    delay_s: float
    held_by: int | None


@dataclass(slots=True)
class _Counter:
    fault: Fault
    dice: random.Random
    seen: int = 0
    hits: int = 0


@dataclass(slots=True)
class Faults:
    """The faults of a run, in the scenario's order. Each counts for itself the frames of its sender and kind."""

    plan: Sequence[Fault]
    _counters: list[_Counter] = field(init=False)
    _listed: list[dict[str, Any]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._counters = [_Counter(fault, random.Random(fault.seed)) for fault in self.plan]  # noqa: S311 - dice

    def fate(self, sender: Role, frame: bytes, captured_as: int | None, now_s: float) -> Fate:
        """What the faults do to a frame of `sender`; `captured_as` is its number in the capture, if it has one."""
        copies: tuple[bytes, ...] = (frame,)
        delay_s, held_by = 0.0, None
        kinds = kinds_of(frame)
        for index, counter in enumerate(self._counters):
            if not self._chooses(counter, sender, kinds):
                continue
            fault = counter.fault
            if fault.action == "reorder":
                held_by = index  # a hit once it has been overtaken
                continue
            if fault.action == "corrupt":
                damaged = tuple(_corrupted(copy, fault.byte) for copy in copies)
                if damaged == copies:
                    continue
                copies = damaged
            elif fault.action == "drop":
                copies = ()
            elif fault.action == "duplicate":
                copies = copies * 2
            delay_s += fault.delay_s
            self.hit(index, frame, captured_as, now_s)
        return Fate(copies, delay_s, held_by)

    @staticmethod
    def _chooses(counter: _Counter, sender: Role, kinds: frozenset[str]) -> bool:
        frames = counter.fault.frames
        if frames.sender != sender or frames.kind not in kinds:
            return False
        counter.seen += 1
        return frames.includes(counter.seen) and (
            counter.fault.chance == 1.0 or counter.dice.random() < counter.fault.chance
        )

    def hit(self, index: int, frame: bytes, captured_as: int | None, now_s: float) -> None:
        """Note that the fault `index` was done to `frame`."""
        self._counters[index].hits += 1
        if len(self._listed) < MOST_LISTED:
            self._listed.append(
                {
                    "fault": index,
                    "seconds": round(now_s, 6),
                    "captured_as": captured_as,
                    "bytes": len(frame),
                    "kinds": sorted(kinds_of(frame) - {"any"}),
                }
            )

    @property
    def doubts(self) -> tuple[str, ...]:
        """Each fault that never did anything, in a sentence."""
        return tuple(
            f'the fault "{counter.fault.text}" never hit a frame: the {counter.fault.frames.sender} sent '
            f"{counter.seen} of kind {counter.fault.frames.kind}"
            + (", and none came behind which it could be put" if counter.fault.action == "reorder" else "")
            for counter in self._counters
            if not counter.hits
        )

    def facts(self) -> dict[str, Any]:
        """For `run.json`: each fault and how often it hit; each hit, and where the capture has the frame."""
        faults = [{"fault": one.fault.text, "seen": one.seen, "hits": one.hits} for one in self._counters]
        return {"faults": faults, "hits": self._listed}


def _corrupted(frame: bytes, byte: int) -> bytes:
    """The frame with all bits of one byte turned over; unchanged if it has no such byte."""
    if not -len(frame) <= byte < len(frame):
        return frame
    changed = bytearray(frame)
    changed[byte] ^= ALL_BITS
    return bytes(changed)
