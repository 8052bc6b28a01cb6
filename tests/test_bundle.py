"""Bundles: what goes in comes out, and what is damaged or hostile is refused whole, before the engine hears of it."""

import gzip
import hashlib
import io
import json
import os
import random
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from analysis.errors import InputError
from lab.containers.bundle import SCHEMA, bundled_files, load_bundle, read_image
from lab.containers.image import image_tag
from tests.conftest import HERE
from tests.test_lab import invoke
from tests.test_misfortune import is_one_clear_message


class NoEngine:
    """Stands where an engine would: a bundle that is refused must not come so far as to ask it anything."""

    def __getattr__(self, name: str) -> Any:
        pytest.fail(f"the engine was asked for {name}")


def tar_of(members: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.PAX_FORMAT) as tar:
        for name, content in members.items():
            tar.addfile(_info(name, len(content)), io.BytesIO(content))
    return buffer.getvalue()


def _info(name: str, size: int, **fields: Any) -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.size = size
    for field, value in fields.items():
        setattr(info, field, value)
    return info


CONFIG = json.dumps({"architecture": "vax", "rootfs": {"diff_ids": ["sha256:1"]}}).encode()
DIGEST = hashlib.sha256(CONFIG).hexdigest()


def small_image(tag: str | None = None, more: dict[str, bytes] | None = None) -> bytes:
    """An image's archive as `docker save` writes it, but without layers."""
    described = [{"Config": f"{DIGEST}.json", "RepoTags": [tag or image_tag()], "Layers": []}]
    return tar_of({f"{DIGEST}.json": CONFIG, "manifest.json": json.dumps(described).encode(), **(more or {})})


def small_bundle(files: dict[str, bytes] | None = None, **manifest: Any) -> dict[str, bytes]:
    """The members of a bundle that is right, but for its small image and what is given here."""
    files = {"image.tar": small_image(), **(files or {})}
    values = {
        "schema": SCHEMA,
        "version": "0",
        "image": {"tag": image_tag(), "config": f"sha256:{DIGEST}", "layers": ["sha256:1"], "architecture": "vax"},
        "files": {
            name: {"size": len(content), "sha256": hashlib.sha256(content).hexdigest()}
            for name, content in files.items()
        },
        **manifest,
    }
    return {"manifest.json": json.dumps(values).encode(), **files}


def with_member(info: tarfile.TarInfo, content: bytes = b"") -> bytes:
    """A bundle that is right, with one more member."""
    buffer = io.BytesIO(tar_of(small_bundle()))
    with tarfile.open(fileobj=buffer, mode="a") as tar:
        tar.addfile(info, io.BytesIO(content))
    return buffer.getvalue()


def huge_member() -> bytes:
    """A header that claims eight terabytes."""
    return _info("compose/huge", 8 << 40).tobuf(tarfile.GNU_FORMAT) + bytes(10240)


def changed(content: bytes, old: bytes, new: bytes) -> bytes:
    assert old in content
    return content.replace(old, new)


SCENARIO = {"scenarios/x.toml": b"title = 'x'\n"}
HOSTILE: dict[str, tuple[Callable[[], bytes], str]] = {
    "a bad hash": (lambda: changed(tar_of(small_bundle(SCENARIO)), b"title = 'x'", b"title = 'y'"), "its sha256 is"),
    "a bad hash of the image": (
        lambda: tar_of({**small_bundle(), "image.tar": small_image(more={"x": b"x"})}),
        "image.tar is not what the manifest says",
    ),
    "an absolute path": (lambda: tar_of(small_bundle({"/etc/passwd": b""})), "no name that a bundle has"),
    "a path that climbs": (lambda: tar_of(small_bundle({"compose/../../x": b""})), "no name that a bundle has"),
    "a hidden file": (lambda: tar_of(small_bundle({"compose/.env": b""})), "no name that a bundle has"),
    "a terminal's escape in a name": (lambda: tar_of(small_bundle({"\x1b[2J": b""})), r"'\x1b[2J'"),
    "a symbolic link": (
        lambda: with_member(_info("compose/x", 0, type=tarfile.SYMTYPE, linkname="/etc/passwd")),
        "is no regular file",
    ),
    "a hard link": (
        lambda: with_member(_info("compose/x", 0, type=tarfile.LNKTYPE, linkname="image.tar")),
        "is no regular file",
    ),
    "a device": (lambda: with_member(_info("compose/x", 0, type=tarfile.CHRTYPE)), "is no regular file"),
    "a folder": (lambda: with_member(_info("compose/x", 0, type=tarfile.DIRTYPE)), "is no regular file"),
    "a member that the manifest lacks": (lambda: with_member(_info("compose/x", 1), b"x"), "not those of its manifest"),
    "a member twice": (lambda: with_member(_info("image.tar", 1), b"x"), "one member too many"),
    "too many members": (
        lambda: tar_of({f"compose/x{number}": b"" for number in range(1001)}),
        "one member too many",
    ),
    "a huge member": (huge_member, "is too large: 8796093022208 bytes"),
    "a large manifest": (lambda: tar_of({"manifest.json": b" " * (2 << 20)}), "is too large"),
    "no manifest": (lambda: tar_of({"image.tar": b""}), "it has no manifest.json"),
    "a manifest that is no JSON": (lambda: tar_of({**small_bundle(), "manifest.json": b"{"}), "no bundle, or cut"),
    "a manifest nested deeply": (
        lambda: tar_of({**small_bundle(), "manifest.json": b"[" * 500_000}),
        "no bundle, or cut",
    ),
    "a manifest of another kind": (lambda: tar_of({**small_bundle(), "manifest.json": b"[]"}), "no bundle, or cut"),
    "another schema": (lambda: tar_of(small_bundle(schema="x")), "its schema isn't"),
    "no image": (
        lambda: tar_of({"manifest.json": small_bundle()["manifest.json"]}),
        "not those of its manifest",
    ),
    "another image than described": (
        lambda: tar_of(small_bundle(image={**_described(), "layers": ["sha256:2"]})),
        "not the one that its manifest describes",
    ),
    "another version's image": (
        lambda: tar_of(
            small_bundle(
                {"image.tar": small_image("handshake-lab:9")}, image={**_described(), "tag": "handshake-lab:9"}
            )
        ),
        f"its image is handshake-lab:9, and this version needs {image_tag()}",
    ),
    "an image of another name": (
        lambda: tar_of(small_bundle({"image.tar": small_image("debian:latest")})),
        "an image of another name",
    ),
    "an image of another name for a newer engine": (
        lambda: tar_of(small_bundle({"image.tar": small_image(more=_oci("debian:latest"))})),
        "an image of another name",
    ),
    "an image that is no archive": (lambda: tar_of(small_bundle({"image.tar": b"x" * 600})), "no bundle, or cut"),
    "compressed": (lambda: gzip.compress(tar_of(small_bundle())), "no bundle, or cut"),
    "cut": (lambda: tar_of(small_bundle())[:3000], "no bundle, or cut"),
    "empty": (lambda: b"", "no bundle, or cut"),
}


def _described() -> dict[str, Any]:
    described: dict[str, Any] = json.loads(small_bundle()["manifest.json"])["image"]
    return described


def _oci(name: str) -> dict[str, bytes]:
    annotations = {"io.containerd.image.name": f"docker.io/library/{name}"}
    return {"index.json": json.dumps({"manifests": [{"annotations": annotations}]}).encode()}


@pytest.mark.parametrize("what", HOSTILE)
def test_a_damaged_or_hostile_bundle_is_refused_whole(tmp_path: Path, what: str) -> None:
    make, complaint = HOSTILE[what]
    path = tmp_path / "lab.bundle"
    path.write_bytes(make())
    with pytest.raises(InputError) as why:
        load_bundle(NoEngine(), path, lambda _: None)  # type: ignore[arg-type]
    assert complaint in str(why.value)
    assert why.value.next_step
    assert [file.name for file in tmp_path.iterdir()] == ["lab.bundle"]


def test_a_right_one_comes_to_the_engine(tmp_path: Path) -> None:
    path = tmp_path / "lab.bundle"
    path.write_bytes(tar_of(small_bundle({"image.tar": small_image(more=_oci(image_tag()))})))
    with pytest.raises(pytest.fail.Exception, match="the engine was asked for api"):
        load_bundle(NoEngine(), path, lambda _: None)  # type: ignore[arg-type]


def test_a_bundle_of_any_damage_is_refused_or_right(tmp_path: Path) -> None:
    dice = random.Random(3)
    whole = bytearray(tar_of(small_bundle(SCENARIO)))
    path = tmp_path / "lab.bundle"
    for _ in range(300):
        damaged = bytearray(whole)
        for _ in range(dice.randint(1, 4)):
            damaged[dice.randrange(len(damaged))] ^= 1 << dice.randrange(8)
        path.write_bytes(damaged[: dice.choice([len(damaged), dice.randrange(len(damaged))])])
        with pytest.raises((InputError, pytest.fail.Exception)):
            load_bundle(NoEngine(), path, lambda _: None)  # type: ignore[arg-type]


def test_files_that_are_not_the_same_here_are_said(tmp_path: Path) -> None:
    path = tmp_path / "lab.bundle"
    here = {name: file.read_bytes() for name, file in bundled_files().items()}
    here["scenarios/baseline.toml"] += b"\n"
    path.write_bytes(tar_of(small_bundle(here)))
    said: list[str] = []
    with pytest.raises(pytest.fail.Exception):
        load_bundle(NoEngine(), path, said.append)  # type: ignore[arg-type]
    assert said[0] == "in the bundle, but not the same here (yours are used): scenarios/baseline.toml"


@pytest.mark.needs("docker")
def test_a_target_that_is_no_regular_file_stays_as_it_is(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    (tmp_path / "link").symlink_to(tmp_path / "fifo")
    for target in (tmp_path, tmp_path / "fifo", tmp_path / "link"):
        done = invoke("bundle", "--out", target)
        assert (done.returncode, done.stdout) == (2, "")
        assert is_one_clear_message(done.stderr), done.stderr
    assert (tmp_path / "fifo").is_fifo()
    done = invoke("unbundle", "--file", tmp_path / "fifo")
    assert done.returncode == 2
    assert "is no regular file" in done.stderr


@pytest.mark.parametrize("words", [["unbundle", "--file", "/nonexistent"], ["unbundle", "--file", "/"]])
@pytest.mark.needs("docker")
def test_a_bundle_that_cannot_be_read_is_said(words: list[str]) -> None:
    done = invoke(*words)
    assert (done.returncode, done.stdout) == (2, "")
    assert is_one_clear_message(done.stderr), done.stderr


@pytest.mark.needs("docker")
def test_a_bundle_has_all_and_appears_whole_or_not_at_all(tmp_path: Path) -> None:
    out = tmp_path / "lab.bundle"
    assert invoke("bundle", "--out", out).returncode == 0
    assert [file.name for file in tmp_path.iterdir()] == ["lab.bundle"]
    with tarfile.open(out) as bundle:
        names = bundle.getnames()
        assert names == ["manifest.json", "image.tar", *bundled_files()]
        manifest = json.loads(bundle.extractfile("manifest.json").read())  # type: ignore[union-attr]
        image = read_image(bundle.extractfile("image.tar"), image_tag())  # type: ignore[arg-type]
    assert (manifest["image"]["tag"], manifest["image"]["config"]) == (image_tag(), image.config)
    for needed in ("compose/compose.yaml", "compose/Dockerfile", "scenarios/baseline.toml", "samples/google-2016.pcap"):
        assert needed in names
    done = invoke("bundle", "--out", tmp_path / "no" / "folder")
    assert done.returncode == 2
    assert is_one_clear_message(done.stderr[done.stderr.index("error:") :])
    assert not (tmp_path / "no").exists()
    assert str(HERE) not in json.dumps(manifest)
