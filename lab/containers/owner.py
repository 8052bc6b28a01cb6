"""Who made an object of the engine's: the label that says so, and whether that process is still there.

A process id alone is taken again one day, so its start time stands beside it; and it means something only in its own
PID namespace, since the last boot, on its own machine. What was made elsewhere is never judged from here.
"""

import os
import socket
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Self

OWNER_LABEL, RUN_LABEL = "handshake-lab.owner", "handshake-lab.run"


@dataclass(frozen=True, slots=True)
class Owner:
    """A process: where it is, its id, and when it started, in words that don't change while it lives."""

    machine: str
    boot: str
    namespace: str
    pid: str
    started: str

    @classmethod
    def this_process(cls) -> Self:
        """The owner of what this process makes."""
        return cls(_machine(), _boot(), _namespace(), str(os.getpid()), _started(os.getpid()))

    @classmethod
    def parse(cls, label: str) -> Self | None:
        """The owner that `label` names; None if it names none: an object that was made by hand."""
        parts = label.split(" ")
        return cls(*parts) if len(parts) == 5 else None

    def label(self) -> str:
        """As one word list, for a label."""
        return f"{self.machine} {self.boot} {self.namespace} {self.pid} {self.started}"

    def is_judged_here(self) -> bool:
        """Whether this process can tell if that one is alive."""
        if self.machine != _machine():
            return False
        return self.boot != _boot() or self.namespace == _namespace()

    def is_dead(self) -> bool:
        """Whether the process has ended. Ask only where `is_judged_here`."""
        return self.boot != _boot() or _started(int(self.pid)) != self.started


def _machine() -> str:
    try:
        found = Path("/etc/machine-id").read_text().strip()
    except OSError:
        found = ""
    return found or socket.gethostname().replace(" ", "-")


def _boot() -> str:
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return "-"


def _namespace() -> str:
    try:
        return str(Path("/proc/self/ns/pid").readlink())
    except OSError:
        return "-"


def _started(pid: int) -> str:
    """When the process `pid` started: clock ticks since boot (proc(5)), elsewhere ps's words; empty if it is gone."""
    if Path("/proc/self/stat").exists():
        try:
            state, *rest = Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2].split()
            return "" if state in "ZX" else rest[18]  # one that only waits to be reaped has ended
        except (OSError, IndexError):
            return ""
    done = subprocess.run(["ps", "-o", "lstart=", "-p", str(pid)], capture_output=True, text=True, check=False)
    return "-".join(done.stdout.split())
