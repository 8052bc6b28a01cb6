"""Where a key of a TOML text stands: tomllib doesn't say, and a complaint should.

Theory of operation: a text cut off between two statements is TOML, too, and each statement is TOML alone. So find where
the statements end: where the lines since the last end are TOML. The statement that gave a key is the one with which the
key first appears in what a longer and longer beginning of the text holds.
"""

import tomllib
from bisect import bisect_left
from collections.abc import Sequence
from typing import Any

Key = str | int
LONGEST = 2_000  # lines of a text that is searched
ENDS_OF_VALUES = ("]", "}", '"""', "'''")  # one of them stands on the last line of a value of several lines


def find_line(source: str, keys: Sequence[Key]) -> int | None:
    """The line, from 1, of the key under `keys` (indexes for lists); of the last of its tables if it isn't there.

    None for the file as a whole. In a list of several lines the line of the entry, if it is a text.
    """
    lines = source.replace("\r\n", "\n").split("\n")  # as TOML reads it
    wanted = keys[: _depth(tomllib.loads(source), keys)]
    if not wanted or len(lines) > LONGEST:
        return None
    ends = _statement_ends(lines)
    which = bisect_left(ends, len(wanted), key=lambda end: _depth(tomllib.loads("\n".join(lines[:end])), wanted))
    start = ends[which - 1] if which else 0
    return _first_of(lines, start, ends[which], _value(source, keys))


def _statement_ends(lines: Sequence[str]) -> list[int]:
    """The number of lines up to and with each statement (a blank line or comment is one, too)."""
    ends: list[int] = []
    start = 0
    for end, line in enumerate(lines, 1):
        may_end = end == start + 1 or any(sign in line for sign in ENDS_OF_VALUES)
        if may_end and _is_whole(lines[start:end]):
            ends.append(end)
            start = end
    return ends


def _is_whole(lines: Sequence[str]) -> bool:
    try:
        tomllib.loads("\n".join(lines))
    except tomllib.TOMLDecodeError:
        return False
    return True


def _depth(value: Any, keys: Sequence[Key]) -> int:
    """How many of `keys` lead somewhere, one after the other."""
    for depth, key in enumerate(keys):
        try:
            value = value[key]
        except (KeyError, IndexError, TypeError):
            return depth
    return len(keys)


def _value(source: str, keys: Sequence[Key]) -> Any:
    value: Any = tomllib.loads(source)
    for key in keys[: _depth(value, keys)]:
        value = value[key]
    return value


def _first_of(lines: Sequence[str], start: int, end: int, value: Any) -> int:
    """The line of a statement on which `value` stands, or its first that isn't blank or a comment; from 1."""
    if isinstance(value, str) and value and end - start > 1:
        for number in range(start, end):
            if value in lines[number] and not lines[number].lstrip().startswith("#"):
                return number + 1
    full = (
        number for number in range(start, end) if lines[number].strip() and not lines[number].strip().startswith("#")
    )
    return next(full, start) + 1
