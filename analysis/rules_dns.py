"""Rules about the name lookup."""

from analysis.case import Case, Outcome
from analysis.dns import Lookup
from analysis.story import Story, is_address
from analysis.text import plural


def _skip(expected: str, why: str) -> Outcome:
    return Outcome("skip", expected, why)


def answered(case: Case) -> Outcome:
    """At least one lookup of the name ended with an address (RFC 1035 §4.1; NODATA alone: RFC 2308 §2.2)."""
    story = case.story
    expected = f"an address for {story.name}" if story else "an address for the name"
    if story is None:
        return _skip(expected, "there is no fetch to judge")
    if is_address(story.name):
        return _skip(expected, f"{story.name} is an address: there is nothing to look up")
    if not story.lookups:
        hint = "was the name in a cache? Capture again with a name not asked before, from before the lookup"
        return case.absent(expected, "no lookup of it is in the capture", (), hint)
    good = [lookup for lookup in story.lookups if lookup.addresses and lookup.status == "answered"]
    if good:
        found = "; ".join(f"{lookup.type} {', '.join(lookup.addresses)}" for lookup in good)
        return Outcome("pass", expected, found, _frames(*good))
    outcomes = "; ".join(f"{lookup.type}: {lookup.status}" for lookup in story.lookups)
    if any(lookup.status in ("unanswered", "truncated") for lookup in story.lookups):
        return case.absent(expected, outcomes, _frames(*story.lookups))
    return Outcome("fail", expected, outcomes, _frames(*story.lookups), "is the name spelt right?")


def match(case: Case) -> Outcome:
    """A response counts only with the id, question, addresses and ports of a query (RFC 5452 §9)."""
    expected = "id, question, addresses and ports of a query in every response"
    if case.story is None or not case.story.lookups:
        return _skip(expected, "no lookup of the name is in the capture")
    name = case.story.name
    accepted = {lookup.response_frame for lookup in case.story.lookups}
    of_name = [message for message in case.traffic.messages if message.name == name]
    asked = {(one.id, one.type, one.src, one.sport, one.dst, one.dport) for one in of_name if not one.is_response}
    strangers = [
        one.frame
        for one in of_name
        if one.is_response
        and one.frame not in accepted
        and (one.id, one.type, one.dst, one.dport, one.src, one.sport) not in asked
    ]
    if not strangers:
        responses = [frame for frame in accepted if frame is not None]
        if not responses:
            return _skip(expected, "there is no response")
        return Outcome("pass", expected, f"{plural(len(responses), 'response')}, each to its query", tuple(responses))
    actual = f"{plural(len(strangers), 'response')} that no query in the capture asked for"
    return case.absent(
        expected, actual, tuple(strangers), "a late answer to a query before the capture, or a forged one"
    )


def answer_used(case: Case) -> Outcome:
    """The client connects to an address that the resolver gave (RFC 1034 §5.2)."""
    expected = "a connection to an address from the answers"
    story = case.story
    addresses = story.addresses if story else frozenset()
    if story is None or not addresses:
        return _skip(expected, "no answer with an address is in the capture")
    if not story.connections:
        return case.absent(expected, f"none to {_listed(addresses)}", _frames(*story.lookups))
    strays = [c for c in story.connections if c.server.address not in addresses]
    if strays:
        hint = "an older answer, a hosts file or a proxy may have named the address"
        return Outcome("fail", expected, f"a connection to {strays[0].server.address}", strays[0].frames[:1], hint)
    used = sorted({connection.server.address for connection in story.connections})
    actual = f"{', '.join(used)} used" + _unused(story, used)
    syns = tuple(connection.frames[0] for connection in story.connections)
    return Outcome("pass", expected, actual, (*_responses(story), *syns))


def _unused(story: Story, used: list[str]) -> str:
    unused = sorted(story.addresses - set(used))
    return f"; {', '.join(unused)} not" if unused else ""


def before_syn(case: Case) -> Outcome:
    """A client learns the address first, then connects (RFC 9110 §4.2.1)."""
    expected = "the first SYN after the answer that names its target"
    story = case.story
    if story is None or not story.addresses or not story.connections:
        return _skip(expected, "there is no answer, or no connection")
    answered: dict[str, int] = {}  # the first answer with each address
    for lookup in story.lookups:
        for address in lookup.addresses if lookup.response_frame is not None else ():
            answered[address] = min(answered.get(address, 1 << 62), lookup.response_frame or 0)
    for connection in story.connections:
        answer = answered.get(connection.server.address)
        if answer is None:
            return _skip(expected, "the connection uses no answer of the capture")
        if answer > connection.frames[0]:
            hint = "the client knew the address already: from a cache, or from an earlier run"
            actual = f"connection opened in frame {connection.frames[0]}, answer in frame {answer}"
            return case.absent(expected, actual, (connection.frames[0], answer), hint)
    first = story.connections[0].frames[0]
    answer = answered[story.connections[0].server.address]
    return Outcome(
        "pass",
        expected,
        f"answer in frame {answer}, connection from frame {first}",
        (answer, first),
    )


def _listed(addresses: frozenset[str]) -> str:
    return ", ".join(sorted(addresses))


def _frames(*lookups: Lookup) -> tuple[int, ...]:
    return tuple(frame for lookup in lookups for frame in lookup.frames)


def _responses(story: Story) -> tuple[int, ...]:
    return tuple(lookup.response_frame for lookup in story.lookups if lookup.response_frame is not None)
