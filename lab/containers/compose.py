"""The `docker compose` plugin, which makes the topology and takes it down."""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

from lab.containers.engine import AROUND, config_folder, docker_config
from lab.errors import BackendError
from lab.interrupts import end_with

FOLDER = Path(__file__).parent.parent.parent / "compose"
PLUGIN = "docker-compose"
STEERING = ("COMPOSE_", "DOCKER_", "LAB_")  # variables that would steer compose elsewhere
KEPT = ("DOCKER_CONFIG", "DOCKER_CERT_PATH", "DOCKER_TLS_VERIFY")
SYSTEM_FOLDERS = (  # where the Docker CLI looks for plugins
    "/usr/local/lib/docker/cli-plugins",
    "/usr/local/libexec/docker/cli-plugins",
    "/usr/lib/docker/cli-plugins",
    "/usr/libexec/docker/cli-plugins",
)


def find_compose() -> str:
    """The path of the compose plugin, which is run without the CLI before it.

    So it is this process's own child, and dies with it: the CLI's child would go on making containers after `kill -9`
    (docker/cli#4332). `BackendError` if there is none.
    """
    folders = [config_folder() / "cli-plugins", *_extra_folders(), *map(Path, SYSTEM_FOLDERS)]
    for folder in folders:
        path = folder / PLUGIN
        if os.access(path, os.X_OK) and path.is_file():
            return str(path)
    found = shutil.which(PLUGIN)
    if found is not None and re.match(r"[2-9]|[1-9]\d", compose_version(found)):
        return found
    raise BackendError(
        "the docker compose plugin (v2) is not installed",
        f"install it: sudo apt-get install docker-compose-plugin (Docker's packages) or docker-compose-v2; or {AROUND}",
    )


def _extra_folders() -> list[Path]:
    """Folders that the CLI's configuration adds (Docker Desktop does)."""
    folders = docker_config().get("cliPluginsExtraDirs")
    return [Path(folder) for folder in folders if isinstance(folder, str)] if isinstance(folders, list) else []


def compose_version(compose: str) -> str:
    """The version of the plugin at `compose`; empty if it can't be asked."""
    try:
        done = subprocess.run([compose, "version", "--short"], capture_output=True, text=True, timeout=10, check=True)
    except (OSError, subprocess.SubprocessError):
        return ""
    return done.stdout.strip().removeprefix("v")


class Compose:
    """One project of the lab's compose file, with its variables."""

    def __init__(self, path: str, project: str, variables: Mapping[str, str], log: Path) -> None:
        self._command = [path, "--project-name", project, "--file", str(FOLDER / "compose.yaml")]
        inherited = {name: value for name, value in os.environ.items() if name in KEPT or not name.startswith(STEERING)}
        self._environment = {**inherited, **variables}
        self._log = log

    def up(self) -> subprocess.Popen[bytes]:
        """Start to make network and containers, of an image that is there."""
        return self._start("up", "--detach", "--no-build", "--pull", "never")

    def down(self) -> subprocess.Popen[bytes]:
        """Start to remove them."""
        return self._start("down", "--timeout", "0")

    def _start(self, *words: str) -> subprocess.Popen[bytes]:
        with self._log.open("ab") as log:
            return _spawn(
                [*self._command, *words],
                env=self._environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,  # Ctrl-C is for the caller, who ends the rest
                preexec_fn=partial(end_with, os.getpid()) if sys.platform == "linux" else None,
            )


def _spawn(command: list[str], **how: Any) -> subprocess.Popen[bytes]:
    try:
        return subprocess.Popen(command, **how)
    except OSError as error:
        message = f"the docker compose plugin {command[0]} can't be run: {error.strerror}"
        raise BackendError(message, f"install it again, or {AROUND}") from None
