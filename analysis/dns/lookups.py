"""DNS lookups and messages as values: each question with its retries and its outcome.

RFC 1035 §4. Which response answers which query is `analysis.dns.pairs`'s business, records are `analysis.dns.records`'.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache

import dns.name
import dns.rcode
import dns.rdatatype

from analysis.dns.pairs import Pair, Pairing, Raw, Source, all_messages
from analysis.dns.records import Edns, Record, read_sections
from analysis.dns.strays import Ignored, Strays, find_strays, in_order
from analysis.dns.wire import IS_TRUNCATED, RCODE, Facts, Status
from analysis.names import canonical
from analysis.packets.columns import Packets
from analysis.tcp.connections import Connections


@dataclass(frozen=True, slots=True)
class Message:
    """One DNS message in the capture; the last of `frames` completed it. An error may lack name and type.

    `is_cut`: only its beginning was captured; `is_malformed`: its records can't be read, though they were.
    """

    frames: tuple[int, ...]
    transport: str
    src: str
    dst: str
    sport: int
    dport: int
    id: int
    is_response: bool
    truncated: bool
    rcode: str
    name: str
    type: str
    answers: tuple[Record, ...]
    authority: tuple[Record, ...]
    edns: Edns | None
    is_cut: bool
    is_malformed: bool

    @property
    def frame(self) -> int:
        return self.frames[-1]


@dataclass(frozen=True, slots=True)
class Lookup:
    """One DNS question, its retries and its outcome.

    `status`: see `dns_wire.Status`; of the response that counts, the first that matches. `truncated`: a response
    over UDP that didn't fit, so that the client asked again over TCP. `ignored`: messages that changed nothing.
    """

    transport: str
    status: Status
    queries: tuple[Message, ...]
    response: Message | None
    truncated: Message | None
    ignored: tuple[Ignored, ...]

    @property
    def name(self) -> str:
        return self.queries[0].name

    @property
    def type(self) -> str:
        return self.queries[0].type

    @property
    def client(self) -> str:
        return self.queries[0].src

    @property
    def resolver(self) -> str:
        return self.queries[0].dst

    @property
    def rcode(self) -> str | None:
        return None if self.response is None else self.response.rcode

    @property
    def answers(self) -> tuple[Record, ...]:
        return () if self.response is None else self.response.answers

    @property
    def query_frames(self) -> tuple[int, ...]:
        return tuple(query.frame for query in self.queries)

    @property
    def response_frame(self) -> int | None:
        return None if self.response is None else self.response.frame

    @property
    def frames(self) -> tuple[int, ...]:
        """All frames that carried any of it."""
        messages = (*self.queries, *(one for one in (self.truncated, self.response) if one is not None))
        frames = {frame for message in messages for frame in message.frames}
        return tuple(sorted(frames | {one.frame for one in self.ignored}))

    @property
    def addresses(self) -> tuple[str, ...]:
        """The addresses that the name resolved to, by way of its aliases; records of other names don't count."""
        owner = (self.name, *self.cnames)[-1]
        found = (one for one in self.answers if one.name == owner and one.type in ("A", "AAAA"))
        return tuple(record.data for record in found if record.is_readable)

    @property
    def cnames(self) -> tuple[str, ...]:
        """The aliases on the way (RFC 1034 §3.6.2), in the order in which one leads to the next."""
        targets = {one.name: one.data for one in self.answers if one.type == "CNAME" and one.is_readable}
        chain: list[str] = []
        owner = self.name
        while owner in targets and targets[owner] not in chain:
            owner = targets[owner]
            chain.append(owner)
        return tuple(chain)


def find_messages(packets: Packets, connections: Connections, pairing: Pairing) -> dict[Source, Message]:
    """The DNS messages on port 53, over UDP and TCP, in order of the frame that completed each."""
    return {raw.source: _message(packets, raw, facts) for raw, facts in all_messages(packets, connections, pairing)}


def find_lookups(
    pairing: Pairing, messages: Mapping[Source, Message]
) -> tuple[tuple[Lookup, ...], tuple[Ignored, ...]]:
    """The lookups, in order of their first query; and the responses that come close to none."""
    strays = find_strays(pairing, messages)
    lookups = (_lookup(number, pair, messages, strays) for number, pair in enumerate(pairing))
    return tuple(lookups), strays.unasked


def _lookup(number: int, pair: Pair, messages: Mapping[Source, Message], strays: Strays) -> Lookup:
    response, truncated = (None if one is None else messages[one] for one in (pair.response, pair.truncated))
    queries = tuple(messages[query] for query in (pair.query, *pair.retries))
    ignored = in_order(strays.of_lookup.get(number, ()))
    return Lookup(pair.transport, pair.status, queries, response, truncated, ignored)


def type_name(number: int) -> str:
    """The name of a record type: `A`, `TYPE4242`."""
    return dns.rdatatype.to_text(dns.rdatatype.RdataType.make(number))


def _message(packets: Packets, raw: Raw, facts: Facts) -> Message:
    data = raw.data
    sections = read_sections(data)
    flags = int.from_bytes(data[2:4])
    return Message(
        packets.frames_of(raw.source) if isinstance(raw.source, int) else raw.source.frames,
        raw.transport,
        packets.address(raw.sender),
        packets.address(raw.receiver),
        raw.sender & 0xFFFF,
        raw.receiver & 0xFFFF,
        facts.id,
        facts.is_response,
        bool(flags & IS_TRUNCATED),
        dns.rcode.to_text(dns.rcode.Rcode.make(flags & RCODE | sections.extended_rcode << 4)),
        *(_question_words(facts.question) if facts.question else ("", "")),
        sections.answers,
        sections.authority,
        sections.edns,
        raw.is_cut,
        facts.status == "malformed",
    )


@lru_cache(maxsize=256)
def _question_words(question: bytes) -> tuple[str, str]:
    """Name and type of a question as on the wire."""
    name = dns.name.from_wire(question, 0)[0].to_text()
    return canonical(name), type_name(int.from_bytes(question[-4:-2]))
