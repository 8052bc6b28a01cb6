"""The one story of a run: plan, create, ready, capture, curl, settle, stop, destroy, analyse, report."""

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from lab.backend import Backend, ClientResult, Lab
from lab.errors import StepError
from lab.interrupts import uninterrupted
from lab.provenance import Run, describe_run
from lab.record import Folder, unwritable
from lab.scenario.model import Scenario

if TYPE_CHECKING:
    from analysis.files.capture import Health
    from analysis.report import Report


def run_scenario(scenario: Scenario, backend: Backend, runs: Path) -> Run:
    """Play `scenario` on `backend`, and keep everything in a new folder under `runs`.

    `StepError` if a step fails: the folder is kept, with the logs, and the error names it. Whatever else ends the
    run, Ctrl-C too, leaves neither host nor folder behind.
    """
    folder: Folder | None = None
    try:
        with uninterrupted():
            folder = Folder(runs, scenario.name)
        run = Run(scenario, backend.name, folder.path, is_exact=backend.is_exact)
        _keep(run, folder, _failure_of(run, backend))
    except OSError as error:
        raise unwritable(runs, error) from None
    finally:
        if folder is not None:
            with uninterrupted():
                folder.discard()
    return run


def _failure_of(run: Run, backend: Backend) -> StepError | None:
    """Play the run; the error that ended it early."""
    try:
        _play(run, backend)
    except StepError as error:
        first = error.__context__
        if not isinstance(first, StepError):
            return error
        first.next_step = "; then ".join(filter(None, (first.next_step, error.next_step)))
        return first
    return None


def _keep(run: Run, folder: Folder, failure: StepError | None) -> None:
    """Write what is known of the run, give its folder its name, and raise `failure` if there is one."""
    folder.write_text("scenario.toml", run.scenario.source)
    folder.write_json("run.json", describe_run(run, failure))
    if run.report:
        from analysis.views.json import json_text

        folder.write_text("report.json", "".join(json_text(run.report)))
    run.folder = folder.publish()
    if failure is not None:
        message = f"the run failed at the step {run.failed_step!r}: {failure}"
        next_step = failure.next_step or "its logs may say why"
        raise StepError(failure.step, message, f"{next_step}; the run's folder is {run.folder}") from None


def _play(run: Run, backend: Backend) -> None:
    lab: Lab | None = None
    try:
        with run.step("create"), uninterrupted():
            lab = backend.create(run.scenario, run.folder)
        with run.step("ready"):
            lab.wait_ready()
        with run.step("capture"):
            lab.start_capture()
        with run.step("client"):
            run.client = lab.run_client()
        with run.step("settle"):
            settled = lab.settle()
        with run.step("stop"):
            run.witness = lab.stop_capture()
        _doubt(run, run.client, settled=settled)
        with run.step("analyse"):
            run.report = _analyse(run)
    finally:
        if lab is not None:
            with run.step("destroy"), uninterrupted():
                lab.destroy()


def _doubt(run: Run, client: ClientResult, *, settled: bool) -> None:
    """Collect why the lab, not the fetch, may be at fault."""
    run.doubts += run.witness.doubts
    signals = [-status for status in client.exit_statuses if status is not None and status < 0]
    if None in client.exit_statuses:
        run.doubts.append(
            f"curl was still busy after {run.scenario.client.deadline_s:g} s (client.deadline) and was stopped"
        )
    elif signals:
        run.doubts.append(f"curl was ended by signal {signals[0]}")
    elif not settled:
        run.doubts.append("a connection was still open, or the wire busy, long after curl had ended")


def _analyse(run: Run) -> "Report":
    with uninterrupted():
        from analysis.files.capture import (
            read_capture,  # late: the Docker backend has time to load it while compose works
        )
        from analysis.report import make_report
        from analysis.testimony import read_testimony

    path = run.folder / "capture.pcap"
    capture = read_capture(path)
    health: Health = "incomplete" if run.doubts or capture.problems else "complete"
    capture = replace(capture, path=path.name, health=health, problems=(*capture.problems, *run.doubts))
    # the numbers, too, or the shape alone: as far as the backend promises it
    expected = run.scenario.expected if run.is_exact else run.scenario.expected_shape
    testimony = read_testimony(run.witness.facts.get("sockets", ()))
    report = make_report(capture, run.scenario.host, expected, testimony)
    # what the lab itself did (stopped curl, lost frames) is nobody's failure, whatever it looks like
    return replace(report, verdict="inconclusive") if run.doubts else report
