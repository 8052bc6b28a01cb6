"""Nothing in a capture can steer a terminal, forge a line, or give orders to a CI system, wherever it is printed."""

import json
import re
import subprocess
from pathlib import Path

import jsonschema
import pytest

from analysis.files.capture import parse_capture
from analysis.report import Report, make_report
from analysis.sequence import parse_sequence
from analysis.summary import summarise
from analysis.text import printable, without_commands
from analysis.views.json import json_text, to_json
from analysis.views.style import Style, columns
from analysis.views.summary import render_summary
from analysis.views.terminal import render
from tests.conftest import HERE
from tests.craft import pcap
from tests.hostile import CORPUS, hostile_captures, hostile_pcapng
from tests.test_lab import INVOKE

SCHEMA = json.loads((HERE / "docs" / "report.schema.json").read_text())
ORDER = re.compile(r"^\s*::[A-Za-z]|##\w*\[", re.MULTILINE)
PAINT = re.compile(r"\x1b\[\d+m")  # our own colours, and nothing else
corpus = pytest.mark.parametrize("text", CORPUS, ids=lambda text: ascii(text[:20]))


def is_harmless(text: str) -> bool:
    return text.replace("\n", "").isprintable() and ORDER.search(text) is None


def check(report: Report) -> None:
    for width in (None, 40, 80):
        for explained in (False, True):
            text = render(report, Style(width), with_explanations=explained)
            assert is_harmless(text), text
            coloured = render(report, Style(width, colour=True), with_explanations=explained)
            assert is_harmless(PAINT.sub("", coloured))
    written = "".join(json_text(report))
    assert written.isascii()
    assert ORDER.search(written) is None
    assert json.loads(written) == json.loads(json.dumps(to_json(report)))
    jsonschema.validate(json.loads(written), SCHEMA, cls=jsonschema.Draft202012Validator)
    assert parse_sequence(str(report.exact)) == report.exact
    assert is_harmless(render_summary(summarise(report.capture), Style(80)))


@corpus
def test_text_in_packets_is_harmless_in_every_view(text: bytes) -> None:
    for frames in hostile_captures(text):
        capture = parse_capture(pcap(frames), "hostile.pcap")
        report = make_report(capture)
        assert report.story is not None
        check(report)
        for story in report.stories:
            check(make_report(capture, host=story.name))


@corpus
def test_text_in_a_files_comments_is_harmless_in_every_view(text: bytes) -> None:
    report = make_report(parse_capture(hostile_pcapng(text), text.decode("latin-1")))
    assert len(report.capture.comments) >= 6
    check(report)


def test_the_corpus_is_shown_and_not_dropped() -> None:
    """A view that left hostile text out would pass all the others."""
    (_, story, *_) = hostile_captures(CORPUS[0])
    text = render(make_report(parse_capture(pcap(story), "a")), Style(None))
    assert "GET /\\x1b[2J\\x1b[31m HTTP/1.1" in text


def test_a_wrapped_line_that_would_begin_as_an_order_does_not() -> None:
    assert without_commands("x\n  ::error::y\n::1 ::error") == "x\n  \\x3a:error::y\n::1 ::error"


def test_errors_and_paths_are_harmless_too(tmp_path: Path) -> None:
    path = tmp_path / "x\x1b[31m\n::error::y"
    path.write_bytes(b"no capture")
    done = subprocess.run([*INVOKE, "analyze", str(path)], cwd=HERE, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert is_harmless(done.stderr + done.stdout)


def test_wide_characters_stay_in_their_columns() -> None:
    assert columns(printable("漢字")) == 4
