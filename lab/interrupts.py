"""The signals by which a person or a system ends a run, and the moments that they must not split."""

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager

ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class _State:
    """Python drops an exception that a signal handler raises in some of its own callbacks: so it is noted, too."""

    interrupted = False


def end_in_good_order() -> None:
    """From now on the ending signals raise KeyboardInterrupt, once: a second one can't disturb the clearing up."""
    for number in ENDING:
        signal.signal(number, _interrupt)


def _interrupt(_number: int, _frame: object) -> None:
    _State.interrupted = True
    ignore_from_here()
    raise KeyboardInterrupt


def ignore_from_here() -> None:
    """The work is done, or being cleared up: Python ends better undisturbed."""
    for number in ENDING:
        signal.signal(number, signal.SIG_IGN)


def raise_if_interrupted() -> None:
    """Raise what Python may have dropped."""
    if _State.interrupted:
        raise KeyboardInterrupt


@contextmanager
def uninterrupted() -> Iterator[None]:
    """Hold back the ending signals: what is made in the block is also assigned, what is removed is removed whole."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, ENDING)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def reset_in_child() -> None:
    """In a process just forked inside `uninterrupted`: the signals end it again, without a word."""
    for number in ENDING:
        signal.signal(number, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, ENDING)


def end_with(parent: int) -> None:
    """In a process just forked, on Linux: the kernel ends it as soon as `parent` is dead, however that died."""
    from lab.netns import kernel

    kernel.prctl(kernel.PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:  # it was killed before that took effect
        os._exit(1)
