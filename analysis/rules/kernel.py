"""The rule about the kernels' own testimony, where the lab took it."""

from analysis.rules.case import Case, Outcome
from analysis.tcp.segment import ROLES
from analysis.testimony import Compared, Kernels
from analysis.text import plural, some


def kernel(case: Case) -> Outcome:
    """Every look at a socket found the state that the segments up to then lead to (RFC 9293 §3.3.2)."""
    expected = "each kernel in the state that the trace shows, whenever it was asked"
    connections = (*case.story.connections, *case.story.carriers) if case.story else ()
    heard = [case.kernels[one.index] for one in connections if one.index in case.kernels]
    if not heard:
        return Outcome("skip", expected, "no kernel was asked about a connection of this fetch")
    for kernels in heard:
        for one in kernels.looks:
            if one.agreement == "differs":
                needed = "the frames that led to that state"
                return case.absent(expected, _difference(one), needed, () if one.frame is None else (one.frame,))
    frames = tuple(one.frame for kernels in heard for one in kernels.looks if one.frame is not None)
    return Outcome("pass", expected, some([_agreement(kernels) for kernels in heard], separator="; "), frames)


def _difference(one: Compared) -> str:
    when = "before its first frame" if one.frame is None else f"after frame {one.frame}"
    return f"{when} the {one.look.role}'s kernel is in {one.look.state}, the trace shows {one.inferred}"


def _agreement(kernels: Kernels) -> str:
    """`client TIME-WAIT, server CLOSED, at every one of 9 looks`, and what explains the differences."""
    last = ", ".join(f"{role} {one.inferred}" for role in ROLES if (one := kernels.last(role)))
    looks = plural(len(kernels.looks), "look")
    explained = [one for one in kernels.looks if one.agreement != "same"]
    if not explained:
        return f"{last}, at every one of {looks}"
    said = [f"{one.look.role} {one.look.state}, not {one.inferred}: {one.why}" for one in explained]
    return f"{last}, at {len(kernels.looks) - len(said)} of {looks}; {some(list(dict.fromkeys(said)), separator='; ')}"
