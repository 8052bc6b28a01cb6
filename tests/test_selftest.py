"""The selftest finds holes in expectations, explains what is equivalent, and finds no hole in the pack."""

from dataclasses import replace

import pytest

from analysis.expect.parse import parse_expectation
from analysis.packets.packet import ACK, FIN, RST, SYN
from analysis.traffic import Traffic
from lab.selftest.mutants import EVERY, FAR, FIRST, LAST, MOST_FRAMES, mutants, sampled
from lab.selftest.page import selftest_page
from lab.selftest.reasons import COUNT_OPEN, FIELD_OPEN, NO_ACK, NO_ORDER, ORDER_OPEN, SECOND, SHAPE, TWICE, reason_for
from lab.selftest.selftest import Sample, Tally, cross, judge_mutant, samples_of, selftest, texts_of
from tests import craft
from tests.conftest import HERE, PackRun

needs_netns = pytest.mark.needs("netns")
CAPTURE = craft.capture(craft.fetch(), "complete")
ALL = tuple(range(1, len(CAPTURE.frames) + 1))


def quiet(_: str) -> None:
    """No progress."""


@pytest.fixture
def baseline(pack_run: PackRun) -> Sample:
    """The baseline's capture, and the exact sequence that it has as its expectation."""
    samples = {sample.scenario.name: sample for sample in samples_of(pack_run.plans, pack_run.played)}
    sample = samples["baseline"]
    return expecting(sample, str(sample.report(sample.capture()).exact))


def expecting(sample: Sample, text: str) -> Sample:
    """The sample, with another expectation."""
    return replace(sample, scenario=replace(sample.scenario, expected=parse_expectation(text)))


# --- mutants ---


def test_every_frame_is_dropped_doubled_sent_again_and_swapped() -> None:
    frames = [frame.data for frame in CAPTURE.frames]
    moved = {
        (one.kind, one.frame): one for one in mutants(CAPTURE, ALL) if one.kind in ("dropped", "doubled", "swapped")
    }
    assert len(moved) == 3 * len(ALL) - 1  # the last one has no next
    for number in ALL:
        at = number - 1
        dropped, doubled = moved["dropped", number].capture, moved["doubled", number].capture
        assert [one.data for one in dropped.frames] == frames[:at] + frames[number:]
        assert [one.data for one in doubled.frames] == frames[:number] + frames[at:]
        if number < len(ALL):
            swapped = moved["swapped", number].capture
            assert [one.data for one in swapped.frames] == [
                *frames[:at],
                frames[number],
                frames[at],
                *frames[number + 1 :],
            ]
            assert swapped.frames.time_ns.tolist() == CAPTURE.frames.time_ns.tolist()


def test_what_is_sent_again_is_the_same_but_for_its_identification() -> None:
    again = [one for one in mutants(CAPTURE, ALL) if one.kind == "sent again"]
    assert [one.frame for one in again] == list(ALL)
    for one in again:
        assert one.copy == one.frame + 1
        first, copy = one.capture.frames[one.frame - 1].data, one.capture.frames[one.frame].data
        assert first[:18] == copy[:18]
        assert first[18:20] != copy[18:20]
        assert first[26:] == copy[26:]  # behind the header's checksum


def test_of_a_tcp_segment_each_flag_seq_and_ack_is_changed_and_the_checksum_is_right() -> None:
    original = Traffic(CAPTURE).packets
    seen: set[tuple[int, str]] = set()
    for one in mutants(CAPTURE, ALL):
        before, after = original.packet_in(one.frame), Traffic(one.capture).packets.packet_in(one.frame)
        if one.kind not in ("flag", "Seq", "Ack"):
            continue
        assert before and after and before.tcp and after.tcp  # noqa: PT018 - all of them are TCP
        flips = {
            f"{name} {how}": bit
            for name, bit in (("FIN", FIN), ("SYN", SYN), ("RST", RST), ("ACK", ACK))
            for how in ("added", "taken away")
        }
        moves = {"Seq + 1": (1, 0), f"Seq + {FAR:,}": (FAR, 0), "Ack + 1": (0, 1)}.get(one.change, (0, 0))
        assert after.tcp.flags == before.tcp.flags ^ flips.get(one.change, 0)
        assert (after.tcp.seq - before.tcp.seq, after.tcp.ack - before.tcp.ack) == moves
        assert (after.checksum, after.payload) == ("good", before.payload)
        seen.add((one.frame, one.kind + one.change))
    assert len(seen) == 10 * 7


def test_of_a_long_capture_the_first_the_last_and_some_between_are_changed() -> None:
    assert sampled(MOST_FRAMES) == tuple(range(1, MOST_FRAMES + 1))
    some = sampled(1240)
    assert some[:FIRST] == tuple(range(1, FIRST + 1))
    assert some[-LAST:] == tuple(range(1240 - LAST + 1, 1241))
    assert set(some[FIRST:-LAST]) == set(range(EVERY, 1240 - LAST + 1, EVERY))


# --- reasons ---


@needs_netns
def test_of_the_baselines_mutants_eleven_are_equivalent_each_for_a_derived_reason(baseline: Sample) -> None:
    capture = baseline.capture()
    original, tally = baseline.report(capture), Tally()
    found: dict[tuple[int, str], str | None] = {}
    for mutant in mutants(capture, tuple(range(1, len(capture.frames) + 1))):
        failed = tally.failed
        judge_mutant(mutant, baseline, original, tally)
        if tally.failed == failed:
            found[mutant.frame, mutant.kind] = reason_for(
                mutant, original, baseline.report(mutant.capture), baseline.scenario
            )
    expected = {(frame, "doubled"): TWICE for frame in (1, 2, 3, 4)}
    expected |= {(frame, "sent again"): SECOND for frame in (3, 4)}
    expected |= {(frame, "swapped"): NO_ORDER for frame in (1, 2, 3, 4)}
    expected |= {(5, "Ack"): NO_ACK}
    assert found == expected
    assert (tally.holes, tally.mutants) == ([], tally.failed + tally.equivalent.total())


@needs_netns
def test_a_mutant_that_passes_without_a_reason_is_a_hole(baseline: Sample) -> None:
    capture = baseline.capture()
    lost = next(one for one in mutants(capture, (9,)) if one.kind == "dropped")
    wrong = expecting(baseline, str(baseline.report(lost.capture).exact))
    tally = Tally()
    judge_mutant(lost, wrong, wrong.report(capture), tally)
    assert tally.holes == ["baseline: frame 9: dropped"]


@needs_netns
def test_numbers_are_no_part_of_a_shape_and_that_is_the_reason(baseline: Sample) -> None:
    capture = baseline.capture()
    sample = expecting(baseline, str(baseline.report(capture).shape))
    original = sample.report(capture)
    changed = next(one for one in mutants(capture, (9,)) if one.kind == "Ack")
    assert reason_for(changed, original, sample.report(changed.capture), sample.scenario) == SHAPE
    dropped = next(one for one in mutants(capture, (6,)) if one.kind == "dropped")
    assert reason_for(dropped, original, sample.report(dropped.capture), sample.scenario) is None


OPEN = (  # what replaces which words of the baseline's sequence; the kind of mutant, its frame, the reason
    ("ack 79\n", "ack 79  ?\n", "dropped", 9, COUNT_OPEN),
    ("ack 249\n", "ack *\n", "Ack", 11, FIELD_OPEN),
    (
        "client  ACK      79:79(0)      ack 249\n",
        "either {{\n{0}}} or {{\nclient ACK 79:80(1)\n}}\n",
        "dropped",
        11,
        None,
    ),
    (
        "client  ACK      79:79(0)      ack 249\nclient  FIN,ACK  79:79(0)      ack 249\n",
        "any order {{\n{0}}}\n",
        "swapped",
        11,
        ORDER_OPEN,
    ),
)


@needs_netns
@pytest.mark.parametrize(("words", "instead", "kind", "frame", "reason"), OPEN, ids=["?", "*", "either", "any order"])
def test_what_an_expectation_leaves_open_is_the_reason_where_the_mutant_differs_there_alone(
    baseline: Sample, words: str, instead: str, kind: str, frame: int, reason: str | None
) -> None:
    capture = baseline.capture()
    text = str(baseline.report(capture).exact)
    assert words in text
    sample = expecting(baseline, text.replace(words, instead.format(words), 1))
    original, mutant = sample.report(capture), next(one for one in mutants(capture, (frame,)) if one.kind == kind)
    report = sample.report(mutant.capture)
    passes = [one.status for one in report.findings if one.rule == "expect.sequence"] == ["pass"]
    assert passes == (reason is not None)
    assert not passes or reason_for(mutant, original, report, sample.scenario) == reason


@needs_netns
def test_a_mutant_that_differs_where_nothing_is_left_open_has_no_reason(baseline: Sample) -> None:
    capture = baseline.capture()
    text = str(baseline.report(capture).exact).replace("ack 79\n", "ack 79  ?\n", 1)
    sample = expecting(baseline, text)
    original = sample.report(capture)
    for mutant in mutants(capture, (11,)):
        assert reason_for(mutant, original, sample.report(mutant.capture), sample.scenario) is None, mutant.change


@needs_netns
def test_an_expectation_that_lets_anothers_capture_by_is_a_hole_and_the_same_sequence_is_none(
    pack_run: PackRun,
) -> None:
    samples = {one.scenario.name: one for one in samples_of(pack_run.plans, pack_run.played)}
    one, other = samples["baseline"], samples["refused"]
    texts = [texts_of(one), texts_of(other)]
    good = cross(one, one.capture(), [one, other], texts)
    assert (good.own, good.failed, good.same, good.holes) == (True, 1, [], [])
    lax = replace(other, scenario=replace(other.scenario, expected=one.scenario.expected))
    bad = cross(one, one.capture(), [one, lax], texts)
    assert bad.holes == ["baseline: passes the expectation of refused, though the sequences differ"]
    twin = replace(one, scenario=replace(one.scenario, name="twin"))
    assert cross(one, one.capture(), [one, twin], [texts[0], texts[0]]).same == ["twin"]
    lost = replace(one, scenario=replace(one.scenario, expected=other.scenario.expected))
    assert not cross(lost, lost.capture(), [lost], texts[:1]).own


@needs_netns
def test_a_hole_is_listed_on_the_page_by_scenario_frame_and_change(baseline: Sample) -> None:
    lost = next(one for one in mutants(baseline.capture(), (9,)) if one.kind == "dropped")
    wrong = expecting(baseline, str(baseline.report(lost.capture).exact))
    result = selftest([wrong], quiet, jobs=1)
    assert set(result.holes) == {"baseline: does not pass its own expectation", "baseline: frame 9: dropped"}
    assert "- baseline: frame 9: dropped\n" in selftest_page(result)


# --- the pack ---


@pytest.mark.needs("netns", "pages")
def test_the_packs_expectations_discriminate_and_the_page_says_so(pack_run: PackRun) -> None:
    result = selftest(samples_of(pack_run.plans, pack_run.played), quiet)
    assert result.holes == ()
    assert (HERE / "docs" / "selftest.md").read_text() == selftest_page(result), "write it anew: invoke docs"
