"""What runs as init of a netns lab: makes the hosts, starts their services, and does a run's steps."""

import os
import select
import signal
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from lab.curl.command import curl_command
from lab.errors import StepError
from lab.netns import client, kernel, resolver, server
from lab.netns.host import Host, create_host, dropped_frames, mac_of
from lab.netns.sidecar import Sidecar
from lab.netns.sockets import SocketTables
from lab.netns.supervisor import redirect_output, run_forked
from lab.netns.wire import Wire
from lab.scenario.model import ROLES, Address, Role, Route, Scenario

READY_S = 10.0
PATIENT_RTO_S = 2.0  # where nothing gets lost: a machine that stands still for 0.2 s would look like a loss
QUIET_S = 0.02  # how long nothing may move before a run counts as settled


class Machine:
    """Three hosts, their services and the wire between them. Lives in init of the lab's PID namespace."""

    def __init__(self, scenario: Scenario, folder: Path, curl: str) -> None:
        self._scenario = scenario
        self._folder = folder
        self._curl = curl
        self._hosts = _create_hosts(scenario)
        self._services: dict[Role, int] = {}  # role → pidfd
        self._sidecar: Sidecar | None = None
        self._sockets = SocketTables(list(self._hosts.values()))
        self._wire: Wire | None = None

    def handle(self, step: str) -> Any:
        """Do `step`; what it returns goes to the caller as JSON."""
        steps: dict[str, Callable[[], Any]] = {
            "wait_ready": self.wait_ready,
            "start_capture": self.start_capture,
            "run_client": self.run_client,
            "settle": self.settle,
            "stop_capture": self.stop_capture,
        }
        return steps[step]()

    def wait_ready(self) -> None:
        """Start resolver and server; return when both have said that they listen."""
        names, behaviour = self._scenario.names, self._scenario.server
        waiting = [
            self._start_service("resolver", lambda ready: resolver.serve(names, ready)),
            self._start_service("server", lambda ready: server.serve(behaviour, ready, ipv6=self._scenario.ipv6)),
        ]
        for role, pipe in zip(("resolver", "server"), waiting, strict=True):
            readable, _, _ = select.select([pipe], [], [], READY_S)
            if not readable:
                raise StepError("ready", f"the {role} wasn't ready within {READY_S:.0f} s", _see_log(role))
            if not os.read(pipe, 1):
                raise StepError("ready", f"the {role} ended before it was ready", _see_log(role))
            os.close(pipe)

    def _start_service(self, role: Role, serve: Callable[[Callable[[], None]], None]) -> int:
        """Fork the service of `role` into its host; the pipe on which it says that it is ready."""
        reader, writer = os.pipe()
        pid = os.fork()
        if pid == 0:
            os.close(reader)
            run_forked(lambda: self._be_service(role, serve, writer))
        os.close(writer)
        self._services[role] = os.pidfd_open(pid)
        return reader

    def _be_service(self, role: Role, serve: Callable[[Callable[[], None]], None], writer: int) -> None:
        redirect_output(self._folder / f"{role}.log")
        self._enter(role)

        def ready() -> None:
            os.write(writer, b"1")
            os.close(writer)

        serve(ready)

    def _enter(self, role: Role) -> None:
        """Make this (forked) process one of the host's: its namespace, and none of init's descriptors."""
        kernel.setns(self._hosts[role].namespace, kernel.CLONE_NEWNET)
        for host in self._hosts.values():
            os.close(host.tap)

    def start_capture(self) -> None:
        """Put wire and sidecar between the hosts."""
        self._sidecar = Sidecar(self._folder / "capture.pcap")
        self._wire = Wire(list(self._hosts.values()), self._sidecar, self._sockets, self._scenario.wire)

    def run_client(self) -> list[int | None]:
        """Run the client's commands in turn, each to its end; their exit statuses, as far as they were run.

        The one that is still busy at the scenario's deadline is killed, and has None.
        """
        deadline = time.monotonic() + self._scenario.client.deadline_s
        statuses: list[int | None] = []
        for arguments in self._scenario.client.commands:
            statuses.append(self._run_curl(arguments, deadline))
            if statuses[-1] is None:
                break
        return statuses

    def _run_curl(self, arguments: tuple[str, ...], deadline: float) -> int | None:
        command = curl_command(self._curl, arguments, self._scenario.client.port)
        etc = self._folder / "client-etc"
        etc.mkdir()
        complaint, complaint_writer = os.pipe()
        pid = os.fork()
        if pid == 0:
            run_forked(lambda: self._be_client(command, etc, complaint_writer))
        os.close(complaint_writer)
        curl = os.pidfd_open(pid)
        ended = self._carry(lambda _: _is_readable(curl), deadline, [curl])
        if not ended:
            os.kill(pid, signal.SIGKILL)
        _, status = os.waitpid(pid, 0)
        os.close(curl)
        etc.rmdir()
        with os.fdopen(complaint) as reader:
            why = reader.read()
        if why:
            raise StepError("client", f"curl could not be started: {why}", "see what is missing: invoke doctor")
        return os.waitstatus_to_exitcode(status) if ended else None

    def _be_client(self, command: list[str], etc: Path, complaint: int) -> None:
        """Become curl; what keeps it from that goes to the pipe `complaint`, which exec closes."""
        redirect_output(self._folder / "client.log")
        self._enter("client")
        body = os.open(self._folder / "client.out", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
        os.dup2(body, 1)
        try:
            client.isolate(etc, self._scenario)
            os.execve(command[0], command, client.ENVIRONMENT)  # noqa: S606 - a list, and no shell wanted
        except OSError as error:
            os.write(complaint, f"{error.filename or command[0]}: {error.strerror}".encode())

    def settle(self) -> bool:
        """Carry frames until nothing moved for `QUIET_S` and, for the kernels, every connection has ended.

        False if that didn't come. Where the scenario expects no close, quiet is enough.
        """
        assert self._sidecar is not None  # noqa: S101 - the steps come in order

        def is_settled(quiet_s: float) -> bool:
            return quiet_s >= QUIET_S and (not self._scenario.closes or self._sockets.all_ended())

        settled = self._carry(is_settled, time.monotonic() + self._scenario.settle_s, [])
        self._sidecar.flush()
        return settled

    def _carry(self, until: Callable[[float], bool], deadline: float, watched: list[int]) -> bool:
        """Run the wire, and notice a service that dies meanwhile."""
        assert self._wire is not None  # noqa: S101 - the steps come in order
        services = list(self._services.values())

        def ended(quiet_s: float) -> bool:
            return until(quiet_s) or any(_is_readable(service) for service in services)

        done = self._wire.run(ended, deadline, [*watched, *services])
        for role, service in self._services.items():
            if _is_readable(service):
                raise StepError("run", f"the {role}'s process died while the client ran", _see_log(role))
        return done

    def stop_capture(self) -> dict[str, Any]:
        """Close the file; what the wire saw beside it."""
        assert self._wire is not None  # noqa: S101 - the steps come in order
        assert self._sidecar is not None  # noqa: S101
        self._sidecar.close()
        sockets = self._sockets.facts(self._sidecar.frame_count, self._wire.arrived())
        dropped: dict[str, int] = {}
        for host in self._hosts.values():
            kernel.setns(host.namespace, kernel.CLONE_NEWNET)
            dropped[host.role] = dropped_frames()
        return {
            "frame_count": self._sidecar.frame_count,
            "dropped_for_want_of_queue": dropped,
            "doubts": self._wire.doubts,
            **self._wire.facts(),
            **sockets,
            "sysctls": {host.role: dict(host.sysctls) for host in self._hosts.values()},
            "addresses": {host.role: [str(address) for address in host.addresses] for host in self._hosts.values()},
        }


def _create_hosts(scenario: Scenario) -> dict[Role, Host]:
    addresses = {role: scenario.addresses.of(role) for role in ROLES}
    routes = {"client": scenario.client.route, "server": scenario.server.route}
    hosts: dict[Role, Host] = {}
    for role, own in addresses.items():
        others: dict[Address, bytes] = {
            address: mac_of(theirs[0]) for other, theirs in addresses.items() if other != role for address in theirs
        }
        route = routes.get(role, Route())
        if route.rto_min_s is None and not scenario.wire.may_lose:
            route = replace(route, rto_min_s=PATIENT_RTO_S)
        hosts[role] = create_host(role, own, others, mtu=scenario.wire.mtu(role), route=route)
    return hosts


def _is_readable(descriptor: int) -> bool:
    return bool(select.select([descriptor], [], [], 0)[0])


def _see_log(role: str) -> str:
    return f"see {role}.log in the run's folder"
