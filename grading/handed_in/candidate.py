"""A file of a submission that may count, wherever it is: in a folder, in a zip, on its own."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import PurePosixPath

MOST_FILES = 1_000  # of one submission that are looked at
LONGEST_NAME = 120


class ReadError(Exception):
    """A file of an archive that can't be read; says why."""


@dataclass(frozen=True, slots=True)
class Candidate:
    """A file that may count: its name within the submission, and how to read at most so many bytes of it."""

    name: str
    size: int
    read: Callable[[int], bytes]
    problem: str = ""

    @property
    def shown(self) -> str:
        """The name as it is said: an archive may have names of 64 kB."""
        return self.name if len(self.name) <= LONGEST_NAME else f"{self.name[: LONGEST_NAME // 2]}…{self.name[-20:]}"

    @property
    def base(self) -> str:
        return PurePosixPath(self.name).name


def nothing(_most: int) -> bytes:
    """The content of a file that can't be read."""
    return b""
