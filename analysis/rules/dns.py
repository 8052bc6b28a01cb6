"""Rules about the name lookup."""

from analysis.dns.lookups import Lookup
from analysis.names import is_address
from analysis.rules.case import Case, Outcome
from analysis.story import Story
from analysis.text import plural, some

MOST_LISTED = 5


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
        return _no_lookup(case, expected)
    good = [lookup for lookup in story.lookups if lookup.addresses and lookup.status == "answered"]
    if good:
        found = "; ".join(f"{lookup.type} {some(lookup.addresses)}" for lookup in good)
        return Outcome("pass", expected, found, _frames(*good))
    outcomes = some([f"{lookup.type}: {_outcome(lookup)}" for lookup in story.lookups], separator="; ")
    open_ = [lookup for lookup in story.lookups if lookup.status in ("unanswered", "truncated", "cut")]
    if open_:
        needed = "; ".join(_needed_of(lookup) for lookup in open_)
        return case.absent(expected, outcomes, needed, _frames(*story.lookups))
    stray = [message.frame for message in case.traffic.messages if message.is_response and message.name in story.names]
    families = {lookup.type for lookup in story.lookups}
    if len(families) == 1 and all(lookup.status == "nodata" for lookup in story.lookups):
        needed = "the lookup of its other type of address"
        return case.absent(expected, outcomes, needed, _frames(*story.lookups))
    if story.connections or set(stray) & {one.frame for one in case.traffic.unasked}:
        address = story.connections[0].server.address if story.connections else "an address"
        return case.absent(expected, outcomes, f"a response that names {address}", _frames(*story.lookups))
    return Outcome("fail", expected, outcomes, _frames(*story.lookups), "is the name spelt right?")


def _outcome(lookup: Lookup) -> str:
    is_empty = lookup.status == "answered" and lookup.type in ("A", "AAAA")
    return "answered, but with no address of that name" if is_empty else lookup.status


def _no_lookup(case: Case, expected: str) -> Outcome:
    """A name may be known already: a cache or a hosts file has it. That is no mistake, but the lab asks each time."""
    if case.is_vouched:
        return Outcome("fail", expected, "no lookup of it is in the capture")
    hint = "to see the lookup, capture from before it, and fetch a name that was not asked before"
    return Outcome(
        "skip", expected, "it was not looked up in this capture: a cache or a hosts file may have it", (), hint
    )


def _needed_of(lookup: Lookup) -> str:
    if lookup.status == "cut" and lookup.response is not None:
        return f"the whole of frame {lookup.response.frame}"
    over = " over TCP" if lookup.status == "truncated" else ""
    return f"the {lookup.type} response{over} to frame {lookup.query_frames[-1]}"


MISMATCHES = ("wrong id", "wrong address", "wrong port", "wrong question", "malformed", "unasked")


def match(case: Case) -> Outcome:
    """A response counts only with the id, question, addresses and ports of a query (RFC 5452 §9)."""
    expected = "id, question, addresses and ports of a query in every response"
    if case.story is None or not case.story.lookups:
        return _skip(expected, "no lookup of the name is in the capture")
    names = set(case.story.names)
    of_name = {message.frame for message in case.traffic.messages if message.name in names}
    ignored = [one for lookup in case.story.lookups for one in lookup.ignored]
    strays = [one for one in ignored if one.reason in MISMATCHES]
    strays += [one for one in case.traffic.unasked if one.frame in of_name]
    if not strays:
        responses = _responses(case.story)
        if not responses:
            return _skip(expected, "there is no response")
        twice = [one.frame for one in ignored if one.reason == "second answer"]
        more = f"; {plural(len(twice), 'further answer')} to the same query, ignored" if twice else ""
        return Outcome("pass", expected, f"{plural(len(responses), 'response')}, each to its query{more}", responses)
    reasons = ", ".join(f"frame {one.frame}: {one.reason}" for one in strays[:MOST_LISTED])
    more = f" and {len(strays) - MOST_LISTED} more" if len(strays) > MOST_LISTED else ""
    return case.absent(
        expected,
        f"{plural(len(strays), 'response')} that no query asked for like this ({reasons}{more}), ignored",
        f"the query that frame {strays[0].frame} answers",
        tuple(one.frame for one in strays),
        "a late answer to a query before the capture, or a forged one",
    )


def answer_used(case: Case) -> Outcome:
    """The client connects to an address that the resolver gave (RFC 1034 §5.2)."""
    expected = "a connection to an address from the answers"
    story = case.story
    addresses = story.addresses if story else frozenset()
    if story is None or not addresses:
        return _skip(expected, "no answer with an address is in the capture")
    if not story.connections:
        addresses_text = some(sorted(addresses))
        return case.absent(expected, f"none to {addresses_text}", f"a SYN to {addresses_text}", _frames(*story.lookups))
    literal = set(story.names)  # a redirect may lead to an address, which needs no answer
    strays = [c for c in story.connections if c.server.address not in addresses | literal]
    if strays:
        hint = "an older answer, a hosts file or a proxy may have named the address"
        stray = strays[0].server.address
        actual, needed = f"a connection to {stray}", f"a response that names {stray}"
        return case.absent(expected, actual, needed, strays[0].frames[:1], hint)
    used = sorted({connection.server.address for connection in story.connections})
    actual = f"{some(used)} used" + _unused(story, used)
    syns = tuple(connection.frames[0] for connection in story.connections)
    return Outcome("pass", expected, actual, (*_responses(story), *syns))


def _unused(story: Story, used: list[str]) -> str:
    unused = sorted(story.addresses - set(used))
    return f"; {some(unused)} not" if unused else ""


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
            continue  # `answer_used` says so
        if answer > connection.frames[0]:
            hint = "the client knew the address already: from a cache, or from an earlier run"
            actual = f"connection opened in frame {connection.frames[0]}, answer in frame {answer}"
            needed = f"an earlier response that names {connection.server.address}"
            return case.absent(expected, actual, needed, (connection.frames[0], answer), hint)
    used = next((one for one in story.connections if one.server.address in answered), None)
    if used is None:
        return _skip(expected, "the connection uses no answer of the capture")
    first, answer = used.frames[0], answered[used.server.address]
    return Outcome(
        "pass",
        expected,
        f"answer in frame {answer}, connection from frame {first}",
        (answer, first),
    )


def _frames(*lookups: Lookup) -> tuple[int, ...]:
    return tuple(frame for lookup in lookups for frame in lookup.frames)


def _responses(story: Story) -> tuple[int, ...]:
    return tuple(lookup.response_frame for lookup in story.lookups if lookup.response_frame is not None)
