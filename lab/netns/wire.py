"""The wire: a user-space switch between the hosts' TAPs, with faults, and the sidecar on the client's link.

Theory of operation. A wire that forwards each frame at once lets the scheduler decide what comes first: the
kernel's ACK or the application's answer. So frames are queued, and in lock-step one is delivered only when (1) every
TAP is drained, (2) every thread of every lab process is blocked, and (3) the TAPs are still empty. Writing a
frame to a TAP runs the receiver's TCP before `write` returns, so that its reply can be read before its
application reacts. The order of events is then the protocol's. In free order a frame goes out as soon as it is due: ten
times faster, and as the scheduler likes.

A frame passes the leg of its sender, then that of its target. Each leg is a queue each way, as fast as its bandwidth;
all delays add up.
"""

import heapq
import itertools
import os
import select
import time
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from lab.netns.faults import Faults, Hit
from lab.netns.host import Host
from lab.netns.processes import all_blocked
from lab.netns.sidecar import Sidecar
from lab.netns.sockets import SocketTables
from lab.scenario.model import ROLES, Role, WirePlan

LARGEST_FRAME = 65_536
ETHERNET_HEADER = 14
POLL_S = 0.0001  # how long to wait for a busy process before looking again; `select` counts µs
LEAD_S = 0.0005  # so long before a frame is due the processes are looked at: that takes time, and would make it late
LOOK_AGAIN_S = 0.005  # to see the seconds of quiet grow
LARGEST_SYN = 134  # bytes of a frame: Ethernet, IPv6 and TCP with 60 bytes of options at most
GROUP_BIT = 0x01  # of a MAC's first byte: broadcast and multicast
READS_AT_ONCE = 64  # of one TAP, in free order, before the others' turn
FLUSH_S = 0.02  # in free order: how long a frame waits to be overtaken


class _Parcel(NamedTuple):
    """A frame on its way; its number in the capture, if it has one yet; what it was before a fault damaged it.

    `hits`: what was done to it, to be completed once it is captured; `is_again`: a copy of one that goes before it.
    """

    source: Host
    target: Host
    frame: bytes
    captured_as: int | None
    original: bytes | None = None
    hits: tuple[Hit, ...] = ()
    is_again: bool = False


class _Queued(NamedTuple):
    due: float
    number: int
    parcel: _Parcel


class _Held(NamedTuple):
    """What the next frame of the same way is to overtake."""

    hit: Hit
    parcels: tuple[_Parcel, ...]
    delay_s: float


class Wire:
    """Joins `hosts`, one of which is the client, as `plan` says."""

    def __init__(self, hosts: Sequence[Host], sidecar: Sidecar, sockets: SocketTables, plan: WirePlan) -> None:
        self._taps = {host.tap: host for host in hosts}
        self._by_mac = {host.mac: host for host in hosts}
        self._sidecar = sidecar
        self._sockets = sockets
        self._plan = plan
        self._is_free = plan.order == "free"
        self._legs = _Legs(plan)
        self._faults = Faults(plan.faults)
        self._queue: list[_Queued] = []
        self._held: dict[tuple[Role, Role], _Held] = {}
        self._numbers = itertools.count()
        self._last_activity = time.monotonic()
        self._start = 0.0  # when the first frame came
        self._filtered: dict[str, int] = {}
        self._too_large: dict[Role, int] = {}

    def run(self, until: Callable[[float], bool], deadline: float, watched: Sequence[int] = ()) -> bool:
        """Carry frames until `until(seconds of quiet)` holds at a moment when nothing moves.

        `deadline` is on the monotonic clock; False if it came first. A `watched` descriptor that becomes
        readable (a process that ended) interrupts a wait, nothing else.
        """
        if self._is_free:
            return self._run_free(until, deadline, watched)
        while True:
            now = time.monotonic()
            if now >= deadline:
                return False
            if self._drain():
                self._last_activity = time.monotonic()
                continue
            if not all_blocked(self._ask_kernels):
                self._last_activity = time.monotonic()
                self._wait(POLL_S, ())
                continue
            if self._drain():
                continue
            self._sockets.keep()
            if self._queue and self._queue[0].due <= time.monotonic() + LEAD_S:
                if not self._wait(self._queue[0].due - time.monotonic(), ()):
                    self._deliver()
                continue
            if not self._queue and self._release_held():
                continue
            now = time.monotonic()
            if until(now - self._last_activity):
                return True
            self._wait(min(self._next_due() - LEAD_S, deadline) - now, watched)

    def _run_free(self, until: Callable[[float], bool], deadline: float, watched: Sequence[int]) -> bool:
        while True:
            found = self._drain(READS_AT_ONCE)
            now = time.monotonic()
            while self._queue and self._queue[0].due <= now:
                self._deliver()
                found = True
            if found:
                self._last_activity = now
            elif self._held and now - self._last_activity >= FLUSH_S:
                self._release_held()
            elif until(now - self._last_activity):
                return True
            else:
                self._wait(min(self._next_due(), deadline) - now, watched)
            if now >= deadline:
                return False

    def _ask_kernels(self) -> None:
        self._sockets.ask(self._sidecar.frame_count, self.arrived())

    def arrived(self) -> int | None:
        """How many frames of the capture have passed the servers' links, too; None if not exactly the first ones."""
        held = (parcel for one in self._held.values() for parcel in one.parcels)
        parcels = (*(queued.parcel for queued in self._queue), *held)
        on_the_way = {
            parcel.captured_as for parcel in parcels if not parcel.is_again
        }  # None in it: one that is to be captured yet
        captured = self._sidecar.frame_count
        count = captured - len(on_the_way)
        return count if on_the_way == set(range(count + 1, captured + 1)) else None

    def _next_due(self) -> float:
        look_again = time.monotonic() + LOOK_AGAIN_S
        return min(self._queue[0].due, look_again) if self._queue else look_again

    def _wait(self, seconds: float, watched: Sequence[int]) -> bool:
        """Wait for frames, at most so long; whether there are any, or a watched descriptor is readable."""
        return bool(select.select([*self._taps, *watched], [], [], max(0.0, seconds))[0])

    def _drain(self, at_once: int = 1 << 30) -> bool:
        """Read every TAP until it is empty, or `at_once` times; whether there was anything."""
        found = False
        for tap, host in self._taps.items():
            for _ in range(at_once):
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
            self._filtered[kind] = self._filtered.get(kind, 0) + 1
            return
        self._start = self._start or time.monotonic()
        if not self._is_free or len(frame) <= LARGEST_SYN:
            self._sockets.sent(frame, source.role, target.role)
        captured_as = None
        if source.role == "client":
            self._sidecar.write(frame)
            captured_as = self._sidecar.frame_count
        if len(frame) - ETHERNET_HEADER > target.mtu:
            self._too_large[target.role] = self._too_large.get(target.role, 0) + 1
            self._sockets.lost(frame, source.role, captured_as, self._sidecar.frame_count)
            return
        parcel = _Parcel(source, target, frame, captured_as)
        if self._plan.faults:
            self._suffer(parcel)
        else:
            self._send(parcel, 0.0)

    def _suffer(self, parcel: _Parcel) -> None:
        """Do the faults to a frame: what is left of it goes on."""
        source, target, frame, captured_as, *_ = parcel
        now_s = time.monotonic() - self._start
        copies, delay_s, hit, hits = self._faults.fate(source.role, target.role, frame, captured_as, now_s)
        parcels = tuple(
            parcel._replace(frame=copy, original=None if copy == frame else frame, hits=hits, is_again=number > 0)
            for number, copy in enumerate(copies)
        )
        if not parcels or (frame not in copies and target.role != "client"):
            self._sockets.lost(frame, source.role, captured_as, self._sidecar.frame_count)
        if not parcels:
            return
        way = (source.role, target.role)
        if hit is not None and way not in self._held:
            self._held[way] = _Held(hit, parcels, delay_s)
            return
        due = [self._send(one, delay_s) for one in parcels]
        self._let_follow(way, due[0])

    def _let_follow(self, way: tuple[Role, Role], not_before: float) -> None:
        """The frame that waited for one to overtake it goes out behind that one."""
        held = self._held.pop(way, None)
        if held is None:
            return
        self._faults.note(held.hit)
        for parcel in held.parcels:
            self._send(parcel._replace(hits=(*parcel.hits, held.hit)), held.delay_s, not_before)

    def _release_held(self) -> bool:
        """Let go of frames that nothing came to overtake; whether there were any."""
        waiting = list(self._held.values())
        self._held.clear()
        for held in waiting:
            for parcel in held.parcels:
                self._send(parcel, held.delay_s)
        return bool(waiting)

    def _send(self, parcel: _Parcel, delay_s: float, not_before: float = 0.0) -> float:
        """Put a frame on its way; when it is due."""
        now, length = time.monotonic(), len(parcel.frame)
        arrival = self._legs.arrival(parcel.source.role, parcel.target.role, now, length) + delay_s
        due = max(arrival, not_before)
        heapq.heappush(self._queue, _Queued(due, next(self._numbers), parcel))
        return due

    def _deliver(self) -> None:
        parcel = heapq.heappop(self._queue).parcel
        if parcel.target.role == "client":
            self._sidecar.write(parcel.frame)
            captured = self._sidecar.frame_count
            for hit in () if parcel.is_again else parcel.hits:
                hit["captured_as"] = captured
            if parcel.original is not None:
                self._sockets.lost(parcel.original, parcel.source.role, captured, captured)
        os.write(parcel.target.tap, parcel.frame)
        if not self._is_free:
            self._sockets.arrived(parcel.frame)
        self._last_activity = time.monotonic()

    @property
    def doubts(self) -> tuple[str, ...]:
        """Why the run may not show what the scenario says, in sentences."""
        large = (
            f"{count} frame(s) to the {role} were larger than its link's MTU, and lost"
            for role, count in self._too_large.items()
        )
        return (*self._faults.doubts, *large)

    def facts(self) -> dict[str, Any]:
        """For `run.json`: the faults' hits, and frames that no host is meant to get, by EtherType."""
        return {**self._faults.facts(), "filtered": self._filtered}


class _Legs:
    """When what is sent now arrives: each leg is a queue each way, as fast as its bandwidth."""

    def __init__(self, plan: WirePlan) -> None:
        self._delay_s = {role: plan.leg(role).delay_s for role in ROLES}
        self._whole_s = plan.whole.delay_s
        self._rate = {role: plan.leg(role).bandwidth or plan.whole.bandwidth for role in ROLES}
        self._free_at: dict[tuple[Role, str], float] = {}

    def arrival(self, source: Role, target: Role, now: float, length: int) -> float:
        """When a frame of `length` bytes that is sent now has arrived."""
        for leg, way in ((source, "up"), (target, "down")):
            rate = self._rate[leg]
            if rate:
                now = max(now, self._free_at.get((leg, way), 0.0)) + 8 * length / rate
                self._free_at[leg, way] = now
        return now + self._whole_s + self._delay_s[source] + self._delay_s[target]
