"""The story of a fetch: the lookups of one name, the connections that used their answers, the exchanges.

It filters as one does by hand: the name, the addresses that it resolved to, nothing else.
"""

import ipaddress
from collections.abc import Container, Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property

from analysis.capture import Capture
from analysis.decode import decode
from analysis.dns import Lookup, Message, canonical, find_lookups, find_messages
from analysis.dns_pairs import DNS_PORT, Source, pair_messages
from analysis.dns_strays import Ignored
from analysis.http import Exchange, find_exchanges
from analysis.packet import Packet
from analysis.tcp import Connection, find_connections


class Traffic:
    """All that was found in a capture: what is counted is found at once, what is told when it is asked for."""

    def __init__(self, capture: Capture) -> None:
        self.capture = capture
        self.packets = decode(capture.frames)
        self.connections: tuple[Connection, ...] = find_connections(self.packets)
        self.pairing = pair_messages(self.packets, self.connections)

    @cached_property
    def _messages(self) -> dict[Source, Message]:
        return find_messages(self.packets, self.connections)

    @property
    def messages(self) -> tuple[Message, ...]:
        return tuple(self._messages.values())

    @cached_property
    def _lookups(self) -> tuple[tuple[Lookup, ...], tuple[Ignored, ...]]:
        return find_lookups(self.pairing, self._messages)

    @property
    def lookups(self) -> tuple[Lookup, ...]:
        return self._lookups[0]

    @property
    def unasked(self) -> tuple[Ignored, ...]:
        """Responses that come close to no query of the capture."""
        return self._lookups[1]

    def packets_of(self, story: "Story") -> dict[int, Packet]:
        """The packets of the story's frames, by frame."""
        known = {one.frame: one.packet for connection in story.connections for one in connection.segments}
        return {
            frame: packet for frame in story.frames if (packet := known.get(frame) or self.packets.packet_in(frame))
        }

    @cached_property
    def exchanges(self) -> tuple[tuple[Exchange, ...], ...]:
        """Those of the connection at the same index."""
        return tuple(find_exchanges(connection) for connection in self.connections)


@dataclass(frozen=True, slots=True)
class Story:
    """One fetch. Lookups and connections in order of their first frame."""

    name: str
    lookups: tuple[Lookup, ...]
    connections: tuple[Connection, ...]
    exchanges: tuple[Exchange, ...]

    @property
    def frames(self) -> tuple[int, ...]:
        """The frames of the story, in capture order."""
        lookups = {frame for lookup in self.lookups for frame in lookup.frames}
        segments = {frame for connection in self.connections for frame in connection.frames}
        return tuple(sorted(lookups | segments))

    @property
    def addresses(self) -> frozenset[str]:
        """Every address that the name resolved to."""
        return frozenset(address for lookup in self.lookups for address in lookup.addresses)

    @property
    def is_whole(self) -> bool:
        """Whether it has a lookup, a handshake and an exchange."""
        return bool(self.lookups and self.exchanges) and any(
            connection.handshake.status == "complete" for connection in self.connections
        )


def find_stories(traffic: Traffic) -> tuple[Story, ...]:
    """One story a looked-up name, then one a connection that used no answer in the capture."""
    lookups_of: dict[str, list[Lookup]] = {}
    names_at: dict[str, dict[str, None]] = {}
    for lookup in traffic.lookups:
        lookups_of.setdefault(lookup.name, []).append(lookup)
        for address in lookup.addresses:
            names_at.setdefault(address, {})[lookup.name] = None
    used: dict[str, list[int]] = {name: [] for name in lookups_of}
    told: set[int] = set()
    for index, connection in enumerate(traffic.connections):
        if connection.server.port == DNS_PORT:
            continue  # it carried lookups
        at_address = names_at.get(connection.server.address, {})
        for name in _names_meant(traffic.exchanges[index], at_address, lookups_of):
            used[name].append(index)
            told.add(index)
    stories = [_story(name, tuple(lookups), traffic, used[name]) for name, lookups in lookups_of.items()]
    carried = {(lookup.client, lookup.resolver) for lookup in traffic.lookups if lookup.transport == "tcp"}
    for index, connection in enumerate(traffic.connections):
        of_lookup = (
            connection.server.port == DNS_PORT and (connection.client.address, connection.server.address) in carried
        )
        if index not in told and not of_lookup:
            stories.append(_story(_name_of(traffic, index), (), traffic, [index]))
    return tuple(stories)


def choose_story(stories: Sequence[Story], host: str | None) -> tuple[Story | None, str]:
    """The story to tell, and why: the host asked for; else the first whole one; else the first there is."""
    if host is not None:
        wanted = canonical(host)
        named = [story for story in stories if wanted in (story.name, *_addresses_used(story))]
        if named:
            return _fullest(named), "the host asked for"
        known = ", ".join(list(dict.fromkeys(story.name for story in stories))[:5]) or "none"
        return None, f"{wanted} is not in the capture; names that are: {known}"
    for story in stories:
        if story.is_whole:
            return story, "the first with a lookup, a handshake and an exchange"
    with_connection = [story for story in stories if story.connections]
    if with_connection:
        first = min(with_connection, key=lambda story: story.connections[0].frames[0])
        return first, "the first connection: none has a lookup, a handshake and an exchange"
    if stories:
        return stories[0], "the first lookup: no TCP connection is in the capture"
    return None, "no lookup and no TCP connection is in the capture"


def host_of(value: str) -> str:
    """The host in a `Host` header's value or a URL's authority, without port and brackets, canonical."""
    if value.startswith("["):
        return canonical(value[1:].split("]", maxsplit=1)[0])
    return canonical(value.rsplit(":", 1)[0] if value.count(":") == 1 else value)


def is_address(text: str) -> bool:
    """Whether `text` is an IP address, which needs no lookup."""
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True


def _addresses_used(story: Story) -> tuple[str, ...]:
    return tuple(connection.server.address for connection in story.connections)


def _fullest(stories: list[Story]) -> Story:
    return max(stories, key=lambda story: (bool(story.lookups), bool(story.exchanges), bool(story.connections)))


def _names_meant(exchanges: tuple[Exchange, ...], at_address: Iterable[str], known: Container[str]) -> Iterable[str]:
    """The looked-up names whose story a connection is part of: those its requests are for; else those at its address.

    Names can share an address, so an address alone doesn't tell.
    """
    hosts = dict.fromkeys(host_of(host) for exchange in exchanges if (host := exchange.header("host")))
    meant = [host for host in hosts if host in known]
    return meant or list(dict.fromkeys(at_address))


def _name_of(traffic: Traffic, index: int) -> str:
    hosts = [host for exchange in traffic.exchanges[index] if (host := exchange.header("host"))]
    return host_of(hosts[0]) if hosts else traffic.connections[index].server.address


def _story(name: str, lookups: tuple[Lookup, ...], traffic: Traffic, used: list[int]) -> Story:
    connections = tuple(traffic.connections[index] for index in used)
    exchanges = tuple(exchange for index in used for exchange in traffic.exchanges[index])
    return Story(name, lookups, connections, exchanges)
