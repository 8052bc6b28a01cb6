"""What a failed comparison says: which fact it was about, what was found, which frames show it, and why it is so."""

from collections.abc import Iterator, Mapping
from itertools import zip_longest
from textwrap import wrap
from typing import Any

from analysis.text import listed, printable, without_commands
from grading.pytest_plugin.view import Entries, Number, Part, Real, Text, gist

MOST_FRAMES, MOST_FRAMES_VERBOSE = 3, 50
WIDTH = 116  # pytest itself cuts what is longer than 640 characters in all
INDENT = 12
MOST_NOTES = 2  # lines
MOST_DIFFERENCES = 4
EXPECTED = {
    "==": "{}",
    "!=": "anything but {}",
    "<": "less than {}",
    "<=": "at most {}",
    ">": "more than {}",
    ">=": "at least {}",
    "in": "one of {}",
    "not in": "none of {}",
}
MIRRORED = {"<": ">", "<=": ">=", ">": "<", ">=": "<=", "==": "==", "!=": "!="}
Fact = Text | Number | Real | Entries | Part


def explain(op: str, left: Any, right: Any, *, is_verbose: bool) -> list[str] | None:
    """The lines of a failed `left op right`; None if neither is a fact of a report."""
    if isinstance(left, Fact) and left.origin:
        head, fact, other, expected = f"{_path(left)} {op} {_name(right)}", left, right, EXPECTED.get(op, f"{op} {{}}")
    elif isinstance(right, Fact) and right.origin:
        mirrored = EXPECTED[MIRRORED[op]] if op in MIRRORED else f"{{}} {op} it"
        head, fact, other, expected = f"{_name(left)} {op} {_path(right)}", right, left, mirrored
    else:
        return None
    lines = [_row("found", _plain(fact)), _row("expected", expected.format(_name(other)))]
    if op == "==":
        lines = list(_differences(fact, other)) or lines
    return [_cut(head), *lines, *_shown_by(fact, other, MOST_FRAMES_VERBOSE if is_verbose else MOST_FRAMES)]


def _row(label: str, text: str) -> str:
    return _cut(f"  {label:<9} {text}")


def _cut(text: str) -> str:
    text = without_commands(printable(text))
    return text if len(text) <= WIDTH else text[: WIDTH - 1] + "…"


def _path(fact: Any) -> str:
    return fact.origin.path or "report"


def _name(value: Any) -> str:
    """A value as a test would write it; a fact with its path."""
    if isinstance(value, Fact) and value.origin:
        return f"{_path(value)} ({_plain(value)})"
    return _plain(value)


def _plain(value: Any) -> str:
    if isinstance(value, str) and "\n" in value:
        return f"a text of {len(value.splitlines())} lines"
    return gist(value) if isinstance(value, Part) else repr(value)


def _differences(fact: Any, other: Any) -> Iterator[str]:
    """Where two texts of several lines, or two parts, differ; nothing of other values."""
    if isinstance(fact, str) and isinstance(other, str) and "\n" in fact + other:
        pairs = zip_longest(fact.splitlines(), other.splitlines(), fillvalue="")
        number, (found, wanted) = next(
            ((number, pair) for number, pair in enumerate(pairs, 1) if pair[0] != pair[1]), (0, ("", ""))
        )
        if number:
            yield from (_row("found", f"line {number}: {found!r}"), _row("expected", f"line {number}: {wanted!r}"))
        else:
            yield _row("found", "the same lines, but they end differently: with, or without, an empty one")
    elif isinstance(fact, Part) and isinstance(other, Mapping):
        names = [name for name in dict.fromkeys((*fact, *other)) if not _is_alike(name, fact, other)]
        for name in names[:MOST_DIFFERENCES]:
            found, wanted = (_plain(side[name]) if name in side else "nothing" for side in (fact, other))
            yield _row(str(name), f"found {found}, expected {wanted}")


def _is_alike(name: str, fact: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    return name in fact and name in other and bool(fact[name] == other[name])


def _shown_by(fact: Any, other: Any, most: int) -> Iterator[str]:
    """Why the fact is so, where the analysis has a sentence on it, and the frames that show it."""
    source = fact.origin.source
    for number, line in enumerate(wrap(_note(fact), WIDTH - INDENT)[:MOST_NOTES]):
        yield _row("" if number else "why", line)
    frames = {*fact.origin.frames, *(other.origin.frames if isinstance(other, Fact) and other.origin else ())}
    if frames:
        yield _row("frame" if len(frames) == 1 else "frames", listed(tuple(frames)))
    for line in [source.lines[frame] for frame in sorted(frames) if frame in source.lines][:most]:
        yield _cut(f"    {line}")


def _note(fact: Any) -> str:
    path, beside, source = fact.origin.path, fact.origin.beside, fact.origin.source
    name = path.rpartition(".")[2]
    if name in ("variant", "kind") and path.endswith((".close.variant", "handshake.kind")):
        from analysis.views.phases import CLOSE_NOTES, OPENING_NOTES

        return CLOSE_NOTES.get(fact) or OPENING_NOTES.get(fact, "")
    if path.startswith("findings") and name == "status":
        return "; ".join(filter(None, (f"{beside['title']}? {beside['actual']}", beside["hint"])))
    if path == "verdict":
        return "; ".join(f"{one['rule']} {one['status']}: {one['actual']}" for one in _not_passed(beside["findings"]))
    frames = fact.origin.frames
    is_about_it = len(frames) == 1 or (path.startswith("lookup") and name in ("status", "rcode"))
    return source.sentences.get(frames[-1], "") if is_about_it else ""


def _not_passed(findings: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [one for one in findings if one["status"] in ("fail", "inconclusive")]
