"""Archives that students hand in: each bad one has a clear finding, nothing of any is written to disk."""

from collections.abc import Callable
from pathlib import Path

import pytest

from grading.exercise.load import load_exercise
from grading.handed_in.find import find_entries
from grading.handed_in.read import read_submission
from tests import hostile_zips
from tests.handing_in import WHOLE, exercise_file, graded, said

BAD_ZIPS = {
    hostile_zips.links: ("fail", "capture.pcap is a link: not followed"),
    hostile_zips.device: ("fail", "no regular file: not read"),
    hostile_zips.points_out: ("fail", "../capture.pcap points out of the archive: not read"),
    hostile_zips.bomb: ("inconclusive", "30,000,000 bytes; at most 1,000,000 are marked"),
    hostile_zips.bomb_that_lies: ("inconclusive", "can't be unpacked: Bad CRC-32"),
    hostile_zips.nested: ("inconclusive", "capture.zip: is a zip archive, no capture"),
    hostile_zips.encrypted: ("inconclusive", "capture.pcap needs a password"),
    hostile_zips.wrong_crc: ("inconclusive", "Bad CRC-32"),
    hostile_zips.unknown_method: ("inconclusive", "compression method is not supported"),
    hostile_zips.duplicates: ("inconclusive", "2 files could be the capture"),
    hostile_zips.many: ("inconclusive", "more than 1000 files in alice.zip: the rest was not looked at"),
    hostile_zips.long_names: ("fail", "and 10 more such things"),
    hostile_zips.truncated: ("inconclusive", "is no zip that can be read"),
    hostile_zips.tail_alone: ("inconclusive", "can't be"),
    hostile_zips.no_zip: ("inconclusive", "is no zip that can be read"),
    hostile_zips.empty: ("fail", "nothing of the kind"),
}


@pytest.mark.parametrize("make", BAD_ZIPS, ids=lambda make: make.__name__)
def test_a_bad_archive_has_a_clear_finding(make: Callable[[bytes], bytes], tmp_path: Path) -> None:
    (tmp_path / "alice.zip").write_bytes(make(WHOLE))
    found = said(graded(tmp_path / "alice.zip"), "capture")
    status, what = BAD_ZIPS[make]
    assert found[0] == status
    assert what in found[1]
    assert found[2]
    assert len("".join(found)) < 5_000


def test_every_bad_archive_is_tried() -> None:
    by_themselves = {hostile_zips.lzma_of_4_gb, hostile_zips.overlapping, hostile_zips.hostile_names}
    assert {*BAD_ZIPS, *by_themselves, hostile_zips.honest, hostile_zips.lzma} == {*hostile_zips.ZIPS}


@pytest.mark.parametrize("make", [hostile_zips.honest, hostile_zips.lzma])
def test_an_honest_archive_is_marked_like_a_folder(make: Callable[[bytes], bytes], tmp_path: Path) -> None:
    (tmp_path / "alice.zip").write_bytes(make(WHOLE))
    assert graded(tmp_path / "alice.zip").status == "pass"


@pytest.mark.parametrize("make", [hostile_zips.overlapping, hostile_zips.lzma_of_4_gb, hostile_zips.hostile_names])
def test_an_archive_that_may_be_read_or_not_is_one_or_the_other(make: Callable[[bytes], bytes], tmp_path: Path) -> None:
    (tmp_path / "alice.zip").write_bytes(make(WHOLE))
    found = graded(tmp_path / "alice.zip")
    assert found.status == "pass" or said(found, "capture")[0] == "inconclusive"


def test_nothing_of_an_archive_is_written_to_disk(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    for make in hostile_zips.ZIPS:
        (tmp_path / "in" / f"{make.__name__}.zip").write_bytes(make(WHOLE))
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*") if path.is_file()}
    exercise = load_exercise(exercise_file(tmp_path, "capture"))
    for entry in find_entries(tmp_path / "in")[0]:
        read_submission(entry, exercise)
    after = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*") if path.is_file()}
    assert after.keys() - before.keys() == {tmp_path / "capture.toml"}
