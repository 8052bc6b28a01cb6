"""What the tasks of grading do: from words on a command line to folders, and text on standard output."""

import os
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from analysis.errors import InputError
from analysis.text import plural, printable
from grading.classes.marker import Marker
from grading.exercise.individual import NEW_KEY, canonical_student, derive, read_key
from grading.exercise.load import load_exercise
from grading.exercise.model import Exercise
from grading.files import safe_name, unwritable, write
from grading.handed_in.find import Entry, find_entries, left_alone, not_on, read_roster
from grading.marking.grade import Grade, points_text, total
from lab.console import say, style

EXAMPLE_KEY = b"the key of the examples"  # how exercises/example.key begins
KEY_FROM = "HANDSHAKE_LAB_KEY"  # the variable that names the key's file, where --key doesn't
MOST_PROCESSES = 256
TELL_EVERY_S = 1.0


def hand_out(file: Path, student: str, roster: str, key: str, out: str) -> None:
    """`invoke exercise`: a folder for the student, or for each of a roster; without either, what is in the file."""
    from grading.exercise.handout import handout, write_handout

    exercise = load_exercise(file)
    if exercise.bound is not None:
        raise InputError(f"{file}: is one student's copy already", "name the exercise that it was made from")
    if student and roster:
        raise InputError("--student is one student, --roster a class", "leave one of the two out")
    if not student and not roster:
        print("\n".join(_overview(exercise)))
        return
    secret = _key(exercise, key)
    if secret is not None and secret.startswith(EXAMPLE_KEY):
        say("warning: this is the key of the examples, which everybody knows; make one of your own")
    base = Path(out) if out else Path("handouts") / exercise.id
    for one in (student,) if student else read_roster(Path(roster)):
        own = None if secret is None else derive(secret, exercise.id, exercise.edition, one)
        files = handout(exercise, one, own)
        folder = base / safe_name(canonical_student(one))
        write_handout(folder, files)
        print(f"{printable(str(folder))}: {', '.join(files)}")


def _overview(exercise: Exercise) -> Iterator[str]:
    """A checked exercise for its author: what is marked, for how many points, and who sees it."""
    edition = f" ({exercise.edition})" if exercise.edition else ""
    yield from style().wrapped(printable(f"{exercise.title}{edition}: {' and '.join(exercise.files)}"), "", "  ")
    width = max(len(item.id) for item in exercise.items)
    for item in exercise.items:
        seen = "" if item.visibility == "visible" else f" ({item.visibility})"
        head = f"  {item.id:<{width}}  {points_text(item.points):>3}  "
        yield from style().wrapped(printable(f"{item.title}{seen}"), head, " " * len(head))
    count, points = len(exercise.items), points_text(total(item.points for item in exercise.items))
    yield f"{plural(count, 'check')}, {points} {'point' if points == '1' else 'points'}" + (
        f"; individual: {', '.join(exercise.uses)}" if exercise.uses else ""
    )
    yield "make it out: invoke exercise --file FILE --roster FILE, or --student ID"


def bench(students: int) -> bool:
    """`invoke bench --only grading`: how many students a second; whether the figure is reached."""
    from grading.bench.bench import bench_grading
    from lab.bench.runs import machine

    print(machine())
    table, good = bench_grading(students, say)
    print(f"\n{table}")
    return good


def _key(exercise: Exercise, named: str) -> bytes | None:
    """The course's key, where something is individual."""
    if not exercise.uses or exercise.bound is not None:
        return None
    path = named or os.environ.get(KEY_FROM, "")
    if not path:
        raise InputError(
            f"{exercise.path}: is individual, and no key is named", f"--key FILE, or {KEY_FROM}; {NEW_KEY}"
        )
    return read_key(Path(path))


def grade(  # the options of a command line
    submissions: Path,
    file: Path,
    *,
    student: str | None,
    roster: str,
    key: str,
    out: str,
    jobs: str,
    publish: bool,
    github: bool,
) -> int:
    """`invoke grade`: mark what was handed in, and write all about it; the exit status."""
    from grading.classes.before import marked_before
    from grading.classes.run import mark_class
    from grading.classes.write import write_class
    from grading.exercise.published import published

    exercise = load_exercise(file)
    exercise = published(exercise) if publish else exercise
    folder = Path(out) if out else Path("grades") / exercise.id
    with _told_to_gradescope(folder, student):
        processes = _processes(jobs)
        entries, notes, single = _entries(submissions, exercise, student, roster)
        marker = Marker(exercise, _key(exercise, key), folder)
        _check_out(marker.out, submissions, single=single)
    try:
        with marked_before(marker.out) as before:
            if single:
                marker.prepare(entries[0])
            grades = mark_class(marker, entries, processes, before, _telling(len(entries)))
            notes = (*notes, *_nobodys(grades, marker))
            write_class(marker.out, grades, exercise, notes, single=single)
    except OSError as error:
        raise unwritable(marker.out, error) from None
    _print(grades, exercise, notes, marker.out, single=single, github=github)
    return _status(grades, single=single)


def _processes(words: str) -> int:
    """How many workers: as many as are asked for, or one for each core."""
    if not words:
        return os.cpu_count() or 1
    if not (words.isascii() and words.isdecimal() and 0 < int(words[:9]) <= MOST_PROCESSES):
        fix = f"a number from 1 to {MOST_PROCESSES}; left out: one for each core"
        raise InputError(f"--jobs {words[:20]}: that many processes can't be", fix)
    return int(words)


def _entries(
    submissions: Path, exercise: Exercise, student: str | None, roster: str
) -> tuple[tuple[Entry, ...], tuple[str, ...], bool]:
    """Who handed in what; what to say of the rest; whether it is a single student's."""
    if student is not None and not student.strip():
        raise InputError("--student names nobody", "name the student: --student ID")
    if student is not None or exercise.bound is not None:
        if roster:
            what = "--student is one student" if student else f"{exercise.path} is one student's copy"
            raise InputError(f"{what}, --roster a class", "leave one of the two out")
        return (_single(submissions, canonical_student(student or "you")),), (), True
    known = read_roster(Path(roster)) if roster else ()
    found, left = find_entries(submissions, known)
    return found, (*left_alone(left), *map(printable, not_on(known, found))), False


@contextmanager
def _told_to_gradescope(out: Path, student: str | None) -> Iterator[None]:
    """Where marking a single student can't even begin, leave a result that says so: Gradescope waits for one."""
    from grading.outputs.gradescope import no_results

    try:
        yield
    except InputError:
        if student and student.strip():
            with suppress(OSError):
                write(out / "gradescope" / f"{safe_name(canonical_student(student))}.json", no_results())
        raise


def _nobodys(grades: Sequence[Grade], marker: Marker) -> Iterator[str]:
    """What to say where everybody's capture seems to be somebody else's."""
    judged = [check.status for one in grades for check in one.checks if check.id == "individual"]
    if marker.key is not None and len(judged) > 1 and "pass" not in judged:
        yield "no capture shows what is its student's own: is it the right key, the right edition, the right ids?"


def _single(path: Path, student: str) -> Entry:
    if path.is_dir():
        return Entry(student, folders=(path,))
    if not path.exists():
        raise InputError(f"{path}: there is no such file or folder", "name what was handed in")
    return Entry(student, zips=(path,)) if path.suffix.lower() == ".zip" else Entry(student, files=(path,))


def _check_out(out: Path, submissions: Path, *, single: bool) -> None:
    if not single and out.resolve().is_relative_to(submissions.resolve()):
        raise InputError(f"{out}: is among the submissions", "name a folder elsewhere: --out FOLDER")


def _telling(count: int) -> Callable[[int, int], None]:
    """Tells a person of a class that takes a while: once a second, and at the end."""
    last = [time.monotonic()]

    def heard(done: int, again: int) -> None:
        now = time.monotonic()
        if count > 1 and (done == count or now - last[0] >= TELL_EVERY_S):
            last[0] = now
            say(f"{done} of {plural(count, 'submission')}" + (f", {again} as before" if again else ""))

    return heard


def _print(
    grades: Sequence[Grade], exercise: Exercise, notes: Sequence[str], out: Path, *, single: bool, github: bool
) -> None:
    from grading.outputs.github import annotations, hedged
    from grading.outputs.terminal import class_text, student_text

    text = student_text(grades[0], exercise, style()) if single else class_text(grades, exercise, style())
    text += "".join(f"{printable(note)}\n" for note in notes)
    in_actions = github or os.environ.get("GITHUB_ACTIONS") == "true"
    sys.stdout.write(hedged(text) if in_actions else text)
    if in_actions:
        print("\n".join(annotations(grades, exercise, single=single)))
        _append_summary(out)
    print(f"written: {printable(str(out))}")


def _append_summary(out: Path) -> None:
    """Add the summary to the job's, where GitHub says where that is."""
    path = os.environ.get("GITHUB_STEP_SUMMARY", "")
    if not path:
        return
    try:
        with Path(path).open("a", encoding="utf-8") as file:
            file.write((out / "summary.md").read_text(encoding="utf-8"))
    except OSError as error:
        say(f"the job's summary can't be written: {error.strerror}; it is in {out / 'summary.md'}")


def _status(grades: Sequence[Grade], *, single: bool) -> int:
    """Of a single student the verdict's; of a class 0, or 3 if the grader itself failed for somebody."""
    if single:
        return {"pass": 0, "fail": 1}.get(grades[0].status, 3)
    return 3 if any(check.id == "grader" for one in grades for check in one.checks) else 0
