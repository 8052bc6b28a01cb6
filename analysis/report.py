"""The report: everything that the analysis says of a capture, as values."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Literal

from analysis.expect.pattern import Expectation
from analysis.files.capture import Capture, Health
from analysis.health import Doubt, examine
from analysis.rules.case import Case
from analysis.rules.judge import Finding, judge, verdict_of
from analysis.sequence import Sequence, Trace, exact_trace, shape_of
from analysis.story import Story, choose_story, find_stories
from analysis.testimony import Kernels, Testimony, compare
from analysis.traffic import Traffic


@dataclass(frozen=True, slots=True)
class Report:
    """A capture analysed. `story` is the one that was chosen, `why` the reason; doubts and sequences are its.

    `trace`: its exact sequence, with the frames of each line.
    `kernels`: what the hosts' own kernels said of a connection, by its index; empty where nobody asked them.
    """

    traffic: Traffic
    stories: tuple[Story, ...]
    story: Story | None
    why: str
    doubts: tuple[Doubt, ...]
    trace: Trace
    exact: Sequence
    shape: Sequence
    findings: tuple[Finding, ...]
    verdict: Literal["pass", "fail", "inconclusive"]
    kernels: Mapping[int, Kernels]

    @property
    def capture(self) -> Capture:
        return self.traffic.capture

    @property
    def health(self) -> Health:
        """The capture's, in the light of the story."""
        return "incomplete" if any(doubt.needed for doubt in self.doubts) else self.capture.health


def make_report(
    capture: Capture,
    host: str | None = None,
    expected: Expectation | None = None,
    testimony: Iterable[Testimony] = (),
    target: str | None = None,
) -> Report:
    """Analyse `capture`: the story of `host`, or the one that stands out, judged by the rules.

    `expected` is a scenario's expectation, in either form; without it the ordinary fetch is the measure.
    `testimony`: what the hosts' kernels said while it was captured. `target`: a text in the request target of the
    fetch that is meant, where the host was fetched from several times.
    """
    traffic = Traffic(capture)
    stories = find_stories(traffic)
    story, why = choose_story(stories, host, target)
    trace = exact_trace(story) if story else ()
    exact = Sequence(tuple(traced.line for traced in trace), "exact")
    doubts = examine(traffic, story)
    kernels = compare(traffic.connections, tuple(testimony))
    findings = judge(Case(traffic, doubts, story, trace, expected, kernels))
    shape = shape_of(exact)
    return Report(traffic, stories, story, why, doubts, trace, exact, shape, findings, verdict_of(findings), kernels)
