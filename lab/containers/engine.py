"""The connection to a Docker engine. The SDK's and its libraries' errors end here, and become the lab's."""

import json
import os
import socket
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import Any

from lab.errors import BackendError, StepError

OLDEST_API = (1, 41)  # Docker 20.10
TIMEOUT_S = 20.0
DEFAULT_SOCKETS = ("/var/run/docker.sock", "/run/docker.sock")
GONE = (ConnectionError, TimeoutError)  # of a stream's socket; any other OSError is this machine's own
AROUND = "use --backend netns, which needs none"


def is_likely() -> bool:
    """Whether there may be an engine: one is named, or its socket is there. Asks nothing, and imports no SDK."""
    return "DOCKER_HOST" in os.environ or _context() is not None or any(map(os.path.exists, DEFAULT_SOCKETS))


def _context() -> str | None:
    """The CLI's current context, if it isn't the default one."""
    name = os.environ.get("DOCKER_CONTEXT") or docker_config().get("currentContext")
    return str(name) if name not in (None, "", "default") else None


def config_folder() -> Path:
    """Where the Docker CLI keeps its configuration."""
    home = os.path.expanduser("~")  # noqa: PTH111 - Path.home raises where a user has none
    return Path(os.environ.get("DOCKER_CONFIG") or Path(home, ".docker"))


def docker_config() -> dict[str, Any]:
    """The CLI's configuration; empty where there is none that can be read, which is how the CLI and the SDK take it."""
    try:
        config = json.loads((config_folder() / "config.json").read_text())
    except (OSError, ValueError):
        return {}
    return config if isinstance(config, dict) else {}


class Engine:
    """A Docker engine that answers and is new enough."""

    def __init__(self) -> None:
        """Connect as the Docker CLI would: DOCKER_HOST, the current context, the default socket. `BackendError`."""
        import docker
        import docker.utils

        self.host = os.environ.get("DOCKER_HOST") or f"unix://{DEFAULT_SOCKETS[0]}"
        try:
            settings: dict[str, Any] = docker.utils.kwargs_from_env()
            if "base_url" not in settings:
                settings = _from_context()
            self.host = settings.get("base_url") or self.host
            _knock(self.host)
            self.api = docker.APIClient(version="auto", timeout=TIMEOUT_S, **settings)
        except docker.errors.DockerException as error:
            if not isinstance(error, docker.errors.TLSParameterError):
                raise _unreachable(self.host, error) from None
            raise _unusable(error) from None
        except (AttributeError, KeyError, TypeError, ValueError) as error:  # the SDK trusts what it reads
            raise _unusable(error) from None
        version = str(self.api.api_version)
        if tuple(map(int, version.split("."))) < OLDEST_API:
            self.api.close()
            raise BackendError(
                f"the Docker engine at {self.host} is too old: its API is {version}",
                f"the lab needs {'.'.join(map(str, OLDEST_API))}: update Docker to 20.10 or later, or {AROUND}",
            )

    def close(self) -> None:
        """Close the connection."""
        self.api.close()

    @cached_property
    def facts(self) -> Mapping[str, str]:
        """Version, API version and kernel of the engine."""
        version = self.api.version(api_version=False)
        return {
            "engine": f"Docker {version['Version']}",
            "engine_api": str(self.api.api_version),
            "engine_kernel": str(version.get("KernelVersion", "unknown")),
        }


def _knock(host: str) -> None:
    """Fail where nothing listens on a Unix socket: the SDK would leave its own socket open. `BackendError`."""
    if not host.startswith("unix://"):
        return
    with socket.socket(socket.AF_UNIX) as door:
        door.settimeout(TIMEOUT_S)
        try:
            door.connect(host.removeprefix("unix://"))
        except OSError as error:
            raise _unreachable(host, error) from None


def _from_context() -> dict[str, Any]:
    name = _context()
    if name is None:
        return {}
    from docker.context import ContextAPI

    try:
        context = ContextAPI.get_context(name)
    except Exception as error:  # noqa: BLE001 - what it raises of a broken context is a bare Exception
        raise _unusable(error) from None
    if context is None:
        raise BackendError(f"there is no Docker context {name!r}", "choose another: docker context use default")
    settings: dict[str, Any] = {"base_url": context.Host}
    if context.TLSConfig:
        settings["tls"] = context.TLSConfig
    return settings


def _unusable(error: Exception) -> BackendError:
    return BackendError(
        f"Docker's settings can't be used ({type(error).__name__}: {' '.join(str(error).split())})",
        f"mend {config_folder() / 'config.json'}, or the variables that begin with DOCKER_; or {AROUND}",
    )


def _unreachable(host: str, error: Exception) -> BackendError:
    if "Permission denied" in str(error):
        return BackendError(
            f"this user may not talk to the Docker engine at {host}",
            f"run it with sudo, or: sudo usermod -aG docker $USER, and log in again; or {AROUND}",
        )
    if not isinstance(error, OSError) and "onnection" not in str(error) and "FileNotFound" not in str(error):
        return _unusable(error)
    return BackendError(
        f"no Docker engine answers at {host}",
        f"start it (sudo systemctl start docker; Docker Desktop), or {AROUND}",
    )


def broken_off() -> tuple[type[Exception], ...]:
    """What the SDK and its libraries raise where an engine doesn't answer, or not to the end."""
    import docker.errors
    import requests.exceptions
    import urllib3.exceptions

    return (
        docker.errors.DockerException,
        docker.errors.StreamParseError,
        requests.exceptions.RequestException,
        urllib3.exceptions.HTTPError,
        *GONE,
    )


@contextmanager
def engine_errors(step: str) -> Iterator[None]:
    """Turn whatever the SDK raises into a `StepError` of `step`."""
    import docker.errors

    try:
        yield
    except docker.errors.NotFound as error:
        message = f"the engine no longer has what the run made: {_explanation(error)}"
        raise StepError(step, message, "something else removed it, or the engine was restarted: run it again") from None
    except docker.errors.APIError as error:
        raise StepError(step, f"the Docker engine refused: {_explanation(error)}", "see lab.log") from None
    except broken_off() as error:
        message = f"the Docker engine went away ({type(error).__name__})"
        raise StepError(step, message, "see whether it runs: docker version; then: invoke clean") from None


def _explanation(error: Any) -> str:
    return " ".join(str(error.explanation or error).split())
