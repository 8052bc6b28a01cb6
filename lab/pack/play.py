"""The whole scenario pack at once: one process a run, the longest first, and what became of each."""

import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from multiprocessing.connection import wait
from pathlib import Path
from typing import IO, Any

from analysis.errors import InputError
from analysis.text import printable
from lab.interrupts import reset_in_child, uninterrupted
from lab.record import unwritable
from lab.scenario.load import load_scenario, pack
from lab.scenario.model import Scenario

HERE = Path(__file__).parent.parent.parent
USUAL_S = 0.3  # of a scenario that doesn't say how long it takes
ENDING_S = 30.0  # how long a run that was told to end may take to clear up


@dataclass(frozen=True, slots=True)
class Played:
    """What became of one run of a scenario, measured from outside: `seconds` are the whole process's.

    `verdict` is `inconclusive` where there is no report. `handshakes` and `closes`: a word for each connection of the
    story; `exit_statuses`: curl's, as `ClientResult` has them. `exact` is a fingerprint. `said`: what a run without a
    report said instead.
    """

    scenario: str
    verdict: str
    seconds: float
    handshakes: tuple[str, ...] = ()
    closes: tuple[str, ...] = ()
    exit_statuses: tuple[int | None, ...] = ()
    exact: str | None = None
    folder: Path | None = None
    said: str = ""

    def sequence(self, form: str = "exact") -> str:
        """The text of the run's sequence in one of its two forms, as its report has it."""
        if self.folder is None:
            return ""
        story = _story(json.loads((self.folder / "report.json").read_text()))
        return str(story["sequence"][form]) if story else ""


def load_pack() -> tuple[Scenario, ...]:
    """Every scenario of the pack, by name."""
    return tuple(load_scenario(path) for path in pack())


def verdict_of_all(played: Sequence[Played]) -> str:
    """Any fail: fail. Else any inconclusive, or no run at all: inconclusive. Else pass."""
    verdicts = {one.verdict for one in played}
    return next(
        (verdict for verdict in ("fail", "inconclusive") if verdict in verdicts), "pass" if verdicts else "inconclusive"
    )


def at_once() -> int:
    """How many runs at a time: one more than cores, since some of them always wait for a timer.

    Measured with 33 scenarios on two cores: two at a time 12.0 s, three 10.3, four 10.1, six 9.6. The more run, the
    longer each waits for a core, and the nearer timers of a scenario come to each other.
    """
    return (os.cpu_count() or 1) + 1


def play_pack(
    plans: Sequence[Scenario], backend: str, runs: Path, heard: Callable[[Played], None], *words: str
) -> tuple[Played, ...]:
    """Run each of `plans`, the longest first; `heard` is told of each that ends. In the order of `plans`.

    `words` are further ones of the command line. However this ends, every run has ended and cleared up before it does.
    """
    _require_writable(runs)
    waiting = sorted(plans, key=lambda plan: -(plan.takes_s or USUAL_S))
    running: list[_Run] = []
    played: dict[str, Played] = {}
    try:
        while waiting or running:
            while waiting and len(running) < at_once():
                with uninterrupted():
                    running.append(_Run(waiting.pop(0), backend, runs, words))
            ready = wait([run.words_from.fileno() for run in running])
            for run in [run for run in running if run.words_from.fileno() in ready]:
                if run.has_ended():
                    running.remove(run)
                    played[run.plan.path] = run.outcome()
                    heard(played[run.plan.path])
    finally:
        _end(running)
    return tuple(played[plan.path] for plan in plans)


def _require_writable(runs: Path) -> None:
    """Complain once, and not in every run."""
    try:
        runs.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise unwritable(runs, error) from None
    if not os.access(runs, os.W_OK | os.X_OK):
        raise InputError(f"{runs}: can't be written", "name another folder: --runs FOLDER")


@dataclass(slots=True)
class _Run:
    """A run that has been started: its report goes to a file, its words to a pipe, whose end is its own."""

    plan: Scenario
    backend: str
    runs: Path
    words: tuple[str, ...]
    report: IO[bytes] = field(default_factory=tempfile.TemporaryFile)
    said: bytearray = field(default_factory=bytearray)
    process: subprocess.Popen[bytes] = field(init=False)
    started: float = field(init=False)

    def __post_init__(self) -> None:
        command = [sys.executable, "-m", "invoke", "lab", "--scenario", str(Path(self.plan.path).resolve())]
        command += ["--backend", self.backend, "--runs", str(self.runs.resolve()), "--json", *self.words]
        self.started = time.monotonic()
        self.process = subprocess.Popen(
            command,
            cwd=HERE,
            stdin=subprocess.DEVNULL,
            stdout=self.report,
            stderr=subprocess.PIPE,
            preexec_fn=reset_in_child,  # noqa: PLW1509 - there are no threads here; it is started with signals held back
        )

    @property
    def words_from(self) -> IO[bytes]:
        assert self.process.stderr is not None  # noqa: S101 - it is a pipe
        return self.process.stderr

    def has_ended(self) -> bool:
        """Read what there is to read; whether that was the end."""
        more = os.read(self.words_from.fileno(), 1 << 16)
        self.said += more
        return not more

    def outcome(self) -> Played:
        """What became of a run that has ended."""
        self.process.wait()
        seconds = time.monotonic() - self.started
        self.words_from.close()
        self.report.seek(0)
        text = self.report.read().decode()
        self.report.close()
        try:
            report = json.loads(text)
        except ValueError:
            said = "; ".join(line.strip() for line in self.said.decode(errors="replace").splitlines() if line.strip())
            said = printable(said) or f"it ended with status {self.process.returncode}"
            return Played(self.plan.name, "inconclusive", seconds, said=said)
        return _played(self.plan.name, seconds, report, _folder_of(self.runs, self.plan.name, text))

    def end(self) -> None:
        """Wait for a run that has been told to end."""
        try:
            self.process.communicate(timeout=ENDING_S)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.communicate()
        self.report.close()


def _end(running: list[_Run]) -> None:
    """End what still runs as Ctrl-C ends it (which a terminal tells every process), and wait until all are gone."""
    with uninterrupted():
        for run in running:
            with suppress(ProcessLookupError):
                run.process.send_signal(signal.SIGINT)
        for run in running:
            run.end()


def _played(name: str, seconds: float, report: Mapping[str, Any], folder: Path | None) -> Played:
    story = _story(report)
    connections = [report["connections"][index] for index in story["connections"]] if story else []
    run = json.loads((folder / "run.json").read_text()) if folder else {"client": {"commands": []}}
    return Played(
        name,
        report["verdict"],
        seconds,
        tuple(connection["handshake"]["status"] for connection in connections),
        tuple(connection["close"]["variant"] for connection in connections),
        tuple(command["exit_status"] for command in run["client"]["commands"]),
        report["fingerprint"]["exact"],
        folder,
    )


def _story(report: Mapping[str, Any]) -> Mapping[str, Any] | None:
    index = report["chosen_story"]["index"]
    story: Mapping[str, Any] | None = None if index is None else report["stories"][index]
    return story


def _folder_of(runs: Path, name: str, report: str) -> Path | None:
    """The folder that keeps the run with this report: the newest, should there be several."""
    of_name = re.compile(rf"\d{{8}}-\d{{6}}-{re.escape(name)}-[0-9a-f]{{4}}")
    for path in sorted((path for path in runs.iterdir() if of_name.fullmatch(path.name)), reverse=True):
        with suppress(OSError):
            if (path / "report.json").read_text(encoding="utf-8") == report:
                return path
    return None
