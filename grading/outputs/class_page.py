"""The class's page in Markdown: what was not understood, by check, and who stands where."""

from collections import Counter
from collections.abc import Iterator, Sequence

from analysis.text import plural, printable, some
from grading.exercise.model import Exercise
from grading.marking.grade import STATUSES, Grade, points_text, total
from grading.outputs.escape import markdown
from grading.outputs.views import MARKS, gate_ids, missed, score_text

MOST_NAMED, MOST_SAID = 8, 3


def class_page(grades: Sequence[Grade], exercise: Exercise, notes: Sequence[str] = ()) -> str:
    """The page of a class: points, checks with what went wrong, flags, students."""
    lines = [f"# {markdown(exercise.title)}: the class", ""]
    lines += [f"{markdown(_overview(grades))}", ""]
    lines += [f"- {markdown(note)}" for note in notes] + ([""] if notes else [])
    lines += _checks(grades, exercise)
    lines += _mistakes(grades, exercise)
    lines += _flags(grades)
    lines += ["## Students", "", *student_table(grades)]
    return "\n".join(lines) + "\n"


def _overview(grades: Sequence[Grade]) -> str:
    if not grades:
        return "nobody handed in"
    points = sorted(grade.points for grade in grades)
    middle = points[len(points) // 2] if len(points) % 2 else total(points[len(points) // 2 - 1 :][:2]) / 2
    pending = sum(grade.pending > 0 for grade in grades)
    again = f"; {plural(pending, 'student')} should hand in again" if pending else ""
    most = points_text(grades[0].max_points)
    return f"{plural(len(grades), 'student')}; the median is {points_text(middle)} of {most} points{again}"


def _checks(grades: Sequence[Grade], exercise: Exercise) -> Iterator[str]:
    """A row a check: how many passed, failed, were skipped, can't be told; the share of the points that was earned."""
    yield "## Checks"
    yield ""
    yield f"| check | what | {' | '.join(f'{MARKS[status]} {status}' for status in STATUSES)} | points earned |"
    yield f"| --- | --- |{' ---: |' * (len(STATUSES) + 1)}"
    titles = {item.id: item.title for item in exercise.items}
    for name in _names(grades, exercise):
        found = [check for grade in grades for check in grade.checks if check.id == name]
        counts = Counter(check.status for check in found)
        worth = total(check.max_points for check in found)
        share = f"{100 * total(check.points for check in found) / worth:.0f} %" if worth else "–"
        title = titles.get(name) or found[0].title
        cells = (f"`{name}`", markdown(title), *(str(counts[status]) for status in STATUSES), share)
        yield f"| {' | '.join(cells)} |"
    yield ""


def _names(grades: Sequence[Grade], exercise: Exercise) -> list[str]:
    """The checks' ids, those before the rubric first."""
    return [*gate_ids(grades), *(item.id for item in exercise.items)]


def _mistakes(grades: Sequence[Grade], exercise: Exercise) -> Iterator[str]:
    """Under each check that somebody failed: the commonest slips and findings, and who it was."""
    for name in _names(grades, exercise):
        wrong = [(grade, check) for grade in grades for check in grade.causes if check.id == name]
        if not wrong:
            continue
        yield f"### {markdown(wrong[0][1].title)} (`{name}`)"
        yield ""
        for status in ("fail", "skip", "inconclusive"):
            who = [grade.student for grade, check in wrong if check.status == status]
            if who:
                yield f"- {MARKS[status]} {status}: {markdown(some([printable(one) for one in who], MOST_NAMED))}"
        slips = Counter(check.result.slip for _, check in wrong if check.result.slip)
        if slips:
            counted = [f"{slip} ({count})" for slip, count in sorted(slips.items(), key=lambda one: (-one[1], one[0]))]
            yield f"- slips: {markdown(', '.join(counted))}"
        found = Counter(check.result.found for _, check in wrong)
        for text, count in sorted(found.items(), key=lambda one: (-one[1], one[0]))[:MOST_SAID]:
            yield f"- {count} ×: {markdown(text)}"
        yield ""


def _flags(grades: Sequence[Grade]) -> Iterator[str]:
    flagged = [(grade.student, flag) for grade in grades for flag in grade.flags]
    if flagged:
        yield "## For you to look at"
        yield ""
        yield from (f"- {markdown(student)}: {markdown(flag)}" for student, flag in flagged)
        yield ""


def student_table(grades: Sequence[Grade]) -> Iterator[str]:
    """A row a student: points, and what was not passed."""
    yield "| student | status | points | not passed |"
    yield "| --- | --- | --- | --- |"
    for grade in grades:
        score = score_text(grade, for_teacher=True)
        cells = (markdown(grade.student), f"{MARKS[grade.status]} {grade.status}", score, markdown(some(missed(grade))))
        yield f"| {' | '.join(cells)} |"
