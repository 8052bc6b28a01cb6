"""Which lookups and connections are one fetch: in traffic full of other things, by redirects and fallbacks."""

from dataclasses import replace

import pytest
from scapy.layers.inet import IP, TCP
from scapy.layers.inet6 import IPv6
from scapy.layers.l2 import Ether
from scapy.packet import Packet as Scapy

from analysis.files.capture import parse_capture
from analysis.report import Report, make_report
from tests.craft import CLIENT, NAME, RESPONSE, SERVER, Talk, answer, fetch, lookup, pcap, question, report

MAC = "02:00:00:00:00:01"
OTHER, OTHER_SERVER = "api.example.org", "203.0.113.7"


def ask(name: str, *addresses: str, number: int = 7, rcode: int = 0) -> list[Scapy]:
    return [question(name, number=number), answer(*addresses, name=name, number=number, rcode=rcode)]


def get(name: str, server: str = SERVER, port: int = 40001, response: bytes = RESPONSE) -> list[Scapy]:
    request = f"GET / HTTP/1.1\r\nHost: {name}\r\n\r\n".encode()
    return Talk(server=server, port=port).open().exchange(request, response).close().frames


def to_port(frames: list[Scapy], port: int) -> list[Scapy]:
    for frame in frames:
        frame[TCP].sport, frame[TCP].dport = (
            port if number == 80 else number for number in (frame[TCP].sport, frame[TCP].dport)
        )
    return frames


def ssh(server: str = SERVER, port: int = 41000) -> list[Scapy]:
    talk = Talk(server=server, port=port).open()
    return to_port(talk.exchange(b"SSH-2.0-OpenSSH_9.2\r\n", b"SSH-2.0-OpenSSH_9.2\r\n").close().frames, 22)


def of_client(frames: list[Scapy], client: str) -> list[Scapy]:
    for frame in frames:
        for end in ("src", "dst"):
            if getattr(frame[IP], end) == CLIENT:
                setattr(frame[IP], end, client)
    return frames


def redirect(to: str) -> bytes:
    return f"HTTP/1.1 302 Found\r\nLocation: {to}\r\nContent-Length: 0\r\n\r\n".encode()


def told(found: Report) -> list[tuple[str, int, int, int]]:
    """Of each story: name, lookups, connections, exchanges."""
    return [(one.name, len(one.lookups), len(one.connections), len(one.exchanges)) for one in found.stories]


def test_ssh_and_other_names_at_the_same_server_are_other_stories() -> None:
    frames = ssh() + ask(OTHER, SERVER, number=9) + fetch() + get(OTHER, port=40009) + ssh(port=41001)
    found = report(frames)
    assert told(found) == [
        (OTHER, 1, 1, 1),
        (NAME, 1, 1, 1),
        (SERVER, 0, 1, 0),
        (SERVER, 0, 1, 0),
    ]
    assert found.verdict == "pass"


def test_the_default_story_is_the_first_whole_one_and_says_so() -> None:
    found = report([*ssh(), *ask("gone.example.com", rcode=3, number=3), *fetch(), *ask(OTHER, OTHER_SERVER)])
    assert found.story is not None
    assert (found.story.name, found.why) == (NAME, "the first with a lookup, a handshake and an exchange")


def test_how_many_fetches_could_have_been_told_is_said() -> None:
    frames = fetch() + ask(OTHER, OTHER_SERVER, number=8) + get(OTHER, OTHER_SERVER)
    assert report(frames).why.endswith("(2 have)")
    found = report(frames, host=OTHER.upper() + ".")
    assert found.story is not None
    assert (found.story.name, found.why) == (OTHER, "the host asked for")


def test_the_same_name_fetched_twice_is_two_stories() -> None:
    second = ask(NAME, SERVER, number=8) + get(NAME, port=40002)
    found = report(fetch() + second)
    assert told(found) == [(NAME, 1, 1, 1), (NAME, 1, 1, 1)]
    assert report(fetch() + second, host=NAME).why == "the host asked for, the fullest of 2 fetches"


def test_a_redirect_to_another_name_is_one_story() -> None:
    frames = lookup() + get(NAME, response=redirect(f"http://{OTHER}/x")) + ask(OTHER, OTHER_SERVER, number=8)
    found = report(frames + get(OTHER, OTHER_SERVER, port=40002))
    assert told(found) == [(NAME, 2, 2, 2)]
    assert found.story is not None
    assert found.story.names == (NAME, OTHER)
    assert found.verdict == "pass"
    assert report(frames, host=OTHER).story is not None


def test_a_chain_of_redirects_is_one_story() -> None:
    names = [NAME, "b.example.com", "c.example.com"]
    frames: list[Scapy] = []
    for number, name in enumerate(names):
        response = redirect(f"//{names[number + 1]}/") if number < 2 else RESPONSE
        frames += ask(name, SERVER, number=number + 20) + get(name, port=40010 + number, response=response)
    assert told(report(frames)) == [(NAME, 3, 3, 3)]


def test_a_redirect_on_the_same_host_with_a_new_lookup_is_one_story() -> None:
    frames = lookup() + get(NAME, response=redirect("/home")) + ask(NAME, SERVER, number=8) + get(NAME, port=40002)
    assert told(report(frames)) == [(NAME, 2, 2, 2)]


def test_a_redirect_leads_only_to_what_follows_at_once() -> None:
    frames = lookup() + get(NAME, response=redirect(f"http://{OTHER}/"))
    later = ask(OTHER, OTHER_SERVER, number=8) + get(OTHER, OTHER_SERVER, port=40002)
    capture = parse_capture(pcap(frames + later), "a")
    times = capture.frames.time_ns.copy()
    times[len(frames) :] += 6_000_000_000
    late = replace(capture, frames=replace(capture.frames, time_ns=times))
    assert told(make_report(capture)) == [(NAME, 2, 2, 2)]
    assert told(make_report(late)) == [(NAME, 1, 1, 1), (OTHER, 1, 1, 1)]


def test_a_refused_address_and_the_next_one_are_one_story_that_passes() -> None:
    refused = Talk(server=OTHER_SERVER, port=40000).send("client", "S").send("server", "RA", seq=0).frames
    found = report(ask(NAME, OTHER_SERVER, SERVER) + refused + get(NAME))
    assert told(found) == [(NAME, 1, 2, 1)]
    assert found.verdict == "pass"


@pytest.mark.parametrize("lost", ["unanswered", "given up unused"])
def test_the_loser_of_a_race_of_two_addresses_fails_nobody(lost: str) -> None:
    loser = Talk(server=OTHER_SERVER, port=40000).send("client", "S")
    if lost != "unanswered":
        loser = Talk(server=OTHER_SERVER, port=40000).open().send("client", "R")
    found = report(ask(NAME, OTHER_SERVER, SERVER) + loser.frames + get(NAME))
    assert (told(found), found.verdict) == ([(NAME, 1, 2, 1)], "pass")


def test_https_that_was_refused_before_http_belongs_to_the_fetch() -> None:
    refused = to_port(Talk(port=40000).send("client", "S").send("server", "RA", seq=0).frames, 443)
    other = to_port(Talk(port=40005).send("client", "S").send("server", "RA", seq=0).frames, 8443)
    assert told(report(lookup() + refused + get(NAME) + other)) == [(NAME, 1, 2, 1), (SERVER, 0, 1, 0)]


def test_two_clients_that_fetch_one_name_are_two_stories() -> None:
    theirs = of_client(ask(NAME, SERVER, number=30) + get(NAME, port=40000), "10.0.0.2")
    ours = fetch()
    mixed = [frame for pair in zip(ours, theirs, strict=True) for frame in pair]
    found = report(mixed)
    assert told(found) == [(NAME, 1, 1, 1), (NAME, 1, 1, 1)]
    for story in found.stories:
        assert {story.lookups[0].client} == {one.client.address for one in story.connections}


def test_a_client_that_asks_from_another_address_is_the_same() -> None:
    """IPv6 to the server, IPv4 to the resolver; or a resolver that asks for it."""
    assert told(report(lookup() + of_client(get(NAME), "10.0.0.9"))) == [(NAME, 1, 1, 1)]


def test_a_request_for_another_host_at_the_only_connection_is_judged() -> None:
    found = report(lookup() + get("www.example.org"))
    assert told(found) == [(NAME, 1, 1, 1)]
    assert {finding.rule for finding in found.findings if finding.status == "fail"} == {"http.host"}


def test_no_lookup_is_no_error_by_itself() -> None:
    found = report(get(NAME))
    statuses = {finding.rule: finding.status for finding in found.findings}
    assert (statuses["dns.answered"], found.verdict) == ("skip", "pass")
    assert report(get(NAME), "complete").verdict == "fail"  # the lab asks each time


def test_connections_that_were_open_before_belong_to_the_name_they_say() -> None:
    frames = get(NAME)
    assert told(report([*frames[:4], *lookup(), *frames[4:]])) == [(NAME, 1, 1, 1)]


def test_a_refused_try_belongs_to_the_answer_that_came_last_before_it() -> None:
    asked = [question(OTHER, number=8), question(NAME, number=7)]
    answers = [answer(SERVER, name=NAME, number=7), answer(SERVER, name=OTHER, number=8)]
    refused = Talk().send("client", "S").send("server", "RA", seq=0).frames
    assert told(report(asked + answers + refused)) == [(OTHER, 1, 1, 0), (NAME, 1, 0, 0)]


def as_ipv6(frames: list[Scapy]) -> list[Scapy]:
    """The same over IPv6, between addresses made of the last byte."""
    changed = []
    for frame in frames:
        ends = [f"2001:db8::{getattr(frame[IP], end).rsplit('.', 1)[1]}" for end in ("src", "dst")]
        rest = frame[IP].payload.copy()
        rest.chksum = None
        changed.append(Ether(src=MAC, dst=MAC) / IPv6(src=ends[0], dst=ends[1]) / rest)
    return changed


def test_a_redirect_to_an_address_is_followed_and_needs_no_answer() -> None:
    frames = lookup() + get(NAME, response=redirect(f"http://{OTHER_SERVER}/"))
    found = report(frames + get(OTHER_SERVER, OTHER_SERVER, port=40002))
    assert (told(found), found.verdict) == ([(NAME, 1, 2, 2)], "pass")


def test_a_redirect_from_ipv4_to_ipv6_is_followed() -> None:
    frames = lookup() + get(NAME, response=redirect("http://[2001:db8::7]/"))
    found = report(frames + as_ipv6(get("[2001:db8::7]", OTHER_SERVER, port=40002)))
    assert (told(found), found.verdict) == ([(NAME, 1, 2, 2)], "pass")


def test_a_name_asked_of_resolvers_of_both_families_is_one_story() -> None:
    found = report(as_ipv6([question(number=5)]) + fetch())
    assert (told(found), found.verdict) == ([(NAME, 2, 1, 1)], "pass")


def test_a_short_name_that_a_search_list_made_longer_is_that_host() -> None:
    full = "www.corp.example"
    found = report(ask(full, SERVER) + get("www"))
    assert (told(found), found.verdict) == ([(full, 1, 1, 1)], "pass")


def test_a_proxy_is_told_the_whole_url() -> None:
    request = f"GET http://{OTHER}/ HTTP/1.1\r\nHost: {OTHER}\r\n\r\n".encode()
    talk = Talk().open().exchange(request).close()
    assert report(ask("proxy.example.com", SERVER) + talk.frames).verdict == "pass"
