"""The facts of one report, by path. What a path leads to is what report.json holds (docs/report.schema.json)."""

from collections.abc import Iterator
from typing import Any

from analysis.report import Report
from analysis.views.json import to_json
from grading.facts.path import FactPath, Place, Step, Where

SHORTCUTS = {
    "story": ("stories", "the story that was chosen"),
    "connection": ("connections", "its first connection"),
    "lookup": ("lookups", "its first lookup"),
    "exchanges": ("stories.exchanges", "its exchanges"),
    "exchange": ("stories.exchanges", "the first of them"),
    "segments": ("stories.segments", "the segments of all its connections"),
}  # each with the part of report.json whose entries it is, and what it is


class Facts:
    """A report as the values of report.json, with the shortcuts beside them."""

    def __init__(self, report: Report) -> None:
        self.values = to_json(report)
        self._roots: dict[str, Any] = {**self.values, **_shortcuts(self.values)}

    @property
    def segments(self) -> list[dict[str, Any]]:
        """The segments of the chosen story."""
        found: list[dict[str, Any]] = self._roots.get("segments", [])
        return found

    def at(self, path: FactPath) -> Any:
        """The value at `path`; None where the report has nothing there."""
        value: Any = self._roots.get(str(path.steps[0]))
        for step in path.steps[1:]:
            value = _step(value, step)
        return value

    def frames_at(self, path: FactPath) -> tuple[int, ...]:
        """The frames that the fact is about, where it stands beside them or is one."""
        value: Any = self._roots.get(str(path.steps[0]))
        frames: tuple[int, ...] = ()
        for step in path.steps[1:]:
            frames = _frames(value) or frames
            value = _step(value, step)
        return _frames({path.last: value}) or frames


def _shortcuts(values: dict[str, Any]) -> dict[str, Any]:
    index = values["chosen_story"]["index"]
    if index is None:
        return {}
    story = values["stories"][index]
    lookups = [values["lookups"][one] for one in story["lookups"]]
    connections = [values["connections"][one] for one in story["connections"]]
    firsts = {"connection": connections, "lookup": lookups, "exchange": story["exchanges"]}
    return {
        "story": story,
        "exchanges": story["exchanges"],
        "segments": story["segments"],
        **{name: entries[0] for name, entries in firsts.items() if entries},
    }


def _step(value: Any, step: Step) -> Any:
    if isinstance(step, str):
        if isinstance(value, list):
            value = value[0] if value else None
        return value.get(step) if isinstance(value, dict) else None
    if not isinstance(value, list):
        return None
    if isinstance(step, Place):
        return value[step.number] if -len(value) <= step.number < len(value) else None
    return [entry for entry in value if isinstance(entry, dict) and _fits(entry.get(step.key), step)]


def _fits(value: Any, where: Where) -> bool:
    text = str(value).lower()
    return where.value.lower() in (text.split(",") if where.is_word else [text])


def _frames(value: Any) -> tuple[int, ...]:
    """The frames that a part of the report names; of a list, its first entry."""
    value = value[0] if isinstance(value, list) and value else value
    return tuple(_frames_in(value)) if isinstance(value, dict) else ()


def _frames_in(value: dict[str, Any]) -> Iterator[int]:
    for key, one in value.items():
        if key == "frame" or key.endswith("_frame"):
            yield from (one,) if isinstance(one, int) else ()
        elif (key == "frames" or key.endswith("_frames")) and isinstance(one, list):
            yield from (frame for frame in one if isinstance(frame, int))
