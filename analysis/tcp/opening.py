"""How a connection opened (RFC 9293 §3.5), from the codes of its segments."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from analysis.tcp.codes import (
    ACKS_SYN,
    ACKS_SYN_DATA,
    FROM_SERVER,
    HAS_ACK,
    HAS_DATA,
    HAS_RST,
    HAS_SYN,
)
from analysis.tcp.states import Step

Status = Literal["complete", "refused", "unanswered", "incomplete", "midway"]
Kind = Literal["three-way", "simultaneous", "split"]
SynData = Literal["accepted", "ignored"]


@dataclass(frozen=True, slots=True)
class Opening:
    """The handshake as seen where the capture was taken; `places` are its segments' in the connection, from 0.

    `kind`: simultaneous, if both sides sent a SYN before they had the other's (RFC 9293 §3.5, figure 7); split, if
    the server answered the SYN with a SYN of its own, so that the client had to send the SYN,ACK. `syn_count`: SYNs of
    the client. `syn_data`: whether the bytes that the SYN carried were acknowledged with it (RFC 7413 §4.2).
    """

    status: Status
    kind: Kind | None
    syn_count: int
    syn_data: SynData | None
    places: tuple[int, ...]


def name_opening(steps: Sequence[Step], *, is_refused: bool, refusal: tuple[int, ...]) -> Opening:
    """The opening that `steps` show; `refusal`: the places of the reset, if the connection was refused."""
    syns = [step for step in steps if step.code & (HAS_SYN | HAS_ACK) == HAS_SYN]
    answers = [step for step in steps if step.code & (HAS_SYN | HAS_ACK) == HAS_SYN | HAS_ACK]
    places = tuple(step.place for step in (*syns, *answers))
    if not syns:
        return Opening("midway", None, 0, None, places)
    client = syns[0].code & FROM_SERVER
    count = sum(syn.code & FROM_SERVER == client for syn in syns)
    data = _syn_data(syns, answers)
    if is_refused:
        return Opening("refused", None, count, data, tuple(sorted({*places, *refusal})))
    if count < len(syns):
        return _crossing(steps, syns, answers, count)
    if not answers:
        silent = all(step.code & FROM_SERVER == client for step in steps)
        return Opening("unanswered" if silent else "incomplete", None, count, data, places)
    good = [step for step in answers if step.code & FROM_SERVER != client and step.code & ACKS_SYN]
    last = _first_ack(steps, client, good[0].place) if good else None
    status: Status = "incomplete" if last is None else "complete"
    return Opening(status, "three-way", count, data, places if last is None else (*places, last))


def _crossing(steps: Sequence[Step], syns: list[Step], answers: list[Step], count: int) -> Opening:
    """Both sides sent a pure SYN: by accident at the same time, or the server instead of its SYN,ACK."""
    client = syns[0].code & FROM_SERVER
    second = next(syn for syn in syns if syn.code & FROM_SERVER != client)
    had_acked = any(
        step.place < second.place and step.code & FROM_SERVER != client and step.code & ACKS_SYN for step in steps
    )
    from_both = len({step.code & FROM_SERVER for step in answers}) == 2
    kind: Kind = "simultaneous" if from_both and not had_acked else "split"
    acks = [_first_ack(steps, side, second.place, with_syn=True) for side in (client, FROM_SERVER - client)]
    places = sorted({step.place for step in (*syns, *answers)} | {place for place in acks if place is not None})
    return Opening("incomplete" if None in acks else "complete", kind, count, _syn_data(syns, answers), tuple(places))


def _first_ack(steps: Sequence[Step], side: int, after: int, *, with_syn: bool = False) -> int | None:
    """The place of the first segment of `side` behind `after` that acknowledges the peer's SYN."""
    without = HAS_RST if with_syn else HAS_RST | HAS_SYN
    for step in steps:
        if step.place > after and step.code & FROM_SERVER == side and step.code & ACKS_SYN and not step.code & without:
            return step.place
    return None


def _syn_data(syns: list[Step], answers: list[Step]) -> SynData | None:
    if not answers or not any(syn.code & HAS_DATA for syn in syns):
        return None
    return "accepted" if any(step.code & ACKS_SYN_DATA for step in answers) else "ignored"
