"""What `run.json` records: all that one would need to do the run again, or to doubt it."""

import os
import platform
from typing import TYPE_CHECKING, Any

from lab import __version__
from lab.errors import StepError
from lab.record import RUN_SCHEMA

if TYPE_CHECKING:
    from lab.run import Run


def describe_run(run: "Run", error: StepError | None) -> dict[str, Any]:
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
            "command": list(run.client.command) if run.client else None,
            "exit_status": run.client.exit_status if run.client else None,
            "deadline_s": run.scenario.client.deadline_s,
        },
        "wire": {"delay_s": run.scenario.delay_s, "faults": []},
        **facts,
        "timings_s": {name: round(seconds, 6) for name, seconds in run.steps.items()},
        "doubts": list(run.doubts),
        "failed_step": run.failed_step,
        "error": None if error is None else str(error),
        "verdict": run.report.verdict if run.report else "inconclusive",
    }
