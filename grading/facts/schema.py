"""Whether a path leads anywhere: by the published schema of report.json, before anybody is marked by it."""

import difflib
import functools
import json
from pathlib import Path
from typing import Any

from analysis.errors import InputError
from grading.facts.facts import SHORTCUTS
from grading.facts.path import FactPath, Where

SCHEMA = Path(__file__).parent.parent.parent / "docs" / "report.schema.json"
SINGLE = ("story", "connection", "lookup", "exchange")


def check_path(path: FactPath) -> tuple[Any, ...] | None:
    """The values that the fact at `path` may have, where they are few; None where they are many.

    `InputError` where the report has no such part: it names what is there instead.
    """
    node = _root()
    for step in path.steps:
        if isinstance(step, str):
            known = _entry(node).get("properties", {})
            if not known and node.get("type") == "object":
                return None  # of names that only the capture has
            node = _child(known, step, path)
        elif isinstance(step, Where):
            _child(_entry(node).get("properties", {}), step.key, path)
        elif "items" not in node:
            raise InputError(f"{path.text!r}: [{step.number}] is of no list", "leave it out")
        else:
            node = node["items"]
    if "const" in node:
        return (node["const"],)
    return tuple(node["enum"]) if "enum" in node else (True, False, None) if node.get("type") == "boolean" else None


def _child(known: dict[str, Any], name: str, path: FactPath) -> Any:
    if name in known:
        return known[name]
    near = difflib.get_close_matches(name, known, 1)
    hint = f"; did you mean {near[0]!r}?" if near else ""
    what = f"a report has nothing at {path.text!r}: there is no {name!r}{hint}"
    raise InputError(what, f"allowed there: {', '.join(sorted(known)) or 'nothing, it is a single value'}")


def _entry(node: dict[str, Any]) -> dict[str, Any]:
    """What a name behind `node` is looked up in: of a list, its entries."""
    entry: dict[str, Any] = node.get("items", node)
    return entry


@functools.cache
def _root() -> dict[str, Any]:
    """The schema of all that a path may begin with."""
    schema: dict[str, Any] = json.loads(SCHEMA.read_text())
    known = dict(schema["properties"])
    for name, (place, _) in SHORTCUTS.items():
        node = schema
        for part in place.split("."):
            node = _entry(node)["properties"][part]
        known[name] = node["items"] if name in SINGLE else node
    return {"properties": known}
