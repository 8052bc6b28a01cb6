"""The rules: named checks of a story, each with its source, and what each found.

A rule whose needed frames may be missing is `inconclusive`, never `fail`; it fails only where frames contradict it,
or where whoever captured vouches that nothing is missing. Ids are stable: rubrics name them.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Literal

from analysis.expect.difference import explain_mismatch
from analysis.expect.events import sequence_events
from analysis.expect.match import Matched, Undecided, match
from analysis.rules import dns, http, kernel, tcp
from analysis.rules.case import Case, Outcome
from analysis.text import plural

Status = Literal["pass", "fail", "skip", "inconclusive"]


@dataclass(frozen=True, slots=True)
class Rule:
    """A check with a stable id. `is_outcome`: it judges how a fetch went, which a scenario may want otherwise."""

    id: str
    title: str
    reference: str
    check: Callable[[Case], Outcome]
    is_outcome: bool = False


@dataclass(frozen=True, slots=True)
class Finding:
    """What one rule found. `needed`: what would decide it. Points are a rubric's, and empty without one.

    `details`: lines of at most 76 columns that show it, such as two sequences side by side.
    """

    rule: str
    status: Status
    title: str
    expected: str
    actual: str
    frames: tuple[int, ...]
    hint: str
    needed: str
    reference: str
    points: int | None = None
    max_points: int | None = None
    details: tuple[str, ...] = ()


def _capture_whole(case: Case) -> Outcome:
    expected = "a capture with every frame of the fetch"
    lacks = [doubt for doubt in case.doubts if doubt.needed]
    if lacks:
        return Outcome(
            "inconclusive",
            expected,
            "; ".join(doubt.text for doubt in lacks),
            tuple(frame for doubt in lacks for frame in doubt.frames),
            "capture again, from before the fetch to after it",
            "; ".join(dict.fromkeys(doubt.needed for doubt in lacks)),
        )
    if not case.traffic.capture.frames:
        hint = "capture on the interface that the fetch uses"
        return Outcome("inconclusive", expected, "no frame at all", hint=hint, needed="any frame of the fetch")
    if case.story is None:
        return Outcome(
            "inconclusive",
            expected,
            "no frame of it is in the capture",
            hint="name another host, or capture again",
            needed="any frame of the fetch",
        )
    return Outcome("pass", expected, "none is known to be missing")


def _sequence(case: Case) -> Outcome:
    if case.expected is None:
        return Outcome("skip", "the scenario's own sequence", "no scenario expects one")
    expected = case.expected
    wanted = f"the scenario's sequence of {plural(expected.line_count, 'line')}"
    events = sequence_events(case.trace, expected.form, case.traffic.capture.frames.time_ns)
    found = match(expected, events)
    if isinstance(found, Matched):
        return Outcome("pass", wanted, f"exactly that, by its {expected.form}", case.story_frames)
    if isinstance(found, Undecided):
        actual = f"too many readings of it: given up after {found.steps} steps"
        hint = "give it fewer counted repeats and any-order groups within each other"
        return Outcome("inconclusive", wanted, actual, case.story_frames, hint, "an expectation with fewer readings")
    said = explain_mismatch(events, found)
    outcome = case.absent(wanted, said.actual, "the frames of that line", said.frames)
    return replace(outcome, details=said.details)


OUTCOME = True  # how a fetch went, which a scenario may want otherwise

RULES = (
    Rule("capture.whole", "The capture is whole", "", _capture_whole),
    Rule("dns.answered", "The name was looked up and answered", "RFC 1035 §4.1", dns.answered, OUTCOME),
    Rule("dns.match", "Every response belongs to its query", "RFC 5452 §9", dns.match),
    Rule("dns.answer-used", "The connection goes to an answer's address", "RFC 1034 §5.2", dns.answer_used, OUTCOME),
    Rule("dns.before-syn", "The answer came before the SYN", "RFC 9110 §4.2.1", dns.before_syn),
    Rule("tcp.handshake", "The three-way handshake is complete", "RFC 9293 §3.5", tcp.handshake, OUTCOME),
    Rule("tcp.options", "Options are used as negotiated", "RFC 7323 §2.2, §3.2", tcp.options),
    Rule("tcp.numbers", "Seq and Ack count each byte, SYN and FIN once", "RFC 9293 §3.4", tcp.numbers),
    Rule("tcp.acknowledged", "Every byte was acknowledged", "RFC 9293 §3.4", tcp.acknowledged, OUTCOME),
    Rule("tcp.checksums", "Checksums are right", "RFC 9293 §3.1, RFC 768", tcp.checksums),
    Rule("http.exchange", "A request was answered", "RFC 9112 §2", http.exchange, OUTCOME),
    Rule("http.host", "The request names the host looked up", "RFC 9110 §7.2", http.host),
    Rule("http.complete", "Messages are as long as they say", "RFC 9112 §6.3", http.complete),
    Rule("tcp.close", "Both sides closed, both FINs acknowledged", "RFC 9293 §3.6", tcp.close, OUTCOME),
    Rule("tcp.kernel", "The kernels' own states are those inferred", "RFC 9293 §3.3.2", kernel.kernel),
    Rule("expect.sequence", "The sequence is the expected one", "", _sequence),
)


def judge(case: Case) -> tuple[Finding, ...]:
    """What every rule finds in `case`, in the order of a fetch.

    Where the scenario's own sequence was seen, a rule about the outcome yields to it: in a scenario about
    a refused connection the refusal is right.
    """
    findings = [_finding(rule, rule.check(case)) for rule in RULES]
    as_expected = findings[-1].status == "pass"
    for index, rule in enumerate(RULES):
        finding = findings[index]
        if as_expected and rule.is_outcome and finding.status in ("fail", "inconclusive"):
            findings[index] = replace(finding, status="skip", hint="the scenario expects it so", needed="")
    for index, finding in enumerate(findings):
        if case.expected is not None and finding.rule in case.expected.fails:
            findings[index] = _turned(finding)
    unasked = {"expect.sequence"} if case.expected is None else set()
    unasked |= set() if case.kernels else {"tcp.kernel"}
    return tuple(finding for finding in findings if finding.rule not in unasked)


def _turned(finding: Finding) -> Finding:
    """What the finding is where the scenario expects the rule to fail."""
    if finding.status == "fail":
        return replace(finding, status="skip", hint="the scenario expects it to fail")
    actual = f"{finding.status}: {finding.actual}"
    return replace(finding, status="fail", expected="a failure, as the scenario has it", actual=actual, needed="")


def verdict_of(findings: tuple[Finding, ...]) -> Literal["pass", "fail", "inconclusive"]:
    """Any fail: fail. Else any inconclusive, or nothing that passed: inconclusive. Else pass."""
    statuses = {finding.status for finding in findings}
    if "fail" in statuses:
        return "fail"
    return "inconclusive" if "inconclusive" in statuses or "pass" not in statuses else "pass"


def _finding(rule: Rule, outcome: Outcome) -> Finding:
    return Finding(
        rule.id,
        outcome.status,
        rule.title,
        outcome.expected,
        outcome.actual,
        tuple(sorted(set(outcome.frames))),
        outcome.hint,
        outcome.needed,
        rule.reference,
        details=outcome.details,
    )
