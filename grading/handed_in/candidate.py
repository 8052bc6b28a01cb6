"""A file of a submission that may count, wherever it is: in a folder, in a zip, on its own."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import PurePosixPath

from analysis.text import printable

MARKED = ".marked.jsonl"  # in a folder of results: what was marked
MOST_FILES = 1_000  # of one submission that are looked at
LONGEST_NAME = 120


class ReadError(Exception):
    """A file of an archive that can't be read; says why."""


@dataclass(frozen=True, slots=True)
class Candidate:
    """A file that may count: its name within the submission, and how to read at most so many bytes of it.

    One that `is_alone`, in no folder, is called after the student.
    """

    name: str
    size: int
    read: Callable[[int], bytes]
    problem: str = ""
    is_alone: bool = False

    @property
    def shown(self) -> str:
        """The name as it is said: printable, and cut to a length: an archive may have names of 64 kB."""
        text = printable(self.name)
        return text if len(text) <= LONGEST_NAME else f"{text[: LONGEST_NAME - 21]}…{text[-20:]}"

    @property
    def base(self) -> str:
        return PurePosixPath(self.name).name


def nothing(_most: int) -> bytes:
    """The content of a file that can't be read."""
    return b""
