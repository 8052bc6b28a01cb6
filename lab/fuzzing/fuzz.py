"""The fuzz job: damaged captures by the thousand, given to the whole analysis in worker processes.

Worker k of n examines every n-th capture and tells of each, in order. One that dies, as of a fault in C or of the
kernel's memory killer, was at the first that it didn't tell of: that is a failure too, and another worker goes on
behind it.
"""

import multiprocessing
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from importlib.util import find_spec
from multiprocessing.connection import Connection, wait
from multiprocessing.context import ForkProcess
from pathlib import Path
from random import Random
from typing import Any

from analysis.errors import InputError
from lab.errors import StepError
from lab.fuzzing.examine import Examine, Failure, Outcome, examine, longest_silence_s, watched
from lab.fuzzing.mutants import make_mutant, mutate
from lab.fuzzing.seeds import all_seeds, seed_of
from lab.interrupts import reset_in_child, uninterrupted

Progress = Callable[[str], None]
HERE = Path(__file__).parent.parent.parent
ENGINES = ("", "atheris")
KEEP = "fuzz-failures"
PROGRESS_S = 5.0
MOST_MEMORY = 4 << 30  # of a worker: beyond it Python raises MemoryError, and the machine stays usable
KEPT_OF_A_KIND = 3
GUIDED = "import sys; from lab.fuzzing.fuzz import run_guided; run_guided(sys.argv)"
GUIDED_MEMORY_MB = 2048
GUIDED_PATIENCE = 5  # instrumented code is slow


@dataclass(frozen=True, slots=True)
class Job:
    """Which captures: `count` from number `first` on, made of `seed` and the folder `corpus`; `keep`: of failures."""

    count: int
    first: int = 0
    seed: int = 1
    jobs: int = 1
    corpus: str = ""
    keep: Path = Path(KEEP)

    def again(self, number: int) -> str:
        """The command that makes capture `number` again and examines it."""
        corpus = f" --corpus {self.corpus}" if self.corpus else ""
        return f"invoke fuzz --seed {self.seed} --first {number} --count 1{corpus}"


@dataclass(slots=True)
class Tally:
    """What a job has found so far; `alike` counts failures by their signature, `failures` has the first of each."""

    captures: int = 0
    refused: int = 0
    seconds: float = 0
    worst_s: float = 0
    worst_number: int = 0
    worst_peak: int = 0
    alike: Counter[str] = field(default_factory=Counter)
    failures: list[Failure] = field(default_factory=list)

    def add(self, outcome: Outcome) -> bool:
        """Count an outcome; whether its failure is worth keeping."""
        self.captures += 1
        self.refused += outcome.refused
        self.worst_peak = max(self.worst_peak, outcome.peak or 0)
        if outcome.seconds > self.worst_s:
            self.worst_s, self.worst_number = outcome.seconds, outcome.number
        if outcome.failure is None:
            return False
        self.alike[outcome.failure.signature] += 1
        if self.alike[outcome.failure.signature] > KEPT_OF_A_KIND:
            return False
        self.failures.append(outcome.failure)
        return True

    @property
    def refused_share(self) -> float:
        return self.refused / max(1, self.captures)

    def table(self) -> str:
        """The figures as a Markdown table, then a line for each kind of failure."""
        kinds = Counter[str]()
        for signature, count in self.alike.items():
            kinds[signature.partition(":")[0]] += count
        failed = ", ".join(f"{count} {kind}" for kind, count in kinds.most_common()) or "none"
        rows = [
            ("captures", f"{self.captures:,}"),
            ("seconds", f"{self.seconds:.1f}"),
            ("captures/s", f"{self.captures / max(self.seconds, 1e-9):.0f}"),
            ("refused", f"{self.refused:,} ({self.refused_share:.0%})"),
            ("worst time", f"{1000 * self.worst_s:.0f} ms (number {self.worst_number})"),
            ("worst memory", f"{self.worst_peak / 1e6:.0f} MB"),
            ("failures", failed),
        ]
        lines = ["| figure | measured |", "| --- | --- |", *(f"| {name} | {value} |" for name, value in rows)]
        return "\n".join([*lines, *(f"{count} × {signature}" for signature, count in self.alike.most_common())])


def fuzz(job: Job, engine: str, progress: Progress) -> tuple[str, bool]:
    """Run the job; a table, and whether nothing failed. `InputError` if it can't be done as it is asked for."""
    if engine not in ENGINES:
        raise InputError(f"there is no engine called {engine!r}", "use --engine atheris, or leave it out")
    if job.count < 1 or job.first < 0 or job.jobs < 1:
        raise InputError("a job needs one capture and one worker at least", "see invoke --help fuzz")
    if job.corpus and not Path(job.corpus).is_dir():
        raise InputError(f"{job.corpus} is no folder", "name a folder of captures")
    if engine:
        return fuzz_guided(job, progress)
    tally = run_job(job, progress)
    if tally.failures:
        progress(f"kept in {job.keep}: captures, tracebacks and the commands that make them again")
    return tally.table(), not tally.failures


def run_job(job: Job, progress: Progress, check: Examine = examine) -> Tally:
    """Give every capture of the job to `check` in worker processes; failures are kept as files as they come."""
    all_seeds(job.corpus)  # made once, before the workers are forked
    tally, start = Tally(), time.monotonic()
    workers = [_start(job, range(job.first + one, job.first + job.count, job.jobs), check) for one in range(job.jobs)]
    try:
        said = start
        while workers:
            ready = wait([worker.reader for worker in workers], timeout=1)
            for worker in list(workers):
                if worker.reader in ready:
                    _hear(job, worker, workers, tally, check)
                elif time.monotonic() - worker.heard > longest_silence_s():
                    worker.give_up()
            if time.monotonic() - said > PROGRESS_S:
                said = time.monotonic()
                progress(_so_far(tally, job, said - start))
    finally:
        with uninterrupted():
            for worker in workers:
                worker.end()
    tally.seconds = time.monotonic() - start
    return tally


def _so_far(tally: Tally, job: Job, seconds: float) -> str:
    failed = f", {tally.alike.total()} failed" if tally.alike else ""
    return f"{tally.captures:,} of {job.count:,} captures, {tally.captures / seconds:.0f}/s{failed}"


# --- workers ---


@dataclass(slots=True)
class _Worker:
    """A process, the end of the pipe that it tells outcomes by, what it has to do, how much it told of, and when.

    `given_up_at`: how much it had told of when its silence was taken for a call that no signal can end.
    """

    process: ForkProcess
    reader: "Connection[Any, Any]"
    numbers: range
    heard: float
    told: int = 0
    given_up_at: int | None = None

    def give_up(self) -> None:
        """Kill it; its end is heard in the next round, after whatever it told of in the meantime."""
        self.given_up_at = self.told
        self.process.kill()

    def end(self) -> None:
        self.process.kill()
        self.process.join()
        self.reader.close()


def _start(job: Job, numbers: range, check: Examine) -> _Worker:
    context = multiprocessing.get_context("fork")  # `check` may be any function, and the seeds are there already
    reader, writer = context.Pipe(duplex=False)
    process = context.Process(target=_work, args=(job, numbers, check, writer), daemon=True)
    with uninterrupted():
        process.start()
    writer.close()
    return _Worker(process, reader, numbers, time.monotonic())


def _work(job: Job, numbers: range, check: Examine, writer: "Connection[Any, Any]") -> None:
    """In the worker: examine capture after capture. Nobody is told of an end that the parent brought about."""
    reset_in_child()
    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    limits = [limit for limit in (soft, hard, MOST_MEMORY) if limit != resource.RLIM_INFINITY]
    resource.setrlimit(resource.RLIMIT_AS, (min(limits), hard))
    try:
        for number in numbers:
            mutant = make_mutant(job.seed, number, job.corpus)
            writer.send(watched(check, mutant.data, number, mutant.seed_name))
    except BrokenPipeError:
        os._exit(1)


def _hear(job: Job, worker: _Worker, workers: list[_Worker], tally: Tally, check: Examine) -> None:
    """Take one outcome, or notice that the worker has ended: it was done, or died and must be replaced."""
    try:
        outcome: Outcome | None = worker.reader.recv()
        worker.told += 1
    except (EOFError, OSError):
        outcome = _bury(job, worker, workers, check)
    worker.heard = time.monotonic()
    if outcome and tally.add(outcome) and outcome.failure:
        keep(job, outcome.failure)


def _bury(job: Job, worker: _Worker, workers: list[_Worker], check: Examine) -> Outcome | None:
    """Replace a worker that ended before its work did; the outcome of the capture that it died of."""
    workers.remove(worker)
    worker.process.join()
    worker.reader.close()
    rest, outcome = worker.numbers[worker.told :], None
    if worker.given_up_at in (None, worker.told) and rest:  # else it spoke just as it was given up
        outcome = Outcome(rest[0], False, 0, None, _death(job, worker, rest[0]))
        rest = rest[1:]
    if rest:
        workers.append(_start(job, rest, check))
    return outcome


def _death(job: Job, worker: _Worker, number: int) -> Failure:
    code = worker.process.exitcode or 0
    how = f"signal {-code}" if code < 0 else f"status {code}"
    if worker.given_up_at is not None:
        how = f"nothing heard of it for {longest_silence_s():.0f} s"
    return Failure("killed", number, make_mutant(job.seed, number, job.corpus).seed_name, f"the worker ended: {how}")


def keep(job: Job, failure: Failure) -> None:
    """Write the capture, and beside it what happened and how to see it again."""
    job.keep.mkdir(parents=True, exist_ok=True)
    path = job.keep / f"{failure.number}-{failure.kind}.bin"
    path.write_bytes(make_mutant(job.seed, failure.number, job.corpus).data)
    text = f"{failure.kind}, from {failure.seed_name}\n{job.again(failure.number)}\n\n{failure.detail}\n"
    path.with_suffix(".txt").write_text(text)


# --- guided by coverage ---


def fuzz_guided(job: Job, progress: Progress) -> tuple[str, bool]:
    """Run atheris for `count` captures; it stops at the first failure, and keeps that."""
    if not find_spec("atheris"):
        raise InputError("atheris is not installed", "pip install atheris")
    job.keep.mkdir(parents=True, exist_ok=True)
    before = set(job.keep.iterdir())
    with tempfile.TemporaryDirectory() as folder:
        for number, seed in enumerate(all_seeds(job.corpus)):
            Path(folder, f"{number}.bin").write_bytes(seed.data)
        progress(f"atheris: {job.count:,} captures; it prints its own progress")
        options = [f"-runs={job.count}", f"-seed={job.seed}", f"-rss_limit_mb={GUIDED_MEMORY_MB}"]
        options += [f"-artifact_prefix={job.keep.resolve()}{os.sep}", "-max_len=20000", "-print_final_stats=1"]
        command = [sys.executable, "-c", GUIDED, *options, folder]
        start = time.monotonic()
        done = subprocess.run(command, cwd=HERE, stdout=sys.stderr, check=False)
    found = sorted(path.name for path in set(job.keep.iterdir()) - before)
    if not before and not found:
        job.keep.rmdir()
    if done.returncode and not found:
        raise StepError("fuzz", f"atheris ended with status {done.returncode}", "read what it printed above")
    seconds = time.monotonic() - start
    verdict = ", ".join(found) + f" in {job.keep}" if found else "none"
    return f"atheris: {job.count:,} captures asked for, {seconds:.0f} s, failures: {verdict}", not found


def import_analysis() -> list[str]:
    """Import every module of the analysis, whatever they are called; their names."""
    import importlib
    import pkgutil

    package = importlib.import_module("analysis")
    names = [module.name for module in pkgutil.walk_packages(package.__path__, "analysis.")]
    for name in names:
        importlib.import_module(name)
    return names


def run_guided(arguments: list[str]) -> None:
    """In a child: libFuzzer's own loop, with our mutations beside its own; it never returns."""
    import importlib

    atheris: Any = importlib.import_module("atheris")
    with atheris.instrument_imports(include=["analysis"]):
        import_analysis()
    seeds = all_seeds()

    def test_one_input(data: bytes) -> None:
        outcome = watched(examine, data, 0, "", GUIDED_PATIENCE)
        if outcome.failure:
            raise RuntimeError(outcome.failure.detail)

    def mutator(data: bytes, longest: int, seed: int) -> bytes:
        dice = Random(seed)  # noqa: S311 - damage that can be made again, no secret
        base = seed_of("", data) if data and data[:2] != b"\x1f\x8b" else None
        if base is None or dice.random() < 0.3:
            return bytes(atheris.Mutate(data, longest))
        return mutate(base, dice, seeds)[:longest]

    atheris.Setup(arguments, test_one_input, custom_mutator=mutator)
    atheris.Fuzz()
