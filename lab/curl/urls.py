"""The URLs that curl's arguments make it fetch, and the names that it asks the resolver for on the way."""

import re
import socket
from collections.abc import Iterator, Sequence
from ipaddress import IPv4Address, IPv6Address, ip_address
from itertools import islice, product
from urllib.parse import unquote

from lab.curl.options import Used, operations

MOST_URLS = 1000  # of one argument
GUESSED = ("ftp", "dict", "ldap", "imap", "smtp", "pop3")  # by the host's first label; else http
PORTS = {"http": "80", "https": "443", "ftp": "21"}
SCHEME = re.compile(r"([A-Za-z0-9+.-]+):/{1,3}")
GLOB = re.compile(
    r"""(?P<literal>(?:[^][{}\\]|\\[][{}]|\\)+)
    | \{(?P<set>(?:[^][{}\\]|\\.)*)\}
    | \[(?P<low>[A-Za-z])-(?P<high>[A-Za-z])(?::(?P<letters>\d{1,9}))?\]
    | \[(?P<first>\d{1,18})-[ \t]*(?P<last>\d{1,18})(?::(?P<numbers>\d{1,18}))?\]
    | \[(?P<address>[0-9A-Fa-f:.]*(?:%[^][{}]*)?)\]""",
    re.VERBOSE | re.DOTALL,
)
ELEMENT = re.compile(r"(?:^|,)((?:\\.|[^,\\])*)", re.DOTALL)
PROXIES = ("proxy", "proxy1.0", "socks4", "socks4a", "socks5", "socks5-hostname")
ASKS_ITSELF = ("socks4", "socks5")  # with these proxies curl looks up the URL's host, too


def urls(arguments: Sequence[str]) -> list[str]:
    """The URLs that curl will fetch, in order: patterns written out, a scheme before each as curl guesses it.

    One argument that stands for more than `MOST_URLS`, or isn't a pattern that curl takes, stays as it is.
    """
    return [url for operation in operations(arguments) for url in _fetched(operation)]


def names_asked(arguments: Sequence[str]) -> list[str]:
    """The names that the resolver must know, each once, in lower case: those of URLs, proxies and DoH servers.

    Not those that --resolve answers, that --connect-to or a proxy replaces, nor addresses. The lab's own
    `--noproxy '*'` holds for the first operation, as long as the arguments have no other.
    """
    asked: list[str] = []
    resolved: list[str] = []  # curl keeps these for all operations that follow
    noproxy: str | None = "*"
    for operation in operations(arguments):
        resolved += _values(operation, "resolve")
        noproxy = next(reversed(_values(operation, "noproxy")), noproxy)
        for host, port in _reached(operation, noproxy):
            if host and not (_is_address(host) or _is_resolved(host, port, resolved)):
                asked.append(host)
        noproxy = None
    return list(dict.fromkeys(asked))


def stands_for(url: str, operation: Sequence[Used]) -> list[str] | None:
    """The URLs that one argument stands for: itself after -g; None where it is a pattern that can't be written out."""
    literal = [not used.off for used in operation if used.name == "globoff"][-1:] == [True]
    return [url] if literal else written_out(url)


def written_out(pattern: str) -> list[str] | None:
    """The URLs that a pattern such as http://{a,b}.test/[1-3] stands for; None if curl takes it for none."""
    parts: list[list[str]] = []
    at = amount = 0
    while at < len(pattern):
        found = GLOB.match(pattern, at)
        part = _choices(found) if found else []
        if not part:
            return None
        amount = max(amount, 1) * len(part)
        if amount > MOST_URLS:
            return None
        parts.append(part)
        at = found.end() if found else at
    return ["".join(choice) for choice in product(*parts)]


def with_scheme(url: str, default: str | None = None) -> str:
    """The URL with the scheme in lower case and two slashes, guessed (or `default`) where there is none."""
    found = SCHEME.match(url)
    if found:
        return f"{found[1].lower()}://{url[found.end() :]}"
    label = url.partition(".")[0].lower()
    return f"{default or (label if label in GUESSED and '.' in url else 'http')}://{url}"


def host_and_port(url: str) -> tuple[str, str]:
    """Host and port of a URL, as curl reads it; "" where there is none.

    The host in lower case, without brackets or a name's final dot.
    """
    full = with_scheme(url)
    authority = _authority(full)
    return _host(authority), _port(authority) or PORTS.get(full.partition(":")[0], "")


def _choices(found: re.Match[str]) -> list[str]:
    if found["literal"] is not None:
        return [re.sub(r"\\([][{}])", r"\1", found["literal"])]
    if found["set"]:
        return [re.sub(r"\\(.)", r"\1", one) for one in ELEMENT.findall(found["set"])]
    if found["low"]:
        return [
            chr(code)
            for code in _steps(ord(found["low"]), ord(found["high"]), found["letters"])
            if ord(found["high"]) - ord(found["low"]) <= 25
        ]
    if found["first"]:
        width = len(found["first"]) if found["first"].startswith("0") else 0
        numbers = _steps(int(found["first"]), int(found["last"]), found["numbers"])
        return [f"{number:0{width}d}" for number in islice(numbers, MOST_URLS + 1)]
    address = found["address"]
    return [found[0]] if address == "" or _is_address(address or "{") else []


def _steps(low: int, high: int, step: str | None) -> Sequence[int]:
    by = int(step or 1)
    good = by == 1 if low == high else low < high and 1 <= by <= high - low
    return range(low, high + 1, by) if good else ()


def _values(operation: Sequence[Used], *names: str) -> list[str]:
    return [used.value for used in operation if used.name in names and used.value is not None]


def _fetched(operation: Sequence[Used]) -> Iterator[str]:
    default = next(reversed(_values(operation, "proto-default")), None)
    for value in _values(operation, "url"):
        if not value.startswith("@"):  # since curl 8.13 a file of URLs
            yield from (with_scheme(url, default) for url in stands_for(value, operation) or [value])


def _reached(operation: Sequence[Used], noproxy: str | None) -> Iterator[tuple[str, str]]:
    """Host and port of everything that curl looks up for one operation."""
    proxies = [used for used in operation if used.name in PROXIES and used.value]
    detours = _values(operation, "connect-to")
    for url in _fetched(operation):
        host, port = host_and_port(url)
        proxied = bool(proxies) and not _is_exempt(host, noproxy)
        if proxied:
            yield from map(_proxy_place, (*_values(operation, "preproxy"), proxies[-1].value or ""))
        if not proxied or _scheme_of(proxies[-1]) in ASKS_ITSELF:
            yield _detour(host, port, detours)
    yield from (host_and_port(value) for value in _values(operation, "doh-url"))


def _proxy_place(proxy: str) -> tuple[str, str]:
    authority = _authority(with_scheme(proxy))
    return _host(authority), _port(authority) or "1080"


def _scheme_of(proxy: Used) -> str:
    found = SCHEME.match(proxy.value or "")
    return found[1].lower() if found else proxy.name or ""


def _is_exempt(host: str, noproxy: str | None) -> bool:
    exempt = [entry.strip().lstrip(".").lower() for entry in re.split(r"[, ]", noproxy or "") if entry.strip()]
    return "*" in exempt or any(host == entry or host.endswith(f".{entry}") for entry in exempt)


def _detour(host: str, port: str, detours: Sequence[str]) -> tuple[str, str]:
    """Where the first of `--connect-to HOST1:PORT1:HOST2:PORT2` that fits leads; empty is any, or as it was."""
    for detour in detours:
        first, first_port, second, second_port = [*_fields(detour), "", "", "", ""][:4]
        if _host(first) in ("", host) and first_port in ("", port):
            return _host(second) or host, second_port or port
    return host, port


def _is_resolved(host: str, port: str, resolved: Sequence[str]) -> bool:
    known = False
    for entry in resolved:
        name, number = [*_fields(entry.lstrip("+-")), "", ""][:2]
        if _host(name) in ("*", host) and number in ("*", port):
            known = not entry.startswith("-")  # --resolve -HOST:PORT forgets it
    return known


def _fields(text: str) -> list[str]:
    """Split at the colons outside brackets."""
    return re.split(r":(?![^[]*\])", text)


def _authority(url: str) -> str:
    return re.split(r"[/?#]", url.partition("://")[2], maxsplit=1)[0].rpartition("@")[2]


def _host(authority: str) -> str:
    found = re.match(r"\[([^]]*)\]|([^:]*)", authority)
    host = unquote((found[1] or found[2] or "") if found else "").lower()
    return host if _is_address(host.removesuffix(".")) else host.removesuffix(".")  # 192.0.2.1. is a name for curl


def _port(authority: str) -> str:
    found = re.search(r":(\d+)$", authority)
    return found[1].lstrip("0") if found else ""


def as_address(host: str) -> IPv4Address | IPv6Address | None:
    """The address that curl takes a host for: also 127.1 and 0x7f000001; None for a name."""
    try:
        return ip_address(host.partition("%")[0])
    except ValueError:
        pass
    try:
        return None if " " in host else IPv4Address(socket.inet_aton(host))  # which takes more than curl, with spaces
    except OSError:
        return None


def _is_address(host: str) -> bool:
    return as_address(host) is not None
