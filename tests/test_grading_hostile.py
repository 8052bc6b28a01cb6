"""Hostile students by the thousand, and one by one: a clear finding or a refusal, and never a batch that ends."""

import gzip
import os
import stat
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from grading.bench.fetch import fetch as own_fetch
from grading.exercise.individual import derive, read_key
from grading.exercise.load import load_exercise
from grading.files import safe_name
from grading.handed_in.find import find_entries
from grading.handed_in.read import read_submission
from grading.marking.mark import mark
from tests import hostile_exercises, hostile_zips
from tests.conftest import HERE
from tests.grading_validity import check_folder, check_github, read_json
from tests.handing_in import WHOLE, exercise_file, folder_of, grade, graded, said
from tests.hostile_answers import ANSWERS
from tests.hostile_class import make_class

NOBODY = 65534
STUDENTS = 500  # of each of the two exercises


# --- a thousand ---


@dataclass(frozen=True)
class Marked:
    """A class that was marked: who is in it, the folder of its results, how the command ended."""

    students: set[str]
    out: Path
    done: subprocess.CompletedProcess[str]


@pytest.fixture(scope="module", params=["capture", "answers"])
def hostile_class(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Marked:
    folder = tmp_path_factory.mktemp(request.param)
    students = make_class(folder / "submissions", STUDENTS, seed=len(request.param))
    exercise = exercise_file(folder, request.param)
    done = grade(folder / "submissions", exercise, folder / "out", "--jobs", "2", "--github")
    return Marked(students, folder / "out", done)


@pytest.mark.xdist_group("hostile class")
def test_a_class_of_hostile_students_is_marked_to_its_end_and_no_output_does_harm(hostile_class: Marked) -> None:
    assert hostile_class.done.returncode == 0, hostile_class.done.stdout[-2_000:] + hostile_class.done.stderr[-2_000:]
    assert "Traceback" not in hostile_class.done.stderr
    assert len(hostile_class.students) == STUDENTS
    grades = check_folder(hostile_class.out, hostile_class.students, hostile_exercises.SECRETS)
    at_fault = [(one["student"], one["flags"]) for one in grades if one["checks"][0]["id"] == "grader"]
    assert at_fault == []
    assert {one["status"] for one in grades} >= {"fail", "inconclusive"}
    assert len(check_github(hostile_class.done.stdout)) == 10


@pytest.mark.xdist_group("hostile class")
def test_whatever_was_wrong_the_student_is_told_what_and_what_to_do(hostile_class: Marked) -> None:
    for one in read_json(hostile_class.out / "grades.json", "grades")["grades"]:
        for gate in (part for part in one["checks"] if part["is_gate"] and part["status"] != "pass"):
            result = gate["result"]
            assert result["found"].strip()
            assert not result["found"].rstrip().endswith(":")
            assert result["hint"].strip(), gate


# --- one by one ---


def truncate(path: Path) -> None:
    folder_of(path, capture__pcap=WHOLE)
    os.truncate(path / "capture.pcap", 10 << 30)


def link(path: Path) -> None:
    path.mkdir()
    (path / "capture.pcap").symlink_to("/etc/passwd")


def pipe(path: Path) -> None:
    path.mkdir()
    os.mkfifo(path / "capture.pcap")


def socket(path: Path) -> None:
    path.mkdir()
    os.mknod(path / "capture.pcap", stat.S_IFSOCK | 0o600)


def deep(path: Path) -> None:
    (path / "a/b/c/d/e").mkdir(parents=True)
    (path / "a/b/c/d/e/capture.pcap").write_bytes(WHOLE)


BAD_FOLDERS: dict[str, tuple[Callable[[Path], None], str, str, str]] = {
    "nothing at all": (Path.mkdir, "fail", "nothing of the kind was handed in", "hand in capture.pcap"),
    "an empty file": (lambda path: folder_of(path, capture__pcap=b""), "inconclusive", "is empty", "once more"),
    "two captures": (
        lambda path: folder_of(path, a__pcap=WHOLE, b__pcapng=WHOLE),
        *("inconclusive", "2 files could be the capture: a.pcap, b.pcapng", "hand in one, called capture.pcap"),
    ),
    "a document": (
        lambda path: folder_of(path, report__docx=b"PK"),
        "inconclusive",
        "report.docx: is no capture",
        "hand in",
    ),
    "two documents": (
        lambda path: folder_of(path, a__png=b"x", b__png=b"x"),
        *("fail", "what was handed in has no capture: a.png, b.png", "hand in capture.pcap"),
    ),
    "what tcpdump printed": (
        lambda path: folder_of(path, capture__pcap=b"12:00 IP 10.0.0.1 > 10.0.0.2: Flags [S]\n"),
        *("inconclusive", "is text", "tcpdump -w"),
    ),
    "ten gigabytes": (
        truncate,
        "inconclusive",
        "10,737,418,240 bytes; at most 1,000,000",
        "capture the one fetch alone",
    ),
    "a link to the passwords": (link, "fail", "capture.pcap is a link: not followed", "hand in capture.pcap"),
    "a pipe that nobody writes to": (pipe, "fail", "no regular file: not read", "hand in capture.pcap"),
    "a socket": (socket, "fail", "no regular file: not read", "hand in capture.pcap"),
    "a folder too deep": (deep, "fail", "a/b/c/d is a folder in folders", "hand in capture.pcap"),
    "a gzip bomb": (
        lambda path: folder_of(path, capture__pcap=gzip.compress(bytes(100_000_000), 1)),
        *("inconclusive", "unpacks to more than", "gunzip"),
    ),
}


@pytest.mark.parametrize(("make", "status", "what", "next_step"), BAD_FOLDERS.values(), ids=BAD_FOLDERS)
def test_a_bad_folder_has_a_clear_finding(
    make: Callable[[Path], None], status: str, what: str, next_step: str, tmp_path: Path
) -> None:
    make(tmp_path / "alice")
    found = said(graded(tmp_path / "alice"), "capture")
    assert found[0] == status
    assert what in found[1]
    assert next_step in found[2]


def test_a_second_capture_beside_the_one_with_the_right_name_is_not_passed_over_in_silence(tmp_path: Path) -> None:
    folder_of(tmp_path / "alice", capture__pcap=WHOLE, capture__pcapng=WHOLE, other__pcap=WHOLE)
    found = graded(tmp_path / "alice")
    assert found.status == "pass"
    assert found.notes == ("capture.pcap was marked; not marked: capture.pcapng, other.pcap",)


def test_a_misnamed_capture_is_marked_and_the_student_told(tmp_path: Path) -> None:
    folder_of(tmp_path / "alice", my_trace__pcapng=WHOLE)
    found = graded(tmp_path / "alice")
    assert found.status == "pass"
    assert found.notes == ("my_trace.pcapng was taken for the capture; it should be called capture.pcap",)


@pytest.mark.parametrize("answers", ANSWERS.values(), ids=ANSWERS)
def test_bad_answers_cost_their_own_points_and_never_the_grader(answers: bytes, tmp_path: Path) -> None:
    folder_of(tmp_path / "alice", capture__pcap=WHOLE, answers__toml=answers)
    found = graded(tmp_path / "alice", "answers")
    assert found.status in {"fail", "inconclusive"}
    by_id = {check.id: check for check in found.checks}
    assert by_id["handshake"].status == "pass"
    assert by_id["isn"].status != "pass"
    for cause in found.causes:
        assert cause.result.found.strip()
        assert len(cause.result.found) < 500


@pytest.mark.parametrize("answers", ["prose", "brackets alone", "an answer twice", "no UTF-8"])
def test_answers_that_are_no_toml_are_said_to_be_none(answers: str, tmp_path: Path) -> None:
    folder_of(tmp_path / "alice", capture__pcap=WHOLE, answers__toml=ANSWERS[answers])
    status, what, next_step = said(graded(tmp_path / "alice", "answers"), "answers")
    assert status == "fail"
    assert "answers.toml: is not " in what
    assert 'an answer is a line such as: who = "client"' in next_step


def test_a_misspelt_answer_is_told_what_was_meant_though_its_result_is_held_back(tmp_path: Path) -> None:
    misspelt = ANSWERS["a misspelt question that nobody may know of"] + b"\nismn = 1"
    folder_of(tmp_path / "alice", capture__pcap=WHOLE, answers__toml=misspelt)
    notes = " ".join(graded(tmp_path / "alice", "answers").notes)
    assert "'secret-questiom'" in notes
    assert "did you mean secret-question?" in notes
    assert "did you mean isn?" in notes


def test_what_is_handed_in_twice_is_not_chosen_from(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    folder_of(tmp_path / "in" / "alice", capture__pcap=WHOLE)
    (tmp_path / "in" / "alice.zip").write_bytes(hostile_zips.honest(WHOLE))
    folder_of(tmp_path / "in" / "Zoë", capture__pcap=WHOLE)
    folder_of(tmp_path / "in" / "Zoe\u0308", capture__pcap=WHOLE)  # the same name, composed otherwise
    exercise = load_exercise(exercise_file(tmp_path, "capture"))
    entries, _ = find_entries(tmp_path / "in")
    assert [entry.student for entry in entries] == ["Zoë", "alice"]
    for entry in entries:
        status, what, next_step = said(mark(exercise, read_submission(entry, exercise)).grade, "capture")
        assert status == "inconclusive"
        assert "handed in 2 times" in what
        assert next_step == "hand in one of them"


@contextmanager
def rights_of_nobody() -> Iterator[None]:
    mine = os.geteuid()
    if mine == 0:
        os.seteuid(NOBODY)
    try:
        yield
    finally:
        os.seteuid(mine)


def test_what_the_grader_may_not_read_is_said_to_be_so_and_isnt_held_against_the_student() -> None:
    with tempfile.TemporaryDirectory() as folder:  # pytest's own are root's alone
        Path(folder).chmod(0o755)
        base = Path(folder) / "in"
        base.mkdir()
        exercise = load_exercise(exercise_file(Path(folder), "capture"))
        for student in ("alice", "bob"):
            folder_of(base / student, capture__pcap=WHOLE)
        (base / "carl.zip").write_bytes(hostile_zips.honest(WHOLE))
        (base / "dan.pcap").write_bytes(WHOLE)
        for path in (base / "alice" / "capture.pcap", base / "bob", base / "carl.zip", base / "dan.pcap"):
            path.chmod(0)
        with rights_of_nobody():
            entries, _ = find_entries(base)
            grades = [mark(exercise, read_submission(entry, exercise)).grade for entry in entries]
        (base / "bob").chmod(0o755)
    names = ("capture.pcap can't be read", "bob can't be read", "carl.zip is no zip that can be read", "dan.pcap can't")
    for name, one in zip(names, grades, strict=True):
        status, what, next_step = said(one, "capture")
        assert status == "inconclusive"
        assert what.startswith(name)
        assert what.endswith(": Permission denied")
        assert next_step == "hand it in again"


# --- somebody else's, and last week's ---


def individual(tmp_path: Path) -> Path:
    """The ready exercise, in a new edition that knows of the one before."""
    text = (HERE / "exercises/watch-one-fetch/exercise.toml").read_text()
    text = text.replace('"example"', '"new"').replace('"example-before"', '"old"')
    (tmp_path / "exercise.toml").write_text(f'id = "watch-one-fetch"\n{text}')
    (tmp_path / "course.key").write_text("a key for tests alone, known to everybody\n")
    return tmp_path / "exercise.toml"


@pytest.mark.parametrize(
    ("student", "edition", "exercise_id", "words"),
    [
        ("bob", "new", "watch-one-fetch", ["the name looked up"]),
        ("alice", "old", "watch-one-fetch", ["this is your capture of the edition old"]),
        ("alice", "new", "another", ["the name looked up"]),
    ],
    ids=["another student's", "last week's", "another exercise's"],
)
def test_a_capture_of_something_else_is_refused_with_what_should_be_in_it(
    student: str, edition: str, exercise_id: str, words: list[str], tmp_path: Path
) -> None:
    exercise = individual(tmp_path)
    key = read_key(tmp_path / "course.key")
    (tmp_path / "in").mkdir()
    folder_of(tmp_path / "in" / "alice", capture__pcap=own_fetch(derive(key, exercise_id, edition, student), 1))
    folder_of(tmp_path / "in" / "bob", capture__pcap=own_fetch(derive(key, "watch-one-fetch", "new", "bob"), 1))
    done = grade(tmp_path / "in", exercise, tmp_path / "out", "--key", str(tmp_path / "course.key"))
    assert done.returncode == 0, done.stderr
    alice, bob = check_folder(tmp_path / "out", ["alice", "bob"])
    assert bob["status"] == "pass"
    gate = next(one for one in alice["checks"] if one["id"] == "individual")
    assert gate["status"] == alice["status"] == "fail"
    assert all(word in gate["result"]["found"] for word in words)
    own = derive(key, "watch-one-fetch", "new", "alice")
    assert f"fetch http://{own.host}/{own.nonce}" in gate["result"]["hint"]
    assert alice["points"] == 0
    assert ("bob's" in " ".join(alice["flags"])) == (student == "bob")


def test_what_begins_with_a_dot_is_nobodys_and_isnt_passed_over_in_silence(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    for name in ("..evil", ".git", "__MACOSX", "alice"):
        folder_of(tmp_path / "in" / name, capture__pcap=WHOLE)
    (tmp_path / "in" / ".DS_Store").write_bytes(b"x")
    (tmp_path / "in" / ".\x1b[31mbob.pcap").write_bytes(WHOLE)
    done = grade(tmp_path / "in", exercise_file(tmp_path, "capture"), tmp_path / "out")
    assert "left alone, as nobody's submission: .\\x1b[31mbob.pcap, ..evil (2 files)" in done.stdout
    check_folder(tmp_path / "out", ["alice"], hostile_exercises.SECRETS)


def test_names_that_look_alike_keep_their_own_files(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    students = ["a b", "a_b", "a-b", "a.b", "a  b", "a\nb", "a\\x0ab", "ALICE", "alice", "\u202eab", "con", "CON"]
    students += ["a-b-1a2b3c4d5e6f", safe_name("a b")]
    for student in students:
        folder_of(tmp_path / "in" / student, capture__pcap=WHOLE)
    done = grade(tmp_path / "in", exercise_file(tmp_path, "capture"), tmp_path / "out")
    assert done.returncode == 0, done.stderr
    check_folder(tmp_path / "out", students, hostile_exercises.SECRETS)
