"""How a test ends: a wrong capture fails it; where nothing can be judged it is an error, in whatever phase that shows.

A report counts as a failure, for the terminal and for JUnit's XML alike, if its phase is `call`, and as an error if
that is `setup`. So the phase is what is set right here.
"""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, cast

import pytest

if TYPE_CHECKING:

    class Failed(BaseException):
        """What `pytest.fail` raises, whose type pytest doesn't tell; told with a traceback only if `pytrace`."""

        def __init__(self, msg: str, pytrace: bool = ...) -> None: ...

        pytrace: bool

else:
    Failed = pytest.fail.Exception


class WrongCapture(Failed):
    """The capture can't be read, or lacks what the test is about: a failure. Told without a traceback."""

    __module__ = "builtins"  # as pytest's own outcomes, which are told by their bare name


class NotJudged(Failed):
    """The lab or its use is at fault, not the capture: an error. Told without a traceback."""

    __module__ = "builtins"


class UnknownFactError(AttributeError, KeyError):
    """A name that no report has: a mistake in the test, so an error as well, but with the line that it is in."""

    __module__ = "builtins"

    def __str__(self) -> str:
        return str(self.args[0])  # KeyError would show its repr


def wrong(what: str, next_step: str) -> WrongCapture:
    """The failure of a wrong capture, with the next step on a line of its own."""
    return WrongCapture(_message(what, next_step), pytrace=False)


def not_judged(what: str, next_step: str) -> NotJudged:
    """The error where nothing can be judged, with the next step on a line of its own."""
    return NotJudged(_message(what, next_step), pytrace=False)


def _message(what: str, next_step: str) -> str:
    from analysis.text import printable

    return "\n".join(printable(line) for line in (what, next_step and f"next: {next_step}") if line)


@contextmanager
def told() -> Iterator[None]:
    """Turn the lab's errors into these outcomes; other exceptions go through."""
    try:
        yield
    except Exception as error:
        outcome = _outcome_of(error)
        if outcome is None:
            raise
        raise outcome from None


def _outcome_of(error: Exception) -> Failed | None:
    if "analysis.errors" not in sys.modules:
        return None  # then it is none of the lab's, and most runs of pytest need not load these
    from analysis.errors import InputError, LabError

    if not isinstance(error, LabError):
        return None
    # what derives from InputError is about scenarios and exercises, which are the teacher's
    say = wrong if type(error) is InputError else not_judged
    return say(str(error), error.next_step)


def set_phase(report: pytest.TestReport, error: BaseException | None) -> None:
    """Give `report` the phase in which `error` counts as what it is."""
    if isinstance(error, NotJudged):
        report.outcome = "failed"  # even where the test was expected to fail
        if hasattr(report, "wasxfail"):
            del report.wasxfail
        report.when = "setup" if report.when == "call" else report.when
    elif isinstance(error, UnknownFactError) and report.failed and report.when == "call":
        report.when = "setup"
    elif isinstance(error, WrongCapture) and report.failed and report.when == "setup":
        report.when = "call"


# --- what is shown ---


def clean(text: str) -> str:
    """`text` as lines that can steer no terminal and give a CI system no orders."""
    from analysis.text import printable, without_commands

    return without_commands("\n".join(printable(line) for line in text.expandtabs().split("\n")))


def clean_report(report: pytest.TestReport) -> None:
    """Make all harmless that `report` will show: a test may have put what a capture holds into its own messages."""
    report.sections = [(title, clean(content)) for title, content in report.sections]
    if isinstance(report.longrepr, str):
        report.longrepr = clean(report.longrepr)
        return
    # pytest's classes for this are private, and of the one with chained exceptions each link has the same two parts
    shown: Any = report.longrepr
    chain = getattr(shown, "chain", None) or [
        (getattr(shown, "reprtraceback", None), getattr(shown, "reprcrash", None))
    ]
    for traceback, crash, *_ in chain:
        for entry in getattr(traceback, "reprentries", ()):
            entry.lines[:] = [clean(line) for line in cast("list[str]", entry.lines)]
        if crash is not None:
            crash.message = clean(crash.message)
