"""Rules about the HTTP exchanges of a story."""

from analysis.http import Exchange
from analysis.names import host_in, host_of
from analysis.rules.case import Case, Outcome
from analysis.text import plural
from analysis.tls import Tls


def _exchanges(case: Case) -> tuple[Exchange, ...]:
    return case.story.exchanges if case.story else ()


def exchange(case: Case) -> Outcome:
    """At least one request has a final response (RFC 9112 §2)."""
    expected = "a request and its response"
    exchanges = _exchanges(case)
    answered = [exchange for exchange in exchanges if exchange.response is not None]
    if answered:
        actual = "; ".join(f"{one.method} {one.target}: {one.status}" for one in answered)
        frames = tuple(frame for one in answered for frame in (*one.request_frames, *one.response_frames))
        return Outcome("pass", expected, actual, frames)
    if case.story is None or not case.story.connections:
        return Outcome("skip", expected, "there is no connection")
    if all(one.handshake.status in ("refused", "unanswered", "incomplete") for one in case.story.connections):
        return Outcome("skip", expected, "no connection came about")
    if exchanges:
        first = exchanges[0]
        frames = tuple(frame for one in exchanges for frame in one.request_frames)
        actual = f"{first.method} {first.target}: {first.problem}"
        if first.is_certain:
            return Outcome("fail", expected, actual, frames)
        return case.absent(expected, actual, f"the server's segments that answer frame {frames[-1]}", frames)
    if case.story.tls:
        return _unreadable(case.story.tls[0], expected)
    carried = next((one.protocol for one in case.story.carried if one.protocol), None)
    if carried:
        return Outcome(
            "inconclusive", expected, f"the connection carries {carried}, which is not read", needed="HTTP/1.x"
        )
    return case.absent(expected, "no HTTP/1.x request", "the client's segments that carry a request")


def _unreadable(tls: Tls, expected: str) -> Outcome:
    """TLS is there for exactly this: nobody on the way can tell what was asked and answered."""
    actual = f"the exchange is encrypted and can't be read: {tls.summary}"
    hint = "fetch by http:// to see the exchange, or judge TLS by its handshake alone"
    return Outcome("inconclusive", expected, actual, tls.hello_frames, hint, "the exchange in the clear")


def host(case: Case) -> Outcome:
    """The Host field names the host of the URL (RFC 9110 §7.2; required in HTTP/1.1: RFC 9112 §3.2).

    A redirect may have led to further names.
    """
    expected = f"Host: {' or '.join(case.story.names)}" if case.story else "a Host field"
    exchanges = _exchanges(case)
    if case.story is None or not exchanges:
        return Outcome("skip", expected, "there is no request")
    for one in exchanges:
        value = one.header("host")
        if value is None and one.version == "1.0":
            continue
        if value is None and one.problem and not one.is_certain:
            return case.absent(expected, "no whole head", f"the head of {one.method} {one.target}", one.request_frames)
        if value is None or not _is_meant(host_of(value), one, case.story.names):
            return Outcome("fail", expected, f"Host: {value}" if value else "no Host field", one.request_frames)
    frames = tuple(frame for one in exchanges for frame in one.request_frames)
    return Outcome("pass", expected, f"so in {plural(len(exchanges), 'request')}", frames)


def _is_meant(host: str, one: Exchange, names: tuple[str, ...]) -> bool:
    """Whether a request for `host` may go to where one of `names` is.

    By its own name; by a short one that a search list made longer (RFC 1535); or by way of a proxy, which is told the
    whole URL (RFC 9112 §3.2.2).
    """
    is_short = "." not in host and any(name.startswith(f"{host}.") for name in names)
    target = one.target if one.method == "CONNECT" else ""
    return host in names or is_short or host == (host_in(one.target) or host_of(target))


def complete(case: Case) -> Outcome:
    """Each message ends where its framing says (RFC 9112 §6.3)."""
    expected = "every message as long as its Content-Length, its chunks or the close say"
    answered = [one for one in _exchanges(case) if one.response is not None]
    if not answered:
        return Outcome("skip", expected, "there is no response")
    for one in _exchanges(case):
        if one.problem:
            frames = one.response_frames or one.request_frames
            actual = f"{one.method} {one.target}: {one.problem}"
            if one.is_certain:
                return Outcome("fail", expected, actual, frames)
            return case.absent(expected, actual, f"the segments that complete {one.method} {one.target}", frames)
    lengths = ", ".join(str(one.response.body_length) for one in answered if one.response)
    return Outcome("pass", expected, f"body bytes: {lengths}", tuple(one.response_frames[-1] for one in answered))
