"""Paths to facts of a report: `connection.close.variant`, `segments[from=server][flags~FIN].raw_seq`.

A path begins with a part of report.json or one of the shortcuts of `grading.facts.facts`. Selectors: `[0]` and `[-1]`
count entries, `[key=value]` keeps those whose key has the value, `[key~word]` those whose comma-separated words have
it. A name behind a list is its first entry's.
"""

import re
from dataclasses import dataclass

from analysis.errors import InputError

NAME = re.compile(r"[a-z_]+")
SELECTOR = re.compile(r"\[(?:(-?\d{1,6})|([a-z_]+)([=~])([^\[\]]{1,100}))\]")
LONGEST = 200
EXAMPLES = "connection.close.variant, lookups[0].status, segments[from=server][flags~FIN].raw_seq"


@dataclass(frozen=True, slots=True)
class Place:
    """An entry of a list, by its number; from the end if that is negative."""

    number: int


@dataclass(frozen=True, slots=True)
class Where:
    """The entries whose `key` is `value`, or, if `is_word`, has it among its comma-separated words."""

    key: str
    value: str
    is_word: bool


Step = str | Place | Where


@dataclass(frozen=True, slots=True)
class FactPath:
    """A checked path: names and selectors in order; the first is a name."""

    text: str
    steps: tuple[Step, ...]

    @property
    def last(self) -> str:
        """The name of the fact itself."""
        return next(step for step in reversed(self.steps) if isinstance(step, str))


def parse_path(text: str) -> FactPath:
    """Read a path; `InputError` says from where on it can't be read.

    Whether it leads anywhere is `grading.facts.schema`'s to say.
    """
    steps: list[Step] = []
    at = 0
    while at < len(text) <= LONGEST:
        found = SELECTOR.match(text, at) if steps else None
        if found:
            steps.append(Place(int(found[1])) if found[1] else Where(found[2], found[4], found[3] == "~"))
            at = found.end()
            continue
        dot = 1 if steps and text[at] == "." else 0
        name = NAME.match(text, at + dot) if dot or not steps else None
        if not name:
            break
        steps.append(name[0])
        at = name.end()
    if not steps or at < len(text) or not text.isprintable():
        raise InputError(f"{text[:60]!r} is no path to a fact (from {text[at : at + 20]!r} on)", f"such as {EXAMPLES}")
    return FactPath(text, tuple(steps))


def mirrored(path: FactPath) -> FactPath | None:
    """The same fact of the other side, where the path names one."""
    swapped = re.sub(r"client|server", lambda found: "server" if found[0] == "client" else "client", path.text)
    return None if swapped == path.text else parse_path(swapped)


def with_last(path: FactPath, name: str) -> FactPath:
    """The path to the fact `name` beside that of `path`."""
    at = path.text.rindex(path.last)
    return parse_path(path.text[:at] + name + path.text[at + len(path.last) :])
