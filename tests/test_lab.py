"""The lab, for real: kernel, curl, wire. Scenarios are generated; tshark checks what is printed."""

import json
import os
import random
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from tests.conftest import HERE
from tests.test_report import SCHEMA
from tests.test_sequence import VECTORS

pytestmark = pytest.mark.needs("netns")
INVOKE = [sys.executable, "-m", "invoke"]
LAB = ("lab", "--backend", "netns")


def invoke(*words: str | Path, cwd: Path = HERE, env: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    command = [*INVOKE, *map(str, words)]
    environment = {**os.environ, **(env or {})}
    return subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True, timeout=60, check=False)


def play(tmp_path: Path, scenario: str) -> tuple[dict[str, Any], Path]:
    """Run a scenario's text; its report and its folder."""
    path = tmp_path / "generated.toml"
    path.write_text(scenario)
    done = invoke(*LAB, "--scenario", path, "--json", "--runs", tmp_path / "runs")
    assert done.stdout, done.stderr
    (folder,) = (tmp_path / "runs").iterdir()
    report = json.loads(done.stdout)
    assert done.returncode == {"pass": 0, "fail": 1, "inconclusive": 3}[report["verdict"]]
    jsonschema.validate(report, SCHEMA)
    return report, folder


def took(said_s: float, seen_s: float) -> bool:
    """Whether what should take so long seems to have waited, on a machine however busy: the benchmark measures it.

    A host starts its wait as it sends, and the wire stamps the frame later: so a wait can seem to be shorter.
    """
    return said_s / 2 <= seen_s < said_s + 5


def lines(report: dict[str, Any], form: str = "shape") -> list[str]:
    """The chosen story's sequence, a line each, with single spaces."""
    sequence = report["stories"][report["chosen_story"]["index"]]["sequence"][form]
    return [" ".join(line.split()) for line in sequence.splitlines()]


def tshark_lines(capture: Path, *options: str) -> dict[int, str]:
    """Tshark's summary lines by frame, with single spaces, and without what it says of checksums it checks."""
    command = ["tshark", "-2", "-o", "tcp.check_checksum:TRUE", "-r", str(capture), *options]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60)
    found: dict[int, str] = {}
    for line in done.stdout.splitlines():
        words = " ".join(line.split())
        found[int(words.split(" ")[0])] = words
    return found


def test_the_baseline_passes_and_has_the_shape_of_2016(tmp_path: Path) -> None:
    done = invoke(*LAB, "--json", "--runs", tmp_path)
    report = json.loads(done.stdout)
    assert (done.returncode, report["verdict"], done.stderr) == (0, "pass", "")
    assert report["fingerprint"]["shape"] == VECTORS[0]["shape_hash"]
    assert [" ".join(record["data"] for record in lookup["answers"]) for lookup in report["lookups"]] == [
        "192.0.2.80",
        "2001:db8::80",
    ]
    assert report["stories"][0]["exchanges"][0]["status"] == 302


def test_a_run_keeps_capture_report_scenario_logs_and_provenance(tmp_path: Path) -> None:
    done = invoke(*LAB, "--json", "--runs", tmp_path)
    (folder,) = tmp_path.iterdir()
    assert {path.name for path in folder.iterdir()} == {
        "capture.pcap",
        "client.log",
        "client.out",
        "lab.log",
        "report.json",
        "resolver.log",
        "run.json",
        "scenario.toml",
        "server.log",
    }
    assert json.loads((folder / "report.json").read_text()) == json.loads(done.stdout)
    run = json.loads((folder / "run.json").read_text())
    assert run["client"]["commands"][0]["command"][-1] == "http://www.lab.test/"
    assert run["client"]["commands"][0]["exit_status"] == 0
    assert run["versions"]["curl"].startswith("curl ")
    assert run["sysctls"]["server"]["net.ipv4.tcp_congestion_control"] == "reno"
    assert set(run["timings_s"]) == {"create", "ready", "capture", "client", "settle", "stop", "analyse", "destroy"}
    assert run["dropped_for_want_of_queue"] == {"client": 0, "resolver": 0, "server": 0}
    assert (folder / "lab.log").read_text() == ""
    assert (folder / "client.out").read_bytes() == b"The quick brown fox jumps over the lazy dog. " * 2 + (
        b"The quick brown fox jumps over"
    )


def test_analyze_tells_the_same_of_the_capture(tmp_path: Path) -> None:
    run = json.loads(invoke(*LAB, "--json", "--runs", tmp_path).stdout)
    (folder,) = tmp_path.iterdir()
    again = json.loads(invoke("analyze", folder / "capture.pcap", "--json").stdout)
    assert again["fingerprint"] == run["fingerprint"]
    assert [one.pop("kernel") for one in again["connections"]] == [None]  # the capture doesn't hold what kernels said
    assert [one.pop("kernel") is None for one in run["connections"]] == [False]
    assert again["connections"] == run["connections"]


def _generated(seed: int) -> tuple[str, dict[str, Any]]:
    """A scenario of random name, address, ports, status, body, close and header; and what it must show."""
    dice = random.Random(seed)
    label = "".join(dice.choice("abcdefghijklmnopqrstuvwxyz0123456789") for _ in range(dice.randint(1, 40)))
    facts = {
        "name": f"{label}.lab.test",
        "address": f"203.0.113.{dice.randint(1, 254)}",
        "port": dice.choice([80, dice.randint(1024, 65535)]),
        "client_port": dice.randint(1024, 65535),
        "status": dice.choice([200, 204, 302, 404, 418, 500, dice.randint(200, 599)]),
        "body": dice.choice([0, 1, dice.randint(2, 1300), dice.randint(1400, 9000)]),
        "close": dice.choice(["client", "server"]),
        "filler": "x" * dice.randint(1, 200),
        "aaaa": dice.random() < 0.5,
    }
    if facts["status"] in (204, 304):
        facts["body"] = 0
    addresses = [facts["address"]] + (["2001:db8::7"] if facts["aaaa"] else [])
    text = f"""
        [names]
        "{facts["name"]}" = {json.dumps(addresses)}
        [server]
        port = {facts["port"]}
        status = {facts["status"]}
        headers = {{ X-Filler = "{facts["filler"]}" }}
        body = {facts["body"]}
        close = "{facts["close"]}"
        [client]
        curl = ["http://{facts["name"]}:{facts["port"]}/{label}"]
        port = {facts["client_port"]}
    """
    return text, facts


@pytest.mark.needs("tshark")
@pytest.mark.parametrize("seed", range(8))
def test_a_generated_scenario_comes_out_as_it_was_written(tmp_path: Path, seed: int) -> None:
    text, facts = _generated(seed)
    report, folder = play(tmp_path, text)
    assert report["verdict"] == "pass", [finding for finding in report["findings"] if finding["status"] != "pass"]
    story = report["stories"][report["chosen_story"]["index"]]
    (connection,) = report["connections"]
    assert story["name"] == facts["name"]
    assert connection["server"] == {"address": facts["address"], "port": facts["port"]}
    assert connection["client"]["port"] == facts["client_port"]
    assert story["exchanges"][0]["status"] == facts["status"]
    bodyless = facts["status"] in (204, 304)
    assert connection["close"]["first_closer"] == ("client" if bodyless else facts["close"])
    assert connection["close"]["variant"] == "three-segment"
    assert (folder / "client.out").stat().st_size == facts["body"]
    assert [lookup["status"] for lookup in report["lookups"]] == ["answered", "answered" if facts["aaaa"] else "nodata"]
    _agrees_with_tshark(report, folder / "capture.pcap", facts["port"])


def _agrees_with_tshark(report: dict[str, Any], capture: Path, port: int) -> None:
    """Printed lines, raw numbers and checksums against `tshark -2`."""
    theirs = tshark_lines(capture, "-d", f"tcp.port=={port},http")
    ours = {entry["frame"]: " ".join(entry["line"].split()) for entry in report["frames"]}
    assert ours.keys() == theirs.keys()
    if report["connections"][0]["close"]["first_closer"] == "server":
        _move_message_to_its_data(report, theirs)
    assert ours == theirs
    fields = ["tcp.seq", "tcp.ack", "tcp.len", "tcp.checksum", "tcp.checksum.status", "tcp.completeness"]
    options = [word for field in ("frame.number", *fields) for word in ("-e", field)]
    command = ["tshark", "-2", "-o", "tcp.check_checksum:TRUE", "-r", str(capture), "-Y", "tcp", "-T", "fields"]
    done = subprocess.run([*command, *options], capture_output=True, text=True, check=True, timeout=60)
    rows = {int(row[0]): row[1:] for row in (line.split("\t") for line in done.stdout.splitlines())}
    story = report["stories"][report["chosen_story"]["index"]]
    assert rows.keys() == {segment["frame"] for segment in story["segments"]}
    for segment in story["segments"]:
        seq, ack, length, checksum, status, _ = rows[segment["frame"]]
        assert (segment["seq"], segment["ack"] or 0, segment["len"]) == (int(seq), int(ack), int(length))
        # 0xffff is 0 in ones' complement (RFC 1071), and Linux sends it now and then; tshark 4.0 takes it for wrong
        assert status in ("1", "Good") or checksum == "0xffff", f"frame {segment['frame']}"
    assert {int(row[5]) for row in rows.values()} >= {report["connections"][0]["completeness"]}


def _move_message_to_its_data(report: dict[str, Any], theirs: dict[int, str]) -> None:
    """Where the close delimits the body tshark names the message in the FIN's frame: the one difference allowed."""
    last = report["stories"][0]["exchanges"][0]["response_frames"][-1]
    fin = report["connections"][0]["close"]["frames"][0]
    ours = {entry["frame"]: " ".join(entry["line"].split()) for entry in report["frames"]}
    assert theirs[last].endswith("[TCP segment of a reassembled PDU]") or last == fin - 2
    assert theirs[fin].partition(" HTTP ")[2].partition(" ")[2] == ours[last].partition(" HTTP ")[2].partition(" ")[2]
    theirs[last], theirs[fin] = ours[last], ours[fin]


@pytest.mark.needs("tshark")
def test_the_sample_is_printed_as_tshark_prints_it() -> None:
    report = json.loads(invoke("analyze", "samples/google-2016.pcap", "--json").stdout)
    theirs = tshark_lines(HERE / "samples" / "google-2016.pcap")
    assert [" ".join(entry["line"].split()) for entry in report["frames"]] == [
        theirs[number] for number in range(3, 17)
    ]


def test_a_path_of_its_own_has_its_own_response(tmp_path: Path) -> None:
    text = '[names]\na="192.0.2.9"\n[server.paths."/home"]\nstatus=404\nbody="gone"\n[client]\ncurl=["http://a/home?x","http://a/"]'
    report, folder = play(tmp_path, text)
    assert [exchange["status"] for exchange in report["stories"][0]["exchanges"]] == [404, 200]
    assert (folder / "client.out").read_bytes() == b"gone"


SERVERS = {
    "client": ["client FIN,ACK", "server FIN,ACK", "client ACK"],
    "server": ["server FIN,ACK", "client FIN,ACK", "server ACK"],
    "reset": ["server RST,ACK"],
}


@pytest.mark.parametrize("close", SERVERS)
def test_the_close_is_the_scenarios(tmp_path: Path, close: str) -> None:
    report, folder = play(
        tmp_path, f'[names]\na = "192.0.2.9"\n[server]\nbody=9\nclose="{close}"\n[client]\ncurl=["http://a/"]'
    )
    assert lines(report)[-len(SERVERS[close]) :] == SERVERS[close]
    status = json.loads((folder / "run.json").read_text())["client"]["commands"][0]["exit_status"]
    assert status == (56 if close == "reset" else 0)
    assert report["verdict"] == ("fail" if close == "reset" else "pass")


def test_two_requests_share_a_connection(tmp_path: Path) -> None:
    text = '[names]\na="192.0.2.9"\n[server]\nbody=9\n[client]\ncurl=["http://a/1","http://a/2"]'
    report, _ = play(tmp_path, text)
    assert [line for line in lines(report) if " DATA " in line] == [
        'client DATA "GET"',
        'server DATA "200"',
        'client DATA "GET"',
        'server DATA "200"',
    ]
    assert len(report["connections"]) == 1


def test_connection_close_asked_by_the_client_is_honoured(tmp_path: Path) -> None:
    text = '[names]\na="192.0.2.9"\n[client]\ncurl=["-H", "Connection: close", "-i", "http://a/"]'
    report, folder = play(tmp_path, text)
    assert report["verdict"] == "pass"
    assert b"\r\nConnection: close\r\n" in (folder / "client.out").read_bytes()


def test_head_has_a_length_and_no_body(tmp_path: Path) -> None:
    report, _ = play(tmp_path, '[names]\na="192.0.2.9"\n[server]\nbody=500\n[client]\ncurl=["-I","http://a/"]')
    assert report["stories"][0]["exchanges"][0]["method"] == "HEAD"
    assert report["verdict"] == "pass"


OUTCOMES = {
    'x = { rcode = "NXDOMAIN" }': "NXDOMAIN",
    'x = { rcode = "SERVFAIL" }': "SERVFAIL",
    'x = { rcode = "REFUSED" }': "REFUSED",
    'x = ["2001:db8::1"]': "NODATA",
}


@pytest.mark.parametrize("name", OUTCOMES)
def test_a_name_without_an_address_ends_the_fetch(tmp_path: Path, name: str) -> None:
    report, _ = play(tmp_path, f'[names]\n{name}\n[client]\ncurl=["-4", "http://x/"]')
    assert f"lookup A NAME -> {OUTCOMES[name]}" in lines(report)
    assert report["connections"] == []
    assert report["verdict"] == "fail"


def test_an_alias_is_followed(tmp_path: Path) -> None:
    text = '[names]\nold={cname="mid"}\nmid={cname="www"}\nwww="192.0.2.9"\n[client]\ncurl=["http://old/"]'
    report, _ = play(tmp_path, text)
    assert lines(report, "exact")[0] == "lookup A old -> mid -> www -> server"
    assert report["verdict"] == "pass"


def test_an_answer_too_long_for_a_datagram_comes_over_tcp(tmp_path: Path) -> None:
    addresses = ",".join(f'"198.51.100.{number}"' for number in range(1, 60))
    report, _ = play(tmp_path, f'[names]\nx=[{addresses}]\n[client]\ncurl=["-4","http://x/"]')
    found = [(lookup["transport"], lookup["status"], len(lookup["answers"])) for lookup in report["lookups"]]
    assert found == [("tcp", "answered", 59)]  # one lookup: the truncated answer led to the other
    assert report["lookups"][0]["truncated_frame"] == 2
    assert [len(story["carriers"]) for story in report["stories"]] == [1]
    assert report["verdict"] == "pass"


def test_of_many_addresses_the_same_one_is_used_every_time(tmp_path: Path) -> None:
    path = tmp_path / "many.toml"
    addresses = ",".join(f'"198.51.100.{number}"' for number in range(1, 21))
    path.write_text(f'[names]\nx=[{addresses}]\n[client]\ncurl=["http://x/"]')
    words = (*LAB, "--scenario", path, "--json", "--runs", tmp_path / "runs")
    prints = {json.loads(invoke(*words).stdout)["fingerprint"]["exact"] for _ in range(5)}
    assert len(prints) == 1


def test_the_wire_takes_the_time_that_the_scenario_says(tmp_path: Path) -> None:
    report, _ = play(tmp_path, '[names]\na="192.0.2.9"\n[wire]\ndelay="30ms"\n[client]\ncurl=["http://a/"]')
    assert took(0.060, report["connections"][0]["rtt_s"])
    assert report["verdict"] == "pass"


def test_a_large_body_comes_through_whole(tmp_path: Path) -> None:
    report, folder = play(tmp_path, '[names]\na="192.0.2.9"\n[server]\nbody=1000000\n[client]\ncurl=["http://a/"]')
    assert (folder / "client.out").stat().st_size == 1_000_000
    assert report["connections"][0]["bytes"]["server"] > 1_000_000
    assert report["verdict"] == "pass"


def test_an_expected_sequence_that_does_not_come_fails_the_run(tmp_path: Path) -> None:
    text = '[names]\na="192.0.2.9"\n[client]\ncurl=["http://a/"]\n[expect]\nsequence="""client SYN\nserver RST,ACK"""'
    report, _ = play(tmp_path, text)
    assert report["verdict"] == "fail"
    assert report["findings"][-1]["rule"] == "expect.sequence"


def test_the_machines_own_resolver_and_proxies_are_not_asked(tmp_path: Path) -> None:
    home = tmp_path / "home"
    home.mkdir()
    (home / ".curlrc").write_text('proxy = "http://127.0.0.1:1"\nuser-agent = "mine"\n')
    env = {
        "http_proxy": "http://127.0.0.1:1",
        "ALL_PROXY": "http://127.0.0.1:1",
        "HOME": str(home),
        "RES_OPTIONS": "timeout:1",
    }
    done = invoke(*LAB, "--json", "--runs", tmp_path / "runs", env=env)
    assert json.loads(done.stdout)["verdict"] == "pass"


def test_a_run_does_not_touch_the_callers_namespaces(tmp_path: Path) -> None:
    def seen() -> tuple[str, str]:
        return Path("/proc/net/dev").read_text().count("\n").__str__(), Path("/proc/self/mountinfo").read_text()

    before = seen()
    invoke(*LAB, "--json", "--runs", tmp_path)
    assert seen() == before


@pytest.mark.parametrize("busy", [False, True])
def test_runs_give_one_exact_fingerprint(tmp_path: Path, *, busy: bool) -> None:
    load = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(os.cpu_count() or 1) if busy]
    try:
        reports = [json.loads(invoke(*LAB, "--json", "--runs", tmp_path).stdout) for _ in range(8)]
    finally:
        for process in load:
            process.kill()
            process.wait()
    assert {report["verdict"] for report in reports} == {"pass"}
    assert len({report["fingerprint"]["exact"] for report in reports}) == 1


def test_labs_side_by_side_do_not_disturb_each_other(tmp_path: Path) -> None:
    command = [*INVOKE, *LAB, "--json", "--runs", str(tmp_path)]
    runs = [subprocess.Popen(command, cwd=HERE, stdout=subprocess.PIPE, text=True) for _ in range(4)]
    reports = [json.loads(run.communicate(timeout=60)[0]) for run in runs]
    assert {report["verdict"] for report in reports} == {"pass"}
    assert len(list(tmp_path.iterdir())) == 4


def test_the_report_fits_eighty_columns_and_ends_with_verdict_and_folder(tmp_path: Path) -> None:
    done = invoke(*LAB, "--explain", "--runs", tmp_path, env={"COLUMNS": "80"})
    assert done.returncode == 0
    assert [line for line in done.stdout.splitlines() if len(line) > 80 and not line.startswith("the run:")] == []
    assert re.search(r"✓ pass  \(16 pass\)\nthe run: .*baseline", done.stdout)


def test_tests_that_look_at_the_machine_share_one_worker(request: pytest.FixtureRequest) -> None:
    by_group = getattr(request.config.option, "loadgroup", False)  # where pytest-xdist deals them out
    assert request.node.nodeid.endswith("@machine") == by_group


@pytest.mark.parametrize("task", ["scenarios", "clean", "doctor"])
def test_the_small_tasks_answer(tmp_path: Path, task: str) -> None:
    words = [] if task == "scenarios" else ["--runs", str(tmp_path)]
    done = invoke(task, *words)
    assert (done.returncode, done.stderr) == (0, "")
    assert {"scenarios": "baseline", "clean": "nothing to clean", "doctor": "ready: invoke lab"}[task] in done.stdout


def test_doctor_speaks_json(tmp_path: Path) -> None:
    values = json.loads(invoke("doctor", "--json", "--runs", tmp_path).stdout)
    assert values["netns"]["ready"]
    assert {check["name"] for check in values["netns"]["checks"]} >= {"Linux", "curl"}


def test_a_scenario_anywhere_runs_as_well_as_one_of_the_pack(tmp_path: Path) -> None:
    shutil.copy(HERE / "lab" / "scenarios" / "baseline.toml", tmp_path / "elsewhere.toml")
    there = invoke(*LAB, "--json", "--scenario", tmp_path / "elsewhere.toml", "--runs", tmp_path / "runs")
    here = invoke(*LAB, "--json", "--scenario", "baseline", "--runs", tmp_path / "runs")
    prints = {json.loads(done.stdout)["fingerprint"]["exact"] for done in (there, here)}
    assert len(prints) == 1
