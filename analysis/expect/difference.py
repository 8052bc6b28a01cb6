"""What is said of a mismatch: one line, and both sequences side by side around the first difference."""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from analysis.expect.events import Event
from analysis.expect.fields import KIND, Difference, differences, seconds
from analysis.expect.match import Awaited, Mismatch
from analysis.expect.pattern import Expectation, LookupPattern, PatternLine, SegmentPattern
from analysis.sequence import line_text
from analysis.text import listed, printable, some
from analysis.views.style import columns, wrap

WIDTH = 76  # columns of the table: a terminal's eighty, behind an indent of four
CONTEXT_BEFORE, CONTEXT_AFTER = 3, 3
MOST_ROWS = 3  # of one cell
MOST_ALTERNATIVES = 8
END = "(the end)"


class Explained(NamedTuple):
    """A mismatch in words: `actual` is one line, `details` a table of at most `WIDTH` columns and what follows it."""

    actual: str
    details: tuple[str, ...]
    frames: tuple[int, ...]


class _Row(NamedTuple):
    number: str
    expected: str
    mark: str
    frame: str
    found: str


def explain_mismatch(expectation: Expectation, events: Sequence[Event], mismatch: Mismatch) -> Explained:
    """The first difference between `events` and what is expected; all of it is printable."""
    event = events[mismatch.position] if mismatch.position < len(events) else None
    nearest = min(mismatch.awaited, key=lambda one: _distance(event, one.line))
    unlike = [] if event is None or nearest.line is None else list(differences(event, nearest.line))
    rows = _rows(expectation, events, mismatch.position, nearest)
    fields = [one for one in unlike if one.field != KIND]
    said = [f"differs: {'; '.join(map(str, fields))}"] if fields and _is_alike(fields) else []
    said.append("would have matched: " + some([_awaited(one) for one in mismatch.awaited], MOST_ALTERNATIVES, "; "))
    details = (*_table(rows), *(part for text in said for part in wrap(printable(text), WIDTH, "", "  ")))
    shown = events[mismatch.position : mismatch.position + 1] or events[-1:]
    frames = tuple(frame for one in shown for frame in one.frames)
    return Explained(printable(_actual(events, mismatch, nearest, unlike)), details, frames)


def _distance(event: Event | None, line: PatternLine | None) -> float:
    """How unlike the event and the line are, for choosing the one that was probably meant."""
    if event is None:
        return 0
    if line is None:
        return 50
    weights = {KIND: 100, "the sender": 20, "flags": 10, "the type": 10}
    return sum(weights.get(one.field, 1) for one in differences(event, line))


def _is_alike(fields: Iterable[Difference]) -> bool:
    """Whether what differs are details: a segment of another side or kind differs in everything."""
    return not {field.field for field in fields} & {"the sender", "flags", "the type"}


def _awaited(one: Awaited) -> str:
    return "the end" if one.line is None else f"`{one.line.text}`"


def _actual(events: Sequence[Event], mismatch: Mismatch, nearest: Awaited, unlike: list[Difference]) -> str:
    wanted = _awaited(nearest)
    more = len(mismatch.awaited) - 1
    others = f", or {more} other{'s' if more > 1 else ''}" if more else ""
    if mismatch.position == len(events):
        where = f"the end after {_where(events[-1], len(events))}" if events else "nothing at all"
        return f"{where}, instead of {wanted}{others}"
    event = events[mismatch.position]
    found = _found(event)
    where = _where(event, mismatch.position + 1)
    if len(unlike) == 1 and unlike[0].wanted.startswith(("after ", "took ")):
        return f"{where}: `{found}` {_measured(unlike[0])} instead of `{unlike[0].wanted}`"
    return f"{where}: `{found}` instead of {wanted}{others}"


def _measured(difference: Difference) -> str:
    return difference.found if difference.found.startswith("took") else f"came {difference.found}"


def _where(event: Event, number: int) -> str:
    if not event.frames:
        return f"line {number}"
    return f"frame{'s' if len(event.frames) > 1 else ''} {listed(event.frames)}"


def _found(event: Event) -> str:
    return " ".join(line_text(event.line).split())


# --- the table ---


def _rows(expectation: Expectation, events: Sequence[Event], position: int, nearest: Awaited) -> list[_Row]:
    before = nearest.before(CONTEXT_BEFORE)
    rows = [
        _row(line, event)
        for line, event in zip(before, events[position - len(before) : position], strict=True)
        if line is not None
    ]
    event = events[position] if position < len(events) else None
    first = _row(nearest.line, event, "≠")
    rows.append(first._replace(found=first.found + _time(event, nearest.line)))
    last = nearest.line.number if nearest.line else len(expectation.source)
    left = _source_after(expectation, last)
    right = [(_frame(one), _found(one)) for one in events[position + 1 : position + 1 + CONTEXT_AFTER]]
    for index in range(max(len(left), len(right))):
        number, text = left[index] if index < len(left) else ("", "")
        rows.append(_Row(number, text, "", *(right[index] if index < len(right) else ("", ""))))
    return rows


def _row(line: PatternLine | None, event: Event | None, mark: str = "") -> _Row:
    number, expected = (str(line.number), line.text) if line else ("", END)
    frame, found = (_frame(event), _found(event)) if event else ("", END)
    return _Row(number, expected, mark, frame, found)


def _time(event: Event | None, line: PatternLine | None) -> str:
    """The measured time, where the pattern asks for one."""
    if event is None or line is None:
        return ""
    if isinstance(line.pattern, SegmentPattern) and line.pattern.after and event.after_ns is not None:
        return f" after {seconds(event.after_ns)}"
    took = [one for one in event.took_ns if one is not None]
    return (
        f" took {seconds(max(took))}" if isinstance(line.pattern, LookupPattern) and line.pattern.took and took else ""
    )


def _frame(event: Event) -> str:
    text = listed(event.frames)
    return text if len(text) <= 7 else f"{event.frames[0]}…"


def _source_after(expectation: Expectation, number: int) -> list[tuple[str, str]]:
    """The lines of the text that come next, as they stand there."""
    lines = enumerate(expectation.source.split("\n"), 1)
    texts = ((count, " ".join(line.split())) for count, line in lines if count > number)
    kept = [(str(count), text) for count, text in texts if text and not text.startswith("#")]
    return kept[:CONTEXT_AFTER]


def _table(rows: list[_Row]) -> list[str]:
    numbers = max(len("line"), *(len(row.number) for row in rows))
    frames = max(len("frame"), *(columns(row.frame) for row in rows))
    cell = (WIDTH - numbers - frames - 7) // 2  # two blanks behind each number, and a mark with a blank at each side
    head = _Row("line", "expected", "", "frame", "found")
    return [line for row in (head, *rows) for line in _printed(row, numbers, cell, frames)]


def _printed(row: _Row, numbers: int, cell: int, frames: int) -> list[str]:
    left, right = _cell(row.expected, cell), _cell(row.found, cell)
    lines: list[str] = []
    for index in range(max(len(left), len(right))):
        number, mark, frame = (row.number, row.mark, row.frame) if index == 0 else ("", "", "")
        one = left[index] if index < len(left) else ""
        other = right[index] if index < len(right) else ""
        padding = " " * (cell - columns(one))
        gap = " " * (frames - columns(frame))
        lines.append(f"{number:>{numbers}}  {one}{padding} {mark or ' '} {gap}{frame}  {other}".rstrip())
    return lines


def _cell(text: str, width: int) -> list[str]:
    lines = wrap(printable(text), width, "", "  ")
    if len(lines) > MOST_ROWS:
        lines = [*lines[: MOST_ROWS - 1], wrap(lines[MOST_ROWS - 1], width - 1)[0] + "…"]
    return lines
