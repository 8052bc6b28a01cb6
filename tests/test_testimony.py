"""What kernels say of their sockets: asked for real, and compared with what the segments show."""

import json
import os
import socket
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, Self, get_args

import jsonschema
import pytest
from scapy.layers.inet import IP, TCP
from scapy.layers.inet6 import IPv6
from scapy.layers.l2 import Ether
from scapy.packet import Packet as Scapy
from scapy.packet import Raw

from analysis.errors import InputError
from analysis.files.capture import read_capture
from analysis.packets.packet import ACK, FIN, RST, SYN
from analysis.report import Report, make_report
from analysis.rules.judge import Finding
from analysis.tcp.segment import Endpoint, Role
from analysis.tcp.states import State
from analysis.testimony import Look, Loss, read_testimony
from analysis.testimony import Testimony as Said  # or pytest takes it for tests
from analysis.views.json import to_json
from analysis.views.style import Style
from analysis.views.terminal import render
from lab.netns import sockets
from lab.netns.host import Host
from lab.netns.sockets import SocketTables, ask_state, exact_request
from lab.netns.supervisor import Supervisor
from lab.scenario.model import ROLES
from lab.socket_table import parse_table, state_in
from tests.craft import CLIENT, REQUEST, SERVER, Talk, capture, fetch, lookup
from tests.test_lab import play
from tests.test_report import SCHEMA

STATES: tuple[State, ...] = get_args(State)
ENDS = (Endpoint(CLIENT, 40000), Endpoint(SERVER, 80))
TRUE = (  # of `fetch()`, as real kernels answer
    Look(3, "client", "SYN-SENT"),
    Look(5, "client", "ESTABLISHED"),
    Look(9, "client", "ESTABLISHED"),
    Look(10, "client", "FIN-WAIT-1"),
    Look(12, "client", "TIME-WAIT"),
    Look(2, "server", "LISTEN"),
    Look(4, "server", "SYN-RECEIVED"),
    Look(9, "server", "ESTABLISHED"),
    Look(11, "server", "LAST-ACK"),
    Look(12, "server", "LISTEN"),
)


def judged(
    frames: list[Scapy], looks: tuple[Look, ...], lost: tuple[Loss, ...] = (), health: Any = "complete"
) -> Report:
    return make_report(capture(frames, health), testimony=[Said(*ENDS, looks, lost)])


def kernel_finding(report: Report) -> Finding:
    (finding,) = [finding for finding in report.findings if finding.rule == "tcp.kernel"]
    return finding


def test_kernels_that_say_what_the_trace_shows_pass() -> None:
    report = judged(fetch(), TRUE)
    finding = kernel_finding(report)
    assert (finding.status, finding.actual) == ("pass", "client TIME-WAIT, server CLOSED, at every one of 10 looks")
    assert report.verdict == "pass"
    assert [finding.rule for finding in report.findings][-2:] == ["tcp.close", "tcp.kernel"]


UNSEEN_AT = {  # what may come about without a segment
    Look(3, "client", "SYN-SENT"): {"CLOSED"},
    Look(12, "client", "TIME-WAIT"): {"CLOSED"},
    Look(2, "server", "LISTEN"): {"CLOSED"},
    Look(12, "server", "LISTEN"): {"CLOSED"},
}


@pytest.mark.parametrize("look", TRUE, ids=lambda look: f"{look.role}-{look.frame_count}")
def test_a_kernel_that_says_anything_else_fails_alone(look: Look) -> None:
    is_last = look.frame_count == 12  # else what was gone would come back
    for state in set(STATES) - {look.state} - (UNSEEN_AT.get(look, set()) if is_last else set()):
        told = tuple(one._replace(state=state) if one == look else one for one in TRUE)
        report = judged(fetch(), told)
        assert [one.rule for one in report.findings if one.status == "fail"] == ["tcp.kernel"], state
        assert f"the {look.role}'s kernel is in {state}" in kernel_finding(report).actual


@pytest.mark.parametrize("look", UNSEEN_AT, ids=lambda look: f"{look.role}-{look.state}")
def test_what_no_segment_shows_passes_and_is_said(look: Look) -> None:
    for state in UNSEEN_AT[look]:
        report = judged(fetch(), (look._replace(state=state),))  # type: ignore[arg-type]
        (compared,) = report.kernels[0].looks
        assert kernel_finding(report).status == "pass"
        assert compared.agreement == ("same" if compared.inferred == "CLOSED" else "unseen")
        assert compared.why in kernel_finding(report).actual
        assert bool(compared.why) == (compared.agreement == "unseen")


def test_a_fin_may_wait_behind_bytes_but_not_behind_none() -> None:
    open_ = [*lookup(), *Talk().open().send("client", "PA", REQUEST).send("server", "A").frames]
    waiting = [*open_, *Talk().open().exchange().frames[5:6]]  # the response, not acknowledged yet
    closing = (Look(8, "server", "FIN-WAIT-1"),)
    assert kernel_finding(judged(waiting, closing)).status == "pass"
    assert kernel_finding(judged(open_, closing)).status == "fail"


def test_without_testimony_there_is_no_such_finding() -> None:
    report = make_report(capture(fetch()))
    assert "tcp.kernel" not in {finding.rule for finding in report.findings}
    assert [one["kernel"] for one in to_json(report)["connections"]] == [None]
    assert "Sockets" not in text(report)


def test_a_capture_that_may_lack_frames_is_not_held_against_anybody() -> None:
    wrong = (Look(12, "client", "ESTABLISHED"),)
    assert kernel_finding(judged(fetch(), wrong, health="unknown")).status == "inconclusive"


def test_testimony_on_another_connection_is_not_about_this_one() -> None:
    other = Said(Endpoint(CLIENT, 40001), ENDS[1], (Look(12, "client", "ESTABLISHED"),))
    assert make_report(capture(fetch(), "complete"), testimony=[other]).verdict == "pass"


def test_a_port_used_again_has_the_looks_of_its_time() -> None:
    first, second = Talk().open().exchange().close(), Talk(client_isn=9_000_000, server_isn=70_000_000)
    frames = lookup() + first.frames + second.open().exchange().close().frames
    looks = (Look(12, "client", "TIME-WAIT"), Look(13, "client", "SYN-SENT"), Look(22, "client", "TIME-WAIT"))
    found = judged(frames, looks)
    assert {index: len(kernels.looks) for index, kernels in found.kernels.items()} == {0: 1, 1: 2}
    assert kernel_finding(found).status == "pass"
    swapped = (Look(12, "client", "TIME-WAIT"), Look(13, "client", "TIME-WAIT"))
    assert kernel_finding(judged(frames, swapped)).status == "fail"


def lost_fin(first: Role) -> list[Scapy]:
    """A close whose second FIN the wire lost behind the capture: frame 11, sent again as frame 12."""
    second: Role = "server" if first == "client" else "client"
    talk = Talk().open().exchange().send(first, "FA").send(second, "FA")
    return lookup() + talk.send(second, "FA", seq=talk.next[second] - 1).send(first, "A").frames


SYNS = lookup() + Talk().send("client", "S").send("client", "S", seq=1000).frames
BEFORE_THE_SERVERS_FIN = lookup() + Talk().open().exchange().frames
ONE_SYN_LOST, BOTH_SYNS_LOST = (Loss(3, 3, "client", 2),), (Loss(3, 3, "client", 2), Loss(4, 4, "client", 2))
CLIENTS_FIN = (Loss(11, 11, "client", FIN | ACK),)
LOSSES: dict[str, tuple[list[Scapy], Look, tuple[Loss, ...], bool]] = {
    "the SYN": (SYNS[:3], Look(3, "server", "LISTEN"), ONE_SYN_LOST, True),
    "no SYN": (SYNS[:3], Look(3, "server", "LISTEN"), (), False),
    "every SYN": (SYNS, Look(4, "server", "LISTEN"), BOTH_SYNS_LOST, True),
    "a SYN that came again": (SYNS, Look(4, "server", "LISTEN"), ONE_SYN_LOST, False),
    "a SYN, and yet further on": (SYNS, Look(4, "server", "ESTABLISHED"), BOTH_SYNS_LOST, False),
    "a SYN, but it's the client that differs": (SYNS, Look(4, "client", "ESTABLISHED"), BOTH_SYNS_LOST, False),
    "the client's FIN": (lost_fin("server")[:11], Look(11, "server", "FIN-WAIT-1"), CLIENTS_FIN, True),
    "the FIN, not its ACK": (lost_fin("server")[:11], Look(11, "server", "FIN-WAIT-2"), CLIENTS_FIN, True),
    "a FIN that came again": (lost_fin("server")[:12], Look(12, "server", "FIN-WAIT-1"), CLIENTS_FIN, False),
    "the last ACK": (fetch(), Look(12, "server", "LAST-ACK"), (Loss(12, 12, "client", ACK),), True),
    "a SYN,ACK, and the client gave up": (
        fetch()[:4],
        Look(4, "client", "CLOSED"),
        (Loss(4, 3, "server", SYN | ACK),),
        True,
    ),
    "another segment": (fetch(), Look(12, "server", "LAST-ACK"), (Loss(6, 6, "client", ACK),), False),
    "a later segment": (fetch()[:11], Look(9, "server", "SYN-RECEIVED"), (Loss(10, 10, "client", FIN | ACK),), False),
    "the server's FIN, uncaptured": (
        BEFORE_THE_SERVERS_FIN,
        Look(9, "server", "FIN-WAIT-1"),
        (Loss(None, 9, "server", FIN | ACK),),
        True,
    ),
    "a server's FIN that it sends later": (
        BEFORE_THE_SERVERS_FIN,
        Look(9, "server", "FIN-WAIT-1"),
        (Loss(None, 10, "server", FIN | ACK),),
        False,
    ),
    "no FIN of the server's": (BEFORE_THE_SERVERS_FIN, Look(9, "server", "FIN-WAIT-1"), (), False),
    "a FIN that crosses another": (
        BEFORE_THE_SERVERS_FIN + fetch()[9:10],
        Look(10, "server", "CLOSING"),
        (Loss(None, 9, "server", FIN | ACK),),
        True,
    ),
    "the server's reset": (
        BEFORE_THE_SERVERS_FIN,
        Look(9, "server", "LISTEN"),
        (Loss(None, 9, "server", RST | ACK),),
        True,
    ),
    "a FIN damaged on its way to the client": (
        fetch()[:11],
        Look(11, "client", "FIN-WAIT-1"),
        (Loss(11, 10, "server", FIN | ACK),),
        True,
    ),
}


@pytest.mark.parametrize("name", LOSSES)
def test_a_lost_segment_explains_what_it_led_to_and_nothing_else(name: str) -> None:
    frames, look, lost, explains = LOSSES[name]
    report = judged(frames, (look,), lost)
    (compared,) = report.kernels[0].looks
    assert compared.agreement == ("lost" if explains else "differs")
    assert kernel_finding(report).status == ("pass" if explains else "fail")
    assert not explains or compared.why in kernel_finding(report).actual


RETURNS: dict[str, tuple[Look, ...]] = {
    "an attempt given up, and yet a connection": (Look(3, "client", "CLOSED"), Look(6, "client", "ESTABLISHED")),
    "nothing that listens, and yet a connection": (Look(2, "server", "CLOSED"), Look(4, "server", "SYN-RECEIVED")),
    "TIME-WAIT that was over": (Look(12, "client", "CLOSED"), Look(12, "client", "TIME-WAIT")),
    "looks in another order": (Look(6, "client", "ESTABLISHED"), Look(3, "client", "CLOSED")),
}


@pytest.mark.parametrize("what", RETURNS)
def test_what_is_gone_does_not_come_back(what: str) -> None:
    report = judged(fetch(), RETURNS[what])
    assert [one.agreement for one in report.kernels[0].looks] == ["differs", "same"]
    twice = [Said(*ENDS, (look,)) for look in RETURNS[what]]
    assert make_report(capture(fetch()), testimony=twice).kernels == report.kernels


def test_a_lost_fin_explains_nothing_once_it_was_sent_again_and_acknowledged() -> None:
    lost = (Loss(None, 10, "server", FIN | ACK),)
    before, after = Look(11, "server", "LAST-ACK"), Look(12, "server", "LAST-ACK")
    assert judged(fetch(), (before,), lost).kernels[0].looks[0].agreement != "differs"
    assert judged(fetch(), (after,), lost).kernels[0].looks[0].agreement == "differs"


def test_who_listens_does_not_connect_whatever_got_lost() -> None:
    report = judged(fetch()[:3], (Look(3, "server", "SYN-SENT"),), (Loss(3, 3, "client", SYN),))
    assert report.kernels[0].looks[0].agreement == "differs"


def test_the_json_says_every_look_and_keeps_the_schema() -> None:
    values = json.loads(json.dumps(to_json(judged(fetch(), TRUE))))
    jsonschema.validate(values, SCHEMA)
    kernel = values["connections"][0]["kernel"]
    assert (kernel["client"], kernel["server"]) == ("TIME-WAIT", "LISTEN")
    assert len(kernel["looks"]) == len(TRUE)
    assert kernel["looks"][-1] == {
        "frame_count": 12,
        "role": "server",
        "state": "LISTEN",
        "inferred": "CLOSED",
        "agreement": "same",
        "why": "",
    }


def text(report: Report, width: int = 80) -> str:
    return render(report, Style(width))


def test_the_terminal_report_says_where_each_socket_is() -> None:
    section = text(judged(fetch(), TRUE)).split("\nSockets:")[1].split("\n\n")[0]
    said = " ".join(section.split())
    assert "client is in TIME-WAIT; so says the trace (before: SYN-SENT, ESTABLISHED, FIN-WAIT-1)" in said
    assert "server has no socket of it, only the one that listens: CLOSED; so says the trace" in said
    assert [line for line in section.splitlines() if len(line) > 80] == []
    given_up = text(judged(SYNS[:3], (Look(3, "client", "CLOSED"),)), 200)
    assert "client  has no socket of it: CLOSED; the trace says SYN-SENT, but the attempt was given up" in given_up


@pytest.mark.parametrize(
    "entries",
    [
        5,
        [{}],
        [{"client": ["a", "x"], "server": ["b", 1], "looks": {}}],
        [{"client": ["a", 1], "server": ["b", 1], "looks": {"client": [[1, "OPEN"]]}}],
        [{"client": ["a", 1], "server": ["b", 1], "looks": {"client": [[1]]}}],
        [{"client": ["a", 1], "server": ["b", 1], "looks": {}, "lost": [[1, 1, "nobody", 2]]}],
        [{"client": ["a", 1], "server": ["b", 1], "looks": []}],
    ],
)
def test_testimony_that_cannot_be_read_is_an_error_that_says_so(entries: Any) -> None:
    with pytest.raises(InputError, match="testimony"):
        read_testimony(entries)


TABLE = """\
  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
   0: 00000000:0050 00000000:0000 0A 00000000:00000000 00:00000000 00000000  0 0 6020186 1 00 100 0 0 10 0
   1: 0A0200C0:8858 500200C0:0050 06 00000000:00000000 03:000017AC 00000000  0 0 0 3 00
   2: B80D0120000000000000000001000000:8859 B80D0120000000000000000050000000:0050 05 00000000:00000000 0 0 0
   3: 0000000000000000FFFF00000A0200C0:885A 0000000000000000FFFF0000500200C0:0050 01 0 0 0
"""


@pytest.mark.skipif(sys.byteorder == "big", reason="this table is a little-endian machine's")
def test_the_table_is_read_in_this_machines_byte_order() -> None:
    table = parse_table(TABLE)
    server = ("192.0.2.80", 80)
    assert state_in(table, ("192.0.2.10", 0x8858), server) == "TIME-WAIT"
    assert state_in(table, ("2001:db8::1", 0x8859), ("2001:db8::50", 80)) == "FIN-WAIT-2"
    assert state_in(table, ("192.0.2.10", 0x885A), server) == "ESTABLISHED"  # of a socket for both families
    assert state_in(table, server, ("192.0.2.10", 1)) == "LISTEN"
    assert state_in(table, ("192.0.2.10", 1), server) == "CLOSED"


class Pair:
    """A real TCP connection on loopback, to be closed step by step."""

    def __init__(self, host: str) -> None:
        self.family = socket.AF_INET6 if ":" in host else socket.AF_INET
        self.listener = socket.create_server((host, 0), family=self.family)
        self.client = socket.create_connection(self.listener.getsockname()[:2])
        self.server, _ = self.listener.accept()
        self.ends = (self.client.getsockname()[:2], self.server.getsockname()[:2])

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for one in (self.client, self.server, self.listener):
            one.close()

    def states(self) -> tuple[str, str]:
        """Both ends' states over netlink, which agree with the tables."""
        raw = [(socket.inet_pton(self.family, address), port.to_bytes(2)) for address, port in self.ends]
        kind = socket.SOCK_RAW | socket.SOCK_CLOEXEC
        with socket.socket(socket.AF_NETLINK, kind, sockets.NETLINK_SOCK_DIAG) as netlink:
            asked = tuple(ask_state(netlink, exact_request(*pair)) for pair in (raw, raw[::-1]))
        table = parse_table("".join(Path(f"/proc/net/{name}").read_text() for name in ("tcp", "tcp6")))
        assert asked == (state_in(table, *self.ends), state_in(table, *self.ends[::-1]))
        return asked[0], asked[1]


@pytest.fixture(params=["127.0.0.1", "::1"])
def pair(request: pytest.FixtureRequest) -> Iterator[Pair]:
    try:
        made = Pair(request.param)
    except OSError:
        pytest.skip(f"there is no {request.param} here")
    with made:
        yield made


@pytest.mark.needs("netns")
def test_netlink_and_the_tables_agree_on_every_state_of_a_real_close(pair: Pair) -> None:
    assert pair.states() == ("ESTABLISHED", "ESTABLISHED")
    pair.client.shutdown(socket.SHUT_WR)
    pair.server.sendall(b"x")  # which carries the ACK of the FIN
    assert pair.client.recv(1) == b"x"
    pair.client.close()  # an orphan now: its kernel keeps a small socket in FIN-WAIT-2
    assert pair.states() == ("FIN-WAIT-2", "CLOSE-WAIT")
    pair.server.close()
    assert pair.states() == ("TIME-WAIT", "LISTEN")
    pair.listener.close()
    assert pair.states() == ("TIME-WAIT", "CLOSED")


def segment(ends: tuple[tuple[str, int], tuple[str, int]], flags: str) -> bytes:
    (source, sport), (target, dport) = ends
    network = IPv6(src=source, dst=target) if ":" in source else IP(src=source, dst=target)
    return bytes(Ether() / network / TCP(sport=sport, dport=dport, flags=flags) / Raw(b""))


@pytest.fixture
def hosts() -> Iterator[list[Host]]:
    """Both roles in this process's own namespace."""
    namespace = os.open("/proc/self/ns/net", os.O_RDONLY)
    yield [Host(role, (), b"", 1500, namespace, -1, {}) for role in ROLES if role != "resolver"]
    os.close(namespace)


@pytest.mark.needs("netns", "root")
def test_socket_tables_follow_a_connection_from_its_syn(hosts: list[Host], pair: Pair) -> None:
    tables = SocketTables(hosts)
    tables.arrived(segment(pair.ends, "A"))  # of a connection that nobody knows
    tables.sent(segment(pair.ends, "S"), "client", "server")
    for captured in (1, 2, 3):
        tables.ask(captured, None)  # the server is ahead of the capture: it isn't asked
        tables.keep()
        tables.arrived(segment(pair.ends, "A"))
    tables.lost(segment(pair.ends[::-1], "FA"), "server", None, 3)
    tables.ask(3, 2)  # and nobody keeps it: something moved meanwhile
    pair.client.shutdown(socket.SHUT_WR)
    tables.arrived(segment(pair.ends, "FA"))
    pair.server.sendall(b"x")
    assert pair.client.recv(1) == b"x"
    (told,) = tables.facts(5, 5)["sockets"]
    tables.close()
    assert told["looks"] == {
        "client": [[1, "ESTABLISHED"], [3, "ESTABLISHED"], [5, "FIN-WAIT-2"]],
        "server": [[5, "CLOSE-WAIT"]],
    }
    (testimony,) = read_testimony([told])
    assert (testimony.client, testimony.server) == pair.ends
    assert testimony.lost == (Loss(None, 3, "server", FIN | ACK),)


@pytest.mark.needs("netns", "root")
def test_a_kernel_without_sock_diag_is_read_by_its_tables(
    hosts: list[Host], pair: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sockets, "NETLINK_SOCK_DIAG", 31)  # a protocol that no kernel has
    tables = SocketTables(hosts)
    tables.sent(segment(pair.ends, "S"), "client", "server")
    tables.ask(1, 1)
    tables.keep()
    (told,) = tables.facts(7, 7)["sockets"]
    assert told["looks"] == {"client": [[7, "ESTABLISHED"]], "server": [[7, "ESTABLISHED"]]}


@pytest.mark.needs("netns")
def test_in_a_run_both_kernels_are_seen_in_every_state_of_the_close(tmp_path: Path) -> None:
    report, folder = play(
        tmp_path,
        '[names]\na="192.0.2.9"\n[server]\nbody=9\nclose="server"\n[wire]\ndelay="20ms"\n[client]\ncurl=["http://a/"]',
    )
    kernel = report["connections"][0]["kernel"]
    assert (kernel["client"], kernel["server"]) == ("CLOSED", "TIME-WAIT")
    assert {look["state"] for look in kernel["looks"] if look["role"] == "client"} >= {"SYN-SENT", "LAST-ACK"}
    assert {look["agreement"] for look in kernel["looks"]} == {"same"}
    assert report["verdict"] == "pass"
    _again(folder)


def _again(folder: Path) -> None:
    """The report can be made again from what the run kept; and one state changed in it fails."""
    facts = json.loads((folder / "run.json").read_text())["sockets"]
    whole = replace(read_capture(folder / "capture.pcap"), health="complete")
    assert kernel_finding(make_report(whole, testimony=read_testimony(facts))).status == "pass"
    facts[0]["looks"]["client"][-1][1] = "ESTABLISHED"
    assert kernel_finding(make_report(whole, testimony=read_testimony(facts))).status == "fail"


OTHER_ENDINGS = {
    "nobody answers in time": (
        '[server]\nbody=300000\n[client]\ndeadline="600ms"\ncurl=["--limit-rate","1000","http://a/"]'
    ),
    "a client that closes before it has read all": '[server]\nbody=9000\n[client]\ncurl=["--max-filesize","1","http://a/"]',
    "a reset": '[server]\nclose="reset"\n[client]\ncurl=["http://a/"]',
    "a port where nothing listens": '[client]\ncurl=["http://a:81/"]',
    "several at once": '[client]\ncurl=["-Z","http://a/1","http://a/2","http://a/3"]',
    "a large body": '[server]\nbody=1000000\n[client]\ncurl=["http://a/"]',
}


@pytest.mark.needs("netns")
@pytest.mark.parametrize("ending", OTHER_ENDINGS)
def test_the_kernels_agree_however_a_run_ends(tmp_path: Path, ending: str) -> None:
    report, _ = play(tmp_path, f'[names]\na="192.0.2.9"\n{OTHER_ENDINGS[ending]}')
    (finding,) = [finding for finding in report["findings"] if finding["rule"] == "tcp.kernel"]
    assert finding["status"] == "pass", finding["actual"]


@pytest.mark.needs("netns")
def test_what_init_says_may_be_of_any_length(tmp_path: Path) -> None:
    supervisor = Supervisor(lambda: lambda step: step * 1_000_000, tmp_path / "log")
    try:
        assert supervisor.ask("a step", 10.0) == "a step" * 1_000_000
        assert supervisor.ask("ä", 10.0) == "ä" * 1_000_000
    finally:
        supervisor.kill()
        supervisor.reap()
