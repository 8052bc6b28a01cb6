"""What the kernels said of their sockets, in a sentence for each end of the chosen story's connections."""

from collections.abc import Iterator
from itertools import groupby

from analysis.report import Report
from analysis.tcp.segment import ROLES
from analysis.testimony import Compared


def kernel_lines(report: Report) -> list[tuple[str, str]]:
    """Each end (`client`, `server 2`) and its sentence; empty where nobody asked the kernels."""
    return [] if report.story is None else list(_lines(report))


def _lines(report: Report) -> Iterator[tuple[str, str]]:
    story = report.story
    assert story is not None  # noqa: S101 - asked before
    ends = [(connection, "resolver") for connection in story.carriers]
    ends += [(connection, "server") for connection in story.connections]
    several = len(ends) > 1
    for number, (connection, server) in enumerate(ends, 1):
        kernels = report.kernels.get(connection.index)
        for role in ROLES if kernels else ():
            looks = kernels.of(role) if kernels else ()
            if looks:
                name = server if role == "server" else role
                yield f"{name} {number}" if several else name, _sentence(looks)


def _sentence(looks: tuple[Compared, ...]) -> str:
    """Where the socket is now, whether the trace agrees, and the states in which it was seen before."""
    last = looks[-1]
    agrees = {"same": "so says the trace", "differs": f"but the trace says {last.inferred}"}
    also = agrees.get(last.agreement, f"the trace says {last.inferred}, but {last.why}")
    *before, _ = [state for state, _ in groupby(one.look.state for one in looks)]
    return f"{_now(last)}; {also}" + (f" (before: {', '.join(before)})" if before else "")


def _now(last: Compared) -> str:
    if last.look.state == "CLOSED":
        return "has no socket of it: CLOSED"
    if (last.look.role, last.look.state, last.inferred) == ("server", "LISTEN", "CLOSED"):
        return "has no socket of it, only the one that listens: CLOSED"
    return f"is in {last.look.state}"
