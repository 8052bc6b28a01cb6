"""Gradescope's results.json: a test a check. https://gradescope-autograders.readthedocs.io/en/latest/specs/"""

import json
from typing import Any

from analysis.text import json_without_commands, printable
from grading.exercise.model import Exercise
from grading.marking.grade import Grade, summary_line, total
from grading.outputs.views import Shown, score_text, shown_check

STATUS = {"pass": "passed", "fail": "failed", "skip": "failed", "inconclusive": "failed"}


def gradescope(grade: Grade, exercise: Exercise) -> str:
    """The results of one student. All checks are in it: Gradescope keeps what is hidden to itself."""
    values: dict[str, Any] = {
        "score": total(check.points for check in grade.checks),
        "output": f"{printable(exercise.title)}: {score_text(grade)}; {summary_line(grade)}",
        "output_format": "text",
        "test_output_format": "text",
        "test_name_format": "text",
        "visibility": "visible",
        "stdout_visibility": "hidden",
        "extra_data": {"exercise": grade.exercise, "edition": grade.edition, "status": grade.status},
    }
    told = [shown_check(check, for_teacher=check.visibility == "hidden") for check in grade.checks]
    tests = [_test(one) for one in told]
    entries = ",\n  ".join(map(json.dumps, tests))
    return json_without_commands(json.dumps(values)[:-1] + ',\n "tests": [\n  ' + entries + "\n ]}\n")


def no_results() -> str:
    """The results where marking could not begin; what kept it is for the teacher, who sees it in the log."""
    said = "This could not be marked, and it is no fault of yours. Tell your teacher."
    return (
        json.dumps({"score": 0, "output": said, "output_format": "text", "visibility": "visible", "tests": []}) + "\n"
    )


def _test(one: Shown) -> dict[str, Any]:
    check = one.check
    lines = [f"{label}: {printable(text)}" for label, text in one.lines]
    return {
        "name": printable(f"{check.id}: {check.title}"),
        "number": check.id,
        "score": check.points,
        "max_score": check.max_points,
        "status": STATUS[check.status],
        "output": "\n".join((check.status, *lines, *map(printable, one.details))),
        "visibility": check.visibility,
    }
