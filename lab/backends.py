"""The backends there are, and the choice between them."""

from typing import TYPE_CHECKING

from analysis.errors import InputError, LabError
from lab.backend import Backend
from lab.errors import BackendError
from lab.scenario.model import Scenario

if TYPE_CHECKING:
    from lab.containers.backend import DockerBackend

NAMES = ("netns", "docker")


def choose_backend(asked: str | None, scenario: Scenario, *, offline: bool = False) -> tuple[Backend, str]:
    """The backend to play `scenario` on, and why in a few words.

    The one asked for; else the one that the scenario needs; else Docker if an engine answers and the image is there;
    else netns if this machine lets it; else Docker with a build. `BackendError` if neither can run here.
    """
    if asked not in (None, *NAMES):
        raise InputError(f"there is no backend {asked!r}", f"use one of: {', '.join(NAMES)}")
    if asked == "netns":
        return _netns(), "as asked"
    if asked == "docker":
        return _docker(offline=offline), "as asked"
    return _choose(scenario, offline=offline)


def choose_for_pack(asked: str | None, *, offline: bool = False) -> tuple[Backend, str]:
    """The backend to play the whole pack on, and why: the one asked for; else netns, which plays all; else Docker.

    `BackendError` if neither can run here.
    """
    if asked not in (None, *NAMES):
        raise InputError(f"there is no backend {asked!r}", f"use one of: {', '.join(NAMES)}")
    if asked is not None:
        return (_netns() if asked == "netns" else _docker(offline=offline)), "as asked"
    obstacle = _netns_obstacle()
    if obstacle is None:
        return _netns(), "it plays every scenario"
    try:
        return _docker(offline=offline), f"netns can't run here: {obstacle}"
    except LabError as why:
        raise BackendError(
            f"neither backend can run: netns: {obstacle}; docker: {why}",
            obstacle.next_step or "see what is missing: invoke doctor",
        ) from None


def _choose(scenario: Scenario, *, offline: bool) -> tuple[Backend, str]:
    from lab.containers.engine import is_likely
    from lab.containers.render import unplayable

    needed = next((key for key, _ in unplayable(scenario)), None)
    if needed is not None:
        return _netns(), f"the scenario's {needed} needs it"
    if not is_likely():
        return _netns(), "needs neither daemon nor image"
    try:
        docker = _docker(offline=offline)
    except LabError as why:
        return _netns(), f"{why}"
    if docker.has_image:
        return docker, "an engine answers, and its image is here"
    obstacle = _netns_obstacle()
    if obstacle is None:
        return _netns(), "needs no image, and Docker's isn't here"
    if offline:
        raise BackendError(
            f"neither backend can run: netns: {obstacle}; docker: no image is here, and --offline forbids to build it",
            obstacle.next_step or "see what is missing: invoke doctor",
        )
    return docker, f"netns can't run here: {obstacle}"


def _netns() -> Backend:
    from lab.netns.backend import NetnsBackend

    return NetnsBackend()


def _docker(*, offline: bool) -> "DockerBackend":
    from lab.containers.backend import DockerBackend

    return DockerBackend(offline=offline)


def _netns_obstacle() -> LabError | None:
    """What keeps the netns backend from running here, tried for real."""
    from lab.doctor import try_netns

    try:
        try_netns()
    except LabError as error:
        return error
    return None
