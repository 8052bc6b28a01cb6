"""The rubric of an exercise file: its items, and the questions of one that asks for answers."""

import difflib
import math
import re
from collections.abc import Callable, Iterator
from typing import Any

from analysis.errors import InputError
from analysis.expect.parse import parse_expectation
from analysis.rules.judge import RULES
from grading.exercise.model import (
    GATES,
    VISIBILITIES,
    Item,
    Kind,
    Points,
    Question,
    RuleCheck,
    SequenceCheck,
    Value,
    Visibility,
    Wanted,
)
from grading.facts.path import FactPath, parse_path
from grading.facts.schema import check_path, kinds_at
from grading.marking.slips import ISNS, RAW_OF, RELATIVE_OF, SLIPS
from lab.toml.table import Table, shown
from lab.toml.values import line, one_of, text, truth

ID = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,38}[a-z0-9])?")
RULE_IDS = tuple(rule.id for rule in RULES if rule.id not in ("expect.sequence", "tcp.kernel"))
SHORT_NAME = 'a short name of a-z, 0-9 and "-"'
MOST_ITEMS = 500
MOST_NUMBER = 1 << 64
SLIP_WORDS = f"points by slip; slips are {', '.join(SLIPS)}"
WANTED_WORDS = "a value, a list of values, or { least = …, most = … }"
NUMBERS = frozenset({"integer", "number"})
SCALARS = NUMBERS | {"string", "boolean"}


def load_items(table: Table, kind: Kind, *, fractions: bool, is_copy: bool = False) -> tuple[Item, ...]:
    """The items under `rubric` and `question`, in this order; each may depend on those before it.

    A student's copy (`is_copy`) has the questions' ids alone.
    """
    if kind == "capture" and table.has("question"):
        raise table.contradicts("question", "is in an exercise of captures", 'say kind = "answers"')
    items: dict[str, Item] = {}
    for entry in (*table.tables("rubric"), *table.tables("question")):
        is_question = entry.keys[0] == "question"
        item = _item(entry, items, is_question=is_question, fractions=fractions)
        items[item.id] = item
    if not 0 < len(items) <= MOST_ITEMS:
        allowed = f"from 1 to {MOST_ITEMS} of [[rubric]] or [[question]]"
        raise table.contradicts("rubric", f"there are {len(items)} checks", f"allowed: {allowed}")
    if kind == "answers" and not is_copy and not any(isinstance(item.check, Question) for item in items.values()):
        raise table.contradicts("question", "is missing", 'ask something with [[question]], or say kind = "capture"')
    return tuple(items.values())


def _item(table: Table, before: dict[str, Item], *, is_question: bool, fractions: bool) -> Item:
    table.require("id", SHORT_NAME)
    name = table.take("id", "", short_name, SHORT_NAME)
    if name in before or name in GATES:
        taken = "is another check's" if name in before else "is a check that comes before every rubric"
        raise table.contradicts("id", f"{name!r} {taken}", "give it a name of its own")
    table.require("points", "a number")
    points = take_points(table, 1_000, fractions=fractions)
    check = _question(table, points, fractions=fractions) if is_question else _check(table)
    usual = check.text if isinstance(check, Question) else _title_of(check, name)
    visibility: Visibility = table.take("visibility", "visible", one_of(*VISIBILITIES), " or ".join(VISIBILITIES))
    item = Item(
        id=name,
        title=table.take("title", usual, line, "one line of text"),
        check=check,
        points=points,
        hint=table.take("hint", "", line, "one line of text"),
        depends_on=table.take(
            "depends_on", (), _names(before), f"a list of checks before it: {', '.join(before) or 'none is'}"
        ),
        visibility=visibility,
    )
    table.finish()
    return item


def short_name(value: Any) -> str | None:
    """An id: of the exercise, of a check."""
    return value if isinstance(value, str) and ID.fullmatch(value) else None


def take_points(table: Table, most: int, *, fractions: bool) -> Points:
    """The table's `points`, 0 where there are none: whole ones, unless the exercise has fractions."""
    words = f"a number from 0 to {most}" + ("" if fractions else "; a whole one, unless fractions = true")
    return table.take("points", None, _at_most(most, fractions=fractions), words) or 0


def _at_most(most: Points, *, fractions: bool) -> Callable[[Any], Points | None]:
    """Points: whole ones, or with two decimals, as that is what can be earned and shown."""

    def check(value: Any) -> Points | None:
        good = type(value) is int or (fractions and type(value) is float and round(value, 2) == value)
        return value if good and 0 <= value <= most else None

    return check


def _names(before: dict[str, Item]) -> Callable[[Any], tuple[str, ...] | None]:
    known = list(before)  # not the dict: what a file has needn't be hashable
    return lambda value: tuple(value) if isinstance(value, list) and all(name in known for name in value) else None


def _title_of(check: RuleCheck | SequenceCheck, name: str) -> str:
    if isinstance(check, SequenceCheck):
        return "The sequence is the expected one"
    return next((rule.title for rule in RULES if rule.id == check.rule), name)


def _check(table: Table) -> RuleCheck | SequenceCheck:
    """The check of a rubric's item: a rule, facts, or both; or a sequence."""
    if table.has("sequence"):
        for key in ("rule", "facts"):
            if table.has(key):
                raise table.contradicts(key, "stands beside a sequence", "make two checks of it")
        words: Any = table.take("sequence", None, text, "a sequence, as a report prints it")
        return SequenceCheck(_expectation(table, words), table.take("partial", True, truth, "true or false"))
    rule = table.take("rule", None, one_of(*RULE_IDS), f"a rule: {', '.join(RULE_IDS)}")
    facts = tuple(_facts(table.table("facts")))
    if rule is None and not facts:
        fix = "say what is checked: a rule, facts or a sequence"
        raise table.contradicts("rule", "is missing", fix)
    return RuleCheck(rule, facts)


def _expectation(table: Table, words: str) -> Any:
    try:
        expected = parse_expectation(words)
    except InputError as error:
        raise table.contradicts("sequence", str(error), error.next_step) from None
    if not expected.line_count:
        raise table.wrong("sequence", words, "one line at least")
    return expected


def _facts(table: Table) -> Iterator[Wanted]:
    for key in list(table.left):
        value = table.left.pop(key)
        path, known = _path(table, key, key)
        yield _wanted(table, key, value, path, known, kinds_at(path))


def _path(table: Table, key: str, words: Any) -> tuple[FactPath, tuple[Any, ...] | None]:
    if not isinstance(words, str):
        raise table.wrong(key, words, 'a path to a fact of the report, such as "connection.close.variant"')
    try:
        path = parse_path(words)
        return path, check_path(path)
    except InputError as error:
        raise table.contradicts(key, str(error), error.next_step) from None


def _wanted(
    table: Table, key: str, value: Any, path: FactPath, known: tuple[Any, ...] | None, kinds: frozenset[str]
) -> Wanted:
    if isinstance(value, dict):
        limits = table.entry(key, value)
        least = limits.take("least", None, _number, "a number")
        most = limits.take("most", None, _number, "a number")
        limits.finish()
        if least is None and most is None:
            raise table.wrong(key, value, WANTED_WORDS)
        if kinds and not kinds & NUMBERS:
            raise table.contradicts(key, f"has limits, and is {_kinds_text(kinds)}", "name the values it may have")
        if least is not None and most is not None and least > most:
            raise limits.contradicts("least", f"is more than most: {least:g} > {most:g}", "let it be less")
        return Wanted(path, (), least, most)
    values: list[Value] = value if isinstance(value, list) else [value]
    if not values or not all(isinstance(one, str | int | float) for one in values):
        raise table.wrong(key, value, WANTED_WORDS)
    _check_values(table, key, values, kinds, known)
    return Wanted(path, tuple(values))


def _check_values(
    table: Table, key: str, values: list[Value], kinds: frozenset[str], known: tuple[Any, ...] | None
) -> None:
    """Complain of a value that the fact never has: everybody would fail."""
    strange = [one for one in values if kinds and not _kinds_of(one) & kinds]
    if strange and known is None:
        raise table.wrong(key, strange[0], f"{_kinds_text(kinds)}, as the fact is")
    strange = strange or [one for one in values if known is not None and one not in known]
    if strange and known is not None:
        near = difflib.get_close_matches(shown(strange[0]).strip("'"), [str(one) for one in known], 1)
        hint = f" (did you mean {near[0]!r}?)" if near else ""
        allowed = ", ".join(str(one).lower() if isinstance(one, bool) else str(one) for one in known if one is not None)
        raise table.wrong(key, strange[0], f"{allowed}{hint}")


def _kinds_of(value: Value) -> frozenset[str]:
    """What a fact may be that has this value."""
    if isinstance(value, bool):
        return frozenset({"boolean"})
    if isinstance(value, str):
        return frozenset({"string"})
    if isinstance(value, int) or value.is_integer():
        return NUMBERS
    return frozenset({"number"} if math.isfinite(value) else ())


def _kinds_text(kinds: frozenset[str]) -> str:
    words = {"integer": "a whole number", "string": "a text", "boolean": "true or false", "object": "a table of facts"}
    return " or ".join(sorted("a list" if kind.endswith("[]") else words.get(kind, f"a {kind}") for kind in kinds))


def _number(value: Any) -> float | None:
    good = type(value) in (int, float) and -MOST_NUMBER <= value <= MOST_NUMBER
    return float(value) if good else None


def _question(table: Table, points: Points, *, fractions: bool) -> Question:
    table.require("text", "the question, one line of text")
    table.require("fact", "a path to a fact of the report")
    path, _ = _path(table, "fact", table.take("fact", None, lambda value: value, ""))
    form = table.take("form", "exact", one_of("exact", "either"), '"exact", or "either" raw or relative')
    question = Question(
        text=table.take("text", "", line, "one line of text"),
        path=path,
        either_form=form == "either",
        tolerance=table.take("tolerance", 0.0, _tolerance, "a number, in the fact's own unit"),
        partial=table.take("partial", True, truth, "true or false"),
        slips=_slips(table.table("slips"), points, fractions=fractions),
        accept=table.take("accept", (), _texts, "a list of texts"),
    )
    _check_question(table, question)
    return question


def _slips(table: Table, points: Points, *, fractions: bool) -> tuple[tuple[str, Points], ...]:
    allowed = _at_most(points, fractions=fractions)
    words = f"from 0 to {points:g}" + ("" if fractions else "; whole ones, unless fractions = true")
    none: Points = 0
    found = tuple((key, table.take(key, none, allowed, words)) for key in SLIPS if table.has(key))
    if table.left:
        raise table.wrong(next(iter(table.left)), next(iter(table.left.values())), SLIP_WORDS)
    return found


def _check_question(table: Table, question: Question) -> None:
    """Complain of a fact that nobody can write down, and of what doesn't go with it."""
    kinds = kinds_at(question.path)
    if kinds and not {kind.removesuffix("[]") for kind in kinds} & SCALARS:
        fix = "go on to one of its facts; a path to a list may end with [0] or [-1]"
        raise table.contradicts("fact", f"{question.path.text!r} is no single fact", fix)
    if question.either_form and question.path.last not in (*RAW_OF, *RELATIVE_OF, *ISNS):
        raise table.contradicts("form", f"{question.path.text!r} is no sequence number", "leave form out")
    if question.tolerance and kinds and not kinds & NUMBERS:
        raise table.contradicts("tolerance", f"{question.path.text!r} is no number", "leave tolerance out")


def _tolerance(value: Any) -> float | None:
    number = _number(value)
    return number if number is not None and number >= 0 else None


def _texts(value: Any) -> tuple[str, ...] | None:
    return tuple(value) if isinstance(value, list) and all(isinstance(one, str) for one in value) else None
