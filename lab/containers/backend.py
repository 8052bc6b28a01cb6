"""The Docker backend: an engine, the compose plugin and the image, from which labs are made."""

from pathlib import Path

from lab.containers.compose import find_compose
from lab.containers.engine import Engine, engine_errors
from lab.containers.image import SIZE_WORDS, Image, Say, build_image, find_image, image_tag
from lab.containers.lab import DockerLab
from lab.containers.render import require_playable
from lab.errors import BackendError
from lab.scenario.model import Scenario


class DockerBackend:
    """Labs of containers, on an engine that answers."""

    name = "docker"
    is_exact = False

    def __init__(self, *, offline: bool = False) -> None:
        """Connect; `BackendError` where engine or plugin are missing. `offline` forbids to build the image."""
        self._offline = offline
        self._engine = Engine()
        self._compose = find_compose()
        self._image = self._find_image()

    def _find_image(self) -> Image | None:
        with engine_errors("plan"):
            return find_image(self._engine)

    @property
    def has_image(self) -> bool:
        """Whether the engine has this version's image."""
        return self._image is not None

    def prepare(self, scenario: Scenario, say: Say) -> None:
        """Refuse what it can't play; build the image if it isn't there, unless that is forbidden."""
        require_playable(scenario)
        if self._image is None and self._offline:
            raise BackendError(
                f"the engine doesn't have the image {image_tag()}, and --offline forbids to build it",
                "bring it in a bundle (invoke unbundle --file FILE), or build it while online: invoke image",
            )
        if self._image is None:
            self._image = build_image(self._engine, say)

    def create(self, scenario: Scenario, folder: Path) -> DockerLab:
        """Start to make the containers; `wait_ready` says whether that went well."""
        if self._image is None:
            raise BackendError(f"the image {image_tag()} isn't there", f"build it: invoke image ({SIZE_WORDS})")
        return DockerLab(self._engine, self._compose, self._image, scenario, folder)
