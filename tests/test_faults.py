"""Faults: each does to the chosen frames what it says, counts its hits, and complains where it did nothing."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
from scapy.layers.dns import DNS
from scapy.layers.inet import IP, TCP
from scapy.layers.l2 import Ether
from scapy.packet import Raw

from analysis.files.capture import read_capture
from lab.netns.faults import Fate, Faults
from lab.netns.frame_kinds import FrameKinds
from lab.scenario.model import Action, Fault, Role, Selection
from lab.scenario.wire import read_selection
from tests.craft import Talk, answer, question
from tests.test_lab import LAB, invoke, lines, play, took

NAMES = '[names]\n"www.lab.test" = "192.0.2.80"\n[client]\ncurl = ["http://www.lab.test/"]\n'
netns = pytest.mark.needs("netns")


def run(tmp_path: Path, faults: str, before: str = "", server: str = "body = 120") -> tuple[dict[str, Any], Any, Path]:
    tmp_path.mkdir(exist_ok=True)
    report, folder = play(tmp_path, f"{before}{NAMES}[server]\n{server}\n{faults}")
    return report, json.loads((folder / "run.json").read_text()), folder


def selection(text: str) -> Selection:
    found = read_selection(text)
    assert found is not None
    return found


def frames_of(*kinds: str) -> list[frozenset[str]]:
    return [frozenset({"any", *kind.split("+")} - {""}) for kind in kinds]


def test_a_frame_is_of_every_kind_that_it_is() -> None:
    talk = Talk().open().exchange().close().frames
    kinds = FrameKinds()
    assert [kinds.of(bytes(frame)) for frame in (question(), answer("192.0.2.80"), *talk)] == frames_of(
        "DNS query+A query",
        "DNS answer+A answer",
        *("SYN", "SYN,ACK", "ACK", "data", "ACK", "data", "ACK", "FIN", "FIN", "ACK"),
    )


def test_no_length_of_a_frame_is_too_short_to_be_looked_at() -> None:
    for frame in (bytes(question()), bytes(Talk().open().frames[0])):
        for length in range(len(frame)):
            assert "any" in FrameKinds().of(frame[:length])


def over_tcp(payload: bytes, seq: int, flags: str = "PA", sport: int = 53, dport: int = 5353) -> bytes:
    return bytes(Ether() / IP() / TCP(sport=sport, dport=dport, seq=seq, flags=flags) / Raw(payload))


def message(scapy: Any) -> bytes:
    """A DNS message behind its length."""
    content = bytes(scapy[DNS])
    return len(content).to_bytes(2) + content


def test_a_segment_has_the_kinds_of_each_dns_message_that_begins_in_it() -> None:
    start = 0xFFFF_FFF0  # the numbers begin anew on the way
    both = message(question()) + message(question(kind="AAAA"))
    long = message(answer(*(f"192.0.2.{number}" for number in range(200))))
    kinds, data = FrameKinds(), "data"
    assert (
        [
            kinds.of(over_tcp(b"", start - 1, "S")),
            kinds.of(over_tcp(both, start)),
            kinds.of(over_tcp(long[:1000], (start + len(both)) % 2**32)),
            kinds.of(over_tcp(long[1000:] + message(answer()), (start + len(both) + 1000) % 2**32)),
            kinds.of(over_tcp(long[:1000], (start + len(both)) % 2**32)),  # again
            kinds.of(over_tcp(long[1000:2000], (start + len(both) + 1000) % 2**32)),
            kinds.of(over_tcp(both, start, sport=1053)),  # of a connection that it has not seen begin
            kinds.of(over_tcp(both, start), may_be_dns=False),
        ]
        == frames_of(
            "SYN",
            "data+DNS query+A query+AAAA query",
            "data+DNS answer+A answer",
            "data+DNS answer+A answer",
            "data+DNS answer+A answer",
            data,
            data,
            data,
        )
    )


def fates(*plan: Fault) -> tuple[Faults, list[Fate]]:
    """Of the frames of a handshake, one request and its answer."""
    faults = Faults(plan)
    roles: dict[int, tuple[Role, Role]] = {80: ("server", "client")}
    frames = Talk().open().exchange().frames
    return faults, [
        faults.fate(*roles.get(frame.sport, ("client", "server")), bytes(frame), number, 0.0)
        for number, frame in enumerate(frames, 1)
    ]


def hits(faults: Faults) -> list[int]:
    return [one["hits"] for one in faults.facts()["faults"]]


def test_a_frame_that_is_dropped_is_not_there_for_other_faults() -> None:
    others: tuple[Action, ...] = ("delay", "duplicate", "corrupt", "reorder", "drop")
    plan = [Fault(action, selection("client any 1"), delay_s=0.1 * (action == "delay")) for action in others]
    faults, found = fates(*plan[:4], Fault("drop", selection("client SYN 1")), plan[4])
    assert (found[0].copies, found[0].delay_s, found[0].held) == ((), 0.0, None)
    assert hits(faults) == [0, 0, 0, 0, 1, 0]
    assert len(faults.doubts) == 5


def test_damage_that_another_fault_undoes_is_none() -> None:
    plan = [Fault("corrupt", selection(text), byte=-1) for text in ("client SYN 1", "client any 1", "client any 2")]
    faults, found = fates(*plan)
    assert hits(faults) == [0, 0, 1]
    assert found[0].hits == ()


@pytest.mark.parametrize(
    ("text", "chosen"),
    [("client SYN 2", [2]), ("client SYN first 2", [1, 2]), ("client SYN all", [1, 2, 3]), ("client  SYN,ACK 1", [1])],
)
def test_which_frames_are_chosen(text: str, chosen: list[int]) -> None:
    frames = selection(text)
    assert [number for number in (1, 2, 3) if frames.includes(number)] == chosen


@pytest.mark.parametrize("text", ["client SYN", "client SYN 0", "proxy SYN 1", "client syn 1", "client SYN last", 7])
def test_what_chooses_no_frames_is_refused(text: object) -> None:
    assert read_selection(text) is None


def test_chance_is_the_same_dice_for_the_same_seed() -> None:
    frame = bytes(Talk().open().frames[0])
    hits: list[list[bool]] = []
    for seed in (7, 7, 8):
        faults = Faults([Fault("drop", selection("client SYN all"), chance=0.5, seed=seed)])
        hits.append([not faults.fate("client", "server", frame, None, 0.0).copies for _ in range(64)])
    assert hits[0] == hits[1] != hits[2]
    assert 16 < sum(hits[0]) < 48


@netns
def test_a_dropped_frame_is_gone_and_its_hit_is_listed(tmp_path: Path) -> None:
    report, facts, _ = run(tmp_path, '[[wire.fault]]\ndrop = "client data 1"\n')
    assert lines(report).count('client DATA "GET"') == 1
    assert "client DATA again" in lines(report)
    assert facts["faults"] == [{"fault": "drop client data 1", "seen": 2, "hits": 1}]
    (hit,) = facts["hits"]
    request = report["stories"][0]["exchanges"][0]["request_frames"][0]
    assert (hit["captured_as"], hit["kinds"]) == (request, ["data"])


@netns
def test_a_frame_lost_on_its_way_to_the_client_is_not_in_the_capture(tmp_path: Path) -> None:
    report, facts, _ = run(tmp_path, '[[wire.fault]]\ndrop = "server data 1"\n')
    assert lines(report).count('server DATA "200"') == 1
    assert not any("again" in line for line in lines(report))
    assert facts["hits"][0]["captured_as"] is None


@netns
def test_a_frame_to_the_client_has_its_number_in_the_list_of_hits(tmp_path: Path) -> None:
    faults = '[[wire.fault]]\nreorder = "server data 1"\n[[wire.fault]]\ndelay = "server data 2"\nby = "30ms"\n'
    report, facts, _ = run(tmp_path, faults, server="body = 5000")
    frames = {hit["fault"]: hit["captured_as"] for hit in facts["hits"]}
    seqs = {one["frame"]: one["seq"] for one in report["stories"][0]["segments"] if one["from"] == "server"}
    assert (seqs[frames[0]], seqs[frames[1]]) == (1, 1449)
    assert frames[0] > frames[1]  # what overtakes is late itself, and still overtakes


@netns
@pytest.mark.parametrize("server", ["body = 120", "body = 120\nquickack = true"])
def test_the_kernel_has_a_frame_whose_copy_is_on_its_way_still(tmp_path: Path, server: str) -> None:
    report, _, _ = run(tmp_path, '[[wire.fault]]\nduplicate = "client ACK 1"\n', server=server)
    assert report["verdict"] == "pass"


@netns
def test_a_reset_that_comes_after_an_old_copy_ends_no_time_wait(tmp_path: Path) -> None:
    faults = '[[wire.fault]]\ndelay = "server data 1"\nby = "15ms"\n'
    report, _, _ = run(tmp_path, faults, server='body = 5000\nclose = "server"')
    (kernel,) = (one for one in report["findings"] if one["rule"] == "tcp.kernel")
    assert kernel["status"] == "pass", kernel["actual"]


@netns
def test_a_delayed_frame_comes_so_much_later(tmp_path: Path) -> None:
    report, _, _ = run(tmp_path, '[[wire.fault]]\ndelay = "server SYN,ACK 1"\nby = "150ms"\n')
    assert took(0.150, report["connections"][0]["rtt_s"])


@netns
def test_a_duplicate_comes_twice(tmp_path: Path) -> None:
    report, _, _ = run(tmp_path, '[[wire.fault]]\nduplicate = "server SYN,ACK 1"\n')
    assert [line for line in lines(report) if "SYN,ACK" in line] == ["server SYN,ACK", "server SYN,ACK again"]


@netns
def test_a_reordered_answer_comes_behind_the_next(tmp_path: Path) -> None:
    report, _, _ = run(tmp_path, '[[wire.fault]]\nreorder = "resolver A answer 1"\n')
    responses = {one["type"]: one["response_frame"] for one in report["lookups"]}
    assert responses["A"] == responses["AAAA"] + 1


@netns
def test_a_frame_that_nothing_overtakes_goes_on_and_the_run_says_so(tmp_path: Path) -> None:
    report, facts, _ = run(tmp_path, '[[wire.fault]]\nreorder = "client FIN 1"\n')
    assert report["verdict"] == "inconclusive"
    assert facts["faults"][0]["hits"] == 0
    assert "none came behind" in facts["doubts"][0]
    assert lines(report)[-3:] == ["client FIN,ACK", "server FIN,ACK", "client ACK"]


@netns
def test_a_corrupted_segment_is_thrown_away_and_sent_again(tmp_path: Path) -> None:
    report, _, folder = run(tmp_path, '[[wire.fault]]\ncorrupt = "server data 1"\n')
    checksums = next(one for one in report["findings"] if one["rule"] == "tcp.checksums")
    assert checksums["status"] == "fail"
    (damaged,) = checksums["frames"]
    frames = [frame.data for frame in read_capture(folder / "capture.pcap").frames]
    whole = next(frame for frame in frames[damaged:] if len(frame) == len(frames[damaged - 1]))
    assert frames[damaged - 1][-1] == whole[-1] ^ 0xFF


@netns
def test_a_fault_that_never_hit_makes_the_run_inconclusive_and_says_so(tmp_path: Path) -> None:
    report, facts, _ = run(tmp_path, '[[wire.fault]]\ndrop = "client SYN 2"\n')
    assert report["verdict"] == "inconclusive"
    assert facts["doubts"] == ['the fault "drop client SYN 2" never hit a frame: the client sent 1 of kind SYN']
    whole = next(one for one in report["findings"] if one["rule"] == "capture.whole")
    assert "never hit" in whole["actual"]


@netns
def test_losses_by_chance_are_the_same_in_each_run(tmp_path: Path) -> None:
    faults = '[[wire.fault]]\ndrop = "server data all"\nchance = 0.2\nseed = 3\n'
    first, second = (run(tmp_path / name, faults, server="body = 20_000") for name in "ab")
    assert first[1]["faults"][0]["hits"] > 0
    assert first[0]["fingerprint"] == second[0]["fingerprint"]


@netns
def test_a_bandwidth_makes_the_download_last_so_long(tmp_path: Path) -> None:
    report, _, _ = run(tmp_path, '[wire.client]\nbandwidth = "1 Mbit/s"\n', server="body = 20_000")
    segments = [one for one in report["stories"][0]["segments"] if one["from"] == "server" and one["len"]]
    seconds = float(segments[-1]["time"][17:-1]) - float(segments[0]["time"][17:-1])
    on_the_wire = sum(one["len"] + 66 for one in segments[1:])
    assert took(8 * on_the_wire / 1e6, seconds % 60)


@netns
def test_the_mtu_of_a_leg_bounds_every_segment(tmp_path: Path) -> None:
    report, _, _ = run(tmp_path, "[wire.server]\nmtu = 576\n", server="body = 2000")
    assert max(one["len"] for one in report["stories"][0]["segments"]) == 576 - 52
    assert report["verdict"] == "pass"


@netns
def test_a_frame_too_large_for_its_leg_is_lost_and_said(tmp_path: Path) -> None:
    addresses = ", ".join(f'"192.0.2.{number}"' for number in range(60, 100))
    names = f'[names]\n"www.lab.test" = [{addresses}]\n'
    scenario = (
        f'{names}[client]\ncurl = ["http://www.lab.test/"]\nresolver_options = ["edns0", "timeout:1", "attempts:1"]\n'
    )
    report, folder = play(tmp_path, scenario + "[wire.client]\nmtu = 576\n")
    assert report["verdict"] == "inconclusive"
    assert "larger than its link's MTU" in (folder / "run.json").read_text()


@netns
def test_free_order_carries_the_same_fetch(tmp_path: Path) -> None:
    report, _, _ = run(tmp_path, '[wire]\norder = "free"\n', server="body = 300_000")
    assert report["verdict"] == "pass"
    assert report["connections"][0]["bytes"]["server"] > 300_000


@netns
def test_what_the_wire_did_is_told_at_the_end(tmp_path: Path) -> None:
    (tmp_path / "two.toml").write_text(
        NAMES + '[[wire.fault]]\ndrop = "client FIN 1"\n[[wire.fault]]\nduplicate = "server SYN,ACK 1"\n'
        '[[wire.fault]]\ndrop = "server data 1"\n'
    )
    done = invoke(*LAB, "--scenario", tmp_path / "two.toml", "--runs", tmp_path / "runs")
    assert re.search(r"\nthe wire: drop client FIN 1: frame \d+\n", done.stdout)
    assert "\nthe wire: duplicate server SYN,ACK 1: frame 6\n" in done.stdout
    assert re.search(r"\nthe wire: drop server data 1: on its way to the client after 0\.\d+ s\n", done.stdout)
