"""Make the model solutions and the typical wrong ones anew: `python exercises/make_submissions.py` (needs netns).

Each is what a student of that name would hand in; `expected.toml` beside them says what comes of it, and a test looks.
"""

import json
import shutil
import struct
import subprocess
import sys
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

from grading.exercise.handout import handout
from grading.exercise.individual import derive, read_key
from grading.exercise.load import load_exercise

HERE = Path(__file__).parent
Report = dict[str, Any]
KEY = read_key(HERE / "example.key")


def run(
    name: str, student: str, *, edition: str | None = None, change: tuple[str, str] = ("", "")
) -> tuple[bytes, Report]:
    """The student's own run: its capture and its report. `change`: a text of the scenario, and what to put for it."""
    exercise = load_exercise(HERE / name / "exercise.toml")
    exercise = replace(exercise, edition=edition or exercise.edition)
    own = derive(KEY, exercise.id, exercise.edition, student)
    with tempfile.TemporaryDirectory() as folder:
        scenario = Path(folder) / "scenario.toml"
        scenario.write_text(handout(exercise, student, own)["scenario.toml"].replace(*change))
        options = ["--scenario", str(scenario), "--backend", "netns", "--runs", folder, "--json"]
        command = [sys.executable, "-m", "invoke", "lab", *options]
        done = subprocess.run(
            command, cwd=HERE.parent, capture_output=True, check=False
        )  # some runs go wrong: that's it
        (capture,) = Path(folder).glob("*/capture.pcap")
        return capture.read_bytes(), json.loads(done.stdout)


def first_frames(capture: bytes, count: int) -> bytes:
    """The first frames of a pcap of the lab's, as of a capture that was stopped there."""
    at = 24
    for _ in range(count):
        at += 16 + struct.unpack_from("<I", capture, at + 8)[0]
    return capture[:at]


def write(name: str, student: str, files: dict[str, bytes | str]) -> None:
    folder = HERE / name / "submissions" / student
    folder.mkdir(parents=True)
    for file, content in files.items():
        (folder / file).write_bytes(content.encode() if isinstance(content, str) else content)


def watch_one_fetch() -> None:
    name = "watch-one-fetch"
    model, _ = run(name, "model")
    write(name, "model", {"capture.pcap": model})
    write(name, "neighbour", {"capture.pcap": model})
    capture, report = run(name, "stopped-early")
    closes_at = report["connections"][0]["close"]["frames"][0]
    write(name, "stopped-early", {"capture.pcap": first_frames(capture, closes_at - 1)})
    _, report = run(name, "printed")
    write(name, "printed", {"capture.pcap": "".join(f"{frame['line']}\n" for frame in report["frames"])})
    capture, _ = run(name, "last-year", edition="example-before")
    write(name, "last-year", {"capture.pcap": capture})
    capture, _ = run(name, "wrong-port", change=(".lab.test/", ".lab.test:8080/"))
    write(name, "wrong-port", {"capture.pcap": capture})


def right_answers(report: Report) -> dict[str, int | str]:
    """The answers of a student who looks them up in the report, not in the exercise."""
    connection, segments = report["connections"][0], report["stories"][0]["segments"]
    synack = next(one for one in segments if one["flags"] == "SYN,ACK")
    response = next(one for one in segments if one["from"] == "server" and one["len"])
    return {
        "client-isn": connection["client_isn"],
        "synack-ack": synack["raw_ack"],
        "handshake-done": connection["handshake"]["frames"][2],
        "request-bytes": connection["bytes"]["client"],
        "request-acked": response["ack"],
        "first-closer": connection["close"]["first_closer"],
        "close-kind": connection["close"]["variant"],
        "last-ack": segments[-1]["ack"],
    }


def toml(answers: dict[str, int | str]) -> str:
    return "".join(f"{key} = {json.dumps(value)}\n" for key, value in answers.items())


def read_the_numbers() -> None:
    name = "read-the-numbers"
    for student in ("model", "forgot-the-fin", "relative", "other-side", "counts-packets", "prose"):
        capture, report = run(name, student)
        connection, right = report["connections"][0], right_answers(report)
        wrong = {
            "forgot-the-fin": {"synack-ack": connection["client_isn"], "last-ack": int(right["last-ack"]) - 1},
            "relative": {"client-isn": 0, "synack-ack": 1},
            "other-side": {"client-isn": hex(connection["server_isn"]), "first-closer": "the server"},
            "counts-packets": {"request-acked": 1, "last-ack": 2, "close-kind": "four-segment"},
        }.get(student, {})
        answers = toml(right | wrong)
        if student == "prose":
            answers = f"The client's initial number is {right['client-isn']}, and the client closes first.\n"
        write(name, student, {"capture.pcap": capture, "answers.toml": answers})


for exercise in ("watch-one-fetch", "read-the-numbers"):
    shutil.rmtree(HERE / exercise / "submissions", ignore_errors=True)
watch_one_fetch()
read_the_numbers()
