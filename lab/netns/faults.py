"""The faults of a wire: which frames they choose, what they do to them, and how often they did."""

import random
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from lab.netns.frame_kinds import ANY, FrameKinds
from lab.scenario.model import Fault, Role

MOST_LISTED = 1_000  # hits that are listed one by one
ALL_BITS = 0xFF


Hit = dict[str, Any]


class Fate(NamedTuple):
    """What becomes of a frame: the copies that go on (none: it is lost) and how much later.

    `held`: the hit that it will be once another has overtaken it, if it is to wait for that. `hits`: those done by now.
    """

    copies: tuple[bytes, ...]
    delay_s: float
    held: Hit | None
    hits: tuple[Hit, ...] = ()


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
    _listed: list[Hit] = field(default_factory=list)
    _kinds: FrameKinds = field(default_factory=FrameKinds)

    def __post_init__(self) -> None:
        self._counters = [_Counter(fault, random.Random(fault.seed)) for fault in self.plan]  # noqa: S311 - dice

    def fate(self, sender: Role, target: Role, frame: bytes, captured_as: int | None, now_s: float) -> Fate:
        """What the faults do to a frame of `sender`; `captured_as` is its number in the capture, if it has one.

        A frame that one fault drops isn't there for the others, and two that undo each other have done nothing.
        """
        kinds = self._kinds.of(frame, may_be_dns="resolver" in (sender, target))
        chosen = [index for index, one in enumerate(self._counters) if self._chooses(one, sender, kinds)]
        if not chosen:
            return Fate((frame,), 0.0, None)

        def hit(index: int) -> Hit:
            return {
                "fault": index,
                "seconds": round(now_s, 6),
                "captured_as": captured_as,
                "bytes": len(frame),
                "kinds": sorted(kinds - ANY),
            }

        for index in chosen:
            if self.plan[index].action == "drop":
                return Fate((), 0.0, None, (self.note(hit(index)),))
        damaged = self._damaged(frame, chosen)
        done = [index for index in chosen if self.plan[index].action != "reorder"]
        if damaged == frame:
            done = [index for index in done if self.plan[index].action != "corrupt"]
        copies = 1 << sum(self.plan[index].action == "duplicate" for index in chosen)
        delay_s = sum(self.plan[index].delay_s for index in chosen)
        held = next((hit(index) for index in chosen if self.plan[index].action == "reorder"), None)
        return Fate((damaged,) * copies, delay_s, held, tuple(self.note(hit(index)) for index in done))

    def _damaged(self, frame: bytes, chosen: Sequence[int]) -> bytes:
        for index in chosen:
            if self.plan[index].action == "corrupt":
                frame = _corrupted(frame, self.plan[index].byte)
        return frame

    @staticmethod
    def _chooses(counter: _Counter, sender: Role, kinds: frozenset[str]) -> bool:
        frames = counter.fault.frames
        if frames.sender != sender or frames.kind not in kinds:
            return False
        counter.seen += 1
        return frames.includes(counter.seen) and (
            counter.fault.chance == 1.0 or counter.dice.random() < counter.fault.chance
        )

    def note(self, hit: Hit) -> Hit:
        """Count a hit, and list it."""
        self._counters[hit["fault"]].hits += 1
        if len(self._listed) < MOST_LISTED:
            self._listed.append(hit)
        return hit

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
