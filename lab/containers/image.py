"""The lab's one image: its name, whether the engine has it, and how it is built."""

import hashlib
import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from lab import __version__
from lab.containers.compose import FOLDER
from lab.containers.engine import Engine, broken_off
from lab.errors import BackendError

REPOSITORY = "handshake-lab"
RECIPE = ("Dockerfile", "start.sh", "follow.sh")
SUITE = "bookworm"
SIZE_WORDS = "about 130 MB to download, 270 MB on the disk"
BUILD_S = 900.0
PATIENCE_S, POLL_S = 10.0, 0.1
Say = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Image:
    """An image that the engine has: its id (a digest of its content), the digests of its layers, its size."""

    tag: str
    id: str
    layers: tuple[str, ...]
    architecture: str
    size: int
    digests: tuple[str, ...]


@cache
def image_tag() -> str:
    """The tag of the image that this version's compose files describe: of another recipe, another tag."""
    digest = hashlib.sha256()
    try:
        for name in RECIPE:
            content = (FOLDER / name).read_bytes()
            digest.update(f"{name} {len(content)}\n".encode() + content)
    except OSError as error:
        raise BackendError(
            f"the docker backend needs the project's folder compose/: {error.filename}: {error.strerror}",
            "run it in a clone of the repository",
        ) from None
    return f"{REPOSITORY}:{__version__}-{digest.hexdigest()[:12]}"


def find_image(engine: Engine, tag: str | None = None) -> Image | None:
    """The image of `tag` (this version's, if it isn't given), or None if the engine doesn't have it."""
    import docker.errors

    tag = tag or image_tag()
    try:
        found = engine.api.inspect_image(tag)
    except docker.errors.ImageNotFound:
        return None
    return Image(
        tag,
        found["Id"],
        tuple(found["RootFS"].get("Layers", ())),
        found["Architecture"],
        found["Size"],
        tuple(found.get("RepoDigests") or ()),
    )


def build_image(engine: Engine, say: Say, *, from_packages: bool = False) -> Image:
    """Build this version's image: on the pinned base, or on one made here `from_packages` of Debian's.

    It takes the place of the one before. `BackendError` says why it can't be built; a base made here goes again.
    """
    say(f"building {image_tag()}: {SIZE_WORDS}")
    with _building():
        before = find_image(engine)
    if from_packages:
        base = _make_base(engine, say)
        try:
            image = _build(engine, {"BASE": base}, say)
        finally:
            _forget(engine, base)  # its name, where the image was built on it
    else:
        image = _build(engine, {}, say)
    if before is not None and before.id != image.id:
        _forget(engine, before.id)
    return image


def _forget(engine: Engine, name: str) -> None:
    """Remove an image, unless a container needs it for longer than a build that was broken off takes to end."""
    deadline = time.monotonic() + PATIENCE_S
    with suppress(*broken_off()):  # the engine may be gone, too
        while engine.api.containers(all=True, filters={"ancestor": name}) and time.monotonic() < deadline:
            time.sleep(POLL_S)
        engine.api.remove_image(name, force=True)


def _make_base(engine: Engine, say: Say) -> str:
    """Import a minimal Debian, made from packages; its name."""
    maker = shutil.which("mmdebstrap")
    if maker is None:
        raise BackendError(
            "there is no mmdebstrap on this machine's PATH", "install it: sudo apt-get install mmdebstrap"
        )
    name = f"{REPOSITORY}-base:{SUITE}"
    with tempfile.TemporaryDirectory(prefix="handshake-lab-") as folder:
        Path(folder).chmod(0o755)  # apt's own user must be able to enter it
        tarball = Path(folder, "base.tar")
        say(f"making a base of Debian {SUITE}'s packages (mmdebstrap)")
        _run_maker([maker, "--variant=minbase", SUITE, str(tarball)], Path(folder))
        with _building():
            answer = engine.api.import_image_from_file(str(tarball), repository=REPOSITORY + "-base", tag=SUITE)
    if '"error"' in answer:
        raise _build_error("the engine's import", [answer])
    return name


def _run_maker(command: list[str], folder: Path) -> None:
    """Run mmdebstrap, whose own files are in `folder`; when this is interrupted, nothing else of it is left.

    As root it mounts /proc and /sys below `folder`: so it gets a mount namespace, which goes with its processes. What
    removes `folder` must not meet them. (As an ordinary user it makes one of its own accord.)
    """
    own_mounts = ["unshare", "--mount"] if os.geteuid() == 0 else []
    environment = {**os.environ, "TMPDIR": str(folder)}
    pipe = subprocess.PIPE
    with subprocess.Popen(
        [*own_mounts, *command],
        stdin=subprocess.DEVNULL,
        stderr=pipe,
        text=True,
        env=environment,
        start_new_session=True,
    ) as process:
        try:
            _, said = process.communicate()
        except BaseException:
            os.killpg(process.pid, signal.SIGKILL)
            raise
    if process.returncode:
        raise _build_error("mmdebstrap", said.strip().splitlines() or ["it said nothing"])


def _build(engine: Engine, arguments: Mapping[str, str], say: Say) -> Image:
    last: list[str] = []
    with _building():
        lines = engine.api.build(
            path=str(FOLDER),
            tag=image_tag(),
            buildargs=dict(arguments),
            rm=True,
            forcerm=True,
            decode=True,
            timeout=BUILD_S,
        )
        for line in lines:
            _follow(line, last, say)
    with _building():
        engine.api.tag(image_tag(), REPOSITORY, "latest")  # the name that compose.yaml has by hand
        image = find_image(engine)
    assert image is not None  # noqa: S101 - it was just built
    say(f"built {image.tag}: {image.size / 1e6:.0f} MB")
    return image


def _follow(line: Mapping[str, Any], last: list[str], say: Say) -> None:
    """Take in a line of the build's progress; an error in it ends the build."""
    if "error" in line:
        raise _build_error("the build", [*last, str(line["error"])])
    for text in str(line.get("stream", "")).splitlines():
        if text.startswith("Step "):
            say(text)
        last[:] = [*last, text][-8:]


@contextmanager
def _building() -> Iterator[None]:
    """Turn what the SDK raises while an image is made into a `BackendError`."""
    try:
        yield
    except broken_off() as error:
        raise _build_error("the engine", [str(getattr(error, "explanation", None) or error)]) from None


def _build_error(who: str, lines: list[str]) -> BackendError:
    """What went wrong while the image was made, by the last lines that were said, and how to go on."""
    said = " / ".join(line.strip() for line in lines[-3:] if line.strip())
    text = said.lower()
    if "no space left" in text:
        return BackendError(
            f"the disk is full: the image can't be built ({who}: {said})", "free some: docker system df"
        )
    if "pull access denied" in text or "manifest" in text or "dial tcp" in text or "registry" in text:
        return BackendError(
            f"the image's base can't be had from a registry ({said})",
            "make it of Debian's packages (invoke image --from-packages), or bring one: invoke unbundle --file FILE",
        )
    return BackendError(f"the image can't be built ({who}: {said})", "mend that, and: invoke image")
