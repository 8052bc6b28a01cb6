"""Whether a path leads anywhere: by the published schema of report.json, before anybody is marked by it."""

import difflib
import functools
import json
from pathlib import Path
from typing import Any

from analysis.errors import InputError
from analysis.tcp.segment import FLAG_NAMES
from grading.facts.facts import SHORTCUTS
from grading.facts.path import FactPath, Where

NAME = "report.schema.json"
HERE = Path(__file__).parent
PLACES = (HERE.parent.parent / "docs" / NAME, HERE / NAME)  # of a clone; of a wheel, which has no docs
SINGLE = ("story", "connection", "lookup", "exchange")


def check_path(path: FactPath) -> tuple[Any, ...] | None:
    """The values that the fact at `path` may have, where they are few; None where they are many.

    `InputError` where the report has no such part: it names what is there instead.
    """
    return _values(_node_at(path))


def kinds_at(path: FactPath) -> frozenset[str]:
    """The JSON types of the fact at `path`, a list's with `[]` and that of its entries; empty where only captures tell.

    `InputError` as of `check_path`.
    """
    node = _node_at(path)
    if "items" in node:
        return frozenset(f"{kind}[]" for kind in _types(node["items"]))
    return _types(node)


def _types(node: dict[str, Any]) -> frozenset[str]:
    """The types of a value that isn't null: a fact that a capture doesn't show is."""
    values = _values(node)
    if values:
        return frozenset("boolean" if isinstance(one, bool) else "string" for one in values if one is not None)
    types = node.get("type", ())
    return frozenset((types,) if isinstance(types, str) else types) - {"null"}


def _values(node: dict[str, Any]) -> tuple[Any, ...] | None:
    if "const" in node:
        return (node["const"],)
    if "enum" in node:
        return tuple(node["enum"])
    types = node.get("type", ())
    return (True, False, None) if "boolean" in ((types,) if isinstance(types, str) else types) else None


def _node_at(path: FactPath) -> dict[str, Any]:
    """The schema of the fact at `path`; empty where the report's names are the capture's."""
    node: dict[str, Any] = _root()
    for step in path.steps:
        if isinstance(step, str):
            known = _entry(node).get("properties", {})
            if not known and node.get("type") == "object":
                return {}
            node = _child(known, step, path)
        elif isinstance(step, Where):
            _check_where(step, _child(_entry(node).get("properties", {}), step.key, path), path)
        elif "items" not in node:
            raise InputError(f"{path.text!r}: [{step.number}] is of no list", "leave it out")
        else:
            node = node["items"]
    return node


def _check_where(where: Where, node: dict[str, Any], path: FactPath) -> None:
    """Complain of a selector that no entry of any report can meet."""
    known = [str(value).lower() for value in _values(node) or () if value is not None]
    if where.key == "flags" and where.is_word:
        known = [name.lower() for _, name in FLAG_NAMES]
    if known and where.value.lower() not in known:
        near = difflib.get_close_matches(where.value.lower(), known, 1)
        hint = f"; did you mean {near[0]!r}?" if near else ""
        what = f"{path.text!r} selects nothing: {where.key} is never {where.value!r}{hint}"
        raise InputError(what, f"allowed there: {', '.join(known)}")


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
    schema: dict[str, Any] = json.loads(next(path for path in PLACES if path.exists()).read_text())
    known = dict(schema["properties"])
    for name, (place, _) in SHORTCUTS.items():
        node = schema
        for part in place.split("."):
            node = _entry(node)["properties"][part]
        known[name] = node["items"] if name in SINGLE else node
    return {"properties": known}
