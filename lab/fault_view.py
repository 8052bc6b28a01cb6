"""What the wire did to a run's frames, for people."""

from collections.abc import Iterator, Mapping
from typing import Any

MOST_SHOWN = 5


def fault_lines(facts: Mapping[str, Any]) -> Iterator[str]:
    """A line for each fault that hit a frame: which ones, by their number in the capture where they have one."""
    hits = facts.get("hits", ())
    for index, fault in enumerate(facts.get("faults", ())):
        frames = [_frame(hit) for hit in hits if hit["fault"] == index]
        if frames:
            more = f" and {fault['hits'] - MOST_SHOWN} more" if fault["hits"] > MOST_SHOWN else ""
            yield f"the wire: {fault['fault']}: {', '.join(frames[:MOST_SHOWN])}{more}"


def _frame(hit: Mapping[str, Any]) -> str:
    number = hit["captured_as"]
    return f"frame {number}" if number else f"on its way to the client after {hit['seconds']:.3f} s"
