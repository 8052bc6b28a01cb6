"""Grades as JSON, `handshake-lab/grades/1`, by the schema `docs/grades.schema.json`; and back."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import fields
from sys import intern
from typing import Any

from analysis.text import json_without_commands
from grading.exercise.model import Exercise
from grading.marking.grade import FileRead, Grade, Result, Scored

RESULT_FIELDS = tuple(field.name for field in fields(Result))
SCHEMA = "handshake-lab/grades/1"


def grades_json(grades: Sequence[Grade], exercise: Exercise) -> Iterator[str]:
    """A whole class in pieces, hidden checks and right answers included: for the teacher alone."""
    head = {
        "schema": SCHEMA,
        "exercise": {"id": exercise.id, "edition": exercise.edition, "title": exercise.title, "kind": exercise.kind},
    }
    yield json.dumps(head)[:-1] + ',\n "grades": ['
    for number, grade in enumerate(grades):
        entry = json.dumps({**grade_values(grade), "student": whole(grade.student)})
        yield json_without_commands(("," if number else "") + "\n  " + entry)
    yield "\n ]}\n"


def whole(text: str) -> str:
    r"""`text` without halves of characters (RFC 8259 §8.2): bytes of a file's name that are no UTF-8 as \udcXX."""
    return text.encode("utf-8", "backslashreplace").decode()


def grade_values(grade: Grade) -> dict[str, Any]:
    """A grade as plain values, with the sums that follow from it."""
    return {
        "student": grade.student,
        "exercise": grade.exercise,
        "edition": grade.edition,
        "status": grade.status,
        "points": grade.points,
        "max_points": grade.max_points,
        "pending": grade.pending,
        "hidden": list(grade.hidden),
        "checks": [_check_values(check) for check in grade.checks],
        "files": [file._asdict() for file in grade.files],
        "notes": list(grade.notes),
        "flags": list(grade.flags),
        "seen": list(grade.seen),
    }


def _check_values(check: Scored) -> dict[str, Any]:
    result = {name: getattr(check.result, name) for name in RESULT_FIELDS}
    return {
        "id": check.id,
        "title": check.title,
        "status": check.status,
        "points": check.points,
        "max_points": check.max_points,
        "visibility": check.visibility,
        "is_gate": check.is_gate,
        "hint": check.hint,
        "result": {**result, "frames": list(result["frames"]), "details": list(result["details"])},
    }


def grade_of(values: dict[str, Any]) -> Grade:
    """The grade that `grade_values` made these of; `KeyError`, `TypeError` or `ValueError` if it made none of them.

    Texts that many students' grades have in common are kept once.
    """
    return Grade(
        student=values["student"],
        exercise=_once(values["exercise"]),
        edition=_once(values["edition"]),
        checks=tuple(_check_of(check) for check in values["checks"]),
        files=tuple(FileRead(**file) for file in values["files"]),
        notes=tuple(values["notes"]),
        flags=tuple(values["flags"]),
        seen=tuple(values["seen"]),
        hidden=(values["hidden"][0], values["hidden"][1]),
    )


def _check_of(values: dict[str, Any]) -> Scored:
    result: dict[str, Any] = {name: _once(value) for name, value in values["result"].items()}
    return Scored(
        id=_once(values["id"]),
        title=_once(values["title"]),
        result=Result(**{**result, "frames": tuple(result["frames"]), "details": tuple(result["details"])}),
        points=values["points"],
        max_points=values["max_points"],
        visibility=_once(values["visibility"]),
        is_gate=values["is_gate"],
        hint=_once(values["hint"]),
    )


def _once(value: Any) -> Any:
    """The value; a text as the one object that stands for all like it."""
    return intern(value) if isinstance(value, str) else value
