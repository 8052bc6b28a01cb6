"""Engines that are absent, closed, old, empty, full, restarted: one clear message each, exit 3, nothing left."""

import hashlib
import http.server
import json
import os
import shlex
import signal
import socketserver
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from lab.containers import lab as containers
from lab.containers import topology
from lab.containers.backend import DockerBackend
from lab.containers.compose import find_compose
from lab.containers.engine import Engine
from lab.containers.image import Image, find_image, image_tag
from lab.containers.leftovers import find_leftovers
from lab.containers.network import RANGES
from lab.errors import StepError
from lab.run import run_scenario
from tests.conftest import HERE, missing
from tests.engines import SecondEngine
from tests.test_backends import GOOGLE, written
from tests.test_killed import begin, in_engine, read_until
from tests.test_lab import INVOKE, invoke
from tests.test_misfortune import eventually, is_one_clear_message

DOCKER = ("lab", "--backend", "docker", "--offline")
NO_ENGINE = {"DOCKER_HOST": "unix:///nonexistent/docker.sock"}


def refused(done: subprocess.CompletedProcess[str], complaint: str, mend: str, status: int = 3) -> None:
    """That `done` ended with one clear message."""
    assert done.returncode == status, done.stderr
    last = done.stderr[done.stderr.rindex("error: ") :]
    assert is_one_clear_message(last), done.stderr
    assert "Traceback" not in done.stderr
    assert complaint in done.stderr
    assert mend in done.stderr


@pytest.fixture(autouse=True)
def nothing_of_the_dead(request: pytest.FixtureRequest) -> Iterator[None]:
    """Afterwards the engine has nothing of a run that has ended, unless it had before."""
    if missing("docker"):
        yield
        return
    before = of_the_dead()
    yield
    assert of_the_dead() <= before


def of_the_dead() -> set[str]:
    """What the engine has of dead runs."""
    engine = Engine()
    found = {
        one.name for one in find_leftovers(engine) if one.owner and one.owner.is_judged_here() and one.owner.is_dead()
    }
    engine.close()
    return found


def test_no_engine_is_said(tmp_path: Path) -> None:
    done = invoke(*DOCKER, "--runs", tmp_path / "runs", env=NO_ENGINE)
    refused(done, "no Docker engine answers at unix:///nonexistent/docker.sock", "--backend netns")
    for task in (["image"], ["bundle", "--out", tmp_path / "b"]):
        refused(invoke(*task, env=NO_ENGINE), "no Docker engine answers", "start it")
    assert list(tmp_path.iterdir()) == []


def test_a_context_that_does_not_exist_is_said(tmp_path: Path) -> None:
    done = invoke(*DOCKER, "--runs", tmp_path / "runs", env={"DOCKER_CONTEXT": "nowhere"})
    refused(done, "there is no Docker context 'nowhere'", "docker context use default")


@pytest.mark.needs("netns")
def test_a_broken_context_keeps_nobody_from_netns(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text('{"currentContext": "mine"}')
    folder = tmp_path / "contexts" / "meta" / hashlib.sha256(b"mine").hexdigest()
    folder.mkdir(parents=True)
    (folder / "meta.json").write_text("{")
    environment = {"DOCKER_CONFIG": str(tmp_path)}
    done = invoke("lab", "--json", "--runs", tmp_path / "runs", env=environment)
    assert json.loads(done.stdout)["verdict"] == "pass", done.stderr
    refused(invoke(*DOCKER, "--runs", tmp_path / "runs", env=environment), "Docker's settings can't be used", "mend")


@pytest.mark.needs("docker")
def test_a_compose_plugin_that_cannot_run_is_said(tmp_path: Path) -> None:
    (tmp_path / "cli-plugins").mkdir()
    plugin = tmp_path / "cli-plugins" / "docker-compose"
    plugin.write_bytes(b"\x7fnothing")
    plugin.chmod(0o755)
    done = invoke(*DOCKER, "--runs", tmp_path / "runs", env={"DOCKER_CONFIG": str(tmp_path)})
    refused(done, f"the docker compose plugin {plugin} can't be run", "install it again")


@pytest.mark.needs("docker")
@pytest.mark.parametrize(
    "config", ["[]", "{bad", '{"currentContext": 3}', '{"proxies": 3}', '{"cliPluginsExtraDirs": 7}', '{"auths": []}']
)
def test_docker_settings_that_make_no_sense_are_survived(tmp_path: Path, config: str) -> None:
    plugin = Path(find_compose())
    (tmp_path / "config.json").write_text(config)
    (tmp_path / "cli-plugins").mkdir()
    (tmp_path / "cli-plugins" / plugin.name).symlink_to(plugin)
    done = invoke(*DOCKER, "--json", "--runs", tmp_path / "runs", env={"DOCKER_CONFIG": str(tmp_path)})
    assert "Traceback" not in done.stderr
    if done.returncode:
        assert done.returncode == 3
        assert is_one_clear_message(done.stderr)
    else:
        assert json.loads(done.stdout)["verdict"] == "pass"


@pytest.mark.needs("docker")
def test_variables_that_would_steer_compose_are_kept_from_it(tmp_path: Path) -> None:
    steering = {"DOCKER_DEFAULT_PLATFORM": "linux/s390x", "COMPOSE_FILE": "/x", "LAB_SUBNET": "1.2.3.0/24"}
    done = invoke(*DOCKER, "--json", "--runs", tmp_path, env=steering)
    assert json.loads(done.stdout)["verdict"] == "pass", done.stderr


def test_variables_that_make_no_sense_are_said(tmp_path: Path) -> None:
    for variables in (
        {"DOCKER_HOST": "nonsense://x"},
        {"DOCKER_HOST": "tcp://x:99999"},
        {"DOCKER_HOST": "http://[::1"},
        {"DOCKER_HOST": "tcp://127.0.0.1:1", "DOCKER_TLS_VERIFY": "1", "DOCKER_CERT_PATH": "/nonexistent"},
    ):
        done = invoke(*DOCKER, "--runs", tmp_path / "runs", env=variables)
        assert done.returncode == 3
        assert is_one_clear_message(done.stderr), done.stderr


@pytest.mark.needs("root", "docker")
def test_a_socket_that_this_user_may_not_use_is_said() -> None:
    code = """if True:
        import os, docker, docker.context, lab.containers.engine as engine
        os.setgroups([]); os.setgid(65534); os.setuid(65534)  # here: the interpreter may be in a folder of root's
        try:
            engine.Engine()
        except engine.BackendError as error:
            print(error, error.next_step)
    """
    done = subprocess.run([sys.executable, "-c", code], cwd=HERE, capture_output=True, text=True, check=True)
    assert done.stdout.startswith("this user may not talk to the Docker engine at unix:///"), done.stderr
    assert "usermod -aG docker" in done.stdout


class _OldEngine(http.server.BaseHTTPRequestHandler):
    """What an engine of 2019 says of itself; there is no such engine to install."""

    def do_GET(self) -> None:
        body = json.dumps({"ApiVersion": "1.40", "MinAPIVersion": "1.12", "Version": "19.03.15"}).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


def test_an_engine_that_is_too_old_is_said(tmp_path: Path) -> None:
    with socketserver.TCPServer(("127.0.0.1", 0), _OldEngine) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        host = f"tcp://127.0.0.1:{server.server_address[1]}"
        done = invoke(*DOCKER, "--runs", tmp_path / "runs", env={"DOCKER_HOST": host})
        server.shutdown()
    refused(done, "is too old: its API is 1.40", "update Docker to 20.10 or later")


@pytest.mark.needs("docker", "root", "unshare")
def test_no_compose_plugin_is_said(tmp_path: Path) -> None:
    from lab.containers.compose import SYSTEM_FOLDERS

    hide = "; ".join(f"[ ! -d {folder} ] || mount -t tmpfs none {folder}" for folder in SYSTEM_FOLDERS)
    words = shlex.join([*INVOKE, *DOCKER, "--runs", str(tmp_path / "runs")])
    script = f"{hide}; export DOCKER_CONFIG={tmp_path} PATH=/usr/bin:/bin; {words}"
    command = ["unshare", "--mount", "sh", "-c", script]
    done = subprocess.run(command, cwd=HERE, capture_output=True, text=True, timeout=60, check=False)
    refused(done, "the docker compose plugin (v2) is not installed", "docker-compose-plugin")
    assert not (tmp_path / "runs").exists()


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The bundle of this version, from the first engine."""
    path = tmp_path_factory.mktemp("bundle") / "lab.bundle"
    done = invoke("bundle", "--out", path)
    assert done.returncode == 0, done.stderr
    return path


@pytest.fixture(scope="module")
def empty_engine() -> Iterator[SecondEngine]:
    """An engine without any image, on a machine without network."""
    engine = SecondEngine()
    yield engine
    engine.close()


@pytest.fixture(scope="module")
def second_engine(bundle: Path) -> Iterator[SecondEngine]:
    """An engine on a machine without network, which got its image from the bundle."""
    engine = SecondEngine()
    done = invoke("unbundle", "--file", bundle, env=engine.environment)
    assert (done.returncode, done.stdout) == (0, "ready: invoke lab --backend docker --offline\n"), done.stderr
    yield engine
    engine.close()


with_second_engine = pytest.mark.needs("docker", "root", "unshare", "dockerd")


@with_second_engine
def test_a_machine_that_never_had_internet_runs_the_lab_from_a_bundle(
    tmp_path: Path, second_engine: SecondEngine
) -> None:
    done = invoke(*DOCKER, "--json", "--runs", tmp_path, env=second_engine.environment)
    assert json.loads(done.stdout)["verdict"] == "pass", done.stderr
    (folder,) = tmp_path.iterdir()
    there = json.loads((folder / "run.json").read_text())["image"]
    ours = find_image(Engine())
    assert ours is not None
    assert (there["tag"], there["id"]) == (ours.tag, ours.id)


@with_second_engine
def test_offline_without_the_image_is_said(tmp_path: Path, empty_engine: SecondEngine) -> None:
    done = invoke(*DOCKER, "--runs", tmp_path / "runs", env=empty_engine.environment)
    refused(done, f"the engine doesn't have the image {image_tag()}, and --offline forbids", "invoke unbundle")
    assert not (tmp_path / "runs").exists()
    refused(
        invoke("bundle", "--out", tmp_path / "b", env=empty_engine.environment),
        "doesn't have the image",
        "invoke image",
    )
    assert list(tmp_path.iterdir()) == []


@with_second_engine
def test_a_base_that_no_registry_gives_is_said(empty_engine: SecondEngine) -> None:
    done = invoke("image", env=empty_engine.environment)
    refused(done, "the image's base can't be had from a registry", "invoke image --from-packages")
    assert "270 MB on the disk" in done.stderr


@with_second_engine
@pytest.mark.needs("mmdebstrap")
def test_a_disk_that_fills_while_building_or_loading_is_said(bundle: Path) -> None:
    small = SecondEngine(size="100m")
    try:
        refused(invoke("image", "--from-packages", env=small.environment), "the disk is full", "docker system df")
        refused(
            invoke("unbundle", "--file", bundle, env=small.environment), "no space left on device", "docker system df"
        )
        assert small.connect().api.images(all=True) == []
    finally:
        small.close()


@pytest.mark.needs("docker", "root", "mmdebstrap")
@pytest.mark.parametrize("moment", ["making a base", "Step 3"])
def test_a_build_that_is_interrupted_leaves_nothing(tmp_path: Path, moment: str) -> None:
    engine = Engine()

    def seen() -> tuple[set[str], int, int]:
        images = {image["Id"] for image in engine.api.images(all=True)}
        return images, len(engine.api.containers(all=True)), len(Path("/proc/self/mountinfo").read_text().splitlines())

    before = seen()
    command = [*INVOKE, "image", "--from-packages"]
    environment = {**os.environ, "TMPDIR": str(tmp_path)}
    process = subprocess.Popen(command, cwd=HERE, env=environment, stderr=subprocess.PIPE, text=True)
    assert process.stderr is not None
    while moment not in process.stderr.readline():
        assert process.poll() is None
    time.sleep(1.0)  # well into it
    process.send_signal(signal.SIGTERM)
    _, stderr = process.communicate(timeout=60)
    assert process.returncode == 3
    assert stderr.splitlines()[-1].startswith("interrupted: ")
    assert eventually(lambda: seen() == before), (before, seen())
    assert list(tmp_path.iterdir()) == []


@with_second_engine
def test_subnets_that_are_all_taken_are_named(tmp_path: Path, second_engine: SecondEngine) -> None:
    from docker.types import IPAMConfig, IPAMPool

    api = second_engine.connect().api
    taken = [
        api.create_network(f"taken-{number}", ipam=IPAMConfig(pool_configs=[IPAMPool(subnet=str(network))]))["Id"]
        for number, network in enumerate(RANGES)
    ]
    try:
        done = invoke(*DOCKER, "--runs", tmp_path / "runs", env=second_engine.environment)
    finally:
        for network in taken:
            api.remove_network(network)
    refused(done, "198.18.0.0/15: Docker's network taken-3", "docker network rm")


@with_second_engine
@pytest.mark.parametrize("step", ["ready", "capture", "client", "settle", "stop", "destroy"])
def test_an_engine_restarted_in_the_middle_of_a_run_is_said(
    tmp_path: Path, second_engine: SecondEngine, step: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DOCKER_HOST", second_engine.host)
    runs = tmp_path / "runs"
    process = begin("docker", runs, step)
    read_until(process, f"pause {step}")
    second_engine.stop()
    second_engine.start()
    stdout, stderr = process.communicate("go on\n", timeout=100)
    if "verdict" in stdout:
        nothing_was_lost = step in ("ready", "destroy")  # there were no containers yet, or the capture was complete
        assert "verdict inconclusive" in stdout or nothing_was_lost, stdout
    else:
        assert "StepError: the run failed at the step" in stderr
    cleaned = invoke("clean", "--runs", runs)
    assert (cleaned.returncode, "Traceback" in cleaned.stderr) == (0, False)
    assert in_engine(process.pid) == []


@with_second_engine
def test_an_engine_that_is_gone_is_one_message_and_clean_helps_later(
    tmp_path: Path, second_engine: SecondEngine
) -> None:
    path = tmp_path / "slow.toml"
    path.write_text(GOOGLE.replace("body = 120", "body = 300_000").replace('["http', '["--limit-rate", "1000", "http'))
    command = [*INVOKE, *DOCKER, "--scenario", str(path), "--runs", str(tmp_path / "runs")]
    environment = {**os.environ, **second_engine.environment}
    pipe = subprocess.PIPE
    process = subprocess.Popen(command, cwd=HERE, env=environment, stdout=pipe, stderr=pipe, text=True)
    try:
        assert eventually(lambda: any((tmp_path / "runs").glob(".partial-*/client.out")), 20.0)
        second_engine.stop()
        _, stderr = process.communicate(timeout=100)
        refused(
            subprocess.CompletedProcess(command, process.returncode, "", stderr),
            "at the step 'client': the ",
            "invoke clean",
        )
    finally:
        second_engine.start()
    cleaned = invoke("clean", "--runs", tmp_path / "runs", env=second_engine.environment)
    assert cleaned.returncode == 0
    assert second_engine.connect().api.containers(all=True) == []


@pytest.mark.needs("docker")
def test_a_pool_that_the_engine_refuses_is_left_for_the_next(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from docker.types import IPAMConfig, IPAMPool

    from lab.containers.network import take_subnet

    engine = Engine()
    subnet, lock = take_subnet(topology.used_subnets(engine.api.networks()), [])
    lock.close()
    network = engine.api.create_network("taken", ipam=IPAMConfig(pool_configs=[IPAMPool(subnet=str(subnet))]))["Id"]
    monkeypatch.setattr(topology, "used_subnets", lambda _: [])  # it was made between the look and the use
    try:
        run = run_scenario(written(tmp_path, GOOGLE), DockerBackend(offline=True), tmp_path / "runs")
    finally:
        engine.api.remove_network(network)
    assert run.report is not None
    assert run.report.verdict == "pass"
    assert json.loads((run.folder / "run.json").read_text())["subnet"] != str(subnet)


BROKEN = {
    "dies at once": ("printf '#!/bin/sh\\necho started, and gone; exit 7\\n'", "ended before it was ready (status 7)"),
    "never becomes ready": ("printf '#!/bin/sh\\nexec sleep 600\\n'", "wasn't ready within 1 s; awaited in its log:"),
    "does not exist": ("rm", "docker compose up failed"),
}


@pytest.mark.needs("docker")
@pytest.mark.parametrize("how", BROKEN)
def test_a_container_that_is_not_to_be_had_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, how: str) -> None:
    command, complaint = BROKEN[how]
    engine = Engine()
    image = _variant(engine, tmp_path, command)
    monkeypatch.setattr(containers, "READY_S", 1.0)
    docker = DockerBackend(offline=True)
    monkeypatch.setattr(docker, "_image", image)
    try:
        with pytest.raises(StepError, match="the run failed at the step 'ready'") as why:
            run_scenario(written(tmp_path, GOOGLE), docker, tmp_path / "runs")
    finally:
        engine.api.remove_image(image.id, force=True)
    assert complaint in str(why.value)
    assert str(tmp_path / "runs") in why.value.next_step
    assert in_engine(os.getpid()) == []


def _variant(engine: Engine, folder: Path, command: str) -> Image:
    """The lab's image with another start.sh."""
    start = "/usr/local/lib/handshake-lab/start.sh"
    target = start if command == "rm" else f">{start}"
    dockerfile = folder / "variant" / "Dockerfile"
    dockerfile.parent.mkdir()
    dockerfile.write_text(f"FROM {image_tag()}\nRUN {command} {target}\n")
    said: list[dict[str, Any]] = list(
        engine.api.build(path=str(dockerfile.parent), tag="variant", decode=True, rm=True)
    )
    image = find_image(engine, "variant")
    assert image is not None, said
    return image


@pytest.mark.needs("docker", "root")
@pytest.mark.parametrize("size", ["8k", "16k", "24k", "32k", "40k"])
def test_a_folder_of_runs_that_fills_is_said(tmp_path: Path, size: str) -> None:
    (tmp_path / "runs").mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "none", str(tmp_path / "runs")], check=True)
    try:
        done = invoke(*DOCKER, "--runs", tmp_path / "runs")
    finally:
        subprocess.run(["umount", str(tmp_path / "runs")], check=True)
    assert done.returncode in (2, 3)
    assert is_one_clear_message(done.stderr[done.stderr.rindex("error: ") :]), done.stderr
    assert "engine went away" not in done.stderr
