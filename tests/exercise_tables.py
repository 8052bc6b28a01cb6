"""Tables as an exercise file may hold them, near to right ones and far from them, for hypothesis."""

from typing import Any

from hypothesis import strategies as st

from grading.exercise.individual import USES
from grading.marking.slips import SLIPS

WORDS = st.sampled_from(
    [
        *("", "one", "two", "capture", "answers", "host", "$host", "$", "T", "a b", "tcp.close", "either", "hidden"),
        *("segments[-1].ack", "connection.close.variant", "segments[from=x]", "exchange.status", "client SYN", "5 kB"),
        *("3s", "three-segment", "[client]\ncurl = ['http://a/']", "connection", "[0]", "\0", "é"),
    ]
)
SCALARS = st.one_of(
    WORDS,
    st.booleans(),
    st.integers(-5, 400),
    st.just(10**400),
    st.floats(),
    st.datetimes(),
    st.dates(),
    st.times(),
)
KEYS = st.sampled_from(
    [
        *("id", "edition", "title", "text", "kind", "hand_in", "rubric", "question", "individual", "hidden", "host"),
        *("scenario", "reveal", "fractions", "capture", "answers", "size", "frames", "seconds", "opens", "closes"),
        *("points", "rule", "facts", "sequence", "partial", "hint", "depends_on", "visibility", "fact", "form"),
        *("tolerance", "slips", "accept", "uses", "earlier", "client", "resolver", "server", "port", "nonce", "checks"),
        *("least", "most", "exchange.status", "connection.rtt_s", *list(SLIPS)[:3], "x y"),
    ]
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(KEYS, inner, max_size=4)),
    max_leaves=8,
)


def tables(required: dict[str, Any], *optional: str) -> st.SearchStrategy[dict[str, Any]]:
    """Tables that come near to being right: each key mostly has what it should."""
    values = {key: st.one_of(good, VALUES) for key, good in required.items()}
    return st.fixed_dictionaries(values, optional=dict.fromkeys(optional, VALUES))


FACTS = st.dictionaries(st.sampled_from(["exchange.status", "connection.close.variant", "segments[0].seq"]), VALUES)
ITEM = {"id": st.sampled_from(["one", "two", "three"]), "points": st.integers(0, 9)}
RUBRICS = tables({**ITEM, "rule": st.just("tcp.close"), "facts": FACTS}, "hint", "depends_on", "visibility", "title")
SEQUENCES = tables({**ITEM, "sequence": st.just("client SYN")}, "partial", "rule", "depends_on")
QUESTIONS = tables(
    {**ITEM, "text": st.just("Q"), "fact": WORDS},
    *("form", "tolerance", "partial", "slips", "accept", "depends_on", "visibility"),
)
INDIVIDUALS = tables({"uses": st.lists(st.sampled_from(USES), unique=True)}, "earlier", "host", "client", "port")
FILES = st.one_of(
    st.dictionaries(KEYS, VALUES, max_size=6),
    tables(
        {
            "title": st.just("T"),
            "kind": st.sampled_from(["capture", "answers"]),
            "rubric": st.lists(st.one_of(RUBRICS, SEQUENCES), max_size=2),
            "question": st.lists(QUESTIONS, max_size=2),
            "individual": INDIVIDUALS,
        },
        *("id", "edition", "text", "hand_in", "hidden", "host", "scenario", "reveal", "fractions"),
    ),
)
