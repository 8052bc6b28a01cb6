"""A run that tells its steps on standard output: `python -m tests.stepwise BACKEND RUNS [PAUSE]`.

`begin STEP` and `end STEP` stand around each. Before the step PAUSE it waits for a line on standard input. At its end
it prints `verdict VERDICT`.
"""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from lab.backend import Backend, ClientResult, Lab, Witness
from lab.run import run_scenario
from lab.scenario.load import find_scenario, load_scenario
from lab.scenario.model import Scenario
from tests.test_backends import make_backend

STEPS = ("create", "ready", "capture", "client", "settle", "stop", "destroy")


def tell(step: str, pause: str, do: Callable[[], Any]) -> Any:
    """Do a step, with a line before and after it."""
    if step == pause:
        print(f"pause {step}", flush=True)
        sys.stdin.readline()
    print(f"begin {step}", flush=True)
    done = do()
    print(f"end {step}", flush=True)
    return done


class TellingBackend:
    """Any backend, telling its steps."""

    def __init__(self, backend: Backend, pause: str) -> None:
        self.name = backend.name
        self.is_exact = backend.is_exact
        self._backend = backend
        self._pause = pause

    def prepare(self, scenario: Scenario, say: Callable[[str], None]) -> None:
        self._backend.prepare(scenario, say)

    def create(self, scenario: Scenario, folder: Path) -> Lab:
        lab: Lab = tell("create", self._pause, lambda: self._backend.create(scenario, folder))
        return TellingLab(lab, self._pause)


class TellingLab:
    """Any lab, telling its steps."""

    def __init__(self, lab: Lab, pause: str) -> None:
        self._lab = lab
        self._pause = pause

    def wait_ready(self) -> None:
        tell("ready", self._pause, self._lab.wait_ready)

    def start_capture(self) -> None:
        tell("capture", self._pause, self._lab.start_capture)

    def run_client(self) -> ClientResult:
        result: ClientResult = tell("client", self._pause, self._lab.run_client)
        return result

    def settle(self) -> bool:
        return bool(tell("settle", self._pause, self._lab.settle))

    def stop_capture(self) -> Witness:
        witness: Witness = tell("stop", self._pause, self._lab.stop_capture)
        return witness

    def destroy(self) -> None:
        tell("destroy", self._pause, self._lab.destroy)


def main(backend: str, runs: str, pause: str = "") -> None:
    """Run the baseline."""
    scenario = load_scenario(find_scenario("baseline"))
    run = run_scenario(scenario, TellingBackend(make_backend(backend), pause), Path(runs))
    assert run.report is not None
    print(f"verdict {run.report.verdict}", flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
