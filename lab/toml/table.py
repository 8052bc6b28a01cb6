"""A TOML file, read and checked key by key; every complaint names file, line, key and what is allowed."""

import difflib
import re
import tomllib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from analysis.errors import InputError
from lab.toml.lines import Key, find_line

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class File:
    """The file that is being checked. `error` is the class of every complaint about it."""

    path: Path
    source: str
    error: type[InputError] = InputError

    def wrong(self, keys: tuple[Key, ...], what: str, next_step: str) -> InputError:
        """The complaint that at `keys` there is `what`."""
        line = find_line(self.source, keys)
        where = f"{self.path}:{line}" if line else f"{self.path}"
        return self.error(f"{where}: {written(keys)}: {what}", next_step)


def read_file(path: Path, kind: str, documentation: str, error: type[InputError]) -> "Table":
    """Read the TOML file at `path`: its whole table, to be checked. What keeps it from being read is an `error`.

    `kind` is what the file is, in a word; `documentation` the page that says how to write it.
    """
    try:
        if path.exists() and not path.is_file():
            raise error(f"{path}: is no regular file", "name a .toml file")
        return read_table(path, path.read_bytes(), documentation, error)
    except FileNotFoundError:
        raise error(
            f"{path}: there is no such {kind} file", f"check the path; {documentation} says what goes in"
        ) from None
    except OSError as problem:
        raise error(f"{path}: can't be read: {problem.strerror}", "check its permissions") from None


def read_table(path: Path, content: bytes, documentation: str, error: type[InputError]) -> "Table":
    """The whole table of a TOML file's `content`; `path` is its name, for complaints."""
    try:
        source = content.decode("utf-8-sig")
        return Table(File(path, source, error), (), tomllib.loads(source))
    except UnicodeDecodeError as problem:
        raise error(f"{path}: is not UTF-8 text (byte {problem.start})", "save it as UTF-8") from None
    except tomllib.TOMLDecodeError as problem:
        raise error(f"{path}: is not TOML: {problem}", "mend that line; see https://toml.io") from None
    except (ValueError, RecursionError):
        message = f"{path}: is not TOML that can be read: a number too long, or tables nested too deeply"
        raise error(message, f"write it as {documentation} has it") from None


def written(keys: tuple[Key, ...]) -> str:
    """Keys as TOML writes them; entries of lists are counted from 1, as people do."""
    text = ""
    for key in keys:
        if isinstance(key, int):
            text += f"[{key + 1}]"
        else:
            quoted = key if re.fullmatch(r"[\w-]+", key) else f'"{key}"'
            text += f".{quoted}" if text else quoted
    return text


def shown(value: object) -> str:
    """A value of the file, as a complaint shows it."""
    try:
        text = repr(value)
    except ValueError:  # Python writes no number of more than 4,300 digits; TOML reads one in hexadecimal
        return "a number too long to be shown"
    return text if len(text) <= 60 else text[:57] + "..."


class Table:
    """A table being checked: `take` removes a key, `finish` complains of what is left."""

    def __init__(self, file: File, keys: tuple[Key, ...], values: Any) -> None:
        self.file = file
        self.keys = keys
        if not isinstance(values, dict):
            raise file.wrong(keys, f"{shown(values)} won't do", "allowed: a table")
        self.left: dict[str, Any] = dict(values)
        self._all = frozenset(values)
        self._known: list[str] = []

    def wrong(self, key: Key, value: object, allowed: str) -> InputError:
        """The complaint that `value` isn't what `key` may be."""
        return self.file.wrong((*self.keys, key), f"{shown(value)} won't do", f"allowed: {allowed}")

    def contradicts(self, key: Key, what: str, next_step: str) -> InputError:
        """The complaint that `key` doesn't go with another one."""
        return self.file.wrong((*self.keys, key), what, next_step)

    def require(self, key: str, allowed: str) -> None:
        """Complain if `key` is absent."""
        if key not in self.left:
            raise self.file.wrong((*self.keys, key), "is missing", f"allowed: {allowed}")

    def take(self, key: str, default: T, check: Callable[[Any], T | None], allowed: str) -> T:
        """The value of `key` by `check`, which gives None for what isn't allowed; `default` where it is absent."""
        self._known.append(key)
        if key not in self.left:
            return default
        value = self.left.pop(key)
        checked = check(value)
        if checked is None:
            raise self.wrong(key, value, allowed)
        return checked

    def given(self, key: str) -> bool:
        """Whether `key` is in the file."""
        return key in self._all

    def has(self, key: str) -> bool:
        """Whether `key` is in the file and not yet taken."""
        return key in self.left

    def table(self, key: str) -> "Table":
        """The table under `key`, empty where it is absent."""
        self._known.append(key)
        return self.entry(key, self.left.pop(key, {}))

    def tables(self, key: str) -> Iterator["Table"]:
        """The tables of the list under `key`, none where it is absent."""
        self._known.append(key)
        values = self.left.pop(key, [])
        if not isinstance(values, list):
            raise self.wrong(key, values, "a list of tables")
        for index, value in enumerate(values):
            yield Table(self.file, (*self.keys, key, index), value)

    def entry(self, key: Key, value: Any) -> "Table":
        """`value`, which stands under `key`, as a table."""
        return Table(self.file, (*self.keys, key), value)

    def finish(self) -> None:
        """Complain of a key that nobody took."""
        for key in self.left:
            near = difflib.get_close_matches(key, self._known, 1)
            hint = f"; did you mean {near[0]!r}?" if near else ""
            allowed = f"allowed: {', '.join(self._known)}"
            raise self.file.wrong((*self.keys, key), f"there is no such key{hint}", allowed)
