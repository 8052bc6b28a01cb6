"""`[wire]`: what joins the hosts, and the faults: instructions such as *drop the client's 1st SYN*."""

import re
from itertools import combinations
from typing import Any, get_args

from lab.scenario.model import ROLES, Action, Fault, Leg, Role, Selection, WirePlan
from lab.toml.table import Table
from lab.toml.values import RATE_WORDS, duration, duration_words, integer, one_of, rate

KINDS = (
    "SYN", "SYN,ACK", "ACK", "data", "FIN", "RST",
    "DNS query", "DNS answer", "A query", "A answer", "AAAA query", "AAAA answer", "any",
)  # fmt: skip
ACTIONS: tuple[Action, ...] = get_args(Action)
SENDER = f"(?P<sender>{'|'.join(ROLES)})"
KIND = f"(?P<kind>{'|'.join(map(re.escape, KINDS))})"
WHICH = r"(?:(?P<many>first +)?(?P<number>[1-9][0-9]{0,6})|all)"
SELECTION = re.compile(f"{SENDER} +{KIND} +{WHICH}")
SELECTION_WORDS = (
    f'sender, kind and which, as in "client SYN 1"; senders: {", ".join(ROLES)}; '
    f"kinds: {' | '.join(KINDS)}; which: N (the N-th), first N, all"
)
MOST_FAULTS = 100
LEAST_MTU, LEAST_MTU_6, LARGEST_MTU = 576, 1280, 9000  # RFC 791 §3.1: every host takes 576; RFC 8200 §5


def load_wire(table: Table, *, ipv6: bool) -> WirePlan:
    """The wire of a scenario."""
    whole = _leg(table, ipv6=ipv6)
    legs: dict[Role, Leg] = {}
    for role in ROLES:
        leg = table.table(role)
        if table.given(role):
            legs[role] = _leg(leg, ipv6=ipv6)
            leg.finish()
    order = table.take("order", "lock-step", one_of("lock-step", "free"), "lock-step, free")
    entries = list(table.tables("fault"))
    if len(entries) > MOST_FAULTS:
        raise table.wrong("fault", f"{len(entries)} faults", f"at most {MOST_FAULTS}")
    faults = [_fault(entry) for entry in entries]
    _refuse_contradictions(entries, faults)
    table.finish()
    return WirePlan(whole, legs, tuple(faults), "free" if order == "free" else "lock-step")


def _leg(table: Table, *, ipv6: bool) -> Leg:
    delay_s = table.take("delay", 0.0, duration(10.0), duration_words("10s"))
    bandwidth = table.take("bandwidth", None, rate, RATE_WORDS)
    least = LEAST_MTU_6 if ipv6 else LEAST_MTU
    mtu = table.take("mtu", None, integer(least, LARGEST_MTU), f"bytes, {least} to {LARGEST_MTU}")
    return Leg(delay_s, bandwidth, mtu)


def _fault(table: Table) -> Fault:
    given = [action for action in ACTIONS if table.has(action)]
    if len(given) != 1:
        what = f"has {len(given)} of these, and needs one: {', '.join(ACTIONS)}"
        raise table.file.wrong(table.keys, what, 'write for instance: drop = "client SYN 1"')
    (action,) = given
    frames = table.take(action, None, read_selection, SELECTION_WORDS)
    assert frames is not None  # noqa: S101 - it is one of the given
    delay_s, byte = 0.0, -1
    if action == "delay":
        words = 'a time such as "21ms" or "1.5s", from 1us to 60s'
        table.require("by", words)
        delay_s = table.take("by", 0.0, duration(60.0, 1e-6), words)
    if action == "corrupt":
        byte = table.take(
            "byte", -1, integer(-9000, 9000), "an offset into the frame, -9000 to 9000; negative from its end"
        )
    chance, seed = _dice(table)
    table.finish()
    return Fault(action, frames, delay_s, byte, chance, seed)


def read_selection(value: Any) -> Selection | None:
    """The frames that a text such as `client SYN,ACK first 2` chooses."""
    found = SELECTION.fullmatch(value.strip()) if isinstance(value, str) else None
    if found is None:
        return None
    sender: Role = next(role for role in ROLES if role == found["sender"])
    number = int(found["number"] or 0)
    first, last = (1, None) if not number else (1, number) if found["many"] else (number, number)
    return Selection(" ".join(value.split()), sender, found["kind"], first, last)


def _dice(table: Table) -> tuple[float, int]:
    """Chance and seed of a fault that is left to chance: the same seed gives the same run."""
    for key, other in (("chance", "seed"), ("seed", "chance")):
        if table.has(key) and not table.has(other):
            fix = "give both: nothing is left to chance without a seed"
            raise table.contradicts(key, f"needs {other} beside it", fix)
    chance = table.take("chance", 1.0, _chance, "a number above 0 and at most 1")
    return chance, table.take("seed", 0, integer(0, 2**63), "a whole number")


def _chance(value: Any) -> float | None:
    return float(value) if type(value) in (int, float) and 0 < value <= 1 else None


def _refuse_contradictions(tables: list[Table], faults: list[Fault]) -> None:
    """Complain of two faults that can't both be done to the same frames."""
    for (_, one), (table, other) in combinations(zip(tables, faults, strict=True), 2):
        both = one.frames.overlaps(other.frames) and one.chance == other.chance == 1
        if both and (one.action == other.action or "drop" in (one.action, other.action)):
            what = f'"{other.frames.text}" contradicts the fault "{one.text}": both choose the same frames'
            raise table.contradicts(other.action, what, "choose other frames, or leave one of them out")
