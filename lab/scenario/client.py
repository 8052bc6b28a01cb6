"""`[client]`: its commands, and how it looks names up."""

import re
from typing import Any

from lab.scenario.model import Client
from lab.scenario.server import load_route
from lab.toml.table import Table
from lab.toml.values import duration, integer

LONGEST_COMMAND = 10_000
MOST_COMMANDS = 20
RESOLVER_OPTION = re.compile(
    r"(?:ndots|timeout|attempts):[0-9]{1,2}|single-request(?:-reopen)?|use-vc|no-aaaa|rotate|edns0|trust-ad"
)
COMMAND_WORDS = f"curl's arguments as a list of texts, {LONGEST_COMMAND} characters at most; or a list of such lists"


def load_client(table: Table) -> Client:
    """The client's commands."""
    table.require("curl", COMMAND_WORDS)
    commands: tuple[tuple[str, ...], ...] = table.take("curl", (), _commands, COMMAND_WORDS)
    port = table.take("port", None, integer(1, 65535), "a port, 1 to 65535")
    words = 'a time such as "1.5s", from 1ms to 600s'
    deadline_s = table.take("deadline", 10.0, duration(600.0, 0.001), words)
    words = "a list of options of resolv.conf(5): timeout:N, attempts:N, ndots:N, single-request, use-vc, no-aaaa, …"
    options: tuple[str, ...] = table.take("resolver_options", (), _resolver_options, words)
    return Client(commands, port, deadline_s, options, load_route(table))


def _commands(value: Any) -> tuple[tuple[str, ...], ...] | None:
    if not isinstance(value, list) or not value:
        return None
    several = value if all(isinstance(entry, list) for entry in value) else [value]
    commands = [_arguments(entry) for entry in several]
    if len(commands) > MOST_COMMANDS:
        return None
    good = tuple(command for command in commands if command is not None)
    return good if len(good) == len(commands) else None


def _arguments(value: list[Any]) -> tuple[str, ...] | None:
    good = bool(value) and all(isinstance(argument, str) and argument and "\0" not in argument for argument in value)
    return tuple(value) if good and sum(map(len, value)) <= LONGEST_COMMAND else None


def _resolver_options(value: Any) -> tuple[str, ...] | None:
    good = isinstance(value, list) and all(isinstance(word, str) and RESOLVER_OPTION.fullmatch(word) for word in value)
    return tuple(value) if good else None
