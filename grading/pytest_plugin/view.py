"""A report as tests see it: `report.connection.close.variant`, by the names of report.json and its shortcuts.

What stands at the end of a path is a plain value, or one that compares and behaves as such and remembers where it is
from; booleans and None can't remember, so what they stand in has a telling repr.
"""

import difflib
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from typing import Any, Self, SupportsIndex, overload

from analysis.text import listed, plural, printable
from grading.pytest_plugin.outcomes import UnknownFactError
from grading.pytest_plugin.source import Source

LONGEST_GIST = 90
MOST_NAMED = 3
GISTS: tuple[tuple[str, ...], ...] = (
    ("rule", "status"),
    ("variant",),
    ("from", "flags", "seq", "ack"),
    ("method", "target", "status"),
    ("type", "name", "status"),
    ("name", "sequence"),
    ("status",),
    ("address", "port"),
    ("kind",),
    ("name",),
    ("protocol",),
)  # the keys that tell of a part which one it is: the first of these that it has


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a value is from: its path in the report, and what stands beside it there."""

    source: Source
    path: str
    beside: Mapping[str, Any]

    @property
    def frames(self) -> tuple[int, ...]:
        """The frames that show it, where the report says."""
        return self.source.frames_at(self.path)


class PartOrigin(Origin):
    """Where a part is from; the frames are those that the part itself names."""

    __slots__ = ()

    @property
    def frames(self) -> tuple[int, ...]:
        """The frames that show it, where the report says."""
        return self.source.frames_at(f"{self.path}.x")


class Text(str):
    """A text that remembers its `origin`."""

    __slots__ = ("origin",)
    origin: Origin | None

    def __new__(cls, value: str, origin: Origin | None = None) -> Self:
        made = super().__new__(cls, value)
        made.origin = origin
        return made


class Number(int):
    """An integer that remembers its `origin`."""

    origin: Origin | None

    def __new__(cls, value: int, origin: Origin | None = None) -> Self:
        made = super().__new__(cls, value)
        made.origin = origin
        return made


class Real(float):
    """A fraction that remembers its `origin`."""

    origin: Origin | None

    def __new__(cls, value: float, origin: Origin | None = None) -> Self:
        made = super().__new__(cls, value)
        made.origin = origin
        return made


class Part(Mapping[str, Any]):
    """A part of the report: `part.name`, `part["name"]`; `part.from_` is the one whose name Python has taken."""

    __slots__ = ("_at", "_values")

    def __init__(self, values: Mapping[str, Any], at: Origin) -> None:
        self._values = values
        self._at = at

    @property
    def origin(self) -> Origin:
        """Where it stands."""
        return self._at

    @property
    def _is_open(self) -> bool:
        """Whether its names are the capture's, so that one that isn't there says something of the capture."""
        return self._at.path.endswith("other_frames")

    def __getattr__(self, name: str) -> Any:
        __tracebackhide__ = True
        if name.startswith("_"):
            raise AttributeError(name)
        name = name if name in self else name.removesuffix("_")
        if self._is_open and name not in self:
            raise AttributeError(name)
        return self[name]

    def __getitem__(self, name: str) -> Any:
        __tracebackhide__ = True
        if name not in self._values:
            if self._is_open:
                raise KeyError(name)
            raise UnknownFactError(_unknown(name, self._at.path, self._values, _deeper(name, self._values)))
        path = f"{self._at.path}.{name}" if self._at.path else name
        return _wrapped(self._values[name], Origin(self._at.source, path, self._values))

    def __contains__(self, name: object) -> bool:
        return name in self._values

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)

    def __dir__(self) -> Iterable[str]:
        return [*super().__dir__(), *self._values]

    def __repr__(self) -> str:
        frames = self.origin.frames
        where = f", {'frame' if len(frames) == 1 else 'frames'} {listed(frames)}" if frames else ""
        return f"<{printable(self._at.path)}: {gist(self._values)}{where}>"


class Entries(list[Any]):
    """A list of the report; its entries are wrapped as they are asked for. Compares as the plain list it is."""

    __slots__ = ("origin",)

    def __init__(self, values: Iterable[Any], origin: Origin) -> None:
        super().__init__(values)
        self.origin = origin

    @overload
    def __getitem__(self, place: SupportsIndex) -> Any: ...
    @overload
    def __getitem__(self, place: slice) -> list[Any]: ...
    def __getitem__(self, place: SupportsIndex | slice) -> Any:
        __tracebackhide__ = True
        if isinstance(place, slice):
            return list(self)[place]
        number = place.__index__()
        if not -len(self) <= number < len(self):
            path = self.origin.path
            raise IndexError(f"there is no {path}[{number}]: {path} has {_entries(self)}")
        return self._wrapped(number % len(self))

    def __iter__(self) -> Iterator[Any]:
        return (self._wrapped(number) for number in range(len(self)))

    def __reversed__(self) -> Iterator[Any]:
        return (self._wrapped(number) for number in reversed(range(len(self))))

    def __getattr__(self, name: str) -> Any:
        __tracebackhide__ = True
        if name.startswith("_"):
            raise AttributeError(name)
        path = self.origin.path
        raise UnknownFactError(
            f"{path} is a list of {_entries(self)}, which has no {name!r}: name one of them, as {path}[0]"
        )

    def __repr__(self) -> str:
        if not any(isinstance(one, dict) for one in self._plain()):
            return super().__repr__()
        gists = [gist(one) for one in islice(self._plain(), MOST_NAMED)]
        more = [f"and {len(self) - MOST_NAMED} more"] if len(self) > MOST_NAMED else []
        return f"<{self.origin.path}: {_entries(self)}: {'; '.join(gists + more)}>"

    def _plain(self) -> Iterator[Any]:
        return super().__iter__()

    def _wrapped(self, number: int) -> Any:
        value = super().__getitem__(number)
        return _wrapped(value, Origin(self.origin.source, f"{self.origin.path}[{number}]", self.origin.beside))


class ReportView(Part):
    """The report on a capture, which is read when it is first looked at."""

    __slots__ = ("_load", "_shown")

    def __init__(self, shown: str, load: Callable[[], Source]) -> None:
        self._shown = shown
        self._load: Callable[[], Source] | None = load

    def __getattr__(self, name: str) -> Any:
        __tracebackhide__ = True
        if name in ("_at", "_values") and self._load is not None:
            source = self._load()
            self._load = None
            self._values = source.parts
            self._at = PartOrigin(source, "", self._values)
            return getattr(self, name)
        return super().__getattr__(name)

    def __getitem__(self, name: str) -> Any:
        __tracebackhide__ = True
        if name in self._values and name not in self:
            raise self._at.source.lacks(name)
        return super().__getitem__(name)

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str) and self._values.get(name) is not None

    def get(self, name: str, default: Any = None) -> Any:
        """The part or shortcut `name`; `default` where the capture has none."""
        return default if name in self._values and name not in self else self[name]

    def __iter__(self) -> Iterator[str]:
        return (name for name in self._values if name in self)

    def __len__(self) -> int:
        return sum(name in self for name in self._values)

    def __repr__(self) -> str:
        if self._load is not None:
            return f"<report on {printable(self._shown)}>"
        return f"<report on {printable(self._shown)}: {self._values['verdict']}>"

    def finding(self, rule: str) -> Part:
        """What the rule with this id found, such as `tcp.close`."""
        __tracebackhide__ = True
        found = next((one for one in self._values["findings"] if one["rule"] == rule), None)
        if found is None:
            raise UnknownFactError(_unknown(rule, "findings", [one["rule"] for one in self._values["findings"]]))
        return Part(found, PartOrigin(self._at.source, f"findings[rule={rule}]", found))


def _wrapped(value: Any, origin: Origin) -> Any:
    """`value` with its origin, as far as its type can have one."""
    if isinstance(value, dict):
        return Part(value, PartOrigin(origin.source, origin.path, origin.beside))
    if isinstance(value, list | tuple):
        return Entries(value, origin)
    if isinstance(value, str):
        return Text(value, origin)
    if isinstance(value, float):
        return Real(value, origin)
    return Number(value, origin) if isinstance(value, int) and not isinstance(value, bool) else value


def _unknown(name: str, path: str, known: Iterable[str], deeper: str = "") -> str:
    known = sorted(known)
    near = deeper or next(iter(difflib.get_close_matches(name, known, 1)), "")
    hint = f"; did you mean {near!r}?" if near else "."
    return f"{path or 'the report'} has no {name!r}{hint} There is: {', '.join(known)}"


def _deeper(name: str, values: Mapping[str, Any], depth: int = 2) -> str:
    """The path from `values` to something called `name` in its parts; empty where there is none."""
    for key, value in values.items():
        if isinstance(value, dict):
            rest = name if name in value else _deeper(name, value, depth - 1) if depth > 1 else ""
            if rest:
                return f"{key}.{rest}"
    return ""


def _entries(values: list[Any]) -> str:
    return f"{len(values)} entries" if len(values) != 1 else "1 entry"


def gist(value: Any) -> str:
    """In a few words which part of the report `value` is."""
    if not isinstance(value, Mapping):
        return repr(value)
    text = printable(" ".join(_telling(value)) or plural(len(value), "fact"))
    return text if len(text) <= LONGEST_GIST else text[: LONGEST_GIST - 1] + "…"


def _telling(value: Mapping[str, Any]) -> Iterator[str]:
    ends = [value[role] for role in ("client", "server") if role in value]
    if len(ends) > 1 and all(isinstance(end, Mapping) and "address" in end for end in ends):
        yield " → ".join(f"{end['address']}:{end['port']}" for end in ends)
        return
    keys = next((keys for keys in GISTS if all(key in value for key in keys)), None)
    for key in keys or tuple(value)[:MOST_NAMED]:
        if isinstance(value[key], str | int | float):
            yield str(value[key]) if keys else f"{key} {value[key]}"
