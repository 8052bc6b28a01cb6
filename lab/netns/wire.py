"""The wire: a user-space switch between the hosts' TAPs, in lock-step, with the sidecar on the client's link.

Theory of operation. A wire that forwards each frame at once lets the scheduler decide what comes first: the
kernel's ACK or the application's answer. So frames are queued, and one is delivered only when (1) every TAP
is drained, (2) every thread of every lab process is blocked, and (3) the TAPs are still empty. Writing a
frame to a TAP runs the receiver's TCP before `write` returns, so that its reply can be read before its
application reacts. The order of events is then the protocol's.
"""

import heapq
import itertools
import os
import select
import time
from collections.abc import Callable, Sequence
from typing import NamedTuple

from lab.netns.host import Host
from lab.netns.processes import all_blocked
from lab.netns.sidecar import Sidecar

LARGEST_FRAME = 65_536
POLL_S = 0.0001  # how long to wait for a busy process before looking again; `select` counts µs
GROUP_BIT = 0x01  # of a MAC's first byte: broadcast and multicast


class _Queued(NamedTuple):
    due: float
    number: int
    target: Host
    frame: bytes


class Wire:
    """Joins `hosts`; every frame takes `delay_s` seconds from one to another. One of them is `client`."""

    def __init__(self, hosts: Sequence[Host], sidecar: Sidecar, delay_s: float) -> None:
        self._taps = {host.tap: host for host in hosts}
        self._by_mac = {host.mac: host for host in hosts}
        self._sidecar = sidecar
        self._delay_s = delay_s
        self._queue: list[_Queued] = []
        self._numbers = itertools.count()
        self._last_activity = time.monotonic()
        self.filtered: dict[str, int] = {}  # frames that no host is meant to get, by EtherType

    def run(self, until: Callable[[float], bool], deadline: float, watched: Sequence[int] = ()) -> bool:
        """Carry frames until `until(seconds of quiet)` holds at a moment when nothing moves.

        `deadline` is on the monotonic clock; False if it came first. A `watched` descriptor that becomes
        readable (a process that ended) interrupts a wait, nothing else.
        """
        while True:
            now = time.monotonic()
            if now >= deadline:
                return False
            if self._drain():
                self._last_activity = time.monotonic()
                continue
            if not all_blocked():
                self._last_activity = time.monotonic()
                self._wait(POLL_S, ())
                continue
            if self._drain():
                continue
            now = time.monotonic()
            if self._queue and self._queue[0].due <= now:
                self._deliver()
                continue
            if until(now - self._last_activity):
                return True
            self._wait(min(self._next_due(), deadline) - now, watched)

    def _next_due(self) -> float:
        look_again = time.monotonic() + 0.005  # to see the seconds of quiet grow
        return min(self._queue[0].due, look_again) if self._queue else look_again

    def _wait(self, seconds: float, watched: Sequence[int]) -> None:
        select.select([*self._taps, *watched], [], [], max(0.0, seconds))

    def _drain(self) -> bool:
        """Read every TAP until it is empty; whether there was anything."""
        found = False
        for tap, host in self._taps.items():
            while True:
                try:
                    frame = os.read(tap, LARGEST_FRAME)
                except BlockingIOError:
                    break
                found = True
                self._accept(host, frame)
        return found

    def _accept(self, source: Host, frame: bytes) -> None:
        target = self._by_mac.get(frame[:6])
        if target is None or frame[0] & GROUP_BIT:
            kind = f"0x{frame[12:14].hex()}"
            self.filtered[kind] = self.filtered.get(kind, 0) + 1
            return
        if source.role == "client":
            self._sidecar.write(frame)
        due = time.monotonic() + self._delay_s
        heapq.heappush(self._queue, _Queued(due, next(self._numbers), target, frame))

    def _deliver(self) -> None:
        queued = heapq.heappop(self._queue)
        if queued.target.role == "client":
            self._sidecar.write(queued.frame)
        os.write(queued.target.tap, queued.frame)
        self._last_activity = time.monotonic()
