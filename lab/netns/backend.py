"""The caller's side of the netns backend: keeps the protocol of `lab.backend`."""

import os
import shutil
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path

from lab import __version__
from lab.backend import ClientResult, Witness
from lab.curl.command import curl_command
from lab.errors import BackendError
from lab.netns.isolation import require_linux
from lab.scenario.model import Scenario
from lab.settled import load_meanwhile

OURS = f"handshake-lab {__version__}"
VERSION_S = 5.0
STEP_S = 20.0  # how long a step may take that has no deadline of its own


class NetnsBackend:
    """Labs of network namespaces: no daemon, no image."""

    name = "netns"
    is_exact = True

    def prepare(self, scenario: Scenario, say: Callable[[str], None]) -> None:
        """Nothing: it plays every scenario, and needs nothing that would take time."""

    def create(self, scenario: Scenario, folder: Path) -> "NetnsLab":
        """Start to make the hosts; `wait_ready` says whether that went well."""
        require_linux()
        return NetnsLab(scenario, folder, find_curl())


def find_curl() -> str:
    """The path of the machine's curl."""
    curl = shutil.which("curl")
    if curl is None:
        raise BackendError("there is no curl on this machine's PATH", "install it: sudo apt-get install curl")
    return str(Path(curl).absolute())  # not its target: a program may go by the name it was called


def _ask_version(curl: str) -> subprocess.Popen[bytes]:
    """Start `curl --version`, which runs beside the lab while that is made."""
    try:
        return subprocess.Popen(
            [curl, "--version"],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
    except OSError as error:
        raise BackendError(f"{curl} can't be run: {error.strerror}", "install curl again, or mend your PATH") from None


class NetnsLab:
    """A running lab, as its caller sees it."""

    def __init__(self, scenario: Scenario, folder: Path, curl: str) -> None:
        from lab.netns.machine import Machine  # what init needs is imported once, before the fork
        from lab.netns.supervisor import Supervisor

        self._version = _ask_version(curl)
        self._captured = False
        client = scenario.client
        self._commands = tuple(tuple(curl_command(curl, words, client.port)) for words in client.commands)
        self._deadline_s = scenario.client.deadline_s
        self._settle_s = scenario.settle_s
        self._supervisor = Supervisor(lambda: Machine(scenario, folder, curl).handle, folder / "lab.log")
        load_meanwhile()

    def wait_ready(self) -> None:
        """Return when resolver and server have said that they listen."""
        self._supervisor.ask("wait_ready", STEP_S)

    def start_capture(self) -> None:
        """Put wire and sidecar between the hosts."""
        self._supervisor.ask("start_capture", STEP_S)

    def run_client(self) -> ClientResult:
        """Run curl, as often as the scenario has it."""
        statuses = self._supervisor.ask("run_client", self._deadline_s + STEP_S)
        return ClientResult(self._commands[: len(statuses)], tuple(statuses))

    def settle(self) -> bool:
        """Wait until the wire is quiet and the kernels say that every connection has ended."""
        settled: bool = self._supervisor.ask("settle", self._settle_s + STEP_S)
        return settled

    def stop_capture(self) -> Witness:
        """Finish the capture."""
        facts = self._supervisor.ask("stop_capture", STEP_S)
        self._captured = True
        facts["versions"] = {"curl": self._curl_version(), "resolver": OURS, "server": OURS, "sidecar": OURS}
        self._supervisor.kill()  # the kernel tears down while the caller analyses
        lost = {role: count for role, count in facts["dropped_for_want_of_queue"].items() if count}
        dropped = (f"the {role}'s link dropped {count} frame(s) for want of queue" for role, count in lost.items())
        doubts = (*facts.pop("doubts"), *dropped)
        return Witness(doubts, facts)

    def _curl_version(self) -> str:
        """The first line that `curl --version` prints; it ran beside the lab."""
        try:
            output, _ = self._version.communicate(timeout=VERSION_S)
        except subprocess.TimeoutExpired:
            return "unknown: `curl --version` gave no answer"
        return output.decode("ascii", "replace").partition("\n")[0]

    def destroy(self) -> None:
        """End every process of the lab.

        After a run that went well the kernel frees their devices a moment later; else nothing more may be written to
        the run's folder, so the last process is awaited.
        """
        self._supervisor.kill()
        self._supervisor.reap(with_init=not self._captured)
        if self._version.poll() is None:
            os.killpg(self._version.pid, signal.SIGKILL)
            self._version.wait()
        if self._version.stdout:
            self._version.stdout.close()
