"""GitHub Actions: the job's summary, annotations, and a hedge around text that could hold workflow commands.

https://docs.github.com/en/actions/reference/workflows-and-actions/workflow-commands
"""

import secrets
from collections.abc import Iterator, Sequence

from analysis.text import some
from grading.exercise.model import Exercise
from grading.marking.grade import Grade
from grading.outputs.escape import command_message, command_property
from grading.outputs.views import missed, score_text, shown

MOST_ANNOTATIONS = 10  # of a step that GitHub shows
LARGEST_SUMMARY = 1_000_000  # bytes; GitHub refuses more than 1 MiB of a step
LONGEST = 500


def job_summary(page: str) -> str:
    """The summary in Markdown: a student's page, or the class's, or as much of it as GitHub takes, in whole lines."""
    data = page.encode("utf-8", "replace")
    if len(data) <= LARGEST_SUMMARY:
        return page
    kept = data[:LARGEST_SUMMARY].decode("utf-8", "ignore").rpartition("\n")[0]
    return f"{kept}\n\nThe rest is too long for a summary: see class.md.\n"


def annotations(grades: Sequence[Grade], exercise: Exercise, *, single: bool) -> list[str]:
    """At most ten workflow commands: of a single student a check each, of a class a student each."""
    made = list(_of_checks(grades[0]) if single and grades else _of_students(grades))
    if len(made) > MOST_ANNOTATIONS:
        rest = len(made) - MOST_ANNOTATIONS + 1
        made = [*made[: MOST_ANNOTATIONS - 1], _command("notice", exercise.title, f"and {rest} more")]
    return made


def _of_checks(grade: Grade) -> Iterator[str]:
    for one in shown(grade):
        if one.check.status in ("fail", "inconclusive"):
            if one.check.is_consequence:
                continue
            said = "; ".join(f"{label}: {text}" for label, text in one.lines)
            level = "error" if one.check.status == "fail" else "warning"
            yield _command(level, f"{one.check.id}: {one.check.title}", said)


def _of_students(grades: Sequence[Grade]) -> Iterator[str]:
    for grade in grades:
        if grade.status != "pass":
            level = "error" if grade.status == "fail" else "warning"
            yield _command(level, grade.student, f"{score_text(grade, for_teacher=True)}; {some(missed(grade))}")


def _command(level: str, title: str, message: str) -> str:
    cut = message if len(message) <= LONGEST else message[: LONGEST - 1] + "…"
    return f"::{level} title={command_property(title[:100])}::{command_message(cut)}"


def hedged(text: str) -> str:
    """`text` between stop-commands whose word nobody can guess: GitHub takes no order from what is in it."""
    word = secrets.token_hex(16)
    return f"::stop-commands::{word}\n{text.rstrip()}\n::{word}::\n"
