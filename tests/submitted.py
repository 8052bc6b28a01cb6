"""Exercises of a few lines, and what students hand in: for tests of marking."""

import struct
from collections.abc import Iterable
from functools import cache
from pathlib import Path

from scapy.packet import Packet as Scapy

from grading.bench.fetch import fetch
from grading.exercise.individual import Individual, derive
from grading.exercise.load import load_exercise
from grading.exercise.model import Exercise
from grading.handed_in.submission import File, Submission
from grading.marking.grade import Grade, Scored
from grading.marking.mark import mark
from grading.marking.whose import Owner
from tests.craft import pcap

KEY = b"0123456789abcdef"
USES = 'uses = ["host", "addresses", "port", "nonce"]\nearlier = ["2025"]\n'
WHOLE = """
lookup  A     NAME -> server
lookup  AAAA  NAME -> ADDRESS
client  SYN
server  SYN,ACK
client  ACK
client  DATA     "GET"
server  DATA     "302"
client  FIN,ACK
server  FIN,ACK
client  ACK
"""
# of `fetch`: 4 frames of lookups, 3 of the handshake, the request, its ACK, 4 × 2 of the response, 3 of the close
FIRST_SEGMENT, REQUEST, FIRST_FIN, FRAMES = 4, 7, 17, 20


def exercise(folder: Path, rubric: str, head: str = "", individual: str = "") -> Exercise:
    path = folder / "mine.toml"
    path.write_text(
        f'title = "T"\nedition = "2026"\n{head}\n{rubric}\n' + (f"[individual]\n{individual}" if individual else "")
    )
    return load_exercise(path)


def rule(name: str, more: str = "", points: object = 4, *, key: str = "") -> str:
    return f'[[rubric]]\nid = "{key or name.replace(".", "-")}"\nrule = "{name}"\npoints = {points}\n{more}\n'


def facts(words: str, more: str = "") -> str:
    return f'[[rubric]]\nid = "facts"\npoints = 4\nfacts = {{ {words} }}\n{more}\n'


def sequence(text: str, points: object = 10, more: str = "") -> str:
    return f"[[rubric]]\nid = \"sequence\"\npoints = {points}\n{more}\nsequence = '''{text}'''\n"


def own(student: str, edition: str = "2026") -> Individual:
    return derive(KEY, "mine", edition, student)


ADA, BOB = own("ada"), own("bob")


@cache
def frames(mine: Individual, seed: int = 1) -> tuple[bytes, ...]:
    """The records of a student's fetch; the first is the file's header."""
    content = fetch(mine, seed)
    found, at = [content[:24]], 24
    while at < len(content):
        end = at + 16 + struct.unpack_from("<I", content, at + 8)[0]
        found.append(content[at:end])
        at = end
    assert len(found) == FRAMES + 1
    return tuple(found)


def cut(mine: Individual, *kept: slice) -> bytes:
    """Parts of a student's fetch, counted in frames from 0."""
    header, *records = frames(mine)
    return header + b"".join(record for part in kept for record in records[part])


def marked(one: Exercise, content: bytes | None, answers: str | None = None, mine: Individual = ADA) -> Grade:
    capture = None if content is None else File("capture.pcap", content, len(content))
    written = None if answers is None else File("answers.toml", answers.encode())
    owner = Owner(mine, one.uses, {"2025": own("ada", "2025")}) if one.uses else None
    return mark(one, Submission("ada", capture, written), owner).grade


def of(grade: Grade, key: str) -> Scored:
    return next(check for check in grade.checks if check.id == key)


def statuses(grade: Grade) -> dict[str, str]:
    return {check.id: check.status for check in grade.items}


def crafted_grade(
    tmp_path: Path, rubric: str, packets: Iterable[Scapy], head: str = 'host = "www.example.com"'
) -> Grade:
    return marked(exercise(tmp_path, rubric, head), pcap(packets))
