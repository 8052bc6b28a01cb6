"""What is said of a mismatch: one line, and both sequences side by side around the first difference."""

import re
from collections.abc import Iterator, Sequence
from itertools import zip_longest
from typing import NamedTuple

from analysis.expect.events import Event
from analysis.expect.fields import FLAGS, KIND, SENDER, TOOK, TYPE, WAIT, Difference, differences, meets, seconds
from analysis.expect.match import Awaited, Mismatch
from analysis.expect.pattern import LookupPattern, PatternLine, SegmentPattern
from analysis.sequence import line_text
from analysis.text import listed, printable
from analysis.views.style import columns, wrap

WIDTH = 76  # columns of the table: a terminal's eighty, behind an indent of four
CONTEXT_BEFORE, CONTEXT_AFTER = 3, 3
MOST_ROWS = 3  # of one cell
MOST_ALTERNATIVES = 8
END = "(the end)"
NOTHING = ("", "–")
TIED = "\N{NO-BREAK SPACE}"
JOINED = re.compile(r"\b(ack|after|took) (?=\S+)")  # a word and its number stay together


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


def explain_mismatch(events: Sequence[Event], mismatch: Mismatch) -> Explained:
    """The first difference between `events` and what is expected; all of it is printable."""
    event = events[mismatch.position] if mismatch.position < len(events) else None
    nearest = min(mismatch.awaited, key=lambda one: _distance(event, one.line))
    unlike = [] if event is None or nearest.line is None else list(differences(event, nearest.line))
    is_alike = not {one.field for one in unlike} & {KIND, SENDER, FLAGS, TYPE}
    slip = _slip(mismatch, events, nearest, is_alike=is_alike)
    rows = _rows(mismatch, events, nearest, slip)
    said = [slip.text] if slip.text else []
    if unlike and is_alike:
        said.append(f"differs: {'; '.join(map(str, unlike))}")
    told = [part for text in said for part in wrap(printable(text), WIDTH, "", "  ")]
    frames = _frames(events, min(mismatch.position, len(events) - 1)) if events else ()
    details = (*_table(rows), *told, *_alternatives(mismatch.awaited))
    return Explained(printable(_actual(events, mismatch, nearest, unlike)), details, frames)


def _alternatives(awaited: Sequence[Awaited]) -> list[str]:
    """`would have matched: …`, a line each if there are several."""
    texts = list(dict.fromkeys(_awaited(one) for one in awaited))
    if len(texts) == 1:
        return wrap(printable(f"would have matched: {texts[0]}"), WIDTH, "", "  ")
    shown = texts[:MOST_ALTERNATIVES]
    more = [f"and {len(texts) - len(shown)} more"] if len(texts) > len(shown) else []
    return [
        "would have matched:",
        *(part for text in (*shown, *more) for part in wrap(printable(text), WIDTH, "  ", "    ")),
    ]


class _Slip(NamedTuple):
    """Where one side has lines more: in words; how many of the found lines, or of the expected ones, stand alone."""

    text: str = ""
    found_alone: int = 0
    expected_alone: int = 0


def _slip(mismatch: Mismatch, events: Sequence[Event], nearest: Awaited, *, is_alike: bool) -> _Slip:
    """Whether found lines are too many, or the expected one is missing; as far as the next lines tell.

    `is_alike`: the found line may well be the expected one, with a field that differs.
    """
    position, wanted = mismatch.position, nearest.line
    if wanted is None or position == len(events):
        return _Slip()
    event, near = events[position], range(position + 1, min(len(events), position + 1 + CONTEXT_AFTER))
    later = next((index for index in near if meets(events[index], wanted)), None)
    follows = _met(mismatch.behind(nearest), event)
    if later is not None and follows:
        return _Slip(f"in another order: {_where(events[later], later + 1)} is what line {wanted.number} expects")
    if follows:
        text = f"one is missing: {_where(event, position + 1)} is what line {follows.number} expects"
        return _Slip(text, expected_alone=1)
    if later is not None and (later == position + 1 or not is_alike):
        more = "one" if later == position + 1 else str(later - position)
        text = f"{more} more: {_where(events[later], later + 1)} is what line {wanted.number} expects"
        return _Slip(text, found_alone=later - position)
    return _Slip()


def _met(awaited: Sequence[Awaited], event: Event) -> PatternLine | None:
    """The first line among those awaited that the event is."""
    return next((one.line for one in awaited if one.line and meets(event, one.line)), None)


def _distance(event: Event | None, line: PatternLine | None) -> float:
    """How unlike the event and the line are, for choosing the one that was probably meant."""
    if event is None:
        return 0
    if line is None:
        return 50
    weights = {KIND: 100, SENDER: 20, FLAGS: 10, TYPE: 10}
    return sum(weights.get(one.field, 1) for one in differences(event, line))


def _awaited(one: Awaited) -> str:
    return "the end" if one.line is None else f"`{one.line.text}`"


def _actual(events: Sequence[Event], mismatch: Mismatch, nearest: Awaited, unlike: list[Difference]) -> str:
    wanted = _awaited(nearest)
    more = len({_awaited(one) for one in mismatch.awaited}) - 1
    others = f", or {more} other{'s' if more > 1 else ''}" if more else ""
    if mismatch.position == len(events):
        where = f"the end after {_where(events[-1], len(events))}" if events else "nothing at all"
        return f"{where}, instead of {wanted}{others}"
    event = events[mismatch.position]
    found = _found(event)
    where = _where(event, mismatch.position + 1, _frames(events, mismatch.position))
    if len(unlike) == 1 and unlike[0].field in (WAIT, TOOK):
        word, came = ("after", "came after") if unlike[0].field == WAIT else ("took", "took")
        if unlike[0].found.startswith("none"):
            return f"{where}: `{found}` has no time `{word} {unlike[0].wanted}`: {unlike[0].found}"
        return f"{where}: `{found}` {came} {unlike[0].found} instead of `{word} {unlike[0].wanted}`"
    return f"{where}: `{found}` instead of {wanted}{others}"


def _frames(events: Sequence[Event], position: int) -> tuple[int, ...]:
    """The frames of an event; of a `connection N`, which has none, the first of the connection."""
    event = events[position]
    return event.frames or events[position + 1].frames if position + 1 < len(events) else event.frames


def _where(event: Event, number: int, frames: tuple[int, ...] = ()) -> str:
    frames = event.frames or frames
    if not frames:
        return f"line {number} of those found"
    return f"frame{'s' if len(frames) > 1 else ''} {listed(frames)}"


def _found(event: Event) -> str:
    return " ".join(line_text(event.line).split())


# --- the table ---


def _rows(mismatch: Mismatch, events: Sequence[Event], nearest: Awaited, slip: _Slip) -> list[_Row]:
    position = mismatch.position
    before = nearest.before(CONTEXT_BEFORE)
    matched = zip(before, events[position - len(before) : position], strict=True)
    rows = [_Row(*_left(line), "", *_right(event)) for line, event in matched]
    right = _found_from(events, position, nearest)
    level = position + 1 + slip.found_alone - slip.expected_alone  # where what comes behind the expected line stands
    left = map(_left, [nearest.line, *_onward(mismatch, events[level:], nearest)])
    lefts = [*[NOTHING] * slip.found_alone, *left]
    right = [*[NOTHING] * slip.expected_alone, *right]
    both = zip_longest(lefts[: 1 + CONTEXT_AFTER], right[: 1 + CONTEXT_AFTER], fillvalue=("", ""))
    for index, ((number, wanted), (frame, found)) in enumerate(both):
        rows.append(_Row(number, wanted, "" if index else "≠", frame, found))
    return rows


def _found_from(events: Sequence[Event], position: int, nearest: Awaited) -> list[tuple[str, str]]:
    """The found lines from the first difference on; of that one, with the time that was asked for."""
    shown = events[position : position + 1 + CONTEXT_AFTER]
    cells = [_right(event) for event in shown]
    if shown:
        cells[0] = cells[0][0], cells[0][1] + _time(shown[0], nearest.line)
    return cells if len(shown) > CONTEXT_AFTER else [*cells, ("", END)]


def _onward(mismatch: Mismatch, events: Sequence[Event], one: Awaited) -> Iterator[PatternLine | None]:
    """The lines that would be expected next: those that come, if they may, else the first in the text."""
    for index in range(CONTEXT_AFTER):
        awaited = mismatch.behind(one)
        if not awaited:
            return
        event = events[index] if index < len(events) else None
        one = min(awaited, key=lambda other: _distance(event, other.line))
        yield one.line


def _left(line: PatternLine | None) -> tuple[str, str]:
    return (str(line.number), line.text) if line else ("", END)


def _right(event: Event) -> tuple[str, str]:
    return _frame(event), _found(event)


def _time(event: Event, line: PatternLine | None) -> str:
    """The measured time, where the pattern asks for one."""
    if line is None:
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
    lines = [line.replace(TIED, " ") for line in wrap(JOINED.sub(rf"\1{TIED}", printable(text)), width, "", "  ")]
    if len(lines) > MOST_ROWS:
        lines = [*lines[: MOST_ROWS - 1], wrap(lines[MOST_ROWS - 1], width - 1)[0] + "…"]
    return lines
