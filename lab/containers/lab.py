"""A lab on Docker, step by step: keeps the protocol of `lab.backend.Lab`."""

import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from lab.backend import ClientResult, Witness
from lab.containers.engine import Engine, engine_errors
from lab.containers.image import Image
from lab.containers.logs import POLL_S, Logs, see_log
from lab.containers.sidecar import Sidecar, parse_counts
from lab.containers.sockets import look_at_sockets
from lab.containers.stream import STDOUT, Command
from lab.containers.topology import Topology
from lab.curl.command import curl_command
from lab.errors import StepError
from lab.interrupts import uninterrupted
from lab.scenario.model import Scenario

if TYPE_CHECKING:
    from lab.settled import Ending

READY = {"resolver": "dnsmasq[1]: started", "server": "start worker process ", "sidecar": "listening on eth0"}
READY_S, STEP_S = 15.0, 20.0
QUIET_S, SETTLE_S, SENTINEL_S, COUNTS_S = 0.02, 5.0, 5.0, 5.0
AT_THE_START_LINE = ("sh", "-c", 'read -r go && exec "$@" </dev/null', "sh")
ENVIRONMENT = ("env", "-i", "PATH=/usr/bin:/bin", "LC_ALL=C")  # no proxies of the Docker client's
COULD_NOT_START = (125, 126, 127)  # timeout(1), env(1)
KILLED = 137
SEE_LAB_LOG = "see lab.log in the run's folder"


class DockerLab:
    """A running lab, as its caller sees it."""

    def __init__(self, engine: Engine, compose: str, image: Image, scenario: Scenario, folder: Path) -> None:
        self._engine = engine
        self._folder = folder
        self._deadline_s = scenario.client.deadline_s
        self._closes = scenario.closes
        (arguments,) = scenario.client.commands  # `unplayable` refuses more
        self._command = tuple(curl_command("curl", arguments, scenario.client.port))
        self._topology = Topology(engine, compose, image, scenario, folder)
        self._logs = Logs(engine, self._topology, folder)
        self._sidecar: Sidecar | None = None
        self._client: Command | None = None
        self._facts: dict[str, object] = {}
        self._ending: Ending | None = None
        self._is_down = False

    def wait_ready(self) -> None:
        """Return when the containers run and resolver, server and sidecar have said that they listen."""
        with uninterrupted():
            import analysis.report  # noqa: F401 - for later: compose needs half a second anyhow
        self._topology.wait_up()
        with engine_errors("ready"):
            for role, words in READY.items():
                self._logs.await_words(role, words, READY_S)

    def start_capture(self) -> None:
        """Follow the sidecar's capture, and return when it shows the first sentinel.

        Meanwhile the engine starts the client's command, too, which then waits for `run_client` to let it go.
        """
        limit = ("timeout", "--signal=KILL", f"{self._deadline_s:.6f}")
        words = [*AT_THE_START_LINE, *ENVIRONMENT, *limit, *self._command]
        with engine_errors("capture"):
            self._client = Command(self._engine, self._topology.container("client"), words)
            container = self._topology.container("sidecar")
            self._sidecar = Sidecar(self._engine, container, self._folder / "capture.pcap")
            self._facts = self._find_facts()
            if self._sidecar.begin(SENTINEL_S):
                return
            said = self._logs.last_line("sidecar")
        message = f"the sidecar didn't capture the first sentinel within {SENTINEL_S:.0f} s; it said last: {said}"
        raise StepError("capture", message, see_log("sidecar"))

    def _find_facts(self) -> dict[str, object]:
        ours, theirs = self._topology.facts(), self._logs.facts()
        return {**ours, **theirs, "versions": {**ours["versions"], **theirs["versions"]}}

    def run_client(self) -> ClientResult:
        """Let curl go, and see it through to its end; timeout(1) kills it at the scenario's deadline."""
        assert self._client is not None  # noqa: S101 - the steps come in order
        start = time.monotonic()
        with engine_errors("client"):
            self._client.write(b"go\n")
            out, log = self._folder / "client.out", self._folder / "client.log"
            with out.open("wb") as body, log.open("wb") as errors:
                _copy(self._client, body, errors, start + self._deadline_s + STEP_S)
            status = self._client.wait(time.monotonic() + STEP_S)
            self._require_alive()
        if status is None:
            raise StepError("client", "the engine doesn't say how curl ended", SEE_LAB_LOG)
        if status in COULD_NOT_START:
            said = log.read_text(errors="replace").strip()
            raise StepError("client", f"curl could not be started: {said}", "build the image again: invoke image")
        if status == KILLED and time.monotonic() - start >= self._deadline_s:
            return ClientResult((self._command,), (None,))
        return ClientResult((self._command,), (128 - status if status > 128 else status,))

    def _require_alive(self) -> None:
        """A host that died while the client ran is the lab's fault, not the fetch's."""
        for role in ("client", "resolver", "server"):
            if not (state := self._logs.state(role))["Running"]:
                message = f"the {role} died while the client ran (status {state['ExitCode']})"
                raise StepError("client", message, see_log(role))

    def settle(self) -> bool:
        """Wait until every connection in the capture has closed and nothing more came for `QUIET_S`."""
        from lab.settled import read_ending

        sidecar = self._following()
        deadline = time.monotonic() + SETTLE_S
        judged = -1
        with engine_errors("settle"):
            while not sidecar.ended and time.monotonic() < deadline:
                sidecar.read(QUIET_S)
                if time.monotonic() - sidecar.last_activity < QUIET_S:
                    continue
                if judged != sidecar.frame_count:
                    sidecar.flush()
                    judged, self._ending = sidecar.frame_count, read_ending(self._folder / "capture.pcap")
                if self._ending is not None and (self._ending.all_closed or not self._closes):
                    return True
        return False

    def _following(self) -> Sidecar:
        assert self._sidecar is not None  # noqa: S101 - the steps come in order
        return self._sidecar

    def stop_capture(self) -> Witness:
        """Have the last sentinel captured, stop tcpdump, read what it counted; then start to take the lab down."""
        sidecar = self._following()
        with engine_errors("stop"):
            sockets = self._look_at_sockets()
            sidecar.finish(SENTINEL_S)
            counts = self._stop_tcpdump()
            self._logs.keep()
        self._topology.take_down()  # while the caller analyses
        self._is_down = True
        facts = {**self._facts, "frame_count": sidecar.frame_count, "sidecar": counts, "sockets": sockets}
        return Witness((*sidecar.doubts(counts, self._logs.last_line_read("sidecar")), *self._race()), facts)

    def _look_at_sockets(self) -> list[dict[str, object]]:
        """What the kernels say of the connections, once nothing moves any more."""
        if self._ending is None or not self._ending.all_closed:
            return []
        import docker.errors

        topology, count = self._topology, self._following().frame_count
        hosts = {str(topology.addresses.resolver): "resolver"}
        with suppress(docker.errors.APIError):  # a host that has died says nothing
            containers = {role: topology.container(role) for role in ("client", "resolver", "server")}
            return look_at_sockets(self._engine, containers, self._ending.connections, hosts, count)
        return []

    def _race(self) -> tuple[str, ...]:
        """What nginx may do of its own accord, to requests that curl was told to make: no scenario has it here."""
        if self._ending is None or not self._ending.server_first:
            return ()
        return ("nginx ended a connection before curl did, in a race with it: the netns backend can play that",)

    def _stop_tcpdump(self) -> dict[str, int]:
        """Interrupt tcpdump, and wait for the counts that it prints last; empty if they don't come."""
        import docker.errors

        with suppress(docker.errors.APIError):  # it has ended already
            self._engine.api.kill(self._topology.container("sidecar"), "SIGINT")
        deadline = time.monotonic() + COUNTS_S
        while "dropped by kernel" not in (counts := parse_counts(self._logs.read("sidecar"))):
            if not self._logs.state("sidecar")["Running"] or time.monotonic() > deadline:
                return parse_counts(self._logs.read("sidecar"))
            time.sleep(POLL_S)
        return counts

    def destroy(self) -> None:
        """Remove containers and network, and keep what they said. `StepError` if the engine doesn't let it."""
        try:
            if not self._is_down:
                with suppress(StepError, OSError), engine_errors("destroy"):
                    self._logs.keep()
        finally:
            self._topology.remove()
        for following in (self._sidecar, self._client):
            if following is not None:
                following.close()


def _copy(command: Command, body: BinaryIO, errors: BinaryIO, deadline: float) -> None:
    """The streams of `command` to two files, until they end."""
    while not command.ended:
        for stream, data in command.read(1.0):
            (body if stream == STDOUT else errors).write(data)
        if time.monotonic() > deadline:
            raise StepError("client", "curl could not be stopped at its deadline", SEE_LAB_LOG)
