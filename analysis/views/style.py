"""How terminal text looks: its width, its colours, its wrapping. Knows nothing of reports, so it is loaded at once."""

import shutil
import textwrap
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
        return textwrap.wrap(
            text,
            self.width,
            initial_indent=first,
            subsequent_indent=rest,
            break_on_hyphens=False,
            drop_whitespace=True,
        )


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
