"""Exchanges: heads, framing, several on one connection."""

import pytest

from analysis.http import Exchange, find_exchanges
from tests.craft import NAME, Talk, connection


def exchanges(*turns: tuple[bytes, bytes]) -> tuple[Exchange, ...]:
    talk = Talk().open()
    for request, response in turns:
        talk.exchange(request, response)
    return find_exchanges(connection(talk.close()))


def request(method: str = "GET", target: str = "/", extra: str = "") -> bytes:
    return f"{method} {target} HTTP/1.1\r\nHost: {NAME}\r\n{extra}\r\n".encode()


def test_an_exchange_has_its_lines_and_frames() -> None:
    (found,) = exchanges((request(target="/a?b"), b"HTTP/1.1 302 Found\r\nContent-Length: 3\r\n\r\nabc"))
    assert (found.start_line, found.status_line) == ("GET /a?b HTTP/1.1", "HTTP/1.1 302 Found")
    assert (found.request_frames, found.response_frames, found.problem) == ((4,), (6,), "")
    assert found.response is not None
    assert found.response.body_length == 3


@pytest.mark.parametrize(
    ("method", "response", "length"),
    [
        ("HEAD", b"HTTP/1.1 200 OK\r\nContent-Length: 900\r\n\r\n", 0),
        ("GET", b"HTTP/1.1 204 No Content\r\n\r\n", 0),
        ("GET", b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n", 3),
        ("GET", b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nto the end", 10),
        ("GET", b"HTTP/1.1 103 Early Hints\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nx", 1),
    ],
    ids=["HEAD", "204", "chunked", "until the close", "after an interim response"],
)
def test_the_body_ends_where_its_framing_says(method: str, response: bytes, length: int) -> None:
    (found,) = exchanges((request(method), response))
    assert found.problem == ""
    assert found.response is not None
    assert found.response.body_length == length


@pytest.mark.parametrize(
    ("head", "response"),
    [
        (b"CONNECT a:443 HTTP/1.1\r\nHost: a:443\r\n\r\n", b"HTTP/1.1 200 OK\r\n\r\n\x16\x03\x01"),
        (
            request(extra="Upgrade: websocket\r\nConnection: Upgrade\r\n"),
            b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n\x81\x00",
        ),
        (b"GET / HTTP/1.0\r\n\r\n", b"HTTP/1.0 200 OK\r\n\r\nto the end"),
    ],
    ids=["CONNECT", "101", "HTTP/1.0"],
)
def test_other_protocols_and_versions_are_no_problem(head: bytes, response: bytes) -> None:
    (found,) = exchanges((head, response))
    assert (found.status in (101, 200), found.problem) == (True, "")


def test_an_interim_response_is_not_the_response() -> None:
    talk = Talk().open().send("client", "PA", request()).send("server", "PA", b"HTTP/1.1 100 Continue\r\n\r\n")
    talk.send("server", "PA", b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
    (found,) = find_exchanges(connection(talk))
    assert (found.status, found.response_frames) == (200, (6,))


def test_two_requests_on_one_connection_are_two_exchanges() -> None:
    ok = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi"
    found = exchanges((request(target="/1"), ok), (request(target="/2"), ok))
    assert [(one.target, one.request_frames, one.response_frames) for one in found] == [
        ("/1", (4,), (6,)),
        ("/2", (8,), (10,)),
    ]


def test_a_body_cut_off_is_a_problem() -> None:
    (found,) = exchanges((request(), b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc"))
    assert found.status == 200
    assert "without sending complete message body" in found.problem


def test_a_request_without_response_is_an_exchange_without_status() -> None:
    (found,) = find_exchanges(connection(Talk().open().send("client", "PA", request())))
    assert (found.status, found.response_frames) == (None, ())


@pytest.mark.parametrize("garbage", [b"\x16\x03\x01\x02\x00\x01", b"SSH-2.0-x\r\n", b"PRI * HTTP/2.0\r\n\r\n"])
def test_what_is_no_request_is_no_exchange(garbage: bytes) -> None:
    assert find_exchanges(connection(Talk().open().send("client", "PA", garbage))) == ()


@pytest.mark.parametrize(
    ("head", "complaint"),
    [
        (b"GET /a HTTP/1.1\r\nBad Header: x\r\nHost: a\r\n\r\n", "illegal header"),
        (b"GET /a HTTP/1.1\r\nX: y\r\n\r\n", "Host"),
        (b"GET /a\r\n\r\n", "no version"),
        (b"GET /a HTTP/1.1\r\nHost", "the close cuts the request's head off"),
    ],
    ids=["a bad field name", "no Host", "HTTP/0.9", "cut off"],
)
def test_a_request_that_breaks_the_rules_is_shown_with_what_is_wrong(head: bytes, complaint: str) -> None:
    (found,) = exchanges((head, b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n"))
    assert (found.method, found.target) == ("GET", "/a")
    assert complaint in found.problem
    assert found.header("host") == ("a" if b"Host: a" in head else None)
    assert found.status == 400


def test_requests_may_be_pipelined() -> None:
    talk = Talk().open().send("client", "PA", request(target="/1") + request("HEAD", "/2")[:9])
    talk.send("client", "PA", request("HEAD", "/2")[9:] + request(target="/3"))
    answers = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhiHTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n"
    talk.send("server", "PA", answers + b"HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\n")
    found = find_exchanges(connection(talk.close()))
    assert [(one.method, one.target, one.status, one.problem) for one in found] == [
        ("GET", "/1", 200, ""),
        ("HEAD", "/2", 200, ""),
        ("GET", "/3", 304, ""),
    ]
    assert [one.request_frames for one in found] == [(4,), (4, 5), (5,)]


def test_bytes_beyond_the_content_length_are_said() -> None:
    (found,) = exchanges((request(), b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi, and more"))
    assert found.problem == "10 bytes of the server follow that no request asked for"
    assert found.is_certain


def test_what_follows_the_last_request_is_said() -> None:
    (found,) = exchanges((request() + b"cruft", b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"))
    assert found.problem == "5 bytes of the client follow that are no request"


CUT = b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc"


def test_a_body_that_the_close_cuts_off_is_certainly_short() -> None:
    (found,) = exchanges((request(), CUT))
    assert (found.status, found.is_certain) == (200, True)


def test_a_body_that_the_capture_cuts_off_may_be_whole() -> None:
    (found,) = find_exchanges(connection(Talk().open().exchange(request(), CUT)))
    assert (found.is_certain, found.problem) == (
        False,
        "the message is cut off: no more of it, and no close, is in the capture",
    )


def test_a_body_with_a_hole_may_be_whole() -> None:
    talk = Talk().open().exchange(request(), CUT)
    talk.send("server", "PA", b"xyz", seq=talk.next["server"] + 4)
    (found,) = find_exchanges(connection(talk.close()))
    assert (found.is_certain, found.problem) == (False, "the message lacks bytes that were not captured")


def test_a_body_until_the_close_isnt_complete_before_it() -> None:
    response = b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nto the end"
    (open_,) = find_exchanges(connection(Talk().open().exchange(request(), response)))
    (closed,) = exchanges((request(), response))
    assert (open_.is_certain, bool(open_.problem)) == (False, True)
    assert closed.problem == ""


def test_a_response_that_is_none_is_said() -> None:
    (found,) = exchanges((request(), b"220 smtp.example.com ESMTP\r\n"))
    assert found.status is None
    assert found.problem


def test_empty_lines_before_a_request_are_ignored() -> None:
    ok = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"
    post = request("POST", extra="Content-Length: 2\r\n") + b"ab\r\n"
    found = exchanges((b"\r\n" + post, ok), (request(target="/2") + b"\r\n", ok))
    assert [(one.method, one.status, one.problem) for one in found] == [("POST", 200, ""), ("GET", 200, "")]


def test_a_transfer_coding_that_h11_lacks_is_no_fault_of_the_server() -> None:
    (found,) = exchanges((request(), b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n"))
    assert (found.problem, found.is_certain) == ("its transfer coding is not read here", False)


def test_methods_of_others_are_methods_too() -> None:
    (found,) = exchanges((request("PROPFIND"), b"HTTP/1.1 207 Multi-Status\r\nContent-Length: 0\r\n\r\n"))
    assert (found.method, found.status) == ("PROPFIND", 207)


def test_frames_are_in_order_and_the_head_has_its_own() -> None:
    talk = Talk().open().send("client", "PA", request()).send("server", "A")
    start = talk.next["server"]
    body = b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nabcd"
    talk.send("server", "PA", body[40:], seq=start + 40).send("server", "PA", body[:40], seq=start)
    (found,) = find_exchanges(connection(talk.close()))
    assert (found.response_frames, found.response_frame, found.request_frame) == ((6, 7), 7, 4)


def test_a_response_that_the_client_resets_says_so() -> None:
    talk = Talk().open().exchange(request(), CUT).send("client", "R")
    (found,) = find_exchanges(connection(talk))
    assert (found.problem, found.is_certain) == ("the other side's reset cuts the message off", False)


def test_a_server_may_refuse_before_it_has_the_whole_request() -> None:
    put = request("PUT", extra="Content-Length: 900\r\nExpect: 100-continue\r\n")
    (refused,) = exchanges((put, b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n"))
    (taken,) = exchanges((put, b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"))
    assert (refused.status, refused.problem) == (403, "")
    assert taken.problem == "the close cuts the message off"


def test_what_begins_in_the_midst_of_a_message_is_not_certain() -> None:
    body = b"the end of a bodyHTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"
    talk = Talk().send("server", "PA", body, ack=1000).send("client", "PA", request(), ack=9000)
    (found,) = find_exchanges(connection(talk))
    assert (found.status, found.is_certain) == (None, False)


def test_a_field_that_was_cut_in_the_middle_is_left_out() -> None:
    (found,) = find_exchanges(connection(Talk().open().send("client", "PA", b"GET / HTTP/1.1\r\nA: b\r\nHost: www.l")))
    assert (found.headers, found.is_certain) == ((("a", "b"),), False)
