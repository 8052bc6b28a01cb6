"""The page on TCP's states, made of the transition table itself: `docs/states.md`."""

from analysis.tcp.states import TRANSITIONS

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
    return "\n".join(lines) + "\n" + TAIL


def _id(state: str) -> str:
    return state.replace("-", "_")
