"""The errors of the lab, all of them children of `analysis.errors.LabError`."""

from analysis.errors import InputError, LabError


class ScenarioError(InputError):
    """A scenario that can't be played as it is written; names file, key and what is allowed."""


class BackendError(LabError):
    """The backend can't run on this machine; says what is missing and how to mend it."""


class StepError(LabError):
    """A step of a run failed: `step` names it. Its logs stay in the run's folder."""

    def __init__(self, step: str, message: str, next_step: str = "") -> None:
        super().__init__(message, next_step)
        self.step = step
