"""Whether a fetch is over, as its capture shows it."""

from pathlib import Path

from analysis.capture import read_capture
from analysis.packet import decode
from analysis.tcp import find_connections


def all_closed(capture: Path) -> bool:
    """Whether every TCP connection in the file has come to its end."""
    connections = find_connections(decode(read_capture(capture).frames).packets)
    return all(
        connection.close.complete or connection.close.variant in ("reset", "refused") for connection in connections
    )
