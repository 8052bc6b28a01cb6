"""What a worker does for one student: read, look whether it was marked before, mark, write."""

import hashlib
import json
from dataclasses import asdict, dataclass
from pathlib import Path

from grading.classes.before import line_of
from grading.classes.folder import files_of, write_student
from grading.exercise.individual import derive
from grading.exercise.model import Exercise
from grading.files import write
from grading.handed_in.find import Entry
from grading.handed_in.read import read_submission
from grading.handed_in.submission import Submission
from grading.marking.grade import Grade
from grading.marking.mark import Marked, mark, unmarked
from grading.marking.whose import Owner
from grading.outputs.gradescope import gradescope
from lab import __version__


@dataclass(frozen=True, slots=True)
class Marker:
    """How a class is marked: by what exercise, with what key (None: nothing is individual), to which folder."""

    exercise: Exercise
    key: bytes | None
    out: Path

    def owner(self, student: str) -> Owner | None:
        """What the student's capture must show."""
        exercise = self.exercise
        if not exercise.uses:
            return None
        if exercise.bound is not None:
            return Owner(exercise.bound, exercise.uses, {})
        assert self.key is not None  # noqa: S101 - the class isn't begun without
        earlier = {one: derive(self.key, exercise.id, one, student) for one in exercise.earlier}
        return Owner(derive(self.key, exercise.id, exercise.edition, student), exercise.uses, earlier)

    def mark_entry(self, entry: Entry, before: str | None) -> str | None:
        """The grade, as a line of the file of those of before; None where it is made of the same as the digest says."""
        submission = read_submission(entry, self.exercise)
        owner = self.owner(entry.student)
        digest = self._digest(submission, owner)
        if digest == before:
            return None
        marked = mark(self.exercise, submission, owner)
        write_student(self.out, marked, self.exercise)
        return line_of(digest, marked.grade)

    def prepare(self, entry: Entry) -> None:
        """Write that this isn't marked yet: whoever ends the grader early, Gradescope has results to show."""
        waiting = unmarked(self.exercise, entry.student, "marking has not come to its end", "mark it again")
        files = files_of(self.out, entry.student)
        files["feedback"].unlink(missing_ok=True)  # so that it is marked in any case, and nothing old is taken for new
        write(files["gradescope"], gradescope(waiting, self.exercise))

    def give_up(self, entry: Entry, what: str, next_step: str, *, is_limit: bool) -> Grade:
        """The grade where marking itself failed; it is tried again next time."""
        grade = unmarked(self.exercise, entry.student, what, next_step, is_limit=is_limit)
        write_student(self.out, Marked(grade, None, None), self.exercise)
        return grade

    def _digest(self, submission: Submission, owner: Owner | None) -> str:
        """Of all that the grade depends on. The key itself isn't in it, what follows from it is."""
        files = [
            None if file is None else (file.name, file.size, file.sha256, file.problem)
            for file in (submission.capture, submission.answers)
        ]
        visible = [(item.id, item.visibility) for item in self.exercise.items]
        parts = (
            __version__,
            self.exercise.source,
            visible,
            files,
            submission.notes,
            submission.flags,
            None if owner is None else asdict(owner),
        )
        return hashlib.sha256(json.dumps(parts).encode()).hexdigest()
