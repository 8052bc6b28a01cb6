"""JUnit XML: a suite a student, a case a check; what was found stands in the body, where every CI shows it."""

from collections.abc import Sequence
from xml.etree import ElementTree as ET

from grading.exercise.model import Exercise
from grading.marking.grade import Grade, summary_line
from grading.outputs.escape import xml
from grading.outputs.views import Shown, score_text, shown


def junit(grades: Sequence[Grade], exercise: Exercise, *, for_teacher: bool = False) -> str:
    """The results of the checks that the reader may see. What is inconclusive is an error, no failure."""
    root = ET.Element("testsuites", name=xml(exercise.title))
    for grade in grades:
        root.append(_suite(grade, exercise, for_teacher=for_teacher))
    for count in ("tests", "failures", "errors", "skipped"):
        root.set(count, str(sum(int(suite.get(count, "0")) for suite in root)))
    ET.indent(root)
    return '<?xml version="1.0" encoding="UTF-8"?>\n' + ET.tostring(root, encoding="unicode") + "\n"


def _suite(grade: Grade, exercise: Exercise, *, for_teacher: bool) -> ET.Element:
    suite = ET.Element("testsuite", name=xml(f"{exercise.id} {grade.student}"))
    checks = shown(grade, for_teacher=for_teacher)
    for status, count in (("fail", "failures"), ("inconclusive", "errors"), ("skip", "skipped")):
        suite.set(count, str(sum(one.check.status == status for one in checks)))
    suite.set("tests", str(len(checks)))
    for one in checks:
        suite.append(_case(one, f"{exercise.id}.{grade.student}"))
    score = f"{score_text(grade, for_teacher=for_teacher)}; {summary_line(grade, for_teacher=for_teacher)}"
    ET.SubElement(suite, "system-out").text = xml(score)
    return suite


def _case(one: Shown, suite: str) -> ET.Element:
    """A case: its name is the check's id and title, which no other case of the suite has."""
    check = one.check
    case = ET.Element("testcase", classname=xml(suite), name=xml(f"{check.id}: {check.title}"), time="0")
    body = "\n".join(xml(f"{label}: {text}") for label, text in (("points", one.points), *one.lines) if text)
    body = "\n".join((body, *map(xml, one.details)))
    message = xml(check.result.found)
    if check.status == "skip":
        ET.SubElement(case, "skipped", message=message).text = body
    elif check.status == "fail":
        ET.SubElement(case, "failure", message=message, type="fail").text = body
    elif check.status == "inconclusive":
        ET.SubElement(case, "error", message=message, type="inconclusive").text = body
    return case
