"""The rubric's checks of a capture: rules of the analysis, facts of the report, an expected sequence."""

from dataclasses import replace
from typing import Any

from analysis.expect.alignment import Alignment, align
from analysis.expect.difference import explain_mismatch
from analysis.expect.events import sequence_events
from analysis.expect.match import Matched, Undecided, match
from analysis.names import is_address
from analysis.report import Report
from analysis.sequence import line_text
from analysis.text import plural, printable, some
from grading.exercise.model import RuleCheck, SequenceCheck, Value, Wanted
from grading.facts.facts import Facts
from grading.marking.grade import WHOLE, Result

MOST_SAID = 4


def check_rule(check: RuleCheck, report: Report, facts: Facts) -> Result:
    """What the rule found; if it passes, whether the facts hold as well."""
    found = _by_rule(check.rule, report) if check.rule else Result("pass", "", "")
    if found.status != "pass":
        return found
    results = [check_fact(wanted, facts) for wanted in check.facts]
    for status in ("fail", "inconclusive"):  # what the capture doesn't show hides no fact that is wrong
        for result in results:
            if result.status == status:
                return replace(result, reference=found.reference)
    return found if check.rule else results[-1]


def _by_rule(rule: str, report: Report) -> Result:
    finding = next(one for one in report.findings if one.rule == rule)
    lacks = finding.status == "skip" and _lacks_what_it_is_about(rule, report)
    return Result(
        "inconclusive" if lacks else finding.status,
        printable(finding.expected),
        printable(finding.actual),
        finding.frames,
        printable(finding.hint) or (WHOLE if lacks else ""),
        tuple(map(printable, finding.details)) if finding.status != "pass" else (),
        finding.reference,
    )


def _lacks_what_it_is_about(rule: str, report: Report) -> bool:
    """Whether the capture may just not have what the rule looks at: no lookup, or no connection though one could be.

    In a story such a rule is skipped, for it is no mistake that a name came from a cache; a rubric asks for it.
    """
    story = report.story
    if story is None:
        return True
    if rule.startswith("dns."):
        return not (story.lookups or is_address(story.name))  # who fetches by address looks nothing up
    return not story.connections and (not story.lookups or bool(story.addresses))


def check_fact(wanted: Wanted, facts: Facts) -> Result:
    """Whether a fact of the report is what it must be; inconclusive where the capture doesn't show it."""
    value = facts.at(wanted.path)
    expected = f"{wanted.path.text}: {_wanted_text(wanted)}"
    if value is None or value == []:
        return Result("inconclusive", expected, "the capture doesn't show it", hint=WHOLE)
    found = f"{wanted.path.text}: {printable(str(value)[:200])}"
    good = any(_same(value, one) for one in wanted.values) if wanted.values else _within(value, wanted)
    return Result("pass" if good else "fail", expected, found, facts.frames_at(wanted.path))


def _wanted_text(wanted: Wanted) -> str:
    if wanted.values:
        return " or ".join(str(value).lower() if isinstance(value, bool) else str(value) for value in wanted.values)
    least = [] if wanted.least is None else [f"at least {wanted.least:g}"]
    most = [] if wanted.most is None else [f"at most {wanted.most:g}"]
    return ", ".join(least + most)


def _same(value: Any, wanted: Value) -> bool:
    return bool(value == wanted) and isinstance(value, bool) == isinstance(wanted, bool)


def _within(value: Any, wanted: Wanted) -> bool:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    return (wanted.least is None or value >= wanted.least) and (wanted.most is None or value <= wanted.most)


def check_sequence(check: SequenceCheck, report: Report) -> Result:
    """Whether the fetch is the expected one, line by line; where it isn't, what part of it is."""
    expected = f"the sequence of {plural(check.expected.line_count, 'line')}"
    events = sequence_events(report.trace, check.expected.form, report.capture.frames.time_ns)
    found = match(check.expected, events)
    frames = () if report.story is None else report.story.frames
    if isinstance(found, Matched):
        return Result("pass", expected, f"exactly that, by its {check.expected.form}", frames)
    if isinstance(found, Undecided):
        return Result("inconclusive", expected, "too many readings of it: given up", frames, "tell your teacher")
    said = explain_mismatch(events, found)
    nearest = align(check.expected, events)
    if nearest is None:
        return Result("fail", expected, said.actual, said.frames, details=said.details)
    summary = _summary(nearest)
    if _may_be_missed(nearest, report):
        return Result("inconclusive", expected, summary, said.frames, WHOLE, said.details)
    share = nearest.matched / len(nearest.edits) if check.partial and nearest.edits else 0.0
    return Result("fail", expected, summary, said.frames, details=said.details, share=share)


def _may_be_missed(nearest: Alignment, report: Report) -> bool:
    """Whether all that lacks may have come before the capture began, or after it ended, or is known to be missing.

    Nobody vouches for a student's capture; but what is in it, and shouldn't be, is a mistake whatever lacks.
    """
    if nearest.extra or nearest.different:
        return False
    return nearest.lacks_an_end or report.health == "incomplete"


def _summary(nearest: Alignment) -> str:
    """`9 lines match; missing: …; too many: …; different: …`."""
    parts = [f"{plural(nearest.matched, 'line')} {'matches' if nearest.matched == 1 else 'match'}"]
    for word, lines in (
        ("missing", [line.text for line in nearest.missing]),
        ("too many", [line_text(event.line) for event in nearest.extra]),
        ("different", [line_text(edit.event.line) for edit in nearest.different if edit.event]),
    ):
        if lines:
            parts.append(f"{word}: {some([_quoted(line) for line in lines], MOST_SAID)}")
    return "; ".join(parts)


def _quoted(line: str) -> str:
    return f"`{printable(' '.join(line.split()))}`"
