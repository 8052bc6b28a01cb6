"""JUnit XML: a suite a student, a case a check; what was found stands in the body, where every CI shows it."""

from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import count
from xml.etree import ElementTree as ET

from grading.exercise.model import Exercise
from grading.marking.grade import Grade, Scored, Status, summary_line
from grading.outputs.escape import xml
from grading.outputs.views import Shown, score_text, shown


def junit(grades: Sequence[Grade], exercise: Exercise, *, for_teacher: bool = False) -> Iterator[str]:
    """The results in pieces, of the checks that the reader may see. What is inconclusive is an error, no failure."""
    checks = [check for grade in grades for check in (grade.checks if for_teacher else grade.visible)]
    root = ET.Element("testsuites", {"name": xml(exercise.title), **_counts(checks)})
    head = ET.tostring(root, encoding="unicode").removesuffix(" />")
    yield f'<?xml version="1.0" encoding="UTF-8"?>\n{head}>\n'
    for grade, name in zip(grades, _names(grades), strict=True):
        suite = _suite(grade, exercise, name, for_teacher=for_teacher)
        ET.indent(suite)
        yield ET.tostring(suite, encoding="unicode") + "\n"
    yield "</testsuites>\n"


def _names(grades: Sequence[Grade]) -> list[str]:
    """The students' names, no two alike: what makes two ids differ may be what no XML can hold."""
    taken: dict[str, None] = {}
    for grade in grades:
        name = xml(grade.student)
        free = (one for number in count(1) if (one := name if number == 1 else f"{name} ({number})") not in taken)
        taken[next(free)] = None
    return list(taken)


def _counts(checks: Sequence[Scored]) -> dict[str, str]:
    words: dict[str, Status] = {"failures": "fail", "errors": "inconclusive", "skipped": "skip"}
    statuses = Counter(check.status for check in checks)
    return {"tests": str(len(checks)), **{word: str(statuses[status]) for word, status in words.items()}}


def _suite(grade: Grade, exercise: Exercise, student: str, *, for_teacher: bool) -> ET.Element:
    checks = shown(grade, for_teacher=for_teacher)
    counts = _counts([one.check for one in checks])
    suite = ET.Element("testsuite", {"name": f"{exercise.id} {student}", **counts})
    for one in checks:
        suite.append(_case(one, f"{exercise.id}.{student}"))
    score = f"{score_text(grade, for_teacher=for_teacher)}; {summary_line(grade, for_teacher=for_teacher)}"
    ET.SubElement(suite, "system-out").text = xml(score)
    return suite


def _case(one: Shown, suite: str) -> ET.Element:
    """A case: its name is the check's id and title, which no other case of the suite has."""
    check = one.check
    case = ET.Element("testcase", classname=suite, name=xml(f"{check.id}: {check.title}"), time="0")
    body = "\n".join(xml(f"{label}: {text}") for label, text in (("points", one.points), *one.lines) if text)
    body = "\n".join((body, *map(xml, one.details)))
    message = xml(check.result.found) or check.status
    if check.status == "skip":
        ET.SubElement(case, "skipped", message=message).text = body
    elif check.status == "fail":
        ET.SubElement(case, "failure", message=message, type="fail").text = body
    elif check.status == "inconclusive":
        ET.SubElement(case, "error", message=message, type="inconclusive").text = body
    return case
