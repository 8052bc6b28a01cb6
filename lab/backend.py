"""The narrow protocol that every backend keeps."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from lab.scenario.model import Scenario


@dataclass(frozen=True, slots=True)
class ClientResult:
    """The client's commands, as far as they were run, and how each went.

    An exit status is negative for a signal, and None if the command had to be stopped.
    """

    commands: tuple[tuple[str, ...], ...]
    exit_statuses: tuple[int | None, ...]


@dataclass(frozen=True, slots=True)
class Witness:
    """What the backend knows of a run beside the capture.

    `doubts` are sentences: why the capture may not be what a wire would have shown.
    """

    doubts: tuple[str, ...] = ()
    facts: Mapping[str, Any] = field(default_factory=dict)


class Lab(Protocol):
    """Hosts that exist. Each method is one step of a run, and raises `StepError` where it fails."""

    def wait_ready(self) -> None:
        """Return when every host answers."""

    def start_capture(self) -> None:
        """Return when the sidecar sees every frame of the client's link."""

    def run_client(self) -> ClientResult:
        """Run the client's commands to their end, or to their deadline."""

    def settle(self) -> bool:
        """Wait until every connection has closed and the wire is quiet; False if that didn't come."""

    def stop_capture(self) -> Witness:
        """Finish the capture file."""

    def destroy(self) -> None:
        """Remove all hosts; safe to call at any moment, and more than once."""


class Backend(Protocol):
    """Makes labs. `is_exact`: the same scenario gives the same exact sequence; else the same shape."""

    name: str
    is_exact: bool

    def prepare(self, scenario: Scenario, say: Callable[[str], None]) -> None:
        """Refuse what it can't play (`ScenarioError`); get ready what takes longer than a run, and `say` so."""

    def create(self, scenario: Scenario, folder: Path) -> Lab:
        """The hosts of `scenario`, whose capture and logs go to `folder`."""
