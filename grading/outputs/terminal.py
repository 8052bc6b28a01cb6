"""Grades in a terminal: a student's checks, or a class in a table."""

from collections import Counter
from collections.abc import Iterator, Sequence

from analysis.text import plural, printable, some, without_commands
from analysis.views.style import Style, columns
from grading.exercise.model import Exercise
from grading.marking.grade import STATUSES, Grade, summary_line
from grading.outputs.views import MARKS, Shown, gate_ids, missed, score_text, shown

INDENT = "    "
LONGEST_ID = 24
MOST_STUDENTS = 40


def student_text(grade: Grade, exercise: Exercise, style: Style) -> str:
    """What a student may see of the own grade."""
    lines = style.wrapped(printable(f"{exercise.title}: {grade.student}"), "", "  ")
    lines[0] = style.paint("heading", lines[0])
    for note in grade.notes:
        lines += style.wrapped(printable(note), style.paint("dim", "· "), "  ")
    for one in shown(grade):
        lines += _check(one, style)
    lines.append("")
    lines += style.wrapped(f"{score_text(grade)}: {summary_line(grade)}", f"{MARKS[grade.status]} ", "  ")
    return without_commands("\n".join(lines)) + "\n"


def _check(one: Shown, style: Style) -> Iterator[str]:
    points = f" ({one.points})" if one.points else ""
    first, *rest = style.wrapped(f"{printable(one.check.title)}{points}", f"{one.mark} ", "  ")
    yield style.paint(one.check.status, one.mark) + first.removeprefix(one.mark)
    yield from rest
    if one.check.status == "pass":
        return
    for label, text in one.lines:
        yield from style.wrapped(printable(text), f"{INDENT}{label:<10}", INDENT + " " * 10)
    for line in one.details:
        yield from style.wrapped(printable(line), INDENT, INDENT + "  ")


def class_text(grades: Sequence[Grade], exercise: Exercise, style: Style) -> str:
    """The class in short: a line a student, as far as they fit; then a line a check."""
    lines = [style.paint("heading", printable(exercise.title)), ""]
    worst_first = sorted(grades, key=lambda grade: grade.status == "pass")
    listed = list(grades) if len(grades) <= MOST_STUDENTS else worst_first[:MOST_STUDENTS]
    width = max((min(LONGEST_ID, columns(printable(grade.student))) for grade in listed), default=0)
    for grade in listed:
        lines += _student(grade, width, style)
    if len(listed) < len(grades):
        lines.append(f"  and {len(grades) - len(listed)} more: see class.md")
    lines += ["", *_counts(grades, exercise)]
    return without_commands("\n".join(lines)) + "\n"


def _student(grade: Grade, width: int, style: Style) -> list[str]:
    name = printable(grade.student)
    if columns(name) > LONGEST_ID:
        while columns(name) >= LONGEST_ID:  # some characters take two columns
            name = name[:-1]
        name += "…"
    words = missed(grade)
    mark = MARKS[grade.status]
    head = f"{mark} {name}{' ' * (width - columns(name))}  "
    text = f"{score_text(grade, for_teacher=True)}" + (f"  {some(words)}" if words else "")
    first, *rest = style.wrapped(text, head, INDENT)
    return [style.paint(grade.status, mark) + first.removeprefix(mark), *rest]


def _counts(grades: Sequence[Grade], exercise: Exercise) -> Iterator[str]:
    names = [*gate_ids(grades), *(item.id for item in exercise.items)]
    width = max(map(len, names))
    for name in names:
        counts = Counter(check.status for grade in grades for check in grade.checks if check.id == name)
        words = ", ".join(f"{counts[status]} {status}" for status in STATUSES if counts[status])
        yield f"{name:<{width}}  {words}"
    yield ""
    pending = sum(grade.pending > 0 for grade in grades)
    again = f"; {plural(pending, 'student')} should hand in again" if pending else ""
    yield f"{plural(len(grades), 'student')}{again}"
