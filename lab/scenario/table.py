"""Check a parsed TOML table key by key; every complaint names file, line, key and what is allowed."""

import difflib
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from lab.errors import ScenarioError
from lab.scenario.lines import Key, find_line

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class File:
    """The scenario file that is being checked."""

    path: Path
    source: str

    def wrong(self, keys: tuple[Key, ...], what: str, next_step: str) -> ScenarioError:
        """The complaint that at `keys` there is `what`."""
        line = find_line(self.source, keys)
        where = f"{self.path}:{line}" if line else f"{self.path}"
        return ScenarioError(f"{where}: {written(keys)}: {what}", next_step)


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
    text = repr(value)
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

    def wrong(self, key: Key, value: object, allowed: str) -> ScenarioError:
        """The complaint that `value` isn't what `key` may be."""
        return self.file.wrong((*self.keys, key), f"{shown(value)} won't do", f"allowed: {allowed}")

    def contradicts(self, key: Key, what: str, next_step: str) -> ScenarioError:
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
