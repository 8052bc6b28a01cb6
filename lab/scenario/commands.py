"""The client's commands, against the rest of the scenario: no file is touched, every name and address is somebody's."""

import difflib
from collections.abc import Iterator, Mapping, Sequence
from ipaddress import ip_address

from lab.curl.arguments import file_arguments, names_asked, urls
from lab.curl.urls import host_and_port
from lab.errors import ScenarioError
from lab.scenario.lines import Key
from lab.scenario.model import Address, Addresses, Client, Name
from lab.scenario.table import File

DETOURS = ("--connect-to", "--resolve", "-x", "--proxy", "--socks", "--preproxy")


def first_host(client: Client) -> str | None:
    """The host of the first URL that the client fetches."""
    fetched = urls(client.commands[0])
    return host_and_port(fetched[0])[0] or None if fetched else None


def check_commands(file: File, client: Client, names: Mapping[str, Name], addresses: Addresses) -> None:
    """Complain of arguments that touch files, and of names and addresses that nobody has."""
    for number, command in enumerate(client.commands):
        keys: tuple[Key, ...] = ("client", "curl", number) if len(client.commands) > 1 else ("client", "curl")
        for index, why in file_arguments(command):
            raise file.wrong((*keys, index), why, "leave it out: a scenario touches no file, but -o /dev/null")
        if client.port is not None and any(word.startswith("--local-port") for word in command):
            raise file.wrong(keys, "has --local-port, and client.port is there, too", "leave one of them out")
        for name in names_asked(command):
            if name not in names and not any(other.endswith(f".{name}") for other in names):  # exists, empty: RFC 8020
                raise _unknown_name(file, _where(keys, command, name), name, names)
        for address in [] if _leads_elsewhere(command) else _literals(command):
            if address not in addresses.server:
                fix = "fetch from an address that is in [names]: the server has those"
                raise file.wrong(_where(keys, command, str(address)), f"{address} is an address that nobody has", fix)


def _unknown_name(file: File, keys: tuple[Key, ...], name: str, names: Mapping[str, Name]) -> ScenarioError:
    near = difflib.get_close_matches(name, names, 1)
    hint = f"; did you mean {near[0]!r}?" if near else ""
    fix = f'tell the resolver in [names]: an address, or "{name}" = {{ rcode = "NXDOMAIN" }}'
    return file.wrong(keys, f"{name} is a name that nobody knows{hint}", fix)


def _literals(command: Sequence[str]) -> Iterator[Address]:
    """The hosts of URLs that are addresses."""
    for url in urls(command):
        try:
            yield ip_address(host_and_port(url)[0])
        except ValueError:
            continue


def _leads_elsewhere(command: Sequence[str]) -> bool:
    """Whether an option may lead connections to other addresses than the URLs'."""
    return any(word.startswith(DETOURS) for word in command)


def _where(keys: tuple[Key, ...], command: Sequence[str], words: str) -> tuple[Key, ...]:
    """The keys of the argument that holds these words."""
    index = next((index for index, argument in enumerate(command) if words in argument.lower()), None)
    return keys if index is None else (*keys, index)
