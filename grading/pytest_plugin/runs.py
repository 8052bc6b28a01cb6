"""A run of the lab for a test: the same steps as `invoke lab`, and whatever goes wrong in them is an error."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path

import pytest

from analysis.errors import LabError
from analysis.text import without_commands
from grading.pytest_plugin.choice import beside
from grading.pytest_plugin.outcomes import not_judged
from grading.pytest_plugin.source import Source
from grading.pytest_plugin.view import ReportView
from lab.backend import Backend
from lab.backends import choose_backend
from lab.run import run_scenario
from lab.scenario.load import find_scenario, load_scenario


@dataclass(frozen=True, slots=True)
class LabRun:
    """A run that the lab has no doubts about: scenario and backend by name, its folder and capture, its report."""

    scenario: str
    backend: str
    folder: Path
    capture: Path
    report: ReportView


class LabRunner:
    """The fixture `lab_run`: runs the lab for the test `item`, each run with a folder of its own under `runs`."""

    def __init__(self, item: pytest.Item, runs: Path) -> None:
        self._item = item
        self._runs = runs

    def __call__(self, scenario: str | Path = "baseline", backend: str | Backend | None = None) -> LabRun:
        """Play `scenario`: of the pack by its name, or a .toml file beside the test.

        `backend` by its name, or a backend itself; without one it is chosen as `invoke lab` does. `NotJudged`, which
        pytest counts as an error, if the scenario or the backend can't be used, a step fails or the lab has doubts.
        """
        __tracebackhide__ = True
        with _errors_only():
            plan = load_scenario(self._find(str(scenario)))
            chosen = choose_backend(backend, plan)[0] if isinstance(backend, str | None) else backend
            chosen.prepare(plan, _say)
            # what pytest has put in their place would take what the hosts write to their log
            with redirect_stdout(sys.__stdout__), redirect_stderr(sys.__stderr__):
                run = run_scenario(plan, chosen, self._runs)
        assert run.report is not None  # noqa: S101 - a run without a report raised
        if run.doubts:
            raise not_judged(f"the run is inconclusive: {'; '.join(run.doubts)}", f"the run's folder is {run.folder}")
        source = Source(f"the run of {plan.name}", run.report)
        view = ReportView(source.shown, lambda: source)
        return LabRun(plan.name, chosen.name, run.folder, run.folder / "capture.pcap", view)

    def __repr__(self) -> str:
        return "<lab_run>"

    def _find(self, scenario: str) -> Path:
        is_file = scenario.endswith(".toml") or "/" in scenario
        return beside(self._item, scenario) if is_file else find_scenario(scenario)


@contextmanager
def _errors_only() -> Iterator[None]:
    try:
        yield
    except LabError as error:
        raise not_judged(str(error), error.next_step) from None


def _say(text: str) -> None:
    print(without_commands(text), file=sys.stderr)
