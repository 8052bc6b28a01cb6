"""The processes of a netns lab: nothing survives them, and they don't survive their parent.

The caller forks a *supervisor*, which enters new user, PID and network namespaces and forks *init*, the first
process of that PID namespace. Init makes the hosts, carries the wire and starts everything else. Both have
PR_SET_PDEATHSIG, and with init the kernel kills the whole namespace: `kill -9` anywhere leaves nothing.
Caller and init speak over a socket pair: a line with the name of a step there, a line with one JSON object back.
"""

import json
import os
import signal
import socket
import sys
import traceback
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, NoReturn

from analysis.errors import LabError
from lab.errors import StepError
from lab.interrupts import reset_in_child, uninterrupted
from lab.netns import kernel
from lab.netns.isolation import enter_namespaces, namespace_error

READ_SIZE = 1 << 18
SEE_LOG = "see lab.log in the run's folder"
Handler = Callable[[str], Any]


class Supervisor:
    """The caller's end: a child that holds a lab, and the socket to its init."""

    def __init__(self, make_handler: Callable[[], Handler], log: Path) -> None:
        """Fork; in init `make_handler` is called once, and what it returns for every step."""
        self._socket, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
        caller = os.getpid()
        sys.stdout.flush()
        sys.stderr.flush()
        with uninterrupted():  # or an interrupt could meet the child before it is one
            self._pid = os.fork()
            if self._pid == 0:
                self._socket.close()
                run_forked(lambda: _supervise(make_handler, log, caller, theirs))
        theirs.close()

    def ask(self, step: str, timeout_s: float) -> Any:
        """Have init do `step`; its answer, or `StepError` with what went wrong."""
        self._socket.settimeout(timeout_s)
        with suppress(BrokenPipeError):  # init is gone, as reading will tell
            _send_line(self._socket, step)
        try:
            answer = _receive_line(self._socket)
        except TimeoutError:
            raise StepError(step, f"no answer from the lab within {timeout_s:.0f} s", SEE_LOG) from None
        except ConnectionError:
            answer = ""
        if not answer:
            raise StepError(step, "the lab's init process died", SEE_LOG)
        reply = json.loads(answer)
        if "error" in reply:
            raise StepError(step, reply["error"], reply["next_step"])
        return reply["answer"]

    def kill(self) -> None:
        """End every process of the lab, without waiting: the kernel takes the namespaces down meanwhile."""
        if self._pid:
            os.kill(self._pid, signal.SIGKILL)

    def reap(self, *, with_init: bool = True) -> None:
        """Wait for the killed supervisor, and `with_init` until no process of the lab is left.

        Without it the kernel frees the hosts' devices at leisure (80 ms), which nobody need wait for.
        """
        if not self._pid:
            return
        os.waitpid(self._pid, 0)
        self._pid = 0
        self._socket.settimeout(10.0)
        with suppress(OSError):
            self._socket.shutdown(socket.SHUT_WR)  # an init that began as its parent died has no death signal
            while with_init and self._socket.recv(READ_SIZE):
                pass  # init has the other end: its end of file comes when init and all its children are gone
        self._socket.close()


def run_forked(body: Callable[[], None]) -> NoReturn:
    """Run `body` in a process just forked: whatever happens, none of the caller's code runs on in it."""
    status = 1
    try:
        body()
        status = 0
    except BaseException:  # noqa: BLE001 - the last frame of a forked process
        traceback.print_exc()
    finally:
        sys.stderr.flush()
        os._exit(status)


def redirect_output(log: Path, flags: int = os.O_APPEND) -> None:
    """Standard output and error to `log`, standard input from nowhere."""
    descriptor = os.open(log, os.O_WRONLY | os.O_CREAT | flags, 0o644)
    null = os.open(os.devnull, os.O_RDONLY)
    for source, target in ((null, 0), (descriptor, 1), (descriptor, 2)):
        os.dup2(source, target)
    os.close(descriptor)
    os.close(null)


def _supervise(make_handler: Callable[[], Handler], log: Path, caller: int, theirs: socket.socket) -> None:
    os.setsid()  # Ctrl-C is for the caller, who ends the rest
    reset_in_child()
    redirect_output(log)
    try:
        enter_namespaces()
    except OSError as error:
        _refuse(theirs, namespace_error(error))
        return
    kernel.prctl(kernel.PR_SET_PDEATHSIG, signal.SIGKILL)  # now: a change of credentials clears it
    if os.getppid() != caller:
        return
    init = os.fork()
    if init == 0:
        run_forked(lambda: _init(make_handler, theirs))
    theirs.close()
    os.waitpid(init, 0)


def _init(make_handler: Callable[[], Handler], caller: socket.socket) -> None:
    kernel.prctl(kernel.PR_SET_PDEATHSIG, signal.SIGKILL)
    kernel.prctl(kernel.PR_SET_TIMERSLACK, 1_000)  # ns: the wire waits in steps of 0.1 ms
    try:
        kernel.mount("none", "/", "", kernel.MS_REC | kernel.MS_PRIVATE)
        kernel.mount("proc", "/proc", "proc", kernel.MS_NOSUID | kernel.MS_NODEV | kernel.MS_NOEXEC)
        handle = make_handler()
    except OSError as error:
        _refuse(caller, namespace_error(error))
        return
    while step := _receive_line(caller):  # nothing: the caller is gone
        try:
            answer = json.dumps({"answer": handle(step)})
        except LabError as error:
            _send_error(caller, error)
        except Exception as error:  # noqa: BLE001 - said to the caller, whole in the log
            traceback.print_exc()
            _send_error(caller, LabError(f"{type(error).__name__}: {error}", SEE_LOG))
        else:
            _send_line(caller, answer)


def _refuse(caller: socket.socket, error: LabError) -> None:
    """Answer the first step with `error`. Who closes a socket before reading what came makes the other's read fail."""
    _receive_line(caller)
    _send_error(caller, error)


def _send_error(caller: socket.socket, error: LabError) -> None:
    _send_line(caller, json.dumps({"error": str(error), "next_step": error.next_step}))


def _send_line(there: socket.socket, text: str) -> None:
    there.sendall(f"{text}\n".encode())


def _receive_line(there: socket.socket) -> str:
    """The next line, without its end; empty if the other is gone before it was whole. One is sent at a time."""
    parts = [there.recv(READ_SIZE)]
    while parts[-1] and not parts[-1].endswith(b"\n"):
        parts.append(there.recv(READ_SIZE))
    return b"".join(parts)[:-1].decode() if parts[-1] else ""
