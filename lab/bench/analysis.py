"""How fast, how small and how prompt the analysis is, beside other tools: whole processes, measured from outside."""

import json
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple

from lab.bench.runs import HERE, Progress, times
from lab.errors import StepError
from lab.fetches import write_fetches

FRAMES_A_FETCH = 13.84  # of this mix
FEWEST_FRAMES = 1000
ROUNDS = 5  # the first doesn't count: it fills the page cache
CHILDREN, FURTHER_CALLS = 9, 50  # a first report comes only once a process, and one alone says little
SMALL_FETCHES, SMALL_SEED = 2, 43  # 20 frames: one fetch from lookup to close, one refused
WANTED_FRAMES_A_SECOND = 250_000
WANTED_BYTES_A_FRAME = 150
WANTED_FIRST_CALL_MS = 5.0
MANY, MANY_FETCHES, WANTED_MANY_S = 200, 2, 1.0  # captures in one process, of about 20 frames each
LARGE_BYTES, LARGE_FETCHES, WANTED_LARGE_BYTES = 2_000_000_000, 966_000, 1_000_000_000

FILE = "FILE"
OURS = (sys.executable, "-m", "invoke", "analyze", "--summary", "--file", FILE)
COMPLETENESS = "tshark -2 -n -r FILE -T fields -e tcp.stream -e tcp.completeness -e dns.qry.name -e dns.flags.rcode"
DPKT = """
import sys, dpkt
with open(sys.argv[1], "rb") as file:
    for _, frame in dpkt.pcap.Reader(file):
        dpkt.ethernet.Ethernet(frame)
"""
# Linux counts a parent's memory towards the peak of a child until the child's exec: only a small parent may measure
PEAK = """
import os, sys
quiet = [(os.POSIX_SPAWN_OPEN, 1, os.devnull, os.O_WRONLY, 0)]
child = os.posix_spawn(sys.argv[1], sys.argv[1:], os.environ, file_actions=quiet)
print(os.wait4(child, 0)[2].ru_maxrss)
"""
MANY_CALLS = "import sys; from lab.bench.analysis import print_many_calls; print_many_calls(sys.argv[1])"
SMALL_CALLS = "import sys; from lab.bench.analysis import print_small_calls; print_small_calls(sys.argv[1])"

HEAD = (
    "| whole process | runs | min s | median s | max s | frames/s | median, ours = 1 |\n"
    "| --- | --- | --- | --- | --- | --- | --- |"
)
LINEAR_HEAD = "| ours, by length | runs | min s | median s | max s | frames/s |\n| --- | --- | --- | --- | --- | --- |"
FIGURES_HEAD = "| figure | wanted | measured | |\n| --- | --- | --- | --- |"


class Sample(NamedTuple):
    """A capture to measure with: its path, how many frames, how many bytes."""

    path: Path
    frames: int
    size: int


@dataclass(slots=True)
class Contender:
    """A command that reads `sample`, and the seconds its runs took; `once`: too slow to be run in every round."""

    name: str
    command: tuple[str, ...]
    sample: Sample
    once: bool = False
    statuses: tuple[int, ...] = (0,)
    seconds: list[float] = field(default_factory=list)
    failure: str = ""

    @property
    def median_s(self) -> float:
        return statistics.median(self.seconds)

    def row(self) -> str:
        """The first cells of a row: name, times, frames a second."""
        return f"| {self.name} | {times(self.seconds)} | {self.sample.frames / self.median_s:,.0f} |"


class Figure(NamedTuple):
    """One figure that was wanted, and whether it was reached."""

    name: str
    wanted: str
    measured: str
    reached: bool

    def row(self) -> str:
        return f"| {self.name} | {self.wanted} | {self.measured} | {'✓' if self.reached else '✗'} |"


def bench_analysis(frames: int, progress: Progress) -> tuple[str, bool]:
    """Measure `invoke analyze --summary` with a capture of about `frames` frames, a tenth of it, and a small one.

    Markdown tables that say which figures were reached, and whether every connection was classified: a slow machine is
    no failure. `InputError` if `frames` are too few, `StepError` if the command itself fails.
    """
    from analysis.errors import InputError

    if frames < FEWEST_FRAMES:
        raise InputError(f"{frames} frames are too few to time anything", f"ask for {FEWEST_FRAMES} at least")
    with tempfile.TemporaryDirectory() as folder:
        fetches = round(frames / FRAMES_A_FETCH)
        plans = [(fetches, 1), (round(fetches / 10), 1), (SMALL_FETCHES, SMALL_SEED)]
        big, tenth, small = _samples(Path(folder), plans, progress)
        classified = _is_all_classified(big)
        ours, shorter, peers = _ours(big), _ours(tenth), _peers(big)
        _run_all([ours, shorter, *peers], progress)
        progress("peak memory")
        extra = _peak_bytes(ours) - _peak_bytes(_ours(small)) - big.size
        progress("the small capture")
        firsts_ms, further_ms = _small_calls(small)
        progress(f"{MANY} small captures")
        many_s, many_frames = _many_calls(Path(folder) / "many")
    figures = _figures(ours, extra, statistics.median(firsts_ms), many_s)
    text = [f"A synthetic capture of {big.frames:,} frames ({big.size / 1e6:.0f} MB): lookups, fetches, closes.", ""]
    text += [*_peer_table(ours, peers), "", *_linear_table(ours, shorter), ""]
    text += [f"{small.frames} frames, in {CHILDREN} processes that have imported all: first report, median"]
    text += [f"{statistics.median(firsts_ms):.2f} ms ({min(firsts_ms):.2f} to {max(firsts_ms):.2f}), further ones"]
    text += [f"{further_ms:.2f} ms", ""]
    text += [
        f"{MANY} captures of {many_frames / MANY:.1f} frames each, in one process that has imported all: {many_s:.2f} s"
    ]
    text += [""]
    text += [FIGURES_HEAD, *(figure.row() for figure in figures)]
    return "\n".join(text), classified


def _samples(folder: Path, plans: list[tuple[int, int]], progress: Progress) -> list[Sample]:
    """A capture for each of `plans`: how many fetches, and the seed."""
    samples = []
    for number, (fetches, seed) in enumerate(plans):
        path = folder / f"{number}.pcap"
        count = write_fetches(path, fetches, seed)
        samples.append(Sample(path, count, path.stat().st_size))
        progress(f"written: a capture of {count:,} frames")
    return samples


def _ours(sample: Sample) -> Contender:
    """Our own command; a verdict other than pass is as good a result here."""
    return Contender("`invoke analyze --summary --file FILE`", OURS, sample, statuses=(0, 1, 3))


def _peers(sample: Sample) -> list[Contender]:
    """The other tools that are installed."""
    tools = [
        ("tcptrace -l -n FILE", False),
        ("tshark -q -n -z conv,tcp -r FILE", False),
        ("capinfos FILE", False),
        (COMPLETENESS, True),
    ]
    peers = [
        Contender(f"`{command}`", tuple(command.split()), sample, once)
        for command, once in tools
        if shutil.which(command.split()[0])
    ]
    if find_spec("dpkt"):
        peers.append(Contender("dpkt, decoding only", (sys.executable, "-c", DPKT, FILE), sample, once=True))
    return peers


def _on(command: tuple[str, ...], sample: Sample) -> list[str]:
    """The command with the capture's path."""
    return [str(sample.path) if word == FILE else word for word in command]


def _is_all_classified(sample: Sample) -> bool:
    """Whether the summary has a handshake and a close for every connection, and an outcome for every lookup."""
    done = subprocess.run([*_on(OURS, sample), "--json"], cwd=HERE, capture_output=True, check=False)
    try:
        summary = json.loads(done.stdout)
    except ValueError:
        said = done.stderr.decode(errors="replace").strip().rpartition("\n")[2]
        raise StepError("bench", f"`invoke analyze --summary` reported nothing: {said}", "run it by hand") from None
    lookups, connections = summary["lookups"], summary["connections"]
    counts = (connections["handshake"]["status"], connections["close"]["variant"])
    whole = all(sum(count.values()) == connections["count"] for count in counts)
    return whole and sum(lookups["status"].values()) == lookups["count"] and connections["count"] > sample.frames // 20


def _run_all(contenders: list[Contender], progress: Progress) -> None:
    """Each in turn, round after round, so that a slow minute of the machine hits all; then what is run only once."""
    for number in range(ROUNDS):
        for contender in contenders:
            if not contender.once and not contender.failure:
                _run(contender, counts=number > 0)
        progress(f"round {number + 1} of {ROUNDS}")
    for contender in contenders:
        if contender.once:
            progress(f"once: {contender.name}")
            _run(contender)


def _run(contender: Contender, *, counts: bool = True) -> None:
    """One whole process, timed; ours must not fail, another tool may."""
    command = _on(contender.command, contender.sample)
    start = time.monotonic()
    done = subprocess.run(command, cwd=HERE, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, check=False)
    seconds = time.monotonic() - start
    if done.returncode not in contender.statuses or b"Traceback" in done.stderr:
        said = done.stderr.decode(errors="replace").strip().rpartition("\n")[2]
        contender.failure = f"status {done.returncode}: {said}"
        if contender.command == OURS:
            raise StepError("bench", f"{contender.name} ended with {contender.failure}")
    elif counts:
        contender.seconds.append(seconds)


def _peak_bytes(contender: Contender) -> int:
    return peak_bytes(_on(contender.command, contender.sample))


def peak_bytes(command: Sequence[str]) -> int:
    """The peak resident memory of the largest process of one run, in bytes."""
    watcher = [sys.executable, "-I", "-S", "-c", PEAK, *command]
    done = subprocess.run(watcher, cwd=HERE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, check=True)
    return 1024 * int(done.stdout)


def _small_calls(sample: Sample) -> tuple[list[float], float]:
    """In some children: the ms of each one's first report on a small capture, and the median of all further ones."""
    command = [sys.executable, "-c", SMALL_CALLS, str(sample.path)]
    firsts, all_further = list[float](), list[float]()
    for _ in range(CHILDREN):
        done = subprocess.run(command, cwd=HERE, stdout=subprocess.PIPE, check=True)
        first, *further = json.loads(done.stdout)
        firsts.append(first)
        all_further += further
    return firsts, statistics.median(all_further)


def print_small_calls(path: str) -> None:
    """The ms of the first report on the capture at `path` and of further ones, as JSON; for a child of its own."""
    from analysis.files.capture import read_capture
    from analysis.report import make_report
    from analysis.views.style import Style
    from analysis.views.terminal import render

    taken_ms = []
    for _ in range(1 + FURTHER_CALLS):
        start = time.perf_counter()
        render(make_report(read_capture(Path(path))), Style(80))
        taken_ms.append(1000 * (time.perf_counter() - start))
    print(json.dumps(taken_ms))


def _many_calls(folder: Path) -> tuple[float, int]:
    """In a child: the seconds that it takes to report on `MANY` different captures, and their frames in all."""
    folder.mkdir()
    frames = sum(write_fetches(folder / f"{seed}.pcap", MANY_FETCHES, seed) for seed in range(MANY))
    command = [sys.executable, "-c", MANY_CALLS, str(folder)]
    done = subprocess.run(command, cwd=HERE, stdout=subprocess.PIPE, check=True)
    return float(json.loads(done.stdout)), frames


def print_many_calls(folder: str) -> None:
    """The seconds that one report after another on each capture in `folder` takes, as JSON; for a child of its own."""
    from analysis.files.capture import read_capture
    from analysis.report import make_report
    from analysis.views.style import Style
    from analysis.views.terminal import render

    start = time.perf_counter()
    for path in sorted(Path(folder).iterdir()):
        render(make_report(read_capture(path)), Style(80))
    print(json.dumps(time.perf_counter() - start))


def bench_large(progress: Progress) -> tuple[str, bool]:
    """Measure `invoke analyze --summary` with a capture of 2 GB: its time, and its memory beyond the mapped file.

    A Markdown table, and True: a figure that isn't reached is no failure. `StepError` if the command fails.
    """
    with tempfile.TemporaryDirectory() as folder:
        sample = _samples(Path(folder), [(LARGE_FETCHES, 1)], progress)[0]
        ours = _ours(sample)
        _run(ours)
        extra = _peak_bytes(ours) - sample.size
    wanted = Figure(
        f"peak memory beyond a file of {sample.size / 1e9:.2f} GB, GB",
        f"< {WANTED_LARGE_BYTES / 1e9:g}",
        f"{extra / 1e9:.2f}",
        sample.size >= LARGE_BYTES and extra < WANTED_LARGE_BYTES,
    )
    text = [f"{sample.frames:,} frames in {ours.median_s:.1f} s", "", FIGURES_HEAD, wanted.row()]
    return "\n".join(text), True


def _figures(ours: Contender, extra: int, first_ms: float, many_s: float) -> list[Figure]:
    """What was wanted and what was measured; `extra` is the memory in bytes beyond the file and a bare process."""
    rate, share = ours.sample.frames / ours.median_s, extra / ours.sample.frames
    return [
        Figure("frames/s", f"≥ {WANTED_FRAMES_A_SECOND:,}", f"{rate:,.0f}", rate >= WANTED_FRAMES_A_SECOND),
        Figure(
            "peak memory beyond the file and a small run, bytes a frame",
            f"≤ {WANTED_BYTES_A_FRAME}",
            f"{share:.0f}",
            share <= WANTED_BYTES_A_FRAME,
        ),
        Figure(
            "first report on a small capture, median ms",
            f"< {WANTED_FIRST_CALL_MS:g}",
            f"{first_ms:.2f}",
            first_ms < WANTED_FIRST_CALL_MS,
        ),
        Figure(
            f"{MANY} captures of 20 frames in one process, s",
            f"< {WANTED_MANY_S:g}",
            f"{many_s:.2f}",
            many_s < WANTED_MANY_S,
        ),
    ]


def _peer_table(ours: Contender, peers: list[Contender]) -> list[str]:
    """Ours and the others on the same capture, and what didn't work."""
    rows = [f"{one.row()} {one.median_s / ours.median_s:.2f} |" for one in (ours, *peers) if one.seconds]
    failed = [f"{one.name} failed: {one.failure}" for one in peers if one.failure]
    return [HEAD, *rows, *([""] if failed else []), *failed]


def _linear_table(ours: Contender, shorter: Contender) -> list[str]:
    """The two lengths, and what one more frame costs."""
    rows = [one.row().replace(one.name, f"{one.sample.frames:,} frames") for one in (shorter, ours)]
    marginal_us = 1e6 * (ours.median_s - shorter.median_s) / (ours.sample.frames - shorter.sample.frames)
    return [LINEAR_HEAD, *rows, "", f"each further frame: {marginal_us:.2f} µs"]
