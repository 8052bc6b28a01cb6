"""Host names and addresses as text: how they compare, and where they stand in fields."""

import ipaddress


def canonical(name: str) -> str:
    """The name in lower case without the root's dot: names compare so (RFC 4343)."""
    return name.lower().removesuffix(".") or "."


def host_of(value: str) -> str:
    """The host in a `Host` header's value or a URL's authority, without port and brackets, canonical."""
    if value.startswith("["):
        return canonical(value[1:].split("]", maxsplit=1)[0])
    return canonical(value.rsplit(":", 1)[0] if value.count(":") == 1 else value)


def host_in(url: str) -> str | None:
    """The host that a URL names (RFC 3986 §3.2); None in a relative one, or one that isn't http or https."""
    scheme, mark, rest = url.strip().partition("//")
    if not mark or scheme.lower() not in ("", "http:", "https:"):
        return None
    authority = rest
    for end in "/?#":
        authority = authority.split(end, 1)[0]
    return host_of(authority.rpartition("@")[2]) or None


def is_address(text: str) -> bool:
    """Whether `text` is an IP address, which needs no lookup."""
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True
