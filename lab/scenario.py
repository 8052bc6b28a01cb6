"""The scenario: names and addresses, how the server answers and closes, the client's command.

A TOML file, loaded and checked whole before anything starts. Every complaint names file, key and what is allowed.
"""

import difflib
import hashlib
import re
import tomllib
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from http import HTTPStatus
from ipaddress import IPv4Address, IPv6Address, ip_address
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from analysis.errors import InputError
from analysis.expect.parse import parse_expectation
from analysis.expect.pattern import Expectation
from lab.errors import ScenarioError
from lab.table import Table

PACK = Path(__file__).parent / "scenarios"
CLIENT_ADDRESS, RESOLVER_ADDRESS = IPv4Address("192.0.2.10"), IPv4Address("192.0.2.53")
CLOSES = ("client", "server", "reset")
RCODES = ("NXDOMAIN", "SERVFAIL", "REFUSED")
LARGEST_BODY = 100_000_000
LONGEST_COMMAND = 10_000
LONGEST_NAME = 40
LONGEST_CHAIN = 16
FILLER = b"The quick brown fox jumps over the lazy dog. "
LABEL = re.compile(r"(?!-)[a-z0-9_-]{1,63}(?<!-)")  # RFC 1123 §2.1, and the underscore of RFC 8552
PATH = re.compile(r"(?:/[A-Za-z0-9_~-][A-Za-z0-9._~-]*)+/?")  # no empty or dot segments: every server reads it alike
TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")  # RFC 9110 §5.6.2
DURATION = re.compile(r"(\d{1,6}(?:\.\d{1,6})?) ?(us|ms|s)")
UNITS = {"us": 1e-6, "ms": 1e-3, "s": 1.0}
DURATION_WORDS = 'a time such as "21ms" or "1.5s", at most {}'


@dataclass(frozen=True, slots=True)
class Name:
    """What the resolver knows of a name: addresses, or an alias, or an rcode."""

    addresses: tuple[IPv4Address | IPv6Address, ...] = ()
    cname: str | None = None
    rcode: str | None = None


@dataclass(frozen=True, slots=True)
class Response:
    """What the HTTP server answers."""

    status: int = 200
    reason: str = "OK"
    headers: tuple[tuple[str, str], ...] = ()
    body: bytes = b""


@dataclass(frozen=True, slots=True)
class Server:
    """How the HTTP server answers and who closes first; `quickack`: whether it acknowledges without delay."""

    port: int = 80
    response: Response = Response()
    paths: Mapping[str, Response] = field(default_factory=dict)
    close: str = "client"
    quickack: bool = False

    def answer(self, target: str) -> Response:
        """The response to a request for `target`: its path's own, or the one for all others."""
        return self.paths.get(unquote(target.partition("?")[0]), self.response)


@dataclass(frozen=True, slots=True)
class Client:
    """The client's `curl`: arguments, local port (None: the kernel's choice), seconds it may take."""

    curl: tuple[str, ...]
    port: int | None = None
    deadline_s: float = 10.0


@dataclass(frozen=True, slots=True)
class Scenario:
    """A checked scenario. `source` is the file's text."""

    name: str
    path: str
    source: str
    title: str
    look_for: str
    names: Mapping[str, Name]
    server: Server
    client: Client
    delay_s: float
    expected: Expectation | None

    @property
    def sha256(self) -> str:
        """Of the source, in hex."""
        return hashlib.sha256(self.source.encode()).hexdigest()

    @property
    def host(self) -> str | None:
        """The host of the first URL that the client fetches."""
        for argument in self.client.curl:
            if argument.startswith("http://"):
                with suppress(ValueError):  # no URL: curl will say so
                    return urlsplit(argument).hostname
        return None

    @property
    def server_addresses(self) -> tuple[IPv4Address, ...]:
        """Every IPv4 address among the names, each once: the server has them all."""
        found = (address for name in self.names.values() for address in name.addresses)
        return tuple(dict.fromkeys(address for address in found if isinstance(address, IPv4Address)))


def pack() -> tuple[Path, ...]:
    """The files of the scenario pack, by name."""
    return tuple(sorted(PACK.glob("*.toml")))


def find_scenario(name_or_path: str) -> Path:
    """The file of a scenario of the pack, or the file that `name_or_path` names."""
    in_pack = {path.stem: path for path in pack()}
    if name_or_path in in_pack:
        return in_pack[name_or_path]
    path = Path(name_or_path)
    if path.suffix == ".toml" or "/" in name_or_path:
        return path
    near = difflib.get_close_matches(name_or_path, in_pack, 1)
    raise InputError(
        f"there is no scenario {name_or_path!r}" + (f"; did you mean {near[0]!r}?" if near else ""),
        f"name one of the pack ({', '.join(in_pack)}) or a .toml file",
    )


def load_scenario(path: Path) -> Scenario:
    """Load and check the scenario file at `path`; `ScenarioError` says all that is wrong with a key."""
    if path.exists() and not path.is_file():
        raise ScenarioError(f"{path}: is no regular file", "name a .toml file")
    try:
        source = path.read_bytes().decode("utf-8-sig")
        table = tomllib.loads(source)
    except FileNotFoundError:
        raise ScenarioError(f"{path}: there is no such scenario file", "see `invoke scenarios`") from None
    except UnicodeDecodeError as error:
        raise ScenarioError(f"{path}: is not UTF-8 text (byte {error.start})", "save it as UTF-8") from None
    except tomllib.TOMLDecodeError as error:
        raise ScenarioError(f"{path}: is not TOML: {error}", "mend that line; see https://toml.io") from None
    except (ValueError, RecursionError):
        message = f"{path}: is not TOML that can be read: a number too long, or tables nested too deeply"
        raise ScenarioError(message, "write it as docs/scenario-file.md has it") from None
    except OSError as error:
        raise ScenarioError(f"{path}: can't be read: {error.strerror}", "check its permissions") from None
    return _scenario(Table(path, "", table), source)


def _scenario(table: Table, source: str) -> Scenario:
    title = table.take("title", "", _line, "one line of text")
    look_for = table.take("look_for", "", _line, "one line of text")
    names = _names(table.table("names"))
    server = _server(table.table("server"))
    client = _client(table.table("client"))
    wire = table.table("wire")
    delay_s = wire.take("delay", 0.0, _duration(10.0), DURATION_WORDS.format("10s"))
    wire.finish()
    expect = table.table("expect")
    expected = _expected(expect)
    expect.finish()
    table.finish()
    path = table.path
    name = re.sub(r"[^A-Za-z0-9._-]+", "-", path.stem)[:LONGEST_NAME]
    return Scenario(name, str(path), source, title, look_for, names, server, client, delay_s, expected)


def _line(value: Any) -> str | None:
    return value if isinstance(value, str) and value.isprintable() else None


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) else None


def _integer(low: int, high: int) -> Callable[[Any], int | None]:
    def check(value: Any) -> int | None:
        return value if isinstance(value, int) and not isinstance(value, bool) and low <= value <= high else None

    return check


def _duration(longest_s: float, least_s: float = 0.0) -> Callable[[Any], float | None]:
    def check(value: Any) -> float | None:
        found = DURATION.fullmatch(value) if isinstance(value, str) else None
        seconds = float(found[1]) * UNITS[found[2]] if found else -1.0
        return seconds if least_s <= seconds <= longest_s else None

    return check


def _hostname(value: Any) -> str | None:
    if not isinstance(value, str):
        return None
    name = value.lower().removesuffix(".")
    return name if 0 < len(name) <= 253 and all(LABEL.fullmatch(label) for label in name.split(".")) else None


def _names(table: Table) -> dict[str, Name]:
    names: dict[str, Name] = {}
    for key, value in table.left.items():
        name = _hostname(key)
        if name is None:
            raise table.wrong(key, key, "a host name: letters, digits and hyphens, with dots between")
        if name in names:
            raise table.wrong(key, value, "each name once; upper and lower case are the same name")
        names[name] = _name(table, key, value)
    for name in names:
        _refuse_alias_loop(table, names, name)
    return names


def _name(table: Table, key: str, value: Any) -> Name:
    if isinstance(value, str):
        value = [value]
    if isinstance(value, list):
        return Name(addresses=tuple(_address(table, key, entry) for entry in value))
    if isinstance(value, dict) and not value.keys() <= {"cname", "rcode"}:
        raise table.wrong(key, value, f'addresses, cname or rcode; a name with dots stands in quotes, "{key}.…"')
    entry = Table(table.path, table.full(key), value)
    cname = entry.take("cname", None, _hostname, "a host name")
    rcode = entry.take("rcode", None, lambda code: code if code in RCODES else None, ", ".join(RCODES))
    entry.finish()
    if (cname is None) == (rcode is None):
        raise table.wrong(key, value, "a list of addresses, or one of cname and rcode")
    return Name(cname=cname, rcode=rcode)


def _address(table: Table, key: str, value: Any) -> IPv4Address | IPv6Address:
    try:
        address = ip_address(value) if isinstance(value, str) else None
    except ValueError:
        address = None
    odd = isinstance(address, IPv6Address) and (address.scope_id or address.ipv4_mapped)
    if address is None or odd or address.is_loopback or address.is_multicast or address.is_unspecified:
        raise table.wrong(key, value, "IPv4 and IPv6 addresses of one host, as text")
    if isinstance(address, IPv4Address) and (int(address) >> 28 == 15 or int(address) >> 24 == 0):
        raise table.wrong(key, value, "an address that a host may have (not 0.0.0.0/8, not 240.0.0.0/4)")
    for owner, taken in (("client", CLIENT_ADDRESS), ("resolver", RESOLVER_ADDRESS)):
        if address == taken:
            raise table.wrong(key, value, f"any address but {taken}, which is the {owner}'s")
    return address


def _refuse_alias_loop(table: Table, names: Mapping[str, Name], start: str) -> None:
    seen, name = {start}, names[start].cname
    while name is not None and name in names:
        if name in seen:
            raise table.wrong(start, {"cname": names[start].cname}, "aliases that lead somewhere; these go in a circle")
        seen.add(name)
        name = names[name].cname
    if len(seen) > LONGEST_CHAIN:
        raise table.wrong(start, {"cname": names[start].cname}, f"a chain of at most {LONGEST_CHAIN} names")


def _server(table: Table) -> Server:
    port = table.take("port", 80, _integer(1, 65535), "a port, 1 to 65535")
    response = _response(table)
    paths = _paths(table.table("paths"))
    close = table.take("close", "client", lambda who: who if who in CLOSES else None, ", ".join(CLOSES))
    quickack = table.take("quickack", False, lambda value: value if isinstance(value, bool) else None, "true or false")
    table.finish()
    return Server(port, response, paths, close, quickack)


def _paths(table: Table) -> dict[str, Response]:
    paths: dict[str, Response] = {}
    for path in list(table.left):
        if not PATH.fullmatch(path):
            raise table.wrong(
                path, path, 'the path of a URL, such as "/home": letters, digits and . _ ~ - between slashes'
            )
        own = table.table(path)
        paths[path] = _response(own)
        own.finish()
    return paths


def _response(table: Table) -> Response:
    status = table.take("status", 200, _integer(200, 599), "a final HTTP status, 200 to 599")
    reason = table.take("reason", default_reason(status), _header_value, "one line of printable ASCII")
    headers = _headers(table.table("headers"))
    body = table.take("body", b"", _body, f"a number of bytes, 0 to {LARGEST_BODY}, or a text")
    if status in (204, 304) and body:
        raise table.wrong("body", len(body), f"0: a response {status} has no body (RFC 9110 §15)")
    return Response(status, reason, headers, body)


def default_reason(status: int) -> str:
    """The reason phrase of the registry, or nothing for a status that isn't in it."""
    return HTTPStatus(status).phrase if status in HTTPStatus._value2member_map_ else ""


def _body(value: Any) -> bytes | None:
    if isinstance(value, str):
        return value.encode()
    length = _integer(0, LARGEST_BODY)(value)
    return None if length is None else (FILLER * (length // len(FILLER) + 1))[:length]


def _header_value(value: Any) -> str | None:
    return value if isinstance(value, str) and value.isascii() and (value.isprintable() or not value) else None


def _headers(table: Table) -> tuple[tuple[str, str], ...]:
    headers: list[tuple[str, str]] = []
    for name, value in table.left.items():
        if not TOKEN.fullmatch(name):
            raise table.wrong(name, name, "a header name (RFC 9110 §5.6.2): letters, digits and - _ . and the like")
        for entry in value if isinstance(value, list) else [value]:
            if _header_value(entry) is None:
                raise table.wrong(name, entry, "one line of printable ASCII, or a list of such lines")
            headers.append((name, entry.strip()))
    return tuple(headers)


def _client(table: Table) -> Client:
    words = f"curl's arguments as a list of texts, {LONGEST_COMMAND} characters at most"
    table.require("curl", words)
    curl: tuple[str, ...] = table.take("curl", (), _arguments, words)
    port = table.take("port", None, _integer(1, 65535), "a port, 1 to 65535")
    words = 'a time such as "1.5s", from 1ms to 600s'
    deadline_s = table.take("deadline", 10.0, _duration(600.0, 0.001), words)
    table.finish()
    return Client(curl, port, deadline_s)


def _arguments(value: Any) -> tuple[str, ...] | None:
    if not isinstance(value, list) or not value:
        return None
    good = all(isinstance(argument, str) and argument and "\0" not in argument for argument in value)
    return tuple(value) if good and sum(map(len, value)) <= LONGEST_COMMAND else None


def _expected(table: Table) -> Expectation | None:
    text = table.take("sequence", None, _text, "a sequence, as a report prints it")
    if text is None:
        return None
    try:
        expected = parse_expectation(text)
    except InputError as error:
        raise ScenarioError(f"{table.path}: {table.full('sequence')}: {error}", error.next_step) from None
    if not expected.line_count:
        raise table.wrong("sequence", text, "one line at least; leave the key out to expect an ordinary fetch")
    return expected
