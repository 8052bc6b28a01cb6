"""A capture in counts: its lookups, connections and events by what became of them. For bulk; judges nothing."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

from analysis.dns.lookups import type_name
from analysis.files.capture import Capture
from analysis.traffic import Traffic


@dataclass(frozen=True, slots=True)
class Summary:
    """How many of each, most frequent first; a kind that doesn't occur is left out.

    `closes`: by variant; `first_closers`: by who began the close; `facts`: what is said beside a close. `events` don't
    count checksums, which a summary doesn't compute. `others`: frames that are neither UDP nor TCP.
    """

    capture: Capture
    lookup_count: int
    lookups: dict[str, int]
    types: dict[str, int]
    retried: int
    connection_count: int
    handshakes: dict[str, int]
    openings: dict[str, int]
    closes: dict[str, int]
    first_closers: dict[str, int]
    facts: dict[str, int]
    events: dict[str, int]
    others: dict[str, int]


def summarise(capture: Capture) -> Summary:
    """Every lookup and every connection of `capture`, classified and counted."""
    traffic = Traffic(capture)
    lives = traffic.connections.life_counts()
    pairs = traffic.pairing.counts()
    facts: Counter[str] = Counter()
    for life, count in lives.items():
        facts.update(dict.fromkeys(life.ending.facts, count))
    return Summary(
        capture,
        len(traffic.pairing),
        _counted((status, count) for (_, status, _), count in pairs.items()),
        _counted((type_name(number), count) for (number, _, _), count in pairs.items()),
        sum(count for (_, _, retried), count in pairs.items() if retried),
        len(traffic.connections),
        _counted((life.opening.status, count) for life, count in lives.items()),
        _counted((life.opening.kind, count) for life, count in lives.items()),
        _counted((life.ending.variant, count) for life, count in lives.items()),
        _counted((life.ending.closer, count) for life, count in lives.items()),
        dict(facts.most_common()),
        dict(Counter(event.kind for events in traffic.connections.odd.values() for event in events).most_common()),
        dict(Counter(traffic.packets.others).most_common()),
    )


def _counted(pairs: Iterable[tuple[str | None, int]]) -> dict[str, int]:
    counts: Counter[str] = Counter()
    for name, count in pairs:
        if name is not None:
            counts[name] += count
    return dict(counts.most_common())
