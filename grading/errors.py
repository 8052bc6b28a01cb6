"""The errors of grading: of what a teacher wrote or asked for. What students hand in never raises."""

from analysis.errors import InputError


class ExerciseError(InputError):
    """An exercise that can't be used as it is written; names file, line, key and what is allowed."""
