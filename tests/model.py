"""A TCP connection whose truth is known: a plan is played by two real endpoints, and the capture is annotated.

`run(plan)` gives the frames, what is true of each, and what is true of the whole. Nothing here imports from
`analysis/`, which these traces test. The endpoints, the network and the encoding are in `model_network.py`.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import NamedTuple, get_args

from hypothesis import strategies as st

from tests.model_network import (
    CIRCLE,
    MS,
    PEER,
    SIDES,
    Captured,
    Close,
    Endpoint,
    Fault,
    Network,
    Opening,
    Segment,
    Side,
    text,
    write_pcap,
)

__all__ = ["CLOSES", "OPENINGS", "Closing", "Fault", "Frame", "Plan", "Segment", "Side", "Trace"]
__all__ += ["clean_plans", "pcap", "plans", "run"]

OPENINGS: tuple[Opening, ...] = get_args(Opening)
CLOSES: tuple[Close, ...] = get_args(Close)
FAILED = ("refused", "unanswered")  # nothing follows these openings
ORDERLY = tuple(close for close in CLOSES if close not in {"simultaneous", "reset", "open"})  # one side closes first
START_NS = 1_700_000_000_123_456_789
THINK, PAUSE = 1 * MS, 30 * MS  # an application's time to answer, and before it closes at leisure; PAUSE > a round trip
SKEW = 1 * MS  # between two ends that act at once; less than the latency
TRIES = 7  # more than there may be faults, so that the connection completes
SEGMENTS = 6  # the most that one message has


@dataclass(frozen=True)
class Plan:
    """Everything that is decided beforehand. ValueError for what can't be had."""

    client_isn: int = 1000
    server_isn: int = 9000
    opening: Opening = "normal"
    messages: tuple[tuple[Side, int], ...] = (("client", 40), ("server", 200))
    mss: int = 100
    close: Close = "three-segment"
    first_closer: Side = "client"
    fin_with_data: bool = False  # of a close's first side, or of the second where it still sends data
    half_close_size: int = 150
    lose_last_ack: bool = False  # the segment that would complete the close isn't in the capture
    reset_with_ack: bool = True
    syn_count: int = 3  # of an unanswered opening
    faults: tuple[Fault, ...] = ()
    where: Side = "client"  # the capture point: this host's link
    client_port: int = 40000

    def __post_init__(self) -> None:
        fast, first = self.opening.startswith("fast-open"), self.messages[:1]
        if self.opening in FAILED and (self.messages or self.close != "open"):
            raise ValueError("nothing follows such an opening")
        if self.opening == "midway" and not self.messages:
            raise ValueError("a capture that begins midway begins with data")
        if fast and (not first or first[0][0] != "client" or first[0][1] > self.mss):
            raise ValueError("the client's first message goes with the SYN")
        if self.fin_with_data and not _may_ride(self.opening, self.messages, self.close, self.first_closer):
            raise ValueError("no data that the FIN could ride on")
        if len({(one.sender, one.number) for one in self.faults}) < len(self.faults):
            raise ValueError("one fault for a segment")


def _may_ride(opening: Opening, messages: tuple[tuple[Side, int], ...], close: Close, first: Side) -> bool:
    """Whether a FIN can carry data: the first side's that also spoke last, or that of a half-close with data."""
    on_syn = opening.startswith("fast-open") and len(messages) == 1
    spoke_last = bool(messages) and messages[-1][0] == first and not on_syn
    return close == "four-segment with data" or (close in ORDERLY and spoke_last)


@dataclass(frozen=True)
class Frame:
    """A captured frame, and the truth about it.

    `is_resend`: its host had sent its first number before, whether or not the capture saw it; so a SYN,ACK that follows
    that host's SYN is one. `seen_before`: it has numbers, and the capture has seen them all from this host.
    `is_duplicate`: the network made it; the same bytes were captured before. `opens_hole`: it starts beyond the highest
    number captured from this host. `beyond_hole`: a number before it is missing. `fills_hole`: it has missing ones that
    lie before the highest. A capture that begins midway knows no numbers before a host's first captured one. A RST has
    none of these.
    """

    time_ns: int
    raw: bytes
    number: int  # counts its sender's segments from 1; network duplicates share it
    segment: Segment  # in the model's numbers: the SYN is 0
    state: str  # the sender's, after sending
    is_resend: bool
    seen_before: bool
    is_duplicate: bool
    opens_hole: bool
    beyond_hole: bool
    fills_hole: bool

    @property
    def sender(self) -> Side:
        """Who sent it."""
        return self.segment.sender


class Closing(NamedTuple):
    """The close as seen at the capture point: ORACLES, part 4.

    `first_closer`: of the first FIN; without one, of the RST; None if simultaneous, refused or open. `complete`: both
    FINs are acknowledged, by segments without RST. `half_close_data`: new data of the second side, between its
    first segment that acknowledges the first FIN and its own FIN, both included, if they are two.
    """

    variant: str
    first_closer: Side | None = None
    complete: bool = False
    fin_retransmitted: bool = False
    fin_with_data: bool = False
    half_close_data: bool = False
    reset_after_close: bool = False


@dataclass(frozen=True)
class Trace:
    """The capture and the truth about the whole."""

    plan: Plan
    frames: tuple[Frame, ...]
    opening: Opening  # as seen
    close: Closing  # as seen
    data: dict[Side, bytes]  # each byte of payload that was captured, once, in order; holes are left out
    written: dict[Side, bytes]  # by the application
    received: dict[Side, bytes]  # what this side's application got
    final_states: dict[Side, str]


class Script:
    """The two applications, which take turns at speaking and then close as planned."""

    def __init__(self, plan: Plan, network: Network) -> None:
        self.plan, self.network = plan, network
        self.turn, self.writing, self.closing = 0, 0, False
        self.reacted: set[Side] = set()
        tries = plan.syn_count if plan.opening == "unanswered" else TRIES
        self.ends: dict[Side, Endpoint] = {
            side: Endpoint(side, network, plan.mss, plan.opening, tries, self.heard) for side in SIDES
        }
        client, server = self.ends["client"], self.ends["server"]
        network.receive["client"] = client.take
        network.receive["server"] = server.take
        if plan.opening == "unanswered":
            network.receive["server"] = lambda _: None
        elif plan.opening == "simultaneous":
            network.at(SKEW, server.open)
        elif plan.opening != "refused":
            server.state = "LISTEN"
        self.turn = int(plan.opening.startswith("fast-open"))
        client.open(text("client", 0, plan.messages[0][1]) if self.turn else b"")

    def heard(self, end: Endpoint) -> None:
        """The application of `end` looks what there is, and acts."""
        plan = self.plan
        if end.state == "ESTABLISHED":
            self._speak(end)
            if end.name == plan.first_closer and plan.close in ORDERLY and not self.closing and self._is_done(end):
                self.closing = True
                self.network.at(THINK, lambda: end.write(b"", fin=True))
        elif end.state in {"CLOSE-WAIT", "TIME-WAIT"} and end.name not in self.reacted:
            self.reacted.add(end.name)
            self._follow(end)

    def settled(self) -> None:
        """Once all is said, received and acknowledged: the closes that no segment triggers."""
        plan, ends = self.plan, self.ends.values()
        busy = self.writing or any(end.state != "ESTABLISHED" or end.queue or not self._is_done(end) for end in ends)
        if self.closing or busy or plan.close not in {"simultaneous", "reset"}:
            return
        self.closing = True
        first, second = self.ends[plan.first_closer], self.ends[PEER[plan.first_closer]]
        if plan.close == "reset":
            self.network.at(THINK, lambda: first.abort(with_ack=plan.reset_with_ack))
        else:
            self.network.at(THINK, lambda: first.write(b"", fin=True))
            self.network.at(THINK + SKEW, lambda: second.write(b"", fin=True))

    def _is_done(self, end: Endpoint) -> bool:
        return self.turn == len(self.plan.messages) and self._has_all(end)

    def _has_all(self, end: Endpoint) -> bool:
        """Whether it received all that the other side has said in the turns so far."""
        spoken = self.plan.messages[: self.turn]
        return len(end.received) == sum(size for sender, size in spoken if sender != end.name)

    def _speak(self, end: Endpoint) -> None:
        messages = self.plan.messages
        while self.turn < len(messages) and messages[self.turn][0] == end.name and self._has_all(end):
            last = self.turn == len(messages) - 1
            fin = last and end.name == self.plan.first_closer and self.plan.close in ORDERLY
            self.closing = self.closing or fin
            self.writing += 1
            self._later(end, messages[self.turn][1], THINK, fin=fin)
            self.turn += 1

    def _later(self, end: Endpoint, size: int, delay: int, *, fin: bool) -> None:
        def act() -> None:
            self.writing -= 1
            end.write(text(end.name, len(end.written), size), fin=fin, ride=self.plan.fin_with_data)

        self.network.at(delay, act)

    def _follow(self, end: Endpoint) -> None:
        """The other side has closed (RFC 9293 §3.6): before this one, or after it."""
        close = self.plan.close
        if end.state == "TIME-WAIT":
            if close == "reset after close":
                self.network.at(PAUSE, lambda: end.abort(with_ack=self.plan.reset_with_ack))
        elif close in {"three-segment", "reset after close"}:
            end.write(b"", fin=True)  # at once, so the FIN is the acknowledgement
        elif close in {"four-segment", "four-segment with data"}:
            self.writing += 1
            self._later(end, self.plan.half_close_size if close.endswith("data") else 0, PAUSE, fin=True)
        elif close == "reset after FIN":
            self.network.at(PAUSE, lambda: end.abort(with_ack=self.plan.reset_with_ack))


def run(plan: Plan) -> Trace:
    """Play the plan and look at it from the capture point."""
    isn: dict[Side, int] = {"client": plan.client_isn, "server": plan.server_isn}
    faults = {(fault.sender, fault.number): fault for fault in plan.faults}
    network = Network(plan.where, isn, plan.client_port, faults)
    script = Script(plan, network)
    network.run(script.settled)
    captured = network.captured
    if plan.opening == "midway":
        moot = [one.sent.segment.length == 0 or "S" in one.sent.segment.flags for one in captured]
        captured = captured[moot.index(False) :]  # from the first data on, or a FIN that overtook them
    if plan.lose_last_ack:
        captured = _without_last_ack(captured)
    frames = _annotate(captured, midway=plan.opening == "midway")
    return Trace(
        plan,
        frames,
        _read_opening([frame.segment for frame in frames]),
        _read_close(frames),
        {side: _captured_data(frames, side) for side in SIDES},
        {side: end.written for side, end in script.ends.items()},
        {side: end.received for side, end in script.ends.items()},
        {side: end.state for side, end in script.ends.items()},
    )


def pcap(*traces: Trace) -> bytes:
    """The traces one after the other in a capture file with nanoseconds."""
    return write_pcap([(frame.time_ns, frame.raw) for trace in traces for frame in trace.frames])


class _Seen:
    """The numbers captured from one host."""

    def __init__(self, first: int) -> None:
        self.known: set[int] = set()
        self.edge = self.top = first  # the first missing number; the number after the highest

    def add(self, segment: Segment) -> tuple[bool, bool, bool, bool]:
        """`seen_before`, `opens_hole`, `beyond_hole`, `fills_hole`."""
        numbers = set(range(segment.start, segment.end))
        new = numbers - self.known
        start = segment.start
        facts = (bool(numbers) and not new, start > self.top, start > self.edge, bool(new) and min(new) < self.top)
        self.known |= numbers
        self.top = max(self.top, segment.end)
        while self.edge in self.known:
            self.edge += 1
        return facts


def _annotate(captured: list[Captured], *, midway: bool) -> tuple[Frame, ...]:
    seen: dict[Side, _Seen] = {}
    before: set[bytes] = set()
    frames = []
    for time_ns, sent in captured:
        segment = sent.segment
        side = seen.setdefault(segment.sender, _Seen(segment.start if midway else 0))
        facts = (False,) * 4 if "R" in segment.flags else side.add(segment)  # a RST's number is its receiver's business
        duplicate = sent.raw in before
        before.add(sent.raw)
        truth = (sent.number, segment, sent.state, sent.is_resend, facts[0], duplicate, *facts[1:])
        frames.append(Frame(START_NS + time_ns, sent.raw, *truth))
    return tuple(frames)


def _captured_data(frames: Iterable[Frame], side: Side) -> bytes:
    """Hosts send numbers again in the same pieces, so pieces are put together by where they start."""
    segments = [frame.segment for frame in frames if frame.sender == side and frame.segment.payload]
    pieces = {segment.start + ("S" in segment.flags): segment.payload for segment in segments}
    return b"".join(pieces[start] for start in sorted(pieces))


def _read_opening(segments: list[Segment]) -> Opening:
    """RFC 9293 §3.5, RFC 7413 §3. A split looks like a simultaneous open of which the server's SYN,ACK is missing."""
    client = [segment for segment in segments if segment.sender == "client" and "S" in segment.flags]
    server = [segment for segment in segments if segment.sender == "server"]
    answers = [segment for segment in server if "S" in segment.flags]
    if not client:
        return "midway"
    if not server:
        return "unanswered"
    if not answers:
        return "refused"
    if any(segment.ack is None for segment in answers):
        if any(segment.ack is not None for segment in answers):
            return "simultaneous"
        return "split with ack" if server[0].flags == "A" else "split"
    if any(segment.payload for segment in client):
        return "fast-open accepted" if (answers[0].ack or 0) > 1 else "fast-open ignored"
    return "normal"


def _acknowledges(segment: Segment, fin: Segment) -> bool:
    """A RST acknowledges nothing: it is looked at before its ACK field is (RFC 9293 §3.10.7.4)."""
    reset = "R" in segment.flags
    return not reset and segment.sender != fin.sender and segment.ack is not None and segment.ack >= fin.end


def _first_fins(segments: list[Segment]) -> list[Segment]:
    """The first copy of each side's FIN, in the order of the capture."""
    fins: dict[Side, Segment] = {}
    for segment in segments:
        if "F" in segment.flags:
            fins.setdefault(segment.sender, segment)
    return list(fins.values())


def _read_close(frames: tuple[Frame, ...]) -> Closing:
    """ORACLES, part 4, in the numbers of the model."""
    segments = [frame.segment for frame in frames]
    fins = _first_fins(segments)
    reset = next((n for n, segment in enumerate(segments) if "R" in segment.flags), None)
    at = {fin.sender: next(n for n, segment in enumerate(segments) if segment is fin) for fin in fins}
    prior = fins if reset is None else [fin for fin in fins if at[fin.sender] < reset]
    first = fins[0].sender if fins else None
    if reset is not None and len(prior) < 2:
        before = segments[:reset]
        refused = any(segment.flags == "S" for segment in before) and all(
            segment.sender == PEER[segments[reset].sender] for segment in before
        )
        variant = "refused" if refused else "reset"
        first = None if refused else first or segments[reset].sender
    elif not fins:
        return Closing("open")
    elif len(fins) == 1:
        variant = "half-closed"
    else:
        variant = _read_variant(segments, fins[0], fins[1], at[fins[1].sender])
        first = None if variant == "simultaneous" else first
    return Closing(
        variant,
        first,
        complete=len(fins) == 2 and all(any(_acknowledges(segment, fin) for segment in segments) for fin in fins),
        fin_retransmitted=any(sum("F" in s.flags and s.sender == fin.sender for s in segments) > 1 for fin in fins),
        fin_with_data=any("F" in segment.flags and segment.payload for segment in segments),
        half_close_data=bool(fins) and _has_half_close_data(frames, fins[0], at.get(PEER[fins[0].sender])),
        reset_after_close=reset is not None and len(prior) == 2,
    )


def _read_variant(segments: list[Segment], first: Segment, second: Segment, at: int) -> str:
    if not _acknowledges(second, first):
        return "simultaneous"
    return "four-segment" if any(_acknowledges(segment, first) for segment in segments[:at]) else "three-segment"


def _has_half_close_data(frames: tuple[Frame, ...], first: Segment, at: int | None) -> bool:
    """New data on or after the segment that acknowledges the first FIN, unless that is the second FIN itself."""
    until = frames if at is None else frames[: at + 1]
    start = next((n for n, frame in enumerate(until) if _acknowledges(frame.segment, first)), len(until))
    later = [frame for frame in until[start:] if frame.sender != first.sender and start != at]
    return any(frame.segment.payload and not frame.seen_before for frame in later)


def _without_last_ack(captured: list[Captured]) -> list[Captured]:
    """The capture without the segments that would acknowledge the later acknowledged of the two FINs."""
    segments = [one.sent.segment for one in captured]
    fins = _first_fins(segments)
    acks = [next((n for n, segment in enumerate(segments) if _acknowledges(segment, fin)), None) for fin in fins]
    if len(fins) < 2 or None in acks:
        return captured
    last = max(zip(acks, fins, strict=True), key=lambda pair: pair[0] or 0)[1]
    return [one for one in captured if not _acknowledges(one.sent.segment, last)]


NUMBERS = st.one_of(st.integers(0, CIRCLE - 1), st.integers(CIRCLE - 3000, CIRCLE - 1))  # the latter wrap in the talk
DELAYS = st.sampled_from([60, 120, 170, 400, 2_000, 12_000, 250_000])  # in µs: 1, 2, 3 places, … and beyond the RTO


def _faults(plan: Plan) -> st.SearchStrategy[tuple[Fault, ...]]:
    """At most four, which hit what is sent and leave something to see; midway, only what is seen."""
    sent = sorted({(frame.sender, frame.number) for frame in run(replace(plan, lose_last_ack=False)).frames})
    actions = st.sampled_from(["duplicate", "delay", "drop"][: 2 if plan.opening == "unanswered" else 3])
    fault = st.sampled_from(sent).flatmap(
        lambda which: st.builds(Fault, actions, st.just(which[0]), st.just(which[1]), st.booleans(), DELAYS)
    )
    return st.lists(fault, max_size=4, unique_by=lambda one: (one.sender, one.number)).map(tuple)


@st.composite
def plans(draw: st.DrawFn, *, faulty: bool = True) -> Plan:
    """Plans that make sense. No segment has one byte, for sent again it looks like a keep-alive (RFC 9293 §3.8.4)."""
    opening = draw(st.sampled_from(OPENINGS))
    mss = draw(st.sampled_from([2, 3, 10, 100, 536, 1448]))
    size = st.integers(2, SEGMENTS * mss).map(lambda size: size + (size % mss == 1))
    message = st.tuples(st.sampled_from(SIDES), size)
    failed = opening in FAILED
    messages = [] if failed else draw(st.lists(message, min_size=int(opening == "midway"), max_size=4))
    if opening.startswith("fast-open"):
        messages.insert(0, ("client", draw(st.integers(2, mss))))
    close = "open" if failed else draw(st.sampled_from(CLOSES))
    first = draw(st.sampled_from(SIDES))
    plan = Plan(
        client_isn=draw(NUMBERS),
        server_isn=draw(NUMBERS),
        opening=opening,
        messages=tuple(messages),
        mss=mss,
        close=close,
        first_closer=first,
        fin_with_data=draw(st.booleans()) and _may_ride(opening, tuple(messages), close, first),
        half_close_size=draw(size),
        lose_last_ack=draw(st.sampled_from([False, False, False, True])),
        reset_with_ack=draw(st.booleans()),
        syn_count=draw(st.integers(1, 4)),
        where=draw(st.sampled_from(SIDES)),
    )
    return replace(plan, faults=draw(_faults(plan))) if faulty else plan


def clean_plans() -> st.SearchStrategy[Plan]:
    """Plans without faults."""
    return plans(faulty=False)
