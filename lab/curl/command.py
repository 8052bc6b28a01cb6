"""The client's command, and how it looks names up: the same curl with the same arguments on every backend."""

from collections.abc import Sequence

USER_AGENT = "handshake-lab"  # without a version, so that every curl sends the same request


def curl_command(curl: str, arguments: Sequence[str], port: int | None) -> list[str]:
    """The command line: no .curlrc, no proxy, the scenario's arguments last."""
    local = [] if port is None else ["--local-port", str(port)]
    return [curl, "-q", "-sS", "--noproxy", "*", "-A", USER_AGENT, *local, *arguments]


def resolv_conf(resolver: str, options: Sequence[str]) -> str:
    """The client's /etc/resolv.conf (resolv.conf(5))."""
    return f"nameserver {resolver}\n" + (f"options {' '.join(options)}\n" if options else "")
