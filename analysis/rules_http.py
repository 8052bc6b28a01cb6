"""Rules about the HTTP exchanges of a story."""

from analysis.case import Case, Outcome
from analysis.http import Exchange
from analysis.story import host_of
from analysis.text import plural


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
        frames = tuple(frame for one in exchanges for frame in one.request_frames)
        return case.absent(expected, f"{exchanges[0].method} {exchanges[0].target}: {exchanges[0].problem}", frames)
    return case.absent(expected, "no HTTP/1.x request (is it encrypted?)", ())


def host(case: Case) -> Outcome:
    """The Host field names the host of the URL (RFC 9110 §7.2; required in HTTP/1.1: RFC 9112 §3.2)."""
    expected = f"Host: {case.story.name}" if case.story else "a Host field"
    exchanges = _exchanges(case)
    if case.story is None or not exchanges:
        return Outcome("skip", expected, "there is no request")
    for one in exchanges:
        value = one.header("host")
        if value is None and one.version == "1.0":
            continue
        if value is None or host_of(value) != case.story.name:
            return Outcome("fail", expected, f"Host: {value}" if value else "no Host field", one.request_frames)
    frames = tuple(frame for one in exchanges for frame in one.request_frames)
    return Outcome("pass", expected, f"so in {plural(len(exchanges), 'request')}", frames)


def complete(case: Case) -> Outcome:
    """Each message ends where its framing says (RFC 9112 §6.3)."""
    expected = "every message as long as its Content-Length, its chunks or the close say"
    answered = [one for one in _exchanges(case) if one.response is not None]
    if not answered:
        return Outcome("skip", expected, "there is no response")
    for one in _exchanges(case):
        if one.problem:
            return case.absent(expected, f"{one.method} {one.target}: {one.problem}", one.response_frames)
    lengths = ", ".join(str(one.response.body_length) for one in answered if one.response)
    return Outcome("pass", expected, f"body bytes: {lengths}", tuple(one.response_frames[-1] for one in answered))
