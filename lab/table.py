"""Check a parsed TOML table key by key; every complaint names file, key and what is allowed."""

import difflib
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from lab.errors import ScenarioError

T = TypeVar("T")


class Table:
    """A table being checked: `take` removes a key, `finish` complains of what is left."""

    def __init__(self, path: Path, where: str, values: Any) -> None:
        self.path = path
        self.where = where
        if not isinstance(values, dict):
            raise self.wrong("", values, "a table")
        self.left: dict[str, Any] = dict(values)
        self._known: list[str] = []

    def wrong(self, key: str, value: object, allowed: str) -> ScenarioError:
        """The complaint that `value` isn't what `key` may be."""
        shown = repr(value)
        shown = shown if len(shown) <= 60 else shown[:57] + "..."
        return ScenarioError(f"{self.path}: {self.full(key)}: {shown} won't do", f"allowed: {allowed}")

    def require(self, key: str, allowed: str) -> None:
        """Complain if `key` is absent."""
        if key not in self.left:
            raise ScenarioError(f"{self.path}: {self.full(key)}: is missing", f"allowed: {allowed}")

    def full(self, key: str) -> str:
        """The key with the tables around it, as TOML writes it."""
        quoted = key if re.fullmatch(r"[\w-]*", key) else f'"{key}"'
        return f"{self.where}.{quoted}".strip(".")

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

    def table(self, key: str) -> "Table":
        """The table under `key`, empty where it is absent."""
        self._known.append(key)
        return Table(self.path, self.full(key), self.left.pop(key, {}))

    def finish(self) -> None:
        """Complain of a key that nobody took."""
        for key in self.left:
            near = difflib.get_close_matches(key, self._known, 1)
            hint = f"; did you mean {near[0]!r}?" if near else ""
            raise ScenarioError(
                f"{self.path}: {self.full(key)}: there is no such key{hint}",
                f"allowed: {', '.join(self._known)}",
            )
