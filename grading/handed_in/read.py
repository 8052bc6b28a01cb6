"""Read a submission: which of its files count. Names, links, sizes and archives are taken for hostile.

Nothing is ever unpacked to disk, followed or run; a file is read up to the exercise's limit and no further.
"""

import hashlib
import os
import stat
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path, PurePosixPath

from analysis.files.frames import GZIP_MAGIC, PCAPNG_MAGIC
from analysis.files.pcap import VARIANTS
from analysis.text import plural, printable, some
from grading.exercise.model import Exercise
from grading.handed_in.candidate import MARKED, MOST_FILES, Candidate, ReadError, nothing
from grading.handed_in.find import Entry
from grading.handed_in.submission import File, Submission

DEEPEST = 4
CAPTURE_ENDINGS = (".pcap", ".pcapng", ".cap")
MOST_ANSWERS = 64_000  # bytes
MOST_NOTES, LONGEST_NOTE = 10, 300


def read_submission(entry: Entry, exercise: Exercise) -> Submission:
    """What `entry` holds of what the exercise asks for; `problem` says of a file why it can't be marked."""
    notes: list[str] = []
    kinds = [kind for kind in (entry.folders, entry.zips, entry.files) if kind]
    if len(kinds) > 1 or len(entry.folders) + len(entry.zips) > 1:
        names = some([printable(path.name) for path in entry.paths])
        doubled = File(names, problem=f"handed in {len(entry.paths)} times: {names}", next_step="hand in one of them")
        return Submission(entry.student, doubled, doubled if exercise.kind == "answers" else None)
    with ExitStack() as opened:
        return _read_entry(entry, exercise, list(_candidates(entry, notes, opened)), notes)


def _read_entry(entry: Entry, exercise: Exercise, candidates: list[Candidate], notes: list[str]) -> Submission:
    capture = _pick(candidates, exercise.hand_in.capture, _is_capture, exercise.hand_in.size, notes)
    answers = None
    if exercise.kind == "answers":
        answers = _pick(candidates, exercise.hand_in.answers, _is_toml, MOST_ANSWERS, notes)
    return Submission(entry.student, capture, answers, tuple(_few(notes)))


def _few(notes: list[str]) -> Iterator[str]:
    """The first notes, each cut to a length: an archive may give reason for thousands."""
    for note in notes[:MOST_NOTES]:
        text = printable(note)
        yield text if len(text) <= LONGEST_NOTE else f"{text[: LONGEST_NOTE - 1]}…"
    if len(notes) > MOST_NOTES:
        yield f"and {len(notes) - MOST_NOTES} more such things"


def _candidates(entry: Entry, notes: list[str], opened: ExitStack) -> Iterator[Candidate]:
    if entry.zips:
        from grading.handed_in.zips import zip_candidates

        return zip_candidates(entry.zips[0], notes, opened)
    if entry.folders:
        return _in_folder(entry.folders[0], notes)
    return (replace(one, is_alone=True) for path in entry.files for one in _in_file(path, path.name, notes))


def _in_folder(folder: Path, notes: list[str]) -> Iterator[Candidate]:
    """The folder's files, in the order of their names; not those behind links, or too deep."""
    if folder.is_symlink():
        notes.append(f"{folder.name} is a link: not followed")
        return
    todo, count = [folder], 0
    while todo:
        current = todo.pop()
        try:
            entries = sorted(os.scandir(current), key=lambda one: one.name)
        except OSError as error:
            name = str(current.relative_to(folder.parent))
            yield Candidate(name, 0, nothing, f"{printable(name)} can't be read: {error.strerror}")
            continue
        if any(one.name == MARKED for one in entries):
            continue  # what an earlier marking wrote
        for one in entries:
            path = Path(one.path)
            name = str(path.relative_to(folder))
            count += 1
            if count > MOST_FILES:
                notes.append(f"more than {MOST_FILES} files: the rest was not looked at")
                return
            if one.is_dir(follow_symlinks=False):
                if one.name.startswith((".", "__MACOSX")):
                    continue
                if len(path.relative_to(folder).parts) < DEEPEST:
                    todo.append(path)
                else:
                    notes.append(f"{name} is a folder in folders in folders: not looked into")
            elif not one.name.startswith("."):
                yield from _in_file(path, name, notes)


def _in_file(path: Path, name: str, notes: list[str]) -> Iterator[Candidate]:
    try:
        status = path.lstat()
    except OSError as error:
        yield Candidate(name, 0, nothing, f"{name} can't be read: {error.strerror}")
        return
    if stat.S_ISREG(status.st_mode):
        yield Candidate(name, status.st_size, lambda most: _read_file(path, most))
    elif stat.S_ISLNK(status.st_mode):
        notes.append(f"{name} is a link: not followed")
    else:
        notes.append(f"{name} is no regular file: not read")


def _read_file(path: Path, most: int) -> bytes:
    """At most `most` bytes; never through a link, and never waiting for a pipe."""
    flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    with open(os.open(path, flags), "rb") as file:  # noqa: PTH123
        return file.read(most)


def _pick(
    candidates: list[Candidate],
    wanted: str,
    is_kind: Callable[[Candidate], bool],
    limit: int,
    notes: list[str],
) -> File | None:
    """The file that counts: the one with the wanted name, else the one that is of its kind."""
    named = [one for one in candidates if _stem(one.base) == _stem(wanted)]
    named = [one for one in named if one.base.lower() == wanted.lower()] or [one for one in named if is_kind(one)]
    alike = _topmost(named or [one for one in candidates if is_kind(one)])
    if not alike:
        misfit = _misfit(candidates, wanted)
        if misfit is None and candidates:
            names = some([one.shown for one in candidates], 4)
            notes.append(f"what was handed in has no {_stem(wanted)}: {names}")
        return misfit
    if len(alike) > 1:
        names = some([one.shown for one in alike])
        what = f"{plural(len(alike), 'file')} could be the {_stem(wanted)}: {names}"
        return File(names, problem=what, next_step=f"hand in one, called {wanted}")
    (found,) = alike
    rest = [one.shown for one in candidates if one not in alike and is_kind(one)]
    if rest:
        notes.append(f"{found.shown} was marked; not marked: {some(rest, 3)}")
    if _stem(found.base) != _stem(wanted) and not found.is_alone:
        notes.append(f"{found.shown} was taken for the {_stem(wanted)}; it should be called {wanted}")
    return _load(found, limit)


def _topmost(found: list[Candidate]) -> list[Candidate]:
    """Those that lie highest: a student's own copy before what the lab kept in folders below."""
    depths = [one.name.count("/") for one in found]
    return [one for one, depth in zip(found, depths, strict=True) if depth == min(depths)]


def _misfit(candidates: list[Candidate], wanted: str) -> File | None:
    """Something else was handed in instead: that is looked at, so that it can be said what it is."""
    ending = PurePosixPath(wanted).suffix
    near = [one for one in candidates if one.base.lower().endswith(CAPTURE_ENDINGS if ending != ".toml" else ".toml")]
    rest = near or candidates
    return _load(rest[0], 1 << 20) if len(rest) == 1 and ending != ".toml" else None


def _load(one: Candidate, limit: int) -> File:
    name = one.shown
    if one.problem:
        return File(name, problem=one.problem, next_step="hand it in again")
    if one.size > limit:
        what = f"{name} has {one.size:,} bytes; at most {limit:,} are marked"
        return File(name, size=one.size, problem=what, next_step=_smaller(one))
    try:
        content = one.read(limit + 1)
    except ReadError as error:
        return File(name, size=one.size, problem=str(error), next_step="hand in the file itself")
    except OSError as error:
        what = f"{name} can't be read: {error.strerror}"
        return File(name, size=one.size, problem=what, next_step="hand it in again")
    if len(content) > limit:
        what = f"{name} is larger than it says: more than {limit:,} bytes"
        return File(name, size=len(content), problem=what, next_step="hand in the file itself")
    return File(name, content, len(content), sha256=hashlib.sha256(content).hexdigest())


def _smaller(one: Candidate) -> str:
    return "hand in the answers alone" if _is_toml(one) else "capture the one fetch alone, and nothing else"


def _stem(name: str) -> str:
    """The name without its endings, as systems and students differ in them."""
    low = name.lower().removesuffix(".gz")
    return low.rpartition(".")[0] or low


def _is_capture(one: Candidate) -> bool:
    try:
        head = one.read(4)
    except (OSError, ReadError):
        return False
    is_gzip = head[:2] == GZIP_MAGIC and one.base.lower().removesuffix(".gz").endswith(CAPTURE_ENDINGS)
    return head in VARIANTS or head == PCAPNG_MAGIC or is_gzip


def _is_toml(one: Candidate) -> bool:
    return one.base.lower().endswith(".toml")
