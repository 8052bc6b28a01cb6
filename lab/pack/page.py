"""`docs/scenarios.md`: the scenario pack as a lesson, chapter by chapter, with the sequences of real runs."""

import json
import re
import shlex
import tomllib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from analysis.errors import LabError
from lab.pack.play import Played
from lab.scenario.model import Scenario

LONGEST = 40  # lines of a sequence that are shown whole
FIRST, LAST = 14, 8  # lines of a longer one that are shown
LONGEST_VALUE = 100
TIME = re.compile(r"\s((?:after|took) [\d.a-z]*\.\.[\d.a-z]*)\s*$")
NOT_SETTINGS = ("title", "look_for", "takes", "exact", "because", "expect")


class Chapter(NamedTuple):
    """A heading, what it is about, and its scenarios in the order in which they teach."""

    title: str
    about: str
    scenarios: tuple[str, ...]


CHAPTERS = (
    Chapter(
        "The ordinary fetch",
        "Two questions to the resolver, then one connection: three segments open it, a request and its response are\n"
        "exchanged, three close it (RFC 9293 §3.5, §3.6). All other chapters are told by what differs from this one.",
        ("baseline", "google-2016", "round-trip-42ms", "ipv6"),
    ),
    Chapter(
        "Looking up the name",
        "Before any connection the name becomes an address (RFC 1034 §5.3, RFC 1035 §4.1). An answer may be an alias,\n"
        "may say that there is no such record or no such name (RFC 2308 §2): without an address there is no SYN. UDP\n"
        "repeats nothing by itself; what doesn't fit a datagram comes over TCP (RFC 7766 §5).",
        ("nodata", "cname-chain", "nxdomain", "servfail", "resolver-silent", "truncated"),
    ),
    Chapter(
        "Opening a connection",
        "SYN; SYN,ACK; ACK: each side tells its first number and hears it acknowledged (RFC 9293 §3.5). A port that\n"
        "nobody listens on answers with a reset (§3.5.2). What is lost is sent again when a timer ends, which waits\n"
        "twice as long each time (RFC 6298 §5.5).",
        ("refused", "syn-lost", "syn-ack-lost", "syn-lost-always"),
    ),
    Chapter(
        "Requests and responses",
        "On the open connection bytes are counted, not packets: Ack is the next byte expected (RFC 9293 §3.4).\n"
        "HTTP/1.1 keeps the connection for further requests (RFC 9112 §9.3).",
        ("head", "keep-alive", "redirect", "slow-body", "small-mtu", "download-1mb"),
    ),
    Chapter(
        "Loss, damage, disorder",
        "The network promises nothing; the numbers repair it. Bytes that nobody acknowledges are sent again: after a\n"
        "timeout (RFC 6298), or, where later segments arrive, at once (RFC 5681 §3.2, RFC 2018). The capture is made\n"
        "at the client's link: what is lost on its way to the client is not in it.",
        ("request-lost", "response-lost", "damaged", "duplicate-response", "reordering", "segment-lost"),
    ),
    Chapter(
        "Closing a connection",
        "Each side closes its own direction with a FIN, which takes up one number, as the SYN did (RFC 9293 §3.6). In\n"
        "how many segments that happens depends on who waits for whom; who closes first waits in TIME-WAIT.",
        (
            "four-segment-close",
            "server-closes-first",
            "simultaneous-close",
            "reset-close",
            "client-fin-lost",
            "server-fin-lost",
            "last-ack-lost",
        ),
    ),
)

HEAD = f"""# The scenarios

<!-- made by `invoke docs` of real runs, with {{made_with}}; don't edit -->

Each section below is one scenario of the pack: what happens, what to look for, the command that does it on your own
machine, and the exact sequence of a real run on the netns backend ([how to read it](sequence.md)). `invoke lab --all`
runs them all, `invoke scenarios` lists them; that their expectations can fail is [proved](selftest.md). Of a sequence
of more than {LONGEST} lines the middle is left out. What "settings" name is in [the scenario file](scenario-file.md).
"""


def scenarios_page(plans: Sequence[Scenario], played: Sequence[Played]) -> str:
    """The page as Markdown; `LabError` where a scenario has no chapter, or a run no report."""
    known = {plan.name: (plan, run) for plan, run in zip(plans, played, strict=True)}
    missing = known.keys() - {name for chapter in CHAPTERS for name in chapter.scenarios}
    if missing:
        raise LabError(f"no chapter has {', '.join(sorted(missing))}", "give it one: CHAPTERS in lab/pack/page.py")
    lines = [HEAD.format(made_with=made_with(played))]
    for chapter in CHAPTERS:
        lines += [f"## {chapter.title}", "", chapter.about, ""]
        for name in chapter.scenarios:
            lines += _section(*known[name])
    return "\n".join(lines)


def made_with(played: Sequence[Played]) -> str:
    """The kernel and the curl of the runs, as far as they may matter: others may send other segments."""
    folder = next((one.folder for one in played if one.folder), None)
    if folder is None:
        return "nothing"
    versions = json.loads((folder / "run.json").read_text())["versions"]
    return machine_words(versions["kernel"], versions["curl"])


def machine_words(kernel: str, curl: str) -> str:
    """`Linux 6.18 and curl 7.88.1`, of what `uname -r` and `curl --version` say."""
    return f"Linux {'.'.join(kernel.split('.')[:2])} and {' '.join(curl.split()[:2])}"


def _section(plan: Scenario, played: Played) -> Iterator[str]:
    if played.folder is None:
        raise LabError(f"{plan.name} has no report: {played.said}", f"run it alone: invoke lab -s {plan.name}")
    form = "exact" if plan.inexact_because is None else "shape"
    yield from (f"### {plan.title}", "")
    yield from (f"Look for: {plan.look_for}", "") if plan.look_for else ()
    settings = "; ".join(settings_of(plan))
    yield from (f"Settings: {settings}", "") if settings else ()
    yield from (f"Runs may differ, so this is the shape: {plan.inexact_because}", "") if form == "shape" else ()
    commands = [f"# curl {shlex.join(command)}" for command in plan.client.commands]
    yield from ("```sh", f"invoke lab --scenario {plan.name}", *commands, "```", "")
    lines = timed(played.sequence(form).splitlines(), plan)
    yield from ("```sequence", *elided(lines), "```", "")


def timed(lines: Sequence[str], plan: Scenario) -> list[str]:
    """The lines of a run's sequence, with the times that the scenario expects beside them.

    Only where each line of the run has one in the expectation: not where that has groups.
    """
    wanted = [line for line in (plan.expected.source if plan.expected else "").splitlines() if line.strip()]
    times = [TIME.search(line) for line in wanted]
    if len(wanted) != len(lines):
        return list(lines)
    return [f"{line}   # {found[1]}" if found else line for line, found in zip(lines, times, strict=True)]


def elided(lines: Sequence[str]) -> list[str]:
    """The lines; of many only the first and the last, with how many are left out between them."""
    if len(lines) <= LONGEST:
        return list(lines)
    left_out = f"# … {len(lines) - FIRST - LAST:,} lines are left out …"
    return [*lines[:FIRST], left_out, *lines[-LAST:]]


def settings_of(plan: Scenario) -> Iterator[str]:
    """What the scenario file sets beside plain addresses and curl's arguments, as Markdown."""
    table = tomllib.loads(plan.source)
    for key, value in table.items():
        if key == "names":
            yield from (f"`{name}`: `{_value(one)}`" for name, one in value.items() if not _is_plain(one))
        elif key == "wire":
            yield from _flat(key, {name: one for name, one in value.items() if name != "fault"})
            yield from (f"fault: `{_fault(fault)}`" for fault in value.get("fault", ()))
        elif key not in NOT_SETTINGS:
            yield from _flat(key, value)


def _fault(table: Mapping[str, Any]) -> str:
    """`delay client SYN 1 by 30ms`."""
    return " ".join(f"{key} {value}" for key, value in table.items())


def _is_plain(value: Any) -> bool:
    """Whether a name's entry is an address, or a list of some."""
    return all(isinstance(one, str) for one in (value if isinstance(value, list) else [value]))


def _flat(key: str, value: Any) -> Iterator[str]:
    if key == "client.curl":
        return
    if isinstance(value, Mapping) and not key.endswith("headers"):
        for name, one in value.items():
            yield from _flat(f"{key}.{name}" if name.replace("_", "").isalnum() else f'{key}."{name}"', one)
    else:
        yield f"`{key} = {_value(value)}`"


def _value(value: Any) -> str:
    """A value as TOML has it, in one line; cut where it is long."""
    text = _toml(value)
    return (text if len(text) <= LONGEST_VALUE else f"{text[:LONGEST_VALUE]}…").replace("`", "'")


def _toml(value: Any) -> str:
    if isinstance(value, Mapping):
        return f"{{ {', '.join(f'{name} = {_toml(one)}' for name, one in value.items())} }}"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, Iterable) and not isinstance(value, str):
        return f"[{', '.join(map(_toml, value))}]"
    return f'"{value}"' if isinstance(value, str) else str(value)
