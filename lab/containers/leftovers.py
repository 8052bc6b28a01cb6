"""What a run left in the engine, found by its labels alone, and its removal."""

import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from lab.containers.engine import Engine
from lab.containers.owner import OWNER_LABEL, RUN_LABEL, Owner
from lab.errors import StepError

LOOKS, BETWEEN_LOOKS_S = 50, 0.05  # an engine may go on with what it was asked for just before the asker died


@dataclass(frozen=True, slots=True)
class Leftover:
    """A container or network of a run."""

    kind: str
    identifier: str
    name: str
    run: str
    owner: Owner | None


def find_leftovers(engine: Engine, run: str | None = None) -> list[Leftover]:
    """Every container and network with the lab's labels, containers first; of `run` alone if one is named."""
    wanted = {"label": RUN_LABEL if run is None else f"{RUN_LABEL}={run}"}
    containers = engine.api.containers(all=True, filters=wanted)
    networks = engine.api.networks(filters=wanted)
    return [
        *(_leftover("container", entry, _name_of(entry)) for entry in containers),
        *(_leftover("network", entry, entry["Name"]) for entry in networks),
    ]


def _name_of(container: Mapping[str, Any]) -> str:
    names = container["Names"] or [container["Id"][:12]]  # one that is being removed has none
    return str(names[0]).removeprefix("/")


def _leftover(kind: str, entry: Mapping[str, Any], name: str) -> Leftover:
    labels = entry.get("Labels") or {}
    return Leftover(kind, entry["Id"], name, labels.get(RUN_LABEL, ""), Owner.parse(labels.get(OWNER_LABEL, "")))


def remove_run(engine: Engine, run: str) -> list[Leftover]:
    """Remove all that `run` has, until two looks in a row find nothing; what was removed. `StepError` if some stays."""
    removed: dict[str, Leftover] = {}
    empty = 0
    for _ in range(LOOKS):
        found = find_leftovers(engine, run)
        removed |= {one.identifier: one for one in _remove(engine, found)}
        empty = 0 if found else empty + 1
        if empty == 2:
            return list(removed.values())
        time.sleep(BETWEEN_LOOKS_S)
    names = ", ".join(one.name for one in find_leftovers(engine, run))
    raise StepError("destroy", f"the engine doesn't let go of {names}", "see what uses it: docker inspect NAME")


def remove_dead_runs(engine: Engine) -> tuple[list[Leftover], list[Leftover]]:
    """Remove what dead runs have: what was removed, and what can't be judged from here and so was left."""
    foreign: list[Leftover] = []
    dead: set[str] = set()
    for one in find_leftovers(engine):
        if one.owner is None:
            continue  # made by hand
        if not one.owner.is_judged_here():
            foreign.append(one)
        elif one.owner.is_dead():
            dead.add(one.run)
    removed = [one for run in sorted(dead) for one in remove_run(engine, run)]
    return removed, foreign


def _remove(engine: Engine, found: Iterable[Leftover]) -> Iterator[Leftover]:
    import docker.errors

    for one in found:
        try:
            if one.kind == "container":
                engine.api.remove_container(one.identifier, force=True, v=True)
            else:
                engine.api.remove_network(one.identifier)
        except docker.errors.NotFound:
            continue
        except docker.errors.APIError as error:
            if error.status_code not in (403, 409):  # in use, or being removed already: the next look tells
                raise
        else:
            yield one
