"""What is shown of the scenario pack: the list of it, and what became of a run of all."""

import json
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from analysis.text import plural, printable
from analysis.views.style import Style
from lab.pack.play import Played, verdict_of_all
from lab.scenario.model import Scenario

HEAD = ("scenario", "verdict", "seconds", "handshake", "close", "curl")
INDENT = "    "


def docker_needs(plan: Scenario) -> tuple[tuple[str, str], ...]:
    """What keeps the Docker backend from playing `plan`: keys, with what each asks for; empty if it can."""
    from lab.containers.render import unplayable

    return tuple(unplayable(plan))


def plan_values(plan: Scenario) -> dict[str, Any]:
    """A scenario of the list, as JSON has it."""
    needs = docker_needs(plan)
    return {
        "name": plan.name,
        "title": plan.title,
        "look_for": plan.look_for,
        "takes_s": plan.takes_s,
        "exact": plan.inexact_because is None,
        "inexact_because": plan.inexact_because,
        "backends": {
            "netns": {"plays": True, "needs": []},
            "docker": {"plays": not needs, "needs": [{"key": key, "why": why} for key, why in needs]},
        },
    }


def list_lines(plans: Iterable[Scenario], style: Style) -> Iterable[str]:
    """The list for a person: name, time, backends; below them the title."""
    for plan in plans:
        time = "" if plan.takes_s is None else f"{plan.takes_s:.1f} s"
        needs = docker_needs(plan)
        keys = ", ".join(dict.fromkeys(key for key, _ in needs))
        backends = f"netns (docker can't: {keys})" if needs else "netns, docker"
        first, *rest = style.wrapped(backends, f"{plan.name:<24}{time:>6}  ", " " * 32)
        yield style.paint("heading", first[:24]) + first[24:]
        yield from rest
        yield from style.wrapped(plan.title, INDENT, INDENT)


def played_values(played: Sequence[Played], left_out: Sequence[Scenario], backend: str) -> dict[str, Any]:
    """A run of the pack, as JSON has it."""
    return {
        "backend": backend,
        "verdict": verdict_of_all(played),
        "runs": [
            {
                "scenario": one.scenario,
                "verdict": one.verdict,
                "seconds": round(one.seconds, 3),
                "handshakes": list(one.handshakes),
                "closes": list(one.closes),
                "exit_statuses": list(one.exit_statuses),
                "exact": one.exact,
                "folder": None if one.folder is None else str(one.folder),
                "said": one.said,
            }
            for one in played
        ],
        "left_out": [{"scenario": plan.name, "needs": dict(docker_needs(plan))} for plan in left_out],
    }


def read_played(text: str) -> tuple[Played, ...]:
    """The runs that the JSON of a run of the pack tells of."""
    return tuple(
        Played(
            one["scenario"],
            one["verdict"],
            one["seconds"],
            tuple(one["handshakes"]),
            tuple(one["closes"]),
            tuple(one["exit_statuses"]),
            one["exact"],
            None if one["folder"] is None else Path(one["folder"]),
            one["said"],
        )
        for one in json.loads(text)["runs"]
    )


def progress_line(number: int, count: int, one: Played) -> str:
    """A run has ended: `12 of 32  syn-lost  pass  1.24 s`."""
    return f"{number:>{len(str(count))}} of {count}  {one.scenario}  {one.verdict}  {one.seconds:.2f} s"


def table_lines(played: Sequence[Played], style: Style) -> Iterable[str]:
    """Every run in a row, then those that didn't pass with what is known of them, then the counts."""
    rows = [HEAD, *map(_row, played)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(HEAD))]
    for number, row in enumerate(rows):
        cells = [
            f"{cell:>{width}}" if at == 2 else f"{cell:<{width}}"
            for at, (cell, width) in enumerate(zip(row, widths, strict=True))
        ]
        kind = "heading" if number == 0 else row[1]
        cells[1 if number else 0] = style.paint(kind, cells[1 if number else 0])
        yield "  ".join(cells).rstrip()
    yield ""
    for one in played:
        if one.verdict != "pass":
            where = f"; the run: {one.folder}" if one.folder else ""
            yield from style.wrapped(
                f"{one.said}{where}".removeprefix("; "), f"{one.scenario}: {one.verdict}: ", INDENT
            )
    counts = Counter(one.verdict for one in played)
    yield ", ".join(f"{counts[verdict]} {verdict}" for verdict in ("pass", "fail", "inconclusive") if counts[verdict])


def _row(one: Played) -> tuple[str, ...]:
    statuses = ", ".join("stopped" if status is None else str(status) for status in one.exit_statuses)
    words = (_counted(one.handshakes), _counted(one.closes), statuses or "–")
    return (one.scenario, one.verdict, f"{one.seconds:.2f}", *words)


def _counted(words: Sequence[str]) -> str:
    """Each word once, with how often: `complete ×2`."""
    counts = Counter(words)
    return ", ".join(word if count == 1 else f"{word} ×{count}" for word, count in counts.items()) or "–"


def left_out_lines(left_out: Sequence[Scenario], style: Style) -> Iterable[str]:
    """What the Docker backend can't play, and for which keys."""
    if left_out:
        yield f"left out, since docker can't play them: {plural(len(left_out), 'scenario')}"
    for plan in left_out:
        keys = ", ".join(dict.fromkeys(key for key, _ in docker_needs(plan)))
        yield from style.wrapped(printable(keys), f"  {plan.name}: ", INDENT)
