"""The page on TCP's states, made of the transition table itself: `docs/states.md`."""

from analysis.tcp.states import TRANSITIONS
from analysis.testimony import UNSEEN, WAITING

HEAD = """# The states of a connection, as a capture shows them

<!-- made by `invoke docs` of the table in analysis/tcp/states.py; don't edit -->

The report gives both sides' states after each segment (`stories[].segments[].states`). They are those of
RFC 9293 §3.3.2, *as seen at the capture*: a segment counts as received when it was captured, unless a later one
proves otherwise. Two SYNs, or two FINs, that cross on the way are such a proof. What no segment shows, no capture can
tell: when an application opened a port, when it closed (a FIN may wait behind other bytes), or when TIME-WAIT ended.

A segment is an event for both sides. Its sender *sent* what it carries. Its receiver learns first what it
acknowledges, then what it carries (RFC 9293 §3.10.7.4): so one FIN,ACK may take its receiver from FIN-WAIT-1 through
FIN-WAIT-2 to TIME-WAIT, and the close has three segments.
"""
TAIL = """
From every state a reset, sent or received, leads to CLOSED (RFC 9293 §3.5.2, §3.5.3), unless its number is one that
its receiver can't expect (RFC 5961 §3.2). A FIN behind numbers that were not captured counts as received when its
receiver acknowledges it. An event that the table doesn't have for a state changes nothing. A connection whose
beginning was not captured begins in ESTABLISHED.

## What the kernels say

In a run of the lab the inference has a witness. Between two frames, while nothing moves, the lab asks the hosts'
kernels for the states of their sockets: on netns the client before every frame, a server whenever it has had just the
frames captured so far; on Docker each once, at the end. The report has their answers beside the states inferred
(`connections[].kernel`), and the rule `tcp.kernel` compares them. A kernel that has no socket of a connection is in
CLOSED; LISTEN, said by a server, means that it has none but the one that listens. Any difference fails, but these:

| the trace | the kernel | why no segment shows it |
| --- | --- | --- |
"""
LOST = """
The last two hold only while bytes of that side are not acknowledged, or the peer's window is closed. And where the
lab's own wire has lost or damaged a segment, its receiver may be in any state between the one before it and the one
inferred, until a later segment has brought the same; and a sender whose FIN or reset was lost before it was captured
may be in the state that this led to.
"""


def states_page() -> str:
    """The page as Markdown: the diagram in Mermaid's notation, then the table."""
    states = dict.fromkeys(state for (before, _), after in TRANSITIONS.items() for state in (before, after))
    lines = [HEAD, "```mermaid", "stateDiagram-v2"]
    lines += [f'    state "{state}" as {_id(state)}' for state in states if _id(state) != state]
    lines += ["    [*] --> CLOSED", "    [*] --> LISTEN"]
    lines += [f"    {_id(before)} --> {_id(after)}: {event}" for (before, event), after in TRANSITIONS.items()]
    lines += ["    TIME_WAIT --> [*]", "```", "", "| state | event | next state |", "| --- | --- | --- |"]
    lines += [f"| {before} | {event} | {after} |" for (before, event), after in TRANSITIONS.items()]
    unseen = [f"| {trace} | {kernel} | {why} |" for (trace, kernel), why in {**UNSEEN, **WAITING}.items()]
    return "\n".join(lines) + "\n" + TAIL + "\n".join(unseen) + "\n" + LOST


def _id(state: str) -> str:
    return state.replace("-", "_")
