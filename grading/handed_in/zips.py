"""The files of a student's zip: read in memory, within limits; nothing is unpacked to disk."""

import lzma
import stat
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path, PurePosixPath

from grading.handed_in.candidate import LONGEST_NAME, MOST_FILES, Candidate, ReadError, nothing

LARGEST = 50_000_000  # bytes of an archive
ENCRYPTED = 0x1  # the flag: APPNOTE 4.4.4
STEP = 1 << 16
DAMAGE = (
    OSError,
    MemoryError,  # LZMA says how much it wants, and may want 4 GB
    zipfile.BadZipFile,
    zlib.error,
    lzma.LZMAError,
    NotImplementedError,
    RuntimeError,
    ValueError,
    EOFError,
)


def zip_candidates(path: Path, notes: list[str], opened: ExitStack) -> Iterator[Candidate]:
    """The files in the zip at `path`, which stays open as long as `opened`; one with a problem, if it is no zip."""
    try:
        if path.is_symlink():
            notes.append(f"{path.name} is a link: not followed")
            return
        if not path.is_file() or path.stat().st_size > LARGEST:
            what = "no regular file" if not path.is_file() else f"larger than {LARGEST:,} bytes"
            yield Candidate(path.name, 0, nothing, f"{path.name} is {what}: not read")
            return
        archive = opened.enter_context(zipfile.ZipFile(path))
    except DAMAGE as error:
        what = str(error.strerror) if isinstance(error, OSError) else _why(error)
        yield Candidate(path.name, 0, nothing, f"{path.name} is no zip that can be read: {what}")
        return
    infos = archive.infolist()
    for info in infos[:MOST_FILES]:
        yield from _entry(archive, info, notes)
    if len(infos) > MOST_FILES:
        notes.append(f"more than {MOST_FILES} files in {path.name}: the rest was not looked at")


def _entry(archive: zipfile.ZipFile, info: zipfile.ZipInfo, notes: list[str]) -> Iterator[Candidate]:
    parts = PurePosixPath(info.filename.replace("\\", "/")).parts
    mode = info.external_attr >> 16
    one = Candidate(info.filename, info.file_size, lambda most: _read_entry(archive, info, most))
    if info.is_dir() or not parts or parts[0] == "__MACOSX" or parts[-1].startswith("."):
        return
    if ".." in parts or parts[0] == "/" or parts[0].endswith(":"):
        notes.append(f"{one.shown} points out of the archive: not read")
    elif mode and stat.S_IFMT(mode) not in (0, stat.S_IFREG):
        kind = "a link: not followed" if stat.S_ISLNK(mode) else "no regular file: not read"
        notes.append(f"{one.shown} is {kind}")
    elif info.flag_bits & ENCRYPTED:
        yield replace(one, read=nothing, problem=f"{one.shown} needs a password")
    else:
        yield one


def _read_entry(archive: zipfile.ZipFile, info: zipfile.ZipInfo, most: int) -> bytes:
    """At most `most` bytes of an entry, whatever it says of its size."""
    content = bytearray()
    try:
        with archive.open(info) as file:
            while len(content) < most and (piece := file.read(min(STEP, most - len(content)))):
                content += piece
    except DAMAGE as error:
        raise ReadError(f"{Candidate(info.filename, 0, nothing).shown} can't be unpacked: {_why(error)}") from None
    return bytes(content)


def _why(error: Exception) -> str:
    """The reason in words: some errors have none, others have names of files in them, which may be long."""
    if isinstance(error, MemoryError):
        return "it takes too much memory"
    text = str(error)
    return "the archive is damaged" if isinstance(error, OSError) or not 0 < len(text) <= LONGEST_NAME else text
