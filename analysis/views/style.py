"""How terminal text looks: its width, its colours, its wrapping. Knows nothing of reports, so it is loaded at once."""

import shutil
import unicodedata
from dataclasses import dataclass

FIRST_COMBINING = "\u0300"  # every character before it takes one column
COLOURS = {"pass": "32", "fail": "31", "skip": "2", "inconclusive": "33", "heading": "1", "dim": "2"}


@dataclass(frozen=True, slots=True)
class Style:
    """How to print: `width` in columns, or None for lines of any length; `colour` with ANSI escapes."""

    width: int | None = None
    colour: bool = False

    def paint(self, kind: str, text: str) -> str:
        return f"\x1b[{COLOURS[kind]}m{text}\x1b[0m" if self.colour and text else text

    def wrapped(self, text: str, first: str = "", rest: str = "") -> list[str]:
        """`text` behind the indent `first`, its further lines behind `rest`."""
        if self.width is None or columns(first + text) <= self.width:
            return [first + text]
        return wrap(text, self.width, first, rest)


def wrap(text: str, width: int, first: str = "", rest: str = "") -> list[str]:
    """`text` in lines of at most `width` columns: cut at blanks, which go, or within a word that no line could hold.

    Unlike `textwrap`, which counts characters: some of them take two columns, or none.
    """
    lines, indent, at = list[str](), first, 0
    while (end := _end(text, at, width - columns(indent))) < len(text):
        cut = text.rfind(" ", at, end + 1)
        if cut <= at or text[at:cut].isspace():
            cut = end
        lines.append(indent + text[at:cut].rstrip())
        while cut < len(text) and text[cut] == " ":
            cut += 1
        indent, at = rest, cut
    return lines if lines and at == len(text) else [*lines, indent + text[at:]]


def _end(text: str, at: int, room: int) -> int:
    """Where what fits into `room` columns ends: behind one character at least."""
    if text.isascii():
        return at + max(1, room)
    for end in range(at, len(text)):
        room -= _width(text[end]) if text[end] >= FIRST_COMBINING else 1
        if room < 0:
            return max(end, at + 1)
    return len(text)


def columns(text: str) -> int:
    """How many terminal columns `text` takes."""
    if text.isascii():
        return len(text)
    rare = [char for char in text if char >= FIRST_COMBINING]
    return len(text) + sum(_width(char) - 1 for char in rare)


def _width(char: str) -> int:
    return 0 if unicodedata.combining(char) else 1 + (unicodedata.east_asian_width(char) in "WF")


def terminal_width() -> int:
    """The width of the terminal this runs in, at least 40."""
    return max(40, shutil.get_terminal_size((80, 24)).columns)
