"""How hosts behave when a scenario tells them to, for real: resolver, server, client."""

import json
from pathlib import Path
from typing import Any

import pytest

from tests.test_lab import lines, play, took

pytestmark = pytest.mark.needs("netns")
NAMES = '[names]\n"www.lab.test" = ["192.0.2.80", "2001:db8::80"]\n'
CURL = '[client]\ncurl = ["http://www.lab.test/"]\n'


def lookups(report: dict[str, Any]) -> dict[str, str]:
    """The status of each type's last lookup."""
    return {one["type"]: one["status"] for one in report["lookups"]}


def named(tmp_path: Path, value: str, client: str = "") -> dict[str, Any]:
    """A run in which `www.lab.test` is this; its report."""
    report, _ = play(tmp_path, f'[names]\n"www.lab.test" = {value}\n{CURL}{client}')
    return report


def served(tmp_path: Path, server: str, curl: str = '"http://www.lab.test/"', more: str = "") -> dict[str, Any]:
    """A run with a server like this; its report."""
    report, _ = play(tmp_path, f"{NAMES}[server]\n{server}\n[client]\ncurl = [{curl}]\n{more}")
    return report


def closes(report: dict[str, Any]) -> tuple[str, str | None]:
    (connection,) = report["connections"]
    return connection["close"]["variant"], connection["close"]["first_closer"]


def gap(report: dict[str, Any], first: str, second: str) -> float:
    """Seconds from the first segment that matches `first`, "sender FLAGS", to the next that matches `second`."""
    segments = report["stories"][0]["segments"]
    found = [f"{one['from']} {'DATA' if one['len'] else one['flags'].replace('PSH,', '')}" for one in segments]
    start = found.index(first)
    end = found.index(second, start + 1)
    at = [float(segments[index]["time"][17:-1]) for index in (start, end)]
    return (at[1] - at[0]) % 60


# --- the resolver ---


@pytest.mark.parametrize(
    ("rcode", "status"),
    [("SERVFAIL", "servfail"), ("REFUSED", "refused"), ("NXDOMAIN", "nxdomain"), ("NOTIMP", "error")],
)
def test_a_name_answers_with_its_rcode(tmp_path: Path, rcode: str, status: str) -> None:
    report = named(tmp_path, f'{{ rcode = "{rcode}" }}')
    assert lookups(report) == {"A": status, "AAAA": status}
    assert not report["connections"]


def test_a_name_answers_turn_by_turn_for_each_type(tmp_path: Path) -> None:
    options = 'resolver_options = ["timeout:1", "attempts:3"]\n'
    report = named(tmp_path, '[{ rcode = "SERVFAIL" }, { addresses = ["192.0.2.80"] }]', options)
    assert [(one["type"], one["status"]) for one in report["lookups"]] == [
        ("A", "servfail"),
        ("AAAA", "servfail"),
        ("A", "answered"),
        ("AAAA", "nodata"),
    ]


def test_a_silent_resolver_is_asked_again_after_the_timeout(tmp_path: Path) -> None:
    options = 'resolver_options = ["timeout:1", "attempts:2"]\n'
    report = named(tmp_path, '[{ silent = true }, { addresses = ["192.0.2.80"] }]', options)
    assert lines(report)[:2] == ["lookup A NAME x2 -> server", "lookup AAAA NAME x2 -> NODATA"]


def test_a_truncated_answer_comes_again_over_tcp(tmp_path: Path) -> None:
    value = '{ addresses = ["192.0.2.80"], truncated = true }'
    report = named(tmp_path, value, 'resolver_options = ["single-request"]\n')
    assert lines(report)[0] == "lookup A NAME x2 tcp -> server"
    assert report["verdict"] == "pass"


def test_an_answer_takes_its_time_and_has_its_ttl(tmp_path: Path) -> None:
    report = named(tmp_path, '{ addresses = ["192.0.2.80"], delay = "80ms", ttl = 7 }')
    lookup = next(one for one in report["lookups"] if one["type"] == "A")
    assert lookup["answers"][0]["ttl"] == 7
    assert took(0.08, gap_of_frames(tmp_path, lookup["query_frames"][0], lookup["response_frame"]))


def gap_of_frames(tmp_path: Path, first: int, second: int) -> float:
    from analysis.files.capture import read_capture

    (folder,) = (tmp_path / "runs").iterdir()
    frames = read_capture(folder / "capture.pcap").frames
    return (frames[second - 1].time_ns - frames[first - 1].time_ns) / 1e9


# --- the server ---


def test_the_server_thinks_before_it_answers(tmp_path: Path) -> None:
    assert took(0.15, gap(served(tmp_path, 'body = 10\nthink = "150ms"'), "client DATA", "server DATA"))


def test_a_body_comes_in_pieces_with_pauses(tmp_path: Path) -> None:
    report = served(tmp_path, 'body = 100\npieces = 4\npause = "60ms"')
    data = [one for one in report["stories"][0]["segments"] if one["from"] == "server" and one["len"]]
    assert [one["len"] for one in data[1:]] == [25, 25, 25]
    assert took(0.06, gap(report, "server DATA", "server DATA"))
    assert report["verdict"] == "pass"


def test_the_server_closes_some_time_after_its_response(tmp_path: Path) -> None:
    report = served(tmp_path, 'body = 10\nclose = "server"\nclose_after = "120ms"')
    assert closes(report) == ("three-segment", "server")
    assert took(0.12, gap(report, "server DATA", "server FIN,ACK"))


def test_the_server_closes_some_time_after_the_client(tmp_path: Path) -> None:
    report = served(tmp_path, 'body = 10\nclose_after = "80ms"')
    assert closes(report) == ("four-segment", "client")
    assert took(0.08, gap(report, "client FIN,ACK", "server FIN,ACK"))


def test_the_server_closes_after_so_many_requests(tmp_path: Path) -> None:
    urls = ", ".join(f'"http://www.lab.test/{number}"' for number in range(4))
    report = served(tmp_path, 'body = 10\nclose = "server"\nrequests = 2', urls)
    first, second = report["connections"]
    assert (first["close"]["first_closer"], second["close"]["first_closer"]) == ("server", "server")
    assert [len(one["exchanges"]) for one in report["stories"]] == [4]


def test_the_server_resets_a_while_after_the_client_has_closed(tmp_path: Path) -> None:
    report = served(tmp_path, 'body = 10\nclose = "reset"\nclose_after = "20ms"\ncontent_length = true')
    assert lines(report)[-2:] == ["client FIN,ACK", "server RST,ACK"]


@pytest.mark.parametrize("asks", ['"-H", "Connection: close", ', '"--http1.0", '])
def test_a_client_that_asks_for_it_has_the_server_close_first(tmp_path: Path, asks: str) -> None:
    report = served(tmp_path, "body = 10", asks + '"http://www.lab.test/"')
    assert closes(report)[1] == "server"
    assert report["verdict"] == "pass"


def test_the_server_says_continue_to_a_client_that_waits_for_it(tmp_path: Path) -> None:
    body = "x" * 2000
    words = f'"--expect100-timeout", "9", "-H", "Expect: 100-continue", "--data-raw", "{body}", "http://www.lab.test/"'
    report = served(tmp_path, "body = 10", words)
    assert report["verdict"] == "pass"
    assert lines(report)[5:9] == ['client DATA "POST"', "server DATA", "client DATA", 'server DATA "200"']
    assert gap(report, "client DATA", "client FIN,ACK") < 5


@pytest.mark.parametrize("close", ["server", "reset"])
def test_a_client_that_resets_while_the_server_waits_to_close_ends_the_connection(tmp_path: Path, close: str) -> None:
    report = served(
        tmp_path, f'body = 300_000\nclose = "{close}"', '"--limit-rate", "10k", "-m", "0.3", "http://www.lab.test/"'
    )
    assert closes(report)[0] == "reset"


def test_a_least_timeout_makes_the_server_wait_so_long(tmp_path: Path) -> None:
    report = served(tmp_path, 'body = 10\nrto_min = "450ms"', more='[[wire.fault]]\ndrop = "server data 1"\n')
    assert took(0.45, gap(report, "server ACK", "server DATA"))


# --- the client ---


def test_commands_run_in_turn(tmp_path: Path) -> None:
    commands = '["-I", "http://www.lab.test/1"], ["http://www.lab.test/2"]'
    report = served(tmp_path, "body = 10", commands)
    exchanges = [(one["method"], one["target"]) for story in report["stories"] for one in story["exchanges"]]
    assert sorted(exchanges) == [("GET", "/2"), ("HEAD", "/1")]
    (folder,) = (tmp_path / "runs").iterdir()
    commands_run = json.loads((folder / "run.json").read_text())["client"]["commands"]
    assert [one["exit_status"] for one in commands_run] == [0, 0]


def test_addresses_are_the_scenarios(tmp_path: Path) -> None:
    scenario = f'{NAMES}{CURL}address = "10.1.2.3"\n[resolver]\naddress = "10.9.9.9"\n'
    report, _ = play(tmp_path, scenario)
    assert report["connections"][0]["client"]["address"] == "10.1.2.3"
    assert {
        one["resolver"]["address"] if isinstance(one["resolver"], dict) else one["resolver"]
        for one in report["lookups"]
    } == {"10.9.9.9"}


def test_with_ipv6_the_fetch_goes_over_it(tmp_path: Path) -> None:
    report, folder = play(tmp_path, f"ipv6 = true\n{NAMES}{CURL}")
    (connection,) = report["connections"]
    assert (connection["client"]["address"], connection["server"]["address"]) == ("2001:db8::10", "2001:db8::80")
    assert report["verdict"] == "pass"
    from analysis.files.capture import read_capture

    kinds = {frame.data[12:14] for frame in read_capture(folder / "capture.pcap").frames}
    assert kinds == {b"\x08\x00", b"\x86\xdd"}
    assert len(report["stories"][0]["segments"]) + 4 == len(read_capture(folder / "capture.pcap").frames)


def test_without_ipv6_on_a_name_with_both_goes_over_ipv4(tmp_path: Path) -> None:
    report, _ = play(tmp_path, NAMES + CURL)
    assert report["connections"][0]["server"]["address"] == "192.0.2.80"
