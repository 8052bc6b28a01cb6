"""Marking: the four statuses, what follows from what, and what part earns what points."""

import math
from pathlib import Path
from typing import Any

import pytest

from grading.bench.fetch import fetch
from grading.handed_in.submission import File, Submission
from grading.marking.grade import Grade, Scored, points_text, summary_line, total
from grading.marking.mark import mark, unmarked
from grading.outputs.student_page import student_page
from tests import craft
from tests.craft import CLIENT, SERVER, Talk, lookup, pcap, question
from tests.craft import fetch as crafted
from tests.submitted import (
    ADA,
    FIRST_FIN,
    FIRST_SEGMENT,
    FRAMES,
    WHOLE,
    crafted_grade,
    cut,
    exercise,
    facts,
    marked,
    of,
    rule,
    sequence,
    statuses,
)

# --- statuses, and what follows from what ---


def test_a_check_passes_fails_is_skipped_or_cannot_be_told(tmp_path: Path) -> None:
    rubric = rule("tcp.handshake") + rule("http.exchange", 'depends_on = ["tcp-handshake"]\n')
    passed = crafted_grade(tmp_path, rubric, crafted())
    assert (statuses(passed), passed.points) == ({"tcp-handshake": "pass", "http-exchange": "pass"}, 8)
    refused = Talk().send("client", "S").send("server", "RA", seq=0)
    failed = crafted_grade(tmp_path, rubric, [*lookup(), *refused.frames])
    assert (statuses(failed), failed.points) == ({"tcp-handshake": "fail", "http-exchange": "skip"}, 0)
    assert of(failed, "http-exchange").result.found == "not looked at: tcp-handshake must pass first"
    unclear = crafted_grade(tmp_path, rubric, [*lookup(), *Talk().send("client", "S").frames])
    assert (unclear.status, unclear.points, unclear.pending) == ("inconclusive", 0, 8)
    assert of(unclear, "tcp-handshake").status == "inconclusive"


def test_a_chain_is_skipped_to_its_end(tmp_path: Path) -> None:
    links = [rule("tcp.handshake", key="a")]
    links += [rule("tcp.checksums", f'depends_on = ["{before}"]\n', key=key) for before, key in ("ab", "bc", "cd")]
    grade = crafted_grade(
        tmp_path, "".join(links), [*lookup(), *Talk().send("client", "S").send("server", "RA", seq=0).frames]
    )
    assert statuses(grade) == {"a": "fail", "b": "skip", "c": "skip", "d": "skip"}
    assert of(grade, "d").result.found == "not looked at: c must pass first"
    assert [check.id for check in grade.causes] == ["a"]


def test_behind_what_cannot_be_told_a_pass_waits_and_a_fail_stays(tmp_path: Path) -> None:
    rubric = rule("tcp.close", key="close") + facts('"exchange.status" = 404', 'depends_on = ["close"]')
    rubric += rule("tcp.handshake", 'depends_on = ["close"]', key="open") + rule(
        "dns.match", 'depends_on = ["open"]', key="dns"
    )
    open_ = [*lookup(), *Talk().open().exchange().frames]
    grade = crafted_grade(tmp_path, rubric, open_)
    assert statuses(grade) == {"close": "inconclusive", "facts": "fail", "open": "inconclusive", "dns": "inconclusive"}
    assert (grade.points, grade.pending, grade.status) == (0, 12, "fail")
    assert len(grade.flags) == 1
    assert grade.flags[0].startswith("to be handed in again: close (no FIN)")
    right = crafted_grade(tmp_path, rubric.replace("404", "200"), open_)
    assert statuses(right)["facts"] == "inconclusive"
    assert (right.status, right.pending) == ("inconclusive", 16)


def test_a_part_behind_what_cannot_be_told_earns_nothing(tmp_path: Path) -> None:
    text = 'lookup  A  NAME -> server\nclient  SYN\nserver  SYN,ACK\nclient  ACK\nclient  DATA  "POST"\n'
    grade = crafted_grade(
        tmp_path,
        rule("tcp.close") + sequence(text, more='depends_on = ["tcp-close"]'),
        [*lookup(), *Talk().open().exchange().frames],
    )
    assert (of(grade, "sequence").status, of(grade, "sequence").points) == ("fail", 0)


def test_no_depends_on_is_none(tmp_path: Path) -> None:
    refused = [*lookup(), *Talk().send("client", "S").send("server", "RA", seq=0).frames]
    grade = crafted_grade(tmp_path, rule("tcp.handshake") + rule("dns.answered", "depends_on = []"), refused)
    assert statuses(grade) == {"tcp-handshake": "fail", "dns-answered": "pass"}


def test_a_hidden_prerequisite_is_not_named_to_the_student(tmp_path: Path) -> None:
    rubric = rule("tcp.handshake", 'visibility = "hidden"', key="secret-check")
    rubric += rule("tcp.close", 'depends_on = ["secret-check"]') + rule(
        "tcp.numbers", 'depends_on = ["secret-check"]\nvisibility = "hidden"', key="other-secret"
    )
    one = exercise(tmp_path, rubric)
    for last in ("RA", "SA"):
        grade = marked(one, pcap([*lookup(), *Talk().send("client", "S").send("server", last, seq=0).frames]))
        assert "secret" not in student_page(grade, one)
        assert "another check" in of(grade, "tcp-close").result.found
        assert "secret-check" in of(grade, "other-secret").result.found


# --- files ---


def test_nothing_handed_in_is_a_fail(tmp_path: Path) -> None:
    grade = marked(exercise(tmp_path, rule("tcp.handshake")), None)
    assert (grade.status, grade.points, grade.pending, grade.flags) == ("fail", 0, 0, ())
    assert (of(grade, "capture").status, statuses(grade)) == ("fail", {"tcp-handshake": "skip"})


UNMARKABLE = {
    "is empty": b"",
    "it has no frame": fetch(ADA, 1)[:24],
    "is no capture: it begins with": b"<html>not found</html>",
    "at most 12 are marked": pcap([*crafted(), question()]),
}


@pytest.mark.parametrize("words", UNMARKABLE)
def test_a_capture_that_cannot_be_marked_is_to_be_handed_in_again(words: str, tmp_path: Path) -> None:
    one = exercise(tmp_path, rule("tcp.handshake"), "hand_in = { frames = 12 }")
    grade = marked(one, UNMARKABLE[words])
    assert (grade.status, grade.points, grade.pending) == ("inconclusive", 0, 4)
    assert words in of(grade, "capture").result.found
    assert words in grade.flags[0]
    assert "hand in again" in student_page(grade, one)
    assert marked(one, pcap(crafted())).points == 4


def test_a_file_with_a_problem_is_to_be_handed_in_again(tmp_path: Path) -> None:
    large = File("capture.pcap", size=1 << 30, problem="capture.pcap is too large\x1b", next_step="capture less")
    grade = mark(exercise(tmp_path, rule("tcp.handshake")), Submission("ada", large)).grade
    assert (grade.status, grade.pending) == ("inconclusive", 4)
    assert grade.flags == (r"to be handed in again: capture (capture.pcap is too large\x1b)",)


def test_a_grader_at_fault_takes_no_points_and_flags_itself(tmp_path: Path) -> None:
    grade = unmarked(exercise(tmp_path, rule("tcp.handshake")), "ada", "it took too long", "mark it again")
    assert (grade.status, grade.points, grade.pending) == ("inconclusive", 0, 4)
    assert grade.flags == ("the grader is at fault: it took too long",)


def test_a_capture_cut_before_the_close_leaves_the_close_open_and_fails_stay(tmp_path: Path) -> None:
    rubric = rule("tcp.close") + facts('"exchange.status" = 404') + rule("tcp.handshake")
    grade = crafted_grade(tmp_path, rubric, crafted()[:9])
    assert statuses(grade) == {"tcp-close": "inconclusive", "facts": "fail", "tcp-handshake": "pass"}
    assert (grade.status, grade.points, grade.pending) == ("fail", 4, 4)


# --- facts ---


@pytest.mark.parametrize(
    ("words", "status"),
    [
        ('"exchange.status" = 200', "pass"),
        ('"exchange.status" = 200.0', "pass"),
        ('"exchange.status" = [301, 200]', "pass"),
        ('"exchange.status" = [301, 302]', "fail"),
        ('"exchange.status" = { least = 200, most = 200 }', "pass"),
        ('"exchange.status" = { least = 201 }', "fail"),
        ('"exchange.status" = { most = 199 }', "fail"),
        ('"connection.close.complete" = true', "pass"),
        ('"connection.close.complete" = false', "fail"),
        ('"connection.close.variant" = ["four-segment", "three-segment"]', "pass"),
        ('"lookups[5].status" = "answered"', "inconclusive"),
        ('"exchanges[3].status" = 200', "inconclusive"),
        ('"exchange.status" = 200, "connection.close.first_closer" = "server"', "fail"),
        ('"lookups[5].status" = "answered", "exchange.status" = 404', "fail"),
        ('"exchange.status" = 200, "lookups[5].status" = "answered"', "inconclusive"),
        (f'"connection.server.address" = "{SERVER}", "connection.client.address" = "{CLIENT}"', "pass"),
    ],
)
def test_a_fact_is_as_wanted_or_not_or_not_shown(tmp_path: Path, words: str, status: str) -> None:
    grade = crafted_grade(tmp_path, facts(words), crafted())
    assert (grade.status, grade.points) == (status, 4 if status == "pass" else 0)
    if status == "inconclusive":
        assert "the capture doesn't show it" in grade.flags[0]


def test_a_rule_with_facts_needs_both(tmp_path: Path) -> None:
    both = rule("http.exchange", 'facts = { "exchange.status" = 302 }')
    assert crafted_grade(tmp_path, both, crafted()).status == "fail"
    grade = crafted_grade(tmp_path, both.replace("302", "200"), crafted())
    assert grade.status == "pass"
    assert "RFC 9112" in of(grade, "http-exchange").result.reference


# --- sequences and points ---


def sequenced(tmp_path: Path, content: bytes, points: object = 10, head: str = "", more: str = "") -> Scored:
    return of(marked(exercise(tmp_path, sequence(WHOLE, points, more), head), content), "sequence")


def test_the_expected_sequence_earns_all(tmp_path: Path) -> None:
    found = sequenced(tmp_path, fetch(ADA, 1))
    assert (found.status, found.points, found.result.found) == ("pass", 10, "exactly that, by its shape")


@pytest.mark.parametrize(
    ("change", "status", "points", "says"),
    [
        (("server  FIN,ACK", "server  ACK\nserver  FIN,ACK"), "fail", 9, "missing: `server ACK`"),
        (("server  FIN,ACK\n", ""), "fail", 9, "too many: `server FIN,ACK`"),
        (('"302"', '"200"'), "fail", 9, "different: `server DATA"),
        (('"302"\n', '"302"\nclient  DATA  "GET"\nserver  DATA  "200"\n'), "fail", 8, "10 lines match; missing:"),
        (("lookup  A ", "client  SYN ?\nlookup  A "), "pass", 10, "exactly"),
        (("client  ACK\n'''", ""), "pass", 10, "exactly"),
    ],
)
def test_what_matches_earns_its_part_and_never_all(
    tmp_path: Path, change: tuple[str, str], status: str, points: int, says: str
) -> None:
    one = exercise(tmp_path, sequence(WHOLE.replace(*change)))
    found = of(marked(one, fetch(ADA, 1)), "sequence")
    assert (found.status, found.points) == (status, points)
    assert says in found.result.found


def test_a_part_is_rounded_down_and_nothing_without_partial(tmp_path: Path) -> None:
    content = fetch(ADA, 1)
    wrong = WHOLE.replace('"302"', '"200"')
    for points, head, more, earned in (
        (1, "", "", 0),
        (3, "", "", 2),
        (1000, "", "", 900),
        (10, "", "partial = false", 0),
        (1, "fractions = true", "", 0.9),
        (0.25, "fractions = true", "", 0.22),
        (0, "", "", 0),
    ):
        found = of(marked(exercise(tmp_path, sequence(wrong, points, more), head), content), "sequence")
        assert (found.status, found.points) == ("fail", earned)


def test_lines_missing_at_an_end_may_have_been_missed_and_in_the_middle_not(tmp_path: Path) -> None:
    for part in (
        slice(0, FIRST_FIN),
        slice(FIRST_SEGMENT, None),
        slice(FIRST_SEGMENT, FIRST_FIN),
        slice(0, FRAMES - 1),
    ):
        found = sequenced(tmp_path, cut(ADA, part))
        assert (found.status, found.points, found.pending) == ("inconclusive", 0, 10)
        assert "missing" in found.result.found
    middle = sequenced(tmp_path, cut(ADA, slice(0, 2), slice(FIRST_SEGMENT, None)))
    assert (middle.status, middle.points) == ("fail", 9)
    assert "missing: `lookup AAAA NAME -> ADDRESS`" in middle.result.found


def test_what_is_too_many_is_a_mistake_whatever_lacks(tmp_path: Path) -> None:
    shorter = WHOLE.replace("lookup  AAAA  NAME -> ADDRESS\n", "")
    found = of(marked(exercise(tmp_path, sequence(shorter)), cut(ADA, slice(0, FIRST_FIN))), "sequence")
    assert found.status == "fail"
    assert found.points == 6  # of 10 lines, 3 missing and 1 too many


def test_an_empty_fetch_matches_nothing(tmp_path: Path) -> None:
    found = crafted_grade(tmp_path, sequence("client  SYN\n"), [question(name="other.example")], head="")
    assert (found.items[0].status, found.points) == ("fail", 0)


@pytest.mark.parametrize(
    ("points", "text"),
    [(0, "0"), (10, "10"), (0.5, "0.5"), (1.25, "1.25"), (1_000_000, "1000000"), (12345.67, "12345.67")],
)
def test_points_are_shown_as_they_are_computed(points: float, text: str) -> None:
    assert points_text(points) == text


def test_tenths_add_up_to_what_a_person_expects(tmp_path: Path) -> None:
    assert total([0.1] * 10) == 1
    rubric = "".join(rule("tcp.close", points=0.1, key=f"n{number}") for number in range(3))
    grade = crafted_grade(tmp_path, rubric, crafted(), head="fractions = true")
    assert (grade.points, grade.max_points) == (0.3, 0.3)


def test_a_summary_promises_no_more_than_was_looked_at(tmp_path: Path) -> None:
    rubric = rule("tcp.close") + rule("tcp.handshake", 'visibility = "hidden"')
    grade = crafted_grade(tmp_path, rubric, crafted())
    assert summary_line(grade) == "all visible checks passed (1 of 2); 1 more check (4 points) is not shown"
    assert summary_line(grade, for_teacher=True) == "all checks passed (2 of 2)"
    hidden = crafted_grade(tmp_path, rule("tcp.handshake", 'visibility = "hidden"'), crafted())
    assert summary_line(hidden) == "0 of 0 visible checks passed; 1 more check (4 points) is not shown"


# --- answers ---

ASKED = '[[question]]\nid = "port"\ntext = "Which?"\nfact = "connection.client.port"\npoints = 4\n'
ASKING = 'kind = "answers"'


def answered(tmp_path: Path, answers: str | None, content: bytes | None = None, more: str = "") -> Grade:
    one = exercise(tmp_path, rule("tcp.close") + ASKED + more, ASKING)
    return marked(one, pcap(crafted()) if content is None else content, answers)


def test_answers_are_marked_beside_the_capture(tmp_path: Path) -> None:
    grade = answered(tmp_path, "port = 40000\n")
    assert (grade.status, grade.points, grade.notes) == ("pass", 8, ())
    assert answered(tmp_path, "port = 40001\n").points == 4


@pytest.mark.parametrize(
    "answers", [None, "The port is 40000.\n", "port = 40000\nport = 40001\n", "port = " + "[" * 9999]
)
def test_answers_that_cannot_be_read_fail_and_leave_the_capture_its_points(tmp_path: Path, answers: str | None) -> None:
    grade = answered(tmp_path, answers)
    assert (grade.status, grade.points, grade.pending) == ("fail", 4, 0)
    assert statuses(grade) == {"tcp-close": "pass", "port": "skip"}
    assert of(grade, "answers").status == "fail"


def test_without_answers_a_capture_that_cannot_be_read_pends_only_its_own_checks(tmp_path: Path) -> None:
    grade = answered(tmp_path, None, b"nothing of the kind")
    assert statuses(grade) == {"tcp-close": "inconclusive", "port": "skip"}
    assert (grade.status, grade.pending) == ("fail", 4)


def test_an_answer_to_no_question_is_noted_with_the_nearest_that_is_seen(tmp_path: Path) -> None:
    hidden = ASKED.replace('"port"', '"ports-hidden"') + 'visibility = "hidden"\n'
    grade = answered(tmp_path, 'prot = 1\n"tcp-close" = 2\nports-hiden = 3\n"a\\u001bb" = 4\n', more=hidden)
    assert grade.notes == (
        "there is no question 'prot'; did you mean port?",
        "there is no question 'tcp-close'",
        "there is no question 'ports-hiden'; did you mean ports-hidden?",
        r"there is no question 'a\x1bb'",
    )


def test_few_of_many_strange_answers_are_noted(tmp_path: Path) -> None:
    grade = answered(tmp_path, "".join(f"n{number} = 1\n" for number in range(500)))
    assert len(grade.notes) == 10


def test_slips_earn_whole_points_rounded_down(tmp_path: Path) -> None:
    asked: Any = ASKED.replace("connection.client.port", "connection.bytes.client").replace("= 4", "= 3")
    asked += "slips = { off-by-one = 2, other-side = 1 }\n"
    for answer, points in (("41", 3), ("42", 2), ("0x2a", 2), ("40", 1), ("0x28", 1), ("43", 0), ("nan", 0)):
        one = exercise(tmp_path, asked, ASKING)
        grade = marked(one, pcap(crafted()), f"port = {answer}\n")
        assert (grade.points, math.isfinite(grade.points)) == (points, True)


def test_what_came_before_the_capture_is_to_be_handed_in_again(tmp_path: Path) -> None:
    rubric = rule("dns.answered") + rule("tcp.handshake") + rule("tcp.close")
    started_late = Talk().open().exchange().close().frames
    assert statuses(crafted_grade(tmp_path, rubric, started_late)) == {
        "dns-answered": "inconclusive",
        "tcp-handshake": "pass",
        "tcp-close": "pass",
    }
    grade = crafted_grade(tmp_path, rubric, lookup())
    assert statuses(grade) == {"dns-answered": "pass", "tcp-handshake": "inconclusive", "tcp-close": "inconclusive"}
    nowhere = [question(), craft.answer(rcode=3)]
    assert statuses(crafted_grade(tmp_path, rubric, nowhere))["tcp-handshake"] == "skip"
