"""What goes wrong while a class is marked: workers that die or hang, a second run, an interrupt, another order."""

import fcntl
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from grading.classes import run
from grading.classes.before import marked_before
from grading.classes.marker import Marker
from grading.classes.write import write_class
from grading.exercise.load import load_exercise
from grading.handed_in.candidate import MARKED
from grading.handed_in.find import Entry, find_entries
from grading.marking.grade import Grade
from tests.conftest import HERE
from tests.craft import fetch, pcap
from tests.grading_validity import check_folder, check_terminal, read_json
from tests.handing_in import exercise_file, grade
from tests.hostile_class import make_class
from tests.hostile_exercises import SECRETS

CLASS = tuple(f"student{number}" for number in range(12))
VICTIM = CLASS[5]


@pytest.fixture
def submissions(tmp_path: Path) -> Path:
    for student in CLASS:
        (tmp_path / "in" / student).mkdir(parents=True)
        (tmp_path / "in" / student / "capture.pcap").write_bytes(pcap(fetch()))
    return tmp_path / "in"


def marker_for(tmp_path: Path) -> Marker:
    exercise = load_exercise(exercise_file(tmp_path, "capture"))
    return Marker(replace(exercise, hand_in=replace(exercise.hand_in, seconds=0.5)), None, tmp_path / "out")


def mark_all(marker: Marker, submissions: Path, heard: run.Heard = lambda *_: None) -> Sequence[Grade]:
    with marked_before(marker.out) as before:
        grades = run.mark_class(marker, find_entries(submissions)[0], 2, before, heard)
        write_class(marker.out, grades, marker.exercise, (), single=False)
    return grades


# --- workers ---


def kill() -> None:
    """What the kernel does when memory runs out."""
    os.kill(os.getpid(), signal.SIGKILL)


def leave() -> None:
    os._exit(7)


def hang() -> None:
    while True:
        pass


def deaf() -> None:
    """A hang that hears no signal but the last one."""
    signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM, signal.SIGINT])
    hang()


def hog() -> None:
    assert bytearray(run.MEMORY + (1 << 28))


def crash() -> None:
    raise ZeroDivisionError("\x1b[31m::error::\n<b>")


def recurse() -> None:
    recurse()


@dataclass(frozen=True, slots=True)
class Spoilt(Marker):
    """A marker that does some harm to its own process when it is one student's turn."""

    harm: Callable[[], None] = kill

    def mark_entry(self, entry: Entry, before: str | None) -> str | None:
        if entry.student == VICTIM:
            self.harm()
        return Marker.mark_entry(self, entry, before)


HARM = {
    kill: "the worker ended with status -9",
    leave: "the worker ended with status 7",
    hang: "it took more than 0.5 s",
    deaf: "it took more than 0.5 s",
    hog: "it took too much memory",
    crash: "the grader failed: ZeroDivisionError",
    recurse: "the grader failed: RecursionError",
}


@pytest.mark.parametrize("harm", HARM, ids=lambda harm: harm.__name__)
def test_a_worker_that_fails_costs_its_own_student_alone_and_is_tried_again(
    harm: Callable[[], None], tmp_path: Path, submissions: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(run, "GRACE_S", 0.2)
    monkeypatch.setattr(run, "MEMORY", 1 << 28)
    sound = marker_for(tmp_path)
    spoilt = Spoilt(sound.exercise, sound.key, sound.out, harm)
    mark_all(spoilt, submissions)
    found = check_folder(spoilt.out, CLASS, SECRETS)
    assert {one["student"] for one in found if one["status"] != "pass"} == {VICTIM}
    (victim,) = [one for one in found if one["student"] == VICTIM]
    assert victim["status"] == "inconclusive"
    assert victim["points"] == 0
    assert victim["pending"] == victim["max_points"]
    assert HARM[harm] in victim["checks"][0]["result"]["found"]
    assert victim["checks"][0]["result"]["hint"]
    is_limit = HARM[harm].startswith("it took")  # whose fault that is nobody knows
    assert victim["checks"][0]["id"] == ("limits" if is_limit else "grader")
    assert victim["flags"][0].startswith("not marked: it took" if is_limit else "the grader is at fault: ")
    again: list[int] = []
    grades = mark_all(sound, submissions, lambda _, before: again.append(before))
    assert again[-1] == len(CLASS) - 1
    assert {one.status for one in grades} == {"pass"}
    check_folder(sound.out, CLASS, SECRETS)


def test_whoever_ends_a_single_run_early_gradescope_has_results(tmp_path: Path, submissions: Path) -> None:
    marker = marker_for(tmp_path)
    (entry,) = [one for one in find_entries(submissions)[0] if one.student == VICTIM]
    marker.prepare(entry)
    result = read_json(marker.out / "gradescope" / f"{VICTIM}.json", "gradescope")
    assert result["score"] == 0
    assert "marking has not come to its end" in result["tests"][0]["output"]
    assert {test["max_score"] for test in result["tests"]} == {0, 1, 2, 3}


def test_a_single_student_who_is_marked_again_has_the_same_results_in_every_file(
    tmp_path: Path, submissions: Path
) -> None:
    exercise, out = exercise_file(tmp_path, "capture"), tmp_path / "out"
    found: list[dict[str, list[bytes]]] = []
    for _ in range(2):
        assert grade(submissions / VICTIM, exercise, out, "--student", VICTIM).returncode == 0
        found.append(contents(out))
    assert found[0] == found[1]
    check_folder(out, [VICTIM], SECRETS)


# --- runs in each other's way ---


def test_a_second_run_to_the_same_folder_is_refused_and_the_first_not_disturbed(
    tmp_path: Path, submissions: Path
) -> None:
    out = tmp_path / "out"
    with marked_before(out):
        done = grade(submissions, exercise_file(tmp_path, "capture"), out)
        assert done.returncode == 2
        assert "another run is marking to there" in done.stderr
        assert "next: let it end, or name another folder: --out FOLDER" in done.stderr
        assert [path.name for path in out.iterdir()] == [".marked.jsonl"]
    assert grade(submissions, exercise_file(tmp_path, "capture"), out).returncode == 0


ENDLESS = """
import sys
from pathlib import Path
from tests.test_grading_misfortune import Spoilt, deaf, mark_all, marker_for
base, submissions = map(Path, sys.argv[1:])
sound = marker_for(base)
mark_all(Spoilt(sound.exercise, sound.key, sound.out, deaf), submissions, lambda done, _: print(done, flush=True))
"""


def test_workers_end_with_the_grader_however_it_is_killed(tmp_path: Path, submissions: Path) -> None:
    command = [sys.executable, "-c", ENDLESS, str(tmp_path), str(submissions)]
    with subprocess.Popen(command, cwd=HERE, stdout=subprocess.PIPE, text=True) as grader:
        assert grader.stdout is not None
        assert any(int(line) == len(CLASS) - 1 for line in grader.stdout)  # all but the one who is never done
        workers = Path(f"/proc/{grader.pid}/task/{grader.pid}/children").read_text().split()
        assert workers
        grader.kill()
    descriptor = os.open(tmp_path / "out" / MARKED, os.O_RDWR)
    before = signal.signal(signal.SIGALRM, _late)
    signal.alarm(20)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)
        os.close(descriptor)


def _late(*_: object) -> None:
    raise TimeoutError("a worker is left, and holds the folder")


TELLING = "import grading.commands as one; one.TELL_EVERY_S = 0; from invoke.main import program; program.run()"


def test_a_run_that_is_interrupted_goes_on_where_it_ended(tmp_path: Path) -> None:
    students = make_class(tmp_path / "in", 150, seed=3)
    exercise, out = exercise_file(tmp_path, "capture"), tmp_path / "out"
    options = ["--submissions", str(tmp_path / "in"), "--exercise", str(exercise), "--out", str(out), "--jobs", "1"]
    command = [sys.executable, "-c", TELLING, "grade", *options]
    with subprocess.Popen(command, cwd=HERE, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        heard = [process.stderr.readline() for _ in range(20)]
        process.send_signal(signal.SIGINT)
        rest = process.stderr.read()
    assert heard[-1].startswith("20 of 150 submissions")
    assert process.returncode == 3
    assert rest.endswith("interrupted: everything that was started has been ended\n")
    assert "Traceback" not in rest
    assert not (out / "grades.json").exists()
    done = grade(tmp_path / "in", exercise, out)
    assert done.returncode == 0, done.stderr
    kept = int(done.stderr.strip().splitlines()[-1].removeprefix("150 of 150 submissions, ").removesuffix(" as before"))
    assert 20 <= kept < 150
    check_folder(out, students, SECRETS)


def test_a_state_that_was_cut_off_or_spoilt_costs_only_time(tmp_path: Path, submissions: Path) -> None:
    exercise, out = exercise_file(tmp_path, "capture"), tmp_path / "out"
    assert grade(submissions, exercise, out).returncode == 0
    whole = (out / "grades.json").read_bytes()
    lines = (out / ".marked.jsonl").read_bytes().splitlines(keepends=True)
    lines[1:4] = [b"\xff\xfe\n", b"[" * 9_000 + b"\n", b'{"digest": 1, "grade": {"student": []}}\n']
    (out / ".marked.jsonl").write_bytes(b"".join(lines)[:-40])
    done = grade(submissions, exercise, out)
    assert done.returncode == 0, done.stderr
    assert f"{len(CLASS) - 4} as before" in done.stderr
    assert (out / "grades.json").read_bytes() == whole


def contents(folder: Path) -> dict[str, list[bytes]]:
    """The lines of all files; of the grader's own notes, which come as students do, in the order of the alphabet."""
    found = {
        str(path.relative_to(folder)): path.read_bytes().split(b"\n") for path in folder.rglob("*") if path.is_file()
    }
    return {**found, MARKED: sorted(found[MARKED])}


def test_the_same_class_gives_the_same_bytes_in_whatever_order_workers_end(tmp_path: Path) -> None:
    students = make_class(tmp_path / "in", 120, seed=5)
    exercise = exercise_file(tmp_path, "answers")
    runs = [grade(tmp_path / "in", exercise, tmp_path / f"out{jobs}", "--jobs", jobs) for jobs in ("1", "3")]
    one, other = (contents(tmp_path / f"out{jobs}") for jobs in "13")
    assert one.keys() == other.keys()
    assert [name for name in one if one[name] != other[name]] == []
    assert runs[0].stdout.replace("out1", "out3") == runs[1].stdout
    check_terminal(runs[0].stdout)
    check_folder(tmp_path / "out1", students, SECRETS)
