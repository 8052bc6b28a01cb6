"""The ladder of a fetch: who sent what to whom, as rows that every output can draw."""

from typing import NamedTuple

from analysis.report import Report
from analysis.views.phases import phases

MOST_ROWS = 40
LONGEST = 120


class Row(NamedTuple):
    """A step of the ladder: who sends what to whom."""

    sender: str
    receiver: str
    text: str
    frame: int


def ladder(report: Report | None) -> tuple[Row, ...]:
    """The rows of the chosen story, the first of them where there are many; none without a report."""
    if report is None:
        return ()
    rows = [row for phase in phases(report) for row in phase.rows]
    shown = [
        Row(*((row.left, row.right) if row.from_left else (row.right, row.left)), row.packet[:LONGEST], row.frame)
        for row in rows[:MOST_ROWS]
    ]
    more = len(rows) - len(shown)
    return (*shown, *([Row("client", "client", f"and {more} more", 0)] if more else []))
