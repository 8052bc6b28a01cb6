"""What the tasks do, one function each: from words on a command line to text on standard output."""

import itertools
import json
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from analysis.errors import InputError, LabError
from analysis.text import json_without_commands, printable
from lab.console import say, style
from lab.interrupts import uninterrupted
from lab.scenario.load import find_scenario, load_scenario
from lab.scenario.model import Scenario

if TYPE_CHECKING:
    from analysis.report import Report
    from lab.doctor import Check
    from lab.pack.play import Played


def play(scenario: str, backend: str | None, runs: Path, *, explain: bool, as_json: bool, offline: bool) -> str:
    """`invoke lab`: run a scenario and print its report; the verdict."""
    with uninterrupted():
        from lab.backends import choose_backend
        from lab.fault_view import fault_lines
        from lab.run import run_scenario

    plan = load_scenario(find_scenario(scenario))
    chosen, why = choose_backend(backend, plan, offline=offline)
    if not as_json:
        _introduce(plan, f"{chosen.name} ({why})")
    chosen.prepare(plan, say)
    run = run_scenario(plan, chosen, runs)
    assert run.report is not None  # noqa: S101 - a run without a report raised
    print_report(run.report, explain=explain, as_json=as_json)
    for status in filter(None, run.client.exit_statuses if run.client else ()):
        log = (run.folder / "client.log").read_text(errors="replace").strip().splitlines()
        said = f": {printable(log[-1])}" if log else ""
        say(f"curl ended with status {status}{said}")
    if not as_json:
        for line in fault_lines(run.witness.facts):
            print("\n".join(style().wrapped(line, "", "  ")))
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
    from analysis.files.capture import read_capture
    from analysis.report import make_report

    report = make_report(read_capture(file), host)
    print_report(report, explain=explain, as_json=as_json)
    return report.verdict


def summarise(file: Path, *, as_json: bool) -> None:
    """`invoke analyze --summary`: a capture in counts."""
    from analysis.files.capture import read_capture
    from analysis.summary import summarise as summarise_capture
    from analysis.views.summary import render_summary, summary_to_json

    summary = summarise_capture(read_capture(file))
    if as_json:
        print_json(summary_to_json(summary))
    else:
        sys.stdout.write(render_summary(summary, style()))


def print_report(report: "Report", *, explain: bool, as_json: bool) -> None:
    """A report on standard output, for a person or as JSON."""
    from analysis.views.json import json_text
    from analysis.views.terminal import render

    if as_json:
        for piece in json_text(report):
            sys.stdout.write(piece)
    else:
        sys.stdout.write(render(report, style(), with_explanations=explain))


def print_json(values: Any) -> None:
    """Values as JSON, in ASCII: whatever a capture holds, no byte of it can steer a terminal."""
    print(json_without_commands(json.dumps(values, indent=2)))


def play_all(scenario: str, backend: str | None, runs: Path, *, explain: bool, as_json: bool, offline: bool) -> str:
    """`invoke lab --all`: run the whole pack and end with a table; the verdict of all."""
    if scenario or explain:
        option = "--scenario" if scenario else "--explain"
        raise InputError(f"--all runs every scenario of the pack: {option} is of one run", "leave one of the two out")
    from lab.backends import choose_for_pack
    from lab.pack.play import load_pack, play_pack, verdict_of_all
    from lab.pack.view import docker_needs, left_out_lines, played_values, table_lines

    plans = load_pack()
    chosen, why = choose_for_pack(backend, offline=offline)
    say(f"backend: {chosen.name} ({why})")
    left_out = [plan for plan in plans if chosen.name == "docker" and docker_needs(plan)]
    plans = tuple(plan for plan in plans if plan not in left_out)
    chosen.prepare(plans[0], say)
    played = play_pack(plans, chosen.name, runs, _counting(len(plans)), *(["--offline"] if offline else []))
    if as_json:
        print_json(played_values(played, left_out, chosen.name))
    else:
        print("\n".join((*left_out_lines(left_out, style()), "", *table_lines(played, style()))))
    return verdict_of_all(played)


def _counting(count: int) -> "Callable[[Played], None]":
    """Tells the person of each run that ends, and how many of `count` have."""
    from lab.pack.view import progress_line

    numbers = itertools.count(1)
    return lambda one: say(progress_line(next(numbers), count, one))


def list_scenarios(*, as_json: bool) -> None:
    """`invoke scenarios`: the pack, what each backend can play of it, and how long that takes."""
    from lab.pack.play import load_pack
    from lab.pack.view import list_lines, plan_values

    plans = load_pack()
    if as_json:
        print_json([plan_values(plan) for plan in plans])
        return
    for line in list_lines(plans, style()):
        print(line)
    print("\none of them: invoke lab --scenario NAME; all: invoke lab --all")


def clean(runs: Path) -> None:
    """`invoke clean`: remove what dead runs left, and only that."""
    from lab.containers.engine import is_likely
    from lab.record import remove_dead

    removed = [str(_short(path)) for path in remove_dead(runs)]
    if is_likely():
        removed += _clean_engine()
    for what in removed:
        print(f"removed {what}")
    if not removed:
        print("nothing to clean: no dead run left anything")


def _clean_engine() -> list[str]:
    """Remove dead runs' containers and networks; their names. An engine that doesn't answer is said."""
    from lab.containers.engine import Engine, engine_errors
    from lab.containers.leftovers import remove_dead_runs
    from lab.containers.owner import RUN_LABEL

    try:
        engine = Engine()
    except LabError as error:
        say(f"containers were not looked for: {error}")
        return []
    with engine_errors("clean"):
        removed, foreign = remove_dead_runs(engine)
    for run in sorted({one.run for one in foreign}):
        say(f"left alone: run {run}, made on another machine or in another container; there: invoke clean; or by hand:")
        say(f"  docker rm -f $(docker ps -aq --filter label={RUN_LABEL}={run}); docker network prune")
    return [f"{one.kind} {one.name}" for one in removed]


def image(*, from_packages: bool) -> None:
    """`invoke image`: build the image of the Docker backend."""
    from lab.containers.engine import Engine
    from lab.containers.image import build_image

    print(build_image(Engine(), say, from_packages=from_packages).tag)


def bundle(out: Path) -> None:
    """`invoke bundle`: write what the Docker backend needs to one file."""
    from lab.containers.bundle import write_bundle
    from lab.containers.engine import Engine

    write_bundle(Engine(), out, say)


def unbundle(file: Path) -> None:
    """`invoke unbundle`: check such a file, and load it."""
    from lab.containers.bundle import load_bundle
    from lab.containers.engine import Engine

    load_bundle(Engine(), file, say)
    print("ready: invoke lab --backend docker --offline")


def bench(only: str | None, runs: int, repeat: int, frames: int) -> bool:
    """`invoke bench`: tables of times and fingerprints; whether all was as it should be. `repeat` 0: as usual."""
    from lab.bench.analysis import bench_analysis, bench_large
    from lab.bench.pack import ROUNDS, bench_pack
    from lab.bench.runs import REPEAT, machine
    from lab.bench.runs import bench as bench_netns
    from lab.bench.wire import bench_wire
    from lab.containers.bench import bench_docker
    from lab.doctor import examine_docker

    parts: dict[str, Callable[[], tuple[str, bool]]] = {
        "netns": lambda: bench_netns(runs, repeat or REPEAT, say),
        "docker": lambda: bench_docker(max(1, runs // 2), max(1, (repeat or REPEAT) // 4), say),
        "analysis": lambda: bench_analysis(frames, say),
        "wire": lambda: bench_wire(say),
        "pack": lambda: bench_pack(repeat or ROUNDS, say),
        "large": lambda: bench_large(say),
    }
    if only not in (None, *parts):
        raise InputError(f"there is nothing called {only!r} to measure", f"use one of: {', '.join(parts)}")
    if only is None:
        del parts["wire"], parts["pack"], parts["large"]
        if not all(check.ok for check in examine_docker()):
            del parts["docker"]
    print(machine())
    good = True
    for name, measure in parts.items():
        if only in (None, name):
            table, as_well = measure()
            print(f"\n{table}", flush=True)
            good = good and as_well
    return good


def fuzz(count: int, first: int, seed: int, *, jobs: int, corpus: str, keep: str, engine: str) -> bool:
    """`invoke fuzz`: damaged captures for the whole analysis; whether none of them made it fail."""
    import os

    from lab.fuzzing.fuzz import KEEP, Job
    from lab.fuzzing.fuzz import fuzz as run_fuzz

    job = Job(count, first, seed, jobs or os.cpu_count() or 1, corpus, Path(keep or KEEP))
    table, good = run_fuzz(job, engine, say)
    print(table)
    return good


def selftest() -> bool:
    """`invoke selftest`: whether the pack's expectations pass what they should, and nothing else."""
    from lab.selftest.page import selftest_tables
    from lab.selftest.selftest import samples_of
    from lab.selftest.selftest import selftest as run_selftest

    with _pack_played() as (plans, played):
        result = run_selftest(samples_of(plans, played), say)
    print(selftest_tables(result))
    return not result.holes


@contextmanager
def _pack_played() -> "Iterator[tuple[tuple[Scenario, ...], tuple[Played, ...]]]":
    """The pack and a run of it on netns, whose folders stay as long as the block."""
    from lab.pack.play import load_pack, play_pack

    plans = load_pack()
    with TemporaryDirectory() as folder:
        yield plans, play_pack(plans, "netns", Path(folder), _counting(len(plans)))


def write_docs(folder: Path) -> None:
    """`invoke docs`: write the pages of the documentation that are made of the code, and of one run of the pack."""
    from analysis.views.states import states_page
    from lab.pack.page import scenarios_page
    from lab.selftest.page import selftest_page
    from lab.selftest.selftest import samples_of
    from lab.selftest.selftest import selftest as run_selftest

    pages = {"states.md": states_page()}
    with _pack_played() as (plans, played):
        pages["scenarios.md"] = scenarios_page(plans, played)
        pages["selftest.md"] = selftest_page(run_selftest(samples_of(plans, played), say))
    for name, text in pages.items():
        path = folder / name
        path.write_text(text)
        print(f"written: {_short(path)}")


def doctor(runs: Path, *, as_json: bool) -> bool:
    """`invoke doctor`: what this machine has and lacks, for each backend; whether one can run."""
    from dataclasses import asdict

    from lab.doctor import examine, examine_docker

    backends = {"netns": examine(runs), "docker": examine_docker()}
    ready = {name: all(check.ok for check in checks) for name, checks in backends.items()}
    if as_json:
        print_json(
            {
                name: {"ready": ready[name], "checks": [asdict(check) for check in checks]}
                for name, checks in backends.items()
            }
        )
        return any(ready.values())
    for name, checks in backends.items():
        print(f"The {name} backend needs")
        _print_checks(checks)
        print(f"{'ready' if ready[name] else 'not ready'}: invoke lab --backend {name}\n")
    print("ready: invoke lab" if any(ready.values()) else "not ready: mend the first ✗ of a backend, then ask again")
    return any(ready.values())


def _print_checks(checks: "Iterable[Check]") -> None:
    paint = style()
    for check in checks:
        mark = paint.paint("pass", "✓") if check.ok else paint.paint("fail", "✗")
        first, *rest = paint.wrapped(f"{check.name}: {printable(check.found)}", "  ", "  ")
        print("\n".join((f"{mark} {first.removeprefix('  ')}", *rest)))
        if check.mend:
            print(f"  mend: {check.mend}")
