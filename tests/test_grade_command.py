"""`invoke exercise` and `invoke grade` as a teacher types them: options, refusals, exit statuses, what is written."""

import csv
import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest

from grading.bench.fetch import fetch
from grading.exercise.individual import derive, read_key
from tests.conftest import HERE
from tests.test_lab import INVOKE

WATCH = HERE / "exercises" / "watch-one-fetch" / "exercise.toml"
KEY = HERE / "exercises" / "example.key"
HIDDEN = """
title = "Held back"

[[rubric]]
id = "now"
rule = "tcp.handshake"
points = 2

[[rubric]]
id = "later"
title = "Told later"
rule = "tcp.close"
points = 3
visibility = "after_published"

[[rubric]]
id = "never"
title = "Told never"
rule = "tcp.numbers"
points = 1
visibility = "hidden"
"""


def run(
    *words: str | Path, status: int = 0, cwd: Path = HERE, **environment: str
) -> "subprocess.CompletedProcess[str]":
    """`invoke`, with this repository's tasks; fails unless it ends with `status`."""
    values = {**os.environ, "GITHUB_ACTIONS": "", "HANDSHAKE_LAB_KEY": "", **environment}
    command = [*INVOKE, "-r", str(HERE), *map(str, words)]
    done = subprocess.run(command, cwd=cwd, env=values, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == status, done.stdout + done.stderr
    return done


def own_capture(student: str, seed: int = 1, edition: str = "example") -> bytes:
    return fetch(derive(read_key(KEY), "watch-one-fetch", edition, student), seed)


def hand_in(folder: Path, *students: str) -> Path:
    for number, student in enumerate(students):
        (folder / student).mkdir(parents=True)
        (folder / student / "capture.pcap").write_bytes(own_capture(student, number))
    return folder


def rows(out: Path) -> dict[str, dict[str, str]]:
    with (out / "class.csv").open(newline="") as file:
        return {row["student"]: row for row in csv.DictReader(file)}


def test_a_class_is_marked_in_the_order_that_people_count_in(tmp_path: Path) -> None:
    handed_in = hand_in(tmp_path / "in", "s10", "s9", "s1")
    run("grade", "--submissions", handed_in, "--exercise", WATCH, "--key", KEY, "--out", tmp_path / "out")
    assert list(rows(tmp_path / "out")) == ["s1", "s9", "s10"]
    assert {row["points"] for row in rows(tmp_path / "out").values()} == {"14"}


def test_who_is_on_the_roster_and_handed_in_nothing_has_a_row(tmp_path: Path) -> None:
    handed_in = hand_in(tmp_path / "in", "alice")
    (tmp_path / "class.csv").write_text("\ufeffid,name\nalice,A\nbob,B\n")
    roster = tmp_path / "class.csv"
    out = tmp_path / "out"
    run("grade", "--submissions", handed_in, "--exercise", WATCH, "--key", KEY, "--roster", roster, "--out", out)
    assert rows(out)["bob"]["status"] == "fail"
    assert "nothing of the kind was handed in" in (out / "students" / "bob" / "feedback.md").read_text()


def test_nobody_is_marked_again_unless_files_or_exercise_changed(tmp_path: Path) -> None:
    handed_in, out = hand_in(tmp_path / "in", "alice", "bob", "carol"), tmp_path / "out"
    exercise = tmp_path / "exercise.toml"
    exercise.write_text(WATCH.read_text().replace('title   = "Watch', 'id = "watch-one-fetch"\ntitle = "Watch', 1))
    words = ("grade", "--submissions", handed_in, "--exercise", exercise, "--key", KEY, "--out", out)
    assert "as before" not in run(*words).stderr
    before = (out / "grades.json").read_bytes()
    assert "3 as before" in run(*words).stderr
    assert (out / "grades.json").read_bytes() == before
    (handed_in / "bob" / "capture.pcap").write_bytes(own_capture("bob", 77))
    assert "2 as before" in run(*words).stderr
    (out / "students" / "carol" / "feedback.md").unlink()
    assert "2 as before" in run(*words).stderr
    assert (out / "students" / "carol" / "feedback.md").exists()
    exercise.write_text(exercise.read_text().replace("= 3\n", "= 4\n"))
    assert "as before" not in run(*words).stderr
    assert rows(out)["alice"]["points"] == "15"


def test_a_single_students_verdict_is_the_exit_status(tmp_path: Path) -> None:
    words = ("grade", "--exercise", WATCH, "--key", KEY, "--student", "alice", "--out", tmp_path / "out")
    mine = tmp_path / "capture.pcap"
    mine.write_bytes(own_capture("alice"))
    assert "✓ 12 of 12 points: all visible checks passed (6 of 8)" in run(*words, "--submissions", mine).stdout
    mine.write_bytes(own_capture("bob"))
    assert "hand in your own capture" in run(*words, "--submissions", mine, status=1).stdout
    mine.write_bytes(b"")
    assert "hand in the file once more" in run(*words, "--submissions", mine, status=3).stdout
    results = json.loads((tmp_path / "out" / "gradescope" / "alice.json").read_text())
    assert results["score"] == 0
    assert {test["visibility"] for test in results["tests"]} == {"visible", "hidden"}


def test_what_was_held_back_is_told_once_it_is_published_and_what_is_hidden_never(tmp_path: Path) -> None:
    exercise, out = tmp_path / "held-back.toml", tmp_path / "out"
    exercise.write_text(HIDDEN)
    handed_in = hand_in(tmp_path / "in", "alice")
    words = ("grade", "--submissions", handed_in, "--exercise", exercise, "--out", out)
    run(*words)
    page = out / "students" / "alice" / "feedback.md"
    assert "all visible checks passed (1 of 3); 2 more checks (4 points) are not shown" in page.read_text()
    assert "Told later" not in page.read_text()
    run(*words, "--publish")
    assert "## ✓ Told later (3 of 3)" in page.read_text()
    for file in (out / "students" / "alice").iterdir():
        assert "Told never" not in file.read_text()
        assert "tcp.numbers" not in file.read_text()
    assert "## ✓ Told never (1 of 1)" in (out / "teacher" / "alice.md").read_text()


@pytest.mark.parametrize(
    ("words", "status", "said"),
    [
        (("--submissions", "IN", "--exercise", WATCH), 2, "no key is named"),
        (("--submissions", "IN", "--exercise", WATCH, "--key", "nowhere"), 2, "can't be read"),
        (("--submissions", "IN", "--exercise", WATCH, "--key", "SHORT"), 2, "can be guessed"),
        (("--submissions", "nowhere", "--exercise", WATCH, "--key", KEY), 2, "name the folder of the submissions"),
        (("--submissions", "EMPTY", "--exercise", WATCH, "--key", KEY), 2, "there is no submission in it"),
        (("--submissions", "IN", "--exercise", WATCH, "--key", KEY, "--out", "IN/grades"), 2, "among the submissions"),
        (("--submissions", "IN", "--exercise", WATCH, "--key", KEY, "--out", "SHORT/x"), 2, "can't be written"),
        (("--submissions", "IN", "--exercise", "IN", "--key", KEY), 2, "is no regular file"),
        (("--submissions", "IN", "--exercise", WATCH, "--key", KEY, "--jobs", "abc"), 2, "that many processes"),
        (("--submissions", "IN", "--exercise", WATCH, "--key", KEY, "--jobs", "0"), 2, "that many processes"),
        (("--submissions", "IN", "--exercise", WATCH, "--key", KEY, "--student", "a", "--roster", "b"), 2, "leave one"),
    ],
)
def test_what_cant_be_done_is_refused_in_one_message(
    words: tuple[str | Path, ...], status: int, said: str, tmp_path: Path
) -> None:
    hand_in(tmp_path / "IN", "alice")
    (tmp_path / "EMPTY").mkdir()
    (tmp_path / "SHORT").write_text("secret")
    done = run("grade", *words, status=status, cwd=tmp_path)
    assert said in done.stderr
    assert done.stderr.count("error:") == 1
    assert "  next: " in done.stderr
    assert "Traceback" not in done.stderr
    assert (tmp_path / "grades").exists() == ("--student" in words)  # Gradescope waits for a result


def test_the_key_may_be_named_once_and_for_all(tmp_path: Path) -> None:
    handed_in = hand_in(tmp_path / "in", "alice")
    words = ("grade", "--submissions", handed_in, "--exercise", WATCH, "--out", tmp_path / "out")
    assert "14 of 14" in run(*words, HANDSHAKE_LAB_KEY=str(KEY)).stdout


def test_a_handout_is_made_for_everyone_on_the_roster_and_has_nothing_of_the_key(tmp_path: Path) -> None:
    (tmp_path / "roster").write_text("# the class\nalice\n\nbob\nZoë\n../eve\n")
    words = ("exercise", "--file", WATCH, "--key", KEY, "--out", tmp_path / "out")
    run(*words, "--roster", tmp_path / "roster")
    folders = sorted(path.name for path in (tmp_path / "out").iterdir())
    assert len(folders) == 4
    assert folders[:1] == ["Zo-" + folders[0][3:]]
    assert {"alice", "bob"} < set(folders)
    secret = KEY.read_text().strip()
    for path in (tmp_path / "out").rglob("*"):
        if path.is_file():
            assert secret not in path.read_text()
            assert "tcp.numbers" not in path.read_text()
    assert (tmp_path / "out" / "alice" / "scenario.toml").read_text() != (
        tmp_path / "out" / "bob" / "scenario.toml"
    ).read_text()


def test_an_exercise_alone_is_checked_and_shown_to_its_author(tmp_path: Path) -> None:
    said = run("exercise", "--file", WATCH, cwd=tmp_path).stdout
    assert "8 checks, 14 points; individual: host, addresses, port, nonce" in said
    assert "Checksums are right (hidden)" in said
    assert list(tmp_path.iterdir()) == []


def test_a_handout_plays_and_marks_itself(tmp_path: Path) -> None:
    run("exercise", "--file", WATCH, "--student", "alice", "--key", KEY, "--out", tmp_path)
    folder = tmp_path / "alice"
    (folder / "capture.pcap").write_bytes(own_capture("alice"))
    shutil.copy(folder / "capture.pcap", folder / "old-run-capture.pcap")
    (folder / "runs").mkdir()
    (folder / "runs" / "capture.pcap").write_bytes(own_capture("bob"))  # below: the student's own copy goes before
    words = ("grade", "--exercise", folder / "exercise.toml", "--submissions", folder, "--out", tmp_path / "out")
    assert "all visible checks passed (6 of 8)" in " ".join(run(*words).stdout.split())
    (folder / "capture.pcap").write_bytes(own_capture("bob"))
    assert "✗ The capture is your own" in run(*words, status=1).stdout


@pytest.mark.needs("netns")
def test_a_handouts_scenario_makes_a_capture_that_passes(tmp_path: Path) -> None:
    run("exercise", "--file", WATCH, "--student", "alice", "--key", KEY, "--out", tmp_path)
    scenario = tmp_path / "alice" / "scenario.toml"
    run("lab", "--scenario", scenario, "--runs", tmp_path / "runs", "--backend", "netns")
    (capture,) = (tmp_path / "runs").glob("*/capture.pcap")
    words = ("grade", "--exercise", WATCH, "--key", KEY, "--student", "alice", "--out", tmp_path / "out")
    assert "all visible checks passed (6 of 8)" in run(*words, "--submissions", capture).stdout
    grade = json.loads((tmp_path / "out" / "grades.json").read_text())["grades"][0]
    assert (grade["points"], grade["max_points"]) == (14, 14)
