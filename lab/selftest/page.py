"""What the selftest found, as Markdown: for the terminal, and for `docs/selftest.md`."""

from collections import Counter
from string import ascii_lowercase

from lab.selftest.mutants import EVERY, FAR, FIRST, LAST, MOST_FRAMES
from lab.selftest.selftest import Result

HEAD = f"""# Do the expectations discriminate?

<!-- made by `invoke docs` of a run of the pack; don't edit -->

A check that passes whatever happens proves nothing. `invoke selftest` runs the scenario pack and asks three things of
the real captures. Does each pass its own expectation? Does it fail every other scenario's, where the sequences differ?
Does it fail its own as soon as one thing is changed in it? To that end every frame of every capture is, one at a time,

- *dropped*, *doubled* (byte for byte), *sent again* (with another IP identification, as a host does; not on IPv6,
  which has none), *swapped* with the next frame (times stay);
- if it is TCP, given one changed flag (FIN, SYN, RST or ACK, each added or taken away), another Seq (+ 1 and
  + {FAR:,}), another Ack (+ 1), with checksums put right.

Of a capture of more than {MOST_FRAMES} frames the first {FIRST}, the last {LAST} and every {EVERY}th are changed.
A mutant that still passes is *equivalent* if both sequences show why: the letters stand for the reasons below the
table. One that passes without a reason makes the selftest fail. The last column counts the mutants whose verdict isn't
"pass", by whatever rule.
"""


def selftest_page(result: Result) -> str:
    """The page as Markdown."""
    return f"{HEAD}\n{selftest_tables(result)}\n"


def selftest_tables(result: Result) -> str:
    """The tables, then what passes without a reason."""
    letters = _letters(result)
    lines = ["| scenario | frames | changed | mutants | failed | equivalent | by any rule |"]
    lines += ["| --- | --- | --- | --- | --- | --- | --- |"]
    for name, tally in result.tallies.items():
        reasons = ", ".join(
            f"{tally.equivalent[reason]} {letter}" for reason, letter in letters.items() if tally.equivalent[reason]
        )
        cells = (name, tally.frames, tally.changed, tally.mutants, tally.failed, reasons or "–", tally.noticed)
        lines.append(f"| {' | '.join(map(str, cells))} |")
    lines += ["", *(f"- **{letter}**: {reason}" for reason, letter in letters.items())]
    lines += ["", *_sums(result), "", *_crossed(result)]
    return "\n".join([*lines, *_holes(result)])


def _letters(result: Result) -> dict[str, str]:
    """A letter for each reason that there is, the most frequent first."""
    counts = sum((tally.equivalent for tally in result.tallies.values()), Counter[str]())
    ordered = sorted(counts, key=lambda reason: (-counts[reason], reason))
    return dict(zip(ordered, ascii_lowercase, strict=False))


def _sums(result: Result) -> list[str]:
    tallies = result.tallies.values()
    total, failed = sum(one.mutants for one in tallies), sum(one.failed for one in tallies)
    equivalent, noticed = sum(one.equivalent.total() for one in tallies), sum(one.noticed for one in tallies)
    holes = sum(len(one.holes) for one in tallies)
    fate = f"{failed:,} fail the expectation, {equivalent:,} are equivalent, {holes:,} pass without a reason"
    return [f"{total:,} mutants: {fate}. {noticed:,} fail some rule, or leave it undecided."]


def _crossed(result: Result) -> list[str]:
    passed = sum(one.own for one in result.crossed.values())
    failed = sum(one.failed for one in result.crossed.values())
    same = [f"{name} by {other}'s" for name, one in result.crossed.items() for other in one.same]
    own = f"{passed} of {len(result.crossed)} captures pass their own expectation"
    lines = [f"{own}; of each with the expectations of the others, {failed:,} pairs fail."]
    return (
        [*lines, f"The same sequence at like times, so no pair that could fail: {', '.join(same)}."] if same else lines
    )


def _holes(result: Result) -> list[str]:
    return ["", "Passes without a reason:", "", *(f"- {hole}" for hole in result.holes)] if result.holes else []
