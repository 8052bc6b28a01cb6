"""Text → the tree of an expectation; every complaint names line and column (docs/expectations.md has the grammar)."""

from dataclasses import dataclass, field
from typing import NamedTuple, NoReturn

from analysis.errors import InputError
from analysis.expect.lines import QUOTED, Token, complain, parse_line, tokens_of
from analysis.expect.pattern import (
    AnyOrder,
    Block,
    Either,
    Expectation,
    Form,
    LookupPattern,
    Node,
    Optional,
    PatternLine,
    Repeat,
    SegmentPattern,
)
from analysis.sequence import ANY_NAME, STATUS_WORDS

MOST_ENTRIES = 8
DEEPEST = 16
SHAPE_OUTCOMES = (*STATUS_WORDS, "server", "answered", "ADDRESS")
OPENERS = ("optional", "any", "either", "repeat")


@dataclass(slots=True)
class _Group:
    """A group that is being read. `branches` are those of `either` that are complete."""

    kind: str
    at: Token
    bounds: tuple[int, int | None] = (1, 1)
    items: list[Node] = field(default_factory=list)
    branches: list[Node] = field(default_factory=list)


def parse_expectation(text: str) -> Expectation:
    """Read an expectation; blank lines and lines that begin with `#` don't count. A text of those alone has no lines.

    `InputError` names line and column, what stands there, and what may. Every sequence that a report prints, in
    either form, is an expectation of itself.
    """
    reader = _Reader()
    for number, raw in enumerate(text.split("\n"), 1):
        content = raw.strip()
        if content and not content.startswith("#"):
            reader.read(tokens_of(raw, number))
    root = reader.finish()
    form = _form(reader.lines)
    return Expectation(text, form, root, len(reader.lines))


class _Line(NamedTuple):
    line: PatternLine
    tokens: list[Token]


class _Reader:
    """Lines to a tree; groups that are open stand on a stack, so the depth of a text is no depth of calls."""

    def __init__(self) -> None:
        self.stack = [_Group("all", Token("", 1, 1))]
        self.lines: list[_Line] = []

    def read(self, tokens: list[Token]) -> None:
        first, last = tokens[0], tokens[-1]
        for token in tokens:
            if token.text.startswith('"') and not QUOTED.fullmatch(token.text):
                complain(token, "is a quoted text that isn't closed", 'close it with `"`; a quote within is `\\"`')
        if first.text == "}":
            self._close(tokens)
        elif first.text in OPENERS or last.text == "{":
            self._open(tokens)
        elif first.text.startswith("}") or last.text.endswith("{"):
            _refuse(first if first.text.startswith("}") else last, "braces stand apart, with a blank before and behind")
        else:
            is_optional = last.text == "?"
            if is_optional and len(tokens) == 1:
                complain(first, "stands alone", "a `?` stands at the end of a line that may be missing")
            line = parse_line(tokens[:-1] if is_optional else tokens)
            self.lines.append(_Line(line, tokens))
            self._add(Optional(line) if is_optional else line, first)

    def _add(self, node: Node, at: Token) -> None:
        group = self.stack[-1]
        if group.kind == "any" and len(group.items) == MOST_ENTRIES:
            complain(
                at, f"is entry {MOST_ENTRIES + 1} of `any order`", f"at most {MOST_ENTRIES} entries have any order"
            )
        group.items.append(node)

    def _open(self, tokens: list[Token]) -> None:
        if len(self.stack) > DEEPEST:
            complain(tokens[0], f"is the group within {DEEPEST} others", f"groups stand {DEEPEST} deep at most")
        self.stack.append(_opened(tokens))

    def _close(self, tokens: list[Token]) -> None:
        words = [token.text for token in tokens]
        group = self.stack[-1]
        if len(self.stack) == 1:
            complain(tokens[0], "closes nothing", "each `}` closes a group that a `{` opened")
        if not group.items:
            hint = "a group has one line at least; what may be missing stands in `optional { … }`"
            complain(tokens[0], "closes a group, or a branch of one, in which nothing stands", hint)
        if words == ["}", "or", "{"] and group.kind == "either":
            group.branches.append(Block(tuple(group.items)))
            group.items = []
        elif words == ["}"]:
            self.stack.pop()
            self._add(_closed(group, tokens[0]), group.at)
        else:
            meant = ("}", "or", "{") if group.kind == "either" else ("}",)
            wrong = (token for token, word in zip(tokens, (*meant, *words), strict=False) if token.text != word)
            at = next(wrong, tokens[-1])
            if "or" in words and group.kind != "either":
                complain(at, f"stands in `{_opening(group)}`", "only branches of `either { … } or { … }` have an `or`")
            complain(at, "stands behind a `}`", "a `}` stands on a line of its own, or as `} or {` within `either`")

    def finish(self) -> Block:
        group = self.stack[-1]
        if len(self.stack) > 1:
            complain(
                group.at,
                f"begins `{_opening(group)} {{`, which is never closed",
                "close it with `}` on a line of its own",
            )
        return Block(tuple(group.items))


def _refuse(at: Token, allowed: str) -> NoReturn:
    complain(at, "can't be read", allowed)


def _opening(group: _Group) -> str:
    return "any order" if group.kind == "any" else group.kind


def _opened(tokens: list[Token]) -> _Group:
    first, *middle, last = tokens if len(tokens) > 1 else (tokens[0], tokens[0])
    if first.text not in OPENERS:
        known = ("optional", "any order", "either", "repeat")
        complain(first, "opens no group", "a `{` stands behind `optional`, `any order`, `either` or `repeat N`", known)
    if last.text != "{":
        hint = (
            "write `optional {`, `any order {`, `either {` or `repeat 3 {`, and close it with `}` on a line of its own"
        )
        complain(last, "stands where the line's `{` must", hint)
    words = [token.text for token in middle]
    if first.text == "repeat":
        return _Group("repeat", first, _bounds(middle, last))
    wanted = ["order"] if first.text == "any" else []
    if words != wanted:
        at = next((token for token, word in zip(middle, [*wanted, ""], strict=False) if token.text != word), last)
        written = f"{first.text} {'order ' if wanted else ''}{{"
        complain(at, f"stands in the line of `{first.text}`", f"write `{written}`", wanted)
    return _Group(first.text, first)


def _bounds(tokens: list[Token], brace: Token) -> tuple[int, int | None]:
    hint = "write how often: `repeat 3 {`, `repeat 1..40 {`, or `repeat 2.. {` for twice or more"
    if len(tokens) != 1:
        complain(tokens[1] if tokens else brace, "stands where `repeat` says how often", hint)
    low, dots, high = tokens[0].text.partition("..")
    numbers = [one for one in (low, high) if one]
    if not low or not all(one.isascii() and one.isdigit() and len(one) <= 9 for one in numbers):
        complain(tokens[0], "is no number of times", hint)
    least = int(low)
    most = None if dots and not high else int(high or low)
    if most is not None and (most < least or most == 0):
        complain(tokens[0], "can't be: at most less than at least" if most else "is never", hint)
    return least, most


def _closed(group: _Group, at: Token) -> Node:
    body = Block(tuple(group.items))
    if group.kind == "optional":
        return Optional(body)
    if group.kind == "any":
        return AnyOrder(body.items)
    if group.kind == "repeat":
        return Repeat(body, *group.bounds)
    if not group.branches:
        complain(at, "closes an `either` of one branch", "write `} or {` before the other branch")
    return Either((*group.branches, body))


def _form(lines: list[_Line]) -> Form:
    """The form that all lines have; `InputError` at the first that has the other."""
    form: Form | None = None
    because = ""
    for line, tokens in lines:
        own, why, at = _form_of(line, tokens)
        if own is None:
            continue
        if form is not None and own != form:
            raise InputError(
                f"line {at.line}, column {at.column}: {why}, but {because}: the sequence mixes the two forms",
                "exact: each segment has its seq:end(length) or `*`, each lookup its name; a shape: none has, and NAME",
            )
        form, because = own, because or f"line {line.number} is {_words(own)}"
    if form == "shape":
        for line, tokens in lines:
            _check_outcome(line, tokens)
    return form or "exact"


def _words(form: Form) -> str:
    return "one of the exact form" if form == "exact" else "one of a shape"


def _form_of(line: PatternLine, tokens: list[Token]) -> tuple[Form | None, str, Token]:
    pattern = line.pattern
    if isinstance(pattern, SegmentPattern):
        has = pattern.numbers is not None
        return (
            ("exact", "this segment has numbers", tokens[2])
            if has
            else ("shape", "this segment has no numbers", tokens[0])
        )
    if isinstance(pattern, LookupPattern) and (pattern.name.is_literal or not pattern.name.matches(ANY_NAME)):
        is_shape = pattern.name.matches(ANY_NAME)
        return (
            ("shape", f"this lookup has {ANY_NAME}", tokens[2])
            if is_shape
            else ("exact", "this lookup has a name", tokens[2])
        )
    return None, "", tokens[0]


def _check_outcome(line: PatternLine, tokens: list[Token]) -> None:
    """In a shape the outcome is one word of a few."""
    outcome = line.pattern.outcome if isinstance(line.pattern, LookupPattern) else None
    if outcome is not None and not any(outcome.matches(word) for word in SHAPE_OUTCOMES):
        at = tokens[max(index for index, token in enumerate(tokens) if token.text == "->") + 1]
        complain(
            at, "is no outcome of a shape", f"there an outcome is {', '.join(SHAPE_OUTCOMES)} or `*`", SHAPE_OUTCOMES
        )
