"""A student's report.json: what the analysis says of the capture, and the rubric's visible checks with their points."""

import json
from typing import Any

from analysis.text import json_without_commands
from grading.exercise.model import Exercise, RuleCheck
from grading.marking.grade import Scored
from grading.marking.mark import Marked


def report_json(marked: Marked, exercise: Exercise) -> str | None:
    """The report by docs/report.schema.json, a line an entry; None where no capture could be read.

    Its findings are the visible checks.
    """
    if marked.facts is None:
        return None
    values = dict(marked.facts.values)
    values["findings"] = _findings(marked, exercise)
    statuses = {finding["status"] for finding in values["findings"]}
    unclear = "inconclusive" in statuses or "pass" not in statuses
    values["verdict"] = "fail" if "fail" in statuses else "inconclusive" if unclear else "pass"
    return json_without_commands("{\n" + ",\n".join(map(_entry, values.items())) + "\n}\n")


def _entry(entry: tuple[str, Any]) -> str:
    name, value = entry
    if isinstance(value, list) and value:
        text = "[\n  " + ",\n  ".join(map(json.dumps, value)) + "\n ]"
    else:
        text = json.dumps(value)
    return f" {json.dumps(name)}: {text}"


def _findings(marked: Marked, exercise: Exercise) -> list[dict[str, Any]]:
    """What the student may see of the rubric, under the rules' ids; nothing whose absence tells of a hidden check."""
    rules = {item.id: item.check.rule for item in exercise.items if isinstance(item.check, RuleCheck)}
    return [_finding(rules.get(check.id) or check.id, check) for check in marked.grade.visible]


def _finding(rule: str, check: Scored) -> dict[str, Any]:
    result = check.result
    return {
        "rule": rule,
        "status": check.status,
        "title": check.title,
        "expected": "" if result.is_secret else result.expected,
        "actual": result.found,
        "frames": list(result.frames),
        "hint": "; ".join(filter(None, (result.hint, check.hint))),
        "needed": "",
        "reference": result.reference,
        "points": check.points,
        "max_points": check.max_points,
        "details": list(result.details),
    }
