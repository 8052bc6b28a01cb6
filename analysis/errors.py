"""The errors that a person can mend, for both packages (``lab`` may import ``analysis``, never the reverse)."""


class LabError(Exception):
    """What went wrong, where, and what to do next; the root of all errors that reach a person.

    `str()` is one line that says what and where; `next_step` says what to do, or is empty.
    """

    exit_status = 3

    def __init__(self, message: str, next_step: str = "") -> None:
        super().__init__(message)
        self.next_step = next_step


class InputError(LabError):
    """A file or an argument that can't be used as it is. Exit status 2."""

    exit_status = 2
