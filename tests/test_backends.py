"""The contract that every backend keeps, run against the fake, the netns and the Docker backend alike."""

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from analysis.files.capture import read_capture
from lab.backend import Backend, Lab
from lab.containers.render import unplayable
from lab.errors import StepError
from lab.fake import FakeBackend
from lab.netns.backend import NetnsBackend
from lab.run import run_scenario
from lab.scenario.load import load_scenario, pack
from lab.scenario.model import Scenario
from tests.conftest import HERE
from tests.test_misfortune import descendants, eventually
from tests.test_sequence import VECTORS

SAMPLE = HERE / "samples" / "google-2016.pcap"
GOOGLE = """
    [names]
    "www.google.com" = ["192.0.2.80", "2001:db8::80"]
    [server]
    status = 302
    body = 120
    [client]
    curl = ["http://www.google.com/"]
"""
SLOW = (
    GOOGLE.replace("[client]", '[client]\n    deadline = "400ms"')
    .replace("body = 120", "body = 300_000")
    .replace('["http', '["--limit-rate", "1000", "http')
)
FAILING = GOOGLE.replace('["http', '["--max-filesize", "1", "http')
STEPS = ("create", "ready", "capture", "client", "settle", "stop", "analyse", "destroy")
PLAYED_BY_BOTH = [path for path in pack() if not list(unplayable(load_scenario(path)))]


def make_backend(name: str, **fake: Any) -> Backend:
    """The backend `name`; the fake plays what it is told to."""
    if name == "fake":
        return FakeBackend(SAMPLE.read_bytes(), **fake)
    if name == "netns":
        return NetnsBackend()
    from lab.containers.backend import DockerBackend

    return DockerBackend(offline=True)


def written(tmp_path: Path, text: str) -> Scenario:
    path = tmp_path / "contract.toml"
    path.write_text(text)
    return load_scenario(path)


ALL = [
    "fake",
    pytest.param("netns", marks=pytest.mark.needs("netns")),
    pytest.param("docker", marks=pytest.mark.needs("docker")),
]
every_backend = pytest.mark.parametrize("name", ALL)


@every_backend
def test_a_run_has_its_steps_its_files_and_its_facts(tmp_path: Path, name: str) -> None:
    run = run_scenario(written(tmp_path, GOOGLE), make_backend(name), tmp_path / "runs")
    assert tuple(run.steps) == STEPS
    assert run.report is not None
    assert run.report.verdict == "pass"
    assert run.report.story is not None
    assert {"capture.pcap", "client.log", "client.out", "report.json", "run.json", "scenario.toml"} <= {
        path.name for path in run.folder.iterdir()
    }
    facts = json.loads((run.folder / "run.json").read_text())
    assert (facts["backend"], facts["verdict"], facts["client"]["commands"][0]["exit_status"]) == (name, "pass", 0)
    assert facts["client"]["commands"][0]["command"][-1] == "http://www.google.com/"
    assert facts["versions"].keys() >= {"kernel", "curl", "resolver", "server", "sidecar"}
    assert facts["addresses"].keys() == {"client", "resolver", "server"}
    assert (facts["doubts"], facts["failed_step"], facts["error"]) == ([], None, None)


@every_backend
def test_a_fetch_has_the_shape_of_the_reference(tmp_path: Path, name: str) -> None:
    run = run_scenario(written(tmp_path, GOOGLE), make_backend(name), tmp_path / "runs")
    report = json.loads((run.folder / "report.json").read_text())
    assert report["fingerprint"]["shape"] == VECTORS[0]["shape_hash"]
    assert report["capture"]["health"] == "complete"


@every_backend
def test_the_client_is_stopped_at_its_deadline(tmp_path: Path, name: str) -> None:
    run = run_scenario(written(tmp_path, SLOW), make_backend(name, exit_status=None), tmp_path / "runs")
    assert run.client is not None
    assert run.client.exit_statuses == (None,)
    assert run.report is not None
    assert run.report.verdict == "inconclusive"
    assert any("client.deadline" in doubt for doubt in run.doubts)
    assert 0.4 <= run.steps["client"] < 5 or name == "fake"


@every_backend
def test_the_clients_own_exit_status_is_kept(tmp_path: Path, name: str) -> None:
    run = run_scenario(written(tmp_path, FAILING), make_backend(name, exit_status=63), tmp_path / "runs")
    assert run.client is not None
    assert run.client.exit_statuses == (63,)  # CURLE_FILESIZE_EXCEEDED


@every_backend
@pytest.mark.parametrize("done", range(7))
def test_a_lab_can_be_destroyed_at_any_moment_and_twice(tmp_path: Path, name: str, done: int) -> None:
    lab: Lab = make_backend(name).create(written(tmp_path, GOOGLE), tmp_path)
    steps: list[Callable[[], object]] = [
        lab.wait_ready,
        lab.start_capture,
        lab.run_client,
        lab.settle,
        lab.stop_capture,
        lambda: read_capture(tmp_path / "capture.pcap"),
    ]
    for step in steps[:done]:
        step()
    processes = descendants(os.getpid())
    assert processes or name != "netns" or done > 4  # a captured netns lab ends itself
    lab.destroy()
    lab.destroy()
    assert eventually(lambda: not any(Path(f"/proc/{pid}").exists() for pid in processes)), processes
    assert in_engine(tmp_path) == []


def in_engine(folder: Path) -> list[str]:
    """What the engine has of the run in `folder`, by its log."""
    log = folder / "lab.log"
    if not log.exists() or "handshake-lab-" not in log.read_text():
        return []
    from lab.containers.engine import Engine
    from lab.containers.leftovers import find_leftovers

    run = log.read_text().partition("handshake-lab-")[2][:12]
    return [one.name for one in find_leftovers(Engine(), run)]


@pytest.mark.parametrize("fails", [step for step in STEPS if step != "analyse"])
def test_a_step_that_fails_is_named_and_its_folder_kept(tmp_path: Path, fails: str) -> None:
    backend = FakeBackend(SAMPLE.read_bytes(), fails=fails)
    with pytest.raises(
        StepError, match=f"the run failed at the step '{fails}': the fake backend fails at {fails}"
    ) as why:
        run_scenario(written(tmp_path, GOOGLE), backend, tmp_path / "runs")
    (folder,) = (tmp_path / "runs").iterdir()
    assert str(folder) in why.value.next_step
    facts = json.loads((folder / "run.json").read_text())
    assert (facts["failed_step"], facts["error"]) == (fails, f"the fake backend fails at {fails}")
    assert backend.calls[-1] == ("create" if fails == "create" else "destroy")


@pytest.mark.parametrize(
    ("fake", "doubt"),
    [
        ({"settles": False}, "a connection was still open"),
        ({"exit_status": -9}, "curl was ended by signal 9"),
        ({"doubts": ("the sidecar slept",)}, "the sidecar slept"),
    ],
)
def test_what_may_be_the_labs_fault_makes_a_run_inconclusive(tmp_path: Path, fake: dict[str, Any], doubt: str) -> None:
    run = run_scenario(written(tmp_path, GOOGLE), FakeBackend(SAMPLE.read_bytes(), **fake), tmp_path / "runs")
    assert run.report is not None
    assert run.report.verdict == "inconclusive"
    assert any(doubt in problem for problem in run.report.capture.problems)


@pytest.mark.needs("netns", "docker")
@pytest.mark.parametrize("path", PLAYED_BY_BOTH, ids=lambda path: path.stem)
def test_both_backends_give_a_scenario_the_same_shape(tmp_path: Path, path: Path) -> None:
    scenario = load_scenario(path)
    shapes = {}
    for name in ("netns", "docker"):
        run = run_scenario(scenario, make_backend(name), tmp_path / name)
        report = json.loads((run.folder / "report.json").read_text())
        assert report["verdict"] == "pass", (name, [f for f in report["findings"] if f["status"] == "fail"])
        shapes[name] = report["fingerprint"]["shape"]
    assert shapes["docker"] == shapes["netns"]
    if path.stem == "baseline":
        assert shapes["docker"] == VECTORS[0]["shape_hash"]
