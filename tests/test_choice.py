"""Which backend plays a scenario: asked, needed, ready, possible; and one line that says why."""

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.engines import SecondEngine
from tests.test_lab import invoke
from tests.test_misfortune import in_namespace, is_one_clear_message

SIMPLE = '[names]\na = "192.0.2.9"\n[client]\ncurl = ["http://a/"]\n'
NEEDS_NETNS = SIMPLE + '[wire]\ndelay = "1ms"\n'
NO_TUN = "mount -t tmpfs none /dev/net"


def chosen(
    tmp_path: Path, text: str, *words: str, env: dict[str, str] | None = None
) -> tuple[str, subprocess.CompletedProcess[str]]:
    """The line that names the backend, of a run of `text`."""
    path = tmp_path / "choice.toml"
    path.write_text(text)
    done = invoke("lab", "--scenario", path, "--runs", tmp_path / "runs", *words, env=env)
    return next(line for line in done.stdout.splitlines() if line.startswith("backend: ")), done


@pytest.fixture(scope="module")
def empty_engine() -> Iterator[SecondEngine]:
    engine = SecondEngine()
    yield engine
    engine.close()


@pytest.mark.needs("netns")
def test_the_one_asked_for(tmp_path: Path) -> None:
    assert chosen(tmp_path, SIMPLE, "--backend", "netns")[0] == "backend: netns (as asked)"


@pytest.mark.needs("netns")
def test_the_one_that_the_scenario_needs(tmp_path: Path) -> None:
    assert chosen(tmp_path, NEEDS_NETNS)[0] == "backend: netns (the scenario's wire.delay needs it)"


@pytest.mark.needs("docker")
def test_docker_where_an_engine_answers_and_the_image_is_there(tmp_path: Path) -> None:
    line, done = chosen(tmp_path, SIMPLE)
    assert line == "backend: docker (an engine answers, and its image is here)"
    assert done.returncode == 0


@pytest.mark.needs("netns")
def test_netns_where_no_engine_answers(tmp_path: Path) -> None:
    line, done = chosen(tmp_path, SIMPLE, env={"DOCKER_HOST": "unix:///nonexistent"})
    assert line == "backend: netns (no Docker engine answers at unix:///nonexistent)"
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.needs("netns", "docker", "root", "unshare", "dockerd")
def test_netns_where_the_engine_has_no_image(tmp_path: Path, empty_engine: SecondEngine) -> None:
    line, done = chosen(tmp_path, SIMPLE, env=empty_engine.environment)
    assert line == "backend: netns (needs no image, and Docker's isn't here)"
    assert done.returncode == 0


@pytest.mark.needs("netns", "docker", "root", "unshare", "dockerd")
@pytest.mark.parametrize("offline", [False, True])
def test_docker_with_a_build_where_netns_cannot(tmp_path: Path, empty_engine: SecondEngine, *, offline: bool) -> None:
    path = tmp_path / "choice.toml"
    path.write_text(SIMPLE)
    words = ("lab", "--scenario", str(path), "--runs", str(tmp_path / "runs"), *(["--offline"] if offline else []))
    done = in_namespace(NO_TUN, *words, engine=empty_engine.host)
    assert done.returncode == 3
    if offline:
        assert done.stdout == ""
        assert is_one_clear_message(done.stderr)
        assert "neither backend can run: netns: /dev/net/tun does not exist" in done.stderr
    else:
        assert "backend: docker (netns can't run here: /dev/net/tun does not exist" in " ".join(done.stdout.split())
        assert "about 130 MB to download, 270 MB on the disk" in done.stderr
        assert "the image's base can't be had from a registry" in done.stderr  # this engine has no network
    assert not (tmp_path / "runs").exists()


@pytest.mark.needs("root", "unshare")
def test_neither_is_said_with_what_to_do(tmp_path: Path) -> None:
    path = tmp_path / "choice.toml"
    path.write_text(SIMPLE)
    done = in_namespace(NO_TUN, "lab", "--scenario", path, "--runs", tmp_path / "runs")
    assert done.returncode == 3
    assert is_one_clear_message(done.stderr)
    assert "/dev/net/tun does not exist" in done.stderr
