"""Checks of single values of a scenario file: each gives the value, or None for what isn't allowed."""

import re
from collections.abc import Callable
from typing import Any, TypeVar

T = TypeVar("T")
LABEL = re.compile(r"(?!-)[a-z0-9_-]{1,63}(?<!-)")  # RFC 1123 §2.1, and the underscore of RFC 8552
DURATION = re.compile(r"(\d{1,6}(?:\.\d{1,6})?) ?(us|ms|s)", re.ASCII)
UNITS = {"us": 1e-6, "ms": 1e-3, "s": 1.0}
RATE = re.compile(r"(\d{1,6}(?:\.\d{1,3})?) ?(k|M|G)bit/s", re.ASCII)
RATES = {"k": 1e3, "M": 1e6, "G": 1e9}
RATE_WORDS = 'a rate such as "10 Mbit/s", from 8 kbit/s to 10 Gbit/s'


def line(value: Any) -> str | None:
    """One line of printable text."""
    return value if isinstance(value, str) and value.isprintable() else None


def text(value: Any) -> str | None:
    return value if isinstance(value, str) else None


def truth(value: Any) -> bool | None:
    return value if isinstance(value, bool) else None


def one_of(*words: T) -> Callable[[Any], T | None]:
    """One of these words."""
    return lambda value: next((word for word in words if word == value and type(value) is type(word)), None)


def integer(low: int, high: int) -> Callable[[Any], int | None]:
    """A whole number from `low` to `high`."""
    return lambda value: value if type(value) is int and low <= value <= high else None


def duration(longest_s: float, least_s: float = 0.0) -> Callable[[Any], float | None]:
    """A time with its unit; in seconds."""

    def check(value: Any) -> float | None:
        found = DURATION.fullmatch(value) if isinstance(value, str) else None
        seconds = float(found[1]) * UNITS[found[2]] if found else -1.0
        return seconds if least_s <= seconds <= longest_s else None

    return check


def duration_words(longest: str) -> str:
    """What `duration` allows, in words."""
    return f'a time such as "21ms" or "1.5s", at most {longest}'


def rate(value: Any) -> float | None:
    """A bandwidth; in bits per second."""
    found = RATE.fullmatch(value) if isinstance(value, str) else None
    bits = float(found[1]) * RATES[found[2]] if found else 0.0
    return bits if 8e3 <= bits <= 1e10 else None


def hostname(value: Any) -> str | None:
    """A host name (RFC 1123 §2.1), in lower case and without the root's dot."""
    if not isinstance(value, str):
        return None
    name = value.lower().removesuffix(".")
    return name if 0 < len(name) <= 253 and all(LABEL.fullmatch(label) for label in name.split(".")) else None


def header_value(value: Any) -> str | None:
    """One line of printable ASCII, which may be empty."""
    return value if isinstance(value, str) and value.isascii() and (value.isprintable() or not value) else None
