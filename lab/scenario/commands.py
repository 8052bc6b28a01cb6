"""The client's commands, against the rest of the scenario: no file is touched, every name and address is somebody's."""

import difflib
import re
from collections.abc import Iterator, Mapping, Sequence

from analysis.errors import InputError
from lab.curl.arguments import file_arguments, names_asked, urls
from lab.curl.options import operations
from lab.curl.urls import as_address, host_and_port
from lab.scenario.model import Addresses, Client, Name, Response, Server
from lab.toml.lines import Key
from lab.toml.table import File

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
            if not _is_known(name, names):
                raise _unknown_name(file, _where(keys, command, name), name, names)
        for host in [] if _leads_elsewhere(command) else _hosts(command):
            _check_address(file, _where(keys, command, host), host, addresses)


def check_redirects(
    file: File, client: Client, server: Server, names: Mapping[str, Name], addresses: Addresses
) -> None:
    """Complain of a redirect that the client would follow to a name or address that nobody has."""
    if not any(map(_follows, client.commands)) or any(map(_leads_elsewhere, client.commands)):
        return
    places: dict[tuple[Key, ...], Response] = {("server",): server.response}
    places |= {("server", "paths", path): response for path, response in server.paths.items()}
    for place, response in places.items():
        for header, value in response.headers if 300 <= response.status < 400 else ():
            found = re.match(r"(?:https?:)?//", value, re.IGNORECASE)
            if header.lower() != "location" or not found:
                continue
            host = host_and_port(f"http://{value[found.end() :]}")[0]
            keys = (*place, "headers", header)
            _check_address(file, keys, host, addresses)
            if as_address(host) is None and not _is_known(host, names):
                raise _unknown_name(file, keys, host, names)


def _check_address(file: File, keys: tuple[Key, ...], host: str, addresses: Addresses) -> None:
    """Complain of a host that is an address which nobody has, or one that is written as only curl understands it."""
    address = as_address(host)
    if address is None:
        return
    if address not in addresses.server:
        fix = "fetch from an address that is in [names]: the server has those"
        said = host if host == str(address) else f"{host}, which curl takes for {address},"
        raise file.wrong(keys, f"{said} is an address that nobody has", fix)
    if host != str(address):
        raise file.wrong(keys, f"{host} is a spelling of {address} that the capture doesn't have", f"write {address}")


def _is_known(name: str, names: Mapping[str, Name]) -> bool:
    return name in names or any(other.endswith(f".{name}") for other in names)  # exists, empty: RFC 8020


def _follows(command: Sequence[str]) -> bool:
    """Whether curl follows redirects."""
    followed = ("location", "location-trusted")
    return any(used.name in followed and not used.off for part in operations(command) for used in part)


def _unknown_name(file: File, keys: tuple[Key, ...], name: str, names: Mapping[str, Name]) -> InputError:
    near = difflib.get_close_matches(name, names, 1)
    hint = f"; did you mean {near[0]!r}?" if near else ""
    fix = f'tell the resolver in [names]: an address, or "{name}" = {{ rcode = "NXDOMAIN" }}'
    return file.wrong(keys, f"{name} is a name that nobody knows{hint}", fix)


def _hosts(command: Sequence[str]) -> Iterator[str]:
    return (host_and_port(url)[0] for url in urls(command))


def _leads_elsewhere(command: Sequence[str]) -> bool:
    """Whether an option may lead connections to other addresses than the URLs'."""
    return any(word.startswith(DETOURS) for word in command)


def _where(keys: tuple[Key, ...], command: Sequence[str], words: str) -> tuple[Key, ...]:
    """The keys of the argument that holds these words."""
    index = next((index for index, argument in enumerate(command) if words in argument.lower()), None)
    return keys if index is None else (*keys, index)
