"""What each container's kernel says of a run's TCP connections at its end: one look, in the tables under /proc/net."""

import time
from collections.abc import Mapping, Sequence

from lab.containers.engine import Engine
from lab.containers.stream import STDOUT, Command
from lab.socket_table import Connection, Seen, describe, parse_table, state_in

READ_TABLES = ("sh", "-c", "read -r go; cat /proc/net/tcp /proc/net/tcp6")
MOST_CONNECTIONS = 200
READ_S = 5.0


def look_at_sockets(
    engine: Engine,
    containers: Mapping[str, str],
    connections: Sequence[Connection],
    hosts: Mapping[str, str],
    frame_count: int,
) -> list[dict[str, object]]:
    """The state of both ends of each connection, as the facts `sockets`.

    `containers` by role, `hosts` by address: any other is the server's. `frame_count`: the capture's by now. A host
    that doesn't answer has said nothing.
    """
    asked = connections[:MOST_CONNECTIONS]
    roles = {"client"} | {hosts.get(one.server[0], "server") for one in asked} if asked else set()
    reading = {role: Command(engine, containers[role], READ_TABLES) for role in sorted(roles)}
    tables = {role: parse_table(text) for role, command in reading.items() if (text := _read(command))}
    return [
        describe(
            one,
            {
                end: [Seen(frame_count, state_in(tables[role], own, peer))]
                for end, role, own, peer in (
                    ("client", "client", one.client, one.server),
                    ("server", hosts.get(one.server[0], "server"), one.server, one.client),
                )
                if role in tables
            },
        )
        for one in asked
    ]


def _read(command: Command) -> str:
    """What `READ_TABLES` prints; empty if it doesn't come to its end."""
    command.write(b"go\n")
    deadline = time.monotonic() + READ_S
    parts: list[bytes] = []
    while not command.ended and time.monotonic() < deadline:
        parts += [data for stream, data in command.read(0.1) if stream == STDOUT]
    complete = command.ended
    command.close()
    return b"".join(parts).decode("ascii", "replace") if complete else ""
