"""The Docker backend on a real engine: what its containers may do, what they say, what they are refused."""

import json
import os
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from lab.containers.engine import Engine
from lab.containers.leftovers import Leftover, find_leftovers, remove_run
from lab.containers.network import RANGES, Addresses, place, routes
from lab.containers.owner import OWNER_LABEL, RUN_LABEL, Owner
from lab.containers.render import unplayable, write_config
from lab.scenario.load import find_scenario, load_scenario
from tests.conftest import HERE
from tests.stepwise import STEPS
from tests.test_backends import written
from tests.test_killed import begin, in_engine, read_until
from tests.test_lab import INVOKE, invoke, tshark_lines
from tests.test_misfortune import is_one_clear_message

pytestmark = pytest.mark.needs("docker")
DOCKER = ("lab", "--backend", "docker")
NOBODY = "65534"
NET_RAW = 1 << 13  # linux/capability.h


@pytest.fixture(scope="module")
def engine() -> Iterator[Engine]:
    engine = Engine()
    yield engine
    engine.close()


@pytest.fixture
def paused(tmp_path: Path, engine: Engine) -> Iterator[tuple[subprocess.Popen[str], dict[str, Any]]]:
    """A run that waits before its client step, and its containers by role."""
    process = begin("docker", tmp_path / "runs", "client")
    read_until(process, "pause client")
    names = [name for name in in_engine(process.pid) if name.endswith("-1")]
    yield process, {name.split("-")[-2]: engine.api.inspect_container(name) for name in names}
    if process.poll() is None:
        process.communicate("go on\n", timeout=60)
    assert in_engine(process.pid) == []


def go_on(process: subprocess.Popen[str]) -> tuple[str, str]:
    return process.communicate("go on\n", timeout=60)


def status_of(engine: Engine, container: str, *words: str) -> str:
    execution = engine.api.exec_create(container, list(words))
    output: bytes = engine.api.exec_start(execution["Id"])
    return output.decode()


def test_every_container_has_the_least_privilege(engine: Engine, paused: tuple[Any, dict[str, Any]]) -> None:
    _, containers = paused
    assert containers.keys() == {"client", "resolver", "server", "sidecar"}
    for role, found in containers.items():
        host = found["HostConfig"]
        assert (host["Privileged"], host["ReadonlyRootfs"], host["CapDrop"]) == (False, True, ["ALL"])
        assert host["SecurityOpt"] == ["no-new-privileges:true"]
        assert 0 < host["PidsLimit"] <= 64
        assert 0 < host["Memory"] <= 512 << 20
        assert [mount for mount in found["Mounts"] if mount["RW"] or "docker.sock" in mount["Source"]] == []
        assert set(host["CapAdd"] or []) <= {"NET_ADMIN", "NET_RAW", "SETUID", "SETGID", "SETPCAP"}
        status = dict(
            line.split(":\t") for line in status_of(engine, found["Id"], "cat", "/proc/1/status").splitlines()
        )
        assert set(status["Uid"].split()) == {NOBODY}
        allowed = NET_RAW if role == "sidecar" else 0
        for kind in ("CapInh", "CapPrm", "CapEff", "CapAmb") + (() if role == "client" else ("CapBnd",)):
            assert int(status[kind], 16) == allowed, (role, kind)
        assert status["NoNewPrivs"] == "1"
    assert containers["client"]["HostConfig"]["CapAdd"] is None


def test_the_network_is_internal_and_every_object_is_labelled(
    engine: Engine, paused: tuple[Any, dict[str, Any]]
) -> None:
    process, containers = paused
    owner = Owner.parse(containers["client"]["Config"]["Labels"][OWNER_LABEL])
    assert owner is not None
    assert (owner.pid, owner.is_judged_here(), owner.is_dead()) == (str(process.pid), True, False)
    (network,) = containers["client"]["NetworkSettings"]["Networks"]
    found = engine.api.inspect_network(network)
    assert found["Internal"]
    assert found["Labels"].items() >= {OWNER_LABEL: owner.label()}.items()
    assert len(in_engine(process.pid)) == 5


def test_offloads_are_off_at_every_host(engine: Engine, paused: tuple[Any, dict[str, Any]]) -> None:
    _, containers = paused
    for role in ("client", "resolver", "server"):
        features = status_of(engine, containers[role]["Id"], "ethtool", "-k", "eth0")
        for feature in ("tx-checksumming", "tcp-segmentation-offload", "generic-segmentation-offload"):
            assert f"\n{feature}: off" in features, role
        assert "\ngeneric-receive-offload: off" in features


def play(tmp_path: Path, text: str, backend: str = "docker") -> tuple[dict[str, Any], Path]:
    path = tmp_path / "generated.toml"
    path.write_text(text)
    runs = tmp_path / f"runs-{backend}"
    done = invoke("lab", "--backend", backend, "--scenario", path, "--json", "--runs", runs)
    assert done.stdout, done.stderr
    (folder,) = runs.iterdir()
    return json.loads(done.stdout), folder


@pytest.mark.needs("tshark")
def test_a_large_body_comes_in_frames_of_the_mtu_with_right_checksums(tmp_path: Path) -> None:
    report, folder = play(tmp_path, '[names]\na="192.0.2.9"\n[server]\nbody=1000000\n[client]\ncurl=["http://a/"]')
    assert report["verdict"] == "pass"
    assert (folder / "client.out").stat().st_size == 1_000_000
    capture = str(folder / "capture.pcap")
    command = ["tshark", "-r", capture, "-o", "tcp.check_checksum:TRUE", "-o", "udp.check_checksum:TRUE", "-Y"]
    wrong = (
        'frame.len > 1514 || udp.checksum.status == "Bad" || (tcp.checksum.status == "Bad" && tcp.checksum != 0xffff)'
    )
    done = subprocess.run([*command, wrong], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout == ""
    assert len(tshark_lines(folder / "capture.pcap")) == json.loads((folder / "run.json").read_text())["frame_count"]


HEADER = r"""a "quoted" $host \ ; { } # 'x' ${dollar} \n %s"""
STATUSES = (200, 204, 206, 299, 301, 304, 404, 418, 500, 599)


def test_whatever_a_header_holds_arrives_as_it_was_written(tmp_path: Path) -> None:
    text = f"""
        names.a = "192.0.2.9"
        server.headers = {{ X-Odd = '''{HEADER}''', "X-$|~!" = ["1", "2"], Content-Type = 'text/"x"; a=$b' }}
        client.curl = ["-i", "http://a/"]
    """
    _, folder = play(tmp_path, text)
    head = (folder / "client.out").read_bytes().decode().split("\r\n")
    assert [line for line in head if line.startswith(("X-", "Content-Type"))] == [
        'Content-Type: text/"x"; a=$b',
        f"X-Odd: {HEADER}",
        "X-$|~!: 1",
        "X-$|~!: 2",
    ]


def test_statuses_bodies_and_methods_are_the_same_on_both_backends(tmp_path: Path) -> None:
    paths = "".join(
        f'[server.paths."/{status}"]\nstatus = {status}\n' + ("" if status in (204, 304) else f"body = {status}\n")
        for status in STATUSES
    )
    urls = ", ".join(f'"http://a/{status}"' for status in STATUSES)
    text = f'[names]\na = "192.0.2.9"\n[server]\nbody = 3\n{paths}[client]\ncurl = ["-d", "x=1", {urls}, "http://a/else?q"]'
    for backend in ("docker", "netns"):
        report, folder = play(tmp_path, text, backend)
        assert report["verdict"] == "pass", [f for f in report["findings"] if f["status"] == "fail"]
        exchanges = report["stories"][0]["exchanges"]
        assert [(exchange["method"], exchange["status"]) for exchange in exchanges] == [
            ("POST", status) for status in (*STATUSES, 200)
        ]
        size = sum(status for status in STATUSES if status not in (204, 304)) + 3
        assert (folder / "client.out").stat().st_size == size


ALIKE = {
    "a name above another": ('"www.lab.test" = "192.0.2.9"', '["http://lab.test/"]', "lookup A NAME -> NODATA"),
    "a name in /etc/hosts": ('"ip6-loopback" = "192.0.2.9"', '["http://ip6-loopback/"]', "lookup A NAME -> server"),
    "eighty connections at once": (
        'a = "192.0.2.9"',
        '["-Z", "--parallel-max", "80", "--parallel-immediate", "http://a/[1-80]"]',
        "connection 2",
    ),
    "many requests": ('a = "192.0.2.9"', '["http://a/[1-600]", "http://a/[601-1100]"]', "lookup A NAME -> server"),
}


@pytest.mark.parametrize("what", ALIKE)
def test_what_was_once_different_is_alike(tmp_path: Path, what: str) -> None:
    names, curl, line = ALIKE[what]
    text = f"[names]\n{names}\n[server]\nbody = 20\n[client]\ncurl = {curl}\n"
    reports = [play(tmp_path, text, backend)[0] for backend in ("netns", "docker")]
    assert len({report["verdict"] for report in reports}) == 1
    for report in reports:
        sequence = report["stories"][report["chosen_story"]["index"]]["sequence"]["shape"]
        assert line in [" ".join(found.split()) for found in sequence.splitlines()]
    if what != "eighty connections at once":  # which come in any order
        assert len({report["fingerprint"]["shape"] for report in reports}) == 1


def test_a_close_that_nginx_begins_is_nobodys_failure(tmp_path: Path) -> None:
    report, _ = play(tmp_path, '[names]\na="192.0.2.9"\n[client]\ncurl=["--path-as-is", "http://a/../x"]\n')
    raced = any("in a race with it" in problem for problem in report["capture"]["problems"])
    server_first = report["connections"][0]["close"]["first_closer"] == "server"  # mostly; but curl closes, too
    assert (report["verdict"], raced) == (("inconclusive", True) if server_first else ("pass", False))


REFUSED = {
    "wire.delay": '[wire]\ndelay = "1ms"',
    "server.close": '[server]\nclose = "server"',
    "server.reason": '[server]\nreason = "Fine"',
    "server.headers.Server": '[server]\nheaders = { Server = "mine" }',
    "server.headers.X-Empty": '[server]\nheaders = { X-Empty = "" }',
    'server.paths."/x".reason': '[server.paths."/x"]\nreason = "Fine"',
    'names."b".rcode': '[names]\nb = { rcode = "SERVFAIL" }',
    'names."c".cname': '[names]\nc = { cname = "nowhere" }',
    "server.headers.Content-Type": '[server]\nheaders = { Content-Type = ["a/b", "c/d"] }',
    "server.headers.X-Long": f'[server]\nheaders = {{ X-Long = "{"x" * 1001}" }}',
    "server.paths": f'[server.paths."/{"x" * 1001}"]',
    'names."lab.test".rcode': '[names]\n"lab.test" = { rcode = "NXDOMAIN" }\n"www.lab.test" = "192.0.2.9"',
    'names."e"': "[names]\ne = []",
    "names": "[names]\nd = [" + ", ".join(f'"198.51.{n // 250}.{n % 250 + 1}"' for n in range(252)) + "]",
}


@pytest.mark.parametrize("key", REFUSED)
def test_what_docker_cannot_do_is_refused_before_anything_starts(tmp_path: Path, key: str) -> None:
    path = tmp_path / "generated.toml"
    names = "" if "[names]" in REFUSED[key] else '[names]\na = "192.0.2.80"\n'
    path.write_text(f'{names}{REFUSED[key]}\n[client]\ncurl = ["-V"]\n')
    done = invoke(*DOCKER, "--scenario", path, "--runs", tmp_path / "runs")
    assert done.returncode == 2
    assert is_one_clear_message(done.stderr)
    assert f"{path}: {key}: " in done.stderr
    assert "--backend netns" in done.stderr
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize(
    "curl",
    [
        '"http://a/", "HTTP://192.0.2.80/"',
        '"192.0.2.80/"',
        '"--resolve", "a:80:192.0.2.80", "http://a/"',
        '"http://192.0.2.80/"',
        '"-0", "http://a/"',
        '"-H", "connection: Close", "http://a/"',
        '"-HConnection:close"',
    ],
)
def test_a_command_that_docker_cannot_play_is_refused(tmp_path: Path, curl: str) -> None:
    path = tmp_path / "generated.toml"
    path.write_text(f'[names]\na = "192.0.2.80"\n[client]\ncurl = [{curl}]\n')
    assert [key for key, _ in unplayable(load_scenario(path))] == ["client.curl"]


def test_the_configuration_by_hand_is_the_baselines(tmp_path: Path) -> None:
    scenario = load_scenario(find_scenario("baseline"))
    write_config(scenario, place(scenario, next(RANGES[3].subnets(new_prefix=24))), tmp_path / "config")
    by_hand = HERE / "compose" / "config"
    ours = {path.relative_to(tmp_path / "config"): path for path in (tmp_path / "config").rglob("*") if path.is_file()}
    assert {path.relative_to(by_hand) for path in by_hand.rglob("*") if path.is_file()} == ours.keys()
    for name, path in ours.items():
        assert (by_hand / name).read_bytes() == path.read_bytes(), name


def test_addresses_keep_their_last_byte_where_they_can(tmp_path: Path) -> None:
    text = '[names]\na = ["203.0.113.7", "198.51.100.7", "192.0.2.254", "10.0.0.53", "10.0.0.10"]\n[client]\ncurl = ["http://a/"]'
    subnet = RANGES[1]
    placed: Addresses = place(written(tmp_path, text), subnet)
    assert [str(address) for address in placed.of_server] == [f"198.51.100.{last}" for last in (7, 80, 81, 82, 83)]
    assert len({*placed.of_server, placed.client, placed.resolver, placed.gateway}) == 8


def test_many_addresses_are_all_the_servers(tmp_path: Path) -> None:
    addresses = ", ".join(f'"198.51.{number // 200}.{number % 200 + 1}"' for number in range(40))
    text = f'[names]\na = [{addresses}]\n[client]\ncurl = ["-4", "http://a/"]'
    report, _ = play(tmp_path, text)
    assert report["verdict"] == "pass"
    found = [(lookup["transport"], lookup["status"], len(lookup["answers"])) for lookup in report["lookups"]]
    assert found == [("udp", "truncated", 0), ("tcp", "answered", 40)] or found[-1][2] == 40


def test_routes_are_read_and_default_like_ones_left_out(tmp_path: Path) -> None:
    table = tmp_path / "route"
    rows = [("tun0", "00000000", "00000080"), ("tun0", "000012C6", "0000FEFF"), ("eth0", "00000000", "00000000")]
    lines = [f"{device}\t{net}\t0101A8C0\t3\t0\t0\t0\t{mask}\t0\t0\t0" for device, net, mask in rows]
    table.write_text("\n".join(["Iface\tDestination\t…", *lines]))
    assert [(str(one.network), one.owner) for one in routes(table)] == [("198.18.0.0/15", "a route through tun0")]
    assert list(routes(tmp_path / "none")) == []


def test_labs_of_both_backends_run_side_by_side(tmp_path: Path) -> None:
    runs = [
        subprocess.Popen(
            [*INVOKE, "lab", "--backend", backend, "--json", "--runs", str(tmp_path)],
            cwd=HERE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for backend in ("docker", "docker", "netns", "docker", "docker", "netns")
    ]
    said = [run.communicate(timeout=120) for run in runs]
    assert {json.loads(stdout)["verdict"] for stdout, _ in said} == {"pass"}, said
    facts = [json.loads((folder / "run.json").read_text()) for folder in tmp_path.iterdir()]
    assert len({fact["subnet"] for fact in facts if fact["backend"] == "docker"}) == 4
    assert [name for run in runs for name in in_engine(run.pid)] == []


@pytest.mark.parametrize("step", [step for step in STEPS if step != "create"])
def test_an_interrupt_at_any_step_leaves_nothing(tmp_path: Path, step: str) -> None:
    process = begin("docker", tmp_path / "runs")
    read_until(process, f"begin {step}")
    time.sleep(0.1 if step == "ready" else 0.0)  # the moment is what is tested
    os.kill(process.pid, signal.SIGINT)
    process.communicate(timeout=30)
    assert in_engine(process.pid) == []
    assert list((tmp_path / "runs").glob(".partial-*")) == []


def host_pid(engine: Engine, container: dict[str, Any]) -> int:
    return int(engine.api.inspect_container(container["Id"])["State"]["Pid"])


def test_a_sidecar_that_dies_makes_the_run_inconclusive(
    tmp_path: Path, engine: Engine, paused: tuple[Any, dict[str, Any]]
) -> None:
    process, containers = paused
    engine.api.kill(containers["sidecar"]["Id"])
    stdout, _ = go_on(process)
    assert stdout.endswith("verdict inconclusive\n")
    (folder,) = (tmp_path / "runs").iterdir()
    problems = json.loads((folder / "report.json").read_text())["capture"]["problems"]
    assert any("the sidecar ended before the run did" in problem for problem in problems)


@pytest.mark.needs("root")
def test_a_sidecar_that_lags_makes_the_run_inconclusive(
    tmp_path: Path, engine: Engine, paused: tuple[Any, dict[str, Any]]
) -> None:
    process, containers = paused
    os.kill(host_pid(engine, containers["sidecar"]), signal.SIGSTOP)
    stdout, _ = go_on(process)
    assert stdout.endswith("verdict inconclusive\n")
    (folder,) = (tmp_path / "runs").iterdir()
    problems = " ".join(json.loads((folder / "report.json").read_text())["capture"]["problems"])
    assert "the sentinel sent after the close is not in the capture" in problems
    assert "tcpdump didn't say how many frames the kernel dropped" in problems


@pytest.mark.parametrize("role", ["client", "resolver", "server"])
def test_a_host_that_dies_is_named(
    tmp_path: Path, engine: Engine, paused: tuple[Any, dict[str, Any]], role: str
) -> None:
    process, containers = paused
    engine.api.kill(containers[role]["Id"])
    _, stderr = go_on(process)
    assert f"the {role} died while the client ran" in stderr.splitlines()[-1], stderr
    (folder,) = (tmp_path / "runs").iterdir()
    run = json.loads((folder / "run.json").read_text())
    assert (run["failed_step"], run["verdict"]) == ("client", "inconclusive")
    assert {"resolver.log", "server.log", "sidecar.log"} <= {path.name for path in folder.iterdir()}


def test_clean_leaves_what_it_cannot_judge(tmp_path: Path, engine: Engine) -> None:
    from lab.containers.image import image_tag

    here = Owner.this_process()
    owners = {
        "dead": Owner(here.machine, here.boot, here.namespace, here.pid, "1"),
        "booted": Owner(here.machine, "before", "elsewhere", here.pid, here.started),
        "elsewhere": Owner("another", here.boot, here.namespace, here.pid, "1"),
        "contained": Owner(here.machine, here.boot, "pid:[1]", here.pid, "1"),
    }
    labels = {f"test-{name}-{here.pid}": owner.label() for name, owner in owners.items()}
    labels[f"test-byhand-{here.pid}"] = ""
    try:
        for run, label in labels.items():
            engine.api.create_container(image_tag(), ["true"], labels={RUN_LABEL: run, OWNER_LABEL: label})
        done = invoke("clean", "--runs", tmp_path)
        assert done.returncode == 0
        left = {run for run in labels if find_leftovers(engine, run)}
        assert left == {f"test-{name}-{here.pid}" for name in ("elsewhere", "contained", "byhand")}
        assert f"left alone: run test-elsewhere-{here.pid}" in done.stderr
    finally:
        removed: list[Leftover] = [one for run in labels for one in remove_run(engine, run)]
        assert len(removed) == 3


BLOCK = "<!-- by hand"


def test_the_readmes_way_by_hand_works(tmp_path: Path) -> None:
    readme = (HERE / "README.md").read_text()
    commands = readme.partition(BLOCK)[2].partition("```sh\n")[2].partition("```")[0]
    assert commands.count("docker compose") == 4
    script = f'set -e; invoke() {{ {" ".join(INVOKE)} "$@"; }}\n{commands}'
    try:
        done = subprocess.run(
            ["bash", "-c", script], cwd=HERE, capture_output=True, text=True, timeout=120, check=False
        )
    finally:
        down = [
            "docker",
            "compose",
            "--file",
            "compose/compose.yaml",
            "down",
            "--timeout",
            "0",
        ]  # where a command failed
        subprocess.run(down, cwd=HERE, capture_output=True, timeout=60, check=True)
        (HERE / "by-hand.pcap").unlink(missing_ok=True)
    assert done.returncode == 0, done.stderr + done.stdout
    assert "✓ tcp.close" in done.stdout
