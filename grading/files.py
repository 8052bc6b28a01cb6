"""Files about students: harmless names, and writing whole or not at all."""

import hashlib
import re
from collections.abc import Iterable
from pathlib import Path
from typing import BinaryIO

from analysis.errors import InputError

SAFE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@+-]{0,59}(?<!\.)(?<!-[0-9a-f]{12})")  # nor what stands for another id
DEVICES = re.compile(r"(?:con|prn|aux|nul|com\d|lpt\d)(?:\..*)?", re.IGNORECASE)  # no file names on Windows


def safe_name(student: str) -> str:
    """A name for files about the student: the id where that is harmless, else what is, and a part of its hash."""
    if SAFE.fullmatch(student) and not DEVICES.fullmatch(student):
        return student
    rest = re.sub(r"[^A-Za-z0-9]+", "-", student).strip("-")[:40] or "student"
    return f"{rest}-{hashlib.sha256(student.encode('utf-8', 'surrogatepass')).hexdigest()[:12]}"


def write(path: Path, text: str | Iterable[str]) -> None:
    """Write a file, given whole or in pieces: it is there whole, or not at all.

    What an interrupted run left half written is written over: nobody else writes to the folder at the same time.
    """
    partial = partial_of(path)
    pieces = (text,) if isinstance(text, str) else text
    try:
        with _opened(partial) as file:
            file.writelines(piece.encode("utf-8", "replace") for piece in pieces)
        partial.replace(path)
    except OSError:
        partial.unlink(missing_ok=True)
        raise


def partial_of(path: Path) -> Path:
    return path.with_name(f".{path.name}.partial")


def _opened(path: Path) -> BinaryIO:
    try:
        return path.open("wb")
    except FileNotFoundError:
        path.parent.mkdir(parents=True, exist_ok=True)
        return path.open("wb")


def unwritable(folder: Path, error: OSError) -> InputError:
    return InputError(f"{folder}: can't be written: {error.strerror}", "name another folder: --out FOLDER")
