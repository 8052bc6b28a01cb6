"""The client's command: the same curl with the same arguments on every backend."""

from lab.scenario import Client

USER_AGENT = "handshake-lab"  # without a version, so that every curl sends the same request


def curl_command(curl: str, client: Client) -> list[str]:
    """The command line: no .curlrc, no proxy, the scenario's arguments last."""
    port = [] if client.port is None else ["--local-port", str(client.port)]
    return [curl, "-q", "-sS", "--noproxy", "*", "-A", USER_AGENT, *port, *client.curl]
