"""A summary as terminal text and as JSON (`handshake-lab/summary/1`)."""

from collections.abc import Mapping
from typing import Any

from analysis.summary import Summary
from analysis.text import plural, printable, without_commands
from analysis.views.json import capture_values
from analysis.views.style import Style

SCHEMA = "handshake-lab/summary/1"
LABEL = 14


def render_summary(summary: Summary, style: Style) -> str:
    """Counts by status, variant and kind, a line each."""
    capture = summary.capture
    values = capture_values(capture, summary.others)
    head = f"{printable(capture.path)}: {capture.format}, {plural_of(len(capture.frames), 'frame')}"
    lines = style.wrapped(head)
    if len(capture.frames):
        lines += style.wrapped(f"{values['first_time']} to {values['last_time']}", "  ", "  ")
    lines += _counts(style, "neither UDP nor TCP", summary.others)
    for problem in values["problems"]:
        lines += style.wrapped(printable(problem), style.paint("inconclusive", "! "), "  ")
    lines += ["", style.paint("heading", plural_of(summary.lookup_count, "lookup"))]
    lines += _counts(style, "outcome", summary.lookups)
    lines += _counts(style, "type", summary.types)
    lines += _counts(style, "", {"asked more than once": summary.retried} if summary.retried else {})
    lines += ["", style.paint("heading", plural_of(summary.connection_count, "connection"))]
    lines += _counts(style, "handshake", summary.handshakes)
    lines += _counts(style, "opening", summary.openings)
    lines += _counts(style, "close", summary.closes)
    lines += _counts(style, "first to close", summary.first_closers)
    lines += _counts(style, "beside it", summary.facts)
    lines += ["", style.paint("heading", plural_of(sum(summary.events.values()), "event"))]
    lines += _counts(style, "kind", summary.events)
    return without_commands("\n".join(lines) + "\n")


def summary_to_json(summary: Summary) -> dict[str, Any]:
    """The same as plain values."""
    return {
        "schema": SCHEMA,
        "capture": capture_values(summary.capture, summary.others),
        "lookups": {
            "count": summary.lookup_count,
            "status": summary.lookups,
            "type": summary.types,
            "retried": summary.retried,
        },
        "connections": {
            "count": summary.connection_count,
            "handshake": {"status": summary.handshakes, "kind": summary.openings},
            "close": {"variant": summary.closes, "first_closer": summary.first_closers, "facts": summary.facts},
            "events": summary.events,
        },
    }


def plural_of(count: int, noun: str) -> str:
    """`1 frame`, `1,000,000 frames`: thousands apart, since a summary counts many."""
    return plural(count, noun).replace(str(count), f"{count:,}")


def _counts(style: Style, label: str, counts: Mapping[str, int]) -> list[str]:
    if not counts:
        return []
    text = ", ".join(f"{printable(name)} {count:,}" for name, count in counts.items())
    first = f"  {label:<{LABEL}}  "
    return style.wrapped(text, first, " " * (LABEL + 4))
