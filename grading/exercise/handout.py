"""What a student is given: built from an allow-list, so that neither key nor hidden checks nor answers can slip in."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import tomli_w

from analysis.text import plural
from grading.exercise.individual import Individual
from grading.exercise.load import EXAMPLE, fill
from grading.exercise.model import Exercise, Item, Question, RuleCheck, SequenceCheck, Wanted
from grading.files import unwritable, write
from grading.marking.grade import points_text, total
from grading.outputs.escape import markdown, markdown_code

CHECK_IT = "invoke grade --exercise exercise.toml --submissions ."


def handout(exercise: Exercise, student: str, individual: Individual | None) -> dict[str, str]:
    """The files of one student's folder, by name: `README.md` and what the exercise asks for."""
    files = {"README.md": "\n".join(_readme(exercise, student, individual)).rstrip() + "\n"}
    if exercise.scenario is not None:
        files["scenario.toml"] = _filled(exercise.scenario, exercise, individual).lstrip("\n")
    if exercise.kind == "answers":
        files["answers.toml"] = "\n".join(_answers(exercise)) + "\n"
    own = _own_copy(exercise, individual)
    if own is not None:
        files["exercise.toml"] = tomli_w.dumps(own, multiline_strings=True)
    return files


def _filled(words: str, exercise: Exercise, individual: Individual | None) -> str:
    return fill(words, individual or EXAMPLE) if exercise.uses else words


def _readme(exercise: Exercise, student: str, individual: Individual | None) -> Iterator[str]:
    edition = f" ({markdown(exercise.edition)})" if exercise.edition else ""
    yield f"# {markdown(exercise.title)}{edition}"
    yield ""
    yield f"For {markdown(student)}."
    yield ""
    yield _filled(exercise.text, exercise, individual).strip("\n")
    yield ""
    yield from _hand_in(exercise)
    yield from _marks(exercise)


def _hand_in(exercise: Exercise) -> Iterator[str]:
    limits = exercise.hand_in
    yield "## What to hand in"
    yield ""
    yield f"- {' and '.join(markdown_code(name) for name in exercise.files)}"
    yield f"- the capture as pcap or pcapng, at most {limits.size:,} bytes and {limits.frames:,} frames"
    if limits.opens:
        yield f"- taken after {limits.opens:%Y-%m-%d %H:%M} UTC"
    if limits.closes:
        yield f"- taken before {limits.closes:%Y-%m-%d %H:%M} UTC"
    yield "- commands are for a clone of Handshake Lab: put this folder into it, and run them here"
    if _can_check(exercise):
        yield f"- to see beforehand what is found in it: {markdown_code(CHECK_IT)}"
    yield ""


def _marks(exercise: Exercise) -> Iterator[str]:
    yield "## What is marked"
    yield ""
    yield "| check | points |"
    yield "| --- | --- |"
    told = tuple(item for item in exercise.items if item.visibility == "visible" or isinstance(item.check, Question))
    for item in told:
        yield f"| {markdown(item.title)} | {points_text(item.points)} |"
    checks, points = _not_told(exercise, told)
    if checks:
        yield f"| {plural(checks, 'more check')} | {points_text(points)} |"
    yield ""


def _not_told(exercise: Exercise, told: tuple[Item, ...]) -> tuple[int, int | float]:
    """How many checks aren't among those `told`, and their points."""
    rest = [item for item in exercise.items if item not in told]
    return exercise.hidden[0] + len(rest), total((exercise.hidden[1], *(item.points for item in rest)))


def _answers(exercise: Exercise) -> Iterator[str]:
    """A form to fill in: each question, and a line for its answer."""
    yield "# Write each answer behind its =, and take the # in front of the line away."
    yield '# Numbers are decimal or hexadecimal (0x…), lists are in brackets, texts in quotes: "client".'
    for item in exercise.items:
        if isinstance(item.check, Question):
            yield ""
            yield f"# {item.check.text} ({points_text(item.points)} {'point' if item.points == 1 else 'points'})"
            yield f"# {item.id} = "


def _can_check(exercise: Exercise) -> bool:
    return any(not isinstance(item.check, Question) for item in exercise.visible())


def _own_copy(exercise: Exercise, individual: Individual | None) -> dict[str, Any] | None:
    """The exercise as far as the student may know it: visible checks of the capture; None where there are none."""
    told = tuple(item for item in exercise.visible() if not isinstance(item.check, Question))
    if not told:
        return None
    checks, points = _not_told(exercise, told)
    asked = list(exercise.questions)
    limits = exercise.hand_in
    opens = {"opens": limits.opens} if limits.opens else {}
    closes = {"closes": limits.closes} if limits.closes else {}
    values: dict[str, Any] = {
        "id": exercise.id,
        "edition": exercise.edition,
        "title": exercise.title,
        "kind": exercise.kind,
        "fractions": exercise.fractions,
        "hidden": {"checks": checks, "points": points, **({"questions": asked} if asked else {})},
        "hand_in": {
            "capture": limits.capture,
            "size": f"{limits.size} B",
            "frames": limits.frames,
            "seconds": f"{limits.seconds:g}s",
            **opens,
            **closes,
        },
        "rubric": [_item(item, told) for item in told],
    }
    if exercise.host:
        values["host"] = exercise.host
    if individual is not None:
        values["individual"] = {"uses": list(exercise.uses), **individual.placeholders, "port": individual.port}
    return values


def _item(item: Item, told: tuple[Item, ...]) -> dict[str, Any]:
    known = {one.id for one in told}
    values: dict[str, Any] = {
        "id": item.id,
        "title": item.title,
        "points": item.points,
        "hint": item.hint,
        "depends_on": [name for name in item.depends_on if name in known],
    }
    if isinstance(item.check, SequenceCheck):
        return {**values, "sequence": item.check.expected.source, "partial": item.check.partial}
    assert isinstance(item.check, RuleCheck)  # noqa: S101 - questions aren't told
    if item.check.rule:
        values["rule"] = item.check.rule
    if item.check.facts:
        values["facts"] = {wanted.path.text: _wanted(wanted) for wanted in item.check.facts}
    return values


def _wanted(wanted: Wanted) -> Any:
    if wanted.values:
        return list(wanted.values)
    limits = {"least": wanted.least, "most": wanted.most}
    return {name: limit for name, limit in limits.items() if limit is not None}


def write_handout(folder: Path, files: dict[str, str]) -> None:
    """Write a student's files into `folder`, which is made."""
    try:
        for name, content in files.items():
            write(folder / name, content)
    except OSError as error:
        raise unwritable(folder, error) from None
