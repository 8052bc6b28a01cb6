"""A mismatch in words: what differs, where, and what would have matched; and the documentation's examples."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from analysis.expect.difference import WIDTH, Explained
from analysis.expect.parse import parse_expectation
from analysis.files.capture import Health
from analysis.report import make_report
from analysis.rules.judge import Finding
from analysis.sequence import Sequence
from analysis.text import printable
from analysis.views.json import to_json
from analysis.views.style import Style, columns
from analysis.views.terminal import render
from tests.conftest import HERE
from tests.craft import NAME, Talk, fetch, report
from tests.expecting import first_difference
from tests.test_expect import of_sequence
from tests.test_sequence import SEQUENCES

PAGE = (HERE / "docs" / "expectations.md").read_text()
EXAMPLE = re.compile(
    r"### Example \d+: (?P<title>[^\n]*)\n\n[^\n]+\n\n```expect\n(?P<pattern>.*?)\n```\n\nThis is such a fetch:\n\n"
    r"```sequence\n(?P<good>.*?)\n```\n\nThis isn't:\n\n```sequence\n(?P<bad>.*?)\n```\n\n> (?P<said>[^\n]*)\n",
    re.DOTALL,
)
EXAMPLES = [found.groupdict() for found in EXAMPLE.finditer(PAGE)]


def test_ten_examples_and_more_are_published() -> None:
    assert len(EXAMPLES) == PAGE.count("### Example") >= 10


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda example: example["title"])
def test_a_published_example_holds(example: dict[str, str]) -> None:
    assert first_difference(example["pattern"], example["good"]) is None
    difference = first_difference(example["pattern"], example["bad"])
    assert difference
    assert difference.actual == example["said"]


FOUND = """\
lookup  A     www.lab.test -> server
lookup  AAAA  www.lab.test -> 2001:db8::80
client  SYN      0:0(0)                   <mss,sackok,ts,nop,ws>
server  SYN,ACK  0:0(0)        ack 1      <mss,sackok,ts,nop,ws>
client  ACK      1:1(0)        ack 1
client  DATA     1:77(76)      ack 1      "GET / HTTP/1.1"
server  ACK      1:1(0)        ack 77
server  DATA     1:242(241)    ack 77     "HTTP/1.1 302 Found"
client  ACK      77:77(0)      ack 242
client  FIN,ACK  77:77(0)      ack 242
server  FIN,ACK  242:242(0)    ack 78
client  ACK      78:78(0)      ack 243
"""


def differ(expected: str, found: str = FOUND) -> Explained:
    difference = first_difference(expected, found)
    assert difference
    return difference


def test_the_published_table_is_what_is_printed() -> None:
    relational = FOUND.replace('1:242(241)    ack 77     "HTTP/1.1 302 Found"', '1:*(*) ack 77 "HTTP/1.1 200 *"')
    for numbers in ("77:77", "242:242", "78:78"):
        relational = re.sub(rf"{numbers}\(0\) +ack \d+", "next:*(0) ack all", relational)
    table = re.search(r"<!-- a mismatch: the tests print it -->\n```text\n(.*?)```", PAGE, re.DOTALL)
    assert table
    assert "\n".join(differ(relational).details) + "\n" == table[1]


def test_the_field_that_differs_is_named() -> None:
    said = differ(FOUND.replace("1:242(241)    ack 77", "1:243(242)    ack 77")).details
    assert "differs: end is 242, not 243; length is 241, not 242" in said


def test_a_field_that_is_relative_says_its_number() -> None:
    text = FOUND.replace("1:242(241)    ack 77 ", "next:*(*) ack all ")
    assert "differs: seq is 11, not next, which is 1" in differ(text, FOUND.replace("1:242", "11:242")).details
    said = differ(text, FOUND.replace("1:242(241)    ack 77", "1:242(241)    ack 76")).details
    assert "differs: ack is 76, not all, which is 77" in said


def test_what_was_not_written_is_said_with_its_wildcard() -> None:
    said = " ".join(differ(FOUND.replace("<mss,sackok,ts,nop,ws>", "")).details)
    assert "options are <mss,sackok,ts,nop,ws>, not none (`<*>` is any)" in said
    said = " ".join(differ(FOUND.replace('"GET / HTTP/1.1"', "")).details)
    assert 'the start line is "GET / HTTP/1.1", not none ("*" is any)' in said


def test_a_frame_too_many_one_too_few_and_two_that_are_swapped_are_told_apart() -> None:
    lines = FOUND.splitlines(keepends=True)
    without = "".join(lines[:6] + lines[7:])
    swapped = "".join([*lines[:8], lines[9], lines[8], *lines[10:]])
    assert "one more: frame 8 is what line 7 expects" in differ(without).details
    assert "one is missing: frame 7 is what line 8 expects" in differ(FOUND, without).details
    assert "in another order: frame 10 is what line 9 expects" in differ(FOUND, swapped).details
    table = differ(FOUND, without).details
    marked = next(line for line in table if "≠" in line)
    assert marked.split("≠")[1].strip() == "–"


def test_an_end_that_comes_too_soon_or_too_late_is_said() -> None:
    lines = FOUND.splitlines(keepends=True)
    assert differ(FOUND, "".join(lines[:-1])).actual == (
        "the end after frame 11, instead of `client ACK 78:78(0) ack 243`"
    )
    late = differ("".join(lines[:-1]))
    assert late.actual == "frame 12: `client ACK 78:78(0) ack 243` instead of the end"
    assert late.details[-1] == "would have matched: the end"
    assert late.frames == (12,)


def test_every_line_that_would_have_matched_is_listed_once() -> None:
    branches = ("server RST *", "server RST,ACK *", "server RST *\nserver RST *", "client RST *")
    close = "either {\n" + "\n} or {\n".join(branches) + "\n}\n"
    said = differ("".join(FOUND.splitlines(keepends=True)[:-2]) + close)
    assert said.details[-4:] == ("would have matched:", "  `server RST *`", "  `server RST,ACK *`", "  `client RST *`")
    assert said.actual.endswith("or 2 others")


def test_of_many_alternatives_the_nearest_is_shown_and_a_few_are_listed() -> None:
    many = "} or {\n".join(f"server DATA 1:{number}({number - 1}) ack 77\n" for number in range(230, 250))
    said = differ("".join(FOUND.splitlines(keepends=True)[:7]) + f"either {{\n{many}}}\n")
    assert said.details[-1] == "  and 12 more"
    assert "`server DATA 1:242(241) ack 77`" in said.actual


def test_a_time_out_of_range_is_said_with_what_was_measured() -> None:
    said = differ("client SYN\nclient SYN again after 0.9s..1.1s", "0.000000 client SYN\n3.004000 client SYN again")
    assert said.actual == "frame 2: `client SYN again` came after 3.004 s instead of `after 0.9s..1.1s`"
    assert "differs: the time since the segment before is 3.004 s, not 0.9s..1.1s" in said.details
    assert any("client SYN again after 3.004 s" in line for line in said.details)


def test_nothing_at_all_is_said() -> None:
    nothing = first_difference("client SYN\n", ())
    assert nothing
    assert nothing.actual == "nothing at all, instead of `client SYN`"
    assert nothing.frames == ()


# --- as a finding ---


def _finding(expected: str, health: Health = "complete") -> Finding:
    return make_report(report(fetch(), health).capture, None, parse_expectation(expected)).findings[-1]


def test_a_finding_has_the_frame_of_the_first_difference_and_the_table() -> None:
    found = report(fetch()).exact
    wrong = str(found).replace("302 Found", "200 OK").replace('"HTTP/1.1 200 OK"', '"HTTP/1.1 404 *"')
    finding = _finding(wrong)
    assert finding.status == "fail"
    assert finding.actual.startswith(f"frame {finding.frames[0]}: `server DATA")
    assert len(finding.frames) == 1
    assert any("≠" in line for line in finding.details)
    assert _finding(wrong, "unknown").status == "inconclusive"
    assert _finding(wrong, "unknown").details == finding.details
    assert _finding(str(found)).details == ()


def test_terminal_and_json_show_the_table() -> None:
    shown = make_report(report(fetch(), "complete").capture, None, parse_expectation("client SYN\nserver RST"))
    text = render(shown, Style(80))
    for line in shown.findings[-1].details:
        assert f"    {line}\n" in text
    assert max(columns(line) for line in text.splitlines() if "sequence" not in line) <= 80
    assert to_json(shown)["findings"][-1]["details"] == list(shown.findings[-1].details)
    assert max(columns(line) for line in render(shown, Style(40)).splitlines() if "≠" in line) <= 40


# --- hostile text ---


@given(SEQUENCES, SEQUENCES)
def test_whatever_differs_fits_eighty_columns_and_moves_no_cursor(one: Sequence, other: Sequence) -> None:
    difference = first_difference(str(one), of_sequence(other))
    if difference is None:
        return
    assert all(printable(line) == line and columns(line) <= WIDTH for line in difference.details)
    assert printable(difference.actual) == difference.actual
    assert difference.details[-1]


@given(st.text(max_size=80).filter(lambda text: "\n" not in text))
def test_a_hostile_expectation_is_escaped_and_cut(text: str) -> None:
    quoted = text.replace("\\", "\\\\").replace('"', '\\"')
    difference = first_difference(f'server DATA * "{quoted}!"\n# {text}\nclient ACK *', "client ACK 1:1(0) ack 1")
    assert difference
    assert all(printable(line) == line and columns(line) <= WIDTH for line in difference.details)


def test_a_hostile_request_gives_no_order_to_a_terminal_or_a_ci_system() -> None:
    request = f"GET /\x1b[2J##[error]\u202e HTTP/1.1\r\nHost: {NAME}\r\n\r\n".encode()
    talk = Talk().open().send("client", "PA", request)
    shown = make_report(report(talk.frames).capture, None, parse_expectation("client SYN * <*>\nserver ACK *\n"))
    shown = make_report(shown.capture, None, parse_expectation(str(shown.exact).replace("GET", "PUT")))
    assert shown.findings[-1].details
    text = render(shown, Style(80))
    assert "##[error]" not in text
    assert all(line.isprintable() for line in text.splitlines())
