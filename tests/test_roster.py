"""Whom a class has: rosters as spreadsheets write them, and what is said of those who don't fit."""

import json
from pathlib import Path

import pytest

from analysis.errors import InputError
from grading.handed_in.find import find_entries, not_on, read_roster
from tests.test_grade_command import HIDDEN, KEY, WATCH, hand_in, run

ROSTERS = {
    "an id a line": "# autumn\ns1\n\ns2\n",
    "a spreadsheet's, with commas": '\ufeffid,name\r\ns1,"Müller, Jörg"\r\ns2,X\r\n',
    "a spreadsheet's, with semicolons": '\ufeffsep=;\r\nStudent;Name;Mail\r\ns1;"Müller; Jörg";a@b\r\ns2;X;\r\n',
    "tabs, and the id in another column": "name\tuser name\nAda\ts1\nBob\ts2\n",
    "no heads": "s1,Ada\ns2,Bob\n",
    "twice the same": "s1\ns2\ns1\n",
}


@pytest.mark.parametrize("text", ROSTERS.values(), ids=ROSTERS)
def test_a_roster_is_read_as_it_is_meant(text: str, tmp_path: Path) -> None:
    (tmp_path / "class.csv").write_text(text, encoding="utf-8", newline="")
    assert read_roster(tmp_path / "class.csv") == ("s1", "s2")


@pytest.mark.parametrize("content", [b"", b"# nobody\n", b"\xff\xfe\x00", b"id,name\n"])
def test_a_roster_of_nobody_is_refused(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "class.csv").write_bytes(content)
    with pytest.raises(InputError) as refused:
        read_roster(tmp_path / "class.csv")
    assert refused.value.next_step


def test_who_is_not_on_the_roster_is_named_with_the_one_who_may_be_meant(tmp_path: Path) -> None:
    for name in ("carl", "dave"):
        (tmp_path / name).mkdir()
    (tmp_path / "dave.csv").write_text("not handed in")
    roster = ("carol", "dave")
    entries, left = find_entries(tmp_path, roster)
    assert [entry.student for entry in entries] == ["carl", "carol", "dave"]
    assert left == ("dave.csv",)
    assert list(not_on(roster, entries)) == ["carl is not on the roster; is it carol's?"]
    assert list(not_on((), entries)) == []


def test_a_key_that_fits_nobody_is_said_to_be_perhaps_the_wrong_one(tmp_path: Path) -> None:
    handed_in = hand_in(tmp_path / "in", "alice", "bob")
    other = tmp_path / "other.key"
    other.write_text("another key, of another course")
    words = ("grade", "--submissions", handed_in, "--exercise", WATCH, "--out", tmp_path / "out", "--key")
    assert "is it the right key" in run(*words, other).stdout
    assert "is it the right key" not in run(*words, KEY).stdout


def test_the_examples_key_is_warned_of_when_something_is_handed_out_with_it(tmp_path: Path) -> None:
    words = ("exercise", "--file", WATCH, "--student", "alice", "--out", tmp_path)
    assert "everybody knows" in run(*words, "--key", KEY).stderr


def test_gradescope_has_results_though_marking_cannot_begin(tmp_path: Path) -> None:
    words = ("grade", "--exercise", WATCH, "--out", tmp_path / "out", "--submissions", tmp_path / "nowhere")
    run(*words, "--student", "bob", "--key", KEY, status=2)
    results = json.loads((tmp_path / "out" / "gradescope" / "bob.json").read_text())
    assert results["score"] == 0
    assert "no fault of yours" in results["output"]
    assert "nobody" in run(*words, "--student", "", "--key", KEY, status=2).stderr


def test_a_report_does_not_tell_by_what_it_lacks_which_checks_are_held_back(tmp_path: Path) -> None:
    exercise, out = tmp_path / "held-back.toml", tmp_path / "out"
    exercise.write_text(HIDDEN)
    run("grade", "--submissions", hand_in(tmp_path / "in", "alice"), "--exercise", exercise, "--out", out)
    report = json.loads((out / "students" / "alice" / "report.json").read_text())
    assert [finding["rule"] for finding in report["findings"]] == ["tcp.handshake"]
    tests = json.loads((out / "gradescope" / "alice.json").read_text())["tests"]
    assert [test["visibility"] for test in tests] == ["visible", "after_published", "hidden"]


def test_gradescope_is_told_no_right_answer_of_what_students_will_see(tmp_path: Path) -> None:
    exercise = tmp_path / "asked.toml"
    exercise.write_text(
        'title = "T"\nkind = "answers"\n'
        '[[question]]\nid = "seen"\ntext = "?"\nfact = "connection.client.port"\npoints = 1\n'
        '[[question]]\nid = "later"\ntext = "?"\nfact = "connection.client.port"\npoints = 1\n'
        'visibility = "after_due_date"\n'
        '[[question]]\nid = "never"\ntext = "?"\nfact = "connection.client.port"\npoints = 1\nvisibility = "hidden"\n'
    )
    handed_in = hand_in(tmp_path / "in", "alice")
    (handed_in / "alice" / "answers.toml").write_text("seen = 1\nlater = 1\nnever = 1\n")
    run("grade", "--submissions", handed_in, "--exercise", exercise, "--out", tmp_path / "out")
    tests = json.loads((tmp_path / "out" / "gradescope" / "alice.json").read_text())["tests"]
    assert ["expected" in test["output"] for test in tests] == [False, False, True]


def test_answers_that_cannot_be_read_leave_their_questions_open(tmp_path: Path) -> None:
    numbers = WATCH.parent.parent / "read-the-numbers"
    handed_in = tmp_path / "in" / "model"
    handed_in.mkdir(parents=True)
    capture = (numbers / "submissions" / "model" / "capture.pcap").read_bytes()
    (handed_in / "capture.pcap").write_bytes(capture)
    (handed_in / "answers.toml").write_bytes(b"")
    words = ("grade", "--submissions", handed_in.parent, "--exercise", numbers / "exercise.toml", "--key", KEY)
    run(*words, "--out", tmp_path / "out")
    (grade,) = json.loads((tmp_path / "out" / "grades.json").read_text())["grades"]
    assert (grade["status"], grade["points"], grade["pending"]) == ("inconclusive", 2, 12)
