"""Whatever text there is, each output shows just that: properties of every way in, and of whole outputs."""

import csv
import io
import json
import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import jsonschema
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from analysis.text import printable
from analysis.views.style import Style, columns
from grading.exercise.load import load_exercise
from grading.exercise.model import Exercise
from grading.files import safe_name
from grading.handed_in.submission import File, Submission
from grading.marking.grade import FileRead, Grade, Result, Scored
from grading.marking.ladder import Row
from grading.marking.mark import mark
from grading.outputs.class_csv import class_csv
from grading.outputs.class_page import class_page
from grading.outputs.escape import (
    command_message,
    command_property,
    csv_cell,
    markdown,
    markdown_block,
    markdown_code,
    mermaid,
    xml,
)
from grading.outputs.github import LARGEST_SUMMARY, annotations, hedged, job_summary
from grading.outputs.grades_json import grade_of, grade_values, grades_json
from grading.outputs.gradescope import gradescope
from grading.outputs.junit import junit
from grading.outputs.student_page import ladder_lines, student_page
from grading.outputs.terminal import class_text, student_text
from tests.conftest import HERE
from tests.craft import fetch, pcap
from tests.grading_markdown import check_diagram, check_page, parser, plain
from tests.grading_validity import check_cells, check_csv, check_github, check_terminal, validator
from tests.handing_in import exercise_file
from tests.hostile import CORPUS
from tests.hostile_class import NAMES, student_id

PIECES = [
    *("`", "``", "\\", "*", "_", "[x](y)", "<b>", "&lt;", "&", "|", "~~", "#", "@", "@all", "a@b.com", "://", "//x.y"),
    *("http://x.y", "www.x.y", "WWW.x.y", "mailto:a", "!", "{{", "$$", "\n", "\r\n", "\t", "    ", " ", "1. ", "12) "),
    *("- ", "+ ", "> ", "= ", "=1+1", "-1", ";=1", ',"=1', "％", "＝1", "﹢1", "\u202e", "\x1b[31m", "\x9b", "\0"),
    *("\ud800", "::error::x", "##[error]", "%0A", "%%", ";", ":", ",", "#35;", "end", "<!-- ", "]]>", "\ufffe"),
    *("a", "é", "e\u0301"),
]
TEXT = st.one_of(
    st.lists(st.sampled_from(PIECES), max_size=8).map("".join),
    st.text(st.characters(), max_size=30),
)
STUDENTS = sorted({student_id(name) for name in NAMES} | {text.decode("utf-8", "surrogateescape") for text in CORPUS})


def squeezed(text: str) -> str:
    """A text as a browser shows it: without blanks at its ends."""
    return text.strip(" ")


# --- one text ---


@given(TEXT)
@example("``@`")
@example("12. x")
@example("     x")
@example("a@b.com")
def test_a_text_in_markdown_is_shown_as_it_is_wherever_a_page_has_one(text: str) -> None:
    shown = squeezed(printable(text))
    page = f"# {markdown(text)}x\n\n- {markdown(text)}x\n- y: {markdown(text)}\n\n**1 of 2 points {markdown(text)}x**\n"
    tokens = parser().parse(page)
    inline = [squeezed(plain(token)) for token in tokens if token.type == "inline"]
    # a text that is nothing but blanks is the only one that isn't there
    assert (
        inline
        == [squeezed(f"{printable(text)}x")] * 2
        + [
            squeezed(f"y: {printable(text)}"),
            squeezed(f"1 of 2 points {printable(text)}x"),
        ]
        or not shown
    )
    assert {token.type for token in tokens} == {
        *("heading_open", "heading_close", "inline", "bullet_list_open", "bullet_list_close"),
        *("list_item_open", "list_item_close", "paragraph_open", "paragraph_close"),
    }
    found = {child.type for token in tokens for child in token.children or ()}
    assert found <= {"text", "text_special", "code_inline", "strong_open", "strong_close"}


def test_what_github_takes_for_mathematics_is_escaped() -> None:
    assert markdown("$$x^2$$ $`x`$") == r"\$\$x^2\$\$ \$\`x\`\$"


@given(TEXT, TEXT)
def test_a_text_in_a_table_stays_in_its_cell(text: str, other: str) -> None:
    page = f"| a | b |\n| --- | --- |\n| {markdown(text)}x | {markdown_code(other)} |\n"
    tokens = parser().parse(page)
    cells = [plain(token) for token in tokens if token.type == "inline"]
    assert len(cells) == 4
    assert squeezed(cells[2]) == squeezed(f"{printable(text)}x")
    assert squeezed(cells[3]) == squeezed(printable(other).replace("|", "¦"))


@given(TEXT)
def test_a_text_as_code_is_shown_as_it_is(text: str) -> None:
    (token,) = (one for one in parser().parse(f"x {markdown_code(text)} y") if one.type == "inline")
    kinds = [child.type for child in token.children or () if child.type != "text" or child.content]
    assert kinds == ["text", "code_inline", "text"]
    assert squeezed((token.children or [])[1].content) == squeezed(printable(text).replace("|", "¦"))


@given(st.lists(TEXT, max_size=5))
def test_no_line_ends_a_block(lines: list[str]) -> None:
    page = "\n".join(["before", "", *markdown_block(tuple(lines)), "", "after"])
    tokens = parser().parse(page)
    assert [token.type for token in tokens if token.nesting == 0] == ["inline", "fence", "inline"]
    (fence,) = (token for token in tokens if token.type == "fence")
    assert fence.content == "".join(f"{printable(line)}\n" for line in lines)


@given(TEXT)
def test_a_label_of_a_diagram_is_numbers_and_harmless_characters(text: str) -> None:
    check_diagram(f"sequenceDiagram\n    client->>server: {mermaid(text)}\n")
    back = re.sub(r"#(\d+);", lambda found: chr(int(found[1])), mermaid(text))
    assert back == (printable(text) or " ")


@given(TEXT, TEXT)
def test_no_cell_is_a_formula_whatever_separates_cells(text: str, other: str) -> None:
    file = io.StringIO()
    csv.writer(file, quoting=csv.QUOTE_ALL).writerow([csv_cell(text), csv_cell(other)])
    check_cells(file.getvalue())
    assert csv_cell(text).isprintable()


@pytest.mark.parametrize("text", ["alice", "Zoë", "s-12", "a=b", "3", "2026-01-01", "x@y.edu"])
def test_what_is_harmless_is_not_changed_in_a_table(text: str) -> None:
    assert csv_cell(text) == text


@given(TEXT)
def test_what_no_xml_can_hold_is_gone_and_the_rest_is_there(text: str) -> None:
    element = ET.Element("a", b=xml(text))
    element.text = xml(text)
    back = ET.fromstring(ET.tostring(element, encoding="unicode"))  # noqa: S314 - our own
    assert (back.text or "") == back.get("b") == xml(text)
    assert xml(text).isprintable()


@given(TEXT, TEXT)
def test_a_command_has_the_title_and_the_message_that_it_was_given(title: str, message: str) -> None:
    (found,) = check_github(f"::error title={command_property(title)}::{command_message(message)}\n")
    codes = {"%0D": "\r", "%0A": "\n", "%3A": ":", "%2C": ",", "%25": "%"}

    def decoded(text: str) -> str:
        return re.sub("%0D|%0A|%3A|%2C|%25", lambda code: codes[code[0]], text)

    assert decoded(found.properties.removeprefix("title=")) == printable(title)
    assert decoded(found.message) == printable(message)


@given(TEXT, TEXT)
def test_a_name_of_a_file_is_harmless_and_ones_own(text: str, other: str) -> None:
    name = safe_name(text)
    assert re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._@+-]{0,59}", name)
    assert not name.endswith(".")
    assert (safe_name(other) == name) == (text == other)
    assert safe_name(name) != name or name == text  # nobody takes another's name


# --- whole outputs ---


def hostile_grade(text: str, student: str) -> Grade:
    """A grade with `text` wherever text of a student's may be."""
    details = (text, f"```{text}", text * 3)
    checks = [
        Scored("capture", "The capture can be read", Result("inconclusive", "x", text, (1,), text), 0, 0, is_gate=True),
        Scored("lookup", "The name", Result("fail", text, text, (1, 2), text, details, text, share=0.5), 0.5, 1),
        Scored("handshake", "The handshake", Result("skip", "", text), 0, 2),
        Scored("secret-exchange", "A title that nobody may see", Result("fail", text, text), 0, 1, "hidden"),
    ]
    rest = ("target", "close", "sequence")
    checks += [Scored(name, name.title(), Result("pass", text, text), 1, 1) for name in rest]
    file = FileRead(printable(text), 3, "0" * 64)
    return Grade(student, "capture", "spring", tuple(checks), (file,), (text,), (text,), seen=(text,))


@pytest.fixture(scope="module")
def exercise(tmp_path_factory: pytest.TempPathFactory) -> Exercise:
    return load_exercise(exercise_file(tmp_path_factory.mktemp("exercise"), "capture"))


@pytest.fixture(scope="module")
def grades() -> Sequence[Grade]:
    texts = [text.decode("utf-8", "surrogateescape") for text in CORPUS] + PIECES
    return [hostile_grade(texts[number % len(texts)], student) for number, student in enumerate(STUDENTS)]


TITLES = {"The capture can be read", "The name", "The handshake", "A title that nobody may see"}
TITLES |= {"Target", "Close", "Sequence"}


def test_a_students_page_is_ours_whatever_is_said_on_it(grades: Sequence[Grade], exercise: Exercise) -> None:
    for grade in grades:
        rows = (Row("client", "server", grade.notes[0], 1), Row("server", "client", grade.notes[0] * 9, 0))
        for for_teacher in (False, True):
            page = student_page(grade, exercise, rows, for_teacher=for_teacher)
            check_page(page, TITLES, f"{exercise.title} (spring): {printable(grade.student)}")
            assert ("A title that nobody may see" in page) == for_teacher
            assert page.count("```mermaid") == 1


def test_the_pages_of_a_class_are_ours(grades: Sequence[Grade], exercise: Exercise) -> None:
    page = class_page(grades, exercise, [grade.notes[0] for grade in grades])
    titles = {check.title for grade in grades for check in grade.checks} | {item.title for item in exercise.items}
    check_page(page, titles)
    assert page.count("\n| ") >= len(grades)


def test_a_summary_is_as_long_as_github_takes_and_ends_with_a_whole_line() -> None:
    page = "\n".join(f"| {number} | ﬁ |" for number in range(100_000))
    cut = job_summary(page)
    assert len(cut.encode()) < 1 << 20
    assert len(cut.encode()) > LARGEST_SUMMARY - 100
    *rows, empty, last, end = cut.split("\n")
    assert {row.count("|") for row in rows} == {3}
    assert (empty, last, end) == ("", "The rest is too long for a summary: see class.md.", "")


def test_a_table_of_a_class_is_safe_and_whole(grades: Sequence[Grade], exercise: Exercise) -> None:
    text = class_csv(grades, exercise)
    text = text if isinstance(text, str) else "".join(text)
    check_csv(text, [grade_values(grade) for grade in grades])


def test_the_suites_of_a_class_have_names_of_their_own(grades: Sequence[Grade], exercise: Exercise) -> None:
    alike = ("a\ufffe", "a\\ufffe", "a\\ufffe (2)", "a\x00", "a\\x00")
    twins = [replace(grades[0], student=student) for student in alike]
    root = ET.fromstring("".join(junit([*grades, *twins], exercise, for_teacher=True)))  # noqa: S314 - our own
    names = [suite.get("name") for suite in root]
    assert len(set(names)) == len(names) == len(grades) + len(twins)
    assert root.get("failures") == str(2 * len(names))


def test_the_grades_of_a_class_are_what_the_schema_says(grades: Sequence[Grade], exercise: Exercise) -> None:
    text = "".join(grades_json(grades, exercise))
    schema = json.loads((HERE / "docs" / "grades.schema.json").read_text())
    jsonschema.Draft202012Validator.check_schema(schema)
    values = json.loads(text)
    jsonschema.validate(values, schema, cls=jsonschema.Draft202012Validator)
    assert text.encode("ascii").decode().replace("\n", "").isprintable()
    assert len(values["grades"]) == len(grades)


def test_a_grade_comes_back_from_its_values_as_it_was(grades: Sequence[Grade]) -> None:
    for grade in grades:
        assert grade_of(json.loads(json.dumps(grade_values(grade)))) == grade


@pytest.mark.parametrize("change", ["surplus", "missing", "status", "points"])
def test_the_schema_of_grades_refuses_what_they_are_not(
    change: str, grades: Sequence[Grade], exercise: Exercise
) -> None:
    values: dict[str, Any] = json.loads("".join(grades_json(grades[:1], exercise)))
    entry = values["grades"][0]
    if change == "surplus":
        entry["checks"][0]["more"] = 1
    elif change == "missing":
        del entry["pending"]
    else:
        entry[change] = "0"
    assert not validator("grades").is_valid(values)


def test_gradescope_is_given_what_it_takes_and_keeps_what_is_hidden(
    grades: Sequence[Grade], exercise: Exercise
) -> None:
    for grade in grades:
        text = gradescope(grade, exercise)
        values = json.loads(text)
        assert validator("gradescope").is_valid(values), list(validator("gradescope").iter_errors(values))
        secret = [test for test in values["tests"] if test["visibility"] == "hidden"]
        assert [test["number"] for test in secret] == ["secret-exchange"]
        rest = [values["output"], *(test["output"] for test in values["tests"] if test not in secret)]
        assert "nobody may see" not in "".join(rest)
        for line in "\n".join(rest).split("\n"):
            assert line.isprintable()


@pytest.mark.parametrize("colour", [False, True])
@pytest.mark.parametrize("width", [None, 40, 80])
def test_a_terminal_is_given_no_escapes_but_our_colours(
    width: int | None, colour: bool, grades: Sequence[Grade], exercise: Exercise
) -> None:
    style = Style(width, colour)
    for grade in grades:
        check_terminal(student_text(grade, exercise, style))
    check_terminal(class_text(grades, exercise, style))
    few = class_text(grades[:30], exercise, Style(width))
    check_terminal(few)
    if width:
        assert max(columns(line) for line in few.split("\n")) <= max(width, 80)


def test_github_obeys_annotations_of_ours_alone(grades: Sequence[Grade], exercise: Exercise) -> None:
    text = class_text(grades, exercise, Style()) + "::error::by a student\n::stop-commands::x\n::x::\n##[error]y\n"
    printed = hedged(text) + "\n".join(annotations(grades, exercise, single=False)) + "\nwritten: out\n"
    found = check_github(printed)
    assert len(found) == 10
    assert found[-1].message == f"and {len(grades) - 9} more"
    for grade in grades:
        text = student_text(grade, exercise, Style())
        printed = hedged(text) + "\n".join(annotations([grade], exercise, single=True))
        assert len(check_github(printed)) == 2  # the gate and the failure; what follows from them is no annotation
        assert "secret-exchange" not in printed


def test_the_word_that_starts_commands_again_is_another_each_time() -> None:
    assert len({hedged("x").split("\n")[0] for _ in range(50)}) == 50


def test_a_ladder_is_drawn_with_those_who_are_in_it() -> None:
    lines = list(ladder_lines((Row("client", "resolver", "A x?", 1), Row("resolver", "client", "", 2))))
    assert lines[1:-2] == [
        "sequenceDiagram",
        "    participant client",
        "    participant resolver",
        "    client->>resolver: 1 A x?",
        "    resolver->>client: 2 #32;",
    ]
    assert list(ladder_lines(())) == []


def test_a_visible_check_names_no_hidden_one_that_it_needs(exercise: Exercise, tmp_path: Path) -> None:
    refused = pcap(fetch()).replace(b"HTTP/1.1 200 OK", b"HTTP/1.1 500 No")
    submission = Submission("alice", File("capture.pcap", refused, len(refused)))
    grade = mark(exercise, submission).grade
    by_id = {check.id: check for check in grade.checks}
    assert by_id["secret-exchange"].status == "fail"
    assert by_id["close"].result.found == "not looked at: another check must pass first"
    assert "secret-exchange" not in student_page(grade, exercise)
    assert by_id["secret-exchange"].title in student_page(grade, exercise, for_teacher=True)
