"""What docs/teaching.md and the workflow files tell a teacher to do does what they say."""

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from grading.exercise.handout import handout, write_handout
from grading.exercise.individual import USES, derive, read_key
from grading.exercise.load import load_exercise
from grading.exercise.model import GATES
from grading.marking.slips import SLIPS
from tests.conftest import HERE

TEACHING = (HERE / "docs" / "teaching.md").read_text()
FILE_PAGE = (HERE / "docs" / "exercise-file.md").read_text()
WATCH = HERE / "exercises" / "watch-one-fetch"
CI = HERE / "exercises" / "ci"


def shell(script: str, folder: Path, **environment: str) -> "subprocess.CompletedProcess[str]":
    """The script, run by bash in `folder`, where `invoke` is this repository's."""
    tools = folder / "tools"
    tools.mkdir(exist_ok=True)
    for name in ("invoke", "pip"):
        (tools / name).write_text(f'#!/bin/sh\nexec {sys.executable} -m {name} "$@"\n')
        (tools / name).chmod(0o755)
    values = {**os.environ, "PATH": f"{tools}:{os.environ['PATH']}", "GITHUB_ACTIONS": "", **environment}
    command = ["bash", "-euo", "pipefail", "-c", script]
    return subprocess.run(command, cwd=folder, env=values, capture_output=True, text=True, timeout=120, check=False)


def test_the_block_to_try_marks_the_examples(tmp_path: Path) -> None:
    found = re.search(r"<!-- try it.*?-->\n```sh\n(.*?)```", TEACHING, re.DOTALL)
    assert found
    (tmp_path / "exercises").symlink_to(HERE / "exercises")
    done = shell(found[1].replace("invoke grade", f"invoke -r {HERE} grade"), tmp_path)
    assert done.returncode == 0, done.stderr
    assert "✓ model           14 of 14 points" in done.stdout
    assert (tmp_path / "grades" / "read-the-numbers" / "class.md").exists()


def test_every_file_that_is_written_is_on_the_page(tmp_path: Path) -> None:
    options = f"--submissions {WATCH}/submissions --exercise {WATCH}/exercise.toml --key {HERE}/exercises/example.key"
    done = shell(f"invoke -r {HERE} grade {options} --out {tmp_path}/grades", tmp_path)
    assert done.returncode == 0, done.stderr
    written = {
        str(path.relative_to(tmp_path / "grades")).replace("model", "ID")
        for path in (tmp_path / "grades").rglob("*")
        if path.is_file() and ("model" in str(path) or path.parent.name == "grades") and path.name[0] != "."
    }
    assert "students/ID/feedback.md" in written
    assert {name for name in written if name not in TEACHING and Path(name).name not in TEACHING} == set()


@pytest.mark.parametrize("word", [*SLIPS, *USES, *GATES])
def test_every_word_of_an_exercise_is_documented(word: str) -> None:
    assert f"`{word}`" in FILE_PAGE or f'"{word}"' in FILE_PAGE


def test_every_key_of_an_exercise_is_documented() -> None:
    sources = "".join((HERE / "grading" / "exercise" / name).read_text() for name in ("load.py", "items.py"))
    keys = set(re.findall(r"take\(\s*\"([a-z_]+)\"", sources)) - {"least", "most"}
    assert len(keys) > 25
    missing = {key for key in keys if not re.search(rf"`(?:\w+\.)?{key}`", FILE_PAGE)}
    assert missing == set()


def workflow(name: str) -> dict[str, Any]:
    values = yaml.safe_load((CI / name).read_text())
    assert isinstance(values, dict)
    return values


def github_steps(name: str, job: str) -> str:
    """The steps of a job that are shell scripts, with a clone in the place of the one from the net."""
    steps = [step["run"] for step in workflow(name)["jobs"][job]["steps"] if "run" in step]
    return _here("\n".join(steps))


def _here(script: str) -> str:
    """The script with this repository and this Python in place of what it would clone and install."""
    script = re.sub(r'git clone --depth 1 "\$LAB" (\S+)', rf'ln -s "{HERE}" \1', script)
    return re.sub(r'\S*pip"? install.*', "true", script).replace("python -m venv", "mkdir -p")


def link_venv(folder: Path) -> None:
    (folder / "venv" / "bin").mkdir(parents=True)
    (folder / "venv" / "bin" / "invoke").write_text(f'#!/bin/sh\nexec {sys.executable} -m invoke "$@"\n')
    (folder / "venv" / "bin" / "invoke").chmod(0o755)


def test_the_workflow_of_a_class_marks_it(tmp_path: Path) -> None:
    link_venv(tmp_path)
    (tmp_path / "work").mkdir()
    (tmp_path / "work" / "submissions").symlink_to(WATCH / "submissions")
    (tmp_path / "work" / "exercises").symlink_to(HERE / "exercises")
    summary = tmp_path / "summary.md"
    done = shell(
        github_steps("github-class.yml", "grade"),
        tmp_path,
        RUNNER_TEMP=str(tmp_path),
        GITHUB_WORKSPACE=str(tmp_path / "work"),
        GITHUB_ACTIONS="true",
        GITHUB_STEP_SUMMARY=str(summary),
        COURSE_KEY=(HERE / "exercises" / "example.key").read_text(),
        LAB="",
        EXERCISE=workflow("github-class.yml")["env"]["EXERCISE"],
    )
    assert done.returncode == 0, done.stderr
    assert "::stop-commands::" in done.stdout
    assert "::error title=neighbour::" in done.stdout
    assert "# Watch one fetch: the class" in summary.read_text()
    assert (tmp_path / "course.key").stat().st_mode & 0o077 == 0


def test_the_workflow_of_a_student_checks_the_students_own_copy(tmp_path: Path) -> None:
    link_venv(tmp_path)
    exercise = load_exercise(WATCH / "exercise.toml")
    own = derive(read_key(HERE / "exercises" / "example.key"), exercise.id, exercise.edition, "model")
    write_handout(tmp_path / "work", handout(exercise, "model", own))
    capture = (WATCH / "submissions" / "model" / "capture.pcap").read_bytes()
    (tmp_path / "work" / "capture.pcap").write_bytes(capture)
    environment = {"RUNNER_TEMP": str(tmp_path), "GITHUB_WORKSPACE": str(tmp_path / "work"), "LAB": ""}
    done = shell(github_steps("github-student.yml", "check"), tmp_path, **environment)
    assert done.returncode == 0, done.stderr + done.stdout
    assert "all visible checks passed (6 of 8)" in " ".join(done.stdout.split())
    assert "secrets." not in (CI / "github-student.yml").read_text()


@pytest.mark.parametrize("job", ["grade", "check"])
def test_the_jobs_for_gitlab_name_files_that_are_written(job: str) -> None:
    values = workflow("gitlab-ci.yml")
    assert values[job]["extends"] == ".handshake-lab"
    assert values[".handshake-lab"]["artifacts"]["reports"] == {"junit": "grades/junit.xml"}
    command = values[job]["script"][-1]
    assert "invoke grade --submissions" in command
    assert '--out "$CI_PROJECT_DIR/grades"' in command
    options = set(re.findall(r"--([a-z]+)", command))
    known = subprocess.run(
        [sys.executable, "-m", "invoke", "--help", "grade"], cwd=HERE, capture_output=True, text=True, check=True
    )
    assert all(f"--{option}" in known.stdout for option in options)
