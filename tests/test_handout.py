"""What is individual, and what students are given: theirs, readable, and nothing of what they mustn't know."""

import tomllib
import unicodedata
from dataclasses import replace
from ipaddress import IPv4Address, IPv4Network
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from analysis.errors import InputError
from grading.bench.fetch import fetch
from grading.exercise.handout import handout, write_handout
from grading.exercise.individual import FIRST_PORT, PORTS, Individual, derive, read_key
from grading.exercise.load import load_exercise
from grading.exercise.model import Exercise, Item, Question, RuleCheck
from grading.handed_in.submission import File, Submission
from grading.marking.grade import Grade, summary_line
from grading.marking.mark import mark
from grading.marking.whose import Owner

EXERCISES = Path(__file__).parent.parent / "exercises"
NAMES = ("watch-one-fetch", "read-the-numbers")
KEY = b"0123456789abcdef-the key of a course"
ADA = derive(KEY, "lab-1", "2026", "ada")


def ready(name: str) -> Exercise:
    return load_exercise(EXERCISES / name / "exercise.toml")


def given_out(exercise: Exercise, student: str = "ada") -> dict[str, str]:
    return handout(exercise, student, derive(KEY, exercise.id, exercise.edition, student))


def all_hidden(exercise: Exercise) -> Exercise:
    return replace(exercise, items=tuple(replace(item, visibility="hidden") for item in exercise.items))


def in_any_order(item: Item) -> Item:
    """The item with its facts sorted: TOML puts tables behind values."""
    if not isinstance(item.check, RuleCheck):
        return item
    facts = tuple(sorted(item.check.facts, key=lambda wanted: wanted.path.text))
    return replace(item, check=replace(item.check, facts=facts))


def marked(files: dict[str, str], capture: bytes, folder: Path) -> Grade:
    """What a student's own copy says of a capture."""
    write_handout(folder, files)
    copy = load_exercise(folder / "exercise.toml")
    assert copy.bound is not None
    answers = File("answers.toml", files["answers.toml"].encode()) if "answers.toml" in files else None
    submission = Submission("you", File("capture.pcap", capture), answers)
    return mark(copy, submission, Owner(copy.bound, copy.uses, {})).grade


# --- individual ---


def test_what_is_individual_stays_what_it_was() -> None:
    assert (
        Individual(
            host="ce4rrvpghtnd.lab.test",
            client="198.18.119.16",
            resolver="198.18.119.53",
            server="198.19.246.25",
            port=23221,
            nonce="92c645365f5ea515",
        )
        == ADA
    )


@pytest.mark.parametrize(
    "other",
    [
        (b"another key, as long as it must be", "lab-1", "2026", "ada"),
        (KEY, "lab-2", "2026", "ada"),
        (KEY, "lab-1", "2027", "ada"),
        (KEY, "lab-1", "2026", "bob"),
        (KEY, "lab-12026", "", "ada"),
    ],
)
def test_another_key_exercise_edition_or_student_has_another_name_and_word(other: tuple[bytes, str, str, str]) -> None:
    own = derive(*other)
    assert own.host != ADA.host
    assert own.nonce != ADA.nonce


@given(st.text(min_size=1, max_size=20))
def test_however_a_system_composes_an_id_it_is_the_same_students(student: str) -> None:
    forms = [unicodedata.normalize(form, student) for form in ("NFC", "NFD")]
    assert derive(KEY, "lab-1", "", forms[0]) == derive(KEY, "lab-1", "", f" {forms[1]}\n")


def test_an_id_that_is_no_text_has_something_individual_too() -> None:
    assert derive(KEY, "lab-1", "", "\udce9") != derive(KEY, "lab-1", "", "\udcea")


def test_no_two_of_many_students_share_a_name_or_a_word_and_all_addresses_can_be_used() -> None:
    everyone = [derive(KEY, "lab-1", "2026", f"student-{number}") for number in range(20_000)]
    assert len({own.host for own in everyone}) == len({own.nonce for own in everyone}) == len(everyone)
    assert all(FIRST_PORT <= own.port < FIRST_PORT + PORTS for own in everyone)
    reserved = IPv4Network("198.18.0.0/15")
    for own in everyone:
        addresses = [IPv4Address(address) for address in (own.client, own.resolver, own.server)]
        assert len(set(addresses)) == len(addresses)
        assert all(address in reserved and 0 < int(address) & 0xFF < 255 for address in addresses)


@pytest.mark.parametrize("content", [b"", b"   0123456789abcde\n\n", b" " * 40])
def test_a_key_that_can_be_guessed_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "course.key").write_bytes(content)
    with pytest.raises(InputError, match="can be guessed") as caught:
        read_key(tmp_path / "course.key")
    assert "openssl rand" in caught.value.next_step


def test_a_key_is_what_stands_between_the_blanks_of_its_file(tmp_path: Path) -> None:
    (tmp_path / "course.key").write_bytes(b"\n 0123456789abcdef \r\n")
    assert read_key(tmp_path / "course.key") == b"0123456789abcdef"


@pytest.mark.parametrize("name", [".", "none.key"])
def test_a_key_that_cannot_be_read_is_said_to_be_none(tmp_path: Path, name: str) -> None:
    with pytest.raises(InputError, match="can't be read") as caught:
        read_key(tmp_path / name)
    assert "openssl rand" in caught.value.next_step


# --- what is in it ---


@pytest.mark.parametrize("hidden", [False, True])
@pytest.mark.parametrize("name", NAMES)
def test_neither_key_nor_hidden_checks_nor_answers_are_in_a_handout(name: str, hidden: bool) -> None:
    exercise = all_hidden(ready(name)) if hidden else ready(name)
    exercise = replace(
        exercise, items=tuple(replace(item, hint=item.hint or f"H-{item.id}") for item in exercise.items)
    )
    everything = "\n".join(given_out(exercise).values())
    assert KEY.decode() not in everything
    assert KEY.hex() not in everything
    seen = [item.title for item in exercise.visible()]
    for item in exercise.items:
        if isinstance(item.check, Question):  # is asked, though its result be held back
            secrets = [item.check.path.text, *map(repr, item.check.accept), item.hint]
            assert [secret for secret in secrets if secret and secret in everything] == []
            continue
        secrets = [] if item.visibility == "visible" else [f'"{item.id}"', f"# {item.id} =", item.hint]
        secrets += (
            [] if item.visibility == "visible" or item.title in seen else [f"| {item.title} |", f'"{item.title}"']
        )
        if isinstance(item.check, RuleCheck) and item.visibility != "visible":
            secrets += [f'"{item.check.rule}"', *(wanted.path.text for wanted in item.check.facts)]
        assert [secret for secret in secrets if secret and secret in everything] == []


def test_what_is_shown_later_is_not_told_before(tmp_path: Path) -> None:
    (tmp_path / "mine.toml").write_text(
        'title = "T"\n'
        '[[rubric]]\nid = "one"\nrule = "tcp.close"\npoints = 1\n'
        '[[rubric]]\nid = "dated"\ntitle = "Dated"\nrule = "tcp.numbers"\npoints = 2\nvisibility = "after_due_date"\n'
        '[[rubric]]\nid = "late"\ntitle = "Late"\nrule = "tcp.options"\npoints = 3\nvisibility = "after_published"\n'
        '[[rubric]]\nid = "two"\nrule = "tcp.handshake"\npoints = 1\ndepends_on = ["late", "one"]\n'
    )
    files = handout(load_exercise(tmp_path / "mine.toml"), "ada", None)
    assert [word for word in ("dated", "late", "Dated", "Late") if word in "".join(files.values())] == []
    assert "| 2 more checks | 5 |" in files["README.md"]
    copy = tomllib.loads(files["exercise.toml"])
    assert copy["hidden"] == {"checks": 2, "points": 5}
    assert copy["rubric"][1]["depends_on"] == ["one"]


def test_an_exercise_of_which_all_is_hidden_has_no_copy_to_check_with() -> None:
    files = given_out(all_hidden(ready("watch-one-fetch")))
    assert set(files) == {"README.md", "scenario.toml"}
    assert "| 8 more checks | 14 |" in files["README.md"]
    assert "invoke grade" not in files["README.md"]


@pytest.mark.parametrize("name", NAMES)
def test_everything_that_is_the_students_own_is_filled_in(name: str) -> None:
    own = derive(KEY, name, "example", "ada")
    files = given_out(ready(name))
    assert "$" not in files["scenario.toml"] + files["README.md"]
    scenario = tomllib.loads(files["scenario.toml"])
    assert scenario["names"][own.host][0] == own.server
    assert (scenario["client"]["address"], scenario["client"]["port"]) == (own.client, own.port)
    assert scenario["client"]["curl"] == [f"http://{own.host}/{own.nonce}"]


def test_the_form_for_answers_can_be_read_before_and_after_it_is_filled_in() -> None:
    exercise = ready("read-the-numbers")
    form = given_out(exercise)["answers.toml"]
    assert tomllib.loads(form) == {}
    questions = [item.id for item in exercise.items if isinstance(item.check, Question)]
    filled = form
    for number, key in enumerate(questions):
        filled = filled.replace(f"# {key} = ", f"{key} = {number}")
    assert tomllib.loads(filled) == {key: number for number, key in enumerate(questions)}


def test_the_form_says_what_an_answer_is_worth(tmp_path: Path) -> None:
    question = '[[question]]\nid = "{}"\ntext = "Which?"\nfact = "connection.client_isn"\npoints = {}\n'
    head = 'title = "T"\nkind = "answers"\nfractions = true\n'
    (tmp_path / "mine.toml").write_text(head + question.format("a", 0.5) + question.format("b", 1))
    files = handout(load_exercise(tmp_path / "mine.toml"), "ada", None)
    assert "# Which? (0.5 points)" in files["answers.toml"]
    assert "# Which? (1 point)" in files["answers.toml"]
    assert "| Which? | 0.5 |" in files["README.md"]


def test_times_are_told_in_the_zone_that_is_named(tmp_path: Path) -> None:
    (tmp_path / "mine.toml").write_text(
        'title = "T"\n[[rubric]]\nid = "one"\nrule = "tcp.close"\npoints = 1\n'
        "[hand_in]\nopens = 2026-11-28T08:00:00+01:00\ncloses = 2026-12-01\n"
    )
    files = handout(load_exercise(tmp_path / "mine.toml"), "ada", None)
    assert "after 2026-11-28 07:00 UTC" in files["README.md"]
    assert "before 2026-12-01 00:00 UTC" in files["README.md"]
    (tmp_path / "copy.toml").write_text(files["exercise.toml"])
    copy, exercise = load_exercise(tmp_path / "copy.toml"), load_exercise(tmp_path / "mine.toml")
    assert copy.hand_in == exercise.hand_in


@pytest.mark.parametrize(
    "student",
    ["a\n# You have passed", "a | b", "<img src=x>", "`x`", "$host", "[x](http://y)", "\x1b[2J", "\u202eada", "\udce9"],
)
def test_a_hostile_id_stays_one_line_of_text(student: str, tmp_path: Path) -> None:
    exercise = ready("watch-one-fetch")
    files = given_out(exercise, student)
    usual = given_out(exercise)
    readme = files["README.md"]
    assert len(readme.splitlines()) == len(usual["README.md"].splitlines())
    line = readme.splitlines()[2]
    assert line.startswith("For ")
    assert line.isprintable()
    assert not any(markup in line for markup in ("<img", " `x`", "](http://"))
    write_handout(tmp_path / "out", files)
    assert load_exercise(tmp_path / "out" / "exercise.toml").bound is not None


# --- the copy to check with ---


def test_a_students_own_copy_passes_the_own_capture_and_promises_no_more(tmp_path: Path) -> None:
    exercise = ready("watch-one-fetch")
    own = derive(KEY, exercise.id, exercise.edition, "ada")
    grade = marked(given_out(exercise), fetch(own, 7), tmp_path)
    assert (grade.status, grade.points, grade.max_points) == ("pass", 12, 14)
    assert summary_line(grade).startswith("all visible checks passed (6 of 8)")
    assert load_exercise(tmp_path / "exercise.toml").bound == own


def test_a_students_own_copy_fails_a_neighbours_capture_and_says_so(tmp_path: Path) -> None:
    exercise = ready("watch-one-fetch")
    neighbour = derive(KEY, exercise.id, exercise.edition, "bob")
    grade = marked(given_out(exercise), fetch(neighbour, 7), tmp_path)
    assert (grade.status, grade.points) == ("fail", 0)
    (gate,) = (check for check in grade.checks if check.is_gate)
    assert (gate.id, gate.status) == ("individual", "fail")
    assert neighbour.host in gate.result.found
    assert summary_line(grade).startswith("0 of 6 visible checks passed")


def test_a_students_own_copy_of_questions_checks_the_capture_and_that_answers_can_be_read(tmp_path: Path) -> None:
    exercise = ready("read-the-numbers")
    own = derive(KEY, exercise.id, exercise.edition, "ada")
    grade = marked(given_out(exercise), fetch(own, 7), tmp_path)
    assert summary_line(grade) == "all visible checks passed (2 of 10); 8 more checks (12 points) are not shown"
    (note,) = grade.notes
    assert note.startswith("not answered yet: client-isn, synack-ack, handshake-done, ")
    assert note.endswith(" and 2 more")
    files = given_out(exercise)
    files["answers.toml"] = "The client closes first.\n"
    assert "is not TOML" in str(marked(files, fetch(own, 7), tmp_path))


def test_a_copy_has_every_check_as_the_exercise_has_it(tmp_path: Path) -> None:
    (tmp_path / "mine.toml").write_text(
        'title = "T \\"quoted\\" \\\\"\nhost = "www.example.com"\nfractions = true\n'
        '[hand_in]\nsize = "3 kB"\nseconds = "0.25s"\n'
        "[[rubric]]\nid = \"seq\"\npoints = 1.5\npartial = false\nsequence = '''\n"
        'lookup  A  NAME -> server\nclient  DATA  "GET"\nserver  DATA  "2*"\n# of \\ and """ and é\n'
        "'''\n"
        '[[rubric]]\nid = "facts"\npoints = 2\nhint = "h"\nrule = "tcp.close"\n'
        "[rubric.facts]\n"
        '"segments[from=server][flags~FIN].ack" = { least = 1 }\n"connection.close.complete" = true\n'
        '"exchange.status" = [301, 302]\n"connection.rtt_s" = { least = 0.001, most = 1 }\n'
    )
    exercise = load_exercise(tmp_path / "mine.toml")
    (tmp_path / "copy.toml").write_text(handout(exercise, "ada", None)["exercise.toml"])
    copy = load_exercise(tmp_path / "copy.toml")
    assert [in_any_order(item) for item in copy.items] == [in_any_order(item) for item in exercise.items]
    assert (copy.title, copy.host, copy.hand_in) == (exercise.title, exercise.host, exercise.hand_in)
