"""`invoke selftest`: do the pack's expectations tell one fetch from another, and a right one from a wrong one?

Three questions, of the real captures of one run of the pack. Does each pass its own expectation? Does it fail every
other one, where the sequences differ? Does it fail its own as soon as one thing is changed in it?
"""

import multiprocessing
import os
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from analysis.errors import LabError
from analysis.files.capture import Capture, read_capture
from analysis.report import Report, make_report
from analysis.text import plural
from lab.interrupts import reset_in_child, uninterrupted
from lab.pack.play import Played
from lab.scenario.model import Scenario
from lab.selftest.mutants import MOST_FRAMES, Mutant, mutants, sampled
from lab.selftest.reasons import reason_for

RULE = "expect.sequence"
SHARE = 12  # frames of a long capture that are one piece of work
LONGEST_S = 120  # for one piece of work, before it is given up
Progress = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Sample:
    """A scenario, and the capture of a run of it."""

    scenario: Scenario
    path: Path

    def capture(self) -> Capture:
        """Of a run that went well: the lab vouches that it is whole."""
        return replace(read_capture(self.path), path=self.path.name, health="complete")

    def report(self, capture: Capture, judged_by: Scenario | None = None) -> Report:
        return make_report(capture, self.scenario.host, (judged_by or self.scenario).expected)


@dataclass(slots=True)
class Tally:
    """What came of the mutants of one capture. `holes`: those that passed without a reason, in words."""

    frames: int = 0
    changed: int = 0
    mutants: int = 0
    failed: int = 0
    noticed: int = 0
    equivalent: Counter[str] = field(default_factory=Counter)
    holes: list[str] = field(default_factory=list)

    def add(self, other: "Tally") -> None:
        """Add what came of other frames of the same capture."""
        self.frames = max(self.frames, other.frames)
        self.changed += other.changed
        self.mutants += other.mutants
        self.failed += other.failed
        self.noticed += other.noticed
        self.equivalent += other.equivalent
        self.holes += other.holes


@dataclass(slots=True)
class Crossed:
    """One capture under every expectation: does it pass its own; how many it fails, which expect the same text.

    `holes`: those that let it by though the sequences differ, in words.
    """

    own: bool = False
    failed: int = 0
    same: list[str] = field(default_factory=list)
    holes: list[str] = field(default_factory=list)


@dataclass(slots=True)
class Result:
    """What the selftest found, by the name of each scenario, in the order of the pack."""

    crossed: dict[str, Crossed]
    tallies: dict[str, Tally]

    @property
    def holes(self) -> tuple[str, ...]:
        """All that passes without a reason, and captures that don't pass their own expectation."""
        own = [f"{name}: does not pass its own expectation" for name, one in self.crossed.items() if not one.own]
        others = [hole for one in self.crossed.values() for hole in one.holes]
        return (*own, *others, *(hole for tally in self.tallies.values() for hole in tally.holes))


@dataclass(frozen=True, slots=True)
class _Work:
    """A piece of work: `frames` of a sample to change; none: all expectations, for its capture as it is."""

    number: int
    frames: tuple[int, ...]


def samples_of(plans: Iterable[Scenario], played: Iterable[Played]) -> tuple[Sample, ...]:
    """The samples of a run of the pack; `LabError` if a run has no capture to judge."""
    found: list[Sample] = []
    for plan, one in zip(plans, played, strict=True):
        if one.folder is None:
            raise LabError(f"{plan.name} has no report: {one.said}", f"run it alone: invoke lab -s {plan.name}")
        if plan.expected is None:
            raise LabError(f"{plan.name} expects nothing", "give it [expect], as docs/scenario-file.md has it")
        found.append(Sample(plan, one.folder / "capture.pcap"))
    return tuple(found)


def selftest(samples: Sequence[Sample], progress: Progress, jobs: int = 0) -> Result:
    """Ask the three questions of every sample, in `jobs` processes (0: one a core)."""
    work = [_Work(number, part) for number, sample in enumerate(samples) for part in _parts(sample)]
    result = Result(
        {sample.scenario.name: Crossed() for sample in samples}, {sample.scenario.name: Tally() for sample in samples}
    )
    context = multiprocessing.get_context("fork")  # the samples are there already
    with uninterrupted():
        pool = context.Pool(jobs or os.cpu_count() or 1, _begin, (tuple(samples),))
    try:
        answers = pool.imap(_do, work)
        for number, one in enumerate(work, 1):
            name = samples[one.number].scenario.name
            try:
                answer = answers.next(LONGEST_S)
            except multiprocessing.TimeoutError:
                raise LabError(f"nothing was heard of {name}", "is the machine short of memory?") from None
            if isinstance(answer, Crossed):
                result.crossed[name] = answer
            else:
                result.tallies[name].add(answer)
            if number == len(work) or work[number].number != one.number:
                progress(
                    f"{one.number + 1} of {len(samples)}  {name}  {plural(result.tallies[name].mutants, 'mutant')}"
                )
    finally:
        with uninterrupted():
            pool.terminate()
            pool.join()
    return result


def _parts(sample: Sample) -> list[tuple[int, ...]]:
    frames = sampled(len(sample.capture().frames))
    share = SHARE if len(frames) >= 50 else MOST_FRAMES
    return [(), *(frames[at : at + share] for at in range(0, len(frames), share))]


class _Here:
    """In a worker: what all pieces of work are about, and the original last looked at."""

    samples: tuple[Sample, ...] = ()
    texts: tuple[dict[str, str], ...] = ()
    number = -1
    capture: Capture
    report: Report


def _begin(samples: tuple[Sample, ...]) -> None:
    reset_in_child()
    _Here.samples = samples


def _do(work: _Work) -> Crossed | Tally:
    sample = _Here.samples[work.number]
    if _Here.number != work.number:
        _Here.number, _Here.capture = work.number, sample.capture()
        _Here.report = sample.report(_Here.capture)
    if not work.frames:
        _Here.texts = _Here.texts or tuple(map(texts_of, _Here.samples))
        return cross(sample, _Here.capture, _Here.samples, _Here.texts)
    tally = Tally(len(_Here.capture.frames), len(work.frames))
    for mutant in mutants(_Here.capture, work.frames):
        judge_mutant(mutant, sample, _Here.report, tally)
    return tally


def texts_of(sample: Sample) -> dict[str, str]:
    """The sequence of the sample's capture, by form."""
    report = sample.report(sample.capture())
    return {"exact": str(report.exact), "shape": str(report.shape)}


def cross(sample: Sample, capture: Capture, samples: Sequence[Sample], texts: Sequence[dict[str, str]]) -> Crossed:
    """The sample's capture under its own expectation, and under each other one; `texts` are the samples' own."""
    crossed, name = Crossed(), sample.scenario.name
    own = texts[samples.index(sample)]
    for other, text in zip(samples, texts, strict=True):
        passes = _status(sample.report(capture, other.scenario)) == "pass"
        if other is sample:
            crossed.own = passes
        elif not passes:
            crossed.failed += 1
        elif (
            other.scenario.expected is not None
            and own[other.scenario.expected.form] == text[other.scenario.expected.form]
        ):
            crossed.same.append(other.scenario.name)
        else:
            crossed.holes.append(
                f"{name}: passes the expectation of {other.scenario.name}, though the sequences differ"
            )
    return crossed


def judge_mutant(mutant: Mutant, sample: Sample, original: Report, tally: Tally) -> None:
    """Whether the mutant fails its expectation; if not, why not."""
    report = sample.report(mutant.capture)
    tally.mutants += 1
    tally.noticed += report.verdict != "pass"
    if _status(report) != "pass":
        tally.failed += 1
        return
    reason = reason_for(mutant, original, report, sample.scenario)
    if reason is None:
        tally.holes.append(f"{sample.scenario.name}: frame {mutant.frame}: {mutant.change}")
    else:
        tally.equivalent[reason] += 1


def _status(report: Report) -> str:
    return next((finding.status for finding in report.findings if finding.rule == RULE), "skip")
