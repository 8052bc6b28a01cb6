"""The rubric of an exercise file: its items, and the questions of one that asks for answers."""

import difflib
import math
import re
from collections.abc import Iterator
from typing import Any

from analysis.errors import InputError
from analysis.expect.parse import parse_expectation
from analysis.rules.judge import RULES
from grading.exercise.model import (
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
from grading.facts.schema import check_path
from grading.marking.grade import GATES
from grading.marking.slips import SLIPS
from lab.toml.table import Table
from lab.toml.values import line, one_of, text, truth

ID = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,38}[a-z0-9])?")
RULE_IDS = tuple(rule.id for rule in RULES if rule.id not in ("expect.sequence", "tcp.kernel"))
MOST_ITEMS = 500
SLIP_WORDS = f"points by slip; slips are {', '.join(SLIPS)}"


def load_items(table: Table, kind: Kind, *, fractions: bool) -> tuple[Item, ...]:
    """The items under `rubric` and `question`, in this order; each may depend on those before it."""
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
    if kind == "answers" and not any(isinstance(item.check, Question) for item in items.values()):
        raise table.contradicts("question", "is missing", 'ask something with [[question]], or say kind = "capture"')
    return tuple(items.values())


def _item(table: Table, before: dict[str, Item], *, is_question: bool, fractions: bool) -> Item:
    table.require("id", 'a short name of a-z, 0-9 and "-"')
    name = table.take("id", "", _id, 'a short name of a-z, 0-9 and "-"')
    if name in before or name in GATES:
        taken = "is another check's" if name in before else "is a check that comes before every rubric"
        raise table.contradicts("id", f"{name!r} {taken}", "give it a name of its own")
    table.require("points", "a number")
    points = take_points(table, 1_000, fractions=fractions)
    check = _question(table, points) if is_question else _check(table)
    usual = check.text if isinstance(check, Question) else _title_of(check, name)
    visibility: Visibility = table.take("visibility", "visible", one_of(*VISIBILITIES), " or ".join(VISIBILITIES))
    item = Item(
        id=name,
        title=table.take("title", usual, line, "one line of text"),
        check=check,
        points=points,
        hint=table.take("hint", "", line, "one line of text"),
        depends_on=table.take("depends_on", (), _names(before), f"a list of checks before it: {', '.join(before)}"),
        visibility=visibility,
    )
    table.finish()
    return item


def _id(value: Any) -> str | None:
    return value if isinstance(value, str) and ID.fullmatch(value) else None


def take_points(table: Table, most: int, *, fractions: bool) -> Points:
    """The table's `points`, 0 where there are none: whole ones, unless the exercise has fractions."""
    kinds = (int, float) if fractions else (int,)
    words = f"a number from 0 to {most}" + ("" if fractions else "; a whole one, unless fractions = true")

    def check(value: Any) -> Points | None:
        return value if type(value) in kinds and 0 <= value <= most else None

    return table.take("points", None, check, words) or 0


def _names(before: dict[str, Item]) -> Any:
    return lambda value: tuple(value) if isinstance(value, list) and all(name in before for name in value) else None


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
        yield _wanted(table, key, value, path, known)


def _path(table: Table, key: str, words: Any) -> tuple[FactPath, tuple[Any, ...] | None]:
    if not isinstance(words, str):
        raise table.wrong(key, words, 'a path to a fact of the report, such as "connection.close.variant"')
    try:
        path = parse_path(words)
        return path, check_path(path)
    except InputError as error:
        raise table.contradicts(key, str(error), error.next_step) from None


def _wanted(table: Table, key: str, value: Any, path: FactPath, known: tuple[Any, ...] | None) -> Wanted:
    if isinstance(value, dict):
        limits = table.entry(key, value)
        least = limits.take("least", None, _number, "a number")
        most = limits.take("most", None, _number, "a number")
        limits.finish()
        if least is None and most is None:
            raise table.wrong(key, value, "a value, a list of values, or { least = …, most = … }")
        return Wanted(path, (), least, most)
    values: list[Value] = value if isinstance(value, list) else [value]
    if not values or not all(isinstance(one, str | int | float) for one in values):
        raise table.wrong(key, value, "a value, a list of values, or { least = …, most = … }")
    strange = [one for one in values if known is not None and one not in known]
    if strange and known is not None:
        near = difflib.get_close_matches(str(strange[0]), [str(one) for one in known], 1)
        hint = f" (did you mean {near[0]!r}?)" if near else ""
        allowed = ", ".join(str(one).lower() if isinstance(one, bool) else str(one) for one in known if one is not None)
        raise table.wrong(key, strange[0], f"{allowed}{hint}")
    return Wanted(path, tuple(values))


def _number(value: Any) -> float | None:
    good = isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    return float(value) if good else None


def _question(table: Table, points: Points) -> Question:
    table.require("text", "the question, one line of text")
    table.require("fact", "a path to a fact of the report")
    path, _ = _path(table, "fact", table.take("fact", None, lambda value: value, ""))
    form = table.take("form", "exact", one_of("exact", "either"), '"exact", or "either" raw or relative')
    slips = table.table("slips")
    found = tuple(
        (key, slips.take(key, 0, _at_most(points), f"from 0 to {points:g}")) for key in SLIPS if slips.has(key)
    )
    if slips.left:
        raise slips.wrong(next(iter(slips.left)), next(iter(slips.left.values())), SLIP_WORDS)
    return Question(
        text=table.take("text", "", line, "one line of text"),
        path=path,
        either_form=form == "either",
        tolerance=table.take("tolerance", 0.0, _tolerance, "a number, in the fact's own unit"),
        partial=table.take("partial", True, truth, "true or false"),
        slips=found,
        accept=table.take("accept", (), _texts, "a list of texts"),
    )


def _at_most(points: Points) -> Any:
    return lambda value: value if type(value) in (int, float) and 0 <= value <= points else None


def _tolerance(value: Any) -> float | None:
    number = _number(value)
    return number if number is not None and number >= 0 else None


def _texts(value: Any) -> tuple[str, ...] | None:
    return tuple(value) if isinstance(value, list) and all(isinstance(one, str) for one in value) else None
