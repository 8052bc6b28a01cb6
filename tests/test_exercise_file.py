"""Exercise files: what is read, and what is refused with file, line, key and what is allowed."""

import re
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import tomli_w
from hypothesis import HealthCheck, given, settings

from grading.errors import ExerciseError
from grading.exercise.load import load_exercise
from grading.exercise.model import Exercise, Question, RuleCheck, SequenceCheck
from grading.exercise.published import published
from tests.exercise_tables import FILES

TITLE = 'title = "T"\n'
RUBRIC = '[[rubric]]\nid = "one"\nrule = "tcp.handshake"\npoints = 1\n'
SECOND = '[[rubric]]\nid = "two"\nrule = "tcp.close"\npoints = 1\n'
MINIMAL = TITLE + RUBRIC
ASKING = TITLE + 'kind = "answers"\n'
QUESTION = '[[question]]\nid = "q"\ntext = "Which?"\npoints = 2\n'
ISN = 'fact = "connection.client_isn"\n'
SCENARIO = """scenario = '''
[names]
"$host" = "$server"
[client]
curl = ["http://$host/$nonce"]
'''
"""
OWN = '[individual]\nuses = ["host"]\n'


def load(tmp_path: Path, content: str | bytes) -> Exercise:
    path = tmp_path / "mine.toml"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return load_exercise(path)


def facts(text: str) -> str:
    return TITLE + f'[[rubric]]\nid = "one"\npoints = 1\nfacts = {{ {text} }}\n'


def asked(text: str) -> str:
    return ASKING + QUESTION + text


def test_every_key_is_read(tmp_path: Path) -> None:
    exercise = load(
        tmp_path,
        """
        id = "a-1"
        edition = "2026"
        title = "T"
        kind = "answers"
        text = "fetch $host with $nonce for $$5"
        reveal = true
        fractions = true
        [hand_in]
        capture = "mine.pcapng"
        answers = "mine.toml"
        size = "2 MB"
        frames = 7
        seconds = "1.5s"
        opens = 2026-11-28
        closes = 2026-11-28T10:00:00+02:00
        [individual]
        uses = ["nonce", "port"]
        earlier = ["2025", ""]
        [[rubric]]
        id = "rule"
        rule = "tcp.close"
        facts = { "exchange.status" = [301, 302], "connection.rtt_s" = { least = 0, most = 1.5 } }
        points = 1.25
        visibility = "after_published"
        [[rubric]]
        id = "sequence"
        points = 3
        partial = false
        sequence = "client SYN"
        depends_on = ["rule"]
        hint = "H"
        [[question]]
        id = "isn"
        title = "Q"
        text = "Which?"
        fact = "connection.client_isn"
        points = 2
        form = "either"
        tolerance = 1
        accept = ["a", "b"]
        partial = false
        slips = { off-by-one = 0.5 }
        visibility = "hidden"
        """,
    )
    limits = exercise.hand_in
    assert (exercise.id, exercise.edition, exercise.kind, exercise.files) == (
        "a-1",
        "2026",
        "answers",
        ("mine.pcapng", "mine.toml"),
    )
    assert (limits.size, limits.frames, limits.seconds) == (2_000_000, 7, 1.5)
    assert (limits.opens, limits.closes) == (datetime(2026, 11, 28, tzinfo=UTC), datetime(2026, 11, 28, 8, tzinfo=UTC))
    assert (exercise.uses, exercise.earlier) == (("nonce", "port"), ("2025", ""))
    rule, sequence, question = exercise.items
    assert isinstance(rule.check, RuleCheck)
    assert [wanted.values for wanted in rule.check.facts] == [(301, 302), ()]
    assert (rule.title, rule.points) == ("Both sides closed, both FINs acknowledged", 1.25)
    assert isinstance(sequence.check, SequenceCheck)
    assert (sequence.check.partial, sequence.depends_on, sequence.hint) == (False, ("rule",), "H")
    assert isinstance(question.check, Question)
    assert question.check.slips == (("off-by-one", 0.5),)
    assert (question.check.accept, question.check.tolerance, question.check.either_form) == (("a", "b"), 1.0, True)
    assert [item.id for item in exercise.visible()] == ["sequence"]
    assert [item.id for item in published(exercise).visible()] == ["rule", "sequence"]
    assert exercise.is_asking is False


def test_what_is_left_out_has_a_default(tmp_path: Path) -> None:
    exercise = load(tmp_path, b"\xef\xbb\xbf" + MINIMAL.encode())
    assert (exercise.id, exercise.kind, exercise.files, exercise.uses) == ("mine", "capture", ("capture.pcap",), ())
    assert (exercise.hand_in.size, exercise.hand_in.frames, exercise.hand_in.seconds) == (1 << 20, 10_000, 10.0)


@pytest.mark.parametrize(
    ("name", "wanted"),
    [("Lab 3.toml", "lab-3"), ("Übung!.toml", "bung"), ("---.toml", "exercise"), ("week-1/exercise.toml", "week-1")],
)
def test_the_id_is_that_of_the_file_or_of_its_folder(tmp_path: Path, name: str, wanted: str) -> None:
    path = tmp_path / name
    path.parent.mkdir(exist_ok=True)
    path.write_text(MINIMAL)
    assert load_exercise(path).id == wanted


REFUSED: dict[str, tuple[str | bytes, str, str]] = {  # content; file, line, key and what is wrong; what is allowed
    "nothing": ("", "mine.toml: title: is missing", "one line"),
    "an unknown key": (
        "titel = 1\n" + MINIMAL,
        "mine.toml:1: titel: there is no such key; did you mean 'title'",
        "kind",
    ),
    "an unknown key of a check": (MINIMAL + "point = 1\n", r":6: rubric\[1\].point: .*did you mean 'points'", "hint"),
    "an unknown key of the limits": (MINIMAL + "[hand_in]\nframe = 1\n", "hand_in.frame: .*'frames'", "seconds"),
    "an unknown key of what is individual": (MINIMAL + "[individual]\nuse = 1\n", "individual.use: .*'uses'", "uses"),
    "a title as a number": ("title = 1\n" + RUBRIC, "mine.toml:1: title: 1 won't do", "one line"),
    "a title of two lines": ('title = "a\\nb"\n' + RUBRIC, ":1: title: ", "one line"),
    "a kind with a typo": (MINIMAL.replace("[[", 'kind = "captures"\n[[', 1), ":2: kind: 'captures'", "capture"),
    "an id with a blank": ('id = "a b"\n' + MINIMAL, ":1: id: 'a b' won't do", "a-z"),
    "an id of capitals": (MINIMAL.replace('"one"', '"One"'), r":3: rubric\[1\].id: 'One'", "a-z"),
    "an id of a check before the rubric": (MINIMAL.replace('"one"', '"capture"'), ":3: .*comes before", "of its own"),
    "an id twice": (MINIMAL + RUBRIC, r":7: rubric\[2\].id: 'one' is another check's", "of its own"),
    "an id twice, as a question": (
        ASKING + RUBRIC + QUESTION.replace('"q"', '"one"') + ISN,
        r"question\[1\].id",
        "own",
    ),
    "no id": (TITLE + '[[rubric]]\nrule = "tcp.close"\npoints = 1\n', r":2: rubric\[1\].id: is missing", "short name"),
    "no points": (
        TITLE + '[[rubric]]\nid = "a"\nrule = "tcp.close"\n',
        r":2: rubric\[1\].points: is missing",
        "number",
    ),
    "negative points": (MINIMAL.replace("= 1", "= -1"), ":5: .*points: -1 won't do", "from 0 to 1000"),
    "too many points": (MINIMAL.replace("= 1", "= 1001"), "points: 1001", "from 0 to 1000"),
    "points that are true": (MINIMAL.replace("= 1", "= true"), "points: True", "from 0"),
    "half a point": (MINIMAL.replace("= 1", "= 0.5"), "points: 0.5", "unless fractions = true"),
    "a third of a point": ("fractions = true\n" + MINIMAL.replace("= 1", "= 0.333"), "points: 0.333", "from 0"),
    "points that are no number": ("fractions = true\n" + MINIMAL.replace("= 1", "= nan"), "points: nan", "from 0"),
    "points without end": ("fractions = true\n" + MINIMAL.replace("= 1", "= inf"), "points: inf", "from 0"),
    "points too long to be shown": (MINIMAL.replace("= 1", f"= 0x{'f' * 5000}"), "points: a number too long", "from 0"),
    "a rubric that is a table": (TITLE + "rubric = { id = 1 }\n", ":2: rubric: ", "a list of tables"),
    "a check that is a number": (TITLE + "rubric = [1]\n", r":2: rubric\[1\]: 1 won't do", "a table"),
    "no check at all": (TITLE, "rubric: there are 0 checks", "1 to 500"),
    "too many checks": (
        TITLE + "".join(RUBRIC.replace("one", f"n{number}") for number in range(501)),
        "there are 501 checks",
        "1 to 500",
    ),
    "a rule with a typo": (MINIMAL.replace("tcp.handshake", "tcp.handshakes"), ":4: .*rule: ", "tcp.handshake"),
    "a rule of the lab alone": (MINIMAL.replace("tcp.handshake", "tcp.kernel"), ":4: .*rule: ", "tcp.close"),
    "a check of nothing": (TITLE + '[[rubric]]\nid = "a"\npoints = 1\n', "rule: is missing", "facts or a sequence"),
    "a rule beside a sequence": (MINIMAL + 'sequence = "client SYN"\n', "rule: stands beside", "two checks"),
    "a sequence that can't be read": (
        TITLE + '[[rubric]]\nid = "a"\npoints = 1\nsequence = "client SIN"\n',
        r":5: rubric\[1\].sequence: line 1.*SIN",
        "SYN",
    ),
    "a sequence of two forms": (
        TITLE + '[[rubric]]\nid = "a"\npoints = 1\nsequence = "client SYN\\nserver ACK 1:1(0) ack 1"\n',
        "sequence: line 2.*mixes",
        "NAME",
    ),
    "a sequence of no line": (
        TITLE + '[[rubric]]\nid = "a"\npoints = 1\nsequence = "# later"\n',
        "sequence: ",
        "one line at least",
    ),
    "a check that depends on a later one": (
        MINIMAL + 'depends_on = ["two"]\n' + SECOND,
        r":6: rubric\[1\].depends_on: \['two'\]",
        "checks before it",
    ),
    "a check that depends on itself": (MINIMAL + 'depends_on = ["one"]\n', "depends_on", "checks before it"),
    "a check that depends on none": (
        MINIMAL + SECOND + 'depends_on = ["onw"]\n',
        ":10: .*onw",
        "checks before it: one",
    ),
    "a check that depends on a list": (MINIMAL + SECOND + "depends_on = [[1], {}]\n", ":10: .*depends_on", "one"),
    "a check that depends on a text": (MINIMAL + SECOND + 'depends_on = "one"\n', "depends_on: 'one'", "a list"),
    "a visibility with a typo": (MINIMAL + 'visibility = "hiden"\n', ":6: .*visibility: 'hiden'", "hidden"),
    "a question in an exercise of captures": (
        MINIMAL + QUESTION + ISN,
        "question: is in an exercise",
        'kind = "answers"',
    ),
    "answers without a question": (ASKING + RUBRIC, "question: is missing", 'kind = "capture"'),
    "a question without a text": (
        ASKING + '[[question]]\nid = "q"\npoints = 1\n' + ISN,
        "text: is missing",
        "one line",
    ),
    "a question without a fact": (asked(""), r"question\[1\].fact: is missing", "a path"),
    "a fact that is no text": (asked("fact = 1\n"), "fact: 1 won't do", "connection.close.variant"),
    "a fact that is no path": (asked('fact = "connection client"\n'), ":7: .*fact: .* is no path", "such as"),
    "a fact of two lines": (asked('fact = "segments[from=a\\nb].seq"\n'), "fact: .* is no path", "such as"),
    "a fact that leads nowhere": (
        asked('fact = "connection.clos.variant"\n'),
        ":7: .*there is no 'clos'; did you mean 'close'",
        "handshake",
    ),
    "a fact behind a single value": (asked('fact = "connection.client_isn.raw"\n'), "no 'raw'", "a single value"),
    "an entry of no list": (asked('fact = "connection[0].client_isn"\n'), r"\[0\] is of no list", "leave it out"),
    "a selector of an unknown key": (asked('fact = "segments[form=server].seq"\n'), "there is no 'form'", "from"),
    "a selector that selects nothing": (
        asked('fact = "segments[from=sever].seq"\n'),
        "from is never 'sever'; did you mean 'server'",
        "client, server",
    ),
    "a fact that is a table": (asked('fact = "connection.close"\n'), "fact: .*no single fact", r"\[0\]"),
    "a fact that is a list of tables": (asked('fact = "segments[from=client]"\n'), "no single fact", r"\[-1\]"),
    "a form with a typo": (asked(ISN + 'form = "any"\n'), "form: 'any'", "either"),
    "two forms of what has one": (
        asked('fact = "connection.close.variant"\nform = "either"\n'),
        "form: .*no sequence number",
        "leave form out",
    ),
    "a tolerance of a text": (
        asked('fact = "connection.close.variant"\ntolerance = 1\n'),
        "tolerance: .*no number",
        "leave tolerance out",
    ),
    "a negative tolerance": (asked(ISN + "tolerance = -1\n"), "tolerance: -1", "a number"),
    "a tolerance without end": (asked(ISN + "tolerance = inf\n"), "tolerance: inf", "a number"),
    "a tolerance too large for a float": (asked(ISN + f"tolerance = 1{'0' * 400}\n"), "tolerance: 1", "a number"),
    "a slip with a typo": (asked(ISN + "slips = { of-by-one = 1 }\n"), "slips.of-by-one: 1", "off-by-one"),
    "a slip worth more than the answer": (asked(ISN + "slips = { off-by-one = 3 }\n"), "off-by-one: 3", "from 0 to 2"),
    "a slip worth half a point": (asked(ISN + "slips = { off-by-one = 0.5 }\n"), "off-by-one: 0.5", "fractions = true"),
    "an accepted number": (asked(ISN + "accept = [3]\n"), r"accept: \[3\]", "a list of texts"),
    "a value with a typo": (
        facts('"connection.close.variant" = "three-segments"'),
        'rubric.1..facts."connection.close.variant": .three-segments. won.t do',
        "did you mean 'three-segment'",
    ),
    "a number as a text": (facts('"exchange.status" = "302"'), "'302' won't do", "a whole number, as the fact is"),
    "a truth for a number": (facts('"exchange.status" = true'), "True won't do", "a whole number"),
    "a number for a truth": (facts('"connection.close.complete" = 1'), "1 won't do", "true, false"),
    "a part of a whole number": (facts('"exchange.status" = 302.5'), "302.5 won't do", "a whole number"),
    "a value that is none": (facts('"connection.rtt_s" = nan'), "nan won't do", "a number"),
    "a value for a list": (facts('"connection.handshake.frames" = [1, 2, 3]'), "1 won't do", "a list"),
    "limits of a text": (facts('"connection.close.variant" = { least = 1 }'), "has limits, and is a text", "values"),
    "limits that exclude each other": (
        facts('"exchange.status" = { least = 3, most = 2 }'),
        "least: is more than most",
        "less",
    ),
    "limits of nothing": (facts('"exchange.status" = {}'), "exchange.status.: {} won't do", "least"),
    "a limit too large for a float": (facts(f'"exchange.status" = {{ least = 1{"0" * 400} }}'), "least: 1", "a number"),
    "an unknown limit": (facts('"exchange.status" = { lest = 3 }'), "lest: .*did you mean 'least'", "most"),
    "no value": (facts('"exchange.status" = []'), r"\[\] won't do", "a list of values"),
    "values that are lists": (facts('"exchange.status" = [[302]]'), r"\[\[302\]\] won't do", "a list of values"),
    "a placeholder that is unknown": (
        'text = "fetch $name"\n' + MINIMAL + OWN,
        "mine.toml:1: text: .*'name'",
        r"\$host, .*\$\$ is a dollar",
    ),
    "a bare dollar sign": ('text = "for 5 $ each"\n' + MINIMAL + OWN, ":1: text: .*placeholder", r"\$\$ is a dollar"),
    "a placeholder of the scenario that is unknown": (
        SCENARIO.replace("$nonce", "$word") + MINIMAL + OWN,
        "scenario: .*'word'",
        r"\$nonce",
    ),
    "a scenario that can't be played": (
        SCENARIO.replace("curl", "crul") + MINIMAL + OWN,
        "scenario: can't be played: scenario.toml:3: client.curl: is missing",
        "command line|arguments",
    ),
    "a scenario that is no TOML": ('scenario = "["\n' + MINIMAL, "scenario: can't be played: .*not TOML", "toml.io"),
    "individual by addresses alone": (
        MINIMAL + '[individual]\nuses = ["addresses", "port"]\n',
        "individual: has nothing by which",
        '"host" or "nonce"',
    ),
    "something individual with a typo": (MINIMAL + '[individual]\nuses = ["hots"]\n', r"uses: \['hots'\]", "nonce"),
    "something individual twice": (MINIMAL + '[individual]\nuses = ["host", "host"]\n', "uses", "a list of host"),
    "something individual that is a table": (MINIMAL + "[individual]\nuses = [{}]\n", r"uses: \[\{\}\]", "a list"),
    "an edition that is its own earlier one": (
        'edition = "2026"\n' + MINIMAL + '[individual]\nuses = ["host"]\nearlier = ["2026"]\n',
        ":1: edition: '2026' is among",
        "a new edition",
    ),
    "a part of a student's copy": (MINIMAL + '[individual]\nhost = "a"\n', "individual.client: is missing", "class"),
    "a closing before the opening": (
        MINIMAL + "[hand_in]\nopens = 2026-01-02\ncloses = 2026-01-01\n",
        ":8: hand_in.closes: is not after",
        "later",
    ),
    "a closing at the opening, written otherwise": (
        MINIMAL + "[hand_in]\nopens = 2026-01-02T01:00:00+01:00\ncloses = 2026-01-02\n",
        ":8: hand_in.closes: is not after",
        "later",
    ),
    "an opening as a text": (MINIMAL + '[hand_in]\nopens = "2026-01-02"\n', "hand_in.opens: '2026", "UTC"),
    "an opening before all calendars": (
        MINIMAL + "[hand_in]\nopens = 0001-01-01T00:00:00+01:00\n",
        "hand_in.opens: ",
        "a date or a time",
    ),
    "a size without a unit": (MINIMAL + "[hand_in]\nsize = 100\n", "hand_in.size: 100", "500 kB"),
    "a size too large": (MINIMAL + '[hand_in]\nsize = "101 MB"\n', "hand_in.size: '101 MB'", "at most 100 MB"),
    "a size of nothing": (MINIMAL + '[hand_in]\nsize = "0 B"\n', "hand_in.size: '0 B'", "at most 100 MB"),
    "no frame": (MINIMAL + "[hand_in]\nframes = 0\n", "hand_in.frames: 0", "from 1 to 1000000"),
    "too many frames": (MINIMAL + "[hand_in]\nframes = 1000001\n", "hand_in.frames: 1000001", "from 1 to 1000000"),
    "too long a time": (MINIMAL + '[hand_in]\nseconds = "601s"\n', "hand_in.seconds: '601s'", 'from "0.1s"'),
    "no time": (MINIMAL + '[hand_in]\nseconds = "0s"\n', "hand_in.seconds: '0s'", 'from "0.1s"'),
    "a file elsewhere": (MINIMAL + '[hand_in]\ncapture = "../x.pcap"\n', "hand_in.capture: '../x.pcap'", "a file"),
    "a host that is none": ('host = "a b"\n' + MINIMAL, ":1: host: 'a b'", "a host name"),
    "no TOML": ("title = \n", "mine.toml: is not TOML: .*line 1", "mend that line"),
    "no UTF-8": (b'title = "\xff"\n', r"mine.toml: is not UTF-8 text \(byte 9\)", "UTF-8"),
    "tables too deep": ("a = " + "[" * 5_000, "mine.toml: is not TOML", "exercise-file.md"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_wrong_is_said_with_file_line_key_and_what_is_allowed(name: str, tmp_path: Path) -> None:
    content, what, allowed = REFUSED[name]
    with pytest.raises(ExerciseError) as caught:
        load(tmp_path, content)
    assert re.search(what, str(caught.value)), str(caught.value)
    assert re.search(allowed, caught.value.next_step), caught.value.next_step
    assert str(caught.value).startswith(str(tmp_path))


@pytest.mark.parametrize(("name", "what"), [(".", "no regular file"), ("none.toml", "there is no such exercise file")])
def test_a_file_that_is_none_is_said_to_be_none(tmp_path: Path, name: str, what: str) -> None:
    with pytest.raises(ExerciseError, match=what):
        load_exercise(tmp_path / name)


def test_without_anything_individual_a_dollar_sign_is_one(tmp_path: Path) -> None:
    assert load(tmp_path, 'text = "for 5 $ each"\n' + MINIMAL).text == "for 5 $ each"


def test_a_fact_that_only_captures_have_is_let_pass(tmp_path: Path) -> None:
    exercise = load(tmp_path, facts('"capture.other_frames.arp" = 2'))
    assert isinstance(exercise.items[0].check, RuleCheck)
    assert exercise.items[0].check.facts[0].path.text == "capture.other_frames.arp"


@settings(max_examples=250, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(FILES)
def test_any_table_is_an_exercise_or_is_refused_as_one(tmp_path: Path, table: dict[str, Any]) -> None:
    content = tomli_w.dumps(table)
    try:
        loaded: Exercise | ExerciseError = load(tmp_path, content)
    except ExerciseError as error:
        loaded = error
    assert isinstance(loaded, Exercise) or loaded.next_step
