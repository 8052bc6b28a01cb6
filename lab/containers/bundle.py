"""One file that brings the Docker backend to a machine without internet: written, and read with suspicion.

A bundle is an uncompressed tar: `manifest.json` first, with the size and sha256 of every other member and the digests
of the image; then `image.tar` (as `docker save` writes it), the compose files, the scenario pack and the reference
capture. Who has Docker alone can unpack it, `docker load` the image, and use `compose/` with LAB_IMAGE set to its tag.
"""

import hashlib
import io
import json
import os
import re
import tarfile
import tempfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, cast

from analysis.errors import InputError
from lab import __version__
from lab.containers.compose import FOLDER
from lab.containers.engine import Engine, engine_errors
from lab.containers.image import REPOSITORY, Say, find_image, image_tag
from lab.errors import BackendError, StepError
from lab.scenario.load import PACK

SCHEMA = "handshake-lab/bundle/1"
MANIFEST, IMAGE = "manifest.json", "image.tar"
SAMPLE = FOLDER.parent / "samples" / "google-2016.pcap"
NAME = re.compile(r"image\.tar|(?:compose|scenarios|samples)(?:/[A-Za-z0-9][A-Za-z0-9._-]*)+")
LARGEST_IMAGE, LARGEST_FILE, LARGEST_MANIFEST, MOST_MEMBERS = 4 << 30, 16 << 20, 1 << 20, 1000
CHUNK = 1 << 20
REF_ANNOTATIONS = ("io.containerd.image.name", "org.opencontainers.image.ref.name")
AGAIN = "get the bundle again; it is made by: invoke bundle --out FILE"


@dataclass(frozen=True, slots=True)
class ImageContent:
    """What an image is, however an engine stores it: digest of its configuration and of its layers."""

    config: str
    layers: tuple[str, ...]
    architecture: str


def bundled_files() -> dict[str, Path]:
    """Member name → file, of all that a bundle holds beside the image."""
    compose = (path for path in sorted(FOLDER.rglob("*")) if path.is_file())
    return {
        **{f"compose/{path.relative_to(FOLDER)}": path for path in compose},
        **{f"scenarios/{path.name}": path for path in sorted(PACK.glob("*.toml"))},
        f"samples/{SAMPLE.name}": SAMPLE,
    }


def write_bundle(engine: Engine, out: Path, say: Say) -> None:
    """Write this version's bundle to `out`, which appears whole or not at all."""
    with engine_errors("bundle"):
        image = find_image(engine)
    if image is None:
        raise BackendError(f"the engine doesn't have the image {image_tag()}", "build it first: invoke image")
    out = Path(os.path.realpath(out))  # a link stays one
    if out.exists() and not out.is_file():
        raise InputError(f"{out}: is no regular file, and stays as it is", "name another file: --out FILE")
    try:
        with tempfile.TemporaryDirectory(dir=out.parent, prefix=".handshake-lab-") as folder:
            saved, partial = Path(folder, IMAGE), Path(folder, "bundle.tar")
            say(f"saving {image.tag}: {image.size / 1e6:.0f} MB")
            with engine_errors("bundle"), saved.open("wb") as file:
                file.writelines(engine.api.get_image(image.tag))
            with saved.open("rb") as file:
                content = read_image(file, image.tag)
            _write(partial, saved, image.tag, content)
            partial.rename(out)
    except OSError as error:
        raise InputError(f"{out}: can't be written: {error.strerror}", "name another file: --out FILE") from None
    say(f"wrote {out}: {out.stat().st_size / 1e6:.0f} MB")


def _write(path: Path, saved: Path, tag: str, content: ImageContent) -> None:
    files = {IMAGE: saved, **bundled_files()}
    manifest = {
        "schema": SCHEMA,
        "version": __version__,
        "image": {
            "tag": tag,
            "config": content.config,
            "layers": list(content.layers),
            "architecture": content.architecture,
        },
        "files": {name: {"size": file.stat().st_size, "sha256": _sha256(file)} for name, file in files.items()},
    }
    text = json.dumps(manifest, indent=2).encode()
    with tarfile.open(path, "w", format=tarfile.PAX_FORMAT) as bundle:
        bundle.addfile(_member(MANIFEST, len(text)), io.BytesIO(text))
        for name, file in files.items():
            with file.open("rb") as source:
                bundle.addfile(_member(name, file.stat().st_size), source)


def _member(name: str, size: int) -> tarfile.TarInfo:
    member = tarfile.TarInfo(name)
    member.size, member.mode = size, 0o755 if name.endswith(".sh") else 0o644
    return member


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def load_bundle(engine: Engine, path: Path, say: Say) -> None:
    """Check every hash of the bundle at `path`, then load its image; `InputError` refuses it whole, before that."""
    if path.exists() and not path.is_file():
        raise InputError(f"{path}: is no regular file", "name a bundle: --file FILE")
    try:
        with path.open("rb") as file, tarfile.open(fileobj=file, mode="r:") as bundle:
            members, manifest = _checked(bundle, path)
            image = _checked_image(bundle, members, manifest, path)
            _require_ours(manifest, path)
            _compare(bundle, members, say)
            say(f"loading {image_tag()}")
            _load(engine, cast("IO[bytes]", bundle.extractfile(members[IMAGE])), image, path)
    except FileNotFoundError:
        raise InputError(f"{path}: there is no such file", "name a bundle: --file FILE") from None
    except OSError as error:
        raise InputError(f"{path}: can't be read: {error.strerror or error}", AGAIN) from None
    except (tarfile.TarError, EOFError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise _damaged(path, f"it is no bundle, or cut ({type(error).__name__})") from None


def _damaged(path: Path, why: str) -> InputError:
    return InputError(f"{path}: refused whole: {why}", AGAIN)


def _checked(bundle: tarfile.TarFile, path: Path) -> tuple[dict[str, tarfile.TarInfo], dict[str, Any]]:
    """The members by name and the manifest, once names, kinds, sizes and hashes are right."""
    members: dict[str, tarfile.TarInfo] = {}
    for member in bundle:
        shown = repr(member.name[:80])
        if not member.isreg() or member.issparse():
            raise _damaged(path, f"{shown} is no regular file")
        if member.name != MANIFEST and not NAME.fullmatch(member.name):
            raise _damaged(path, f"{shown} is no name that a bundle has")
        if member.name in members or len(members) >= MOST_MEMBERS:
            raise _damaged(path, f"{shown} is one member too many")
        if member.size > {MANIFEST: LARGEST_MANIFEST, IMAGE: LARGEST_IMAGE}.get(member.name, LARGEST_FILE):
            raise _damaged(path, f"{shown} is too large: {member.size} bytes")
        members[member.name] = member
    if MANIFEST not in members:
        raise _damaged(path, f"it has no {MANIFEST}")
    manifest = json.loads(_content(bundle, members[MANIFEST]))
    if manifest["schema"] != SCHEMA:
        raise _damaged(path, f"its schema isn't {SCHEMA}")
    if members.keys() - {MANIFEST} != manifest["files"].keys() or IMAGE not in members:
        raise _damaged(path, "its members are not those of its manifest")
    for name, entry in manifest["files"].items():
        digest = hashlib.file_digest(cast("Any", bundle.extractfile(members[name])), "sha256").hexdigest()
        if members[name].size != entry["size"] or digest != entry["sha256"]:
            raise _damaged(path, f"{name} is not what the manifest says: its sha256 is {digest}")
    return members, manifest


def _content(bundle: tarfile.TarFile, member: tarfile.TarInfo) -> bytes:
    file = bundle.extractfile(member)
    assert file is not None  # noqa: S101 - a regular file
    return file.read()


def _checked_image(
    bundle: tarfile.TarFile, members: Mapping[str, tarfile.TarInfo], manifest: Mapping[str, Any], path: Path
) -> ImageContent:
    described = manifest["image"]
    image = read_image(cast("IO[bytes]", bundle.extractfile(members[IMAGE])), described["tag"])
    if image != ImageContent(described["config"], tuple(described["layers"]), described["architecture"]):
        raise _damaged(path, "its image is not the one that its manifest describes")
    return image


def read_image(file: IO[bytes], tag: str) -> ImageContent:
    """What the image in an archive of `docker save` is; `InputError` unless it is one image, with `tag` and no other.

    Engines of either kind of store read it: `manifest.json` is the old format's, `index.json` OCI's.
    """
    small = _small_members(file)
    (described,) = json.loads(small["manifest.json"])
    config = small[described["Config"]]
    digest = hashlib.sha256(config).hexdigest()
    references = {
        annotations[key].rpartition("/")[2]
        for entry in json.loads(small.get("index.json", b'{"manifests": []}'))["manifests"]
        for annotations in [entry.get("annotations") or {}]
        for key in REF_ANNOTATIONS
        if key in annotations
    }
    if described["RepoTags"] != [tag] or not references <= {tag, tag.partition(":")[2]}:
        raise InputError("image.tar: it holds an image of another name", AGAIN)
    if digest not in described["Config"]:
        raise InputError("image.tar: its configuration is not what its digest says", AGAIN)
    values = json.loads(config)
    return ImageContent(f"sha256:{digest}", tuple(values["rootfs"]["diff_ids"]), values["architecture"])


def _small_members(file: IO[bytes]) -> dict[str, bytes]:
    """The members of an image's archive that may be JSON, by name."""
    small: dict[str, bytes] = {}
    left = LARGEST_FILE
    with tarfile.open(fileobj=file, mode="r:") as archive:
        for member in archive:
            if member.isreg() and member.size <= min(left, LARGEST_MANIFEST):
                small[member.name.removeprefix("./")] = _content(archive, member)
                left -= member.size
    return small


def _require_ours(manifest: Mapping[str, Any], path: Path) -> None:
    tag = manifest["image"]["tag"]
    if tag != image_tag():
        raise InputError(
            f"{path}: its image is {tag}, and this version needs {image_tag()}",
            "take a bundle made by the same version of the project",
        )


def _compare(bundle: tarfile.TarFile, members: Mapping[str, tarfile.TarInfo], say: Say) -> None:
    """Say where the bundle's other files are not the same as this clone's, which are the ones used."""
    here = bundled_files()
    differing = [
        name
        for name, member in members.items()
        if name not in (MANIFEST, IMAGE) and (name not in here or here[name].read_bytes() != _content(bundle, member))
    ]
    if differing:
        say(f"in the bundle, but not the same here (yours are used): {_listed(differing)}")


def _listed(names: Iterable[str], most: int = 5) -> str:
    shown = sorted(names)
    return ", ".join(shown[:most]) + (f" and {len(shown) - most} more" if len(shown) > most else "")


def _load(engine: Engine, file: IO[bytes], image: ImageContent, path: Path) -> None:
    with engine_errors("unbundle"):
        architecture = engine.api.version(api_version=False)["Arch"]
        if architecture != image.architecture:
            raise InputError(
                f"{path}: its image is for {image.architecture}, and this engine runs {architecture}",
                f"make a bundle on a machine with {architecture}",
            )
        said = list(engine.api.load_image(file))
        found = find_image(engine)
        errors = [str(line["error"]) for line in said if "error" in line]
        if errors or found is None:
            said_why = _listed(errors) or "no reason given"
            mend = "free some disk: docker system df" if "no space left" in said_why else "see the engine: docker info"
            raise StepError("unbundle", f"the engine didn't load the image: {said_why}", mend)
        if found.layers != image.layers:
            raise StepError("unbundle", "the engine's image isn't the bundle's", "remove it: docker rmi " + image_tag())
        engine.api.tag(image_tag(), REPOSITORY, "latest")
