"""`[server]`: what it answers, how slowly, who closes first and when."""

import re
from http import HTTPStatus
from typing import Any

from lab.scenario.model import Response, Route, Server
from lab.toml.table import Table
from lab.toml.values import duration, duration_words, header_value, integer, one_of, truth

CLOSES = ("client", "server", "reset")
LARGEST_BODY = 100_000_000
MOST_PIECES = 1_000
FILLER = b"The quick brown fox jumps over the lazy dog. "
PATH = re.compile(r"(?:/[A-Za-z0-9_~-][A-Za-z0-9._~-]*)+/?")  # no empty or dot segments: every server reads it alike
TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")  # RFC 9110 §5.6.2
BODYLESS = (204, 304)


def load_server(table: Table) -> Server:
    """How the server behaves."""
    port = table.take("port", 80, integer(1, 65535), "a port, 1 to 65535")
    response = _response(table)
    paths = _paths(table.table("paths"))
    close = table.take("close", "client", one_of(*CLOSES), ", ".join(CLOSES))
    if close == "client" and table.has("requests"):
        fix = "leave it out, or let the server close first: close = 'server'"
        raise table.contradicts("requests", "counts requests until the server closes, but the client closes first", fix)
    close_after_s = table.take("close_after", None, duration(60.0), duration_words("60s"))
    requests = table.take("requests", 1, integer(1, 1000), "a number of requests, 1 to 1000")
    content_length = table.take("content_length", None, truth, "true or false")
    if content_length is False and close == "client":
        why = "is false, but the client closes first: it would wait for ever for the end of the response"
        raise table.contradicts("content_length", why, "leave it out, or let the server close first: close = 'server'")
    route = load_route(table)
    table.finish()
    return Server(port, response, paths, close, close_after_s, requests, content_length, route)


def load_route(table: Table) -> Route:
    """What a host's route says to its TCP."""
    quickack = table.take("quickack", False, truth, "true or false")
    rto_min_s = table.take("rto_min", None, duration(10.0, 0.001), 'a time such as "300ms", from 1ms to 10s')
    return Route(quickack, rto_min_s)


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
    status = table.take("status", 200, integer(200, 599), "a final HTTP status, 200 to 599")
    reason = table.take("reason", default_reason(status), header_value, "one line of printable ASCII")
    headers = _headers(table.table("headers"))
    body = table.take("body", b"", _body, f"a number of bytes, 0 to {LARGEST_BODY}, or a text")
    if status in BODYLESS and body:
        raise table.wrong("body", len(body), f"0: a response {status} has no body (RFC 9110 §15)")
    think_s = table.take("think", 0.0, duration(60.0), duration_words("60s"))
    pieces = table.take("pieces", 1, integer(1, MOST_PIECES), f"a number of pieces, 1 to {MOST_PIECES}")
    pause_s = table.take("pause", 0.0, duration(60.0), duration_words("60s"))
    if pieces > max(1, len(body)):
        raise table.wrong("pieces", pieces, f"at most the body's {len(body)} bytes")
    if (pieces > 1) != (pause_s > 0):
        fix = "give both: so many pieces, and the pause between two"
        raise table.contradicts("pieces", "and pause go together, and one of them is missing", fix)
    return Response(status, reason, headers, body, think_s, pieces, pause_s)


def default_reason(status: int) -> str:
    """The reason phrase of the registry, or nothing for a status that isn't in it."""
    return HTTPStatus(status).phrase if status in HTTPStatus._value2member_map_ else ""


def _body(value: Any) -> bytes | None:
    if isinstance(value, str):
        return value.encode()
    length = integer(0, LARGEST_BODY)(value)
    return None if length is None else (FILLER * (length // len(FILLER) + 1))[:length]


def _headers(table: Table) -> tuple[tuple[str, str], ...]:
    headers: list[tuple[str, str]] = []
    for name, value in table.left.items():
        if not TOKEN.fullmatch(name):
            raise table.wrong(name, name, "a header name (RFC 9110 §5.6.2): letters, digits and - _ . and the like")
        for entry in value if isinstance(value, list) else [value]:
            if header_value(entry) is None:
                raise table.wrong(name, entry, "one line of printable ASCII, or a list of such lines")
            headers.append((name, entry.strip()))
    return tuple(headers)
