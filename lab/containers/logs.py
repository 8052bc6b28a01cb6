"""What the containers of a run say, and what `start.sh` says of their settings."""

import re
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

from lab.containers.engine import Engine
from lab.containers.topology import Topology
from lab.errors import StepError

POLL_S = 0.005  # between two looks
SAID_AT_START = re.compile(r"^lab: (sysctl|version) (\S+?)[: ](.*)\n?", re.MULTILINE)
HOSTS = {"sidecar": "client", "resolver": "resolver", "server": "server"}  # whose link the container's start.sh sees
PROGRAMS = {"curl": "curl", "resolver": "dnsmasq-base", "server": "nginx", "sidecar": "tcpdump"}


class Logs:
    """The containers' logs, as last read. The SDK's errors come through: see `engine_errors`."""

    def __init__(self, engine: Engine, topology: Topology, folder: Path) -> None:
        self._api = engine.api
        self._topology = topology
        self._folder = folder
        self._texts: dict[str, str] = {}

    def read(self, role: str) -> str:
        """What the container of `role` has said so far."""
        text: bytes = self._api.logs(self._topology.container(role))
        self._texts[role] = text.decode("utf-8", "replace")
        return self._texts[role]

    def last_line(self, role: str) -> str:
        """What it said last."""
        self.read(role)
        return self.last_line_read(role)

    def last_line_read(self, role: str) -> str:
        """What it had said last when its log was read."""
        lines = self._texts[role].strip().splitlines()
        return lines[-1] if lines else "nothing"

    def await_words(self, role: str, words: str, patience_s: float) -> None:
        """Return when `words` are in the log of `role`; `StepError` if it ends before, or takes longer."""
        deadline = time.monotonic() + patience_s
        while words not in self.read(role):
            if not (state := self.state(role))["Running"]:
                message = f"the {role} ended before it was ready (status {state['ExitCode']}): {self.last_line(role)}"
                raise StepError("ready", message, see_log(role))
            if time.monotonic() > deadline:
                message = f"the {role} wasn't ready within {patience_s:.0f} s; awaited in its log: {words!r}"
                raise StepError("ready", message, see_log(role))
            time.sleep(POLL_S)

    def state(self, role: str) -> dict[str, Any]:
        """The state of the container of `role`."""
        state: dict[str, Any] = self._api.inspect_container(self._topology.container(role))["State"]
        return state

    def keep(self) -> None:
        """Read all that is left to read, and write it to the run's folder."""
        import docker.errors

        for role in HOSTS:
            with suppress(docker.errors.NotFound):  # not made, or gone
                self.read(role)
            if role in self._texts:
                (self._folder / f"{role}.log").write_text(SAID_AT_START.sub("", self._texts[role]))

    def facts(self) -> dict[str, Any]:
        """For `run.json`: the programs' versions, and each host's settings as they were read back."""
        versions: dict[str, str] = {}
        sysctls: dict[str, dict[str, str]] = {host: {} for host in HOSTS.values()}
        for role, host in HOSTS.items():
            for kind, name, value in SAID_AT_START.findall(self._texts[role]):
                (versions if kind == "version" else sysctls[host])[name] = " ".join(value.split())
        named = {role: f"{name.partition('-')[0]} {versions.get(name, 'unknown')}" for role, name in PROGRAMS.items()}
        return {"versions": named, "sysctls": sysctls}


def see_log(role: str) -> str:
    """The next step where a role's log may tell more."""
    return f"see {role}.log in the run's folder"
