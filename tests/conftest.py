"""Which components the machine has, and what to do about a test that needs an absent one."""

import functools
import os
import re
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import settings

if TYPE_CHECKING:
    from lab.pack.play import Played
    from lab.scenario.model import Scenario

HERE = Path(__file__).parent.parent
OF_THE_MACHINE = {"netns", "docker", "dockerd", "root", "unshare", "mmdebstrap"}
CAPTURES = HERE.parent / "shared" / "captures"

settings.register_profile("lab", deadline=None, derandomize=True)  # the same examples everywhere
settings.load_profile("lab")


@functools.cache
def missing(component: str) -> str:
    """Why `component` can't be used here; empty if it can."""
    if component == "netns":
        from lab.doctor import examine

        with tempfile.TemporaryDirectory() as runs:
            return "; ".join(check.found for check in examine(Path(runs)) if not check.ok)
    if component == "docker":
        from lab.doctor import examine_docker

        return "; ".join(check.found for check in examine_docker() if not check.ok)
    if component == "root":
        return "" if os.geteuid() == 0 else "this is an ordinary user"
    if component == "pages":
        return _not_the_pages_machine()
    if component == "captures":
        return "" if CAPTURES.is_dir() else f"{CAPTURES} is not there"
    return "" if shutil.which(component) else f"{component} is not installed"


def _not_the_pages_machine() -> str:
    """What keeps real runs here from being those that docs/scenarios.md shows: another kernel, another curl."""
    from lab.pack.page import machine_words

    made = re.search(r"of real runs, with (.*?);", (HERE / "docs" / "scenarios.md").read_text())
    curl = subprocess.run(["curl", "--version"], capture_output=True, text=True, check=False).stdout
    here = machine_words(os.uname().release, curl)
    return "" if made and made[1] == here else f"the pages were made with {made and made[1]}; here is {here}"


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "needs(*components): what the test needs of the machine")


@pytest.hookimpl(tryfirst=True)  # pytest-xdist's own hook turns these marks into ids
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """With pytest-xdist (`-n 2 --dist loadgroup`), one worker has all tests that look at the machine, one by one."""
    if not config.pluginmanager.hasplugin("xdist"):
        return
    for item in items:
        needed = {component for marker in item.iter_markers("needs") for component in marker.args}
        if needed & OF_THE_MACHINE or "nothing_stays" in getattr(item, "fixturenames", ()):
            item.add_marker(pytest.mark.xdist_group("machine"))


def pytest_runtest_setup(item: pytest.Item) -> None:
    required = os.environ.get("LAB_TEST_REQUIRE", "").split(",")
    for marker in item.iter_markers("needs"):
        for component in marker.args:
            reason = missing(component)
            if reason and component in required:
                pytest.fail(f"LAB_TEST_REQUIRE demands {component}: {reason}", pytrace=False)
            if reason:
                pytest.skip(f"needs {component}: {reason}")


@dataclass(frozen=True)
class PackRun:
    """The one run of the whole pack that several tests look at: `invoke lab --all`, as it ended."""

    done: subprocess.CompletedProcess[str]
    runs: Path
    plans: "tuple[Scenario, ...]"
    played: "tuple[Played, ...]"


@pytest.fixture(scope="session")
def pack_run(tmp_path_factory: pytest.TempPathFactory) -> PackRun:
    from lab.pack.play import load_pack
    from lab.pack.view import read_played

    runs = tmp_path_factory.mktemp("pack")
    command = [sys.executable, "-m", "invoke", "lab", "--all", "--backend", "netns", "--json", "--runs", str(runs)]
    done = subprocess.run(command, cwd=HERE, capture_output=True, text=True, timeout=300, check=False)
    return PackRun(done, runs, load_pack(), read_played(done.stdout))
