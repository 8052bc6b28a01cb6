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


def examine(runs: Path) -> tuple[Check, ...]:
    """Try all that the netns backend needs; what depends on something missing is not tried."""
    tries: tuple[tuple[str, Callable[[], str]], ...] = (
        ("Linux", _linux),
        ("curl", _curl),
        ("hosts: namespaces and TAP devices", _hosts),
        ("the folder of runs", lambda: _writable(runs)),
    )
    checks: list[Check] = []
    for name, attempt in tries:
        try:
            checks.append(Check(name, ok=True, found=attempt()))
        except LabError as error:
            checks.append(Check(name, ok=False, found=str(error), mend=error.next_step))
            if name == "Linux":
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
