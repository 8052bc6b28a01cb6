"""One sentence a DNS message: what is asked, what came back, what pairs the two, and what changes nothing."""

from collections.abc import Iterator

from analysis.dns.lookups import Lookup, Message
from analysis.dns.strays import Ignored, Reason
from analysis.dns.wire import Status
from analysis.story import Story
from analysis.text import plural, some

QUESTIONS = {"A": "the IPv4 address (A)", "AAAA": "the IPv6 address (AAAA)"}
OUTCOMES: dict[Status, str] = {
    "nxdomain": "There is no such name as {0.name}, of any type (RFC 2308 §2.1).",
    "nodata": "The name exists, but has no {0.type} record (RFC 2308 §2.2).",
    "refused": "The resolver refuses to answer.",
    "servfail": "The resolver couldn't find out.",
    "truncated": "It didn't fit into the datagram (TC): the client must ask again over TCP (RFC 7766 §5).",
    "cut": "It was captured only in part, so what it says can't be told.",
    "malformed": "Its records can't be read: they are cut short or lead nowhere.",
    "error": "The resolver reports {0.rcode}.",
}
IGNORED: dict[Reason, str] = {
    "second answer": "Another answer to the question of frame {}: the first one counts, this changes nothing.",
    "overruled": "A failure in answer to frame {}; another resolver, asked at once, knew better.",
    "wrong id": "An answer to the question of frame {}, but with another id: the client ignores it (RFC 5452 §9.1).",
    "wrong address": "An answer to the question of frame {}, but from another address than was asked: ignored "
    "(RFC 5452 §9.1).",
    "wrong port": "An answer to the question of frame {}, but between other ports: ignored (RFC 5452 §9.1).",
    "wrong question": "The id and the ports of frame {}, but the answer to another question: ignored (RFC 5452 §9.1).",
    "malformed": "An answer to the question of frame {} whose records can't be read: ignored.",
    "unasked": "An answer that no query in this capture asked for.",
    "captured twice": "The packet of frame {}, captured twice: it was sent once.",
}


def lookup_sentences(lookup: Lookup, story: Story) -> Iterator[tuple[int, str]]:
    """Frame and sentence of every message of `lookup`."""
    for count, query in enumerate(lookup.queries):
        yield query.frame, _asks(lookup, query, count)
    if lookup.truncated is not None:
        outcome = OUTCOMES["truncated"].format(lookup)
        yield lookup.truncated.frame, f"{_pairs(lookup, lookup.truncated)} {outcome}"
    if lookup.response is not None:
        yield lookup.response.frame, f"{_pairs(lookup, lookup.response)} {_outcome(lookup, story)}"
    for one in lookup.ignored:
        yield one.frame, ignored_sentence(one)


def ignored_sentence(one: Ignored) -> str:
    """Why a message changed nothing."""
    return IGNORED[one.reason].format(one.of)


def _asks(lookup: Lookup, query: Message, count: int) -> str:
    what = QUESTIONS.get(lookup.type, f"the {lookup.type} records")
    after_truncated = lookup.truncated is not None and query.transport == "tcp"
    again = " again, since no answer came" if count else ""
    if after_truncated:
        again = " again, over TCP now"
    carrier = "UDP has no Seq and no Ack: the id" if query.transport == "udp" else "The id"
    if query.transport == "tcp" and not after_truncated:
        again += ", over TCP"
    room = f" It takes answers of up to {plural(query.edns.payload, 'byte')} over UDP (EDNS)." if query.edns else ""
    return (
        f"The client asks {query.dst} for {what} of {lookup.name}{again}. {carrier} "
        f"0x{query.id:04x} will pair the answer with this question." + (room if query.transport == "udp" else "")
    )


def _pairs(lookup: Lookup, response: Message) -> str:
    asked = [one for one in lookup.queries if one.id == response.id and one.transport == response.transport]
    where = f" in frame {asked[-1].frame}" if asked else " the question"
    return f"The same id 0x{response.id:04x} as{where}: this is its answer."


def _outcome(lookup: Lookup, story: Story) -> str:
    if lookup.status != "answered":
        return OUTCOMES.get(lookup.status, "").format(lookup)
    if not lookup.addresses:
        shown = some([f"{record.type} {record.data}" for record in lookup.answers])
        return f"It is {shown}." if lookup.type not in QUESTIONS else "It has no address."
    used = {connection.server.address for connection in story.connections} & set(lookup.addresses)
    answer = some(lookup.addresses)
    if used:
        return f"{answer} is the address that the SYN goes to."
    return f"{answer} goes unused: the connection takes another answer." if story.connections else f"It is {answer}."
