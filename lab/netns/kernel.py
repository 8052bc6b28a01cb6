"""The few system calls that Python 3.11 doesn't offer: namespaces, mounts, prctl.

`os.unshare` and `os.setns` came with Python 3.12. Numbers are the kernel's UAPI (linux/sched.h,
linux/mount.h, linux/prctl.h), the same on every architecture.
"""

import ctypes
import os
import struct

CLONE_NEWNS = 0x0002_0000
CLONE_NEWUTS = 0x0400_0000
CLONE_NEWUSER = 0x1000_0000
CLONE_NEWPID = 0x2000_0000
CLONE_NEWNET = 0x4000_0000

MS_NOSUID, MS_NODEV, MS_NOEXEC = 2, 4, 8
MS_BIND, MS_REC, MS_PRIVATE = 0x1000, 0x4000, 0x4_0000

AT_FDCWD, AT_RECURSIVE = -100, 0x8000
MOUNT_ATTR_RDONLY = 1
SYS_MOUNT_SETATTR = 442  # one number on every architecture (alpha aside)

PR_SET_PDEATHSIG, PR_SET_TIMERSLACK = 1, 29

_libc = ctypes.CDLL(None, use_errno=True)


def _check(result: int, what: str) -> None:
    if result != 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code), what)


def unshare(flags: int) -> None:
    """Move this process into new namespaces, (the unshare system call)."""
    names = {
        CLONE_NEWNS: "mount",
        CLONE_NEWUTS: "host name",
        CLONE_NEWUSER: "user",
        CLONE_NEWPID: "pid",
        CLONE_NEWNET: "network",
    }
    what = ", ".join(name for flag, name in names.items() if flags & flag)
    _check(_libc.unshare(flags), f"new {what} namespace")


def setns(namespace: int, kind: int) -> None:
    """Enter the namespace that the descriptor `namespace` names, (the setns system call)."""
    _check(_libc.setns(namespace, kind), "enter namespace")


def mount(source: str, target: str, kind: str, flags: int) -> None:
    """The mount system call, without data."""
    result = _libc.mount(os.fsencode(source), os.fsencode(target), kind.encode(), ctypes.c_ulong(flags), None)
    _check(result, f"mount {target}")


def set_read_only(target: str) -> None:
    """Make the mount at `target` read-only and all mounts below it read-only (mount_setattr, Linux 5.12)."""
    attributes = struct.pack("QQQQ", MOUNT_ATTR_RDONLY, 0, 0, 0)
    number, size = ctypes.c_long(SYS_MOUNT_SETATTR), ctypes.c_size_t(len(attributes))
    _check(_libc.syscall(number, AT_FDCWD, os.fsencode(target), AT_RECURSIVE, attributes, size), f"mount {target}")


def prctl(option: int, value: int) -> None:
    """The prctl system call, with one argument."""
    _check(_libc.prctl(option, ctypes.c_ulong(value), 0, 0, 0), "prctl")
