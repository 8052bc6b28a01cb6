"""The report as text and as JSON: the sample of 2016, eighty columns, explanations, hostile captures."""

import json
import random
import re
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from analysis.errors import InputError
from analysis.explain.frames import explain
from analysis.files.capture import parse_capture, read_capture
from analysis.report import Report, make_report
from analysis.sequence import parse_sequence
from analysis.text import listed, printable
from analysis.views.frames import frame_lines
from analysis.views.json import iso_time, to_json
from analysis.views.phases import phases
from analysis.views.style import Style, columns, wrap
from analysis.views.terminal import render
from tests.conftest import HERE
from tests.craft import NAME, Talk, fetch, lookup, pcap, question, report

SCHEMA = json.loads((HERE / "docs" / "report.schema.json").read_text())
SAMPLE = HERE / "samples" / "google-2016.pcap"


@pytest.fixture(scope="module")
def sample() -> Report:
    return make_report(read_capture(SAMPLE))


def test_the_sample_is_told_in_the_numbers_of_the_tutorial(sample: Report) -> None:
    assert sample.story is not None
    assert sample.story.name == "www.google.com"
    assert sample.verdict == "pass"
    (connection,) = sample.story.connections
    assert [(s.sender, s.seq, s.ack, s.length) for s in connection.segments] == [
        ("client", 0, None, 0),
        ("server", 0, 1, 0),
        ("client", 1, 1, 0),
        ("client", 1, 1, 175),
        ("server", 1, 176, 0),
        ("server", 1, 176, 479),
        ("client", 176, 480, 0),
        ("client", 176, 480, 0),
        ("server", 480, 177, 0),
        ("client", 177, 481, 0),
    ]


def test_the_sample_corrects_the_mistakes_of_the_tutorial(sample: Report) -> None:
    text = render(sample, Style(80), with_explanations=True)
    flat = " ".join(text.split())
    for phrase in (
        "Three-segment close",
        "three segments, not four",
        "Ack is the next byte expected, no count of packets",
        "Ack 176 = 1 + 175: bytes 1 to 175 have arrived, 176 is the next expected",
        "241 on the wire − 66 of headers = 175",
        "Ack 177 = 176 + 1: the client's FIN consumes one number",
        "2 questions, A and AAAA; the answers may come in either order",
        "2404:6800:4005:804::2004 goes unused",
    ):
        assert phrase in flat, phrase
    for slip in ("10.10.180.13", "103.235.46.39", "template.ig.com"):
        assert slip not in text


def test_the_ack_of_the_response_is_in_the_exchange_not_in_the_close(sample: Report) -> None:
    rows = {phase.title: [row.frame for row in phase.rows] for phase in phases(sample)}
    assert rows == {
        "Name lookup": [3, 4, 5, 6],
        "Three-way handshake": [7, 8, 9],
        "HTTP exchange": [10, 11, 12, 13],
        "Three-segment close": [14, 15, 16],
    }


@pytest.mark.parametrize("with_explanations", [False, True])
def test_no_line_is_wider_than_the_terminal(sample: Report, *, with_explanations: bool) -> None:
    for width in (80, 100):
        text = render(sample, Style(width), with_explanations=with_explanations)
        assert [line for line in text.splitlines() if columns(line) > width] == []


@given(st.text("ab -日é\u0301", max_size=60), st.integers(1, 20), st.integers(0, 8), st.integers(0, 8))
def test_wrapping_fits_the_columns_and_loses_nothing_but_blanks(text: str, width: int, first: int, rest: int) -> None:
    lines = wrap(text, width, " " * first, " " * rest)
    assert "".join(lines).replace(" ", "") == text.replace(" ", "")
    for line, indent in zip(lines, [first] + [rest] * len(lines), strict=False):
        assert columns(line) <= max(width, indent + 2)  # one character, wide at most, where there is no room


def test_a_word_is_broken_only_where_no_line_could_hold_it() -> None:
    assert wrap("of the two-part closing", 10, "  ", " ") == ["  of the", " two-part", " closing"]
    assert wrap("日本語の名前", 5) == ["日本", "語の", "名前"]
    assert wrap("GET /a-long-target", 8) == ["GET", "/a-long-", "target"]


def test_without_a_terminal_a_frame_is_one_line(sample: Report) -> None:
    text = render(sample, Style(None))
    assert "\x1b" not in text
    for line in frame_lines(sample):
        assert str(line) in text.splitlines()


def test_colour_comes_only_if_asked(sample: Report) -> None:
    assert "\x1b[32m✓\x1b[0m" in render(sample, Style(80, colour=True))
    plain = re.sub(r"\x1b\[\d+m", "", render(sample, Style(80, colour=True)))
    assert plain == render(sample, Style(80))


def test_every_frame_of_the_story_is_explained(sample: Report) -> None:
    assert sample.story is not None
    sentences = explain(sample)
    assert set(sentences) == set(sample.story.frames)


SUM = re.compile(r"(Seq|Ack) (\d+) = (\d+(?: \+ \d+)+)")


@given(st.binary(min_size=1, max_size=300), st.binary(min_size=1, max_size=300), st.sampled_from(["client", "server"]))
def test_the_sums_of_an_explanation_are_true_of_its_frame(request: bytes, response: bytes, first: str) -> None:
    found = report(Talk().open().exchange(request, response).close(first).frames)
    (connection,) = found.traffic.connections
    sentences = explain(found)
    sums = 0
    for segment in connection.segments:
        for number, total, terms in SUM.findall(sentences[segment.frame]):
            assert int(total) == (segment.seq if number == "Seq" else segment.ack)
            assert sum(int(term) for term in terms.split(" + ")) == int(total)
            sums += 1
    assert sums >= 10


def test_a_retransmission_is_explained_as_one() -> None:
    talk = Talk().send("client", "S").send("client", "S", seq=1000).send("server", "SA").send("client", "A")
    sentences = explain(report(talk.frames))
    assert "Seq 0 again: frame 1 is sent once more." in sentences[2]


def test_a_duplicate_ack_is_said_to_wait_for_the_same_byte() -> None:
    talk = Talk().open().send("client", "PA", b"one")
    talk.send("client", "PA", b"three", seq=talk.next["client"] + 3)
    talk.send("server", "A", ack=1004).send("server", "A", ack=1004)
    sentences = explain(report(talk.frames))
    assert "Seq 7: numbers 4 to 6 of the client are not in this capture so far." in sentences[5]
    assert "Ack 4 as before: 4 is still the next expected of the client." in sentences[7]


HOSTILE = ["\x1b[2J", "\x9b31m", "\u202e", "\u2066", "\r\n", "\x07", "\x00", "\x7f", "|", "<b>", "::error::"]


def _hostile() -> list[Any]:
    target = "".join(HOSTILE).replace("\r\n", "").replace("\x00", "")
    request = f"GET /{target} HTTP/1.1\r\nHost: {NAME}\x1b[1m\r\n\r\n".encode("utf-8", "replace")
    response = f"HTTP/1.1 200 \x1b]0;x\x07{target}\r\nContent-Type: \x1b[5m\r\n\r\n".encode("utf-8", "replace")
    frames = Talk().open().exchange(request, response).close().frames
    return [question(name="evil\x1b[31m\u202e.example"), *lookup(), *frames]


def test_nothing_in_a_capture_can_steer_the_terminal() -> None:
    for host in (None, "evil\\027[31m\\226\\128\\174.example"):
        text = render(report(_hostile(), host=host), Style(80), with_explanations=True)
        assert [char for char in text if not char.isprintable() and char != "\n"] == []


@given(st.text())
def test_printable_text_is_printable(text: str) -> None:
    assert printable(text).isprintable()


def test_frame_numbers_are_listed_as_runs() -> None:
    assert listed((12, 7, 8, 9, 14, 15)) == "7–9, 12, 14–15"


@pytest.mark.parametrize(
    "frames",
    [fetch(), lookup(), Talk().send("client", "S").frames, Talk().exchange().frames, _hostile()],
    ids=["fetch", "lookup alone", "a SYN", "joined midway", "hostile"],
)
def test_the_json_report_follows_its_published_schema(frames: list[Any]) -> None:
    values = json.loads(json.dumps(to_json(report(frames))))
    jsonschema.validate(values, SCHEMA, cls=jsonschema.Draft202012Validator)


def test_the_json_report_of_the_sample(sample: Report) -> None:
    values = to_json(sample)
    jsonschema.validate(values, SCHEMA, cls=jsonschema.Draft202012Validator)
    (connection,) = values["connections"]
    assert connection["completeness"] == 31
    assert connection["rtt_s"] == pytest.approx(0.041678305)
    assert connection["close"] == {
        "variant": "three-segment",
        "first_closer": "client",
        "complete": True,
        "frames": [14, 15, 16],
        "fin_with_data": [],
        "fin_retransmitted": [],
        "half_close_data": False,
        "last_ack_missing": False,
        "reset_after": None,
        "stray_resets": [],
    }
    assert connection["handshake"]["options"]["client"][0] == {
        "kind": 2,
        "name": "mss",
        "value": "05b4",
        "text": "MSS 1460",
    }
    assert connection["bytes"] == {"client": 175, "server": 479}
    story = values["stories"][values["chosen_story"]["index"]]
    assert [segment["states"]["client"] for segment in story["segments"]][-3:] == [
        "FIN-WAIT-1",
        "TIME-WAIT",
        "TIME-WAIT",
    ]
    syn = story["segments"][0]
    assert (syn["seq"], syn["raw_seq"], syn["raw_ack"], syn["window"]) == (0, connection["client_isn"], None, 14600)
    assert [segment["window"] for segment in story["segments"][1:3]] == [42540, 14656]
    assert values["capture"]["first_time"] == "2016-08-02T06:01:00.831905064Z"
    assert Path(values["capture"]["path"]).name == "google-2016.pcap"


def test_the_schema_refuses_what_is_no_report(sample: Report) -> None:
    values = to_json(sample)
    values["verdict"] = "perhaps"
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(values, SCHEMA)


@given(st.randoms(use_true_random=False), st.sampled_from(["fetch", "sample"]))
@settings(max_examples=300)
def test_a_damaged_capture_is_read_or_refused_and_every_view_can_be_made(dice: random.Random, which: str) -> None:
    data = bytearray(pcap(fetch()) if which == "fetch" else SAMPLE.read_bytes())
    for _ in range(dice.randint(1, 20)):
        data[dice.randrange(len(data))] = dice.choice([0, 0xFF, 0x80, 0xC0, dice.randrange(256)])
    try:
        damaged = parse_capture(bytes(data[: dice.randint(len(data) // 2, len(data))]), "damaged.pcap")
    except InputError:
        return
    found = make_report(damaged)
    text = render(found, Style(80, colour=False), with_explanations=True)
    assert [char for char in text if not char.isprintable() and char != "\n"] == []
    jsonschema.validate(json.loads(json.dumps(to_json(found))), SCHEMA, cls=jsonschema.Draft202012Validator)
    assert parse_sequence(str(found.exact)) == found.exact


def test_times_keep_their_nanoseconds() -> None:
    assert iso_time(1_470_117_660_831_905_064) == "2016-08-02T06:01:00.831905064Z"
