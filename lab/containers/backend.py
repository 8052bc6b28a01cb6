"""The caller's side of the Docker backend: keeps the protocol of `lab.backend`."""

import re
import secrets
import subprocess
import time
from collections.abc import Mapping
from contextlib import suppress
from ipaddress import IPv4Network
from pathlib import Path
from typing import BinaryIO

from lab.backend import ClientResult, Witness
from lab.containers.compose import Compose, find_compose
from lab.containers.engine import Engine, engine_errors
from lab.containers.image import SIZE_WORDS, Image, Say, build_image, find_image, image_tag
from lab.containers.leftovers import find_leftovers, remove_run
from lab.containers.network import Addresses, Blocker, SubnetLock, place, take_subnet
from lab.containers.owner import Owner
from lab.containers.render import require_playable, write_config
from lab.containers.sidecar import Sidecar, parse_counts
from lab.containers.stream import STDOUT, Command
from lab.curl import curl_command
from lab.errors import BackendError, StepError
from lab.interrupts import uninterrupted
from lab.scenario import Scenario

ROLES = ("client", "resolver", "server", "sidecar")
READY = {"resolver": "dnsmasq[1]: started", "server": "start worker process ", "sidecar": "listening on eth0"}
UP_S, READY_S, STEP_S = 60.0, 15.0, 20.0
QUIET_S, SETTLE_S, SENTINEL_S, COUNTS_S = 0.02, 5.0, 5.0, 5.0
POLL_S = 0.005  # between two looks at a log
TRIES = 3  # of subnets that the engine refuses
OVERLAP = "overlap"
SAID_AT_START = re.compile(r"^lab: (sysctl|version) (\S+?)[: ](.*)$", re.MULTILINE)
AT_THE_START_LINE = ("sh", "-c", 'read -r go && exec "$@" </dev/null', "sh")
ENVIRONMENT = ("env", "-i", "PATH=/usr/bin:/bin", "LC_ALL=C")  # no proxies of the Docker client's
COULD_NOT_START = (125, 126, 127)  # timeout(1), env(1)
KILLED = 137


class DockerBackend:
    """Labs of containers, on an engine that answers."""

    name = "docker"

    def __init__(self, *, offline: bool = False) -> None:
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

    def create(self, scenario: Scenario, folder: Path) -> "DockerLab":
        """Start to make the containers; `wait_ready` says whether that went well."""
        if self._image is None:
            raise BackendError(f"the image {image_tag()} isn't there", f"build it: invoke image ({SIZE_WORDS})")
        return DockerLab(self._engine, self._compose, self._image, scenario, folder)


class DockerLab:
    """A running lab, as its caller sees it."""

    def __init__(self, engine: Engine, compose: str, image: Image, scenario: Scenario, folder: Path) -> None:
        self._engine = engine
        self._compose_path = compose
        self._image = image
        self._scenario = scenario
        self._folder = folder
        self._run = secrets.token_hex(6)
        self._project = f"handshake-lab-{self._run}"
        self._command = tuple(curl_command("curl", scenario.client))
        self._refused: list[IPv4Network] = []
        self._sidecar: Sidecar | None = None
        self._client: Command | None = None
        self._facts: dict[str, object] = {}
        self._down: subprocess.Popen[bytes] | None = None
        self._logs: dict[str, str] = {}
        self._lock: SubnetLock
        self._addresses: Addresses
        self._compose: Compose
        self._up: subprocess.Popen[bytes]
        self._start()

    def _start(self) -> None:
        """Take a subnet, write the configuration, and start `docker compose up`."""
        with engine_errors("create"):
            networks = self._engine.api.networks()
        subnet, self._lock = take_subnet(_used(networks), self._refused)
        self._addresses = place(self._scenario, subnet)
        config = self._folder / f"config{len(self._refused) or ''}"
        write_config(self._scenario, self._addresses, config)
        variables = self._variables(config)
        self._compose = Compose(self._compose_path, self._project, variables, self._folder / "lab.log")
        self._up = self._compose.up()

    def _variables(self, config: Path) -> dict[str, str]:
        """What compose.yaml asks for."""
        first, *more = self._addresses.of_server
        return {
            "DOCKER_HOST": self._engine.host,
            "LAB_IMAGE": self._image.id,
            "LAB_CONFIG": str(config.absolute()),
            "LAB_SUBNET": str(self._addresses.subnet),
            "LAB_GATEWAY": str(self._addresses.gateway),
            "LAB_CLIENT": str(self._addresses.client),
            "LAB_RESOLVER": str(self._addresses.resolver),
            "LAB_SERVER": str(first),
            "LAB_MORE_ADDRESSES": " ".join(map(str, more)),
            "LAB_QUICKACK": str(int(self._scenario.server.quickack)),
            "LAB_RUN": self._run,
            "LAB_OWNER": Owner.this_process().label(),
        }

    def _container(self, role: str) -> str:
        return f"{self._project}-{role}-1"

    def wait_ready(self) -> None:
        """Return when the containers run and resolver, server and sidecar have said that they listen."""
        _load_what_comes_after()
        self._wait_up()
        deadline = time.monotonic() + READY_S
        for role, words in READY.items():
            self._wait_for(role, words, deadline)

    def _wait_up(self) -> None:
        while True:
            try:
                status = self._up.wait(UP_S)
            except subprocess.TimeoutExpired:
                raise StepError("ready", f"docker compose up wasn't done within {UP_S:.0f} s", "see lab.log") from None
            if status == 0:
                return
            said = self._last_words()
            if OVERLAP not in said or len(self._refused) == TRIES:
                raise StepError("ready", f"docker compose up failed: {said}", "see lab.log in the run's folder")
            self._refused.append(self._addresses.subnet)
            with engine_errors("ready"):
                remove_run(self._engine, self._run)
            self._lock.close()
            self._start()

    def _last_words(self) -> str:
        lines = (self._folder / "lab.log").read_text(errors="replace").strip().splitlines()
        return " / ".join(" ".join(line.split()) for line in lines[-2:]) or "it said nothing"

    def _wait_for(self, role: str, words: str, deadline: float) -> None:
        """Look at the log of `role` until `words` are in it."""
        with engine_errors("ready"):
            while words not in self._log(role):
                state = self._engine.api.inspect_container(self._container(role))["State"]
                if not state["Running"]:
                    said = _last_line(self._log(role))
                    message = f"the {role} ended before it was ready (status {state['ExitCode']}): {said}"
                    raise StepError("ready", message, _see_log(role))
                if time.monotonic() > deadline:
                    message = f"the {role} wasn't ready within {READY_S:.0f} s; awaited in its log: {words!r}"
                    raise StepError("ready", message, _see_log(role))
                time.sleep(POLL_S)

    def _log(self, role: str) -> str:
        """What the container of `role` has said so far."""
        text: bytes = self._engine.api.logs(self._container(role))
        self._logs[role] = text.decode("utf-8", "replace")
        return self._logs[role]

    def start_capture(self) -> None:
        """Follow the sidecar's capture, and return when it shows the first sentinel.

        Meanwhile the engine starts the client's command, too, which then waits for `run_client` to let it go.
        """
        limit = ("timeout", "--signal=KILL", f"{self._scenario.client.deadline_s:.6f}")
        words = [*AT_THE_START_LINE, *ENVIRONMENT, *limit, *self._command]
        with engine_errors("capture"):
            self._client = Command(self._engine, self._container("client"), words, stdin=True)
            self._sidecar = Sidecar(self._engine, self._container("sidecar"), self._folder / "capture.pcap")
            self._facts = self._find_facts()
            if self._sidecar.begin(SENTINEL_S):
                return
            said = _last_line(self._log("sidecar"))
        message = f"the sidecar didn't capture the first sentinel within {SENTINEL_S:.0f} s; it said last: {said}"
        raise StepError("capture", message, _see_log("sidecar"))

    def run_client(self) -> ClientResult:
        """Run curl; timeout(1) kills it at the scenario's deadline."""
        assert self._client is not None  # noqa: S101 - the steps come in order
        deadline_s = self._scenario.client.deadline_s
        start = time.monotonic()
        with engine_errors("client"):
            self._client.write(b"go\n")
            out, log = self._folder / "client.out", self._folder / "client.log"
            with out.open("wb") as body, log.open("wb") as errors:
                _copy(self._client, body, errors, start + deadline_s + STEP_S)
            status = self._client.wait(time.monotonic() + STEP_S)
            self._require_alive()
        if status is None:
            raise StepError("client", "the engine doesn't say how curl ended", "see lab.log in the run's folder")
        if status in COULD_NOT_START:
            said = _last_line(log.read_text(errors="replace"))
            raise StepError("client", f"curl could not be started: {said}", "build the image again: invoke image")
        if status == KILLED and time.monotonic() - start >= deadline_s:
            return ClientResult(self._command, None)
        return ClientResult(self._command, 128 - status if status > 128 else status)

    def _require_alive(self) -> None:
        """A service that died while the client ran is the lab's fault, not the fetch's."""
        for role in ("client", "resolver", "server"):
            state = self._engine.api.inspect_container(self._container(role))["State"]
            if not state["Running"]:
                message = f"the {role} died while the client ran (status {state['ExitCode']})"
                raise StepError("client", message, _see_log(role))

    def settle(self) -> bool:
        """Wait until every connection in the capture has closed and nothing more came for `QUIET_S`."""
        from lab.settled import all_closed

        sidecar = self._following()
        deadline = time.monotonic() + SETTLE_S
        judged = (-1, False)
        with engine_errors("settle"):
            while not sidecar.ended and time.monotonic() < deadline:
                sidecar.read(QUIET_S)
                if time.monotonic() - sidecar.last_activity < QUIET_S:
                    continue
                if judged[0] != sidecar.frame_count:
                    sidecar.flush()
                    judged = (sidecar.frame_count, all_closed(self._folder / "capture.pcap"))
                if judged[1]:
                    return True
        return False

    def _following(self) -> Sidecar:
        assert self._sidecar is not None  # noqa: S101 - the steps come in order
        return self._sidecar

    def stop_capture(self) -> Witness:
        """Have the last sentinel captured, stop tcpdump, read what it counted; then start to take the lab down."""
        sidecar = self._following()
        with engine_errors("stop"):
            complete = sidecar.finish(SENTINEL_S)
            counts = self._stop_tcpdump()
            for role in ROLES:
                self._log(role)
        self._keep_logs()
        self._down = self._compose.down()  # while the caller analyses
        facts = {**self._facts, "frame_count": sidecar.frame_count, "sidecar": counts}
        return Witness(tuple(_doubts(sidecar, counts, complete=complete)), facts)

    def _stop_tcpdump(self) -> dict[str, int]:
        """Interrupt tcpdump, and wait for the counts that it prints last; empty if they don't come."""
        import docker.errors

        with suppress(docker.errors.APIError):  # it has ended already
            self._engine.api.kill(self._container("sidecar"), "SIGINT")
        deadline = time.monotonic() + COUNTS_S
        while "dropped by kernel" not in (counts := parse_counts(self._log("sidecar"))):
            state = self._engine.api.inspect_container(self._container("sidecar"))["State"]
            if not state["Running"] or time.monotonic() > deadline:
                return parse_counts(self._log("sidecar"))
            time.sleep(POLL_S)
        return counts

    def _find_facts(self) -> dict[str, object]:
        """What is known of the lab when all its containers run."""
        sysctls: dict[str, dict[str, str]] = {}
        versions: dict[str, str] = {}
        for role, host in (("sidecar", "client"), ("resolver", "resolver"), ("server", "server")):
            for kind, name, value in SAID_AT_START.findall(self._logs[role]):
                (versions if kind == "version" else sysctls.setdefault(host, {}))[name] = " ".join(value.split())
        places = self._addresses
        return {
            "versions": {
                "curl": f"curl {versions.get('curl', 'unknown')}",
                "resolver": f"dnsmasq {versions.get('dnsmasq-base', 'unknown')}",
                "server": f"nginx {versions.get('nginx', 'unknown')}",
                "sidecar": f"tcpdump {versions.get('tcpdump', 'unknown')}",
                "compose": f"docker compose {self._compose_version()}",
                **self._engine.facts,
            },
            "image": {"tag": self._image.tag, "id": self._image.id, "digests": list(self._image.digests)},
            "run": self._run,
            "subnet": str(places.subnet),
            "addresses": {
                "client": [str(places.client)],
                "resolver": [str(places.resolver)],
                "server": [str(address) for address in places.of_server],
            },
            "sysctls": sysctls,
        }

    def _compose_version(self) -> str:
        """The plugin's version, as it labels what it makes."""
        labels = self._engine.api.inspect_container(self._container("client"))["Config"]["Labels"]
        return str(labels.get("com.docker.compose.version", "unknown"))

    def _keep_logs(self) -> None:
        for role, text in self._logs.items():
            if role != "client":
                (self._folder / f"{role}.log").write_text(SAID_AT_START.sub("", text).lstrip("\n"))

    def destroy(self) -> None:
        """Remove containers and network. `StepError` if the engine doesn't let it: `invoke clean` will, later."""
        try:
            if self._up.poll() is None:
                self._up.wait(UP_S)  # what it is about to make would outlive a removal now
            if self._down is None or self._down.wait(UP_S) != 0:
                with suppress(StepError), engine_errors("destroy"):
                    self._read_left_logs()
                with engine_errors("destroy"):
                    remove_run(self._engine, self._run)
        except subprocess.TimeoutExpired:
            self._up.kill()
            raise StepError(
                "destroy", "docker compose doesn't come to an end", "remove what it left: invoke clean"
            ) from None
        finally:
            for following in (self._sidecar, self._client):
                if following is not None:
                    following.close()
            self._lock.close()

    def _read_left_logs(self) -> None:
        """Keep what the containers of a failed run said."""
        there = {one.name for one in find_leftovers(self._engine, self._run)}
        for role in ROLES:
            if self._container(role) in there:
                self._log(role)
        self._keep_logs()


def _load_what_comes_after() -> None:
    """Import the analysis now: compose needs half a second anyhow."""
    with uninterrupted():
        import lab.settled  # noqa: F401


def _used(networks: list[dict[str, object]]) -> list[Blocker]:
    """The subnets of the engine's networks."""
    used: list[Blocker] = []
    for network in networks:
        ipam = network.get("IPAM")
        configs = ipam.get("Config") if isinstance(ipam, dict) else None
        for config in configs or []:
            with suppress(ValueError, KeyError):  # IPv6, or none
                used.append(Blocker(IPv4Network(config["Subnet"]), f"Docker's network {network.get('Name')}"))
    return used


def _copy(command: Command, body: BinaryIO, errors: BinaryIO, deadline: float) -> None:
    """The streams of `command` to two files, until they end."""
    while not command.ended:
        for stream, data in command.read(1.0):
            (body if stream == STDOUT else errors).write(data)
        if time.monotonic() > deadline:
            raise StepError("client", "curl could not be stopped at its deadline", "see lab.log in the run's folder")


def _doubts(sidecar: Sidecar, counts: Mapping[str, int], *, complete: bool) -> list[str]:
    """Why the capture may not be complete, in sentences."""
    doubts: list[str] = []
    if sidecar.ended and not complete:
        doubts.append("the sidecar ended before the run did: frames since then are missing")
    elif not complete:
        doubts.append("the sentinel sent after the close is not in the capture: its end may be missing")
    if "dropped by kernel" not in counts:
        doubts.append("tcpdump didn't say how many frames the kernel dropped: some may be missing")
    lost = (where for where in ("dropped by kernel", "dropped by interface") if counts.get(where))
    doubts.extend(f"tcpdump: {counts[where]} frame(s) {where}" for where in lost)
    return doubts


def _last_line(log: str) -> str:
    lines = log.strip().splitlines()
    return lines[-1] if lines else "nothing"


def _see_log(role: str) -> str:
    return f"see {role}.log in the run's folder"
