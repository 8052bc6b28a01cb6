"""A report as tests with pytest see it, and what a comparison with one of its facts says when it fails."""

import copy
import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from scapy.layers.l2 import ARP, Ether

from analysis.files.capture import read_capture
from analysis.report import make_report
from grading.pytest_plugin import source as source_module
from grading.pytest_plugin.assertions import explain
from grading.pytest_plugin.choice import Choice
from grading.pytest_plugin.outcomes import NotJudged, UnknownFactError, WrongCapture, clean
from grading.pytest_plugin.source import Source, analyse, read
from grading.pytest_plugin.view import Number, Real, ReportView, Text
from tests.conftest import HERE
from tests.craft import Talk, answer, fetch, lookup, pcap, question
from tests.craft import report as craft_report
from tests.hostile import CORPUS, hostile_captures
from tests.test_hostile import is_harmless

SAMPLE = HERE / "samples" / "google-2016.pcap"
FOUR_SEGMENTS = Talk().open().exchange().send("client", "FA").send("server", "A")
FOUR_SEGMENTS.send("server", "FA").send("client", "A")


def seen(frames: list | None = None) -> ReportView:
    """The report on the frames, or on the sample, as a test sees it."""
    made = craft_report(frames) if frames is not None else make_report(read_capture(SAMPLE))
    return ReportView("it.pcap", lambda: Source("it.pcap", made))


def said(op: str, left: object, right: object) -> str:
    lines = explain(op, left, right, is_verbose=False)
    assert lines
    # pytest shows ten lines, and cuts what is longer than 710 characters
    assert len(lines) <= 10
    assert sum(map(len, lines)) <= 710, lines
    return "\n".join(lines)


# --- what a test sees ---


def test_facts_behave_as_plain_values() -> None:
    report = seen()
    assert report.connection.close.variant == "three-segment"
    assert report.connection.close.frames == [14, 15, 16]
    assert report.connection.server == {"address": "216.58.203.4", "port": 80}
    assert report.connection.close.complete is True
    assert report.connection.tls is None
    assert report.connection.rtt_s == pytest.approx(0.0417, abs=1e-4)
    assert report.exchange.status + 1 == 303
    assert [type(one) for one in (report.verdict, report.exchange.status, report.connection.rtt_s)] == [
        Text,
        Number,
        Real,
    ]
    assert {report.verdict: 1}["pass"] == 1
    assert json.loads(json.dumps([report.verdict, report.connection.close.frames])) == ["pass", [14, 15, 16]]
    assert [copy.copy(report.verdict), copy.copy(report.exchange.status)] == ["pass", 302]


def test_lists_give_facts_however_they_are_gone_through() -> None:
    segments = seen().segments
    assert segments[-1].origin.path == "segments[9]"
    assert [one.origin.path for one in segments][:2] == ["segments[0]", "segments[1]"]
    assert next(reversed(segments)).frame == 16
    assert [one.frame for one in segments[1:3]] == [8, 9]
    with pytest.raises(IndexError, match=r"no segments\[10\]: segments has 10 entries"):
        segments[10]


def test_the_words_of_python_get_a_dash() -> None:
    assert seen().segments[0].from_ == "client"
    assert seen().segments[0]["from"] == "client"


def test_a_fact_knows_the_frames_that_show_it() -> None:
    report = seen()
    assert report.connection.close.variant.origin.frames == (14, 15, 16)
    assert report.segments[3].seq.origin.frames == (10,)
    assert report.finding("tcp.handshake").status.origin.frames == (7, 8, 9)


@pytest.mark.parametrize(
    ("look", "message"),
    [
        (lambda report: report.connection.close.varient, "connection.close has no 'varient'; did you mean 'variant'?"),
        (lambda report: report.variant, "the report has no 'variant'; did you mean 'connection.close.variant'?"),
        (lambda report: report.get("lookp"), "the report has no 'lookp'; did you mean 'lookup'?"),
        (lambda report: report["zzz"], "the report has no 'zzz'. There is: capture, "),
        (lambda report: report.connections.close, "connections is a list of 1 entry, which has no 'close'"),
        (lambda report: report.finding("tcp.closed"), "findings has no 'tcp.closed'; did you mean 'tcp.close'?"),
    ],
)
def test_a_name_that_is_not_there_is_told_with_those_that_are(
    look: Callable[[ReportView], object], message: str
) -> None:
    with pytest.raises(UnknownFactError, match=re.escape(message)):
        look(seen())


def test_what_python_and_pytest_ask_of_any_object_does_not_read_the_capture() -> None:
    def load() -> Source:
        raise AssertionError

    report = ReportView("a\x1b.pcap", load)
    assert repr(report) == "<report on a\\x1b.pcap>"
    assert not hasattr(report, "__wrapped__")


def test_a_report_without_a_fetch_says_so() -> None:
    report = seen([Ether() / ARP()])
    assert "connection" not in report
    assert report.get("lookup", "none") == "none"
    assert report.connections == []
    with pytest.raises(WrongCapture, match="there is no connection: no lookup and no TCP connection is in the capture"):
        _ = report.connection
    with pytest.raises(WrongCapture, match="there is no exchange in this fetch"):
        _ = seen([question(), answer(rcode=3)]).exchange


def test_names_that_only_the_capture_has_may_be_missing() -> None:
    others = seen().capture.other_frames
    assert others.get("ARP", 0) == 0
    with pytest.raises(KeyError) as raised:
        others["ARP"]
    assert not isinstance(raised.value, UnknownFactError)
    assert not hasattr(others, "ARP")


def test_parts_say_in_a_line_what_they_are() -> None:
    report = seen()
    shown = [repr(report.connection), repr(report.connection.close), repr(report.segments[0]), repr(report.exchange)]
    assert shown == [
        "<connection: 10.10.180.23:35944 → 216.58.203.4:80>",
        "<connection.close: three-segment, frames 14–16>",
        "<segments[0]: client SYN 0, frame 7>",
        "<exchange: GET / 302, frames 10, 12>",
    ]
    assert repr(report.exchanges) == "<exchanges: 1 entry: GET / 302>"
    assert repr(report.connection.bytes) == "<connection.bytes: client 175 server 479>"


# --- what a failed comparison says ---


def test_a_variant_of_the_close_is_explained() -> None:
    text = said("==", seen().connection.close.variant, "four-segment")
    assert text.splitlines()[:5] == [
        "connection.close.variant == 'four-segment'",
        "  found     'three-segment'",
        "  expected  'four-segment'",
        "  why       the ACK of the first FIN rides on the second FIN: three segments, not four",
        "  frames    14–16",
    ]


@pytest.mark.parametrize(
    ("op", "left", "right", "parts"),
    [
        ("<", lambda r: r.segments[4].ack, lambda _: 100, ["less than 100", "Ack 176 = 1 + 175", "frame     11"]),
        ("<", lambda _: 500, lambda r: r.segments[4].ack, ["500 < segments[4].ack", "more than 500"]),
        ("in", lambda _: "FIN", lambda r: r.segments[0].flags, ["'FIN' in segments[0].flags", "'FIN' in it"]),
        ("in", lambda r: r.lookup.status, lambda _: ("nxdomain",), ["one of ('nxdomain',)", "frames    3, 6"]),
        ("!=", lambda r: r.verdict, lambda _: "pass", ["anything but 'pass'"]),
        ("==", lambda r: r.segments[0].seq, lambda r: r.segments[3].seq, ["segments[3].seq (1)", "frames    7, 10"]),
        ("==", lambda r: r.connection.server, lambda _: {"port": 81}, ["port      found 80, expected 81"]),
        ("==", lambda r: r, lambda _: {"verdict": "fail", "x": 1}, ["report == ", "expected nothing"]),
        ("is", lambda r: r.connection.close.variant, lambda _: None, ["expected  is None"]),
        ("==", lambda r: r.connection.close.frames, lambda _: [1], ["found     [14, 15, 16]", "expected  [1]"]),
        ("==", lambda r: r.connection.rtt_s, lambda _: 1, ["found     0.0416"]),
        ("==", lambda r: r.story.sequence.shape, lambda _: "a\nb\n", ["line 1: 'lookup  A", "line 1: 'a'"]),
        ("==", lambda r: r.story.sequence.shape, lambda r: r.story.sequence.shape + "\n\n", ["end differently", ""]),
        ("==", lambda r: r.finding("tcp.close").status, lambda _: "fail", ["why       Both sides closed, both"]),
    ],
)
def test_every_comparison_says_what_was_found_and_what_was_expected(
    op: str, left: Callable, right: Callable, parts: list[str]
) -> None:
    report = seen()
    text = said(op, left(report), right(report))
    for part in parts:
        assert part in text


def test_a_verdict_is_explained_by_the_rules_that_led_to_it() -> None:
    report = seen(lookup() + Talk().open().exchange().frames)
    text = said("==", report.verdict, "pass")
    assert "why       tcp.close inconclusive: " in text


def test_other_comparisons_are_left_to_pytest() -> None:
    assert explain("==", "a", "b", is_verbose=False) is None
    assert explain("==", Text("a"), "b", is_verbose=False) is None


@pytest.mark.parametrize("text", CORPUS, ids=lambda text: ascii(text[:20]))
def test_what_a_capture_says_is_harmless_in_messages(text: bytes) -> None:
    for frames in hostile_captures(text):
        report = seen(frames)
        for fact in (report.story.name, report.story.sequence.exact, report.verdict, report.frames[0].line):
            assert is_harmless(said("==", fact, "x"))
            assert is_harmless(said("==", "x\n::error::", fact))
        reprs = (
            repr(part) for part in (report.lookups, report.stories, report.story, report.get("lookup"), report.frames)
        )
        assert all(text.isprintable() for text in reprs)


def test_what_is_shown_keeps_its_lines() -> None:
    assert clean("a\tb\n  ::error::x\n\x1b[2J") == "a       b\n  \\x3a:error::x\n\\x1b[2J"


# --- the file ---


def test_a_capture_is_read_anew_when_it_has_changed(tmp_path: Path) -> None:
    path = tmp_path / "it.pcap"
    path.write_bytes(pcap(fetch()))
    choice = Choice(path, "it.pcap", None)
    first = analyse(choice)
    assert analyse(choice) is first
    path.write_bytes(pcap(FOUR_SEGMENTS.frames))
    assert analyse(choice).parts["connections"][0]["close"]["variant"] == "four-segment"


def test_an_analysis_that_breaks_down_is_nobodys_failure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(source_module, "make_report", broken)
    shutil.copy(SAMPLE, tmp_path / "it.pcap")
    with pytest.raises(NotJudged, match=r"it\.pcap: the analysis broke down: ZeroDivisionError") as raised:
        analyse(Choice(tmp_path / "it.pcap", "it.pcap", None))
    assert raised.value.pytrace


def test_a_file_that_is_no_capture_is_told_by_the_name_it_was_given(tmp_path: Path) -> None:
    (tmp_path / "empty\n::error::.pcap").touch()
    with pytest.raises(WrongCapture) as raised:
        read(Choice(tmp_path / "empty\n::error::.pcap", "empty\n::error::.pcap", None))
    assert str(raised.value).startswith("empty\\x0a::error::.pcap: is empty")
    assert "\nnext: " in str(raised.value)
