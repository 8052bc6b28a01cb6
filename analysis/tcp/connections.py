"""All TCP connections of a capture: found at once, each made as a value when someone looks at it."""

from array import array
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache
from itertools import compress, pairwise
from typing import overload

import numpy as np

from analysis.packets.columns import Packets
from analysis.tcp.close import name_close
from analysis.tcp.codes import (
    HAS_ACK,
    HAS_DATA,
    HAS_FIN,
    HAS_RST,
    HAS_SYN,
    STRAY,
    code_segments,
    mark_gaps,
)
from analysis.tcp.connection import Connection, Life
from analysis.tcp.events import Event, find_events, is_ordinary
from analysis.tcp.flows import Flows, Segments, find_flows
from analysis.tcp.opening import name_opening
from analysis.tcp.states import Step, walk_states

CONTROL = HAS_SYN | HAS_FIN | HAS_RST | STRAY
KEPT = 1 << 10  # segments of a capture so short that their columns needn't be worked out twice
LONGEST_KEY = 128  # bytes: longer connections are hardly ever alike


class Connections(Sequence[Connection]):
    """The connections of a capture, in order of their first frame; each is made when someone looks at it.

    A capture may have millions, of which a summary only counts the lives: `lives` has each once. `odd`: the events of
    the connections that have some.
    """

    def __init__(self, flows: Flows) -> None:
        self.lives: list[Life] = []
        self.odd: dict[int, tuple[Event, ...]] = {}
        self._flows = flows
        self._numbers = array("I")
        self._number_of: dict[int, int] = {}  # by the life's identity: most connections share theirs
        self._parts: list[tuple[Segments, slice]] = []  # the columns of their segments, if they are kept
        self._made: dict[int, Connection] = {}

    def add(self, life: Life, events: tuple[Event, ...], part: tuple[Segments, slice] | None) -> None:
        """The next connection."""
        number = self._number_of.get(id(life))
        if number is None:
            number = self._number_of[id(life)] = len(self.lives)
            self.lives.append(life)
        if events:
            self.odd[len(self._numbers)] = events
        if part is not None:
            self._parts.append(part)
        self._numbers.append(number)

    def __len__(self) -> int:
        return len(self._numbers)

    @overload
    def __getitem__(self, index: int) -> Connection: ...

    @overload
    def __getitem__(self, index: slice) -> tuple[Connection, ...]: ...

    def __getitem__(self, index: int | slice) -> Connection | tuple[Connection, ...]:
        if isinstance(index, slice):
            return tuple(self[one] for one in range(*index.indices(len(self))))
        index = range(len(self))[index]
        made = self._made.get(index)
        if made is None:
            part = self._parts[index] if self._parts else None
            life, events = self.lives[self._numbers[index]], self.odd.get(index, ())
            made = self._made[index] = Connection(self._flows, index, life, events, part)
        return made

    def __eq__(self, other: object) -> bool:
        return tuple(self) == other

    __hash__ = None  # type: ignore[assignment] # its connections' states change as they are asked

    def life_counts(self) -> Counter[Life]:
        """How many connections had each life."""
        counts: Counter[Life] = Counter()
        times = np.bincount(np.frombuffer(self._numbers, np.uint32), minlength=len(self.lives)) if self.lives else ()
        for life, count in zip(self.lives, times, strict=True):
            counts[life] += int(count)
        return counts

    def carriers_to(self, port: int) -> Iterator[Connection]:
        """Those to `port` of the server that have data."""
        to_port = np.flatnonzero(self._flows.server & np.uint64(0xFFFF) == port).tolist()
        return (self[index] for index in to_port if self.lives[self._numbers[index]].has_data)


def find_connections(packets: Packets) -> Connections:
    """The TCP connections among `packets`."""
    flows = find_flows(packets)
    connections = Connections(flows)
    is_short = len(flows.order) <= KEPT
    for first, last in flows.batches():
        segments = Segments(flows, first, last)
        codes = code_segments(segments)
        odd = segments.any_where(~is_ordinary(segments)).tolist()
        begin = [*segments.begin.tolist(), len(segments.rows)]
        parts = [slice(start, end) for start, end in pairwise(begin)]
        for part in compress(parts, odd):
            mark_gaps(codes, segments, part)
        keys = codes.tobytes()
        for index, part in enumerate(parts):
            life = _life(keys[2 * part.start : 2 * part.stop])
            events = find_events(packets, segments, part) if odd[index] else ()
            connections.add(life, events, (segments, part) if is_short else None)
    return connections


def _life(codes: bytes) -> Life:
    return _known_life(codes) if len(codes) <= LONGEST_KEY else read_life(codes)


def read_life(codes: bytes) -> Life:
    """The life of a connection whose segments have `codes`, two bytes each in this machine's order."""
    steps = tuple(_steps(memoryview(codes).cast("H")))
    ending = name_close(steps)
    refusal = ending.places if ending.variant == "refused" else ()
    return Life(
        _completeness(steps),
        name_opening(steps, is_refused=ending.variant == "refused", refusal=refusal),
        ending,
        walk_states(steps),
        _rtt(steps),
        any(step.code & HAS_DATA for step in steps),
    )


_known_life = lru_cache(maxsize=1 << 12)(read_life)


def _steps(codes: "memoryview[int]") -> Iterator[Step]:
    """The segments that may change something: SYN, FIN, RST, and between two of those each code's first."""
    seen: set[int] = set()
    for index, code in enumerate(codes):
        if code & CONTROL:
            seen.clear()
        elif code in seen:
            continue
        if index:  # the first segment opens the connection, which a later one like it doesn't
            seen.add(code)
        yield Step(index, code)


def _completeness(steps: Sequence[Step]) -> int:
    mask = 0
    for index, code in steps:
        is_syn = code & (HAS_SYN | HAS_ACK) == HAS_SYN
        if len(steps) == 1 and not is_syn:
            return 0  # what tshark adds for the frame that opened a stream midway shows from the next frame on
        if is_syn:
            mask |= (1 if index == 0 else 0) | (8 if code & HAS_DATA else 0)
        elif code & HAS_SYN:
            mask |= 2
        elif code & HAS_ACK:
            mask |= 8 if code & HAS_DATA else 4
        if code & (HAS_FIN | HAS_ACK) == HAS_FIN | HAS_ACK:
            mask |= 16
        if code & (HAS_RST | STRAY):
            mask |= 32
    return mask


def _rtt(steps: Iterable[Step]) -> tuple[int, int] | None:
    syn: int | None = None
    for index, code in steps:
        if code & (HAS_SYN | HAS_ACK) == HAS_SYN:
            syn = index
        elif syn is not None and code & (HAS_SYN | HAS_ACK) == HAS_ACK:
            return syn, index
    return None
