"""The backends there are, and the choice between them."""

from analysis.errors import InputError
from lab.backend import Backend

NAMES = ("netns",)


def choose_backend(asked: str | None) -> tuple[Backend, str]:
    """The backend to use, and why in a few words."""
    from lab.netns.backend import NetnsBackend

    if asked not in (None, *NAMES):
        raise InputError(f"there is no backend {asked!r}", f"use one of: {', '.join(NAMES)}")
    return NetnsBackend(), "as asked" if asked else "needs neither daemon nor image"
