"""`kill -9` at each step of a run, on both backends: what the engine still has then, `invoke clean` removes."""

import subprocess
import sys
import time
from pathlib import Path

import pytest

from lab.bench.runs import traces
from tests.conftest import HERE
from tests.stepwise import STEPS
from tests.test_lab import invoke
from tests.test_misfortune import eventually

MOMENTS: dict[str, dict[str, tuple[float, ...]]] = {  # seconds into each step at which the run is killed
    "netns": {"ready": (0.0, 0.01), "client": (0.0, 0.02)},
    "docker": {"ready": (0.0, 0.05, 0.15, 0.25, 0.35, 0.45, 0.55), "client": (0.0, 0.03), "destroy": (0.0, 0.1, 0.2)},
}


def begin(backend: str, runs: Path, pause: str = "") -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "tests.stepwise", backend, str(runs), pause]
    pipe = subprocess.PIPE
    return subprocess.Popen(command, cwd=HERE, stdin=pipe, stdout=pipe, stderr=pipe, text=True, start_new_session=True)


def read_until(process: subprocess.Popen[str], line: str) -> None:
    """Read what `process` prints until it is `line`."""
    assert process.stdout is not None
    for said in process.stdout:
        if said == line + "\n":
            return
    assert process.stderr is not None
    pytest.fail(f"it ended before {line!r}: {process.stderr.read()}")


def in_engine(pid: int) -> list[str]:
    """What the engine has of the runs of process `pid`."""
    from lab.containers.engine import Engine
    from lab.containers.leftovers import find_leftovers

    return [one.name for one in find_leftovers(Engine()) if one.owner and one.owner.pid == str(pid)]


def volumes() -> int:
    from lab.containers.engine import Engine

    return len(Engine().api.volumes()["Volumes"] or [])


@pytest.mark.parametrize(
    "backend",
    [
        pytest.param("netns", marks=pytest.mark.needs("netns")),
        pytest.param("docker", marks=pytest.mark.needs("docker")),
    ],
)
def test_after_kill_9_at_any_step_clean_leaves_nothing_and_the_run_beside_alone(tmp_path: Path, backend: str) -> None:
    beside = begin(backend, tmp_path / "beside", "client")
    read_until(beside, "pause client")
    runs = tmp_path / "runs"
    before = volumes() if backend == "docker" else 0
    victims: list[int] = []
    for step in STEPS:
        for moment in MOMENTS[backend].get(step, (0.0,)):
            victim = begin(backend, runs)
            victims.append(victim.pid)
            read_until(victim, f"begin {step}")
            time.sleep(moment)  # the moment is what is tested
            victim.kill()
            victim.communicate(timeout=10)
            cleaned = invoke("clean", "--runs", runs)
            assert cleaned.returncode == 0, (step, moment, cleaned.stderr)
            assert "Traceback" not in cleaned.stderr
            if backend == "docker":
                assert in_engine(victim.pid) == [], (step, moment, cleaned.stdout)
            assert eventually(lambda: traces(str(runs))["processes"] == 0), (step, moment)
            assert eventually(lambda: invoke("clean", "--runs", runs).returncode == 0 and not list(runs.glob(".p*")))
    if backend == "docker":
        assert volumes() == before
        assert [name for pid in victims for name in in_engine(pid)] == []  # nor did anything come later
        assert in_engine(beside.pid) != []
    stdout, stderr = beside.communicate("go on\n", timeout=30)
    assert stdout.endswith("verdict pass\n"), stderr
    if backend == "docker":
        assert in_engine(beside.pid) == []
