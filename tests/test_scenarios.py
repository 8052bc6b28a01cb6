"""The pack's scenarios, one by one: what each is there to show."""

import json
import re
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import HERE
from tests.test_lab import LAB, invoke, play

pytestmark = pytest.mark.needs("netns")


def segments(report: dict[str, Any]) -> list[tuple[Any, ...]]:
    """Direction, flags, relative numbers, length of each segment of the chosen story."""
    story = report["stories"][report["chosen_story"]["index"]]
    return [(one["from"], one["flags"], one["seq"], one["ack"], one["len"]) for one in story["segments"]]


def test_the_fetch_of_2016_comes_again_line_by_line(tmp_path_factory: pytest.TempPathFactory) -> None:
    runs = tmp_path_factory.mktemp("runs")
    sample = json.loads(invoke("analyze", HERE / "samples" / "google-2016.pcap", "--json").stdout)
    again = json.loads(invoke(*LAB, "--scenario", "google-2016", "--json", "--runs", runs).stdout)
    assert len(segments(sample)) == 10
    assert segments(again) == segments(sample)
    assert again["fingerprint"] == sample["fingerprint"]
    lookups = [[(one["name"], one["type"], one["status"]) for one in report["lookups"]] for report in (again, sample)]
    assert lookups[0] == lookups[1]
    order = [[one["response_frame"] for one in report["lookups"]] for report in (again, sample)]
    assert order[0] == order[1]


def test_the_readmes_scenario_passes(tmp_path: Path) -> None:
    found = re.search(
        r"<!-- a scenario: the tests run it -->\n```toml\n(.*?)```", (HERE / "README.md").read_text(), re.DOTALL
    )
    assert found
    report, _ = play(tmp_path, found[1])
    assert report["verdict"] == "pass"
    assert [one["status"] for one in report["findings"] if one["rule"] == "expect.sequence"] == ["pass"]
