"""`[names]`: what the resolver knows, and how it answers."""

from collections.abc import Mapping
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import Any

from lab.scenario.model import TTL_S, Address, Answer, Name
from lab.toml.lines import Key
from lab.toml.table import Table
from lab.toml.values import duration, duration_words, hostname, integer, one_of, truth

RCODES = ("NXDOMAIN", "SERVFAIL", "REFUSED", "FORMERR", "NOTIMP")
LONGEST_CHAIN = 16
MOST_TURNS = 100
ANSWER_KEYS = ("addresses", "cname", "rcode", "silent", "truncated", "delay", "ttl")


def load_names(table: Table) -> dict[str, Name]:
    """The names of the scenario, in its order."""
    names: dict[str, Name] = {}
    for key, value in table.left.items():
        name = hostname(key)
        if name is None:
            raise table.wrong(key, key, "a host name: letters, digits and hyphens, with dots between")
        if name in names:
            raise table.wrong(key, value, "each name once; upper and lower case are the same name")
        names[name] = _name(table, key, value)
    _refuse_alias_loops(table, names)
    return names


def _name(table: Table, key: str, value: Any) -> Name:
    if isinstance(value, list) and value and all(isinstance(entry, dict) for entry in value):
        if len(value) > MOST_TURNS:
            raise table.wrong(key, value, f"at most {MOST_TURNS} turns")
        turns = table.entry(key, {})
        return Name(tuple(_answer(turns, index, entry) for index, entry in enumerate(value)))
    if isinstance(value, dict):
        return Name((_answer(table, key, value),))
    return Name((Answer(_addresses(table, key, value)),))


def _answer(table: Table, key: Key, value: dict[str, Any]) -> Answer:
    if not value.keys() & {*ANSWER_KEYS}:
        raise table.wrong(key, value, f'{", ".join(ANSWER_KEYS)}; a name with dots stands in quotes, "{key}.…"')
    entry = table.entry(key, value)
    addresses = _addresses(entry, "addresses", entry.left["addresses"]) if entry.has("addresses") else ()
    entry.take("addresses", None, lambda value: value, "")
    cname = entry.take("cname", None, hostname, "a host name")
    rcode = entry.take("rcode", None, one_of(*RCODES), ", ".join(RCODES))
    silent = entry.take("silent", False, truth, "true or false")
    truncated = entry.take("truncated", False, truth, "true or false")
    delay_s = entry.take("delay", 0.0, duration(60.0), duration_words("60s"))
    ttl_s = entry.take("ttl", TTL_S, integer(0, 2**31 - 1), "seconds, 0 to 2147483647 (RFC 2181 §8)")
    entry.finish()
    kinds = [word for word, given in (("addresses", "addresses" in value), ("cname", cname), ("rcode", rcode)) if given]
    if len(kinds) != (0 if silent else 1) or (silent and (truncated or delay_s)):
        raise table.wrong(key, value, "one of addresses, cname, rcode; or silent = true and nothing else")
    return Answer(addresses, cname, rcode, silent, truncated, delay_s, ttl_s)


def _addresses(table: Table, key: str, value: Any) -> tuple[Address, ...]:
    return tuple(host_address(table, key, entry) for entry in (value if isinstance(value, list) else [value]))


def host_address(table: Table, key: str, value: Any) -> Address:
    """An address that a host may have."""
    try:
        address = ip_address(value) if isinstance(value, str) else None
    except ValueError:
        address = None
    odd = isinstance(address, IPv6Address) and (address.scope_id or address.ipv4_mapped)
    if address is None or odd or address.is_loopback or address.is_multicast or address.is_unspecified:
        raise table.wrong(key, value, "IPv4 and IPv6 addresses of one host, as text")
    if isinstance(address, IPv4Address) and (int(address) >> 28 == 15 or int(address) >> 24 == 0):
        raise table.wrong(key, value, "an address that a host may have (not 0.0.0.0/8, not 240.0.0.0/4)")
    if isinstance(address, IPv6Address) and address.is_link_local:
        raise table.wrong(key, value, "an address beyond the link (not fe80::/10)")
    return address


def _refuse_alias_loops(table: Table, names: Mapping[str, Name]) -> None:
    """Complain of aliases in a circle, whichever turns are taken, and of too long a chain."""
    lengths: dict[str, int] = {}

    def length(name: str, chain: tuple[str, ...]) -> int:
        """How many names an answer for `name` may go through."""
        if name in chain:
            raise table.wrong(chain[0], {"cname": name}, "aliases that lead somewhere; these go in a circle")
        if len(chain) > LONGEST_CHAIN:
            raise table.wrong(chain[0], {"cname": chain[1]}, f"a chain of at most {LONGEST_CHAIN} names")
        if name not in lengths:
            aliases = [turn.cname for turn in names[name].turns if turn.cname] if name in names else []
            lengths[name] = 1 + max((length(alias, (*chain, name)) for alias in aliases), default=0)
        return lengths[name]

    for name in names:
        if length(name, ()) > LONGEST_CHAIN:
            raise table.wrong(name, names[name].turns[0].cname, f"a chain of at most {LONGEST_CHAIN} names")
