"""The class as CSV (RFC 4180): a row a student, a column a check; safe to open in a spreadsheet."""

import csv
import io
from collections.abc import Sequence

from analysis.text import printable
from grading.exercise.model import Exercise
from grading.marking.grade import Grade, points_text
from grading.outputs.escape import csv_cell


def class_csv(grades: Sequence[Grade], exercise: Exercise) -> str:
    """Student, status, points, points that are pending, then points and status of each check, then flags."""
    names = [item.id for item in exercise.items]
    file = io.StringIO()
    writer = csv.writer(file, quoting=csv.QUOTE_ALL, lineterminator="\r\n")
    per_check = [f"{name} {what}" for name in names for what in ("points", "status")]
    writer.writerow(["student", "status", "points", "max_points", "pending", *per_check, "not passed before", "flags"])
    for grade in grades:
        by_name = {check.id: check for check in grade.items}
        cells: list[str] = []
        for name in names:
            cells += (points_text(by_name[name].points), by_name[name].status)
        gates = ", ".join(check.id for check in grade.checks if check.is_gate and check.status != "pass")
        flags = "; ".join(printable(flag) for flag in grade.flags)
        numbers = [points_text(one) for one in (grade.points, grade.max_points, grade.pending)]
        writer.writerow([csv_cell(grade.student), grade.status, *numbers, *cells, csv_cell(gates), csv_cell(flags)])
    return file.getvalue()
