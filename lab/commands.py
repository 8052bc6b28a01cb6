"""What the tasks do, one function each: from words on a command line to text on standard output."""

import json
import sys
from pathlib import Path
from typing import Any

from analysis.capture import read_capture
from analysis.report import Report, make_report
from analysis.text import printable
from analysis.views.json import to_json
from analysis.views.terminal import render
from lab.console import say, style
from lab.interrupts import uninterrupted
from lab.scenario import Scenario, find_scenario, load_scenario, pack


def play(scenario: str, backend: str | None, runs: Path, *, explain: bool, as_json: bool, offline: bool) -> str:
    """`invoke lab`: run a scenario and print its report; the verdict."""
    with uninterrupted():
        from lab.backends import choose_backend
        from lab.run import run_scenario

    plan = load_scenario(find_scenario(scenario))
    chosen, why = choose_backend(backend, plan, offline=offline)
    if not as_json:
        _introduce(plan, f"{chosen.name} ({why})")
    chosen.prepare(plan, say)
    run = run_scenario(plan, chosen, runs)
    assert run.report is not None  # noqa: S101 - a run without a report raised
    print_report(run.report, explain=explain, as_json=as_json)
    if run.client and run.client.exit_status:
        log = (run.folder / "client.log").read_text(errors="replace").strip().splitlines()
        said = f": {printable(log[-1])}" if log else ""
        say(f"curl ended with status {run.client.exit_status}{said}")
    if not as_json:
        print(f"the run: {_short(run.folder)}")
    return run.report.verdict


def _introduce(plan: Scenario, backend: str) -> None:
    paint = style()
    for label, text in ((plan.name, plan.title), ("look for", plan.look_for), ("backend", backend)):
        for line in paint.wrapped(text, f"{label}: ", "  ") if text else [label]:
            print(line)
    print(flush=True)


def _short(path: Path) -> Path:
    """The path from here, where that is shorter."""
    return path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path


def analyze(file: Path, host: str | None, *, explain: bool, as_json: bool) -> str:
    """`invoke analyze`: the same report for any capture; the verdict."""
    report = make_report(read_capture(file), host)
    print_report(report, explain=explain, as_json=as_json)
    return report.verdict


def print_report(report: Report, *, explain: bool, as_json: bool) -> None:
    """A report on standard output, for a person or as JSON."""
    if as_json:
        print_json(to_json(report))
    else:
        sys.stdout.write(render(report, style(), with_explanations=explain))


def print_json(values: Any) -> None:
    """Values as JSON, in ASCII: whatever a capture holds, no byte of it can steer a terminal."""
    print(json.dumps(values, indent=2))


def list_scenarios(*, as_json: bool) -> None:
    """`invoke scenarios`: the pack, by name and title."""
    plans = [load_scenario(path) for path in pack()]
    if as_json:
        print_json([{"name": plan.name, "title": plan.title, "look_for": plan.look_for} for plan in plans])
        return
    for plan in plans:
        for line in style().wrapped(plan.title, f"{plan.name:<16}", " " * 16):
            print(line)


def clean(runs: Path) -> None:
    """`invoke clean`: remove what dead runs left, and only that."""
    from lab.record import remove_dead

    removed = remove_dead(runs)
    for path in removed:
        print(f"removed {_short(path)}")
    if not removed:
        print("nothing to clean: no dead run left anything")


def doctor(runs: Path, *, as_json: bool) -> bool:
    """`invoke doctor`: what this machine has and lacks; whether a backend can run."""
    from dataclasses import asdict

    from lab.doctor import examine

    checks = examine(runs)
    ready = all(check.ok for check in checks)
    if as_json:
        print_json({"netns": {"ready": ready, "checks": [asdict(check) for check in checks]}})
        return ready
    paint = style()
    print("The netns backend needs")
    for check in checks:
        mark = paint.paint("pass", "✓") if check.ok else paint.paint("fail", "✗")
        first, *rest = paint.wrapped(f"{check.name}: {printable(check.found)}", "  ", "  ")
        print("\n".join((f"{mark} {first.removeprefix('  ')}", *rest)))
        if check.mend:
            print(f"  mend: {check.mend}")
    print("\nready: invoke lab" if ready else "\nnot ready: mend the first ✗, then ask again")
    return ready
