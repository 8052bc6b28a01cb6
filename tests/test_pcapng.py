"""pcapng: sections, interfaces, blocks and their options, honest and not; and the differential against tshark."""

import random
import struct
import subprocess
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from analysis.errors import InputError
from analysis.files.capture import Capture, Comment, parse_capture, read_capture
from analysis.files.frames import LAST_TIME, NO_PACKET
from analysis.files.pcapng_times import times_ns
from analysis.packets.decode import decode
from tests.blocks import Blocks
from tests.conftest import CAPTURES
from tests.craft import fetch

FRAME = bytes(fetch()[0])
TICKS = 1_700_000_000_123_456
JOURNAL = b"__REALTIME_TIMESTAMP=1700000000000000\nMESSAGE=hello\n"
ENCAPSULATIONS = {1: 1, 45: 147, 210: 276}  # Wireshark's own numbers, and the link types


def resolution(value: int) -> tuple[int, bytes]:
    return 9, bytes([value])


def parse(blocks: Blocks) -> Capture:
    return parse_capture(blocks.content, "a.pcapng")


def several(order: str) -> Blocks:
    """Two sections, of both byte orders, with interfaces of different link types, resolutions and offsets."""
    other = ">" if order == "<" else "<"
    blocks = Blocks(order).section([(1, b"first section"), (2, b"hardware")]).interface(1, [resolution(9)], snap=65535)
    blocks.interface(276, [resolution(3), (14, struct.pack(order + "q", -86400))])
    blocks.interface(147, [resolution(0x94), (14, struct.pack(order + "q", 3600)), (1, b"of an interface")])
    blocks.enhanced(FRAME, TICKS * 1000).enhanced(FRAME + b"1", TICKS // 1000, interface=1)
    blocks.enhanced(FRAME[:61], 1_700_000_000 << 20 | 12345, interface=2, wire=99)
    blocks.statistics([(4, bytes(8))])
    blocks.section(order=other).interface(1, [(2, b"eth0")]).enhanced(FRAME, TICKS).block(0x7FFF, b"unknown")
    return blocks.obsolete(FRAME[:63], TICKS + 1, wire=1000).interface(147).enhanced(FRAME, TICKS, interface=1)


def resolutions(order: str) -> Blocks:
    blocks = Blocks(order).section()
    values = (0, 1, 2, 3, 5, 6, 7, 9, 0x80, 0x81, 0x87, 0x94, 0x9E, 0xA0)  # tshark 4.0 overflows with finer ones
    for value in values:
        blocks.interface(1, [resolution(value)])
    for interface, value in enumerate(values):
        per_second = 1 << (value & 0x7F) if value & 0x80 else 10**value
        blocks.enhanced(FRAME, min(1_700_000_000 * per_second + per_second * 7 // 9, 2**63 - 1), interface=interface)
    return blocks


def offsets(order: str) -> Blocks:
    seconds = (0, 1, -1, 2**31, -(2**31), -1_700_000_001)
    blocks = Blocks(order).section()
    for offset in seconds:
        blocks.interface(1, [(14, struct.pack(order + "q", offset)), resolution(9)])
    for interface in range(len(seconds)):
        blocks.enhanced(FRAME, TICKS * 1000 + 789, interface=interface)
    return blocks


def entries(order: str) -> Blocks:
    """Blocks that Wireshark numbers as frames, or doesn't, between packets."""
    blocks = Blocks(order).section().interface().enhanced(FRAME, TICKS)
    blocks.block(9, JOURNAL).enhanced(FRAME, TICKS)
    for kind in (0xBAD, 0x4000_0BAD):
        blocks.block(kind, struct.pack(order + "I", 32473) + b"body").enhanced(FRAME, TICKS)
    for kind in (0x201, 0x204, 0x208, 0x216, 0x217, 0x221, 0x222):
        blocks.block(kind, struct.pack(order + "HQQIH", 1, 1000, 5, 26, 3) + bytes(40)).enhanced(FRAME, TICKS)
    for kind in (7, 8, 10, 11, 0x101, 0x7FFF, 0x8000_0001):
        blocks.block(kind, bytes(48)).enhanced(FRAME, TICKS)
    return blocks.block(4, bytes(4))


def simple(order: str) -> Blocks:
    blocks = Blocks(order).section().interface(1, snap=61).interface(147)
    return blocks.enhanced(FRAME, TICKS).simple(FRAME[:61], wire=100).simple(FRAME[:50]).enhanced(FRAME, TICKS + 5)


def commented(order: str) -> Blocks:
    options = [(1, b"one"), (2, struct.pack(order + "I", 1)), (1, "zwölf".encode()), (4, struct.pack(order + "Q", 0))]
    blocks = Blocks(order).section([(1, b"of the file")]).interface(1, [(1, b"of the interface")])
    blocks.enhanced(FRAME, TICKS, options=options).enhanced(FRAME, TICKS)
    return blocks.obsolete(FRAME, TICKS, options=[(1, b"three")]).enhanced(FRAME[:61], TICKS, options=[(1, b"four")])


def odd_lengths(order: str) -> Blocks:
    """A block whose lengths leave the padding out."""
    blocks = Blocks(order).section().interface().enhanced(FRAME, TICKS)
    blocks.content += struct.pack(order + "II", 99, 15) + b"abc\0" + struct.pack(order + "I", 15)
    return blocks.enhanced(FRAME, TICKS)


VARIANTS = (several, resolutions, offsets, entries, simple, commented, odd_lengths)


def tshark(path: Path, *fields: str) -> list[list[str]]:
    options = [word for field in fields for word in ("-e", field)]
    command = ["tshark", "-r", str(path), "-T", "fields", *options]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    return [line.split("\t") for line in done.stdout.splitlines()]


def nanoseconds(time: str) -> int:
    """Seconds as tshark writes them, rounded down, and the ns beyond them, which count upwards before 1970, too."""
    seconds, rest = time.split(".")
    return int(seconds) * 10**9 + int(rest)


def assert_tshark_agrees(path: Path, capture: Capture) -> None:
    fields = ("frame.number", "frame.time_epoch", "frame.len", "frame.cap_len", "frame.encap_type")
    theirs = tshark(path, *fields)
    assert [int(row[0]) for row in theirs] == [frame.number for frame in capture.frames]
    for frame, (_, time, length, captured, encapsulation) in zip(capture.frames, theirs, strict=True):
        if frame.link_type == NO_PACKET:
            assert encapsulation == ""
            continue
        assert (frame.wire_length, len(frame.data)) == (int(length), int(captured)), frame.number
        if time:
            assert frame.time_ns == nanoseconds(time), frame.number
        link_type = ENCAPSULATIONS.get(int(encapsulation), frame.link_type)
        assert frame.link_type == link_type, frame.number


@pytest.mark.needs("tshark")
@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("variant", VARIANTS, ids=lambda variant: variant.__name__)
def test_every_kind_of_block_has_tsharks_numbers_times_lengths_and_link_types(
    tmp_path: Path, order: str, variant: object
) -> None:
    path = tmp_path / "a.pcapng"
    assert callable(variant)
    path.write_bytes(variant(order).content)
    capture = read_capture(path)
    assert [problem for problem in capture.problems if "snap length" not in problem] == []
    assert_tshark_agrees(path, capture)


@pytest.mark.needs("tshark", "captures")
def test_real_files_have_tsharks_numbers_times_and_lengths() -> None:
    paths = sorted(CAPTURES.glob("*.pcap*"))
    assert len(paths) >= 30
    for path in paths:
        assert_tshark_agrees(path, read_capture(path))


@pytest.mark.needs("tshark")
@pytest.mark.parametrize("order", ["<", ">"])
def test_comments_on_frames_are_tsharks(tmp_path: Path, order: str) -> None:
    path = tmp_path / "a.pcapng"
    path.write_bytes(commented(order).content)
    theirs = [(int(number), text) for number, text in tshark(path, "frame.number", "frame.comment") if text]
    ours: dict[int, list[str]] = {}
    for comment in read_capture(path).comments:
        if comment.frame is not None:
            ours.setdefault(comment.frame, []).append(comment.text)
    assert [(frame, ",".join(texts)) for frame, texts in ours.items()] == theirs


@pytest.mark.parametrize("order", ["<", ">"])
def test_comments_on_file_interface_and_frames_are_kept(order: str) -> None:
    assert parse(commented(order)).comments == (
        Comment(None, "of the file"),
        Comment(None, "of the interface"),
        Comment(1, "one"),
        Comment(1, "zwölf"),
        Comment(3, "three"),
        Comment(4, "four"),
    )


def test_what_is_no_packet_keeps_its_number_and_is_counted_as_something_else() -> None:
    capture = parse(Blocks().section().block(9, JOURNAL).interface().enhanced(FRAME, TICKS).block(0xBAD, bytes(4)))
    assert [frame.time_ns for frame in capture.frames] == [TICKS * 1000] * 3  # the nearest known: no gap of 50 years
    packets = decode(capture.frames)
    assert packets.column("frame").tolist() == [2]
    assert packets.others == {"no packet (an event or a journal's entry)": 2}


def test_a_simple_packet_has_the_time_of_the_frame_before_it() -> None:
    assert [frame.time_ns for frame in parse(simple("<")).frames] == [
        TICKS * 1000,
        TICKS * 1000,
        TICKS * 1000,
        (TICKS + 5) * 1000,
    ]


def test_a_file_of_simple_packets_alone_has_no_times() -> None:
    capture = parse(Blocks().section().interface(snap=20).simple(FRAME[:20], wire=60))
    assert [(frame.time_ns, frame.wire_length, frame.data) for frame in capture.frames] == [(0, 60, FRAME[:20])]


@given(
    st.integers(0, 2**64 - 1), st.integers(0, 255), st.integers(-(2**63), 2**63 - 1) | st.integers(-(10**10), 10**10)
)
def test_times_are_exact_for_every_resolution_and_offset(ticks: int, value: int, offset: int) -> None:
    import numpy as np

    per_second = 1 << (value & 0x7F) if value & 0x80 else 10**value
    exact = ticks * 10**9 // per_second + offset * 10**9
    found = int(times_ns(np.array([ticks], np.uint64), per_second, offset)[0])
    if abs(exact) < LAST_TIME - 2 * 10**9:
        assert found == exact
    else:
        assert abs(found - max(-LAST_TIME, min(exact, LAST_TIME))) <= 2 * 10**9


def broken(tail: Blocks) -> tuple[int, str]:
    """How many frames are read of a file with a good frame, `tail` and another good frame; and the first problem."""
    before = Blocks().section().interface().enhanced(FRAME, TICKS)
    after = Blocks().enhanced(FRAME, TICKS)
    capture = parse_capture(before.content + tail.content + after.content, "a.pcapng")
    assert capture.health == "incomplete"
    return len(capture.frames), capture.problems[0]


@pytest.mark.parametrize(
    ("tail", "complaint"),
    [
        (Blocks().block(6, bytes(16)), "the block of frame 2, at byte 156, has 28 bytes, not 32 or more"),
        (Blocks().block(3, b""), "the block of frame 2, at byte 156, has 12 bytes, not 16 or more"),
        (Blocks().block(2, bytes(16)), "the block of frame 2, at byte 156, has 28 bytes, not 32 or more"),
        (Blocks().block(1, bytes(4)), "the interface block, at byte 156, has 16 bytes, not 20 or more"),
        (Blocks().block(5, bytes(4)), "the statistics block, at byte 156, has 16 bytes, not 24 or more"),
        (Blocks().block(99, b"abcd", trailer=20), "a block at byte 156 claims 16 bytes, and 20 at its end"),
        (Blocks().enhanced(FRAME, interface=7), "frame 2 names interface 7, but its section has 1 interface by then"),
        (Blocks().obsolete(FRAME, interface=7), "frame 2 names interface 7, but its section has 1 interface by then"),
        (Blocks().section().simple(FRAME), "frame 2 names interface 0, but its section has 0 interfaces by then"),
        (Blocks().simple(FRAME, wire=2000), "frame 2 claims 2000 bytes where there are 76"),
        (Blocks().enhanced(FRAME, captured=2000), "frame 2 claims 2000 bytes where there are 76"),
        (Blocks().enhanced(bytes(0x40004)), "frame 2 claims 262148 bytes where there are 262144"),
        (Blocks().section(major=2), "the section at byte 156 is of version 2 of pcapng"),
        (Blocks().block(0x0A0D0D0A, bytes(16)), "the section at byte 156 has no byte-order mark"),
    ],
)
def test_damage_is_named_where_it_is_and_reading_ends_there(tail: Blocks, complaint: str) -> None:
    frames, problem = broken(tail)
    assert frames == 1
    assert problem.startswith(complaint)


@pytest.mark.parametrize("size", [0, 4, 11])
def test_a_block_shorter_than_its_own_frame_is_damage(size: int) -> None:
    tail = Blocks()
    tail.content = struct.pack("<III", 99, size, size)
    assert broken(tail) == (
        1,
        f"a block at byte 156 claims {size} bytes: the file is damaged from there on, behind 1 whole frame",
    )


@pytest.mark.parametrize(
    ("blocks", "complaint"),
    [
        (Blocks().section(major=2), "its section header is of version 2"),
        (Blocks().block(0x0A0D0D0A, bytes(16)), "its section header has no byte-order mark"),
    ],
)
def test_a_first_section_that_cannot_be_understood_is_refused(blocks: Blocks, complaint: str) -> None:
    with pytest.raises(InputError, match=complaint) as caught:
        parse(blocks)
    assert caught.value.next_step


@pytest.mark.parametrize(
    "options",
    [
        struct.pack("<HH", 1, 200) + b"abcd",
        struct.pack("<HH", 1, 4) + b"kept" + struct.pack("<HH", 1, 0xFFFF) + b"abcd",
        struct.pack("<H", 1) + b"\0",
        struct.pack("<HH", 4, 4) + bytes(4),
        struct.pack("<HH", 0, 4) + struct.pack("<HH", 1, 4) + b"late",
    ],
)
def test_options_with_lying_lengths_cost_nothing_but_themselves(options: bytes) -> None:
    blocks = Blocks().section().block(1, struct.pack("<HHI", 1, 0, 0) + options)
    packet = struct.pack("<IIIII", 0, 0, 5, len(FRAME), len(FRAME)) + FRAME + bytes(-len(FRAME) % 4)
    capture = parse(blocks.block(6, packet + options).block(5, bytes(12) + options).enhanced(FRAME, 5))
    assert len(capture.frames) == 2
    assert capture.problems == ()
    assert {comment.text for comment in capture.comments} <= {"kept"}


def test_dropped_frames_are_told_by_interface_and_make_the_capture_incomplete() -> None:
    def count(number: int) -> bytes:
        return struct.pack("<Q", number)

    blocks = Blocks().section().interface().interface().interface()
    blocks.enhanced(FRAME, options=[(4, count(5))]).enhanced(FRAME, options=[(4, count(2))])
    blocks.obsolete(FRAME, interface=1, drops=1).obsolete(FRAME, interface=2, drops=0xFFFF)
    blocks.statistics([(5, count(3))]).statistics([(5, count(8)), (7, count(4))])
    capture = parse(blocks)
    assert capture.health == "incomplete"
    assert [problem.split(":")[0] for problem in capture.problems] == [
        "the capturing kernel dropped 12 frames on interface 0",
        "the capturing kernel dropped 1 frame on interface 1",
    ]


def test_drops_on_a_hundred_interfaces_are_a_few_sentences() -> None:
    blocks = Blocks().section()
    for interface in range(100):
        blocks.interface().statistics([(5, struct.pack("<Q", 2))], interface=interface)
    assert len(parse(blocks).problems) == 9
    assert "184 frames on 92 more interfaces" in parse(blocks).problems[-1]


def test_comments_without_end_are_left_out_and_that_is_noted() -> None:
    blocks = Blocks().section().interface()
    for _ in range(3):
        blocks.enhanced(FRAME, options=[(1, b"x" * 60_000)] * 10)
    capture = parse(blocks)
    assert len(capture.frames) == 3
    assert sum(len(comment.text) for comment in capture.comments) <= 1 << 20
    assert capture.notes == ("13 comments more than the 17 kept were left out",)
    assert capture.health == "unknown"


def test_interfaces_without_end_are_damage_but_alike_ones_are_not() -> None:
    many, alike = Blocks().section(), Blocks().section()
    for number in range(5000):
        many.interface(snap=number)
        alike.section().interface()
    assert "more than 4096 kinds of interfaces" in parse(many).problems[0]
    assert parse(alike.enhanced(FRAME, 5)).problems == ()


def test_a_pcapng_cut_at_any_byte_is_read_up_to_there() -> None:
    for make in (several, commented, entries, simple):
        data = make("<").content
        whole = parse_capture(data, "a.pcapng")
        before = 0
        for end in range(28, len(data)):
            capture = parse_capture(data[:end], "a.pcapng")
            frames = len(capture.frames)
            assert before <= frames <= len(whole.frames)
            assert [frame.data for frame in capture.frames] == [frame.data for frame in whole.frames][:frames]
            before = frames
        for end in range(28):
            with pytest.raises(InputError):
                parse_capture(data[:end], "a.pcapng")


def test_a_cut_is_said_unless_it_is_between_blocks() -> None:
    data = simple("<").content
    whole = [end for end in range(28, len(data)) if not parse_capture(data[:end], "a").problems]
    assert len(whole) == 6  # behind the header, two interfaces and each frame but the last
    assert "ends in the middle of frame 1: 0 whole frames" in parse_capture(data[: whole[0] + 5], "a").problems[0]


def test_two_thousand_mutations_are_survived() -> None:
    draw = random.Random(14)
    files = [make(order).content for make in VARIANTS for order in "<>"]
    for _ in range(2000):
        data = bytearray(draw.choice(files))
        for _ in range(draw.randint(1, 6)):
            at = draw.randrange(4, len(data))
            data[at] = draw.choice((0, 1, 0x7F, 0x80, 0xFF, draw.randrange(256)))
        if draw.random() < 0.2:
            del data[draw.randrange(len(data)) :]
        try:
            capture = parse_capture(bytes(data), "a.pcapng")
        except InputError:
            continue
        decode(capture.frames)
        assert all(isinstance(frame.data, bytes) for frame in capture.frames)
