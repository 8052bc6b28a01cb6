"""Bad luck, made for real: each gives one message, a next step, the right status, and leaves nothing behind."""

import json
import os
import random
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from lab.bench.runs import traces
from lab.errors import BackendError
from lab.netns.backend import NetnsBackend
from lab.netns.isolation import require_linux
from lab.run import run_scenario
from lab.scenario.load import load_scenario
from tests.conftest import HERE
from tests.test_lab import INVOKE, LAB, invoke

pytestmark = pytest.mark.needs("netns")
SLOW = '[names]\na="192.0.2.9"\n[wire]\ndelay="300ms"\n[client]\ncurl=["http://a/"]\n'
HANGING = """
    [names]
    a = "192.0.2.9"
    [server]
    headers = { Content-Length = "100" }
    body = 5
    [client]
    curl = ["http://a/"]
    deadline = "300ms"
"""


def eventually(holds: Callable[[], bool], patience_s: float = 5.0) -> bool:
    """Whether `holds` comes true in time: the kernel frees what ended a moment later."""
    deadline = time.monotonic() + patience_s
    while not holds():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.02)
    return True


@pytest.fixture
def nothing_stays(tmp_path: Path) -> Iterator[None]:
    """Afterwards no process of this test's labs is there, and no interface or mount that wasn't before."""
    before = traces(str(tmp_path))
    yield

    def more() -> dict[str, int]:
        return {name: count for name, count in traces(str(tmp_path)).items() if count > before[name]}

    assert eventually(lambda: not more()), more()


def start(tmp_path: Path, scenario: str | None = None, *words: str) -> subprocess.Popen[str]:
    """`invoke lab` in the background, in a process group of its own."""
    chosen: list[str] = []
    if scenario is not None:
        path = tmp_path / "slow.toml"
        path.write_text(scenario)
        chosen = ["--scenario", str(path)]
    command = [*INVOKE, *LAB, "--json", "--runs", str(tmp_path / "runs"), *chosen, *words]
    pipe = subprocess.PIPE
    return subprocess.Popen(command, cwd=HERE, stdout=pipe, stderr=pipe, text=True, start_new_session=True)


def descendants(process: int) -> dict[int, str]:
    """Process id → command line of all that `process` started, directly or not, in order of depth."""
    found: dict[int, str] = {}
    todo = [process]
    while todo:
        parent = todo.pop(0)
        for task in Path(f"/proc/{parent}/task").glob("*/children"):
            for child in map(int, task.read_text().split()):
                found[child] = Path(f"/proc/{child}/cmdline").read_bytes().replace(b"\0", b" ").decode()
                todo.append(child)
    return found


def wait_for_curl(process: subprocess.Popen[str]) -> dict[int, str]:
    """Descendants once the client runs."""
    seen: dict[int, str] = {}

    def runs() -> bool:
        seen.clear()
        try:
            seen.update(descendants(process.pid))
        except (FileNotFoundError, ProcessLookupError):
            return False
        return any("http://a/" in line and "curl" in line for line in seen.values())

    assert eventually(runs)
    return seen


def is_one_clear_message(stderr: str) -> bool:
    return stderr.startswith("error: ") and "\n  next: " in stderr and "Traceback" not in stderr


@pytest.mark.usefixtures("nothing_stays")
def test_a_client_that_hangs_is_stopped_at_its_deadline(tmp_path: Path) -> None:
    done = start(tmp_path, HANGING)
    stdout, _ = done.communicate(timeout=30)
    report = json.loads(stdout)
    assert (done.returncode, report["verdict"]) == (3, "inconclusive")
    assert "curl was still busy after 0.3 s (client.deadline) and was stopped" in report["capture"]["problems"]


@pytest.mark.parametrize("sent", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
@pytest.mark.usefixtures("nothing_stays")
def test_an_interrupt_ends_everything_and_keeps_nothing(tmp_path: Path, sent: signal.Signals) -> None:
    process = start(tmp_path, SLOW)
    wait_for_curl(process)
    os.killpg(process.pid, sent)
    stdout, stderr = process.communicate(timeout=10)
    assert (process.returncode, stdout) == (3, "")
    assert stderr.startswith("interrupted: ")
    assert "Traceback" not in stderr
    assert list((tmp_path / "runs").iterdir()) == []


@pytest.mark.usefixtures("nothing_stays")
def test_an_interrupt_at_any_moment_ends_everything(tmp_path: Path) -> None:
    dice = random.Random(1)
    (tmp_path / "runs").mkdir()
    for _ in range(12):
        process = start(tmp_path)
        assert eventually(lambda: any((tmp_path / "runs").glob(".partial-*"))) or process.poll() is not None
        time.sleep(dice.uniform(0, 0.2))
        os.killpg(process.pid, signal.SIGINT)
        _, stderr = process.communicate(timeout=10)
        assert "Traceback" not in stderr
        assert process.returncode in (0, 3, -signal.SIGINT)  # the last: when Python itself was ending
        assert list((tmp_path / "runs").glob(".partial-*")) == []


@pytest.mark.usefixtures("nothing_stays")
def test_kill_9_at_any_moment_leaves_at_most_a_partial_folder(tmp_path: Path) -> None:
    dice = random.Random(2)
    runs = tmp_path / "runs"
    for _ in range(12):
        process = start(tmp_path)
        time.sleep(dice.uniform(0.05, 0.6))
        process.kill()
        process.communicate(timeout=10)
        assert len(list(runs.glob(".partial-*"))) <= 1
    assert eventually(lambda: invoke("clean", "--runs", runs).returncode == 0 and not list(runs.glob(".partial-*")))


@pytest.mark.usefixtures("nothing_stays")
def test_clean_leaves_a_live_run_alone(tmp_path: Path) -> None:
    live = start(tmp_path, SLOW)
    wait_for_curl(live)
    dead = start(tmp_path, SLOW)
    wait_for_curl(dead)
    dead.kill()
    dead.communicate(timeout=10)
    assert len(list((tmp_path / "runs").glob(".partial-*"))) == 2
    assert eventually(lambda: "removed" in invoke("clean", "--runs", tmp_path / "runs").stdout)
    stdout, _ = live.communicate(timeout=30)
    assert json.loads(stdout)["verdict"] == "pass"
    assert list((tmp_path / "runs").glob(".partial-*")) == []


VICTIMS = {
    "the supervisor": (0, "init process died"),
    "init": (1, "init process died"),
    "the resolver": (2, "the resolver's process died"),
    "the server": (3, "the server's process died"),
}


@pytest.mark.parametrize("victim", VICTIMS)
@pytest.mark.usefixtures("nothing_stays")
def test_a_process_of_the_lab_that_dies_is_named(tmp_path: Path, victim: str) -> None:
    depth, complaint = VICTIMS[victim]
    process = start(tmp_path, SLOW)
    ours = [pid for pid, line in wait_for_curl(process).items() if "invoke" in line]
    os.kill(ours[depth], signal.SIGKILL)
    stdout, stderr = process.communicate(timeout=10)
    assert (process.returncode, stdout) == (3, "")
    assert is_one_clear_message(stderr), stderr
    assert complaint in stderr
    (folder,) = (tmp_path / "runs").iterdir()
    run = json.loads((folder / "run.json").read_text())
    assert (run["failed_step"], run["verdict"]) == ("client", "inconclusive")
    assert (folder / "server.log").exists()


def test_no_curl_is_said_with_what_to_install(tmp_path: Path) -> None:
    done = invoke(*LAB, "--runs", tmp_path / "runs", env={"PATH": str(tmp_path)})
    assert done.returncode == 3
    assert is_one_clear_message(done.stderr)
    assert "install" in done.stderr
    assert list((tmp_path / "runs").iterdir()) == []


def test_a_curl_that_cannot_run_is_said(tmp_path: Path) -> None:
    curl = tmp_path / "curl"
    curl.write_text("#!/nonexistent/sh\n")
    curl.chmod(0o755)
    done = invoke(*LAB, "--runs", tmp_path / "runs", env={"PATH": str(tmp_path)})
    assert done.returncode == 3
    assert "Traceback" not in done.stderr
    assert "curl" in done.stderr


@pytest.mark.parametrize(
    "words", [["--scenario", "nonsense"], ["--scenario", "/nonexistent.toml"], ["--backend", "vmware"]]
)
def test_wrong_use_exits_2_and_makes_nothing(tmp_path: Path, words: list[str]) -> None:
    done = invoke("lab", *words, "--runs", tmp_path / "runs")
    assert (done.returncode, done.stdout) == (2, "")
    assert is_one_clear_message(done.stderr)
    assert not (tmp_path / "runs").exists()


def test_curl_arguments_that_curl_refuses_are_told_in_its_words(tmp_path: Path) -> None:
    path = tmp_path / "bad.toml"
    path.write_text('[names]\na = "192.0.2.80"\n[client]\ncurl = ["--max-time", "soon", "http://a/"]\n')
    done = invoke(*LAB, "--scenario", path, "--runs", tmp_path / "runs")
    assert done.returncode == 3
    assert "curl ended with status 2" in done.stderr


def test_runs_that_is_a_file_is_said(tmp_path: Path) -> None:
    (tmp_path / "runs").write_text("")
    done = invoke(*LAB, "--runs", tmp_path / "runs")
    assert done.returncode == 2
    assert is_one_clear_message(done.stderr)


def in_namespace(
    setup: str, *words: str | Path, engine: str = "unix:///nonexistent"
) -> subprocess.CompletedProcess[str]:
    """`invoke` behind a shell script of set-up commands, in a mount namespace of its own, with `engine` as Docker's."""
    script = f'set -e\n{setup}\nexport DOCKER_HOST={engine}\nexec "$@"'
    command = ["unshare", "--mount", "sh", "-c", script, "sh", *INVOKE, *map(str, words)]
    return subprocess.run(command, cwd=HERE, capture_output=True, text=True, timeout=60, check=False)


@pytest.mark.parametrize(("platform", "name"), [("darwin", "macOS"), ("win32", "Windows"), ("freebsd14", "freebsd14")])
def test_another_system_is_named_with_the_way_to_go_on(platform: str, name: str) -> None:
    with pytest.raises(BackendError, match=f"needs Linux, and this is {name}") as caught:
        require_linux(platform)
    assert "docker run --privileged" in caught.value.next_step


@pytest.mark.needs("root", "unshare")
@pytest.mark.parametrize(
    ("setup", "complaint", "mend"),
    [
        ("mount -t tmpfs none /dev/net", "/dev/net/tun does not exist", "sudo modprobe tun"),
        (
            "mount -t tmpfs none /dev/net; mknod /dev/net/tun c 10 254",
            "/dev/net/tun does not exist",
            "sudo modprobe tun",
        ),
    ],
    ids=["no device node", "a node without a driver"],
)
def test_no_tun_device_is_said_by_lab_and_doctor(tmp_path: Path, setup: str, complaint: str, mend: str) -> None:
    done = in_namespace(setup, *LAB, "--runs", tmp_path / "runs")
    assert done.returncode == 3
    assert is_one_clear_message(done.stderr), done.stderr
    assert complaint in done.stderr
    assert mend in done.stderr
    asked = in_namespace(setup, "doctor", "--runs", tmp_path / "runs")
    assert asked.returncode == 3
    assert complaint in asked.stdout
    assert f"mend: {mend}" in asked.stdout


@pytest.mark.needs("root", "unshare")
@pytest.mark.parametrize("size", ["4k", "8k", "12k", "16k", "20k", "28k"])
def test_a_full_disk_is_said(tmp_path: Path, size: str) -> None:
    (tmp_path / "runs").mkdir()
    done = in_namespace(f"mount -t tmpfs -o size={size} none {tmp_path}/runs", *LAB, "--runs", tmp_path / "runs")
    assert done.returncode in (2, 3)
    assert is_one_clear_message(done.stderr), done.stderr


@pytest.mark.needs("root", "unshare")
def test_a_read_only_folder_of_runs_is_said(tmp_path: Path) -> None:
    (tmp_path / "runs").mkdir()
    done = in_namespace(f"mount -t tmpfs -o ro none {tmp_path}/runs", *LAB, "--runs", tmp_path / "runs")
    assert done.returncode == 2
    assert is_one_clear_message(done.stderr)
    assert "Read-only file system" in done.stderr


def test_a_reader_that_leaves_is_no_error(tmp_path: Path) -> None:
    command = f"{' '.join(INVOKE)} {' '.join(LAB)} --explain --runs {tmp_path} | head -n 1"
    done = subprocess.run(["sh", "-c", command], cwd=HERE, capture_output=True, text=True, timeout=60, check=True)
    assert done.stderr == ""


@pytest.mark.parametrize("redirect", [">&-", ">/dev/full", "<&-"])
def test_closed_and_full_streams_are_survived(tmp_path: Path, redirect: str) -> None:
    command = f"{' '.join(INVOKE)} {' '.join(LAB)} --runs {tmp_path} {redirect}"
    done = subprocess.run(["sh", "-c", command], cwd=HERE, capture_output=True, text=True, timeout=60, check=False)
    assert "Traceback" not in done.stderr
    assert "Exception ignored" not in done.stderr
    assert done.returncode == (3 if "full" in redirect else 0)


def test_a_terminal_that_knows_no_arrows_is_survived(tmp_path: Path) -> None:
    done = invoke(*LAB, "--runs", tmp_path, env={"PYTHONIOENCODING": "latin-1"})
    assert done.returncode == 0
    assert "? pass" in done.stdout


@pytest.mark.parametrize(
    ("content", "complaint"), [(b"", "is empty"), (b"no capture at all", "is no capture"), (None, "no such file")]
)
def test_analyze_says_what_is_wrong_with_a_file(tmp_path: Path, content: bytes | None, complaint: str) -> None:
    path = tmp_path / "a.pcap"
    if content is not None:
        path.write_bytes(content)
    done = invoke("analyze", path)
    assert (done.returncode, done.stdout) == (2, "")
    assert is_one_clear_message(done.stderr)
    assert complaint in done.stderr


def test_analyze_of_a_cut_file_is_inconclusive(tmp_path: Path) -> None:
    path = tmp_path / "cut.pcap"
    path.write_bytes((HERE / "samples" / "google-2016.pcap").read_bytes()[:-40])
    done = invoke("analyze", path, "--json")
    report = json.loads(done.stdout)
    assert (done.returncode, report["verdict"]) == (3, "inconclusive")
    assert "ends in the middle of frame 16" in report["capture"]["problems"][0]


def stand_in(tmp_path: Path, script: str) -> dict[str, str]:
    """An environment whose curl is the shell script `script`; it can call the real one as "$CURL"."""
    folder = tmp_path / "bin"
    folder.mkdir()
    curl = folder / "curl"
    curl.write_text(f"#!/bin/sh\nCURL={shutil.which('curl')}\n{script}\n")
    curl.chmod(0o755)
    return {"PATH": f"{folder}:{os.environ['PATH']}"}


@pytest.mark.usefixtures("nothing_stays")
def test_a_curl_ended_by_a_signal_is_no_failure_of_the_fetch(tmp_path: Path) -> None:
    env = stand_in(tmp_path, '[ "$1" = --version ] && exec "$CURL" --version\nkill -SEGV $$')
    done = invoke(*LAB, "--json", "--runs", tmp_path / "runs", env=env)
    assert (done.returncode, json.loads(done.stdout)["verdict"]) == (3, "inconclusive")
    assert "curl was ended by signal 11" in json.loads(done.stdout)["capture"]["problems"]


@pytest.mark.usefixtures("nothing_stays")
def test_a_curl_that_never_tells_its_version_holds_nothing_up(tmp_path: Path) -> None:
    env = stand_in(tmp_path, '[ "$1" = --version ] && sleep 1000\nexec "$CURL" "$@"')
    done = invoke(*LAB, "--json", "--runs", tmp_path / "runs", env=env)
    assert json.loads(done.stdout)["verdict"] == "pass"
    (folder,) = (tmp_path / "runs").iterdir()
    assert json.loads((folder / "run.json").read_text())["versions"]["curl"].startswith("unknown")


def test_a_curl_that_cannot_be_started_in_the_lab_is_said(tmp_path: Path) -> None:
    env = stand_in(tmp_path, '[ "$1" = --version ] && { rm -f "$0"; exit; }')
    done = invoke(*LAB, "--json", "--runs", tmp_path / "runs", env=env)
    assert done.returncode == 3
    assert is_one_clear_message(done.stderr)
    assert "curl could not be started" in done.stderr


@pytest.mark.usefixtures("nothing_stays")
def test_curl_can_write_nowhere_whatever_the_loader_overlooks(tmp_path: Path) -> None:
    path = tmp_path / "writes.toml"
    outside = tmp_path / "outside"
    path.write_text('[names]\na="192.0.2.9"\n[server]\nbody=9\n[client]\ncurl=["http://a/1"]\n')
    scenario = load_scenario(path)
    commands = (("-o", str(outside), "http://a/1"), ("-O", "http://a/inside"))
    scenario = replace(scenario, client=replace(scenario.client, commands=commands))
    run = run_scenario(scenario, NetnsBackend(), tmp_path / "runs")
    assert not outside.exists()
    assert run.client is not None
    assert run.client.exit_statuses == (23, 23)  # CURLE_WRITE_ERROR


@pytest.mark.needs("root", "unshare")
def test_the_machines_domain_is_not_searched(tmp_path: Path) -> None:
    path = tmp_path / "gone.toml"
    path.write_text('[names]\n"gone.lab.test" = { rcode = "NXDOMAIN" }\n[client]\ncurl = ["http://gone.lab.test/"]\n')
    command = [*INVOKE, *LAB, "--scenario", str(path), "--json", "--runs", str(tmp_path / "runs")]
    script = 'echo vm.corp.example > /proc/sys/kernel/hostname; exec "$@"'
    done = subprocess.run(
        ["unshare", "--uts", "sh", "-c", script, "sh", *command], cwd=HERE, capture_output=True, text=True, check=False
    )
    assert {lookup["name"] for lookup in json.loads(done.stdout)["lookups"]} == {"gone.lab.test"}
