"""A student's page in Markdown: the score, each check with what was found and what to do, the ladder."""

from collections.abc import Iterator

from grading.exercise.model import Exercise
from grading.marking.grade import Grade, summary_line
from grading.marking.ladder import Row
from grading.outputs.escape import markdown, markdown_block, markdown_code, mermaid
from grading.outputs.views import Shown, score_text, shown

ROLES = ("client", "resolver", "server")


def student_page(grade: Grade, exercise: Exercise, rows: tuple[Row, ...] = (), *, for_teacher: bool = False) -> str:
    """The page of one student; with `for_teacher` it has the hidden checks, the right answers and the flags, too."""
    edition = f" ({markdown(grade.edition)})" if grade.edition else ""
    lines = [
        f"# {markdown(exercise.title)}{edition}: {markdown(grade.student)}",
        "",
        f"**{score_text(grade, for_teacher=for_teacher)}** · {summary_line(grade, for_teacher=for_teacher)}",
        "",
    ]
    lines += [f"- {markdown(note)}" for note in grade.notes]
    lines += [f"- **flag:** {markdown(flag)}" for flag in (grade.flags if for_teacher else ())]
    lines += [""] if lines[-1] else []
    for one in shown(grade, for_teacher=for_teacher):
        lines += _check(one)
    lines += _files(grade)
    if for_teacher or not exercise.is_asking:
        lines += ladder_lines(rows)
    return "\n".join(lines).rstrip() + "\n"


def _check(one: Shown) -> Iterator[str]:
    points = f" ({one.points})" if one.points else ""
    yield f"## {one.mark} {markdown(one.check.title)}{points}"
    yield ""
    for label, text in one.lines:
        yield f"- {label}: {markdown(text)}"
    if one.lines:
        yield ""
    if one.details:
        yield from markdown_block(one.details)
        yield ""


def _files(grade: Grade) -> Iterator[str]:
    if grade.files:
        yield "## What was marked"
        yield ""
        for file in grade.files:
            digest = f", sha256 `{file.sha256}`" if file.sha256 else ""
            yield f"- {markdown_code(file.name)}: {file.size} bytes{digest}"
        yield ""


def ladder_lines(rows: tuple[Row, ...]) -> Iterator[str]:
    """The ladder as a Mermaid sequence diagram, in the fence that GitHub and GitLab draw."""
    if not rows:
        return
    used = {role for row in rows for role in (row.sender, row.receiver)}
    yield "```mermaid"
    yield "sequenceDiagram"
    for role in ROLES:
        if role in used:
            yield f"    participant {role}"
    for row in rows:
        frame = f"{row.frame} " if row.frame else ""
        yield f"    {row.sender}->>{row.receiver}: {frame}{mermaid(row.text)}"
    yield "```"
    yield ""
