"""One TCP connection: who is client, handshake, close, states, events (RFC 9293).

`completeness` and `rtt_ns` as tshark computes them.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Literal, NamedTuple

import numpy as np

from analysis.packets.packet import ACK, FIN, SYN, hosts_without_checksums
from analysis.tcp.close import Ending, Variant
from analysis.tcp.coverage import Coverage
from analysis.tcp.events import LARGEST_SCALE, Event
from analysis.tcp.flows import NO_ACK, Flows, Segments
from analysis.tcp.opening import Kind, Opening, Status, SynData
from analysis.tcp.segment import ROLES, Endpoint, Role, Segment
from analysis.tcp.serial import CIRCLE
from analysis.tcp.states import States

FAST_OPEN = 34  # the option's kind: RFC 7413 §4.1.1


@dataclass(frozen=True, slots=True)
class Handshake:
    """How the connection opened (RFC 9293 §3.5): `frames` are those of the SYNs and of the last ACK.

    `kind`, `syn_count` and `syn_data` are `Opening`'s. `fast_open`: whether the server took the SYN's data by the
    client's cookie, or ignored it; `requested`, if the client asked for a cookie (RFC 7413 §4.1).
    """

    status: Status
    frames: tuple[int, ...]
    kind: Kind | None
    syn_count: int
    syn_data: SynData | None
    fast_open: Literal["accepted", "ignored", "requested"] | None


@dataclass(frozen=True, slots=True)
class Close:
    """How the connection ended: as `Ending`, with roles and frames for sides and places."""

    variant: Variant
    first_closer: Role | None
    complete: bool | None
    frames: tuple[int, ...]
    fin_with_data: tuple[Role, ...]
    fin_retransmitted: tuple[Role, ...]
    half_close_data: bool
    last_ack_missing: bool
    reset_after: int | None
    stray_resets: tuple[int, ...]


class Life(NamedTuple):
    """What follows from the codes of a connection's segments alone; places count them from 0.

    `rtt`: the places between which tshark measures its initial RTT. `changes`: `walk_states`.
    """

    completeness: int
    opening: Opening
    ending: Ending
    changes: tuple[tuple[int, States], ...]
    rtt: tuple[int, int] | None
    has_data: bool


class Connection:
    """One TCP connection as captured. What needs each segment's own numbers is worked out when it is asked for."""

    def __init__(
        self, flows: Flows, index: int, life: Life, odd: tuple[Event, ...], part: tuple[Segments, slice] | None
    ) -> None:
        self._flows = flows
        self.index = index  # among all, from 0
        self._part = part  # the columns of its segments, if they are kept
        self.life = life
        self.odd = odd  # the events that follow from sequence numbers and windows

    @property
    def client(self) -> Endpoint:
        return self._endpoints[0]

    @property
    def server(self) -> Endpoint:
        return self._endpoints[1]

    def endpoint(self, role: Role) -> Endpoint:
        return self.client if role == "client" else self.server

    @property
    def end_numbers(self) -> dict[Role, int]:
        """The endpoints as numbers (see `Packets`)."""
        return {"client": int(self._flows.client[self.index]), "server": int(self._flows.server[self.index])}

    @property
    def completeness(self) -> int:
        """Tshark's `tcp.completeness`: 1 SYN, 2 SYN,ACK, 4 ACK, 8 data, 16 FIN, 32 RST."""
        return self.life.completeness

    @property
    def server_port(self) -> int:
        return int(self._flows.server[self.index]) & 0xFFFF

    @property
    def frame_count(self) -> int:
        return int(self._flows.bounds[self.index + 1] - self._flows.bounds[self.index])

    @cached_property
    def frames(self) -> tuple[int, ...]:
        return tuple(self._flows.packets.column("frame")[self._rows].tolist())

    @cached_property
    def segments(self) -> tuple[Segment, ...]:
        """The segments in capture order."""
        columns, part = self._part or (Segments(self._flows, self.index, self.index + 1), slice(None))
        seen: dict[Role, Coverage] = {"client": Coverage(), "server": Coverage()}
        packets, segments = self._flows.packets, list[Segment]()
        fields = (columns.sender[part], columns.seq[part], columns.ack[part])
        places = zip(self._rows.tolist(), *(one.tolist() for one in fields), strict=True)
        for row, side, seq, ack in places:
            packet, sender = packets.packet(row), ROLES[side]
            assert packet.tcp is not None  # noqa: S101 - flows hold TCP alone
            taken = packet.payload_length + bool(packet.tcp.flags & SYN) + bool(packet.tcp.flags & FIN)
            repeated = taken > 0 and not seen[sender].add(seq, seq + taken)
            segments.append(Segment(packet, packet.tcp, sender, seq, None if ack == NO_ACK else ack, repeated))
        return tuple(segments)

    def forget(self) -> None:
        """Free what was worked out, unless the capture is short; whoever asks for it again has it made again.

        Thousands of connections may be looked at once, of which hardly one is shown.
        """
        if self._part is None:
            cached = [name for name, what in vars(Connection).items() if isinstance(what, cached_property)]
            for name in cached:
                self.__dict__.pop(name, None)

    def sent_by(self, role: Role) -> Iterable[Segment]:
        return (segment for segment in self.segments if segment.sender == role)

    @cached_property
    def states(self) -> tuple[States, ...]:
        """Both sides' states after each segment."""
        ends = [*(place for place, _ in self.life.changes[1:]), self.frame_count]
        return tuple(
            states for (start, states), end in zip(self.life.changes, ends, strict=True) for _ in range(start, end)
        )

    @cached_property
    def syns(self) -> dict[Role, Segment | None]:
        """The first SYN or SYN,ACK of each side; of several with different numbers, the one that all counts from."""
        return {role: self._syn_of(role) for role in ROLES}

    def _syn_of(self, role: Role) -> Segment | None:
        syns = [segment for segment in self.sent_by(role) if segment.flags & SYN]
        other = next((segment for segment in self.sent_by(role) if not segment.flags & SYN), None)
        if other is not None:
            number = (other.tcp.seq - other.seq) % CIRCLE
            syns.sort(key=lambda segment: segment.tcp.seq != number)
        return syns[0] if syns else None

    def syn_of(self, role: Role) -> Segment | None:
        """The first SYN or SYN,ACK of `role`."""
        return self.syns[role]

    def window_of(self, segment: Segment) -> int:
        """The window of `segment` in bytes: scaled if both SYNs agreed to it; a SYN's own never is (RFC 7323 §2.2)."""
        return segment.tcp.window if segment.flags & SYN else segment.tcp.window << self._shifts[segment.sender]

    @cached_property
    def _shifts(self) -> dict[Role, int]:
        """By how many bits each side's windows are shifted: none, unless both SYNs have the option."""
        scales = {role: None if syn is None else syn.tcp.window_scale for role, syn in self.syns.items()}
        agreed = None not in scales.values()
        return {role: min(scale or 0, LARGEST_SCALE) if agreed else 0 for role, scale in scales.items()}

    @property
    def isn(self) -> dict[Role, int | None]:
        """The raw initial sequence numbers, as far as the SYNs are in the capture."""
        return {role: None if syn is None else syn.tcp.seq for role, syn in self.syns.items()}

    @cached_property
    def rtt_ns(self) -> int | None:
        """Tshark's initial RTT: from the last SYN to the first ACK after it."""
        if self.life.rtt is None:
            return None
        syn, ack = (self._flows.packets.frames.time_ns[self.frames[place] - 1] for place in self.life.rtt)
        return int(ack - syn)

    @cached_property
    def handshake(self) -> Handshake:
        opening = self.life.opening
        frames = tuple(self.frames[place] for place in opening.places)
        copies = {event.frame for event in self.odd if event.kind == "duplicate-frame"}
        again = sum(one.frame in copies and one.flags & (SYN | ACK) == SYN for one in self.segments) if copies else 0
        count = max(opening.syn_count - again, min(1, opening.syn_count))
        return Handshake(opening.status, frames, opening.kind, count, opening.syn_data, self._fast_open(opening))

    def _fast_open(self, opening: Opening) -> Literal["accepted", "ignored", "requested"] | None:
        syn = self.syn_of("client") if opening.syn_count else None
        cookie = None if syn is None else next((one.value for one in syn.tcp.options if one.kind == FAST_OPEN), None)
        if cookie is None:
            return None
        return opening.syn_data if cookie else "requested"

    @cached_property
    def close(self) -> Close:
        ending = self.life.ending
        return Close(
            ending.variant,
            ending.closer,
            ending.complete,
            tuple(self.frames[place] for place in ending.places),
            tuple(ROLES[side] for side in ending.fin_with_data),
            tuple(ROLES[side] for side in ending.fin_again),
            ending.half_close_data,
            ending.last_ack_missing,
            None if ending.reset_after is None else self.frames[ending.reset_after],
            tuple(self.frames[place] for place in ending.strays),
        )

    @cached_property
    def events(self) -> tuple[Event, ...]:
        """All events, in order of frames: what is odd about numbers and windows, and damage that checksums show."""
        return tuple(sorted((*self.odd, *self._damage()), key=lambda event: event.frame))

    @cached_property
    def events_in(self) -> dict[int, tuple[Event, ...]]:
        """The events by frame."""
        found: dict[int, tuple[Event, ...]] = {}
        for event in self.events:
            found[event.frame] = (*found.get(event.frame, ()), event)
        return found

    def _damage(self) -> Iterator[Event]:
        """Wrong checksums; but a host without right ones leaves them to its network card (offload)."""
        unfinished = hosts_without_checksums(segment.packet for segment in self.segments)
        for segment in self.segments:
            if segment.packet.checksum == "bad" and segment.packet.src not in unfinished:
                yield Event("bad-checksum", segment.frame)

    @cached_property
    def _endpoints(self) -> tuple[Endpoint, Endpoint]:
        packets = self._flows.packets
        client, server = (int(ends[self.index]) for ends in (self._flows.client, self._flows.server))
        return Endpoint(packets.address(client), client & 0xFFFF), Endpoint(packets.address(server), server & 0xFFFF)

    @property
    def _rows(self) -> np.ndarray:
        return self._flows.order[self._flows.bounds[self.index] : self._flows.bounds[self.index + 1]]
