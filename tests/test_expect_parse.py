"""Reading expectations: what is refused, where, and with what help."""

import re

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from analysis.errors import InputError
from analysis.expect.parse import parse_expectation
from analysis.expect.pattern import Block, Optional, PatternLine
from analysis.text import printable

# the text; line and column; what is said; a word of what may stand there
ERRORS: dict[str, tuple[str, int, int, str, str]] = {
    "another beginning": ("client SYN\nsever ACK", 2, 1, "did you mean `server`?", "lookup"),
    "flags that are none": ("client SIN", 1, 8, "`SIN` are no flags; did you mean `SYN`?", "DATA"),
    "flags in another order": ("client ACK,SYN *", 1, 8, "write `SYN,ACK`", "order"),
    "flags with PSH": ("client PSH,ACK *", 1, 8, "`PSH,ACK`", "bytes are DATA"),
    "flags that are missing": ("client", 1, 7, "the line ends where the segment's flags must stand", "DATA"),
    "numbers without a length": ("client SYN 0:0", 1, 12, "`0:0` is no seq:end(length)", "next:*(*)"),
    "a seq that is none": ("client SYN nxt:0(0)", 1, 12, "`nxt` stands where a seq must; did you mean `next`?", "seq"),
    "an end that is none": ("client SYN 0:next(0)", 1, 14, "`next` stands where an end must", "seq"),
    "a negative length": ("client SYN 0:0(-1)", 1, 16, "`-1` stands where a length must", "seq"),
    "all as a seq": ("client SYN all:0(0)", 1, 12, "`all` is no seq", "`next`"),
    "next as an ack": ("client ACK 1:1(0) ack next", 1, 23, "`next` is no ack", "`all`"),
    "an ack that is none": (
        "client ACK 1:1(0) ack al",
        1,
        23,
        "`al` stands where an ack must; did you mean `all`?",
        "`*`",
    ),
    "an ack without its number": ("  client ACK 1:1(0) ack", 1, 24, "the line ends where the ack's number", "all"),
    "an ack in a shape": ("client ACK ack 1", 1, 12, "without numbers before it", "`*`"),
    "options in a shape": ("client SYN <mss>", 1, 12, "`<mss>` stands in a shape", "numbers"),
    "options with blanks": ("client SYN 0:0(0) <mss, ws>", 1, 19, "`<mss,` are no options", "without blanks"),
    "options after the text": ('client SYN * "GET" <mss>', 1, 20, "`<mss>` can't stand here", "in this order"),
    "a quote that is open": ('client DATA 1:2(1) ack 1 "GET /', 1, 26, "isn't closed", "close it"),
    "a brace in a quote that is open": ('client DATA 1:2(1) ack 1 "GET /a {', 1, 26, "isn't closed", "close it"),
    "or and a word": ("either {\nclient SYN\n} or x {\nserver SYN\n}", 3, 6, "`x` stands behind", "line of its own"),
    "flags without a comma": ("server SYNACK 0:0(0) ack 1", 1, 8, "did you mean `SYN,ACK`?", "flags are"),
    "a first connection": ("connection 1", 1, 12, "is no connection's number", "connection 2"),
    "a wildcard for a name in a shape": (
        "lookup A *.lab.test -> server\nclient SYN",
        2,
        1,
        "mixes the two forms",
        "NAME",
    ),
    "again in the exact form": ("client SYN 0:0(0) again", 1, 19, "`again` stands behind numbers", "shape"),
    "a word misspelt": ("client SYN agian", 1, 12, "did you mean `again`?", ""),
    "a word too many": ("client SYN again again", 1, 18, "`again` can't stand here", "in this order"),
    "a question mark alone": ("client SYN\n ?", 2, 2, "stands alone", "end of a line"),
    "no time": ("client SYN after", 1, 17, "the line ends where a time range must", "0.9s..1.1s"),
    "one time": ("client SYN after 1s", 1, 18, "`1s` is no time range", "0.9s..1.1s"),
    "a time without a unit": ("client SYN after 0.9..1.1s", 1, 18, "`0.9` is no time", "us, ms or s"),
    "a time in hours": ("client SYN after 1s..2h", 1, 22, "`2h` is no time", "us, ms or s"),
    "a range that ends first": ("client SYN after 2s..1s", 1, 18, "ends before it begins", "0.9s"),
    "a range without bounds": ("client SYN after ..", 1, 18, "is no time range", "..5ms"),
    "a lookup's time of a segment": ("client SYN took 1s..2s", 1, 12, "`took` is a lookup's", "after"),
    "a segment's time of a lookup": ("lookup A NAME -> server after 1s..", 1, 25, "`after` is a segment's", "took"),
    "no arrow": ("lookup A www.lab.test server", 1, 23, "`server` stands where `->` must", "lookup A"),
    "no outcome": ("lookup A www.lab.test ->", 1, 25, "the line ends where an alias or the outcome", "lookup A"),
    "no name": ("lookup A -> server", 1, 10, "stands where type and name do", "lookup A"),
    "two arrows": ("lookup A a -> -> server", 1, 15, "`->` stands where an alias", "lookup A"),
    "a status misspelt": ("lookup A a -> NXDOMIAN", 1, 15, "did you mean `NXDOMAIN`?", "SERVFAIL"),
    "an address that is none": ("lookup A a -> server,192.0.2.300", 1, 22, "`192.0.2.300` is no outcome", "addresses"),
    "queries that are none": ("lookup A a x0 -> server", 1, 12, "`x0` stands where `->` must", "x2"),
    "a connection without number": ("connection two", 1, 12, "`two` is no connection's number", "connection 2"),
    "numbers, and none": ("client SYN 0:0(0)\nserver SYN,ACK", 2, 1, "mixes the two forms", "seq:end(length)"),
    "none, and numbers": (
        "client SYN\nserver SYN,ACK *",
        2,
        16,
        "line 1 is one of a shape: the sequence mixes",
        "NAME",
    ),
    "a name in a shape": (
        "lookup A www.lab.test -> server\nclient SYN",
        2,
        1,
        "line 1 is one of the exact form",
        "NAME",
    ),
    "NAME in the exact form": ("client SYN *\nlookup A NAME -> server", 2, 10, "this lookup has NAME", "NAME"),
    "an address in a shape": ("lookup A NAME -> 192.0.2.80", 1, 18, "no outcome of a shape", "ADDRESS"),
    "a group of another kind": ("option {\nclient SYN\n}", 1, 1, "did you mean `optional`?", "any order"),
    "a group without its brace": ("optional\nclient SYN\n}", 1, 1, "stands where the line's `{` must", "optional {"),
    "a brace that sticks": ("optional{\nclient SYN\n}", 1, 1, "can't be read", "blank"),
    "a group that stays open": (
        "client SYN\n  optional {\nclient SYN",
        2,
        3,
        "begins `optional {`, which is never closed",
        "`}`",
    ),
    "a brace that closes nothing": ("client SYN\n}", 2, 1, "closes nothing", "opened"),
    "a group of nothing": ("optional {\n}", 2, 1, "in which nothing stands", "optional { … }"),
    "a branch of nothing": ("either {\n} or {\nclient SYN\n}", 2, 1, "in which nothing stands", "optional { … }"),
    "one branch": ("either {\nclient SYN\n}", 3, 1, "one branch", "} or {"),
    "a branch of no either": ("optional {\nclient SYN\n} or {\nclient ACK\n}", 3, 3, "stands in `optional`", "either"),
    "something behind a brace": ("optional {\nclient SYN\n} ?", 3, 3, "stands behind a `}`", "line of its own"),
    "any without order": ("any {\nclient SYN\n}", 1, 5, "`{` stands in the line of `any`", "any order {"),
    "any odder": ("any oder {\nclient SYN\n}", 1, 5, "did you mean `order`?", "any order {"),
    "an entry too many": ("any order {\n" + "client SYN\n" * 9 + "}", 10, 1, "entry 9", "at most 8"),
    "how often is missing": ("repeat {\nclient SYN\n}", 1, 8, "how often", "repeat 3 {"),
    "how often twice": ("repeat 2 3 {\nclient SYN\n}", 1, 10, "how often", "repeat 3 {"),
    "how often in words": ("repeat x3 {\nclient SYN\n}", 1, 8, "`x3` is no number of times", "repeat 3 {"),
    "at most less than at least": ("repeat 3..2 {\nclient SYN\n}", 1, 8, "at most less than at least", "1..40"),
    "never": ("repeat 0 {\nclient SYN\n}", 1, 8, "is never", "1..40"),
    "no bound": ("repeat .. {\nclient SYN\n}", 1, 8, "no number of times", "1..40"),
    "too deep": ("optional {\n" * 17 + "client SYN\n" + "}\n" * 17, 17, 1, "16 others", "16 deep"),
}


@pytest.mark.parametrize("name", ERRORS)
def test_what_cannot_be_read_is_said_with_line_and_column_and_what_may_stand_there(name: str) -> None:
    text, line, column, said, allowed = ERRORS[name]
    with pytest.raises(InputError) as caught:
        parse_expectation(text)
    message = str(caught.value)
    assert message.startswith(f"line {line}, column {column}: ")
    assert said in message
    assert allowed in caught.value.next_step
    assert caught.value.next_step


@pytest.mark.parametrize("text", ["client ACK ? ?", "lookup A x tcp x2 -> server"])
def test_the_word_that_is_refused_is_not_what_was_meant(text: str) -> None:
    with pytest.raises(InputError) as caught:
        parse_expectation(text)
    assert "did you mean" not in str(caught.value)


def test_comments_blank_lines_and_indentation_do_not_count() -> None:
    loose = "\n# client SYN\n\n\toptional  {\r\n   client   SYN  0:0(0)  \n\n }\n  # }\n"
    read = parse_expectation(loose)
    (group,) = read.root.items
    assert isinstance(group, Optional)
    assert isinstance(group.body, Block)
    (line,) = group.body.items
    assert isinstance(line, PatternLine)
    assert (line.number, line.text) == (5, "client SYN 0:0(0)")
    assert (read.form, read.line_count, read.source) == ("exact", 1, loose)


@pytest.mark.parametrize(
    ("text", "form"),
    [
        ("client SYN *", "exact"),
        ("client SYN *:*(*)", "exact"),
        ("client SYN", "shape"),
        ("lookup A NAME -> server", "shape"),
        ("lookup A * -> server\nclient SYN", "shape"),
        ("lookup A * -> server\nclient SYN *", "exact"),
        ("lookup A www.* -> server", "exact"),
        ("optional {\nclient SYN\n}", "shape"),
    ],
)
def test_the_form_is_that_of_the_lines(text: str, form: str) -> None:
    assert parse_expectation(text).form == form


def test_a_text_of_comments_alone_has_no_lines() -> None:
    assert parse_expectation("# nothing\n\n").line_count == 0


PIECES = [
    *(
        "client",
        "server",
        "lookup",
        "connection",
        "SYN",
        "ACK",
        "FIN,ACK",
        "DATA",
        "0:0(0)",
        "next:*(*)",
        "*",
        "ack",
        "all",
    ),
    *("1", "<mss>", "<*>", '"GET *"', '"', "again", "after", "took", "1s..2s", "?", "{", "}", "or", "optional", "any"),
    *(
        "order",
        "either",
        "repeat",
        "2..3",
        "x2",
        "tcp",
        "->",
        "NAME",
        "A",
        "www.lab.test",
        "server,*",
        "\n",
        "\n",
        " ",
        "\\",
    ),
]
TEXTS = st.one_of(
    st.text(max_size=60),
    st.lists(st.sampled_from(PIECES), max_size=30).map(" ".join),
    st.lists(st.sampled_from(sorted(text for text, *_ in ERRORS.values())), max_size=3).map("\n".join),
)


@given(TEXTS)
@example("?")
@example("} ?")
@example("{")
@example("²:0(0)\nclient SYN ²:٣(0) ack ²")
@example("repeat ² {\nclient SYN\n}")
@example("client SYN after ²s..")
@example("client \x00SYN\x1b[2J")
@example("optional {\n" * 10_000)
@example("client SYN " + "9" * 10_000 + ":0(0)")
@example("lookup A a -> " + "x," * 10_000)
def test_no_text_raises_anything_but_an_input_error_that_can_be_printed(text: str) -> None:
    error = _refusal(text)
    if error is not None:
        assert re.match(r"line \d+, column \d+: ", str(error))
        assert printable(str(error)) == str(error)
        assert len(str(error)) < 250
        assert error.next_step


def _refusal(text: str) -> InputError | None:
    try:
        parse_expectation(text)
    except InputError as error:
        return error
    return None
