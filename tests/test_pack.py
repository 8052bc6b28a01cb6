"""The whole pack: listed, run at once, told as a lesson. One run of it serves all who look at its outcome."""

import json
import os
import re
import signal
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

from analysis.errors import LabError
from analysis.files.capture import read_capture
from analysis.report import make_report
from analysis.views.style import Style, columns
from analysis.views.terminal import render
from lab.bench.pack import Seen
from lab.containers.render import unplayable
from lab.pack import play as packing
from lab.pack.page import CHAPTERS, FIRST, LAST, LONGEST, elided, scenarios_page, settings_of
from lab.pack.play import Played, load_pack, play_pack, verdict_of_all
from lab.pack.view import list_lines, table_lines
from lab.scenario.load import load_scenario
from lab.scenario.model import Scenario
from tests.conftest import HERE, PackRun
from tests.test_lab import INVOKE, invoke
from tests.test_misfortune import SLOW, descendants, eventually, nothing_stays  # noqa: F401 - a fixture

needs_netns = pytest.mark.needs("netns")
NARROW = Style(80)
PAGE = HERE / "docs" / "scenarios.md"


def scenario(tmp_path: Path, name: str, text: str) -> Scenario:
    path = tmp_path / f"{name}.toml"
    path.write_text(text)
    return load_scenario(path)


# --- the list ---


def test_the_list_fits_eighty_columns_and_has_every_name_and_title() -> None:
    plans = load_pack()
    lines = list(list_lines(plans, NARROW))
    assert [line for line in lines if columns(line) > 80] == []
    text = " ".join(" ".join(lines).split())
    assert [plan.name for plan in plans if f"{plan.name} " not in text or plan.title not in text] == []


def test_the_list_says_what_docker_can_play_and_which_key_keeps_it_from_the_rest(tmp_path: Path) -> None:
    values = {one["name"]: one for one in json.loads(invoke("scenarios", "--json").stdout)}
    for plan in load_pack():
        needs = list(unplayable(plan))
        docker = values[plan.name]["backends"]["docker"]
        assert (docker["plays"], [(one["key"], one["why"]) for one in docker["needs"]]) == (not needs, needs)
        assert values[plan.name]["takes_s"] == plan.takes_s
    first, *_ = list_lines([scenario(tmp_path, "slow", f'takes = "1.3s"\n{SLOW}')], NARROW)
    assert " ".join(first.split()) == "slow 1.3 s netns (docker can't: wire.delay)"


# --- all of it at once ---


@needs_netns
def test_the_whole_pack_passes(pack_run: PackRun) -> None:
    assert [(one.scenario, one.verdict, one.said) for one in pack_run.played if one.verdict != "pass"] == []
    assert [one.scenario for one in pack_run.played] == [plan.name for plan in pack_run.plans]
    assert pack_run.done.returncode == 0
    assert list(pack_run.runs.glob(".partial-*")) == []


@needs_netns
def test_every_scenario_of_the_pack_comes_out_as_it_says(pack_run: PackRun) -> None:
    for plan, one in zip(pack_run.plans, pack_run.played, strict=True):
        assert one.folder is not None
        report = json.loads((one.folder / "report.json").read_text())
        statuses = [finding["status"] for finding in report["findings"] if finding["rule"] == "expect.sequence"]
        assert (plan.name, statuses) == (plan.name, ["pass"])
        assert json.loads((one.folder / "run.json").read_text())["scenario"]["sha256"] == plan.sha256
        assert one.exact == report["fingerprint"]["exact"]


@needs_netns
def test_every_report_of_the_pack_fits_eighty_columns_be_it_of_a_pass_or_of_a_fail(pack_run: PackRun) -> None:
    (baseline,) = (plan.expected for plan in pack_run.plans if plan.name == "baseline")
    for plan, one in zip(pack_run.plans, pack_run.played, strict=True):
        assert one.folder is not None
        capture = read_capture(one.folder / "capture.pcap")
        for expected in (plan.expected, baseline):
            text = render(make_report(capture, plan.host, expected), NARROW, with_explanations=True)
            assert [line for line in text.splitlines() if columns(line) > 80] == [], plan.name


@needs_netns
def test_each_run_that_ends_is_told_of_in_a_line(pack_run: PackRun) -> None:
    count = len(pack_run.plans)
    backend, *lines = pack_run.done.stderr.splitlines()
    assert backend == "backend: netns (as asked)"
    found = [re.fullmatch(rf" *(\d+) of {count}  (\S+)  pass  \d+\.\d\d s", line) for line in lines]
    assert [int(one[1]) for one in found if one] == list(range(1, count + 1))
    assert {one[2] for one in found if one} == {plan.name for plan in pack_run.plans}


@needs_netns
def test_the_table_fits_eighty_columns_and_ends_with_the_count(pack_run: PackRun) -> None:
    lines = list(table_lines(pack_run.played, NARROW))
    assert [line for line in lines if columns(line) > 80] == []
    assert lines[-1] == f"{len(pack_run.plans)} pass"
    row = next(line for line in lines if line.startswith("refused "))
    assert re.fullmatch(r"refused +pass +\d+\.\d\d  refused +refused +7", row)


@needs_netns
def test_the_longest_scenarios_start_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(packing, "at_once", lambda: 1)
    text = '[names]\na="192.0.2.9"\n[client]\ncurl=["http://a/"]\n'
    takes = {"short": "0.2s", "unknown": None, "long": "3s"}
    plans = [scenario(tmp_path, name, f'takes="{time}"\n{text}' if time else text) for name, time in takes.items()]
    heard: list[str] = []
    played = play_pack(plans, "netns", tmp_path / "runs", lambda one: heard.append(one.scenario))
    assert heard == ["long", "unknown", "short"]
    assert [one.scenario for one in played] == list(takes)


@needs_netns
def test_a_run_that_fails_is_named_with_its_folder_and_one_without_a_report_with_its_words(tmp_path: Path) -> None:
    failing = '[names]\na="192.0.2.9"\n[client]\ncurl=["http://b/"]\n[expect]\nsequence="client SYN"\n'
    failing = failing.replace("http://b/", "http://a/")
    plans = [scenario(tmp_path, "failing", failing), scenario(tmp_path, "broken", failing)]
    Path(plans[1].path).write_text("nonsense")
    played = play_pack(plans, "netns", tmp_path / "runs", lambda _: None)
    assert [one.verdict for one in played] == ["fail", "inconclusive"]
    assert played[0].folder is not None
    assert json.loads((played[0].folder / "run.json").read_text())["scenario"]["name"] == "failing"
    text = "\n".join(table_lines(played, Style()))
    assert f"failing: fail: the run: {played[0].folder}" in text
    assert re.search(r"broken: inconclusive: error: .*broken\.toml: is not TOML", text)
    assert text.endswith("\n1 fail, 1 inconclusive")


def test_the_verdict_of_all_is_the_worst_with_failures_first() -> None:
    one = {verdict: Played("x", verdict, 0.1) for verdict in ("pass", "fail", "inconclusive")}
    assert verdict_of_all([one["pass"]]) == "pass"
    assert verdict_of_all([one["pass"], one["inconclusive"]]) == "inconclusive"
    assert verdict_of_all([one["inconclusive"], one["fail"], one["pass"]]) == "fail"
    assert verdict_of_all([]) == "inconclusive"


@pytest.mark.parametrize("words", [("--scenario", "baseline"), ("--explain",), ("--backend", "cloud")])
def test_all_with_what_is_of_one_run_or_of_no_backend_is_a_usage_error(tmp_path: Path, words: tuple[str, ...]) -> None:
    done = invoke("lab", "--all", "--runs", tmp_path, *words)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("error: ")
    assert list(tmp_path.iterdir()) == []


@needs_netns
def test_a_folder_that_cannot_be_written_is_said_once(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    done = invoke("lab", "--all", "--backend", "netns", "--runs", tmp_path / "file" / "runs")
    assert done.returncode == 2
    assert done.stderr.count("error: ") == 1


@needs_netns
@pytest.mark.parametrize("sent", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("to_all", [True, False], ids=["to all", "to the first alone"])
@pytest.mark.usefixtures("nothing_stays")
def test_an_interrupt_ends_every_run_and_keeps_none_of_them(
    tmp_path: Path, sent: signal.Signals, *, to_all: bool
) -> None:
    runs = tmp_path / "runs"
    command = [*INVOKE, "lab", "--all", "--backend", "netns", "--runs", str(runs)]
    pipe = subprocess.PIPE
    process = subprocess.Popen(command, cwd=HERE, stdout=pipe, stderr=pipe, text=True, start_new_session=True)
    assert eventually(lambda: len(list(runs.glob(".partial-*"))) >= 2, 20)
    children = descendants(process.pid)
    (os.killpg if to_all else os.kill)(process.pid, sent)
    stdout, stderr = process.communicate(timeout=60)
    assert (process.returncode, stdout) == (3, "")
    assert stderr.endswith("interrupted: everything that was started has been ended\n")
    assert "Traceback" not in stderr
    assert [child for child in children if Path(f"/proc/{child}/cmdline").exists() and _is_run(child, runs)] == []
    assert list(runs.glob(".partial-*")) == []


def _is_run(process: int, runs: Path) -> bool:
    try:
        return str(runs).encode() in Path(f"/proc/{process}/cmdline").read_bytes()
    except OSError:
        return False


@pytest.mark.needs("docker")
def test_on_docker_what_it_can_play_passes_and_the_rest_is_left_out_with_the_reason(tmp_path: Path) -> None:
    command = [*INVOKE, "lab", "--all", "--backend", "docker", "--offline", "--json", "--runs", str(tmp_path)]
    done = subprocess.run(command, cwd=HERE, capture_output=True, text=True, timeout=300, check=False)
    values = json.loads(done.stdout)
    assert (done.returncode, values["verdict"], values["backend"]) == (0, "pass", "docker"), done.stdout
    needs = {plan.name: dict(unplayable(plan)) for plan in load_pack()}
    assert {one["scenario"] for one in values["runs"]} == {name for name, keys in needs.items() if not keys}
    left_out = {one["scenario"]: one["needs"] for one in values["left_out"]}
    assert left_out == {name: keys for name, keys in needs.items() if keys}


# --- the page ---


def test_each_scenario_of_the_pack_is_in_exactly_one_chapter() -> None:
    names = [name for chapter in CHAPTERS for name in chapter.scenarios]
    assert sorted(names) == sorted(plan.name for plan in load_pack())


@pytest.mark.needs("netns", "pages")
def test_the_page_of_scenarios_is_made_of_what_they_do(pack_run: PackRun) -> None:
    assert PAGE.read_text() == scenarios_page(pack_run.plans, pack_run.played), "write it anew: invoke docs"


@needs_netns
def test_a_scenario_without_a_chapter_is_an_error_that_names_it(pack_run: PackRun) -> None:
    plan = replace(pack_run.plans[0], name="stray")
    with pytest.raises(LabError, match="no chapter has stray"):
        scenarios_page([plan], pack_run.played[:1])


@needs_netns
def test_of_a_scenario_whose_runs_may_differ_the_page_has_the_shape(pack_run: PackRun) -> None:
    at = next(number for number, plan in enumerate(pack_run.plans) if plan.name == "baseline")
    plans = list(pack_run.plans)
    plans[at] = replace(plans[at], inexact_because="the moon is full")
    page = scenarios_page(plans, pack_run.played)
    section = page[page.index(plans[at].title) :].partition("\n### ")[0]
    assert "Runs may differ, so this is the shape: the moon is full" in section
    assert 'client  DATA     "GET"\n' in section
    assert "0:0(0)" not in section


def test_of_a_long_sequence_the_middle_is_left_out_and_counted() -> None:
    lines = [str(number) for number in range(LONGEST)]
    assert elided(lines) == lines
    lines = [str(number) for number in range(1234)]
    shown = elided(lines)
    assert shown[:FIRST] == lines[:FIRST]
    assert shown[FIRST] == f"# … {1234 - FIRST - LAST:,} lines are left out …"
    assert shown[FIRST + 1 :] == lines[-LAST:]


def test_settings_are_what_the_file_sets_beside_addresses_and_arguments(tmp_path: Path) -> None:
    text = """
        title = "a title"
        takes = "1s"
        [names]
        a = "192.0.2.9"
        b = { cname = "a" }
        [server]
        body = "`tick`"
        headers = { X-One = "1" }
        [server.paths."/x"]
        status = 404
        [client]
        curl = ["http://a/"]
        resolver_options = ["timeout:1"]
        [wire]
        delay = "21ms"
        [[wire.fault]]
        delay = "client SYN 1"
        by = "30ms"
    """
    assert list(settings_of(scenario(tmp_path, "x", text))) == [
        '`b`: `{ cname = "a" }`',
        "`server.body = \"'tick'\"`",
        '`server.headers = { X-One = "1" }`',
        '`server.paths."/x".status = 404`',
        '`client.resolver_options = ["timeout:1"]`',
        '`wire.delay = "21ms"`',
        "fault: `delay client SYN 1 by 30ms`",
    ]


# --- how alike rounds are ---


@needs_netns
def test_a_scenario_with_two_sequences_fails_the_benchmark_unless_it_says_why(pack_run: PackRun) -> None:
    by_name = dict(
        zip((plan.name for plan in pack_run.plans), zip(pack_run.plans, pack_run.played, strict=True), strict=True)
    )
    (plan, one), (_, other) = by_name["baseline"], by_name["head"]
    alike = Seen(plan)
    alike.add("quiet", one)
    alike.add("busy", one)
    assert (alike.is_good, list(alike.difference())) == (True, [])
    differing = Seen(plan)
    differing.add("quiet", one)
    differing.add("busy", other)
    assert not differing.is_good
    assert [line for line in differing.difference() if line.startswith("+client") and '"HEAD / HTTP/1.1"' in line]
    assert re.match(r"\| baseline \| 2 \| 2 pass \| \d+\.\d\d \| \d+\.\d\d \|", differing.row())
    excused = replace(differing, plan=replace(plan, inexact_because="the moon is full"))
    assert excused.is_good
    excused.verdicts["fail"] += 1
    assert not excused.is_good
