"""How a fetch has ended so far, as its capture shows it."""

from dataclasses import dataclass
from pathlib import Path
from threading import Thread

from lab.socket_table import Connection


@dataclass(frozen=True, slots=True)
class Ending:
    """Whether every TCP connection has come to its end, whether the server began any of these ends; the connections."""

    all_closed: bool = False
    server_first: bool = False
    connections: tuple[Connection, ...] = ()


def read_ending(capture: Path) -> Ending:
    """The ending of the fetch in the file `capture`."""
    from analysis.files.capture import read_capture
    from analysis.packets.decode import decode
    from analysis.tcp.connections import find_connections

    connections = find_connections(decode(read_capture(capture).frames))
    closes = [connection.close for connection in connections]
    return Ending(
        all(close.complete or close.variant in ("reset", "refused") for close in closes),
        any(close.first_closer == "server" for close in closes),
        tuple(Connection((*one.client,), (*one.server,)) for one in connections),
    )


def load_meanwhile() -> Thread:
    """Import the analysis in a thread, while the caller only waits for its lab: it takes as long as that is made."""
    thread = Thread(target=_load)
    thread.start()
    return thread


def _load() -> None:
    import analysis.report  # noqa: F401 - for later
