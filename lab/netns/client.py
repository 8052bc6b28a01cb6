"""The client: the machine's own curl, in a private /etc where only the lab's resolver is known."""

import os
from pathlib import Path

from lab.netns import kernel
from lab.scenario import RESOLVER_ADDRESS, Client

USER_AGENT = "handshake-lab"  # without a version, so that every curl sends the same request
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
NSCD_SOCKETS = ("/run/nscd", "/var/run/nscd")
FILES = {
    "resolv.conf": f"nameserver {RESOLVER_ADDRESS}\n",
    "hosts": "127.0.0.1 localhost\n",
    "nsswitch.conf": "passwd: files\ngroup: files\nhosts: files dns\n",
    "passwd": "root:x:0:0:root:/:/bin/sh\n",
    "group": "root:x:0:\n",
}


def command(curl: str, client: Client) -> list[str]:
    """The command line: no .curlrc, no proxy, the scenario's arguments last."""
    port = [] if client.port is None else ["--local-port", str(client.port)]
    return [curl, "-q", "-sS", "--noproxy", "*", "-A", USER_AGENT, *port, *client.curl]


def _write_etc(folder: Path) -> None:
    for name, content in FILES.items():
        (folder / name).write_text(content)
    (folder / "nscd").mkdir()


def enter_etc(folder: Path) -> None:
    """In a mount namespace of its own, make an /etc at `folder` and put it over the machine's.

    It is in memory, so nothing of it stays when the process ends. An empty folder covers nscd's socket.
    """
    kernel.unshare(kernel.CLONE_NEWNS)
    kernel.mount("tmpfs", str(folder), "tmpfs", kernel.MS_NOSUID | kernel.MS_NODEV)
    _write_etc(folder)
    for name in OF_THE_MACHINE:
        source, target = Path("/etc", name), folder / name
        if not source.exists():
            continue
        if source.is_dir():
            target.mkdir(exist_ok=True)
        else:
            target.touch()
        kernel.mount(str(source), str(target), "", kernel.MS_BIND | kernel.MS_REC)
    kernel.mount(str(folder), "/etc", "", kernel.MS_BIND | kernel.MS_REC)
    for socket in {Path(path).resolve() for path in NSCD_SOCKETS if Path(path).is_dir()}:
        kernel.mount("/etc/nscd", str(socket), "", kernel.MS_BIND)
