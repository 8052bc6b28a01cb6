"""A backend without hosts: plays back a capture. For tests of what stands around a backend, and of new backends."""

from collections.abc import Callable
from pathlib import Path

from lab.backend import ClientResult, Witness
from lab.curl.command import curl_command
from lab.errors import StepError
from lab.scenario.model import Scenario

ROLES = ("client", "resolver", "server")


class FakeBackend:
    """Labs whose client "fetches" what is in `capture`, the content of a pcap file.

    `exit_status` is its curl's (None: it was stopped at its deadline); `doubts` are the sidecar's. The step named
    `fails` raises `StepError`. `calls` are the steps done so far, of all its labs.
    """

    name = "fake"
    is_exact = True

    def __init__(
        self,
        capture: bytes,
        *,
        exit_status: int | None = 0,
        settles: bool = True,
        doubts: tuple[str, ...] = (),
        fails: str | None = None,
    ) -> None:
        self.capture = capture
        self.exit_status = exit_status
        self.settles = settles
        self.doubts = doubts
        self.calls: list[str] = []
        self._fails = fails

    def step(self, name: str) -> None:
        """Note that a lab does the step `name`, and fail there if this backend is to."""
        self.calls.append(name)
        if name == self._fails:
            raise StepError(name, f"the fake backend fails at {name}", "choose another backend")

    def prepare(self, scenario: Scenario, say: Callable[[str], None]) -> None:
        """Nothing: it doesn't look at the scenario."""

    def create(self, scenario: Scenario, folder: Path) -> "FakeLab":
        """A lab of no hosts."""
        self.step("create")
        return FakeLab(self, scenario, folder)


class FakeLab:
    """A lab that only goes through the steps."""

    def __init__(self, backend: FakeBackend, scenario: Scenario, folder: Path) -> None:
        self._backend = backend
        self._scenario = scenario
        self._folder = folder

    def wait_ready(self) -> None:
        """At once."""
        self._backend.step("ready")

    def start_capture(self) -> None:
        """At once."""
        self._backend.step("capture")

    def run_client(self) -> ClientResult:
        """What curl would have been called with, and the status that it is to have."""
        self._backend.step("client")
        client = self._scenario.client
        commands = tuple(tuple(curl_command("curl", words, client.port)) for words in client.commands)
        return ClientResult(commands, (self._backend.exit_status,) * len(commands))

    def settle(self) -> bool:
        """As it is to be."""
        self._backend.step("settle")
        return self._backend.settles

    def stop_capture(self) -> Witness:
        """Write the capture."""
        self._backend.step("stop")
        for name in ("client.out", "client.log"):
            (self._folder / name).touch()
        (self._folder / "capture.pcap").write_bytes(self._backend.capture)
        versions = dict.fromkeys(("curl", "resolver", "server", "sidecar"), "fake")
        addresses: dict[str, list[str]] = {role: [] for role in ROLES}
        return Witness(self._backend.doubts, {"versions": versions, "addresses": addresses})

    def destroy(self) -> None:
        """Nothing to remove."""
        self._backend.step("destroy")
