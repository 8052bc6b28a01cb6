"""Load an exercise file and check it whole. Every complaint names file, line, key and what is allowed."""

import re
from datetime import UTC, date, datetime
from pathlib import Path
from string import Template
from typing import Any

from analysis.errors import InputError
from grading.errors import ExerciseError
from grading.exercise.individual import USES, Individual
from grading.exercise.items import SHORT_NAME, load_items, short_name, take_points
from grading.exercise.model import Exercise, HandIn, Kind, Points
from lab.scenario.load import check_scenario
from lab.toml.table import Table, read_file, read_table
from lab.toml.values import duration, hostname, integer, line, one_of, text, truth

PAGE = "docs/exercise-file.md"
FILE_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,60}")
SIZE = re.compile(r"(\d{1,9}) ?(B|kB|MB)", re.ASCII)
SIZES = {"B": 1, "kB": 1_000, "MB": 1_000_000}
LARGEST = 100_000_000  # bytes; a file is read into memory
MOST_EARLIER = 100
EXAMPLE = Individual("name.lab.test", "198.18.0.10", "198.18.0.53", "198.19.0.80", 20_000, "0" * 16)


def load_exercise(path: Path) -> Exercise:
    """Load and check the exercise at `path`; `ExerciseError` says all that is wrong with a key."""
    table = read_file(path, "exercise", PAGE, ExerciseError)
    kind: Kind = table.take("kind", "capture", one_of("capture", "answers"), '"capture" or "answers"')
    table.require("title", "one line of text")
    fractions = table.take("fractions", False, truth, "true or false")
    individual, hidden = table.table("individual"), table.table("hidden")
    exercise = Exercise(
        id=table.take("id", _id_of(path), short_name, SHORT_NAME),
        edition=table.take("edition", "", line, "one line of text"),
        title=table.take("title", "", line, "one line of text"),
        text=table.take("text", "", text, "a text for students, in Markdown"),
        kind=kind,
        hand_in=_hand_in(table.table("hand_in")),
        items=load_items(table, kind, fractions=fractions, is_copy=hidden.given("questions")),
        path=path,
        source=table.file.source,
        host=table.take("host", None, hostname, "a host name"),
        uses=individual.take("uses", (), _uses, f"a list of {', '.join(USES)}"),
        earlier=individual.take("earlier", (), _editions, "a list of earlier editions, each one line of text"),
        bound=_bound(individual),
        scenario=table.take("scenario", None, text, "a scenario, as a text"),
        hidden=_hidden(hidden, fractions=fractions),
        asked=_asked(hidden),
        reveal=table.take("reveal", False, truth, "true or false"),
        fractions=fractions,
    )
    individual.finish()
    hidden.finish()
    table.finish()
    _check_texts(table, exercise)
    return exercise


def _id_of(path: Path) -> str:
    """The exercise's id where it says none: the name of its file, or of its folder if all files are called so."""
    name = path.stem if path.stem != "exercise" else path.absolute().parent.name
    return re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")[:40].strip("-") or "exercise"


def _file_name(value: Any) -> str | None:
    return value if isinstance(value, str) and FILE_NAME.fullmatch(value) else None


def _size(value: Any) -> int | None:
    found = SIZE.fullmatch(value) if isinstance(value, str) else None
    size = int(found[1]) * SIZES[found[2]] if found else 0
    return size if 0 < size <= LARGEST else None


def _moment(value: Any) -> datetime | None:
    """A date or a time, in UTC."""
    if not isinstance(value, datetime):
        return datetime(value.year, value.month, value.day, tzinfo=UTC) if isinstance(value, date) else None
    try:
        return value.astimezone(UTC) if value.tzinfo else value.replace(tzinfo=UTC)
    except OverflowError:  # the first or the last day of the calendar, elsewhere
        return None


def _hand_in(table: Table) -> HandIn:
    usual = HandIn()
    moment = "a date or a time, such as 2026-11-28T08:00:00Z; UTC where it doesn't say"
    found = HandIn(
        capture=table.take("capture", usual.capture, _file_name, "the name of a file"),
        answers=table.take("answers", usual.answers, _file_name, "the name of a file"),
        size=table.take("size", usual.size, _size, 'a size such as "500 kB" or "10 MB", at most 100 MB'),
        frames=table.take("frames", usual.frames, integer(1, 1_000_000), "a whole number from 1 to 1000000"),
        seconds=table.take("seconds", usual.seconds, duration(600.0, 0.1), 'a time from "0.1s" to "600s"'),
        opens=table.take("opens", None, _moment, moment),
        closes=table.take("closes", None, _moment, moment),
    )
    if found.opens and found.closes and found.closes <= found.opens:
        raise table.contradicts("closes", "is not after hand_in.opens", "let it close later")
    table.finish()
    return found


def _uses(value: Any) -> tuple[Any, ...] | None:
    good = isinstance(value, list) and all(use in USES for use in value) and len(set(value)) == len(value)
    return tuple(value) if good else None


def _editions(value: Any) -> tuple[str, ...] | None:
    good = isinstance(value, list) and len(value) <= MOST_EARLIER and all(line(entry) is not None for entry in value)
    return tuple(value) if good else None


def _bound(table: Table) -> Individual | None:
    """What is individual, where the exercise was made out for one student: all of it, or nothing."""
    allowed = "what `invoke exercise` wrote; leave all of it out in an exercise for a class"
    if not any(table.has(key) for key in EXAMPLE.placeholders):
        return None
    for key in EXAMPLE.placeholders:
        table.require(key, allowed)
    words = {key: table.take(key, "", line, allowed) for key in EXAMPLE.placeholders if key != "port"}
    return Individual(**words, port=table.take("port", 0, integer(1, 65_535), allowed))


def _hidden(table: Table, *, fractions: bool) -> tuple[int, Points]:
    points = take_points(table, 1_000_000, fractions=fractions)
    return table.take("checks", 0, integer(0, 10_000), "a whole number"), points


def _asked(table: Table) -> tuple[str, ...]:
    """The questions that a student's copy knows by their ids alone."""
    return table.take("questions", (), _names, "a list of questions' ids")


def _names(value: Any) -> tuple[str, ...] | None:
    return tuple(value) if isinstance(value, list) and all(short_name(name) for name in value) else None


def _check_texts(table: Table, exercise: Exercise) -> None:
    """Complain of placeholders that nothing stands for, and of a scenario that couldn't be played."""
    if exercise.earlier and not exercise.uses:
        raise table.contradicts("individual", "has earlier editions, and nothing is individual", "add individual.uses")
    if exercise.host and "host" in exercise.uses:
        raise table.contradicts("host", "stands beside an individual one", "leave one of the two out")
    if exercise.hand_in.capture == exercise.hand_in.answers:
        raise table.contradicts("hand_in", "has one name for capture and answers", "give them two")
    if exercise.uses and not {"host", "nonce"} & set(exercise.uses):
        fix = 'add "host" or "nonce": addresses and ports alone are soon those of somebody else'
        raise table.contradicts("individual", "has nothing by which a capture tells whose it is", fix)
    if exercise.edition in exercise.earlier:
        fix = "give the exercise a new edition each time"
        raise table.contradicts("edition", f"{exercise.edition!r} is among individual.earlier", fix)
    for key, words in (("text", exercise.text), ("scenario", exercise.scenario or "")):
        named = [name for name in EXAMPLE.placeholders if re.search(rf"\$\{{?{name}\b", words)]
        if named and not exercise.uses:
            fix = 'say what is individual: [individual] uses = ["host", "nonce"]'
            raise table.contradicts(key, f"has ${named[0]}, and nothing is individual", fix)
        try:
            filled = fill(words, exercise.bound or EXAMPLE) if exercise.uses else words
        except (KeyError, ValueError) as error:
            fix = f"use {', '.join(f'${name}' for name in EXAMPLE.placeholders)}; $$ is a dollar sign"
            raise table.contradicts(key, f"has a placeholder that can't be filled: {error}", fix) from None
        if key == "scenario" and exercise.scenario:
            _check_scenario(table, filled)


def _check_scenario(table: Table, source: str) -> None:
    try:
        check_scenario(read_table(Path("scenario.toml"), source.encode(), "docs/scenario-file.md", InputError))
    except InputError as error:
        raise table.contradicts("scenario", f"can't be played: {error}", error.next_step) from None


def fill(words: str, individual: Individual) -> str:
    """A text of an exercise with the placeholders filled in; `KeyError`, `ValueError` where one can't be."""
    return Template(words).substitute(individual.placeholders)
