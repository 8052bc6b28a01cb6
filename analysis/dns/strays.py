"""Responses that no lookup takes, and why: RFC 5452 §9.1 lists what a response must have in common with its query."""

from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Literal, NamedTuple

from analysis.dns.pairs import Pairing, Source

if TYPE_CHECKING:
    from analysis.dns.lookups import Message

Reason = Literal[
    "second answer",
    "overruled",
    "wrong id",
    "wrong address",
    "wrong port",
    "wrong question",
    "malformed",
    "unasked",
    "captured twice",
]
Key = tuple[object, ...]


class Ignored(NamedTuple):
    """A message that changed nothing. `of`: the frame of the query that it comes closest to, or of its twin."""

    frame: int
    reason: Reason
    of: int | None


class Strays(NamedTuple):
    """What was ignored: by the number of the lookup that it comes closest to, and what comes close to none."""

    of_lookup: dict[int, list[Ignored]]
    unasked: tuple[Ignored, ...]


def find_strays(pairing: Pairing, messages: Mapping[Source, "Message"]) -> Strays:
    """Compare each response that none takes with the queries before it, of which the latest counts."""
    lookup_of = {query: number for number, pair in enumerate(pairing) for query in (pair.query, *pair.retries)}
    strays = set(pairing.strays)
    asked: dict[Key, Source] = {}
    found: dict[int, list[Ignored]] = {}
    unasked: list[Ignored] = []
    for source, message in messages.items():
        if source in lookup_of:
            asked.update(dict.fromkeys((key for _, key in _keys(message)), source))
        elif source in strays:
            match = next(((reason, asked[key]) for reason, key in _keys(message) if key in asked), None)
            if match is None:
                unasked.append(Ignored(message.frame, "unasked", None))
                continue
            reason, query = match
            number = lookup_of[query]
            if reason == "second answer":
                counting = pairing.pair(number).response
                came_before = counting is not None and message.frame < messages[counting].frame
                reason = "malformed" if message.is_malformed else "overruled" if came_before else reason
            found.setdefault(number, []).append(Ignored(message.frame, reason, messages[query].frame))
    _note_twins(pairing, messages, lookup_of, found)
    return Strays(found, tuple(unasked))


def _keys(message: "Message") -> Iterator[tuple[Reason, Key]]:
    """What a query and a response have in common: all, then all but one thing."""
    client, resolver = (message.src, message.sport), (message.dst, message.dport)
    if message.is_response:
        client, resolver = resolver, client
    question = (message.transport, message.name, message.type)
    number = message.id
    yield "second answer", (0, *question, number, client, resolver)
    yield "wrong id", (1, *question, client, resolver)
    yield "wrong address", (2, *question, number, client, resolver[1])
    yield "wrong port", (3, *question, number, client[0], resolver[0])
    yield "wrong question", (4, message.transport, number, client, resolver)


def _note_twins(
    pairing: Pairing,
    messages: Mapping[Source, "Message"],
    lookup_of: Mapping[Source, int],
    found: dict[int, list[Ignored]],
) -> None:
    """Datagrams that were captured twice go with the lookup that has their twin."""
    taken = dict(lookup_of)
    for number, pair in enumerate(pairing):
        taken |= {source: number for source in (pair.response, pair.truncated) if source is not None}
    for source, twin in pairing.twins.items():
        first = _original(pairing, twin)
        if first in taken and source in messages:
            found.setdefault(taken[first], []).append(
                Ignored(messages[source].frame, "captured twice", messages[first].frame)
            )


def _original(pairing: Pairing, row: int) -> Source:
    while row in pairing.twins:
        row = pairing.twins[row]
    return row


def in_order(ignored: Iterable[Ignored]) -> tuple[Ignored, ...]:
    """By frame."""
    return tuple(sorted(ignored, key=lambda one: one.frame))
