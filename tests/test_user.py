"""The lab as an ordinary user, in a user namespace; made here by root, from mount namespaces of its own."""

import json
import shlex
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import HERE
from tests.test_lab import INVOKE, LAB
from tests.test_misfortune import is_one_clear_message

pytestmark = pytest.mark.needs("netns", "root", "unshare", "setpriv")
NOBODY = 65534
AS_NOBODY = f"setpriv --reuid {NOBODY} --regid {NOBODY} --clear-groups --inh-caps=-all"


@pytest.fixture
def scratch() -> Iterator[Path]:
    """A folder that an ordinary user can reach and write, unlike pytest's own."""
    with tempfile.TemporaryDirectory(dir="/var/tmp") as folder:
        path = Path(folder)
        path.chmod(0o755)
        (path / "runs").mkdir()
        (path / "runs").chmod(0o777)
        (path / "dev").mkdir()
        yield path


def _closed_ancestor(path: Path) -> Path | None:
    """The topmost folder above `path` that others can't enter (/root, often)."""
    return next((folder for folder in reversed(path.parents) if not folder.stat().st_mode & 0o001), None)


def _reachable(scratch: Path) -> list[str]:
    """Commands that let an ordinary user reach interpreter and project, in this mount namespace alone."""
    closed: dict[Path, set[Path]] = {}
    for needed in {Path(sys.base_prefix), Path(sys.prefix), HERE}:
        ancestor = _closed_ancestor(needed)
        if ancestor is not None:
            closed.setdefault(ancestor, set()).add(needed)
    commands: list[str] = []
    for number, (ancestor, paths) in enumerate(closed.items()):
        hold = scratch / f"hold{number}"
        hold.mkdir(exist_ok=True)
        commands += [f"mount --rbind {ancestor} {hold}", f"mount -t tmpfs -o mode=755 none {ancestor}"]
        for path in paths:
            commands += [f"mkdir -p {path}", f"mount --rbind {hold / path.relative_to(ancestor)} {path}"]
    return commands


def as_user(
    scratch: Path, *words: str, tun_mode: str = "666", then: str = AS_NOBODY
) -> subprocess.CompletedProcess[str]:
    """`invoke` as an ordinary user with a /dev/net/tun of mode `tun_mode`; `then` drops the privileges."""
    dev = scratch / "dev"
    commands = [
        "set -e",
        *_reachable(scratch),
        f"mount -t tmpfs -o mode=755 none {dev}",
        f"mknod {dev}/tun c 10 200",
        f"chmod {tun_mode} {dev}/tun",
        f"mount --bind {dev}/tun /dev/net/tun",
        f"cd {HERE}",
        f"exec {then} {shlex.join([*INVOKE, *words, '--runs', str(scratch / 'runs')])}",
    ]
    command = ["unshare", "--mount", "sh", "-c", "\n".join(commands)]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


def test_an_ordinary_user_runs_the_lab_in_a_user_namespace(scratch: Path) -> None:
    done = as_user(scratch, *LAB, "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["verdict"] == "pass"
    (folder,) = (scratch / "runs").iterdir()
    assert folder.stat().st_uid == NOBODY
    assert {path.stat().st_uid for path in folder.iterdir()} == {NOBODY}


def test_user_and_root_get_the_same_exact_fingerprint(scratch: Path) -> None:
    user = json.loads(as_user(scratch, *LAB, "--json").stdout)
    command = [*INVOKE, *LAB, "--json", "--runs", str(scratch / "as-root")]
    root = json.loads(subprocess.run(command, cwd=HERE, capture_output=True, text=True, check=True).stdout)
    assert user["fingerprint"] == root["fingerprint"]


def test_doctor_says_that_a_user_can(scratch: Path) -> None:
    done = as_user(scratch, "doctor")
    assert done.returncode == 0
    assert "by this user, in a user namespace" in " ".join(done.stdout.split())


def test_a_tun_device_for_root_alone_is_said(scratch: Path) -> None:
    done = as_user(scratch, *LAB, tun_mode="600")
    assert done.returncode == 3
    assert is_one_clear_message(done.stderr)
    assert "/dev/net/tun may not be opened by this user" in done.stderr
    assert "sudo chmod 0666 /dev/net/tun" in done.stderr


FORBID = """
    unshare --user --map-root-user sh -c '
        echo 0 > /proc/sys/user/max_user_namespaces
        exec setpriv --bounding-set=-all "$@"' sh
"""


def test_forbidden_user_namespaces_are_said_with_the_setting(scratch: Path) -> None:
    for task in ("lab", "doctor"):
        words = LAB if task == "lab" else (task,)
        done = as_user(scratch, *words, then=f"{AS_NOBODY} {FORBID.strip()}")
        assert done.returncode == 3
        said = done.stderr if task == "lab" else done.stdout
        assert "new user namespace" in " ".join(said.split()), said
        assert "sudo sysctl -w user.max_user_namespaces=15000" in said
