"""Whether every process of the lab is blocked, read from /proc.

The reader is init of the lab's own PID namespace, so every other process there is the lab's.
"""

import os
from collections.abc import Callable

BLOCKED = frozenset("SZTtIXx")  # asleep, stopped or gone; R runs, D and W are about to
INIT = "1"


def all_blocked(meanwhile: Callable[[], None] = lambda: None) -> bool:
    """Whether there was a moment at which every thread of the lab was blocked; `meanwhile` is called in that moment.

    One look at each in turn doesn't tell: a thread may wake one already looked at and then block. So
    look twice: whoever is blocked both times, and did not block anew in between, was blocked all
    the while; and all those whiles overlap between the two looks.
    """
    first = _look()
    if first is None:
        return False
    meanwhile()
    return first == _look()


def _look() -> list[tuple[str, str]] | None:
    """Each thread and how often it has blocked; None if one isn't blocked."""
    threads: list[tuple[str, str]] = []
    for process in os.listdir("/proc"):  # noqa: PTH208 - runs for every frame; a Path costs ten times more
        if not process[0].isdigit() or process == INIT:
            continue
        try:
            for thread in os.listdir(f"/proc/{process}/task"):  # noqa: PTH208
                status = _read(f"/proc/{process}/task/{thread}/status")
                state = status.index("\nState:\t") + 8
                if status[state] not in BLOCKED:
                    return None
                threads.append((thread, status[status.rindex("\nvoluntary_ctxt_switches:") :]))
        except (FileNotFoundError, ProcessLookupError):
            return None  # it just ended: look again
    return threads


def _read(path: str) -> str:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        return os.read(descriptor, 8192).decode("ascii", "replace")
    finally:
        os.close(descriptor)
