"""What a connection carries: exchanges of HTTP/1.x, or something that can only be named."""

from typing import NamedTuple

from analysis.http import Exchange, answered_before, read_exchanges
from analysis.names import host_of
from analysis.tcp.connection import Connection
from analysis.tcp.stream import reassemble
from analysis.tls import Tls, find_tls, speaks


class Carried(NamedTuple):
    """`protocol`: `HTTP/1.x`, `TLS`, `HTTP/2`, `SSH`, …; None where it is unknown or nothing was carried."""

    protocol: str | None
    exchanges: tuple[Exchange, ...]
    tls: Tls | None
    has_data: bool

    @property
    def hosts(self) -> tuple[str, ...]:
        """The hosts that it says it is for: those of its requests, or the server name of TLS."""
        if self.tls is not None:
            return () if self.tls.server_name is None else (self.tls.server_name,)
        fields = (exchange.header("host") for exchange in self.exchanges)
        return tuple(dict.fromkeys(host_of(field) for field in fields if field))


NOTHING = Carried(None, (), None, has_data=False)


def read_carried(connection: Connection) -> Carried:
    """Read what both sides sent."""
    if not connection.life.has_data:
        return NOTHING
    client, server = reassemble(connection, "client"), reassemble(connection, "server")
    answered = answered_before(connection, client, server)
    connection.forget()
    exchanges = read_exchanges(client, server, answered)
    if exchanges:
        return Carried("HTTP/1.x", exchanges, None, has_data=True)
    tls = find_tls(client, server)
    return Carried("TLS" if tls else speaks(client.data, server.data), (), tls, has_data=True)
