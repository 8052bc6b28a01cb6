"""All that was found in a capture: what is counted is found at once, what is told when it is asked for."""

from functools import cached_property

from analysis.carried import NOTHING, Carried, read_carried
from analysis.dns.lookups import Lookup, Message, find_lookups, find_messages
from analysis.dns.pairs import DNS_PORT, Source, pair_messages
from analysis.dns.strays import Ignored
from analysis.files.capture import Capture
from analysis.packets.decode import decode
from analysis.tcp.connections import Connections, find_connections


class Traffic:
    """Packets, connections, lookups and exchanges of `capture`."""

    def __init__(self, capture: Capture) -> None:
        self.capture = capture
        self.packets = decode(capture.frames)
        self.connections: Connections = find_connections(self.packets)
        self.pairing = pair_messages(self.packets, self.connections)

    @cached_property
    def _messages(self) -> dict[Source, Message]:
        return find_messages(self.packets, self.connections, self.pairing)

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

    @cached_property
    def carried(self) -> tuple[Carried, ...]:
        """What the connection at the same index carries; of those to a resolver, the lookups tell."""
        return tuple(
            NOTHING if connection.server_port == DNS_PORT else read_carried(connection)
            for connection in self.connections
        )

    @cached_property
    def carrier_in(self) -> dict[int, int]:
        """The connection that carried DNS messages, by each frame that did."""
        frames = {frame for message in self.messages if message.transport == "tcp" for frame in message.frames}
        if not frames:
            return {}
        return {
            frame: connection.index
            for connection in self.connections.carriers_to(DNS_PORT)
            for frame in frames.intersection(connection.frames)
        }
