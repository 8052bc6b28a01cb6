"""The pytest plugin for teachers: the fixtures `capture`, `report` and `lab_run`, and assertion messages that tell.

pytest loads it in every run of whoever has the lab installed, so nothing of analysis or lab is imported before a
fixture asks for it.
"""

import sys
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from grading.pytest_plugin.choice import MARKER
from grading.pytest_plugin.outcomes import clean_report, set_phase, told

if TYPE_CHECKING:
    from analysis.files.capture import Capture
    from grading.pytest_plugin.runs import LabRunner
    from grading.pytest_plugin.view import ReportView

IS_OURS = pytest.StashKey[bool]()  # of a test that has used a fixture of this plugin
VIEW = "grading.pytest_plugin.view"


def pytest_addoption(parser: pytest.Parser) -> None:
    """`--lab-capture` and `--lab-host`; pytest's own `--capture` is about what tests print."""
    group = parser.getgroup("handshake-lab", "Handshake Lab")
    group.addoption("--lab-capture", metavar="FILE", help="the capture that the fixtures capture and report are about")
    group.addoption("--lab-host", metavar="NAME", help="the host whose fetch is meant, of several in the capture")
    parser.addini("lab_capture", "the capture, where --lab-capture names none", type="string", default="")


def pytest_configure(config: pytest.Config) -> None:
    """Register the marker."""
    config.addinivalue_line("markers", MARKER)


# --- fixtures ---


@pytest.fixture
def capture(request: pytest.FixtureRequest) -> "Capture":
    """The capture as `analysis.files.capture.Capture`: frames, format, health."""
    from grading.pytest_plugin.choice import choose
    from grading.pytest_plugin.source import read

    return read(choose(_used_by(request)))


@pytest.fixture
def report(request: pytest.FixtureRequest) -> "ReportView":
    """The report on the capture: `report.connection.close.variant`, by the names of report.json and its shortcuts."""
    from grading.pytest_plugin.choice import choose
    from grading.pytest_plugin.source import analyse
    from grading.pytest_plugin.view import ReportView

    choice = choose(_used_by(request))
    return ReportView(choice.shown, lambda: analyse(choice))


@pytest.fixture
def lab_run(request: pytest.FixtureRequest, tmp_path: Path) -> "LabRunner":
    """Runs the lab for real: `lab_run("syn-lost").report`."""
    from grading.pytest_plugin.runs import LabRunner

    return LabRunner(_used_by(request), tmp_path / "runs")


def _used_by(request: pytest.FixtureRequest) -> pytest.Item:
    item = request.node
    assert isinstance(item, pytest.Item)  # noqa: S101 - these fixtures are made for each test anew
    item.stash[IS_OURS] = True
    return item


# --- how a test ends, and what is said then ---


@contextmanager
def _told_in(item: pytest.Item) -> Iterator[None]:
    """As `told`, in tests that use this plugin; others keep the exceptions, and the tracebacks, that they have."""
    try:
        yield
    except Exception:
        if not item.stash.get(IS_OURS, False):
            raise
        with told():
            raise


@pytest.hookimpl(wrapper=True)
def pytest_runtest_setup(item: pytest.Item) -> Generator[None, object, object]:
    """Tell the lab's errors in a fixture as what they are."""
    with _told_in(item):
        return (yield)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Generator[None, object, object]:
    """Tell the lab's errors in a test as what they are."""
    with _told_in(item):
        return (yield)


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Count the outcome as what it is, and show nothing of a capture that does harm."""
    report = yield
    set_phase(report, call.excinfo.value if call.excinfo else None)
    if item.stash.get(IS_OURS, False):
        clean_report(report)
    return report


def pytest_assertrepr_compare(config: pytest.Config, op: str, left: Any, right: Any) -> list[str] | None:
    """What a failed comparison with a fact of a report says."""
    if VIEW not in sys.modules:
        return None
    from grading.pytest_plugin.assertions import explain

    return explain(op, left, right, is_verbose=config.get_verbosity(pytest.Config.VERBOSITY_ASSERTIONS) > 1)
