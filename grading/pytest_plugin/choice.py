"""Which capture a test is about, and the fetch of which host: by its marker, the command line, or the ini file."""

from pathlib import Path
from typing import NamedTuple

import pytest

from grading.pytest_plugin.outcomes import not_judged

MARKER = "capture(file, *, host=None): the capture that the test is about, and the name whose fetch is meant"
WAYS = (
    "name one with pytest --lab-capture FILE, with @pytest.mark.capture('FILE'), or in pytest's ini file, as "
    "lab_capture = FILE"
)


class Choice(NamedTuple):
    """A capture by its absolute path; `shown` is how a message calls it. `host`: None for the fetch that stands out."""

    path: Path
    shown: str
    host: str | None


def choose(item: pytest.Item) -> Choice:
    """The capture of the test `item`; an error where none is named. Whether it exists is seen when it is read."""
    config, marker = item.config, item.get_closest_marker("capture")
    file, host = _marked(marker) if marker else (None, None)
    path = beside(item, file) if file else _configured(config)
    if path is None:
        raise not_judged("no capture is named for this test", WAYS)
    here = config.invocation_params.dir
    shown = path.relative_to(here) if path.is_relative_to(here) else path
    return Choice(path, str(shown), host or config.getoption("lab_host"))


def beside(item: pytest.Item, name: str | Path) -> Path:
    """The file `name` beside the test, or else in pytest's root folder; where neither is, the path beside the test."""
    near, at_root = item.path.parent / name, item.config.rootpath / name
    return at_root if at_root.exists() and not near.exists() else near


def _marked(marker: pytest.Mark) -> tuple[str | Path | None, str | None]:
    file = marker.args[0] if marker.args else marker.kwargs.get("file")
    host = marker.kwargs.get("host")
    is_good = isinstance(file, str | Path | None) and isinstance(host, str | None)
    if not is_good or len(marker.args) > 1 or marker.kwargs.keys() - {"file", "host"}:
        raise not_judged(f"the marker can't be read: {marker.args} {dict(marker.kwargs)}", f"write it as {MARKER}")
    return file, host


def _configured(config: pytest.Config) -> Path | None:
    """The file of the command line, from where pytest was started; else that of the ini file, from its folder."""
    given: str | None = config.getoption("lab_capture")
    if given:
        return config.invocation_params.dir / given
    ini: str = config.getini("lab_capture")
    folder = config.inipath.parent if config.inipath else config.rootpath
    return folder / ini if ini else None
