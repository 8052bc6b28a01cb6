"""Damaged captures: a seeded minute of them on every run, and proof that the job would see what it looks for."""

import base64
import contextlib
import gzip
import hashlib
import os
import signal
import struct
import subprocess
import sys
import time
import zlib
from collections.abc import Callable
from pathlib import Path

import pytest

from analysis.errors import InputError
from analysis.files.capture import parse_capture
from analysis.report import make_report
from lab.fetches import SYN
from lab.fuzzing import examine as examining
from lab.fuzzing import fuzz
from lab.fuzzing.examine import Examine, Unsound, examine, watched
from lab.fuzzing.fuzz import Job, run_job
from lab.fuzzing.mutants import make_mutant
from lab.fuzzing.seeds import Seed, all_seeds
from lab.fuzzing.stories import CHAIN, GET, Talk, ipv4, ipv6, message, stories, udp_lookup
from tests import craft
from tests.conftest import HERE
from tests.test_lab import INVOKE

MINUTE = Job(count=4500, seed=20, jobs=2)
PLANTED = 7  # the number of the capture that the planted defects are about


def quiet(_: str) -> None:
    """No progress."""


def job(keep: Path, count: int = 12) -> Job:
    """A short job; its captures are those of seed 3."""
    return Job(count, seed=3, jobs=2, keep=keep)


# --- the seeded minute ---


def test_a_minute_of_damaged_captures_finds_no_crash_no_hang_and_no_broken_promise(tmp_path: Path) -> None:
    tally = run_job(Job(MINUTE.count, 0, MINUTE.seed, MINUTE.jobs, keep=tmp_path), quiet)
    assert tally.failures == [], tally.table()
    assert tally.captures == MINUTE.count
    assert 0 < tally.refused_share < 0.35
    assert 0 < tally.worst_s <= examining.LONGEST_S
    assert list(tmp_path.iterdir()) == []


def raw_pcap(*packets: bytes) -> bytes:
    """IP packets as a pcap of raw IP, all at one time."""
    head = struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 262144, 101)
    return head + b"".join(struct.pack("<IIII", 1, 1, len(one), len(one)) + one for one in packets)


def answered(response: bytes) -> bytes:
    """A capture of a query and this response."""
    return raw_pcap(*udp_lookup(message(), response, 5353))


def answered_http(response: bytes) -> bytes:
    """A capture of a request and this response."""
    return raw_pcap(*Talk().open().says(0, GET).says(1, response).close(1).packets)


POINTERS = b"".join((0xC000 | 12 + 2 * one).to_bytes(2) for one in range(200))
DNS_HEAD = bytes.fromhex("0007 8180 0001 0001 0000 0000")
EMPTY_NG = bytes.fromhex("0a0d0d0a 1c000000 4d3c2b1a 01000000 ffffffffffffffff 1c000000")

ABSURD = {  # crashers belong here, too, as soon as one is found: a sentence, and its bytes
    "a pcap with a header alone": raw_pcap(),
    "a pcap cut within its header": raw_pcap()[:23],
    "a record that claims 4 GB": raw_pcap(b"")[:-8] + b"\xff" * 8,
    "ten thousand records without a byte": raw_pcap(*[b""] * 10_000),
    "a time at the end of what 32 bits can count": raw_pcap() + b"\xff" * 8 + bytes(8),
    "a pcapng block that claims 4 GB": EMPTY_NG + struct.pack("<II", 6, 0xFFFFFFFC) + bytes(20),
    "a pcapng block of no length": EMPTY_NG + struct.pack("<III", 6, 0, 0),
    "a packet block of an interface that isn't there": EMPTY_NG + struct.pack("<II20xI", 6, 32, 32),
    "65,535 of every kind of record": answered(message()[:2] + b"\x81\x80" + b"\xff" * 8 + message()[12:]),
    "a name that points at itself": answered(DNS_HEAD + b"\xc0\x0c\0\1\0\1" * 2),
    "a name that points on, two hundred times": answered(DNS_HEAD + POINTERS[2:] + b"\0" * 30),
    "a response that is a header alone": answered(DNS_HEAD),
    "an answer without its last byte": answered(message(answers=CHAIN)[:-1]),
    "a length of four thousand digits": answered_http(b"HTTP/1.1 200 OK\r\nContent-Length: %b\r\n\r\n" % (b"9" * 4300)),
    "a chunk of more bytes than there are": answered_http(
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + b"f" * 20
    ),
    "a status line that never ends": answered_http(b"HTTP/1.1 200 " + b"A" * 1400),
    "control characters instead of a response": answered_http(bytes(range(256)) * 4),
    "a TCP option of no length": raw_pcap(*Talk().send(0, SYN, options=b"\2\0\0\0\3\1\x05\xff").packets),
    "an IPv6 packet that is all extension headers": raw_pcap(ipv6(0, 1, 6, b"", extensions=(0, 43, 60) * 60)),
    "an IPv4 fragment at the end of what can be": raw_pcap(ipv4(0, 1, 17, bytes(64), fragment=0x1FFF)),
    "fragments of everything at once": raw_pcap(*(ipv4(0, 1, 17, bytes(64), fragment=0x2000 | n) for n in range(999))),
    "a gzip file of nothing": gzip.compress(b"", mtime=0),
    "a gzip file cut in its header": gzip.compress(raw_pcap(), mtime=0)[:9],
    "a TLS server name that steers the terminal": raw_pcap(
        *(packet.replace(b".example.com", b"\x1b[31m\x07.com.a") for packet in stories()["tls"])
    ),
    "numbers before the first, and nothing acknowledged": zlib.decompress(
        base64.b85decode(
            "c-p&ic+)~A1{MYw`2U}Qfe}cT8yyRp*vQHt31s^L@sYxRR<Va7<X4$U?BQT=WngeH@^WBsVB-ZTJfOkF-~?0z!Vo18<zR&-t>O-h"
            "FW7_v1(zSR<6@L6W!!zkAo}pm8%@!N-Zcox|C6_6U|?cl4PazuW?^JxVFH=R_>mKCB8Jr_Z~Q@42TOuX1DSfmfN^(I^#8XY4>U0T"
            "|If$<^aLXZm**!z7Y3+jd<?l5Y=CSVY$j@S?gN>)bsMUQhu#9+c{4!Jfx&(mEPy~}{kq5pHw(kR8u@Gv3@_L;^3eQyv+rf$#{d=u"
            "&Lt8svjF5DYvl"
        )
    ),
    "a question of 256 octets": answered(DNS_HEAD + b"\1a" * 128 + b"\0\0\1\0\1"),
    "two thousand SYNs": raw_pcap(*Talk().send(0, SYN).packets * 2000),
    "two thousand ports": raw_pcap(*(Talk(port=port).send(0, SYN).packets[0] for port in range(2000))),
    "two thousand queries alike": raw_pcap(*udp_lookup(message(), b"", 5353)[:1] * 2000),
}


@pytest.mark.parametrize("data", ABSURD.values(), ids=ABSURD)
def test_an_absurd_capture_is_reported_on_or_refused_in_time(data: bytes) -> None:
    outcome = watched(examine, data, 0, "")
    assert outcome.failure is None, outcome.failure.detail


# --- what the captures are ---


@pytest.mark.parametrize("seed", all_seeds(), ids=lambda seed: seed.name)
def test_a_seed_is_a_whole_capture_before_it_is_damaged(seed: Seed) -> None:
    capture = parse_capture(seed.data, seed.name)
    assert len(capture.frames) >= 7
    assert capture.problems == ()
    assert make_report(capture).stories
    examine(seed.data, seed.name)


def test_the_same_number_gives_the_same_bytes_in_any_process() -> None:
    def digest() -> str:
        return hashlib.sha256(b"".join(make_mutant(5, number).data for number in range(300))).hexdigest()

    script = "import hashlib; from lab.fuzzing.mutants import make_mutant; "
    script += "print(hashlib.sha256(b''.join(make_mutant(5, one).data for one in range(300))).hexdigest())"
    environment = {**os.environ, "PYTHONHASHSEED": "77"}
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=HERE, env=environment, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == digest() == digest()


def test_captures_differ_from_each_other_and_from_what_they_were_made_of() -> None:
    mutants = [make_mutant(5, number) for number in range(1000)]
    whole = {seed.data for seed in all_seeds()}
    assert len({mutant.data for mutant in mutants}) > 950
    assert sum(mutant.data in whole for mutant in mutants) < 50
    assert {mutant.seed_name for mutant in mutants} == {seed.name for seed in all_seeds()}
    assert [make_mutant(6, number).data for number in range(20)] != [mutant.data for mutant in mutants[:20]]


def test_most_damage_lies_deep_enough_for_a_story_to_be_told() -> None:
    told = 0
    for number in range(300):
        try:
            report = make_report(parse_capture(make_mutant(5, number).data, ""))
        except InputError:
            continue
        told += report.story is not None
    assert told > 150


def test_a_folder_of_captures_can_be_damaged_too(tmp_path: Path) -> None:
    (tmp_path / "mine.pcap").write_bytes(craft.pcap(craft.fetch()))
    names = {make_mutant(1, number, str(tmp_path)).seed_name for number in range(400)}
    assert "mine.pcap" in names


# --- a check that can't fail is a defect ---


def crash() -> None:
    """A crash of the analysis."""
    raise ZeroDivisionError("planted")


def spin() -> None:
    """A hang in Python."""
    while True:
        pass


def swallow() -> None:
    """A hang that catches what it can."""
    while True:
        with contextlib.suppress(Exception):
            time.sleep(0.01)


def hog() -> None:
    """150 MB for a file of a few kB."""
    assert bytearray(b"x") * 150_000_000


def killed() -> None:
    """What the kernel does when memory runs out."""
    os.kill(os.getpid(), signal.SIGKILL)


def deaf() -> None:
    """A call of C that hears no signal."""
    signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGALRM, signal.SIGPROF])
    time.sleep(60)


def lie() -> None:
    """A broken promise."""
    raise Unsound("planted")


def planted(defect: Callable[[], None]) -> Examine:
    """An examination that is as good as any, but for the capture with the number `PLANTED`."""
    bad = make_mutant(3, PLANTED).data

    def check(data: bytes, _: str) -> None:
        if data == bad:
            defect()

    return check


DEFECTS = [
    (crash, "crash", "ZeroDivisionError: planted"),
    (lie, "unsound", "Unsound: planted"),
    (spin, "hang", "_TooLong"),
    (swallow, "hang", "_TooLong"),
    (hog, "memory", "bytes of memory for a file of"),
    (killed, "killed", "signal 9"),
    (deaf, "killed", "nothing heard of it"),
]


@pytest.mark.parametrize(("defect", "kind", "said"), DEFECTS, ids=[defect.__name__ for defect, *_ in DEFECTS])
def test_a_planted_defect_is_found_and_kept_and_the_job_goes_on(
    defect: Callable[[], None], kind: str, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(examining, "LONGEST_S", 0.3)
    tally = run_job(job(tmp_path), quiet, planted(defect))
    assert [(failure.kind, failure.number) for failure in tally.failures] == [(kind, PLANTED)], tally.table()
    assert said in tally.failures[0].detail
    assert tally.captures == 12
    assert (tmp_path / f"{PLANTED}-{kind}.bin").read_bytes() == make_mutant(3, PLANTED).data
    kept = (tmp_path / f"{PLANTED}-{kind}.txt").read_text()
    assert f"invoke fuzz --seed 3 --first {PLANTED} --count 1\n" in kept
    assert said in kept
    assert f"1 {kind}" in tally.table()


def test_what_is_slow_only_once_is_the_machines_fault(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(examining, "LONGEST_S", 0.3)
    times: list[int] = []

    def stall() -> None:
        times.append(1)
        if len(times) == 1:
            time.sleep(2)

    assert run_job(job(tmp_path), quiet, planted(stall)).failures == []


def test_a_worker_given_up_as_it_speaks_loses_no_capture_and_doubles_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fuzz, "longest_silence_s", lambda: 0.0)
    monkeypatch.setattr(fuzz, "KEPT_OF_A_KIND", 200)
    tally = run_job(Job(count=200, seed=3, jobs=3, keep=tmp_path), quiet, lambda *_: None)
    blamed = [failure.number for failure in tally.failures]
    assert tally.captures == 200
    assert len(blamed) == len(set(blamed)) > 0


def test_a_refusal_is_counted_and_no_failure(tmp_path: Path) -> None:
    def refuse(_: bytes, __: str) -> None:
        raise InputError("no capture", "hand in another")

    tally = run_job(job(tmp_path), quiet, refuse)
    assert (tally.captures, tally.refused, tally.failures) == (12, 12, [])


def test_failures_alike_are_counted_and_only_the_first_are_kept(tmp_path: Path) -> None:
    def always(_: bytes, __: str) -> None:
        crash()

    tally = run_job(job(tmp_path), quiet, always)
    assert list(tally.alike.values()) == [12]
    assert len(list(tmp_path.glob("*.bin"))) == fuzz.KEPT_OF_A_KIND


@pytest.mark.parametrize(
    ("where", "instead", "said"),
    [
        ("analysis.views.terminal.render", lambda *_, **__: "harmless\n  ::error::\n", "command"),
        ("analysis.views.terminal.render", lambda *_, **__: "red \x1b[31m\n", "isn't printable"),
        ("analysis.views.summary.render_summary", lambda *_, **__: "\u202e", "isn't printable"),
        ("analysis.rules.judge.verdict_of", lambda _: "perhaps", "isn't that of the findings"),
        ("analysis.sequence.parse_sequence", lambda _: None, "exact sequence"),
        ("analysis.views.json.to_json", lambda _: {"schema": 0}, "breaks its schema"),
    ],
)
def test_a_promise_that_is_broken_is_noticed(
    where: str, instead: object, said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(examining, "VALIDATED", 1)
    data = craft.pcap(craft.fetch())
    examine(data, "fetch.pcap")
    monkeypatch.setattr(where, instead)
    with pytest.raises(Unsound, match=said):
        examine(data, "fetch.pcap")


# --- the command ---


def test_the_command_prints_a_table_and_ends_with_0(tmp_path: Path) -> None:
    keep = tmp_path / "keep"
    command = [*INVOKE, "fuzz", "--count", "40", "--seed", "3", "--jobs", "2", "--keep", str(keep)]
    done = subprocess.run(command, cwd=HERE, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "| captures | 40 |" in done.stdout
    assert "| failures | none |" in done.stdout
    assert not keep.exists()


@pytest.mark.parametrize(
    "options", [["--engine", "magic"], ["--count", "0"], ["--corpus", "no-such-folder"], ["--first", "-1"]]
)
def test_a_job_that_makes_no_sense_is_refused(options: list[str]) -> None:
    done = subprocess.run(
        [*INVOKE, "fuzz", *options], cwd=HERE, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 2
    assert "next:" in done.stderr
    assert "Traceback" not in done.stderr


def test_every_module_of_the_analysis_is_what_atheris_watches() -> None:
    files = {path.relative_to(HERE).with_suffix("") for path in (HERE / "analysis").rglob("*.py")}
    modules = {".".join(path.parts).removesuffix(".__init__") for path in files} - {"analysis"}
    assert set(fuzz.import_analysis()) == modules


def test_with_atheris_captures_are_examined(tmp_path: Path) -> None:
    pytest.importorskip("atheris", reason="atheris is not installed")
    table, good = fuzz.fuzz(Job(50, keep=tmp_path / "keep"), "atheris", quiet)
    assert (good, "failures: none" in table) == (True, True)


def test_without_atheris_its_engine_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fuzz, "find_spec", lambda _: None)
    with pytest.raises(InputError) as caught:
        fuzz.fuzz(Job(1), "atheris", quiet)
    assert caught.value.next_step == "pip install atheris"


def test_an_interrupt_ends_the_job_and_its_workers(tmp_path: Path) -> None:
    command = [*INVOKE, "fuzz", "--jobs", "2", "--keep", str(tmp_path / "keep")]
    process = subprocess.Popen(command, cwd=HERE, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True)
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children")
    deadline = time.monotonic() + 30
    while len(workers := children.read_text().split()) < 2 and time.monotonic() < deadline:
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=30)
    assert process.returncode == 3
    assert "interrupted" in said
    assert "Traceback" not in said
    assert len(workers) == 2
    assert not any(Path(f"/proc/{worker}").exists() for worker in workers)
