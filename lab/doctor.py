"""What a backend needs, tried for real in a child process, and the one command that mends what is missing."""

import os
import subprocess
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from analysis.errors import LabError


@dataclass(frozen=True, slots=True)
class Check:
    """One thing that a backend needs: what was found, and how to mend it where it is missing."""

    name: str
    ok: bool
    found: str
    mend: str = ""


Try = tuple[str, Callable[[], str]]


def examine(runs: Path) -> tuple[Check, ...]:
    """Try all that the netns backend needs; what depends on something missing is not tried."""
    return _tried(
        ("Linux", _linux),
        ("curl", _curl),
        ("hosts: namespaces and TAP devices", _hosts),
        ("the folder of runs", lambda: _writable(runs)),
        alone="Linux",
    )


def examine_docker() -> tuple[Check, ...]:
    """Try all that the Docker backend needs."""
    return _tried(("engine", _engine), ("docker compose", _compose), ("image", _image), alone="engine")


def _tried(*tries: Try, alone: str) -> tuple[Check, ...]:
    """Each of `tries` in turn; none of the others where `alone` fails."""
    checks: list[Check] = []
    for name, attempt in tries:
        try:
            checks.append(Check(name, ok=True, found=attempt()))
        except LabError as error:
            checks.append(Check(name, ok=False, found=str(error), mend=error.next_step))
            if name == alone:
                break
    return tuple(checks)


def try_netns() -> None:
    """Make one host, as a run of the netns backend does; `LabError` says what keeps it from that."""
    for attempt in (_linux, _curl, _hosts):
        attempt()


def _linux() -> str:
    from lab.netns.isolation import require_linux

    require_linux()
    return f"kernel {os.uname().release}"


def _curl() -> str:
    from lab.netns.backend import find_curl

    curl = find_curl()
    try:
        done = subprocess.run([curl, "--version"], capture_output=True, timeout=10, check=True)
    except (OSError, subprocess.SubprocessError) as error:
        raise LabError(f"{curl} doesn't run: {error}", "install it again: sudo apt-get install curl") from None
    return f"{' '.join(done.stdout.decode('ascii', 'replace').split()[:2])} at {curl}"


def _hosts() -> str:
    """Make one host, as a run does, and let it go."""
    from lab.netns.host import open_tap
    from lab.netns.supervisor import Supervisor

    def make_handler() -> Callable[[str], str]:
        os.close(open_tap("eth0"))
        return lambda _: "made"

    with tempfile.TemporaryDirectory() as folder:
        supervisor = Supervisor(make_handler, Path(folder, "log"))
        try:
            supervisor.ask("probe", 10.0)
        finally:
            supervisor.kill()
            supervisor.reap()
    return "a host can be made " + ("as root" if os.geteuid() == 0 else "by this user, in a user namespace")


def _writable(runs: Path) -> str:
    from lab.record import Folder

    Folder(runs, "doctor").discard()
    return str(runs)


def _engine() -> str:
    from lab.containers.engine import Engine, engine_errors

    engine = Engine()
    with engine_errors("doctor"):
        facts = engine.facts
    engine.close()
    return f"{facts['engine']} at {engine.host}, API {facts['engine_api']}"


def _compose() -> str:
    from lab.containers.compose import compose_version, find_compose

    path = find_compose()
    return f"version {compose_version(path) or 'unknown'} at {path}"


def _image() -> str:
    from lab.containers.engine import Engine, engine_errors
    from lab.containers.image import find_image, image_tag

    engine = Engine()
    with engine_errors("doctor"):
        image = find_image(engine)
    engine.close()
    if image is None:
        raise LabError(
            f"{image_tag()} isn't there; the first run would build it",
            "invoke image (without a registry: invoke image --from-packages)",
        )
    return f"{image.tag}, {image.size / 1e6:.0f} MB"
