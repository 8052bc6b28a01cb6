"""The pytest plugin, in runs of pytest: which capture a test is about, and what is a failure or an error."""

import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

from tests.conftest import HERE
from tests.craft import Talk, fetch, pcap
from tests.hostile import hostile_captures
from tests.test_hostile import is_harmless
from tests.test_pytest_facts import FOUR_SEGMENTS, SAMPLE

PAGE = (HERE / "docs" / "pytest.md").read_text()
INI = "[pytest]\nfilterwarnings = error\naddopts = --strict-markers --strict-config\n"


@dataclass(frozen=True)
class Ran:
    """A run of pytest: what it printed, how each test ended, and what JUnit's XML says of it."""

    text: str
    outcomes: dict[str, str]
    messages: dict[str, str]

    def shown(self, test: str) -> str:
        """What the terminal shows of a test that didn't pass."""
        found = re.search(
            rf"^_+ (?:ERROR at \w+ of )?{test} _+$(.*?)^(?:_{{3,}}|={{3,}}) ", self.text, re.MULTILINE | re.DOTALL
        )
        assert found, self.text
        return found[1]


def run_pytest(folder: Path, text: str, *options: str, ini: str = INI, env: dict[str, str] | None = None) -> Ran:
    """Run `text` as a test file in `folder`, in a process of its own; as on a terminal, where messages are cut."""
    folder.mkdir(exist_ok=True)
    (folder / "pytest.ini").write_text(ini)
    (folder / "test_it.py").write_text("import pytest\n" + text)
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-p",
        "no:cacheprovider",
        "--junitxml=out.xml",
        "--basetemp=temp",
        *options,
    ]
    kept = {key: value for key, value in os.environ.items() if not key.startswith(("PYTEST_", "CI", "BUILD_NUMBER"))}
    environment = {**kept, "COLUMNS": "200", **(env or {})}
    done = subprocess.run(
        [*command, *options], cwd=folder, env=environment, capture_output=True, text=True, timeout=60, check=False
    )
    outcomes, messages = {}, {}
    for case in ET.parse(folder / "out.xml").iter("testcase"):  # noqa: S314 - our own pytest's
        ends = [child for child in case if child.tag in ("failure", "error", "skipped")]
        name = str(case.get("name"))
        outcomes[name] = ends[0].tag if ends else "passed"
        messages[name] = str(ends[0].get("message")) if ends else ""
        assert len(ends) < 2
    return Ran(done.stdout + done.stderr, outcomes, messages)


OUTCOMES = """
sample = pytest.mark.capture("google.pcap")

@pytest.fixture
def close(report):
    return report.connection.close

@sample
def test_passes(report, capture):
    assert report.connection.close.variant == "three-segment"
    assert len(capture.frames) == report.capture.frame_count

@sample
def test_fails(report):
    assert report.connection.close.variant == "four-segment"

@sample
def test_fails_by_a_boolean(report):
    assert not report.connection.close.complete

@sample
def test_has_a_typing_error(report):
    assert report.connection.close.varient

def test_names_no_capture(report):
    assert report.verdict == "pass"

@pytest.mark.capture("missing.pcap")
def test_misses_its_file(report):
    assert report.verdict == "pass"

@pytest.mark.capture("missing.pcap")
def test_misses_its_file_in_a_fixture(close):
    assert close.complete

@pytest.mark.capture("missing.pcap")
def test_misses_its_file_as_such(capture):
    assert capture.frames

@pytest.mark.capture("test_it.py")
def test_reads_a_text(report):
    assert report.verdict == "pass"

@pytest.mark.capture("google.pcap", host="other.test")
def test_wants_another_host(report):
    assert report.connection

@pytest.mark.capture("a", "b")
def test_marks_wrongly(report):
    pass

@pytest.mark.xfail
@pytest.mark.capture("missing.pcap")
def test_is_expected_to_fail(report):
    assert report.verdict == "pass"

@sample
def test_calls_the_analysis_itself(capture):
    from pathlib import Path
    from analysis.files.capture import read_capture
    read_capture(Path("missing.pcap"))

@sample
def test_calls_the_lab_itself(capture):
    from lab.errors import StepError
    raise StepError("client", "curl is gone", "install it")

def test_calls_the_lab_without_the_plugin():
    from lab.errors import StepError
    raise StepError("client", "curl is gone", "install it")

def test_has_nothing_to_do_with_it():
    assert "a" == "b"
"""
FAILURES = {
    "test_fails": "assert connection.close.variant == 'four-segment'",
    "test_fails_by_a_boolean": "where True = <connection.close: three-segment, frames 14–16>.complete",
    "test_misses_its_file": "WrongCapture: missing.pcap: there is no such file",
    "test_misses_its_file_in_a_fixture": "WrongCapture: missing.pcap: there is no such file",
    "test_misses_its_file_as_such": "WrongCapture: missing.pcap: there is no such file",
    "test_reads_a_text": "WrongCapture: test_it.py: is no capture",
    "test_wants_another_host": "other.test is not in the capture; names that are: template.ig.com, www.google.com",
    "test_calls_the_analysis_itself": "WrongCapture: missing.pcap: there is no such file",
    "test_calls_the_lab_without_the_plugin": "lab.errors.StepError: curl is gone",
    "test_has_nothing_to_do_with_it": "AssertionError",
}
ERRORS = {
    "test_has_a_typing_error": "connection.close has no 'varient'; did you mean 'variant'?",
    "test_names_no_capture": "NotJudged: no capture is named for this test",
    "test_marks_wrongly": "NotJudged: the marker can't be read: ('a', 'b')",
    "test_calls_the_lab_itself": "NotJudged: curl is gone",
}


def check_outcomes(ran: Ran) -> None:
    ends = {name: [test for test, end in ran.outcomes.items() if end == name] for name in set(ran.outcomes.values())}
    assert sorted(ends["failure"]) == sorted(FAILURES), ran.text
    assert sorted(ends["error"]) == sorted(ERRORS)
    assert (ends["passed"], ends["skipped"]) == (["test_passes"], ["test_is_expected_to_fail"])
    assert f"{len(FAILURES)} failed, 1 passed, 1 xfailed, {len(ERRORS)} errors" in ran.text
    for test, message in {**FAILURES, **ERRORS}.items():
        assert message in ran.messages[test]
        assert "pytest_plugin" not in ran.shown(test), "a traceback of ours"


def test_wrong_captures_are_failures_and_the_rest_is_errors(tmp_path: Path) -> None:
    shutil.copy(SAMPLE, tmp_path / "google.pcap")
    ran = run_pytest(tmp_path, OUTCOMES)
    check_outcomes(ran)
    assert ran.shown("test_misses_its_file") == "\nmissing.pcap: there is no such file\nnext: check the path\n"
    assert ran.shown("test_calls_the_lab_itself") == "\ncurl is gone\nnext: install it\n"
    assert "ERROR at setup of test_calls_the_lab_itself" in ran.text
    assert ">       assert report.connection.close.varient" in ran.shown("test_has_a_typing_error")


def test_pytest_xdist_counts_the_same(tmp_path: Path) -> None:
    shutil.copy(SAMPLE, tmp_path / "google.pcap")
    check_outcomes(run_pytest(tmp_path, OUTCOMES, "-n", "2"))


WHICH = """
import shutil
from pathlib import Path

def test_by_default(report):
    assert report.connection.close.variant == "four-segment"

@pytest.mark.capture("sub/three.pcap")
def test_by_its_marker(report):
    assert report.connection.close.variant == "three-segment"

@pytest.mark.capture(host="10.9.9.9")
def test_of_the_markers_host(report):
    assert report.connection.server.address == "10.9.9.9"

def test_from_another_folder(report, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    assert report.connection.close.variant == "four-segment"
"""


@pytest.mark.parametrize("way", ["option", "ini"])
def test_a_capture_is_named_by_marker_option_or_ini_file(tmp_path: Path, way: str) -> None:
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "three.pcap").write_bytes(pcap(fetch()))
    other = Talk(port=41000, server="10.9.9.9").open().exchange().close().frames
    (tmp_path / "four.pcap").write_bytes(pcap([*FOUR_SEGMENTS.frames, *other]))
    if way == "ini":
        ran = run_pytest(tmp_path, WHICH, ini=INI + "lab_capture = four.pcap\n")
    else:
        ran = run_pytest(tmp_path, WHICH, "--lab-capture", "four.pcap", "--lab-host", "198.51.100.80")
    assert set(ran.outcomes.values()) == {"passed"}, ran.text


HOSTILE = """
def test_compares(report):
    assert report.exchange.target == "/"

def test_compares_a_part_of_it(report):
    assert report.exchange.target.lower() == "/"

def test_writes_its_own_message(report):
    assert report.exchange.status == 200, f"it was {report.exchange.target}"

def test_raises(report):
    print(report.exchange.target)
    raise ValueError(str(report.exchange.target) + "\\n" + report.lookup.name)
"""


def test_nothing_of_a_capture_steers_the_terminal_or_a_ci_system(tmp_path: Path) -> None:
    frames = hostile_captures(b"::error::\x1b[2J\xe2\x80\xae##[error]x")[1]
    (tmp_path / "it.pcap").write_bytes(pcap(frames))
    ran = run_pytest(tmp_path, HOSTILE, "--lab-capture", "it.pcap", "-l", "-vv")
    assert set(ran.outcomes.values()) == {"failure"}, ran.text
    assert is_harmless(ran.text), ran.text
    assert ran.text.count("\\x1b[2J") > 4


RUNS = """
import pathlib
from lab.fake import FakeBackend

SAMPLE = pathlib.Path("google.pcap").read_bytes()
SCENARIO = '[names]\\n"www.google.com" = ["192.0.2.80"]\\n[client]\\ncurl = ["http://www.google.com/"]\\n'

def test_runs(lab_run):
    pathlib.Path("own.toml").write_text(SCENARIO)
    run = lab_run("own.toml", FakeBackend(SAMPLE))
    assert run.capture.read_bytes() == SAMPLE
    assert run.capture.parent == run.folder
    assert (run.scenario, run.backend) == ("own", "fake")
    assert run.report.exchange.status == 302

def test_fails(lab_run):
    assert lab_run(backend=FakeBackend(SAMPLE)).report.exchange.status == 200

def test_has_no_engine(lab_run):
    assert lab_run(backend="docker").report.verdict == "fail"

@pytest.mark.xfail
def test_has_no_engine_and_is_expected_to_fail(lab_run):
    lab_run(backend="docker")

def test_fails_at_a_step(lab_run):
    lab_run(backend=FakeBackend(SAMPLE, fails="ready"))

def test_has_doubts(lab_run):
    lab_run(backend=FakeBackend(SAMPLE, doubts=("a frame was lost",)))

def test_names_no_scenario(lab_run):
    lab_run("baselin")

def test_names_no_backend(lab_run):
    lab_run(backend="nets")
"""
NO_RUN = {
    "test_has_no_engine": "NotJudged: no Docker engine answers at unix:///nonexistent",
    "test_has_no_engine_and_is_expected_to_fail": "NotJudged: no Docker engine answers at unix:///nonexistent",
    "test_fails_at_a_step": "NotJudged: the run failed at the step 'ready': the fake backend fails at ready",
    "test_has_doubts": "NotJudged: the run is inconclusive: a frame was lost",
    "test_names_no_scenario": "NotJudged: there is no scenario 'baselin'; did you mean 'baseline'?",
    "test_names_no_backend": "NotJudged: there is no backend 'nets'",
}


def test_a_run_that_goes_wrong_is_an_error(tmp_path: Path) -> None:
    shutil.copy(SAMPLE, tmp_path / "google.pcap")
    ran = run_pytest(tmp_path, RUNS, env={"DOCKER_HOST": "unix:///nonexistent"})
    assert ran.outcomes == {"test_runs": "passed", "test_fails": "failure", **dict.fromkeys(NO_RUN, "error")}, ran.text
    for test, message in NO_RUN.items():
        assert message in ran.messages[test]
        assert "Traceback" not in ran.shown(test)
        assert "pytest_plugin" not in ran.shown(test)


@pytest.mark.needs("netns")
def test_the_lab_runs_for_real(tmp_path: Path) -> None:
    text = """
def test_runs(lab_run):
    run = lab_run(backend="netns")
    assert run.report.verdict == "pass"
    assert run.report.connection.handshake.syn_count == 1
    assert (run.folder / "server.log").stat().st_size > 0
"""
    assert run_pytest(tmp_path, text).outcomes == {"test_runs": "passed"}


def test_runs_of_pytest_that_need_no_capture_load_nothing_of_the_lab(tmp_path: Path) -> None:
    text = """
import sys

@pytest.mark.parametrize("name", ["numpy", "analysis", "lab"])
def test_is_light(name, pytestconfig):
    assert pytestconfig.pluginmanager.hasplugin("handshake_lab")
    assert name not in sys.modules

def test_fails():
    assert "a" == "b"
"""
    ran = run_pytest(tmp_path, text)
    assert sorted(ran.outcomes.values()) == ["failure", "passed", "passed", "passed"], ran.text


def test_pytest_works_without_it(tmp_path: Path) -> None:
    assert run_pytest(tmp_path, "def test_it(): pass", "-p", "no:handshake_lab").outcomes == {"test_it": "passed"}


def test_the_page_shows_what_is_so(tmp_path: Path) -> None:
    first, second = re.findall(r"^```python\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
    (message,) = re.findall(r"^```text\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
    (tmp_path / "handed-in").mkdir()
    (tmp_path / "handed-in" / "ann.pcap").write_bytes(pcap(fetch()))
    (tmp_path / "handed-in" / "bob.pcap").write_bytes(pcap(Talk().open().frames))
    ran = run_pytest(tmp_path, f"from pathlib import Path\n{first}\n{second}", "--lab-capture", str(SAMPLE))
    failed = [test for test, end in ran.outcomes.items() if end != "passed"]
    assert failed == ["test_the_close_has_four_segments", "test_it_was_closed[bob]"], ran.text
    assert len(ran.outcomes) == 6
    assert message in ran.text
