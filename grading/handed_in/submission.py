"""A submission as values: the files that count, and what is odd about the rest."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class File:
    """A file that was handed in. `problem`: why it can't be marked; `content` is empty then. `sha256` in hex."""

    name: str
    content: bytes = b""
    size: int = 0
    problem: str = ""
    next_step: str = ""
    sha256: str = ""


@dataclass(frozen=True, slots=True)
class Submission:
    """What a student handed in; None for a file that isn't there.

    `notes` are for the student, `flags` for the teacher.
    """

    student: str
    capture: File | None = None
    answers: File | None = None
    notes: tuple[str, ...] = ()
    flags: tuple[str, ...] = ()
