"""What shows only when a class is looked at together: a capture that is another student's, a file handed in twice."""

import re
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import replace

from analysis.text import printable, some
from grading.classes.marker import Marker
from grading.marking.grade import Grade

WORD = re.compile(r"[0-9a-f]{16}")


def cross_flags(grades: Sequence[Grade], marker: Marker) -> tuple[Grade, ...]:
    """The grades, with flags for the teacher where captures wandered."""
    owners = _owners(grades, marker)
    same: dict[str, list[str]] = defaultdict(list)
    for grade in grades:
        for file in grade.files[:1]:
            if file.sha256:
                same[file.sha256].append(grade.student)
    return tuple(replace(grade, flags=(*grade.flags, *_flags(grade, owners, same))) for grade in grades)


def _owners(grades: Sequence[Grade], marker: Marker) -> dict[str, str]:
    """Whose each host name and each word is."""
    owners: dict[str, str] = {}
    if marker.key is not None and marker.exercise.bound is None:
        for grade in grades:
            owner = marker.owner(grade.student)
            if owner is not None:
                owners |= {owner.own.host: grade.student, owner.own.nonce: grade.student}
    return owners


def _flags(grade: Grade, owners: dict[str, str], same: dict[str, list[str]]) -> Iterator[str]:
    found = {owners.get(word) for text in grade.seen for word in (text, *WORD.findall(text))}
    is_own = any(check.id == "individual" and check.status == "pass" for check in grade.checks)
    for student in sorted(filter(None, found - {grade.student})):
        yield printable(f"{student}'s fetch is in the capture, too" if is_own else f"the capture is {student}'s")
    for file in grade.files[:1]:
        others = [student for student in same.get(file.sha256, []) if student != grade.student]
        if others:
            yield printable(f"{file.name} is byte for byte what {some(others, 3)} handed in")
