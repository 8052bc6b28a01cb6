"""A capture in counts: the same as the report's own lists, by the published schema, whatever its length."""

import json
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from analysis.files.capture import Capture, parse_capture, read_capture
from analysis.report import make_report
from analysis.summary import summarise
from analysis.tcp.flows import BATCH
from analysis.traffic import Traffic
from analysis.views.json import to_json
from analysis.views.style import Style, columns
from analysis.views.summary import render_summary, summary_to_json
from lab.fetches import write_fetches
from tests.conftest import CAPTURES, HERE
from tests.craft import Talk, answer, capture, fetch, lookup, question
from tests.odd_traffic import odd_capture
from tests.test_lab import invoke

SCHEMA = json.loads((HERE / "docs" / "summary.schema.json").read_text())
SAMPLE = HERE / "samples" / "google-2016.pcap"


def _odd() -> Capture:
    return parse_capture(odd_capture(3, 40), "odd.pcap")


def _mixed() -> Capture:
    second = Talk(port=41000).send("client", "S").send("server", "RA", seq=0)
    retried = [question(name="slow.example.com", number=9), question(name="slow.example.com", number=9)]
    return capture([*fetch(), *second.frames, *retried, answer(rcode=3, name="slow.example.com", number=9)])


def _lookup() -> Capture:
    return capture(lookup())


def _sample() -> Capture:
    return read_capture(SAMPLE)


MADE: dict[str, Callable[[], Capture]] = {"mixed": _mixed, "odd": _odd, "a lookup": _lookup, "sample": _sample}


def _counted(report: dict[str, Any]) -> dict[str, Counter[str]]:
    connections = report["connections"]
    return {
        "status": Counter(lookup["status"] for lookup in report["lookups"]),
        "type": Counter(lookup["type"] for lookup in report["lookups"]),
        "handshake": Counter(one["handshake"]["status"] for one in connections),
        "kind": Counter(one["handshake"]["kind"] for one in connections if one["handshake"]["kind"]),
        "variant": Counter(one["close"]["variant"] for one in connections),
        "closer": Counter(one["close"]["first_closer"] for one in connections if one["close"]["first_closer"]),
        "complete": Counter("complete" for one in connections if one["close"]["complete"]),
        "events": Counter(
            event["kind"] for one in connections for event in one["events"] if event["kind"] != "bad-checksum"
        ),
    }


@pytest.mark.parametrize("name", MADE)
def test_the_counts_are_those_of_the_report(name: str) -> None:
    made = MADE[name]()
    values = summary_to_json(summarise(made))
    jsonschema.validate(values, SCHEMA, cls=jsonschema.Draft202012Validator)
    report = _counted(to_json(make_report(made)))
    close = values["connections"]["close"]
    assert values["lookups"]["status"] == report["status"]
    assert values["lookups"]["type"] == report["type"]
    assert values["connections"]["handshake"] == {"status": report["handshake"], "kind": report["kind"]}
    assert (close["variant"], close["first_closer"]) == (report["variant"], report["closer"])
    assert close["facts"].get("complete", 0) == report["complete"]["complete"]
    assert values["connections"]["events"] == report["events"]


@pytest.mark.needs("captures")
def test_a_summary_can_be_made_of_every_real_capture() -> None:
    for path in sorted(CAPTURES.glob("*.pcap*")):
        values = summary_to_json(summarise(read_capture(path)))
        jsonschema.validate(values, SCHEMA, cls=jsonschema.Draft202012Validator)
        assert values["connections"]["count"] == sum(values["connections"]["close"]["variant"].values())


@pytest.mark.parametrize("name", MADE)
def test_a_summary_is_text_for_eighty_columns(name: str) -> None:
    text = render_summary(summarise(MADE[name]()), Style(80))
    assert [line for line in text.splitlines() if columns(line) > 80] == []
    assert [char for char in text if not char.isprintable() and char != "\n"] == []


def test_the_task_prints_it_and_judges_nothing(tmp_path: Path) -> None:
    refused = tmp_path / "refused.pcap"
    write_fetches(refused, 40)
    done = invoke("analyze", "--summary", refused)
    assert done.returncode == 0
    assert "lookups" in done.stdout
    assert "three-segment" in done.stdout
    values = json.loads(invoke("analyze", "--summary", "--json", refused).stdout)
    assert values["lookups"]["count"] == 80
    missing = invoke("analyze", "--summary", tmp_path / "nothing.pcap")
    assert (missing.returncode, "no such file" in missing.stderr) == (2, True)


def test_a_long_capture_is_classified_as_its_parts_are(tmp_path: Path) -> None:
    """More segments than one batch, a file large enough to be mapped, and connections across the batches' borders."""
    path = tmp_path / "long.pcap"
    frames = write_fetches(path, 10_000, seed=5)
    long = read_capture(path)
    traffic = Traffic(long)
    assert frames == len(long.frames) > BATCH
    assert path.stat().st_size > 1 << 24
    assert sum(one.frame_count for one in traffic.connections) + 4 * 10_000 == frames
    for one in traffic.connections[::997]:
        rows = [long.frames[frame - 1] for frame in one.frames]
        content = path.read_bytes()[:24] + b"".join(
            path_record(path, int(long.frames.start[row.number - 1]), len(row.data)) for row in rows
        )
        (alone,) = Traffic(parse_capture(content, "one.pcap")).connections
        assert (alone.life, len(alone.odd)) == (one.life, len(one.odd))
        assert [(s.seq, s.ack, s.length) for s in alone.segments] == [(s.seq, s.ack, s.length) for s in one.segments]


def path_record(path: Path, start: int, length: int) -> bytes:
    """A frame's record in the pcap at `path`, its header included."""
    with path.open("rb") as file:
        file.seek(start - 16)
        return file.read(16 + length)
