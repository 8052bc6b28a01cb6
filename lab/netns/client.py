"""The client: the machine's own curl, in a private /etc where only the lab's resolver is known."""

import errno
import os
import socket
from pathlib import Path

from lab.curl.command import resolv_conf
from lab.netns import kernel
from lab.scenario.model import Scenario

ENVIRONMENT = {"PATH": os.defpath, "LC_ALL": "C"}  # no proxies, no RES_OPTIONS, no LOCALDOMAIN
OF_THE_MACHINE = (
    "ld.so.cache",
    "ld.so.conf",
    "ld.so.conf.d",
    "alternatives",
    "ssl",
    "pki",
    "ca-certificates",
)
NSCD_FOLDERS = ("/run/nscd", "/var/run/nscd")
FILES = {
    "nsswitch.conf": "passwd: files\ngroup: files\nhosts: files dns\n",
    "passwd": "root:x:0:0:root:/:/bin/sh\n",
    "group": "root:x:0:\n",
}


def _write_etc(folder: Path, scenario: Scenario) -> None:
    files = {
        **FILES,
        "resolv.conf": resolv_conf(str(scenario.addresses.resolver[0]), scenario.client.resolver_options),
        "hosts": f"127.0.0.1 localhost\n{scenario.addresses.client[0]} client\n",
    }
    for name, content in files.items():
        (folder / name).write_text(content)
    (folder / "nscd").mkdir()


def isolate(etc: Path, scenario: Scenario) -> None:
    """In mount and host-name namespaces of its own: a private /etc at `etc`, and nothing to write to.

    The /etc is in memory, so nothing of it stays when the process ends; an empty folder covers nscd's socket. Without a
    dot in the host name the C library searches no domain of the machine's (resolv.conf(5), `search`).
    """
    kernel.unshare(kernel.CLONE_NEWNS | kernel.CLONE_NEWUTS)
    socket.sethostname("client")
    kernel.mount("tmpfs", str(etc), "tmpfs", kernel.MS_NOSUID | kernel.MS_NODEV)
    _write_etc(etc, scenario)
    for name in OF_THE_MACHINE:
        source, target = Path("/etc", name), etc / name
        if not source.exists():
            continue
        if source.is_dir():
            target.mkdir(exist_ok=True)
        else:
            target.touch()
        kernel.mount(str(source), str(target), "", kernel.MS_BIND | kernel.MS_REC)
    kernel.mount(str(etc), "/etc", "", kernel.MS_BIND | kernel.MS_REC)
    for folder in {Path(path).resolve() for path in NSCD_FOLDERS if Path(path).is_dir()}:
        kernel.mount("/etc/nscd", str(folder), "", kernel.MS_BIND)
    _forbid_writing()
    os.chdir("/")


def _forbid_writing() -> None:
    """The loader refuses arguments that write files; whatever it may overlook meets a read-only system."""
    try:
        kernel.set_read_only("/")
    except OSError as error:
        if error.errno != errno.ENOSYS:  # before Linux 5.12 curl writes what its arguments say
            raise
