"""What a service waits for: sockets that become readable, and times that come. One thread."""

import heapq
import itertools
import selectors
import socket
import time
from collections.abc import Callable

Callback = Callable[[], None]


class Loop:
    """Calls back when a watched socket is readable or a time has come, for ever."""

    def __init__(self) -> None:
        self._selector = selectors.DefaultSelector()
        self._timers: list[tuple[float, int, Callback]] = []
        self._numbers = itertools.count()

    def watch(self, watched: socket.socket, callback: Callback) -> None:
        """Call `callback` whenever `watched` has something to read, or has ended."""
        self._selector.register(watched, selectors.EVENT_READ, callback)

    def forget(self, watched: socket.socket) -> None:
        """Stop watching, before the socket is closed; a socket that isn't watched is no mistake."""
        if watched.fileno() >= 0 and watched in self._selector.get_map():
            self._selector.unregister(watched)

    def later(self, delay_s: float, callback: Callback) -> None:
        """Call `callback` in `delay_s` seconds; at once, before this returns, where that is 0."""
        if delay_s <= 0:
            callback()
        else:
            heapq.heappush(self._timers, (time.monotonic() + delay_s, next(self._numbers), callback))

    def run(self) -> None:
        while True:
            now = time.monotonic()
            if self._timers and self._timers[0][0] <= now:
                heapq.heappop(self._timers)[2]()
                continue
            for key, _ in self._selector.select(self._timers[0][0] - now if self._timers else None):
                if self._selector.get_map().get(key.fd) == key:  # unless a callback before it has forgotten it
                    key.data()
