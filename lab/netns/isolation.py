"""Leave the caller's namespaces, and say what to do where the system doesn't allow it."""

import errno
import os
import sys
from pathlib import Path

from lab.errors import BackendError
from lab.netns import kernel

ISOLATED = kernel.CLONE_NEWNS | kernel.CLONE_NEWPID | kernel.CLONE_NEWNET
PRIVILEGED = "run it as root (sudo), or in a container started with --privileged"
SETTINGS = {  # a setting that forbids user namespaces: its forbidding value, the command that allows them
    "kernel/apparmor_restrict_unprivileged_userns": (
        "1",
        "sudo sysctl -w kernel.apparmor_restrict_unprivileged_userns=0",
    ),
    "kernel/unprivileged_userns_clone": ("0", "sudo sysctl -w kernel.unprivileged_userns_clone=1"),
    "user/max_user_namespaces": ("0", "sudo sysctl -w user.max_user_namespaces=15000"),
}


def enter_namespaces() -> None:
    """New mount, PID and network namespaces; in a new user namespace unless this is a privileged root.

    Must be called in a process without threads. `OSError` where the system forbids it.
    """
    if os.geteuid() == 0:
        try:
            kernel.unshare(ISOLATED)
        except PermissionError:
            pass
        else:
            return
    uid, gid = os.geteuid(), os.getegid()
    kernel.unshare(kernel.CLONE_NEWUSER)
    Path("/proc/self/setgroups").write_text("deny")  # or gid_map can't be written: user_namespaces(7)
    Path("/proc/self/uid_map").write_text(f"0 {uid} 1")
    Path("/proc/self/gid_map").write_text(f"0 {gid} 1")
    kernel.unshare(ISOLATED)


def namespace_error(error: OSError) -> BackendError:
    """What `error`, met on the way into the namespaces or while making hosts, means for a person."""
    what = str(error.filename or "a system call")
    if what == "/dev/net/tun":
        return _tun_error(error)
    message = f"this system doesn't let the lab make its hosts ({what}: {error.strerror})"
    if error.errno in (errno.EPERM, errno.EACCES, errno.ENOSPC, errno.EUSERS):
        return BackendError(message, userns_mend() or PRIVILEGED)
    return BackendError(message, "see what is missing: invoke doctor")


def userns_mend() -> str:
    """The command that allows user namespaces here, or an empty text if no known setting forbids them."""
    for name, (forbidding, command) in SETTINGS.items():
        try:
            value = Path("/proc/sys", name).read_text().strip()
        except OSError:
            continue
        if value == forbidding:
            return command
    return ""


def _tun_error(error: OSError) -> BackendError:
    if error.errno == errno.EACCES:
        return BackendError("/dev/net/tun may not be opened by this user", "sudo chmod 0666 /dev/net/tun")
    if error.errno in (errno.ENOENT, errno.ENXIO, errno.ENODEV):
        return BackendError(
            "/dev/net/tun does not exist: the kernel's TUN driver isn't there",
            "sudo modprobe tun; in a container, start it with --privileged --device /dev/net/tun",
        )
    if error.errno == errno.EPERM:
        return BackendError(f"a TAP device can't be made ({error.strerror})", userns_mend() or PRIVILEGED)
    return BackendError(f"/dev/net/tun can't be used: {error.strerror}", "see what is missing: invoke doctor")


def require_linux(platform: str = sys.platform) -> None:
    """`BackendError` where there are no network namespaces at all."""
    if platform != "linux":
        name = {"darwin": "macOS", "win32": "Windows"}.get(platform, platform)
        raise BackendError(
            f"the netns backend needs Linux, and this is {name}",
            "run the lab in a Linux container (docker run --privileged …, see README) or, on Windows, in WSL 2",
        )
