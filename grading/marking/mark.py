"""Mark a submission: its files, whose they are, the rubric in order, points. Nothing handed in makes it raise."""

import difflib
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

from analysis.errors import InputError
from analysis.files.capture import Capture, parse_capture
from analysis.report import Report, make_report
from analysis.text import plural, printable, some
from grading.exercise.model import Exercise, Item, Points, Question, RuleCheck
from grading.facts.facts import Facts
from grading.handed_in.submission import File, Submission
from grading.marking.answers import check_answer
from grading.marking.grade import FileRead, Grade, Result, Scored
from grading.marking.rubric import check_rule, check_sequence
from grading.marking.whose import Owner, judge_owner, judge_time, seen_in
from lab.toml.table import read_table

MOST_UNKNOWN = 10
MOST_DOTS = 500  # in a line of answers
ANSWERS_PAGE = "the exercise"


class Gate(NamedTuple):
    """A check that comes before the rubric: id, title, what it found."""

    id: str
    title: str
    result: Result


@dataclass(frozen=True, slots=True)
class Marked:
    """A grade, and the report that it rests on; None where there was no capture to analyse."""

    grade: Grade
    report: Report | None
    facts: Facts | None


@dataclass(frozen=True, slots=True)
class Work:
    """What can be marked: the report on the capture, its facts, and the answers."""

    report: Report
    facts: Facts
    answers: Mapping[str, Any]


def mark(exercise: Exercise, submission: Submission, owner: Owner | None = None) -> Marked:
    """The grade of a submission. `owner`: what the capture must show, where the exercise is individual."""
    gates: list[Gate] = []
    report = _read_capture(exercise, submission.capture, owner, gates)
    answers: Mapping[str, Any] = {}
    if exercise.kind == "answers":
        answers = _read_answers(submission.answers, gates)
    if report is not None and owner is not None:
        gates.append(Gate("individual", "The capture is your own", judge_owner(report, owner)))
    if report is not None and (exercise.hand_in.opens or exercise.hand_in.closes):
        gates.append(Gate("time", "It was taken while the exercise was open", judge_time(report, exercise.hand_in)))
    facts = None if report is None else Facts(report)
    work = None if report is None or facts is None else Work(report, facts, answers)
    checks = tuple(_scored_gates(gates)) + tuple(_scored_items(exercise, gates, work))
    grade = Grade(
        student=submission.student,
        exercise=exercise.id,
        edition=exercise.edition,
        checks=checks,
        files=tuple(
            FileRead(file.name, file.size, file.sha256) for file in (submission.capture, submission.answers) if file
        ),
        notes=(*submission.notes, *_unknown_answers(exercise, answers)),
        flags=(*submission.flags, *_flags(checks)),
        seen=() if report is None else seen_in(report),
        hidden=exercise.hidden,
    )
    return Marked(grade, report, facts)


def unmarked(exercise: Exercise, student: str, what: str, next_step: str, *, is_limit: bool = False) -> Grade:
    """The grade where the grader itself failed, or (`is_limit`) what was handed in took too much of it.

    Nothing is judged, and the teacher is told.
    """
    result = Result("inconclusive", "the submission can be marked", what, hint=next_step)
    gate = Gate("grader", "The grader could do its work", result)
    if is_limit:
        gate = Gate("limits", "It can be marked within the exercise's limits", result)
    checks = (*_scored_gates([gate]), *_scored_items(exercise, [gate], None))
    flag = f"not marked: {what}" if is_limit else f"the grader is at fault: {what}"
    return Grade(student, exercise.id, exercise.edition, checks, flags=(flag,), hidden=exercise.hidden)


def _flags(checks: tuple[Scored, ...]) -> Iterator[str]:
    pending = [check for check in checks if check.status == "inconclusive" and not check.is_consequence]
    if pending:
        yield f"to be handed in again: {some([f'{check.id} ({check.result.found})' for check in pending])}"


# --- the files ---


def _read_capture(exercise: Exercise, file: File | None, owner: Owner | None, gates: list[Gate]) -> Report | None:
    """The report on the capture; where there is none, the gate that says why."""
    expected = f"{exercise.hand_in.capture}, a pcap or pcapng"
    problem = _file_problem(file, expected)
    if problem is None and file is not None:
        try:
            capture = parse_capture(file.content, Path(file.name).name)
        except InputError as error:
            problem = Result("inconclusive", expected, printable(str(error)), hint=printable(error.next_step))
        else:
            problem = _frames_problem(capture, exercise.hand_in.frames, expected)
            if problem is None:
                return _report(capture, exercise, owner)
    assert problem is not None  # noqa: S101 - a file without a problem was read
    gates.append(Gate("capture", "The capture can be read", problem))
    return None


def _file_problem(file: File | None, expected: str) -> Result | None:
    if file is None:
        return Result("fail", expected, "nothing of the kind was handed in", hint=f"hand in {expected}")
    if file.problem:
        return Result("inconclusive", expected, printable(file.problem), hint=printable(file.next_step))
    if not file.content:
        return Result("inconclusive", expected, f"{printable(file.name)} is empty", hint="hand in the file once more")
    return None


def _frames_problem(capture: Capture, most: int, expected: str) -> Result | None:
    count = len(capture.frames)
    if not count:
        hint = "capture on the interface that the fetch uses, and end the capture before you copy its file"
        return Result("inconclusive", expected, "it has no frame", hint=hint)
    if count <= most:
        return None
    found = f"it has {plural(count, 'frame')}; at most {most} are marked"
    return Result("inconclusive", expected, found, hint="capture the one fetch alone, or with a capture filter")


def _report(capture: Capture, exercise: Exercise, owner: Owner | None) -> Report:
    """The report on the fetch that is meant: the student's own name, the exercise's, or the one that stands out."""
    host = owner.own.host if owner is not None and "host" in owner.uses else exercise.host
    target = owner.own.nonce if owner is not None and "nonce" in owner.uses else None
    report = make_report(capture, host, target=target)
    return report if report.story or host is None else make_report(capture, None, target=target)


def _read_answers(file: File | None, gates: list[Gate]) -> Mapping[str, Any]:
    expected = "answers, as TOML"
    problem = _file_problem(file, expected) or _too_deep(file, expected)
    if problem is None and file is not None:
        try:
            answers = read_table(Path(file.name), file.content, ANSWERS_PAGE, InputError).left
        except InputError as error:
            hint = f'{error.next_step}; an answer is a line such as: who = "client"'
            problem = Result("fail", expected, printable(str(error)), hint=printable(hint))
        else:
            return answers
    assert problem is not None  # noqa: S101 - a file without a problem was read
    gates.append(Gate("answers", "The answers can be read", problem))
    return {}


def _too_deep(file: File | None, expected: str) -> Result | None:
    """What is wrong with keys of keys of keys: the time that it takes to read them grows with the square of them."""
    if file is None or all(line.count(b".") <= MOST_DOTS for line in file.content.splitlines()):
        return None
    found = f"{printable(file.name)} has a line with more than {MOST_DOTS} dots"
    return Result("fail", expected, found, hint='an answer is a line such as: who = "client"')


def _unknown_answers(exercise: Exercise, answers: Mapping[str, Any]) -> Iterator[str]:
    asked = exercise.questions
    for key in [key for key in answers if key not in asked][:MOST_UNKNOWN]:
        near = difflib.get_close_matches(key[:100], asked, 1)
        hint = f"; did you mean {near[0]}?" if near else ""
        yield printable(f"there is no question {key[:100]!r}{hint}")
    left = [name for name in exercise.asked if name not in answers]
    if left:
        yield f"not answered yet: {some(left)}"


# --- the rubric ---


def _scored_gates(gates: list[Gate]) -> Iterator[Scored]:
    return (Scored(gate.id, gate.title, gate.result, 0, 0, is_gate=True) for gate in gates)


def _scored_items(exercise: Exercise, gates: list[Gate], work: Work | None) -> Iterator[Scored]:
    """The items in the order of the rubric, in which each stands behind those that it depends on."""
    results: dict[str, Result] = {}
    for item in exercise.items:
        needs = {gate.id: gate.result for gate in gates if gate.id != "answers" or isinstance(item.check, Question)}
        needs |= {name: results[name] for name in item.depends_on}
        result = results[item.id] = _judged(item, needs, exercise, work)
        points = _points(item, result, exercise)
        scored = Scored(item.id, item.title, result, points, item.points, item.visibility, hint=item.hint)
        is_answered = result.status in ("fail", "inconclusive") or (result.status == "skip" and result.expected)
        yield scored if is_answered else replace(scored, hint="")  # a rule that had nothing to look at has its hint


def _judged(item: Item, needs: Mapping[str, Result], exercise: Exercise, work: Work | None) -> Result:
    """Skipped where a prerequisite failed; of one whose prerequisite is inconclusive only a failure stands."""
    failed = [name for name, result in needs.items() if result.status in ("fail", "skip")]
    if failed:
        return Result("skip", "", f"not looked at: {_told(failed[0], item, exercise)} must pass first")
    unclear = [name for name, result in needs.items() if result.status == "inconclusive"]
    if work is None or "answers" in unclear:
        return Result("inconclusive", "", f"not looked at: {unclear[0]} is inconclusive")
    result = _check(item, exercise, work)
    if unclear and result.status == "fail":
        return replace(result, share=0.0)
    if unclear:
        return Result("inconclusive", "", f"can't be told: {_told(unclear[0], item, exercise)} is inconclusive")
    return result


def _told(name: str, item: Item, exercise: Exercise) -> str:
    """A prerequisite by its id, unless the student sees the item and may not know that there is such a check."""
    before = next((one.visibility for one in exercise.items if one.id == name), "visible")
    return name if before in ("visible", item.visibility) or item.visibility == "hidden" else "another check"


def _check(item: Item, exercise: Exercise, work: Work) -> Result:
    if isinstance(item.check, RuleCheck):
        return check_rule(item.check, work.report, work.facts)
    if isinstance(item.check, Question):
        result = check_answer(item.check, item.points, work.answers, item.id, work.facts)
        return replace(result, is_secret=not exercise.reveal)
    return check_sequence(item.check, work.report)


def _points(item: Item, result: Result, exercise: Exercise) -> Points:
    """The points earned: whole ones, unless the exercise has fractions; a part is never rounded up to more."""
    if result.status == "pass":
        return item.points
    earned = result.share * item.points if result.status == "fail" else 0.0
    return math.floor(earned * 100 + 1e-6) / 100 if exercise.fractions else math.floor(earned + 1e-6)
