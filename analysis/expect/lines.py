"""One line of an expectation → its pattern."""

import difflib
import re
from collections.abc import Iterable
from ipaddress import ip_address
from typing import Literal, NamedTuple, NoReturn

from analysis.errors import InputError
from analysis.expect.pattern import (
    ANY,
    ANY_NUMBERS,
    ConnectionPattern,
    Glob,
    LookupPattern,
    NumbersPattern,
    PatternLine,
    SegmentPattern,
    TimeRange,
)
from analysis.sequence import FLAGS_PATTERN, STATUS_WORDS
from analysis.text import printable

LONGEST_SHOWN = 40
STARTS = ("lookup", "connection", "client", "server", "optional", "any order", "either", "repeat")
TOKEN = re.compile(r'"(?:[^"\\]|\\.)*"|\S+')
FLAGS = ("FIN", "SYN", "RST", "ACK")
FLAG_WORDS = ("DATA", "NONE", "SYN", "SYN,ACK", "ACK", "FIN,ACK", "FIN", "RST", "RST,ACK")
IS_FLAGS = re.compile(FLAGS_PATTERN)
INTEGER = re.compile(r"-?\d{1,19}", re.ASCII)
COUNT = re.compile(r"\d{1,9}", re.ASCII)
QUERIES = re.compile(r"x(?:([1-9]\d{0,8})|\*)", re.ASCII)
OPTIONS = re.compile(r"<([a-z0-9,-]+)>")
QUOTED = re.compile(r'"((?:[^"\\]|\\.)*)"')
NUMBERS = re.compile(r"([^:()]*):([^:()]*)\(([^:()]*)\)")
BOUND = re.compile(r"(\d{1,9})(?:\.(\d{1,9}))?(us|ms|s)", re.ASCII)
NS = {"us": 1_000, "ms": 1_000_000, "s": 1_000_000_000}
QUOTED_PART = re.compile(r"\\x([0-9a-f]{2})|\\(.)|(\*)|[^\\*]+", re.DOTALL)
WORD_PART = re.compile(r"\\(\*)|\\.|(\*)|[^\\*]+|\\", re.DOTALL)
RANGE_HINT = "a time range is `0.9s..1.1s`, `200ms..` or `..5ms`, in us, ms or s"
SEGMENT_HINT = (
    'behind the flags, in this order: `0:0(0)` or `*`, `ack 1`, `<mss>`, `"GET *"`, `again`, `after 1s..2s`, `?`'
)
LOOKUP_HINT = (
    "a lookup is `lookup A www.lab.test x2 tcp -> alias -> server took 1s..2s`; `x2`, `tcp`, aliases and `took` may go"
)


class Token(NamedTuple):
    """A word of the source, a quoted text included; line and column count from 1."""

    text: str
    line: int
    column: int


def tokens_of(raw: str, line: int) -> list[Token]:
    return [Token(found[0], line, found.start() + 1) for found in TOKEN.finditer(raw)]


def complain(at: Token, what: str, allowed: str, known: Iterable[str] = ()) -> NoReturn:
    """Refuse what stands at a token: `known` are words that may be meant."""
    near = difflib.get_close_matches(at.text[:LONGEST_SHOWN], [word for word in known if word != at.text], 1)
    meant = f"; did you mean `{near[0]}`?" if near else ""
    raise InputError(f"line {at.line}, column {at.column}: `{_shown(at.text)}` {what}{meant}", allowed)


def _shown(text: str) -> str:
    return printable(text if len(text) <= LONGEST_SHOWN else text[: LONGEST_SHOWN - 1] + "…")


class _Words:
    """The tokens of a line, taken one by one."""

    def __init__(self, tokens: list[Token]) -> None:
        self.tokens = tokens
        self.at = 0

    def peek(self) -> str:
        return self.tokens[self.at].text if self.at < len(self.tokens) else ""

    def take(self, wanted: str, hint: str) -> Token:
        if self.at == len(self.tokens):
            last = self.tokens[-1]
            end = Token("", last.line, last.column + len(last.text))
            raise InputError(f"line {end.line}, column {end.column}: the line ends where {wanted} must stand", hint)
        self.at += 1
        return self.tokens[self.at - 1]

    def take_if(self, word: str) -> bool:
        found = self.peek() == word
        self.at += found
        return found

    def finish(self, hint: str, known: Iterable[str]) -> None:
        if self.at < len(self.tokens):
            token = self.tokens[self.at]
            what = (
                "is a quoted text that isn't closed"
                if token.text.startswith('"') and not QUOTED.fullmatch(token.text)
                else "can't stand here"
            )
            complain(token, what, hint, known)


def parse_line(tokens: list[Token]) -> PatternLine:
    """The pattern that the tokens of a line are, without the `?` at its end."""
    words = _Words(tokens)
    first = words.take("a line", "")
    pattern: LookupPattern | ConnectionPattern | SegmentPattern
    if first.text == "lookup":
        pattern = _lookup(words)
    elif first.text == "connection":
        pattern = _connection(words)
    elif first.text == "client":
        pattern = _segment(words, "client")
    elif first.text == "server":
        pattern = _segment(words, "server")
    else:
        complain(first, "begins no line", f"a line begins with {', '.join(STARTS)}, `}}` or `#`", STARTS)
    return PatternLine(first.line, " ".join(token.text for token in tokens), pattern)


def _connection(words: _Words) -> ConnectionPattern:
    hint = "write `connection 2`; the first one's segments need no such line before them"
    number = words.take("the connection's number", hint)
    if not COUNT.fullmatch(number.text) or int(number.text) < 2:
        complain(number, "is no connection's number", hint)
    words.finish(hint, ())
    return ConnectionPattern(int(number.text))


# --- lookups ---


def _lookup(words: _Words) -> LookupPattern:
    kind = words.take("the type", LOOKUP_HINT)
    name = words.take("the name", LOOKUP_HINT)
    for token in (kind, name):
        if token.text == "->":
            complain(token, "stands where type and name do", LOOKUP_HINT)
    queries = _queries(words)
    transport = "tcp" if words.take_if("tcp") else "udp"
    chain: list[Token] = []
    while words.peek() == "->" or not chain:
        arrow = words.take("`->`", LOOKUP_HINT)
        if arrow.text != "->":
            complain(arrow, "stands where `->` must", LOOKUP_HINT, ("->", "tcp", "x2"))
        chain.append(words.take("an alias or the outcome", LOOKUP_HINT))
        if chain[-1].text == "->":
            complain(chain[-1], "stands where an alias or the outcome must", LOOKUP_HINT)
    took = _range(words, "took")
    if words.peek() == "after":
        complain(
            words.take("", ""), "is a segment's", "a lookup's time is `took 1s..2s`, from its first query to its answer"
        )
    words.finish(LOOKUP_HINT, ("took", "->", "?"))
    *aliases, outcome = chain
    globs = tuple(word_glob(alias.text) for alias in aliases)
    return LookupPattern(word_glob(kind.text), word_glob(name.text), queries, transport, globs, _outcome(outcome), took)


def _queries(words: _Words) -> int | None:
    found = QUERIES.fullmatch(words.peek())
    if found is None:
        return 1
    words.take("", "")
    return int(found[1]) if found[1] else None


def _outcome(token: Token) -> Glob:
    known = (*STATUS_WORDS, "server", "answered", "ADDRESS")
    column = token.column
    for part in token.text.split(","):
        if "*" not in part and part not in known and not _is_address(part):
            hint = (
                f"an outcome is server, addresses, answered, {', '.join(STATUS_WORDS)} or `*`, in a shape ADDRESS too"
            )
            complain(Token(part, token.line, column), "is no outcome", hint, known)
        column += len(part) + 1
    return word_glob(token.text)


def _is_address(text: str) -> bool:
    try:
        return bool(ip_address(text))
    except ValueError:
        return False


def word_glob(text: str) -> Glob:
    r"""A word as a glob: `*` is any characters, `\*` a star; any other backslash is itself, as names have it."""
    pieces = [""]
    for found in WORD_PART.finditer(text):
        if found[2]:
            pieces.append("")
        else:
            pieces[-1] += found[1] or found[0]
    return Glob(tuple(pieces))


# --- segments ---


def _segment(words: _Words, sender: Literal["client", "server"]) -> SegmentPattern:
    flags = words.take("the segment's flags", f"flags are {', '.join(FLAG_WORDS)}")
    if not IS_FLAGS.fullmatch(flags.text):
        _refuse_flags(flags)
    numbers, ack = _numbers(words), None
    if numbers is None and words.peek() == "ack":
        hint = "in a shape segments have no ack; in the exact form numbers come first, or `*` for them"
        complain(words.take("", ""), "stands without numbers before it", hint)
    if numbers is not None:
        ack = _ack(words) if words.peek() == "ack" else ("free" if numbers is ANY_NUMBERS else None)
    options = _options(words, numbers)
    text = _text(words)
    if words.peek() == "again" and numbers is not None:
        complain(
            words.take("", ""),
            "stands behind numbers",
            "`again` is a shape's word; the exact form has the numbers instead",
        )
    again = words.take_if("again")
    after = _range(words, "after")
    if words.peek() == "took":
        complain(words.take("", ""), "is a lookup's", "a segment's time is `after 1s..2s`, since the segment before it")
    words.finish(SEGMENT_HINT, ("ack", "again", "after", "?"))
    return SegmentPattern(sender, flags.text, numbers, ack, options, text, again, after)


def _refuse_flags(flags: Token) -> NoReturn:
    names = flags.text.split(",")
    if len(names) > 1 and set(names) <= set(FLAGS) and len(set(names)) == len(names):
        right = ",".join(name for name in FLAGS if name in names)
        complain(flags, f"are flags in another order; write `{right}`", "flags stand in the order FIN,SYN,RST,ACK")
    if "PSH" in names or "URG" in names:
        complain(flags, "are flags with some that a sequence leaves out", "PSH and URG aren't written; bytes are DATA")
    hint = f"flags are {', '.join(FLAG_WORDS)}; bytes are DATA"
    complain(flags, "are no flags", hint, FLAG_WORDS)


def _numbers(words: _Words) -> NumbersPattern | None:
    word = words.peek()
    if word == "*":
        words.take("", "")
        return ANY_NUMBERS
    if not word or word[0] not in "-0123456789*:(na" or word in ("again", "ack", "after"):
        return None
    token = words.take("", "")
    hint = "numbers are `seq:end(length)`, such as `1:77(76)`, `next:*(*)` or `*` for all three"
    found = NUMBERS.fullmatch(token.text)
    if found is None:
        known = ("next:*(*)", "again", "ack", "after")
        complain(token, "is no seq:end(length)", hint, known)
    seq, end, length = (Token(found[part], token.line, token.column + found.start(part)) for part in (1, 2, 3))
    return NumbersPattern(
        _seq(seq, hint), _number(end, INTEGER, hint, "an end"), _number(length, COUNT, hint, "a length")
    )


def _seq(token: Token, hint: str) -> int | Literal["*", "next"]:
    if token.text == "next":
        return "next"
    if token.text == "all":
        complain(token, "is no seq", "`all` is an ack; the number after all that this side has sent is `next`")
    return _number(token, INTEGER, hint, "a seq", ("next",))


def _number(token: Token, form: re.Pattern[str], hint: str, what: str, known: Iterable[str] = ()) -> int | Literal["*"]:
    if token.text == ANY:
        return ANY
    if not form.fullmatch(token.text):
        complain(token, f"stands where {what} must", hint, known)
    return int(token.text)


def _ack(words: _Words) -> int | Literal["*", "all"]:
    words.take("", "")
    hint = "an ack is a number, `all` that the other side has sent so far, or `*`"
    token = words.take("the ack's number", hint)
    if token.text == "all":
        return "all"
    if token.text == "next":
        complain(token, "is no ack", "`next` is a seq; all that the other side has sent is `all`")
    return _number(token, INTEGER, hint, "an ack", ("all",))


def _options(words: _Words, numbers: NumbersPattern | None) -> tuple[str, ...] | None:
    if not words.peek().startswith("<"):
        return ()
    token = words.take("", "")
    if numbers is None:
        complain(token, "stands in a shape", "shapes have no options; in the exact form numbers come before them")
    if token.text == "<*>":
        return None
    found = OPTIONS.fullmatch(token.text)
    if found is None:
        complain(token, "are no options", "options are `<mss,sackok,ts,nop,ws>`, without blanks, or `<*>` for any")
    return tuple(found[1].split(","))


def _text(words: _Words) -> Glob | None:
    found = QUOTED.fullmatch(words.peek())
    if found is None:
        return None
    words.take("", "")
    pieces = [""]
    for part in QUOTED_PART.finditer(found[1]):
        if part[3]:
            pieces.append("")
        else:
            pieces[-1] += chr(int(part[1], 16)) if part[1] else part[2] or part[0]
    return Glob(tuple(pieces))


# --- times ---


def _range(words: _Words, word: str) -> TimeRange | None:
    if not words.take_if(word):
        return None
    token = words.take("a time range", RANGE_HINT)
    low, dots, high = token.text.partition("..")
    if not dots or not (low or high):
        complain(token, "is no time range", RANGE_HINT)
    column = token.column + len(low) + len(dots)
    least = _time(Token(low, token.line, token.column)) if low else 0
    most = _time(Token(high, token.line, column)) if high else None
    if most is not None and most < least:
        complain(token, "ends before it begins", RANGE_HINT)
    return TimeRange(least, most, token.text)


def _time(token: Token) -> int:
    found = BOUND.fullmatch(token.text)
    if found is None:
        complain(token, "is no time", RANGE_HINT)
    unit = NS[found[3]]
    fraction = found[2] or ""
    return int(found[1] + fraction) * unit // int("1" + "0" * len(fraction))
