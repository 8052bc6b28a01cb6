"""A whole folder of results looked at: each file by its parser or schema, and nothing in it that could do harm."""

import csv
import io
import json
import re
import unicodedata
from collections.abc import Iterable, Sequence
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple
from xml.etree import ElementTree as ET

import jsonschema_rs

from analysis.text import printable
from grading.files import safe_name
from grading.outputs.grades_json import whole
from tests.conftest import HERE
from tests.grading_markdown import check_page

FORMULA = re.compile(r"[\s'\"]*[=+\-@\t\r]")
PAINT = re.compile(r"\x1b\[\d+m")
ORDER = re.compile(r"^\s*::[A-Za-z]|##\w*\[", re.MULTILINE)
COMMAND = re.compile(r"::([a-z-]+)(?: ([^:]*?))?::(.*)")
LEVELS = {"error", "warning", "notice"}
MOST_ANNOTATIONS = 10
FORMATS = {"enum": ["text", "html", "simple_format", "md", "ansi"]}
VISIBILITY = {"enum": ["hidden", "after_due_date", "after_published", "visible"]}
# https://gradescope-autograders.readthedocs.io/en/latest/specs/
GRADESCOPE: dict[str, Any] = {
    "$schema": "https://json-schema.org/draft/2020-12/schema",
    "type": "object",
    "additionalProperties": False,
    "required": ["score", "tests"],
    "properties": {
        "score": {"type": "number", "minimum": 0},
        "execution_time": {"type": "number"},
        "output": {"type": "string"},
        "output_format": FORMATS,
        "test_output_format": FORMATS,
        "test_name_format": FORMATS,
        "visibility": VISIBILITY,
        "stdout_visibility": VISIBILITY,
        "extra_data": {"type": "object"},
        "leaderboard": {"type": "array"},
        "tests": {
            "type": "array",
            "minItems": 1,
            "items": {
                "type": "object",
                "additionalProperties": False,
                "required": ["score", "max_score", "status", "name", "output", "visibility"],
                "properties": {
                    "score": {"type": "number", "minimum": 0},
                    "max_score": {"type": "number", "minimum": 0},
                    "status": {"enum": ["passed", "failed"]},
                    "name": {"type": "string"},
                    "name_format": FORMATS,
                    "number": {"type": "string"},
                    "output": {"type": "string"},
                    "output_format": FORMATS,
                    "tags": {"type": "array", "items": {"type": "string"}},
                    "visibility": VISIBILITY,
                    "extra_data": {"type": "object"},
                },
            },
        },
    },
}


class Command(NamedTuple):
    """A workflow command, as GitHub's runner reads it."""

    name: str
    properties: str
    message: str


@cache
def validator(name: str) -> Any:
    """The validator of a published schema, or of Gradescope's; one in Rust, for there are thousands of files."""
    schema = GRADESCOPE if name == "gradescope" else json.loads((HERE / "docs" / f"{name}.schema.json").read_text())
    return jsonschema_rs.Draft202012Validator(schema)


def check_folder(out: Path, students: Iterable[str], secrets: Sequence[str] = ()) -> list[dict[str, Any]]:
    """Look at all that is in `out`: each of `students` has a result everywhere; the grades as they are in grades.json.

    `secrets`: words that no student may be told, beside the titles of hidden checks.
    """
    wanted = {whole(student): student for student in students}
    values = read_json(out / "grades.json", "grades")
    grades: list[dict[str, Any]] = values["grades"]
    assert {grade["student"] for grade in grades} == wanted.keys()
    assert len(grades) == len(wanted)
    title, edition = values["exercise"]["title"], values["exercise"]["edition"]
    titles = {check["title"]: check for grade in grades for check in grade["checks"]}
    check_page(_text(out / "class.md"), titles, f"{title}: the class")
    check_page(_text(out / "summary.md"), titles)
    check_csv((out / "class.csv").read_bytes().decode("utf-8"), grades)
    check_junit(out / "junit.xml", len(grades))
    heading = f"{title} ({edition})" if edition else title
    for grade in grades:
        _check_student(out, wanted[grade["student"]], grade, heading, [*titles], secrets)
    _check_nothing_else(out, [*wanted.values()])
    return grades


def _text(path: Path) -> str:
    """The file as it is: no line ends are changed."""
    return path.read_bytes().decode("utf-8")


def read_json(path: Path, schema: str) -> Any:
    """The file's values; it is ASCII, gives no orders, and is what the schema says."""
    text = path.read_bytes().decode("ascii")
    assert text.replace("\n", "").isprintable()
    assert not ORDER.search(text)
    values = json.loads(text, parse_constant=_no_constant)
    error = next(validator(schema).iter_errors(values), None)
    assert error is None, f"{path}: {error}"[:2_000]
    return values


def _no_constant(name: str) -> None:
    raise AssertionError(f"{name} is no JSON")


def _check_student(
    out: Path, student: str, grade: dict[str, Any], title: str, titles: list[str], secrets: Sequence[str]
) -> None:
    name = safe_name(student)
    first = f"{title}: {printable(student)}"
    feedback = _text(out / "students" / name / "feedback.md")
    check_page(feedback, titles, first)
    check_page(_text(out / "teacher" / f"{name}.md"), titles, first)
    result = read_json(out / "gradescope" / f"{name}.json", "gradescope")
    assert len(result["tests"]) == len(grade["checks"])
    assert round(sum(test["score"] for test in result["tests"]), 6) == result["score"] == grade["points"]
    told = [feedback]
    for report in (out / "students" / name / "report.json", out / "teacher" / f"{name}.report.json"):
        if report.exists():
            read_json(report, "report")
            told += [report.read_text()] if "students" in report.parts else []
    visible = {check["title"] for check in grade["checks"] if check["visibility"] == "visible"}
    hidden = {check["title"] for check in grade["checks"]} - visible
    for text in told:
        shown = [word for word in (*hidden, *secrets) if word in text]
        assert not shown, (student, shown)


def _check_nothing_else(out: Path, students: list[str]) -> None:
    """No file of nobody, none that is half written, no two students with one."""
    names = {safe_name(student) for student in students}
    assert len(names) == len(students)
    assert {path.name for path in (out / "students").iterdir()} == names
    assert {path.name for path in (out / "gradescope").iterdir()} == {f"{name}.json" for name in names}
    pages = {path.name for path in (out / "teacher").iterdir()}
    assert pages - {f"{name}.report.json" for name in names} == {f"{name}.md" for name in names}
    whole = {"class.csv", "class.md", "grades.json", "junit.xml", "summary.md", ".marked.jsonl"}
    assert {path.name for path in out.iterdir()} == whole | {"students", "gradescope", "teacher"}
    for path in (out / "students").iterdir():
        assert {one.name for one in path.iterdir()} <= {"feedback.md", "report.json"}


def check_csv(text: str, grades: list[dict[str, Any]]) -> None:
    """A row a student, of one width."""
    assert text.replace("\r\n", "").isprintable()
    rows = list(csv.reader(io.StringIO(text, newline=""), strict=True))
    assert {len(row) for row in rows} == {len(rows[0])}
    assert [row[1] for row in rows[1:]] == [grade["status"] for grade in grades]
    for grade, row in zip(grades, rows[1:], strict=True):
        assert row[0].replace("'", "") == printable(grade["student"]).replace("'", "")
    check_cells(text)


def check_cells(text: str) -> None:
    """No cell is one that a spreadsheet would compute, wherever it thinks that cells begin."""
    for delimiter in ",;|":
        for row in csv.reader(io.StringIO(text, newline=""), delimiter=delimiter):
            for cell in row:
                start = cell.lstrip(' "\r\n')  # of the row's end, where what is no separator here is taken for one
                wide = unicodedata.normalize("NFKC", start)
                assert start.startswith("'") or not (FORMULA.match(start) or FORMULA.match(wide)), (delimiter, cell)


def check_junit(path: Path, suites: int) -> None:
    """XML whose counts agree and whose names are one's own; what is said stands in bodies."""
    text = _text(path)
    assert text.replace("\n", "").isprintable()
    root = ET.fromstring(text)  # noqa: S314 - our own
    assert root.tag == "testsuites"
    assert len(root) == suites
    assert len({suite.get("name") for suite in root}) == suites
    for name in ("tests", "failures", "errors", "skipped"):
        assert int(root.attrib[name]) == sum(int(suite.attrib[name]) for suite in root)
    cases: list[tuple[str | None, str | None]] = []
    for suite in root:
        found = suite.findall("testcase")
        cases += [(case.get("classname"), case.get("name")) for case in found]
        assert {child.tag for child in suite} <= {"testcase", "system-out"}
        assert int(suite.attrib["tests"]) == len(found)
        for tag, name in (("failure", "failures"), ("error", "errors"), ("skipped", "skipped")):
            inner = suite.findall(f"testcase/{tag}")
            assert int(suite.attrib[name]) == len(inner)
            assert all((one.text or "").strip() and one.get("message") for one in inner)
        assert all(len(case) <= 1 for case in found)
    assert len(set(cases)) == len(cases)


def check_terminal(text: str) -> None:
    """Printable lines, beside colours of our own; no order to a CI system."""
    bare = PAINT.sub("", text)
    assert bare.replace("\n", "").isprintable(), [line for line in bare.split("\n") if not line.isprintable()]
    assert not ORDER.search(bare)


def obeyed(text: str) -> list[Command]:
    """The commands that GitHub's runner would obey in this output, the stopping itself left out."""
    found: list[Command] = []
    word = ""
    for line in text.split("\n"):
        if word:
            word = "" if line.strip() == f"::{word}::" else word
            continue
        match = COMMAND.match(line.lstrip())
        if match and match[1] == "stop-commands":
            word = match[3]
        elif match:
            found.append(Command(match[1], match[2] or "", match[3]))
        else:
            assert "##[" not in line, line
    assert not word, "commands are stopped for good"
    return found


def check_github(text: str) -> list[Command]:
    """The annotations in what was printed for GitHub: few, our own, in their titles nothing that could end them."""
    assert text.replace("\n", "").isprintable()
    found = obeyed(text)
    assert len(found) <= MOST_ANNOTATIONS
    for command in found:
        assert command.name in LEVELS
        assert re.fullmatch(r"title=[^,:\r\n]*", command.properties), command
        assert not re.search(r"%(?!25|0A|0D)", command.message), command
    return found
