"""One lab's network and containers: made by compose on a subnet that is free, and removed again."""

import secrets
import subprocess
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from ipaddress import IPv4Network
from pathlib import Path
from typing import Any

from lab.containers.compose import Compose
from lab.containers.engine import Engine, engine_errors
from lab.containers.image import Image
from lab.containers.leftovers import remove_run
from lab.containers.network import Addresses, Blocker, SubnetLock, place, take_subnet
from lab.containers.owner import Owner
from lab.containers.render import write_config
from lab.errors import StepError
from lab.scenario.model import Scenario

COMPOSE_S = 60.0
TRIES = 3  # of subnets that the engine refuses
OVERLAP = "overlap"  # in the engine's words when it does


class Topology:
    """The network and the containers of the run `run`. Compose makes them while the caller does something else."""

    addresses: Addresses
    _lock: SubnetLock
    _compose: Compose
    _up: subprocess.Popen[bytes]

    def __init__(self, engine: Engine, compose: str, image: Image, scenario: Scenario, folder: Path) -> None:
        """Start to make them; `wait_up` says whether that went well."""
        self.run = secrets.token_hex(6)
        self.log = folder / "lab.log"
        self._engine = engine
        self._compose_path = compose
        self._image = image
        self._scenario = scenario
        self._folder = folder
        self._refused: list[IPv4Network] = []
        self._down: subprocess.Popen[bytes] | None = None
        self._start()

    def container(self, role: str) -> str:
        """The name of the container of `role`, as compose makes it."""
        return f"handshake-lab-{self.run}-{role}-1"

    def _start(self) -> None:
        """Take a subnet, write the configuration, and start `docker compose up`."""
        with engine_errors("create"):
            networks = self._engine.api.networks()
        subnet, self._lock = take_subnet(used_subnets(networks), self._refused)
        self.addresses = place(self._scenario, subnet)
        config = self._folder / f"config{len(self._refused) or ''}"
        write_config(self._scenario, self.addresses, config)
        self._compose = Compose(self._compose_path, f"handshake-lab-{self.run}", self._variables(config), self.log)
        self._up = self._compose.up()

    def _variables(self, config: Path) -> dict[str, str]:
        """What compose.yaml asks for."""
        first, *more = self.addresses.of_server
        return {
            "DOCKER_HOST": self._engine.host,
            "LAB_IMAGE": self._image.id,
            "LAB_CONFIG": str(config.absolute()),
            "LAB_SUBNET": str(self.addresses.subnet),
            "LAB_GATEWAY": str(self.addresses.gateway),
            "LAB_CLIENT": str(self.addresses.client),
            "LAB_RESOLVER": str(self.addresses.resolver),
            "LAB_SERVER": str(first),
            "LAB_MORE_ADDRESSES": " ".join(map(str, more)),
            "LAB_QUICKACK": str(int(self._scenario.server.route.quickack)),
            "LAB_RUN": self.run,
            "LAB_OWNER": Owner.this_process().label(),
        }

    def wait_up(self) -> None:
        """Return when all containers have started; where the engine refuses the subnet, with another one."""
        while True:
            try:
                status = self._up.wait(COMPOSE_S)
            except subprocess.TimeoutExpired:
                message = f"docker compose up wasn't done within {COMPOSE_S:.0f} s"
                raise StepError("ready", message, "see lab.log in the run's folder") from None
            if status == 0:
                return
            said = self._last_words()
            if OVERLAP not in said or len(self._refused) == TRIES:
                next_step = "see lab.log in the run's folder, or use --backend netns"
                raise StepError("ready", f"docker compose up failed: {said}", next_step)
            self._refused.append(self.addresses.subnet)
            with engine_errors("ready"):
                remove_run(self._engine, self.run)
            self._lock.close()
            self._start()

    def _last_words(self) -> str:
        lines = self.log.read_text(errors="replace").strip().splitlines()
        return " / ".join(" ".join(line.split()) for line in lines[-2:]) or "it said nothing"

    def take_down(self) -> None:
        """Start `docker compose down`; `remove` waits for it."""
        self._down = self._compose.down()

    def remove(self) -> None:
        """See to it that nothing is left. `StepError` if the engine doesn't let it: `invoke clean` will, later."""
        try:
            self._up.wait(COMPOSE_S)  # what it is about to make would outlive a removal now
            if self._down is None or self._down.wait(COMPOSE_S) != 0:
                with engine_errors("destroy"):
                    remove_run(self._engine, self.run)
        except subprocess.TimeoutExpired:
            for process in (self._up, self._down):
                if process is not None and process.poll() is None:
                    process.kill()
                    process.wait()
            message = "docker compose doesn't come to an end"
            raise StepError("destroy", message, "remove what it left: invoke clean") from None
        finally:
            self._lock.close()

    def facts(self) -> dict[str, Any]:
        """For `run.json`: image, run, subnet, addresses by role, and the versions of engine and plugin."""
        labels: Mapping[str, str] = self._engine.api.inspect_container(self.container("client"))["Config"]["Labels"]
        return {
            "versions": {
                "compose": f"docker compose {labels.get('com.docker.compose.version', 'unknown')}",
                **self._engine.facts,
            },
            "image": {"tag": self._image.tag, "id": self._image.id, "digests": list(self._image.digests)},
            "run": self.run,
            "subnet": str(self.addresses.subnet),
            "addresses": {
                "client": [str(self.addresses.client)],
                "resolver": [str(self.addresses.resolver)],
                "server": [str(address) for address in self.addresses.of_server],
            },
        }


def used_subnets(networks: Iterable[Mapping[str, Any]]) -> Iterator[Blocker]:
    """The subnets of the engine's networks."""
    for network in networks:
        for config in (network.get("IPAM") or {}).get("Config") or []:
            with suppress(ValueError, KeyError):  # IPv6, or none
                yield Blocker(IPv4Network(config["Subnet"], strict=False), f"Docker's network {network.get('Name')}")
