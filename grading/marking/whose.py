"""Whose capture it is, and when it was taken: what must hold before the rubric is looked at."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import NamedTuple

from analysis.names import canonical, is_address
from analysis.report import Report
from analysis.story import Story
from analysis.text import printable, some
from grading.exercise.individual import Individual, Use
from grading.exercise.model import HandIn
from grading.marking.grade import Result

MOST_SEEN, LONGEST_SEEN = 20, 120
NAMES = ("host", "nonce")  # long enough to be nobody else's; either of them says whose it is
NANOSECONDS = 1_000_000_000


@dataclass(frozen=True, slots=True)
class Owner:
    """What this student's capture must show; `earlier`: what it showed in earlier editions, by edition."""

    own: Individual
    uses: tuple[Use, ...]
    earlier: Mapping[str, Individual]


class Mark(NamedTuple):
    """One of the individual marks: what it should be, what the capture has (None: not to be seen), whether it is it."""

    use: Use
    wanted: str
    found: str | None
    is_right: bool


TITLES: dict[Use, str] = {
    "host": "the name looked up",
    "addresses": "the addresses",
    "port": "the client's port",
    "nonce": "the word in the request",
}


def judge_owner(report: Report, owner: Owner) -> Result:
    """Whether the capture is this student's: every mark that can be seen is his own, and one of the long ones can."""
    marks = tuple(_marks(report, owner))
    expected = "; ".join(f"{TITLES[mark.use]}: {mark.wanted}" for mark in marks)
    frames = () if report.story is None else report.story.frames[:1]
    wrong = [mark for mark in marks if mark.found is not None and not mark.is_right]
    named = [mark for mark in marks if mark.is_right and mark.use in NAMES]
    if len(named) == len(NAMES):
        wrong = [mark for mark in wrong if mark.use != "addresses"]  # on Docker they are the engine's
    if wrong:
        found = "; ".join(f"{TITLES[mark.use]}: {mark.found}" for mark in wrong)
        return Result("fail", expected, printable(_whose(report, owner) + found), frames, _hint(owner))
    if not named and not _is_lost(report):
        found = f"the capture shows none of them; names in it: {_names(report)}"
        return Result("fail", expected, printable(_whose(report, owner) + found), frames, _hint(owner))
    if not named:
        found = "too little of the fetch is in the capture to see whose it is"
        return Result("inconclusive", expected, found, frames, "capture from before the fetch until after its close")
    return Result("pass", expected, "; ".join(f"{TITLES[mark.use]}: {mark.wanted}" for mark in marks if mark.is_right))


def _marks(report: Report, owner: Owner) -> Iterator[Mark]:
    own, story = owner.own, report.story
    connections = story.connections if story else ()
    for use in owner.uses:
        if use == "host":
            seen = (story,) if story and _has_word(story, owner) else report.stories
            names = [name for name in dict.fromkeys(one.name for one in seen) if not is_address(name)]
            is_right = story is not None and canonical(own.host) in story.names
            yield Mark(use, own.host, some(names, 5) if names else None, is_right)
        elif use == "nonce":
            targets = [exchange.target for exchange in story.exchanges] if story else []
            shown = some([target[:LONGEST_SEEN] for target in targets], 3) if targets else None
            yield Mark(use, own.nonce, shown, any(own.nonce in target for target in targets))
        elif use == "port":
            ports = [str(connection.client.port) for connection in connections]
            yield Mark(use, str(own.port), some(ports, 3) if ports else None, str(own.port) in ports)
        else:
            found = {(connection.client.address, connection.server.address) for connection in connections}
            shown = some([" → ".join(pair) for pair in sorted(found)], 2) if found else None
            yield Mark(use, f"{own.client} → {own.server}", shown, (own.client, own.server) in found)


def _has_word(story: Story, owner: Owner) -> bool:
    """Whether the fetch is the student's by its word: then other names in the capture are those of other programs."""
    return "nonce" in owner.uses and any(owner.own.nonce in exchange.target for exchange in story.exchanges)


def _is_lost(report: Report) -> bool:
    """Whether frames that would tell may be missing: there is a fetch, but neither a name nor a request to be seen."""
    is_joined_late = report.story is not None and not report.story.exchanges and not report.story.lookups
    return is_joined_late or report.capture.health == "incomplete"


def _whose(report: Report, owner: Owner) -> str:
    """`another edition's: `, where the capture is the student's own of an earlier one."""
    seen = " ".join(seen_in(report))
    for edition, individual in owner.earlier.items():
        if individual.host in seen or individual.nonce in seen:
            return f"this is your capture of the edition {edition}: " if edition else "this is your earlier capture: "
    return ""


def _names(report: Report) -> str:
    names = list(dict.fromkeys(story.name for story in report.stories))
    return some(names, 5) if names else "none"


def _hint(owner: Owner) -> str:
    return (
        f"hand in your own capture of this exercise: fetch http://{owner.own.host}/{owner.own.nonce}"
        if ("host" in owner.uses)
        else f"hand in your own capture of this exercise: your word is {owner.own.nonce}"
    )


def seen_in(report: Report) -> tuple[str, ...]:
    """Names and request targets of the capture, cut to a length."""
    names = (story.name for story in report.stories)
    targets = (exchange.target for story in report.stories for exchange in story.exchanges)
    seen = dict.fromkeys(text[:LONGEST_SEEN] for text in (*names, *targets))
    return tuple(seen)[:MOST_SEEN]


def judge_time(report: Report, hand_in: HandIn) -> Result:
    """Whether the capture was taken while the exercise was open, by the clock of the machine that took it."""
    expected = " ".join(
        f"{word} {_utc(when)}" for word, when in (("from", hand_in.opens), ("until", hand_in.closes)) if when
    )
    times = report.capture.frames.time_ns
    if not len(times):
        return Result("inconclusive", expected, "the capture has no frame", hint="capture again")
    frame = report.story.frames[0] if report.story else 1
    taken = datetime.fromtimestamp(min(int(times[frame - 1]) // NANOSECONDS, 253_402_300_799), UTC)
    early = hand_in.opens is not None and taken < hand_in.opens
    late = hand_in.closes is not None and taken > hand_in.closes
    if early or late:
        found = f"taken {_utc(taken)}, {'before the exercise opened' if early else 'after it closed'}"
        hint = "hand in a capture of this edition; if the clock was wrong, set it and capture again"
        return Result("fail", expected, found, (frame,), hint)
    return Result("pass", expected, f"taken {_utc(taken)}", (frame,))


def _utc(when: datetime) -> str:
    return f"{when.astimezone(UTC):%Y-%m-%d %H:%M} UTC"
