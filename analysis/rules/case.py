"""What a rule is given, and what it answers."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from analysis.expect.pattern import Expectation
from analysis.health import Doubt
from analysis.sequence import Trace
from analysis.story import Story
from analysis.testimony import Kernels
from analysis.traffic import Traffic


@dataclass(frozen=True, slots=True)
class Outcome:
    """A rule's answer: what it expected, what was there instead, the frames that show it.

    `needed`: of an inconclusive one, the frames that would decide it, in words. `details`: lines that show it.
    """

    status: Literal["pass", "fail", "skip", "inconclusive"]
    expected: str
    actual: str
    frames: tuple[int, ...] = ()
    hint: str = ""
    needed: str = ""
    details: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Case:
    """A story under judgement. `story` is None where the capture holds none; `trace` is its exact sequence.

    `expected` is the scenario's. `kernels`: what the hosts' kernels said, by the connection's index.
    """

    traffic: Traffic
    doubts: tuple[Doubt, ...]
    story: Story | None
    trace: Trace
    expected: Expectation | None
    kernels: Mapping[int, Kernels] = field(default_factory=dict)

    @property
    def story_frames(self) -> tuple[int, ...]:
        return () if self.story is None else self.story.frames

    @property
    def is_vouched(self) -> bool:
        """Whether the capture is known to have every frame."""
        return self.traffic.capture.health == "complete"

    def absent(self, expected: str, actual: str, needed: str, frames: tuple[int, ...] = (), hint: str = "") -> Outcome:
        """Something isn't there: a failure where the capture is vouched for, else it may have been missed."""
        if self.is_vouched:
            return Outcome("fail", expected, actual, frames, hint)
        hint = hint or "capture from before the fetch until after its close"
        return Outcome("inconclusive", expected, actual, frames, hint, needed)
