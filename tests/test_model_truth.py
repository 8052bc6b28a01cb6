"""The analysis finds the truth of connections that a small TCP model made: losses, duplicates, reorderings, wraps."""

from hypothesis import given, settings

from analysis.files.capture import parse_capture
from analysis.tcp.connection import Connection
from analysis.tcp.segment import PEER, ROLES, Role
from analysis.tcp.stream import reassemble
from analysis.traffic import Traffic
from tests.model import Plan, Trace, clean_plans, pcap, plans, run

CLIENT_PORT = 40000
SENT_AGAIN = {"retransmission", "fast-retransmission", "spurious-retransmission", "out-of-order"}
OPENINGS = {  # as seen: status, kind, Fast Open
    "normal": ("complete", "three-way", None),
    "simultaneous": ("complete", "simultaneous", None),
    "split": ("complete", "split", None),
    "split with ack": ("complete", "split", None),
    "fast-open accepted": ("complete", "three-way", "accepted"),
    "fast-open ignored": ("complete", "three-way", "ignored"),
    "refused": ("refused", None, None),
    "unanswered": ("unanswered", None, None),
    "midway": ("midway", None, None),
}


def analysed(trace: Trace) -> Connection:
    (found,) = Traffic(parse_capture(pcap(trace), "model.pcap")).connections
    assert found.frame_count == len(trace.frames)
    return found


def named(found: Connection, role: Role | None) -> Role | None:
    """The model's name of a side: where both send a SYN, the first in the capture is our client."""
    if role is None or found.client.port == CLIENT_PORT:
        return role
    return PEER[role]


def _opening(trace: Trace) -> tuple[str, str | None, str | None]:
    handshake = analysed(trace).handshake
    return handshake.status, handshake.kind, handshake.fast_open


@given(clean_plans())
@settings(max_examples=400)
def test_openings_are_what_they_were(plan: Plan) -> None:
    trace = run(plan)
    assert trace.opening == plan.opening
    assert _opening(trace) == OPENINGS[plan.opening]


@given(plans())
@settings(max_examples=400)
def test_openings_are_what_they_were_whatever_befell_their_segments(plan: Plan) -> None:
    trace = run(plan)
    if trace.frames and plan.opening not in (
        "simultaneous",
        "split",
        "split with ack",
    ):  # a SYN lost is another opening
        assert _opening(trace) == OPENINGS[trace.opening]


@given(plans())
@settings(max_examples=400)
def test_closes_are_what_they_were(plan: Plan) -> None:
    trace = run(plan)
    if not trace.frames:
        return
    found, truth = analysed(trace), trace.close
    close = found.close
    assert (close.variant, named(found, close.first_closer)) == (truth.variant, truth.first_closer)
    assert bool(close.complete) == truth.complete
    assert bool(close.fin_retransmitted) == truth.fin_retransmitted
    assert bool(close.fin_with_data) == truth.fin_with_data
    if not any(frame.fills_hole for frame in trace.frames):  # when its bytes were first sent, nobody can tell
        assert close.half_close_data == truth.half_close_data
    assert (close.reset_after is not None) == truth.reset_after_close


@given(plans())
@settings(max_examples=400)
def test_every_segment_sent_again_lost_or_doubled_is_known(plan: Plan) -> None:
    trace = run(plan)
    if not trace.frames:
        return
    found = analysed(trace)
    answered: set[str] = set()
    for index, frame in enumerate(trace.frames, 1):
        kinds = {event.kind for event in found.events_in.get(index, ())}
        assert ("duplicate-frame" in kinds) == frame.is_duplicate, index
        first_answer = {"S", "A"} <= set(frame.segment.flags) and frame.sender not in answered
        answered |= {frame.sender} if first_answer else set()
        if not frame.is_duplicate and not first_answer:  # after a SYN of its side, a SYN,ACK repeats that one by rule
            assert bool(kinds & SENT_AGAIN) == (frame.seen_before or frame.fills_hole), (index, kinds)
            assert ("previous-segment-lost" in kinds) == frame.opens_hole, (index, kinds)


@given(plans())
@settings(max_examples=400)
def test_the_bytes_of_each_side_are_put_together(plan: Plan) -> None:
    trace = run(plan)
    if not trace.frames:
        return
    found = analysed(trace)
    for role in ROLES:
        stream = reassemble(found, role)
        captured = trace.data[named(found, role) or role]
        assert captured.startswith(stream.data)
        assert stream.has_gap or stream.data == captured
        assert sum(one.length for one in found.sent_by(role) if not one.repeated) == len(captured)


@given(clean_plans())
@settings(max_examples=400)
def test_the_states_are_those_of_the_hosts(plan: Plan) -> None:
    trace = run(plan)
    if plan.opening == "split with ack":  # a server that acknowledges a SYN and stays in LISTEN is no TCP's
        return
    found = analysed(trace)
    for frame, states in zip(trace.frames, found.states, strict=True):
        if frame.sender == plan.where:
            assert getattr(states, named(found, frame.sender) or "") == frame.state, (frame.segment, found.states)
