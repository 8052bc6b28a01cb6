"""Whose capture it is, and when it was taken: a neighbour's earns nothing, and neither does a mix."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from grading.bench.fetch import fetch
from grading.exercise.individual import Individual
from grading.marking.grade import Grade
from tests.craft import fetch as crafted
from tests.craft import pcap
from tests.submitted import (
    ADA,
    BOB,
    FIRST_FIN,
    FIRST_SEGMENT,
    REQUEST,
    USES,
    cut,
    exercise,
    facts,
    frames,
    marked,
    of,
    own,
    rule,
    statuses,
)

OWN_RUBRIC = rule("dns.answered") + rule("tcp.handshake") + rule("tcp.close")


def owned(tmp_path: Path, content: bytes, uses: str = USES) -> Grade:
    return marked(exercise(tmp_path, OWN_RUBRIC, individual=uses), content)


def test_the_own_capture_is_the_students(tmp_path: Path) -> None:
    grade = owned(tmp_path, fetch(ADA, 1))
    assert (grade.status, grade.points, of(grade, "individual").status) == ("pass", 12, "pass")


NOT_OWN: dict[str, tuple[Individual, str]] = {
    "a neighbour's": (BOB, f"the name looked up: {BOB.host}"),
    "an earlier edition's": (own("ada", "2025"), "this is your capture of the edition 2025: "),
    "of another word": (replace(ADA, nonce="0" * 16), "the word in the request: /0000000000000000"),
    "of another port": (replace(ADA, port=50_000), "the client's port: 50000"),
    "of a neighbour's name": (replace(ADA, host=BOB.host), f"the name looked up: {BOB.host}"),
    "of a neighbour's word": (replace(ADA, nonce=BOB.nonce), f"the word in the request: /{BOB.nonce}"),
}


@pytest.mark.parametrize("name", NOT_OWN)
def test_a_capture_that_is_not_the_students_earns_nothing_and_says_what_shows_it(name: str, tmp_path: Path) -> None:
    individual, words = NOT_OWN[name]
    grade = owned(tmp_path, fetch(individual, 1))
    assert (grade.status, grade.points, grade.pending) == ("fail", 0, 0)
    assert words in of(grade, "individual").result.found
    assert set(statuses(grade).values()) == {"skip"}
    assert ADA.host in of(grade, "individual").result.hint


def test_other_addresses_are_let_pass_only_where_name_and_word_are_right(tmp_path: Path) -> None:
    other = fetch(replace(ADA, client=BOB.client), 1)
    assert owned(tmp_path, other).points == 12
    grade = owned(tmp_path, other, 'uses = ["host", "addresses"]\n')
    assert of(grade, "individual").status == "fail"
    assert BOB.client in of(grade, "individual").result.found


def test_a_capture_that_joined_midway_can_be_anybodys(tmp_path: Path) -> None:
    grade = owned(tmp_path, cut(ADA, slice(REQUEST + 1, None)))
    assert of(grade, "individual").status == "inconclusive"
    assert (grade.points, grade.pending) == (0, 12)
    neighbours = owned(tmp_path, cut(BOB, slice(REQUEST + 1, None)))
    assert of(neighbours, "individual").status == "fail"  # its port and addresses are seen


def test_of_two_fetches_of_the_name_the_one_with_the_word_is_marked(tmp_path: Path) -> None:
    first = frames(replace(ADA, nonce="0" * 16, port=30_001))
    grade = owned(tmp_path, b"".join(first[: FIRST_FIN + 1]) + b"".join(frames(ADA, 40)[1:]))
    assert (of(grade, "individual").status, grade.points) == ("pass", 12)


@pytest.mark.parametrize("others", [slice(0), slice(0, FIRST_SEGMENT)])
def test_a_fetch_by_address_is_known_by_its_word_whatever_other_names_are_looked_up(
    tmp_path: Path, others: slice
) -> None:
    by_address = replace(ADA, host=ADA.server)
    grade = owned(tmp_path, cut(BOB, others) + cut(by_address, slice(FIRST_SEGMENT, None))[24:])
    assert of(grade, "individual").status == "pass"
    assert statuses(grade) == {"dns-answered": "skip", "tcp-handshake": "pass", "tcp-close": "pass"}


def test_a_word_that_a_neighbour_fetched_with_makes_the_capture_nobodys_own(tmp_path: Path) -> None:
    grade = owned(tmp_path, fetch(replace(BOB, nonce=ADA.nonce), 1))
    assert (of(grade, "individual").status, grade.points) == ("fail", 0)


@pytest.mark.parametrize("neighbours", [slice(FIRST_SEGMENT, None), slice(None), slice(REQUEST + 1, None)])
def test_an_own_lookup_before_a_neighbours_connection_earns_the_lookup_alone(neighbours: slice, tmp_path: Path) -> None:
    mixed = cut(ADA, slice(0, FIRST_SEGMENT)) + cut(BOB, neighbours)[24:]
    grade = owned(tmp_path, mixed)
    assert grade.points <= 4
    assert {of(grade, "tcp-handshake").points, of(grade, "tcp-close").points} == {0}


def test_the_own_name_in_a_query_alone_earns_nothing(tmp_path: Path) -> None:
    grade = owned(tmp_path, cut(ADA, slice(0, 1)))
    assert (grade.points, of(grade, "dns-answered").status) == (0, "inconclusive")


def test_facts_of_a_connection_are_those_of_the_own_one(tmp_path: Path) -> None:
    one = exercise(tmp_path, facts('"connection.close.variant" = "three-segment"'), individual=USES)
    assert marked(one, fetch(ADA, 1)).points == 4
    mixed = cut(ADA, slice(0, FIRST_SEGMENT)) + cut(BOB, slice(None))[24:]
    assert (marked(one, mixed).points, marked(one, mixed).status) == (0, "inconclusive")


START = datetime.fromtimestamp(1_700_000_000, UTC)  # of what `pcap` writes


@pytest.mark.parametrize(
    ("opens", "closes", "status"),
    [(-1, 1, "pass"), (0, None, "pass"), (1, None, "fail"), (None, -1, "fail"), (None, 1, "pass")],
)
def test_a_capture_counts_if_it_was_taken_while_the_exercise_was_open(
    tmp_path: Path, opens: int | None, closes: int | None, status: str
) -> None:
    hours = {"opens": opens, "closes": closes}
    times = [f"{key} = {(START + timedelta(hours=one)).isoformat()}" for key, one in hours.items() if one is not None]
    one = exercise(tmp_path, rule("tcp.close"), f"hand_in = {{ {', '.join(times)} }}")
    grade = marked(one, pcap(crafted()))
    assert (of(grade, "time").status, grade.points) == (status, 4 if status == "pass" else 0)
    assert "UTC" in of(grade, "time").result.found


# --- answers ---

ASKED = '[[question]]\nid = "port"\ntext = "Which?"\nfact = "connection.client.port"\npoints = 4\n'
ASKING = 'kind = "answers"'


def test_an_answer_is_marked_by_the_own_fetch_alone(tmp_path: Path) -> None:
    one = exercise(tmp_path, ASKED, ASKING, USES)
    both = fetch(BOB, 1) + fetch(ADA, 30)[24:]
    assert marked(one, both, f"port = {ADA.port}\n").points == 4
    assert marked(one, both, f"port = {BOB.port}\n").points == 0
    mixed = cut(ADA, slice(0, FIRST_SEGMENT)) + cut(BOB, slice(None))[24:]
    grade = marked(one, mixed, f"port = {BOB.port}\n")
    assert (grade.status, grade.points) == ("inconclusive", 0)


def test_answers_to_a_capture_of_anybodys_wait(tmp_path: Path) -> None:
    one = exercise(tmp_path, ASKED, ASKING, 'uses = ["host", "nonce"]\n')
    midway = cut(BOB, slice(REQUEST + 1, None))
    right, wrong = (marked(one, midway, f"port = {port}\n") for port in (BOB.port, 7))
    assert (right.status, right.points, right.pending) == ("inconclusive", 0, 4)
    assert (wrong.status, wrong.points, wrong.pending) == ("fail", 0, 0)
