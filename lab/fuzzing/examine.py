"""One capture given to the whole analysis: everything a user can get of it, and what must be true of that."""

import json
import re
import signal
import time
import traceback
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any, Literal

from analysis.errors import LabError

if TYPE_CHECKING:
    from analysis.files.capture import Capture
    from analysis.report import Report

Kind = Literal["crash", "unsound", "hang", "memory", "killed"]
Examine = Callable[[bytes, str], None]

DOCS = Path(__file__).parent.parent.parent / "docs"
WIDTH = 80
SHORT = 200  # frames: what takes long is done with shorter captures alone, so that the limit is the analysis's own
VALIDATED = 20  # one in so many: the schema's validator takes longer than all the rest
STATUSES = {"pass", "fail", "skip", "inconclusive"}
COMMAND = re.compile(r"^\s*::[A-Za-z]|##\w*\[", re.MULTILINE)  # GitHub's runner would obey such a line

LONGEST_S = 2.0  # of the processor's time: a busy machine is no fault of the analysis
STALLED = 5  # so many times as long by the clock is too long even without using the processor
MEMORY_TIMES, MEMORY_MORE = 8, 100_000_000  # peak memory: so many times the file's bytes, and so many more
STATUS, CLEAR_REFS = Path("/proc/self/status"), Path("/proc/self/clear_refs")


class Unsound(Exception):  # noqa: N818 - it is the analysis that is unsound
    """The analysis came to an end, but what it said breaks a promise; the last line is the same for every such case."""


class _TooLong(BaseException):
    """Out of time; no `except Exception` on the way may keep it."""


@dataclass(frozen=True, slots=True)
class Failure:
    """What went wrong with capture `number`; `detail` is a traceback or a sentence."""

    kind: Kind
    number: int
    seed_name: str
    detail: str

    @property
    def signature(self) -> str:
        """One line that failures with the same cause share: where the traceback ends, and with what."""
        lines = self.detail.strip().splitlines() or [""]
        place = next((line.strip() for line in reversed(lines) if line.startswith('  File "')), "")
        at = re.sub(r'File ".*?([^/]+/[^/]+)", line (\d+), in ', r"\1:\2 ", place)
        return ": ".join(part for part in (self.kind, at, lines[-1] if place else lines[0]) if part)[:160]


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one capture.

    `seconds`: of processor time; `peak`: bytes of memory beyond what was in use before, None if not known.
    """

    number: int
    refused: bool
    seconds: float
    peak: int | None
    failure: Failure | None


def examine(data: bytes, name: str) -> None:
    """Read, report on and summarise the capture `data` in every form.

    `LabError` if it is refused, which is right of it; `Unsound` if a promise is broken; anything else is a crash.
    """
    from analysis.files.capture import parse_capture
    from analysis.report import make_report

    capture = parse_capture(data, name)
    report = make_report(capture)
    is_short = len(capture.frames) <= SHORT
    check_report(report, validated=is_short and zlib.crc32(data) % VALIDATED == 0)
    if report.stories and is_short:
        host = report.stories[len(report.stories) // 2].name
        check_report(make_report(capture, host), validated=False)
    _check_summary(capture)


def check_report(report: "Report", *, validated: bool) -> None:
    """Print the report in every way; `Unsound` if it isn't what it must be. `validated`: by the schema, too."""
    from analysis.rules.judge import verdict_of
    from analysis.sequence import parse_sequence
    from analysis.views.json import to_json
    from analysis.views.style import Style
    from analysis.views.terminal import render

    _check_text(render(report, Style(WIDTH), with_explanations=True))
    _check_text(render(report, Style(None)))
    text = str(report.exact)
    _demand(parse_sequence(text) == report.exact, "the exact sequence isn't what its own text says")
    # the text of a shape without segments doesn't tell its form
    _demand(parse_sequence(str(report.shape)).lines == report.shape.lines, "the shape isn't what its own text says")
    _demand(report.verdict == verdict_of(report.findings), f"verdict {report.verdict!r} isn't that of the findings")
    odd = {finding.status for finding in report.findings} - STATUSES
    _demand(not odd, f"findings have the status {odd}")
    count = len(report.capture.frames)
    beyond = [number for finding in report.findings for number in finding.frames if not 1 <= number <= count]
    _demand(not beyond, f"findings name frames {beyond[:5]} of {count}")
    values = json.loads(json.dumps(to_json(report), allow_nan=False))
    if validated:
        _check_schema("report", values)


def _check_summary(capture: "Capture") -> None:
    from analysis.summary import summarise
    from analysis.views.style import Style
    from analysis.views.summary import render_summary, summary_to_json

    summary = summarise(capture)
    _check_text(render_summary(summary, Style(WIDTH)))
    json.dumps(summary_to_json(summary), allow_nan=False)


def _check_text(text: str) -> None:
    odd = [] if text.replace("\n", "").isprintable() else [line for line in text.split("\n") if not line.isprintable()]
    _demand(not odd, f"{odd[:3]!a}\nthe text isn't printable")
    found = COMMAND.search(text)
    _demand(found is None, f"{found and text[found.start() :][:60]!a}\na line begins as a command")


def _check_schema(name: str, values: Any) -> None:
    validator = _validator(name)
    error = next(validator.iter_errors(values), None) if validator else None
    _demand(error is None, f"{error and (error.json_path, error.message[:200])}\nthe JSON {name} breaks its schema")


@cache
def _validator(name: str) -> Any:
    """The validator of a published schema, or None where there is no jsonschema (the test extra) or no schema."""
    path = DOCS / f"{name}.schema.json"
    if not find_spec("jsonschema") or not path.exists():
        return None
    import jsonschema

    return jsonschema.Draft202012Validator(json.loads(path.read_text()))


def _demand(is_so: bool, otherwise: str) -> None:
    if not is_so:
        raise Unsound(otherwise)


# --- within bounds of time and memory ---


def watched(check: Examine, data: bytes, number: int, seed_name: str, patience: float = 1) -> Outcome:
    """What became of one capture: crashes are caught, time and memory are measured.

    What took too long gets a second chance: a machine may stall. `patience` is how many times as long as usual it may
    take. Main thread only.
    """
    longest_s = patience * LONGEST_S
    outcome = _watched_once(check, data, number, seed_name, longest_s)
    if outcome.failure and outcome.failure.kind == "hang":
        outcome = _watched_once(check, data, number, seed_name, longest_s)
    return outcome


def longest_silence_s() -> float:
    """The seconds after which `watched` can't be still at one capture: two attempts, and half as long again."""
    return 1.5 * 2 * STALLED * LONGEST_S


def _watched_once(check: Examine, data: bytes, number: int, seed_name: str, longest_s: float) -> Outcome:
    before = _reset_peak()
    refused, failure, start, start_cpu = False, None, time.perf_counter(), time.process_time()
    try:
        with _time_limit(longest_s):
            check(data, "mutant.pcap")
    except LabError:
        refused = True
    except _TooLong:
        failure = Failure("hang", number, seed_name, traceback.format_exc())
    except Unsound:
        failure = Failure("unsound", number, seed_name, traceback.format_exc())
    except Exception:  # noqa: BLE001 - whatever it is, it is what is looked for
        failure = Failure("crash", number, seed_name, traceback.format_exc())
    seconds, by_clock = time.process_time() - start_cpu, time.perf_counter() - start
    peak = None if before is None else max(0, _memory()["VmHWM"] - before)
    if failure is None and (seconds > longest_s or by_clock > STALLED * longest_s):  # C hears no signal
        failure = Failure(
            "hang", number, seed_name, f"{seconds:.1f} s of processor time, {by_clock:.1f} s by the clock"
        )
    if failure is None and peak is not None and peak > MEMORY_TIMES * len(data) + MEMORY_MORE:
        failure = Failure("memory", number, seed_name, f"{peak:,} bytes of memory for a file of {len(data):,}")
    return Outcome(number, refused, seconds, peak, failure)


@contextmanager
def _time_limit(seconds: float) -> Iterator[None]:
    timers = ((signal.ITIMER_PROF, signal.SIGPROF, seconds), (signal.ITIMER_REAL, signal.SIGALRM, STALLED * seconds))
    before = [signal.signal(number, _out_of_time) for _, number, _ in timers]
    for timer, _, limit in timers:
        signal.setitimer(timer, limit)
    try:
        yield
    finally:
        for (timer, number, _), handler in zip(timers, before, strict=True):
            signal.setitimer(timer, 0)
            signal.signal(number, handler)


def _out_of_time(_number: int, _frame: FrameType | None) -> None:
    raise _TooLong


def _reset_peak() -> int | None:
    """Forget the peak of this process's memory; what is in use now, in bytes. None where the kernel can't tell."""
    try:
        CLEAR_REFS.write_text("5")
        return _memory()["VmRSS"]
    except (OSError, KeyError):
        return None


def _memory() -> dict[str, int]:
    """The kernel's figures of this process's memory, in bytes."""
    lines = (line.split() for line in STATUS.read_text().splitlines())
    return {words[0].rstrip(":"): 1024 * int(words[1]) for words in lines if words[-1] == "kB"}
