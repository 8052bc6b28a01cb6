"""Where a test's facts come from: a file, its analysis, and what the analysis can say of a frame."""

import functools
import re
from collections.abc import Callable
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar

from analysis.errors import InputError, LabError
from analysis.files.capture import Capture, read_capture
from analysis.report import Report, make_report
from grading.facts.facts import SHORTCUTS, Facts
from grading.facts.path import parse_path
from grading.pytest_plugin.choice import Choice
from grading.pytest_plugin.outcomes import WrongCapture, not_judged, wrong

MOST_KEPT = 4  # captures: the tests of one file are mostly about one
Found = TypeVar("Found")
WHOLE = "capture from before the fetch until after its close"


class Source:
    """A report with the name of its file, and what messages take from it; each made when it is first asked for."""

    def __init__(self, shown: str, report: Report) -> None:
        self.shown = shown
        self._report = report

    @cached_property
    def _facts(self) -> Facts:
        return Facts(self._report)

    @cached_property
    def parts(self) -> dict[str, Any]:
        """The parts of report.json and the shortcuts, by name; a shortcut to what the capture lacks is None."""
        return {**self._facts.values, **{name: self._facts.at(parse_path(name)) for name in SHORTCUTS}}

    @cached_property
    def lines(self) -> dict[int, str]:
        """The frames of the chosen story, a line each as tshark has it, with single spaces; without timestamps."""
        entries = self._facts.values["frames"]
        return {one["frame"]: re.sub(r" TSval=\d+ TSecr=\d+", "", " ".join(one["line"].split())) for one in entries}

    @cached_property
    def sentences(self) -> dict[int, str]:
        """Why each frame is as it is."""
        from analysis.explain.frames import explain

        return explain(self._report)

    def frames_at(self, path: str) -> tuple[int, ...]:
        """The frames that the fact at `path` is about, where the report says."""
        try:
            return self._facts.frames_at(parse_path(path))
        except InputError:  # of a name that only the capture has
            return ()

    def lacks(self, name: str) -> WrongCapture:
        """The failure where the capture has nothing that the shortcut `name` could lead to."""
        story = self._facts.values["chosen_story"]
        if story["index"] is not None:
            return wrong(f"{self.shown}: there is no {name} in this fetch", WHOLE)
        return wrong(f"{self.shown}: there is no {name}: {story['why']}", f"name another host, or {WHOLE}")


def read(choice: Choice) -> Capture:
    """The chosen capture; `WrongCapture` if it can't be read."""
    return _judged(choice, lambda: _read(choice.path, _stamp(choice.path)))


def analyse(choice: Choice) -> Source:
    """The report on the chosen capture; `WrongCapture` if it can't be read."""
    return _judged(choice, lambda: _analyse(choice, _stamp(choice.path)))


def _judged(choice: Choice, work: Callable[[], Found]) -> Found:
    try:
        return work()
    except LabError as error:
        raise wrong(str(error).replace(str(choice.path), choice.shown), error.next_step) from None
    except Exception as error:
        # ours, so nobody's failure; with the traceback, which is what one must know to mend it
        broken = not_judged(f"{choice.shown}: the analysis broke down: {type(error).__name__}", "report it, please")
        broken.pytrace = True
        raise broken from error


def _stamp(path: Path) -> tuple[int, int]:
    """What tells a file from the one that was there before."""
    try:
        status = path.stat()
    except (OSError, ValueError):
        return 0, 0
    return status.st_mtime_ns, status.st_size


@functools.lru_cache(MOST_KEPT)
def _read(path: Path, _stamp: tuple[int, int]) -> Capture:
    return read_capture(path)


@functools.lru_cache(MOST_KEPT)
def _analyse(choice: Choice, stamp: tuple[int, int]) -> Source:
    return Source(choice.shown, make_report(_read(choice.path, stamp), choice.host))
