"""Between the tasks and a person: where output goes, how an error is said, which exit status it has."""

import functools
import os
import sys
from collections.abc import Callable
from io import TextIOWrapper
from pathlib import Path
from typing import Any, TextIO, TypeVar

from invoke import Exit

from analysis.errors import LabError
from analysis.text import printable, without_commands
from analysis.views.style import Style, terminal_width
from lab.interrupts import end_in_good_order, ignore_from_here, raise_if_interrupted

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
    print(without_commands(text), file=sys.stderr, flush=True)


def explain_error(error: LabError) -> None:
    """What, where, the next step."""
    say(f"error: {printable(str(error))}")
    if error.next_step:
        say(f"  next: {printable(error.next_step)}")


def for_people(task: Task) -> Task:
    """Turn what a person, a file or a machine can cause into one message and the right exit status."""

    @functools.wraps(task)
    def wrapped(*args: Any, **kwargs: Any) -> Any:
        _prepare()
        try:
            result = task(*args, **kwargs)
            sys.stdout.flush()
            raise_if_interrupted()
        except LabError as error:
            explain_error(error)
            raise Exit(code=error.exit_status) from None
        except KeyboardInterrupt:
            say("interrupted: everything that was started has been ended")
            raise Exit(code=INTERRUPTED) from None
        except BrokenPipeError:
            _drop_output()  # the reader left: `| head`
            raise Exit(code=0) from None
        except OSError as error:
            _drop_output()
            explain_error(LabError(f"the output can't be written: {error.strerror}", "is the disk full?"))
            raise Exit(code=3) from None
        finally:
            ignore_from_here()
        return result

    return wrapped  # type: ignore[return-value]


def _prepare() -> None:
    """Streams that can take any text, and signals that end a run in good order."""
    sys.stdout = sys.stdout or _nowhere()  # None, where the caller has closed it
    sys.stderr = sys.stderr or _nowhere()
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="replace")
    end_in_good_order()


def _nowhere() -> TextIO:
    return Path(os.devnull).open("w")


def _drop_output() -> None:
    """What is still buffered goes nowhere, or Python complains of it when it ends."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
