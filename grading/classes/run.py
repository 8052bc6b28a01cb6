"""Mark a class: students in parallel over the cores, each within its time and memory, none in the way of another.

Processes and their time limits are pebble's: a worker that hangs or dies costs its own student's marks alone, and those
are inconclusive, for the grader is at fault.
"""

import gc
import multiprocessing
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, as_completed
from pathlib import Path
from typing import TYPE_CHECKING

from grading.classes.before import Before
from grading.classes.cross import cross_flags
from grading.classes.marker import Marker
from grading.files import unwritable
from grading.handed_in.find import Entry
from grading.marking.grade import Grade
from lab.interrupts import end_with, reset_in_child, uninterrupted

if TYPE_CHECKING:
    from pebble import ProcessPool

MEMORY = 2 << 30  # bytes that a worker may take beyond what it begins with
GRACE_S = 5.0  # for reading and writing, beside the exercise's own limit
AGAIN = "run invoke grade again: what was marked isn't marked again"
Heard = Callable[[int, int], None]  # students done, and of these those of before

_marker: list[Marker] = []  # a worker's own


def mark_class(marker: Marker, entries: Sequence[Entry], jobs: int, before: Before, heard: Heard) -> tuple[Grade, ...]:
    """The grades of all entries, in their order; `heard` is told as they come, `before` keeps them."""
    grades: dict[str, Grade] = {}
    again = 0
    for entry, made in _outcomes(marker, entries, jobs, before):
        again += made is None
        if made is None:
            grades[entry.student] = before.grade(entry.student)
        else:
            grades[entry.student] = before.keep(made) if isinstance(made, str) else made
        heard(len(grades), again)
    before.tidy(set(grades))
    return cross_flags([grades[entry.student] for entry in entries], marker)


def _outcomes(
    marker: Marker, entries: Sequence[Entry], jobs: int, before: Before
) -> Iterator[tuple[Entry, str | Grade | None]]:
    """What became of each entry, as they come: a new line, a grade that isn't kept, or None where it is as before."""
    with _pool(marker, min(jobs, len(entries))) as pool:
        try:
            limit = marker.exercise.hand_in.seconds + GRACE_S
            futures: dict[Future[str | None], Entry]
            futures = {
                pool.schedule(_mark, args=(entry, before.digest(entry.student, marker.exercise)), timeout=limit): entry
                for entry in entries
            }
            for future in as_completed(futures):
                entry = futures[future]
                yield entry, _outcome(future, entry, marker)
        except BaseException:
            with uninterrupted():
                pool.stop()  # type: ignore[no-untyped-call]
                pool.join()
            raise


def _pool(marker: Marker, jobs: int) -> "ProcessPool":
    from pebble import ProcessPool

    method = "fork" if sys.platform == "linux" else "spawn"  # elsewhere libraries don't survive a fork
    context = multiprocessing.get_context(method)
    return ProcessPool(max(1, jobs), initializer=_begin, initargs=(marker, os.getpid()), context=context)


def _begin(marker: Marker, parent: int) -> None:
    """In a new worker: signals as usual, an end with the parent's, a limit to its memory."""
    reset_in_child()
    if sys.platform == "linux":
        end_with(parent)
    _marker[:] = [marker]
    gc.freeze()  # what is loaded stays: looking through it again and again took a fifth of the time
    if sys.platform == "linux":
        import resource

        pages = int(Path("/proc/self/statm").read_text().split()[0])
        limit = pages * os.sysconf("SC_PAGE_SIZE") + MEMORY
        _, hard = resource.getrlimit(resource.RLIMIT_AS)
        if hard == resource.RLIM_INFINITY or limit < hard:
            resource.setrlimit(resource.RLIMIT_AS, (limit, hard))


def _mark(entry: Entry, before: str | None) -> str | None:
    return _marker[0].mark_entry(entry, before)


def _outcome(future: "Future[str | None]", entry: Entry, marker: Marker) -> str | Grade | None:
    """The line; where marking failed, a grade that says why, and that isn't kept: it is tried again next time."""
    from pebble import ProcessExpired

    seconds, is_limit = marker.exercise.hand_in.seconds, False
    try:
        return future.result()
    except TimeoutError:
        is_limit = True
        what, fix = f"it took more than {seconds:g} s", "look at the file; hand_in.seconds allows more time"
    except MemoryError:
        is_limit = True
        what, fix = "it took too much memory", "look at the file: no capture of one fetch is so large"
    except ProcessExpired as error:
        what, fix = f"the worker ended with status {error.exitcode}", AGAIN
    except OSError as error:
        raise unwritable(marker.out, error) from None
    except Exception as error:  # noqa: BLE001 - whatever is wrong with the grader, the class goes on
        what, fix = (
            f"the grader failed: {type(error).__name__}: {error}",
            "report this, with the file that was handed in",
        )
    return marker.give_up(entry, what, fix, is_limit=is_limit)
