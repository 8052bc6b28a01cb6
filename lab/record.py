"""A run's folder and its provenance. A folder appears whole, by rename; until then it is `.partial-*`.

Its maker holds a lock (flock) on the partial folder, which the kernel gives back however the maker dies. So a partial
folder that can be locked is a dead run's, and anyone may remove it.
"""

import fcntl
import json
import os
import secrets
import shutil
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from analysis.errors import InputError, LabError

PARTIAL = ".partial-"


class Folder:
    """A run's folder in the making."""

    def __init__(self, runs: Path, name: str) -> None:
        """Make `runs` if need be, remove what dead runs left there, and start a partial folder, locked."""
        self._runs = runs
        self._name = name
        try:
            runs.mkdir(parents=True, exist_ok=True)
            remove_dead(runs)
            self.path, self._lock = self._make()
        except OSError as error:
            raise unwritable(runs, error) from None

    def _make(self) -> tuple[Path, int]:
        while True:
            path = self._runs / f"{PARTIAL}{secrets.token_hex(4)}"
            path.mkdir()
            try:
                lock = _locked(path)
            except FileNotFoundError:
                lock = None
            if lock is not None and path.exists():
                return path, lock
            if lock is not None:
                os.close(lock)  # another run took it for a dead one's between the two lines: once more

    def write_text(self, name: str, content: str) -> None:
        """Write one of the folder's text files."""
        (self.path / name).write_text(content, encoding="utf-8")

    def write_json(self, name: str, content: Mapping[str, Any]) -> None:
        """Write one of the folder's JSON files."""
        self.write_text(name, json.dumps(content, indent=2, ensure_ascii=False) + "\n")

    def publish(self) -> Path:
        """Give the folder its name: `runs/<time>-<scenario>-<random>`."""
        stamp = datetime.now(UTC).strftime("%Y%m%d-%H%M%S")
        target = self._runs / f"{stamp}-{self._name}-{secrets.token_hex(2)}"
        try:
            self.path.rename(target)
        except OSError as error:
            raise unwritable(self._runs, error) from None
        self.close()
        self.path = target
        return target

    def close(self) -> None:
        """Give the lock back."""
        if self._lock >= 0:
            os.close(self._lock)
            self._lock = -1

    def discard(self) -> None:
        """Remove the folder, as if the run had not been. Does nothing to one that was published."""
        if self._lock >= 0:
            shutil.rmtree(self.path, ignore_errors=True)
            self.close()


def remove_dead(runs: Path) -> list[Path]:
    """Remove the partial folders in `runs` whose makers are dead; those that were removed."""
    removed: list[Path] = []
    try:
        left = sorted(path for path in runs.iterdir() if path.name.startswith(PARTIAL))
    except FileNotFoundError:
        return removed
    except OSError as error:
        raise unwritable(runs, error) from None
    for path in left:
        try:
            lock = _locked(path)
        except OSError:
            continue  # gone meanwhile, or somebody else's
        if lock is None:
            continue
        shutil.rmtree(path, ignore_errors=True)
        os.close(lock)
        removed.append(path)
    return removed


def _locked(path: Path) -> int | None:
    """A descriptor of `path` that holds its lock; None if a live run has it."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        return None
    return descriptor


def unwritable(runs: Path, error: OSError) -> LabError:
    """What is wrong with the folder of runs."""
    return InputError(f"{runs}: can't be written: {error.strerror}", "name another folder: --runs FOLDER")
