"""How alike rounds of the whole pack are, quiet and with every core kept busy, and how long they take."""

import difflib
import statistics
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from analysis.text import plural
from lab.bench.runs import Progress, busy_cores, listed, settled_difference, traces
from lab.pack.play import Played, load_pack, play_pack
from lab.record import PARTIAL
from lab.scenario.model import Scenario

ROUNDS = 20
MOST_DIFFERENCE = 60  # lines of a difference that are shown


@dataclass(slots=True)
class Seen:
    """The runs of one scenario: seconds by kind of round, verdicts, and the exact sequences by their fingerprints."""

    plan: Scenario
    seconds: dict[str, list[float]] = field(default_factory=lambda: {"quiet": [], "busy": []})
    verdicts: Counter[str] = field(default_factory=Counter)
    exact: dict[str, str] = field(default_factory=dict)

    def add(self, kind: str, one: Played) -> None:
        """Count a run, and keep its sequence if it is a new one."""
        self.seconds[kind].append(one.seconds)
        self.verdicts[one.verdict] += 1
        if one.exact is not None and one.exact not in self.exact:
            self.exact[one.exact] = one.sequence()

    @property
    def is_good(self) -> bool:
        """Whether every run passed, with one sequence, or with several where the scenario says why."""
        one = len(self.exact) == 1 or self.plan.inexact_because is not None
        return one and self.verdicts.keys() == {"pass"}

    def row(self) -> str:
        """A row of the Markdown table."""
        verdicts = ", ".join(f"{count} {verdict}" for verdict, count in sorted(self.verdicts.items()))
        times = " | ".join(f"{statistics.median(some):.2f}" if some else "–" for some in self.seconds.values())
        because = f" ({self.plan.inexact_because})" if self.plan.inexact_because else ""
        return f"| {self.plan.name} | {len(self.exact)}{because} | {verdicts} | {times} |"

    def difference(self) -> Iterator[str]:
        """How the first two of several sequences differ."""
        if len(self.exact) > 1:
            (name, one), (other_name, other), *_ = self.exact.items()
            lines = difflib.unified_diff(
                one.splitlines(), other.splitlines(), f"{self.plan.name} {name[:12]}", other_name[:12], lineterm=""
            )
            yield from list(lines)[:MOST_DIFFERENCE]


def bench_pack(rounds: int, progress: Progress) -> tuple[str, bool]:
    """Run the whole pack `rounds` times on netns, half of them with every core kept busy.

    Markdown tables; and whether every run passed, every exact scenario with one sequence, and nothing was left behind.
    """
    plans = load_pack()
    seen = [Seen(plan) for plan in plans]
    before = traces()
    quiet = [_round("quiet", seen, plans, number, rounds, progress) for number in range(1, rounds - rounds // 2 + 1)]
    busy: list[tuple[float, int]] = []
    if rounds // 2:
        with busy_cores():
            busy = [
                _round("busy", seen, plans, len(quiet) + number, rounds, progress)
                for number in range(1, rounds // 2 + 1)
            ]
    left = settled_difference(before) | {"partial folders": sum(partial for _, partial in (*quiet, *busy))}
    for one in seen:
        for line in one.difference():
            progress(line)
    lines = ["| scenario | exact | verdicts | median s, quiet | median s, busy |", "| --- | --- | --- | --- | --- |"]
    lines += [*(one.row() for one in seen), "", "| whole pack, seconds | rounds | min | median | max |"]
    lines += ["| --- | --- | --- | --- | --- |"]
    lines += [_times("quiet", quiet), *([_times("every core busy", busy)] if busy else []), ""]
    several = sum(len(one.exact) != 1 for one in seen)
    lines += [f"scenarios: {len(seen)}, of which {several} gave more than one exact fingerprint, or none"]
    lines += [f"left behind: {listed(left)}"]
    return "\n".join(lines), all(one.is_good for one in seen) and not any(left.values())


def _times(name: str, rounds: Sequence[tuple[float, int]]) -> str:
    seconds = [one for one, _ in rounds]
    return f"| {name} | {len(seconds)} | {min(seconds):.2f} | {statistics.median(seconds):.2f} | {max(seconds):.2f} |"


def _round(
    kind: str, seen: list[Seen], plans: Sequence[Scenario], number: int, rounds: int, progress: Progress
) -> tuple[float, int]:
    """One round; its seconds, and how many partial folders it left."""
    with tempfile.TemporaryDirectory() as folder:
        start = time.monotonic()
        played = play_pack(plans, "netns", Path(folder), lambda _: None)
        seconds = time.monotonic() - start
        for one, run in zip(seen, played, strict=True):
            one.add(kind, run)
        partial = len(list(Path(folder).glob(f"{PARTIAL}*")))
    failed = sum(one.verdict != "pass" for one in played)
    but = f", {plural(failed, 'run')} not passed" if failed else ""
    progress(f"pack, {kind}: round {number} of {rounds}, {seconds:.1f} s{but}")
    return seconds, partial
