"""The story of a fetch: the lookups of its name, the connections that used their answers, the exchanges.

It filters as one does by hand: the name, the addresses that it resolved to, nothing else.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from analysis.carried import Carried
from analysis.dns.lookups import Lookup
from analysis.fetches import Fetch, find_fetches
from analysis.http import Exchange
from analysis.names import canonical
from analysis.packets.packet import Packet
from analysis.tcp.connection import Connection
from analysis.tls import Tls
from analysis.traffic import Traffic


@dataclass(frozen=True, slots=True)
class Story:
    """One fetch. Lookups and connections in order of their first frame.

    `names`: its own, and those that redirects led to. `carried`: by connection. `carriers`: the connections to a
    resolver that carried its lookups over TCP.
    """

    names: tuple[str, ...]
    lookups: tuple[Lookup, ...]
    connections: tuple[Connection, ...]
    carried: tuple[Carried, ...]
    carriers: tuple[Connection, ...]

    @property
    def name(self) -> str:
        return self.names[0]

    @property
    def exchanges(self) -> tuple[Exchange, ...]:
        return tuple(exchange for carried in self.carried for exchange in carried.exchanges)

    @property
    def tls(self) -> tuple[Tls, ...]:
        """The connections that are encrypted: what their hellos say."""
        return tuple(carried.tls for carried in self.carried if carried.tls is not None)

    @property
    def frames(self) -> tuple[int, ...]:
        """The frames of the story, in capture order."""
        lookups = {frame for lookup in self.lookups for frame in lookup.frames}
        segments = {frame for connection in (*self.connections, *self.carriers) for frame in connection.frames}
        return tuple(sorted(lookups | segments))

    @property
    def addresses(self) -> frozenset[str]:
        """Every address that the name resolved to."""
        return frozenset(address for lookup in self.lookups for address in lookup.addresses)

    @property
    def has_handshake(self) -> bool:
        return any(connection.handshake.status == "complete" for connection in self.connections)

    def packets(self, traffic: Traffic) -> dict[int, Packet]:
        """The packets of the story's frames, by frame."""
        connections = (*self.connections, *self.carriers)
        known = {one.frame: one.packet for connection in connections for one in connection.segments}
        return {
            frame: packet for frame in self.frames if (packet := known.get(frame) or traffic.packets.packet_in(frame))
        }


def find_stories(traffic: Traffic) -> tuple[Story, ...]:
    """The fetches of looked-up names, then those whose name was not looked up."""
    return tuple(_story(fetch, traffic) for fetch in find_fetches(traffic))


def choose_story(stories: Sequence[Story], host: str | None, target: str | None = None) -> tuple[Story | None, str]:
    """The story to tell, and why: the host asked for; else the first of those with the most in it.

    `target`: of several fetches, those whose request target has this text in it go before.
    """
    if host is not None:
        wanted = canonical(host)
        named = [story for story in stories if wanted in (*story.names, *_addresses_used(story))]
        if named:
            named = [story for story in named if _asks_for(story, target)] or named
            several = f", the fullest of {len(named)} fetches" if len(named) > 1 else ""
            return _fullest(named), f"the host asked for{several}"
        known = ", ".join(list(dict.fromkeys(story.name for story in stories))[:5]) or "none"
        return None, f"{wanted} is not in the capture; names that are: {known}"
    stories = [story for story in stories if _asks_for(story, target)] or stories
    open_ = [story for story in stories if story.has_handshake]
    looked_up = [story for story in open_ if story.lookups]
    for what, good in (
        ("a lookup, a handshake and an exchange", [story for story in looked_up if story.exchanges]),
        ("a lookup, a handshake and TLS", [story for story in looked_up if story.tls]),
        ("a lookup and a connection", [story for story in stories if story.lookups and story.connections]),
        ("a handshake and an exchange; none has a lookup", [story for story in open_ if story.exchanges]),
        ("a handshake and TLS; none has a lookup", [story for story in open_ if story.tls]),
        ("a handshake; none has a lookup or an exchange", open_),
    ):
        if good:
            count = f" ({len(good)} have)" if len(good) > 1 else ""
            return good[0], f"the first with {what}{count}"
    with_connection = [story for story in stories if story.connections]
    if with_connection:
        first = min(with_connection, key=lambda story: story.connections[0].frames[0])
        return first, "the first connection: none has a lookup or a handshake"
    if stories:
        return stories[0], "the first lookup: no TCP connection is in the capture"
    return None, "no lookup and no TCP connection is in the capture"


def _addresses_used(story: Story) -> tuple[str, ...]:
    return tuple(connection.server.address for connection in story.connections)


def _asks_for(story: Story, target: str | None) -> bool:
    return target is not None and any(target in exchange.target for exchange in story.exchanges)


def _fullest(stories: list[Story]) -> Story:
    return max(stories, key=lambda story: (bool(story.lookups), bool(story.exchanges), bool(story.connections)))


def _story(fetch: Fetch, traffic: Traffic) -> Story:
    used = sorted(fetch.connections)
    frames = (frame for lookup in fetch.lookups for frame in lookup.frames)
    carriers = sorted({traffic.carrier_in[frame] for frame in frames if frame in traffic.carrier_in})
    return Story(
        tuple(fetch.names),
        tuple(sorted(fetch.lookups, key=lambda lookup: lookup.query_frames[0])),
        tuple(traffic.connections[index] for index in used),
        tuple(traffic.carried[index] for index in used),
        tuple(traffic.connections[index] for index in carriers),
    )
