"""Load a scenario file and check it whole. Every complaint names file, line, key and what is allowed."""

import difflib
import re
from collections.abc import Mapping
from dataclasses import replace
from ipaddress import IPv4Address, IPv6Address
from pathlib import Path
from typing import Any

from analysis.errors import InputError
from analysis.expect.parse import parse_expectation
from analysis.expect.pattern import Expectation
from lab.errors import ScenarioError
from lab.scenario.client import load_client
from lab.scenario.commands import check_commands, check_redirects, first_host
from lab.scenario.model import (
    CLIENT_ADDRESS,
    CLIENT_ADDRESS_6,
    RESOLVER_ADDRESS,
    Address,
    Addresses,
    Name,
    Role,
    Scenario,
)
from lab.scenario.names import host_address, load_names
from lab.scenario.server import load_server
from lab.scenario.wire import load_wire
from lab.toml.table import Table, read_file
from lab.toml.values import duration, duration_words, hostname, line, text, truth

PACK = Path(__file__).parent.parent / "scenarios"
LONGEST_NAME = 40
FAILS_WORDS = 'a list of rules by their ids (README.md has them), such as "tcp.checksums"'
FALLBACK_SERVER = IPv4Address("192.0.2.80")  # of a server that no name leads to


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
    return check_scenario(read_file(path, "scenario", "docs/scenario-file.md", ScenarioError))


def check_scenario(table: Table) -> Scenario:
    """The scenario that the whole `table` of a file is."""
    path, source = table.file.path, table.file.source
    title = table.take("title", "", line, "one line of text")
    look_for = table.take("look_for", "", line, "one line of text")
    takes_s = table.take("takes", None, duration(600.0), duration_words("600s"))
    inexact = _inexact(table)
    ipv6 = table.take("ipv6", False, truth, "true or false")
    names_table = table.table("names")
    names = load_names(names_table)
    server = load_server(table.table("server"))
    client_table, resolver_table = table.table("client"), table.table("resolver")
    client = load_client(client_table)
    addresses = _addresses(client_table, resolver_table, names_table, names, ipv6=ipv6)
    client_table.finish()
    resolver_table.finish()
    wire = load_wire(table.table("wire"), ipv6=ipv6)
    expect = table.table("expect")
    expected, expected_shape = _expected(expect)
    host = expect.take("host", None, hostname, "a host name")
    closes = expect.take("close", True, truth, "true or false")
    expect.finish()
    table.finish()
    check_commands(table.file, client, names, addresses)
    check_redirects(table.file, client, server, names, addresses)
    name = re.sub(r"[^A-Za-z0-9._-]+", "-", path.stem)[:LONGEST_NAME]
    return Scenario(
        name=name,
        path=str(path),
        source=source,
        title=title,
        look_for=look_for,
        takes_s=takes_s,
        inexact_because=inexact,
        ipv6=ipv6,
        addresses=addresses,
        names=names,
        server=server,
        client=client,
        wire=wire,
        expected=expected,
        expected_shape=expected_shape,
        host=host or first_host(client),
        closes=closes,
    )


def _inexact(table: Table) -> str | None:
    """Why runs may differ, where the scenario says `exact = false`."""
    exact = table.take("exact", True, truth, "true or false")
    because = table.take("because", None, line, "one line of text")
    if exact == (because is not None):
        missing = "needs `because`: why runs may differ" if not exact else "explains `exact = false`, which isn't there"
        raise table.contradicts("because" if exact else "exact", missing, "give both or none")
    return because


def _addresses(client: Table, resolver: Table, names: Table, known: Mapping[str, Name], *, ipv6: bool) -> Addresses:
    """Every host's addresses; the server has all of the names'."""
    clients = _own(client, CLIENT_ADDRESS, CLIENT_ADDRESS_6, ipv6=ipv6)
    resolvers = _own(resolver, RESOLVER_ADDRESS, None, ipv6=ipv6)
    taken: dict[Address, Role] = dict.fromkeys(clients, "client")
    if resolvers[0] in taken:
        raise resolver.wrong("address", str(resolvers[0]), "any address but the client's")
    taken |= dict.fromkeys(resolvers, "resolver")
    servers: dict[Address, None] = {}
    for owner, name in known.items():
        for address in name.addresses:
            if address in taken:
                raise names.wrong(owner, str(address), f"any address but {address}, which is the {taken[address]}'s")
            if ipv6 or isinstance(address, IPv4Address):
                servers[address] = None
    own = sorted(servers, key=lambda address: address.version)  # stable: the scenario's order within a family
    if not own or own[0].version == 6:
        own.insert(0, FALLBACK_SERVER)
    return Addresses(clients, resolvers, tuple(own))


def _own(table: Table, usual: IPv4Address, usual_6: IPv6Address | None, *, ipv6: bool) -> tuple[Address, ...]:
    """The addresses of the client or the resolver: its IPv4 address, then one of IPv6 where it has that."""
    value = table.take("address", None, lambda value: value, "")
    if value is None:
        return (usual, usual_6) if ipv6 and usual_6 else (usual,)
    given = [host_address(table, "address", entry) for entry in (value if isinstance(value, list) else [value])]
    given.sort(key=lambda address: address.version)
    versions = [address.version for address in given]
    if versions not in ([4], [4, 6]):
        raise table.wrong("address", value, "one IPv4 address, or a list of one and an IPv6 address")
    if 6 in versions and not ipv6:
        raise table.contradicts("address", "has an IPv6 address, but IPv6 is off", "switch it on: ipv6 = true")
    return (*given, *([usual_6] if ipv6 and usual_6 and 6 not in versions else []))


def _expected(table: Table) -> tuple[Expectation | None, Expectation | None]:
    """What must come, and its shape: the scenario's own, or what follows from the other."""
    expected, own_shape = _pattern(table, "sequence"), _pattern(table, "shape")
    fails: frozenset[str] = table.take("fails", frozenset(), _rules, FAILS_WORDS)
    if expected is None:
        for key in ("shape", "fails"):
            if table.given(key):
                fix = "write the sequence that a report of it prints"
                raise table.contradicts(key, "needs expect.sequence beside it", fix)
        return None, None
    if own_shape is not None and own_shape.form != "shape":
        raise table.contradicts("shape", "has numbers in it", "write the shape that a report of it prints")
    shape = own_shape or expected.shape()
    return replace(expected, fails=fails), None if shape is None else replace(shape, fails=fails)


def _pattern(table: Table, key: str) -> Expectation | None:
    words: Any = table.take(key, None, text, "a sequence, as a report prints it")
    if words is None:
        return None
    try:
        expected = parse_expectation(words)
    except InputError as error:
        raise table.file.wrong((*table.keys, key), str(error), error.next_step) from None
    if not expected.line_count:
        raise table.wrong(key, words, "one line at least; leave the key out to expect an ordinary fetch")
    return expected


def _rules(value: Any) -> frozenset[str] | None:
    good = isinstance(value, list) and all(isinstance(rule, str) and rule in _rule_ids() for rule in value)
    return frozenset(value) if good else None


def _rule_ids() -> tuple[str, ...]:
    """The rules that a scenario may expect to fail; loaded when one does, for it takes long."""
    from analysis.rules.judge import RULES

    return tuple(rule.id for rule in RULES if rule.id not in ("capture.whole", "expect.sequence"))
