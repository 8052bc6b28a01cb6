"""A second Docker engine, in namespaces of its own: without network, so like a machine that never had internet."""

import os
import signal
import socket
import subprocess
import tempfile
import time
from pathlib import Path

from lab.containers.engine import Engine

START_S = 30.0


class SecondEngine:
    """A `dockerd` of the test's own, which it may stop, start again and break. Needs root, unshare and dockerd."""

    def __init__(self, size: str = "") -> None:
        """With `size` (as mount(8) writes it) its data is on a file system of that size."""
        self._folder = tempfile.TemporaryDirectory(prefix="engine-", dir="/var/tmp")
        folder = Path(self._folder.name)
        self.host = f"unix://{folder}/docker.sock"
        mount = f"mount -t tmpfs -o size={size} none {folder}/data" if size else "true"
        (folder / "data").mkdir()
        self._script = f"""
            ip link set lo up
            {mount}
            rm -rf {folder}/exec {folder}/pid
            exec dockerd --host {self.host} --data-root {folder}/data --exec-root {folder}/exec \
                --pidfile {folder}/pid --log-level warn
        """
        self._log = (folder / "log").open("ab")
        self.start()

    @property
    def environment(self) -> dict[str, str]:
        """What makes a command use this engine."""
        return {"DOCKER_HOST": self.host}

    def start(self) -> None:
        """Start the engine, and wait until it answers."""
        command = ["unshare", "--net", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc", "sh", "-c"]
        self._process = subprocess.Popen(
            [*command, self._script], stdin=subprocess.DEVNULL, stdout=self._log, stderr=self._log
        )
        deadline = time.monotonic() + START_S
        while not self.answers():
            assert self._process.poll() is None, Path(self._log.name).read_text()
            assert time.monotonic() < deadline, Path(self._log.name).read_text()
            time.sleep(0.05)

    def answers(self) -> bool:
        """Whether the engine listens: it does so when it can be asked."""
        with socket.socket(socket.AF_UNIX) as probe:
            return probe.connect_ex(self.host.removeprefix("unix://")) == 0

    def connect(self) -> Engine:
        """A connection to it."""
        os.environ["DOCKER_HOST"] = self.host
        try:
            return Engine()
        finally:
            del os.environ["DOCKER_HOST"]

    def stop(self) -> None:
        """End the engine and all that it runs, as a machine's end would: its PID namespace goes."""
        self._process.send_signal(signal.SIGKILL)
        self._process.wait()

    def close(self) -> None:
        """End it for good."""
        self.stop()
        self._log.close()
        self._folder.cleanup()
