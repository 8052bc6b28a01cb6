"""The documentation says what is so."""

import os
import re
import subprocess
from typing import Any, get_args

import pytest

from analysis.dns.strays import Reason
from analysis.dns.wire import Status
from analysis.health import Kind
from analysis.rules.judge import RULES
from analysis.views.states import states_page
from lab import __version__
from lab.console import STATUS_OF_VERDICT
from tests.conftest import HERE
from tests.test_lab import INVOKE

README = (HERE / "README.md").read_text()
SCENARIO_FILE = (HERE / "docs" / "scenario-file.md").read_text()
EXCERPT = re.compile(r"<!-- excerpt of: invoke (.*?) -->\n```text\n(.*?)```", re.DOTALL)


def test_the_readmes_output_is_what_the_command_prints() -> None:
    found = EXCERPT.search(README)
    assert found
    environment = {**os.environ, "COLUMNS": "80"}
    command = [*INVOKE, *found[1].split()]
    done = subprocess.run(command, cwd=HERE, env=environment, capture_output=True, text=True, timeout=60, check=True)
    position = 0
    for part in found[2].split("…\n"):
        assert part in done.stdout[position:], part
        position = done.stdout.index(part, position) + len(part)


def test_every_task_is_in_the_readme() -> None:
    listed = subprocess.run([*INVOKE, "--list"], cwd=HERE, capture_output=True, text=True, timeout=60, check=True)
    tasks = re.findall(r"^  (\w+)", listed.stdout, re.MULTILINE)
    assert len(tasks) >= 10
    for task in tasks:
        assert f"`invoke {task}" in README


def test_every_option_of_a_task_is_documented() -> None:
    tasks = "lab analyze scenarios doctor image bundle unbundle fuzz selftest exercise grade"
    for task in tasks.split():
        done = subprocess.run(
            [*INVOKE, "--help", task], cwd=HERE, capture_output=True, text=True, timeout=60, check=True
        )
        options = set(re.findall(r"^  .*--([a-z-]+)", done.stdout, re.MULTILINE)) - {"file"}  # FILE, a positional one
        assert {option for option in options if f"--{option}" not in README} == set()


def test_every_exit_status_is_in_the_readme() -> None:
    for status in {2, *STATUS_OF_VERDICT.values()}:
        assert re.search(rf"^\| {status} \|", README, re.MULTILINE)


def test_the_page_on_states_is_made_of_the_table() -> None:
    assert (HERE / "docs" / "states.md").read_text() == states_page(), "write it anew: invoke docs"


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.id)
def test_every_rule_is_in_the_readme_with_its_source(rule: object) -> None:
    from analysis.rules.judge import Rule

    assert isinstance(rule, Rule)
    assert re.search(rf"^\| `{re.escape(rule.id)}` \| .* \| {re.escape(rule.reference)} ?\|$", README, re.MULTILINE)


@pytest.mark.parametrize(
    "key",
    [
        "title",
        "look_for",
        "server.port",
        "server.status",
        "server.reason",
        "server.headers",
        "server.body",
        "server.close",
        "server.quickack",
        'server.paths."/PATH"',
        "client.curl",
        "client.port",
        "client.deadline",
        "wire.delay",
        "expect.sequence",
    ],
)
def test_every_key_of_a_scenario_is_documented(key: str) -> None:
    assert f"| `{key}` |" in SCENARIO_FILE


@pytest.mark.parametrize("kinds", [Status, Reason, Kind], ids=["lookups", "ignored", "doubts"])
def test_every_word_for_a_capture_is_documented(kinds: Any) -> None:
    page = (HERE / "docs" / "captures.md").read_text()
    assert {word for word in get_args(kinds) if f"`{word}`" not in page} == set()
    schema = (HERE / "docs" / "report.schema.json").read_text()
    assert {word for word in get_args(kinds) if f'"{word}"' not in schema} == set()


def test_links_between_documents_lead_somewhere() -> None:
    for document in [*HERE.glob("*.md"), *HERE.glob("*/*.md")]:
        if ".venv" in document.parts:
            continue
        for target in re.findall(r"\]\((?!https?://)([^)#]+)\)", document.read_text()):
            assert (document.parent / target).exists(), f"{document}: {target}"


def test_the_changelog_has_this_version() -> None:
    assert f"## {__version__}" in (HERE / "CHANGELOG.md").read_text()
