"""What is known of a run, and what `run.json` records of it: all that one would need to do it again, or to doubt it."""

import os
import platform
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lab import __version__
from lab.backend import ClientResult, Witness
from lab.errors import StepError
from lab.interrupts import raise_if_interrupted
from lab.scenario.model import Scenario

if TYPE_CHECKING:
    from analysis.report import Report

RUN_SCHEMA = "handshake-lab/run/1"


@dataclass(slots=True)
class Run:
    """One execution: its folder, what happened, how long each step took (seconds), and its report."""

    scenario: Scenario
    backend: str
    folder: Path
    is_exact: bool = True
    steps: dict[str, float] = field(default_factory=dict)
    client: ClientResult | None = None
    witness: Witness = field(default_factory=Witness)
    doubts: list[str] = field(default_factory=list)
    report: "Report | None" = None
    failed_step: str | None = None

    @contextmanager
    def step(self, name: str) -> Iterator[None]:
        """Time a step, and give a failure its name."""
        if name != "destroy":
            raise_if_interrupted()
        start = time.monotonic()
        try:
            yield
        except StepError:
            self.failed_step = self.failed_step or name  # clearing up may fail for the same reason
            raise
        finally:
            self.steps[name] = time.monotonic() - start


def describe_run(run: Run, error: StepError | None) -> dict[str, Any]:
    """The content of `run.json`; `error` is what ended a run that failed."""
    facts = dict(run.witness.facts)
    versions = facts.pop("versions", {})
    return {
        "schema": RUN_SCHEMA,
        "scenario": {
            "name": run.scenario.name,
            "title": run.scenario.title,
            "sha256": run.scenario.sha256,
        },
        "backend": run.backend,
        "versions": {
            "handshake_lab": __version__,
            "kernel": os.uname().release,
            "python": platform.python_version(),
            **versions,
        },
        "client": {
            "commands": _commands(run.client),
            "deadline_s": run.scenario.client.deadline_s,
        },
        "wire": asdict(run.scenario.wire),
        **facts,
        "timings_s": {name: round(seconds, 6) for name, seconds in run.steps.items()},
        "doubts": list(run.doubts),
        "failed_step": run.failed_step,
        "error": None if error is None else str(error),
        "verdict": run.report.verdict if run.report else "inconclusive",
    }


def _commands(client: ClientResult | None) -> list[dict[str, Any]]:
    """The client's commands, and the exit status of each."""
    if client is None:
        return []
    return [
        {"command": list(command), "exit_status": status}
        for command, status in zip(client.commands, client.exit_statuses, strict=True)
    ]
