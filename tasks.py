"""The tasks: thin adapters. `invoke --list` shows them, `invoke --help TASK` their options."""

import sys
from pathlib import Path
from types import ModuleType

from invoke import Context, Exit, task

from lab.console import STATUS_OF_VERDICT, for_people, say
from lab.interrupts import uninterrupted

HERE = Path(__file__).parent
RUNS = str(HERE / "runs")


def commands() -> ModuleType:
    """What the tasks do, imported when one is run: an interrupt in the middle of an import would be lost."""
    with uninterrupted():
        from lab import commands as module
    return module


def grading() -> ModuleType:
    """What the tasks of grading do, imported likewise."""
    with uninterrupted():
        from grading import commands as module
    return module


@task(
    help={
        "scenario": "a scenario of the pack, or a .toml file; left out: the baseline",
        "all": "run every scenario of the pack, and end with a table",
        "backend": "which backend makes the hosts: netns or docker",
        "offline": "never pull or build an image",
        "explain": "add for every frame why its Seq and Ack are what they are",
        "json": "print the report as JSON, and nothing else",
        "runs": "the folder that keeps the runs",
    }
)
@for_people
def lab(_: Context, scenario="", all_=False, backend="", explain=False, json=False, runs=RUNS, offline=False):  # type: ignore[no-untyped-def]
    """Run a scenario, or all: three hosts, a real curl, a capture, and its report."""
    asked, folder = backend or None, Path(runs)
    if all_:
        verdict = commands().play_all(scenario, asked, folder, explain=explain, as_json=json, offline=offline)
    else:
        verdict = commands().play(scenario or "baseline", asked, folder, explain=explain, as_json=json, offline=offline)
    raise Exit(code=STATUS_OF_VERDICT[verdict])


@task(
    help={
        "file": "a .pcap or .pcapng",
        "host": "the name (or address) whose story to tell",
        "explain": "add for every frame why its Seq and Ack are what they are",
        "json": "print the report as JSON, and nothing else",
        "summary": "count lookups, connections and events by what became of them, and judge nothing",
    }
)
@for_people
def analyze(_: Context, file, host="", explain=False, json=False, summary=False):  # type: ignore[no-untyped-def]
    """Report on any capture: lookups, handshake, numbers, exchange, close."""
    if summary:
        commands().summarise(Path(file), as_json=json)
        return
    raise Exit(code=STATUS_OF_VERDICT[commands().analyze(Path(file), host or None, explain=explain, as_json=json)])


@task(
    help={
        "file": "an exercise, such as exercises/watch-one-fetch/exercise.toml",
        "student": "the student's id",
        "roster": "a file of students: an id a line, or the first column of a CSV",
        "key": "the file of the course's key; left out: the one that HANDSHAKE_LAB_KEY names",
        "out": "the folder to write to; left out: handouts/EXERCISE",
    }
)
@for_people
def exercise(_: Context, file, student="", roster="", key="", out=""):  # type: ignore[no-untyped-def]
    """Make an exercise out for a student, or a class: a folder each of what they may know. Without: check the file."""
    grading().hand_out(Path(file), student, roster, key, out)


@task(
    help={
        "submissions": "a folder with a folder, a zip or files of each student; with --student that one's",
        "exercise": "the exercise's file",
        "student": "mark a single student's work",
        "roster": "who should have handed in: an id a line, or the first column of a CSV",
        "key": "the file of the course's key; left out: the one that HANDSHAKE_LAB_KEY names",
        "out": "the folder to write to; left out: grades/EXERCISE",
        "jobs": "worker processes; left out: one for each core",
        "publish": "show students what was held back until the due date, too",
        "github": "write annotations and the job's summary, as in GitHub Actions",
    }
)
@for_people
def grade(  # type: ignore[no-untyped-def]  # noqa: PLR0917 - invoke reads options from them
    _: Context,
    submissions,
    exercise,
    student=None,
    roster="",
    key="",
    out="",
    jobs="",
    publish=False,
    github=False,
):
    """Mark what students handed in, and write pages, tables and CI's files about it."""
    options = {"student": student, "roster": roster, "key": key, "out": out, "jobs": jobs}
    raise Exit(code=grading().grade(Path(submissions), Path(exercise), **options, publish=publish, github=github))


@task(help={"json": "print the list as JSON"})
@for_people
def scenarios(_: Context, json=False):  # type: ignore[no-untyped-def]
    """List the scenario pack: titles, backends, times."""
    commands().list_scenarios(as_json=json)


@task(help={"runs": "the folder that keeps the runs"})
@for_people
def clean(_: Context, runs=RUNS):  # type: ignore[no-untyped-def]
    """Remove what dead runs left behind, and only that."""
    commands().clean(Path(runs))


@task(help={"from-packages": "make the base of Debian's packages, with mmdebstrap, instead of pulling it"})
@for_people
def image(_: Context, from_packages=False):  # type: ignore[no-untyped-def]
    """Build the docker backend's image."""
    commands().image(from_packages=from_packages)


@task(help={"out": "the file to write"})
@for_people
def bundle(_: Context, out):  # type: ignore[no-untyped-def]
    """Write all that the docker backend needs, image included, to one file."""
    commands().bundle(Path(out))


@task(help={"file": "a file that `invoke bundle` wrote"})
@for_people
def unbundle(_: Context, file):  # type: ignore[no-untyped-def]
    """Check a bundle's hashes and load its image: then the lab runs without internet."""
    commands().unbundle(Path(file))


@task(help={"json": "print the checks as JSON", "runs": "the folder that keeps the runs"})
@for_people
def doctor(_: Context, json=False, runs=RUNS):  # type: ignore[no-untyped-def]
    """Try what the lab needs of this machine, and say how to mend what is missing."""
    raise Exit(code=0 if commands().doctor(Path(runs), as_json=json) else 3)


@task(
    help={
        "only": "netns, docker or analysis; left out, each of them that is ready; only if asked for: wire, pack, "
        "large, grading",
        "runs": "warm runs to time (docker: half as many, in pairs with docker compose by hand)",
        "repeat": "how often in a row, half of it with every core busy: 200 runs (docker: a quarter as many, then four "
        "at a time), or 20 rounds of the pack",
        "students": "how many submissions are marked",
        "frames": "how long a capture the analysis is given",
    }
)
@for_people
def bench(_: Context, only="", runs=20, repeat=0, frames=1_000_000, students=1_000):  # type: ignore[no-untyped-def]
    """Measure runs, how alike they are, analysis and grading; docs/benchmarks.md holds such tables."""
    if only == "grading":
        raise Exit(code=0 if grading().bench(students) else 1)
    raise Exit(code=0 if commands().bench(only or None, runs, repeat, frames) else 1)


@task(
    help={
        "count": "how many damaged captures",
        "first": "the number of the first one",
        "seed": "what the damage is made of: the same seed and number give the same capture",
        "jobs": "worker processes; 0: one for each core",
        "corpus": "a folder of further captures to damage",
        "keep": "the folder for captures that fail; left out: fuzz-failures",
        "engine": "atheris: guided by coverage, where that is installed",
    }
)
@for_people
def fuzz(_: Context, count=100_000, first=0, seed=1, jobs=0, corpus="", keep="", engine=""):  # type: ignore[no-untyped-def]
    """Damage captures, and give them to the whole analysis: no crash, no hang, bounded memory."""
    good = commands().fuzz(count, first, seed, jobs=jobs, corpus=corpus, keep=keep, engine=engine)
    raise Exit(code=0 if good else 1)


@task
@for_people
def selftest(_: Context):  # type: ignore[no-untyped-def]
    """Prove that the pack's expectations discriminate: by each other's captures, and by mutants of their own."""
    raise Exit(code=0 if commands().selftest() else 1)


@task
@for_people
def docs(_: Context):  # type: ignore[no-untyped-def]
    """Write the pages of docs/ that are made of the code (tests check that they are fresh)."""
    commands().write_docs(HERE / "docs")


@task(help={"tests": "run pytest, too"})
@for_people
def check(context: Context, tests=True):  # type: ignore[no-untyped-def]
    """Run the linter, the formatter's check, the type checker and the tests (needs the dev extra)."""
    with context.cd(HERE):
        for command in ("ruff check", "ruff format --check", "mypy", *(["pytest"] if tests else [])):
            say(f"$ {command}")
            context.run(f"{sys.executable} -m {command}", pty=False)
