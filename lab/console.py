"""Between the tasks and a person: where output goes, how an error is said, which exit status it has."""

import functools
import os
import signal
import sys
from collections.abc import Callable
from typing import Any, TypeVar

from invoke import Exit

from analysis.errors import LabError
from analysis.text import printable
from analysis.views.terminal import Style, terminal_width

STATUS_OF_VERDICT = {"pass": 0, "fail": 1, "inconclusive": 3}
INTERRUPTED = 3
Task = TypeVar("Task", bound=Callable[..., Any])


def style() -> Style:
    """Colour and width for standard output: as the terminal has them; plain lines of any length otherwise."""
    is_terminal = sys.stdout.isatty()
    colour = is_terminal and "NO_COLOR" not in os.environ and os.environ.get("TERM") != "dumb"
    return Style(terminal_width() if is_terminal or "COLUMNS" in os.environ else None, colour)


def say(text: str) -> None:
    """Tell the person something that isn't the result: to standard error."""
    print(text, file=sys.stderr, flush=True)


def explain_error(error: LabError) -> None:
    """What, where, the next step."""
    say(f"error: {printable(str(error))}")
    if error.next_step:
        say(f"  next: {printable(error.next_step)}")


def for_people(task: Task) -> Task:
    """Turn what a person, a file or a machine can cause into one message and the right exit status."""

    @functools.wraps(task)
    def wrapped(*args: Any, **kwargs: Any) -> Any:
        sys.stdout.reconfigure(errors="replace")  # type: ignore[union-attr]
        sys.stderr.reconfigure(errors="replace")  # type: ignore[union-attr]
        for number in (signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, _interrupt)
        try:
            result = task(*args, **kwargs)
            sys.stdout.flush()
        except LabError as error:
            explain_error(error)
            raise Exit(code=error.exit_status) from None
        except KeyboardInterrupt:
            say("interrupted: everything that was started has been ended, and nothing was kept")
            raise Exit(code=INTERRUPTED) from None
        except BrokenPipeError:
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # the reader left: `| head`
            raise Exit(code=0) from None
        return result

    return wrapped  # type: ignore[return-value]


def _interrupt(_number: int, _frame: object) -> None:
    raise KeyboardInterrupt
