"""Who handed in what: the entries of a folder of submissions, by student."""

import difflib
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from analysis.errors import InputError
from analysis.text import plural, some
from grading.exercise.individual import canonical_student

EXTENSIONS = (".pcap", ".pcapng", ".cap", ".toml", ".txt", ".gz", ".zip", ".json", ".csv", ".log")
PART = re.compile(r"[-_. ](?:capture|answers|trace)$", re.IGNORECASE)  # alice-capture.pcap, alice_answers.toml
NOT_HANDED_IN = (".md", ".csv", ".xlsx", ".ods", ".html", ".ini", ".db", ".xml")  # what teachers and systems keep there
NOISE = ("__MACOSX", ".DS_Store", ".gitkeep", ".gitignore", ".git")
SEPARATORS = (",", ";", "\t")
HEADS = (
    "id",
    "student id",
    "student_id",
    "studentid",
    "student",
    "sis id",
    "username",
    "user name",
    "login",
    "matriculation",
)
MOST_STUDENTS = 100_000


@dataclass(frozen=True, slots=True)
class Entry:
    """A student, and where the submission is: a folder, a zip, or the student's files in a flat folder."""

    student: str
    folders: tuple[Path, ...] = ()
    zips: tuple[Path, ...] = ()
    files: tuple[Path, ...] = ()

    @property
    def paths(self) -> tuple[Path, ...]:
        return (*self.folders, *self.zips, *self.files)


@dataclass(slots=True)
class _Parts:
    folders: list[Path] = field(default_factory=list)
    zips: list[Path] = field(default_factory=list)
    files: list[Path] = field(default_factory=list)


def find_entries(folder: Path, roster: tuple[str, ...] = ()) -> tuple[tuple[Entry, ...], tuple[str, ...]]:
    """The submissions in `folder`, in the order of the students' ids; and the names of what was left alone.

    `roster`: students who have an entry in any case. `InputError` if the folder can't be read, or holds nothing.
    """
    parts: dict[str, _Parts] = {canonical_student(student): _Parts() for student in roster}
    left: list[str] = []
    for path in _entries(folder):
        student = student_of(path)
        if path.name in NOISE:
            continue
        if path.name.startswith("."):
            left.append(path.name)
        elif _is_folder(path):
            parts.setdefault(student, _Parts()).folders.append(path)
        elif path.suffix.lower() in NOT_HANDED_IN:
            left.append(path.name)
        elif path.suffix.lower() == ".zip":
            parts.setdefault(student, _Parts()).zips.append(path)
        else:
            parts.setdefault(student, _Parts()).files.append(path)
    if not parts:
        fix = "a folder or a zip for each student, or files called after them: alice.pcap"
        raise InputError(f"{folder}: there is no submission in it", f"what is looked for: {fix}")
    found = (Entry(name, *map(tuple, (one.folders, one.zips, one.files))) for name, one in parts.items())
    return tuple(sorted(found, key=lambda entry: natural(entry.student))), tuple(left)


def _entries(folder: Path) -> list[Path]:
    try:
        found = sorted(folder.iterdir())
    except OSError as error:
        raise InputError(f"{folder}: can't be read: {error.strerror}", "name the folder of the submissions") from None
    if len(found) > MOST_STUDENTS:
        raise InputError(f"{folder}: {len(found)} entries are too many", "is it the folder of the submissions?")
    return found


def _is_folder(path: Path) -> bool:
    """Whether it is a folder, or a link to one; what can't be known isn't."""
    try:
        return path.is_dir()
    except OSError:
        return False


def student_of(path: Path) -> str:
    """The student's id: the name of the folder, or of the file without its endings."""
    name = path.name
    if not _is_folder(path):
        while name.lower().endswith(EXTENSIONS):
            name = name[: name.rindex(".")]
        name = PART.sub("", name) or name
    return canonical_student(name) or path.name


def natural(text: str) -> tuple[tuple[int, int, str], ...]:
    """A key that sorts s2 before s10."""
    return tuple(
        (0, int(part), part) if part.isdecimal() and part.isascii() else (1, 0, part)
        for part in re.split(r"([0-9]{1,18})", text)
    )


def read_roster(path: Path) -> tuple[str, ...]:
    """The students of a class: an id a line, or a CSV's column that is headed so, else its first.

    Blank lines and `#` lines don't count. `InputError` if it can't be read, or names nobody.
    """
    import csv

    try:
        text = path.read_text("utf-8-sig")
    except OSError as error:
        raise InputError(f"{path}: can't be read: {error.strerror}", "name a file with an id a line") from None
    except UnicodeDecodeError:
        raise InputError(f"{path}: is no text of an id a line", "save it as UTF-8 text") from None
    lines = [line for line in text.splitlines() if line.strip() and not line.startswith(("#", "sep="))]
    separator = max(SEPARATORS, key=lines[0].count) if lines else ","
    try:
        rows = [[cell.strip() for cell in row] for row in csv.reader(lines, delimiter=separator) if any(row)]
    except csv.Error as error:
        raise InputError(f"{path}: is no CSV: {error}", "save it as UTF-8 text, an id a line") from None
    heads = [cell.casefold() for cell in rows[0]] if rows else []
    column = next((heads.index(word) for word in HEADS if word in heads), None)
    found = [row[column or 0] for row in rows[column is not None :] if len(row) > (column or 0) and row[column or 0]]
    if not found:
        raise InputError(f"{path}: names no student", "write an id a line")
    return tuple(dict.fromkeys(found))


def not_on(roster: tuple[str, ...], entries: tuple[Entry, ...]) -> Iterator[str]:
    """What to say of who handed in and isn't on the roster: a folder may be called after nobody."""
    known = [canonical_student(student) for student in roster]
    for entry in entries if roster else ():
        if entry.student not in known:
            near = difflib.get_close_matches(entry.student, known, 1)
            hint = f"; is it {near[0]}'s?" if near else ""
            yield f"{entry.student} is not on the roster{hint}"


def left_alone(names: tuple[str, ...]) -> Iterator[str]:
    """What to say of files that are nobody's."""
    if names:
        yield f"left alone, as nobody's submission: {some(names)} ({plural(len(names), 'file')})"
