"""Answers: what a student wrote into answers.toml, beside what his own capture says."""

import re
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import replace
from ipaddress import ip_address
from typing import Any

from analysis.text import listed, printable
from grading.exercise.model import Points, Question
from grading.facts.facts import Facts
from grading.marking.grade import WHOLE, Result
from grading.marking.slips import SLIPS, Asked, Slip, diagnose, other_form

INTEGER = re.compile(r"[+-]?(?:0[xX][0-9a-fA-F]{1,16}|\d{1,20})", re.ASCII)
SEPARATORS = re.compile(r"(?<=\d)[ _,'’\u00a0\u202f](?=\d{3}(?!\d))", re.ASCII)  # 2,718,281,828
QUANTITY = re.compile(r"([+-]?\d{1,15}(?:\.\d{1,15})?)\s*(s|ms|us|µs|μs)?", re.ASCII)
UNITS = {None: 1.0, "s": 1.0, "ms": 1e-3}  # the rest are microseconds
RANGE = re.compile(r"(\d{1,9})\s*(?:[-–…]|\.\.)\s*(\d{1,9})", re.ASCII)
WORDS = {"true": True, "yes": True, "false": False, "no": False}
LONGEST_LIST, LONGEST_SHOWN = 1_000, 80
HALF_NS = 0.5e-9  # times are nanoseconds in the capture; what arithmetic in seconds loses is less
TOO_LONG = "a number of more than 64 bits"
UNREADABLE = object()


def check_answer(question: Question, points: Points, answers: Mapping[str, Any], key: str, facts: Facts) -> Result:
    """Whether the answer under `key` is what the capture says; if not, what slip it looks like."""
    value = facts.at(question.path)
    frames = facts.frames_at(question.path)
    if key not in answers:
        return Result("fail", _shown(value), "no answer", frames, f"write {key} = … into your answers", is_secret=True)
    written = answers[key]
    if value is None or value == []:
        found = f"the capture doesn't show what was asked for; the answer was {_shown(written)}"
        return Result("inconclusive", "(not in the capture)", found, hint=WHOLE, is_secret=True)
    result = Result("fail", _shown(value), _shown(written), frames, is_secret=True)
    if _is_text(written) and _word(written) in map(_word, question.accept):
        return replace(result, status="pass")
    answer = _read(written, value)
    if answer is UNREADABLE:
        return replace(result, hint=f"write it as {_kind(value)}")
    asked = Asked(question.path, value, facts)
    if _is_right(question, asked, answer):
        return replace(result, status="pass")
    return _wrong(question, points, asked, answer, result, written)


def _is_right(question: Question, asked: Asked, answer: Any) -> bool:
    if question.either_form and asked.is_number and answer == other_form(asked):
        return True
    value = asked.value
    if isinstance(value, int | float) and not isinstance(value, bool):
        slack = HALF_NS if isinstance(value, float) else 0.0
        return bool(abs(answer - value) <= question.tolerance + slack)
    if isinstance(value, list):
        return _counted(answer) == _counted(value)
    return bool(answer == (_word(value) if isinstance(value, str) else value))


def _counted(entries: list[Any]) -> Counter[Any]:
    """The entries, in no order, each as often as it comes: one that is written twice is one too many."""
    return Counter(_word(entry) if isinstance(entry, str) else _plain(entry) for entry in entries)


def _wrong(question: Question, points: Points, asked: Asked, answer: Any, result: Result, written: Any) -> Result:
    if isinstance(asked.value, list):
        right, given = _counted(asked.value), _counted(answer)
        part = (right & given).total() / (right | given).total()
        slip = Slip("partly", SLIPS["partly"]) if part else None
        share = part if question.partial else 0.0
    else:
        slip, share = diagnose(asked, answer, written), 0.0
    if slip and points:
        share = max(share, dict(question.slips).get(slip.name, 0) / points)
    return result if slip is None else replace(result, slip=slip.name, hint=slip.text, share=min(1.0, share))


def _read(written: Any, value: Any) -> Any:
    """The answer as the kind of value that `value` is; UNREADABLE where it isn't one."""
    if isinstance(value, bool):
        found = WORDS.get(_word(written)) if isinstance(written, str) else written
        return found if isinstance(found, bool) else UNREADABLE
    if isinstance(value, int):
        return _integer(written)
    if isinstance(value, float):
        return _quantity(written)
    if isinstance(value, list):
        return _list(written, value[0])
    return _word(written) if _is_text(written) else UNREADABLE


def _is_text(written: Any) -> bool:
    """Whether it can be meant as a text: TOML doesn't ask for quotes around a number."""
    return isinstance(written, str | int | float) and not isinstance(written, bool)


def _integer(written: Any) -> Any:
    """A whole number: decimal or hexadecimal, as a number or as a text."""
    if isinstance(written, float) and written.is_integer():
        return int(written)
    if isinstance(written, int) and not isinstance(written, bool):
        return written
    text = SEPARATORS.sub("", written.strip()) if isinstance(written, str) and len(written) < LONGEST_SHOWN else ""
    return int(text, 16 if "x" in text.lower() else 10) if INTEGER.fullmatch(text) else UNREADABLE


def _quantity(written: Any) -> Any:
    """A number, or a time with its unit, in seconds."""
    if isinstance(written, int | float) and not isinstance(written, bool):
        return float(written) if abs(written) < 1 << 64 else UNREADABLE
    found = QUANTITY.fullmatch(written.strip()) if isinstance(written, str) and len(written) < LONGEST_SHOWN else None
    return float(found[1]) * UNITS.get(found[2], 1e-6) if found else UNREADABLE


def _list(written: Any, like: Any) -> Any:
    """A list, or a text with its entries between commas; of frames, `7-9` stands for three."""
    entries = [written] if isinstance(written, int | float) else written
    if isinstance(written, str):
        entries = re.split(r"[,;\s]+", RANGE.sub(r"\1-\2", written).strip(" \t\n,;"))
    if not isinstance(entries, list) or len(entries) > LONGEST_LIST:
        return UNREADABLE
    read: list[Any] = []
    for entry in entries:
        span = RANGE.fullmatch(entry) if isinstance(entry, str) and isinstance(like, int) else None
        if span:
            first, last = int(span[1]), int(span[2])
            read += range(first, min(last, first + LONGEST_LIST) + 1)
        else:
            read.append(_read(entry, like))
        if len(read) > LONGEST_LIST or read[-1:] == [UNREADABLE]:
            return UNREADABLE
    return read


def _word(text: Any) -> str:
    """A text as it is compared: without case, spare blanks, an article or a last dot; addresses in their usual form."""
    tidy = " ".join(_plain(text).split()).casefold().removesuffix(".").removeprefix("the ")
    try:
        return str(ip_address(tidy))
    except ValueError:
        return tidy


def _kind(value: Any) -> str:
    if isinstance(value, bool):
        return "true or false"
    if isinstance(value, int):
        return "a whole number, such as 1234 or 0x4d2"
    if isinstance(value, float):
        return 'a number of seconds, such as 0.0415, or a text such as "41.5 ms"'
    return "a list, such as [7, 8, 9]" if isinstance(value, list) else 'a text, such as "client"'


def _shown(value: Any) -> str:
    """A value of the report, or of the student's file, as a person reads it."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, list) and value and all(isinstance(entry, int) for entry in value):
        return (
            listed(tuple(value[:LONGEST_LIST])) if all(0 < entry < 1 << 31 for entry in value) else _cut(_plain(value))
        )
    if isinstance(value, Iterable) and not isinstance(value, str):
        return _cut(_plain(value))
    if isinstance(value, int) and 1 << 16 <= abs(value) < 1 << 64:
        return _cut(f"{value} ({value:#x})")
    return _cut(_plain(value))


def _plain(value: Any) -> str:
    """`value` as a text; Python writes no number of more than 4,300 digits, and TOML reads one in hexadecimal."""
    try:
        return TOO_LONG if isinstance(value, int) and abs(value) >= 1 << 64 else str(value)
    except ValueError:
        return TOO_LONG
    except RecursionError:
        return "tables within tables"


def _cut(text: str) -> str:
    text = printable(text) if text.strip() else f"{text!r}"  # or it would look as if nothing was found
    return text if len(text) <= LONGEST_SHOWN else text[: LONGEST_SHOWN - 1] + "…"
