"""Real captures that other projects keep as test data: what is known of them, and tshark's word on them."""

import csv
import subprocess
from pathlib import Path

import pytest

from analysis.explain.frames import explain
from analysis.files.capture import read_capture
from analysis.report import make_report
from analysis.views.json import to_json
from analysis.views.style import Style
from analysis.views.terminal import render
from tests.conftest import CAPTURES

pytestmark = pytest.mark.needs("captures")
# where the rules (RFC 9293, and `docs/sequence.md` on closes) win over the manifest's column, each for a reason
RULES_WIN = {
    "bug-3844.pcap": "refused; reset",  # stream 0: a bare RST of the other side answers the SYN
    "fin_retransmission.pcap": "reset",  # a reset after one FIN
}


def _manifest() -> list[dict[str, str]]:
    if not CAPTURES.is_dir():
        return []
    with (CAPTURES / "MANIFEST.tsv").open() as file:
        return list(csv.DictReader(file, delimiter="\t"))


MANIFEST = _manifest()
rows = pytest.mark.parametrize("row", MANIFEST or [{"file": "absent"}], ids=lambda row: row["file"])


@rows
def test_frames_completeness_and_closes_are_those_of_the_manifest(row: dict[str, str]) -> None:
    report = make_report(read_capture(CAPTURES / row["file"]))
    connections = report.traffic.connections
    completeness = " ".join(f"{index}:{one.completeness}" for index, one in enumerate(connections)) or "-"
    closes = "; ".join(one.close.variant + "+half-close-data" * one.close.half_close_data for one in connections) or "-"
    assert len(report.capture.frames) == int(row["packets"])
    assert completeness == row["completeness"]
    assert closes == RULES_WIN.get(row["file"], row["close"])


@rows
def test_every_view_of_it_can_be_made(row: dict[str, str]) -> None:
    report = make_report(read_capture(CAPTURES / row["file"]))
    explain(report)
    to_json(report)
    text = render(report, Style(80), with_explanations=True)
    assert [char for char in text if not char.isprintable() and char != "\n"] == []


def _tshark(path: Path, *fields: str) -> dict[int, tuple[str, ...]]:
    options = [word for field in ("frame.number", *fields) for word in ("-e", field)]
    command = ["tshark", "-2", "-r", str(path), "-Y", "tcp", "-T", "fields", *options]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60)
    split = (line.split("\t") for line in done.stdout.splitlines())
    return {int(row[0]): tuple(row[1:]) for row in split}


@pytest.mark.needs("tshark")
@rows
def test_relative_numbers_and_rtt_are_tsharks(row: dict[str, str]) -> None:
    path = CAPTURES / row["file"]
    theirs = _tshark(path, "tcp.seq", "tcp.ack", "tcp.len", "tcp.analysis.initial_rtt")
    report = make_report(read_capture(path))
    for connection in report.traffic.connections:
        for segment in connection.segments:
            seq, ack, length, rtt = theirs[segment.frame]
            assert (segment.seq % 2**32, segment.length) == (int(seq), int(length)), segment.frame
            if segment.ack is not None:
                assert segment.ack % 2**32 == int(ack), segment.frame
            if rtt and connection.completeness & 7 == 7:
                assert connection.rtt_ns is not None
                assert connection.rtt_ns / 1e9 == pytest.approx(float(rtt), abs=1e-9), segment.frame
