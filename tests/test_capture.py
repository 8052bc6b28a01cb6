"""Capture files: formats, byte orders, damage."""

import contextlib
import gzip
import os
import random
import socket
import struct
import tempfile
import tracemalloc
import zlib
from pathlib import Path

import pytest
from scapy.layers.inet import IP, TCP, UDP
from scapy.layers.l2 import Dot1Q, Ether
from scapy.packet import Raw
from scapy.utils import PcapNgWriter

from analysis.errors import InputError
from analysis.files.capture import parse_capture, read_capture
from analysis.files.frames import READ_WHOLE
from analysis.files.unpack import HARMLESS
from analysis.packets.decode import decode
from tests.blocks import Blocks
from tests.craft import fetch, pcap
from tests.test_pcapng import assert_tshark_agrees

MAGICS = {
    ("<", True): 0xA1B23C4D,
    ("<", False): 0xA1B2C3D4,
    (">", True): 0xA1B23C4D,
    (">", False): 0xA1B2C3D4,
}
MODIFIED = 0xA1B2CD34


def hand_made(
    order: str, *, nano: bool, frames: list[tuple[int, int, bytes]], link_type: int = 1, modified: bool = False
) -> bytes:
    magic = MODIFIED if modified else MAGICS[order, nano]
    content = struct.pack(order + "IHHiIII", magic, 2, 4, 0, 0, 65535, link_type)
    for seconds, ticks, data in frames:
        more = struct.pack(order + "IHBB", 2, 0x0800, 0, 0) if modified else b""
        content += struct.pack(order + "IIII", seconds, ticks, len(data), len(data)) + more + data
    return content


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("nano", [True, False])
def test_pcap_is_read_in_either_byte_order_and_resolution(order: str, nano: bool) -> None:
    data = hand_made(order, nano=nano, frames=[(1, 5, b"x" * 60), (2, 7, b"y" * 61)])
    capture = parse_capture(data, "a.pcap")
    tick = 1 if nano else 1000
    assert [(frame.number, frame.time_ns, frame.wire_length) for frame in capture.frames] == [
        (1, 1_000_000_000 + 5 * tick, 60),
        (2, 2_000_000_000 + 7 * tick, 61),
    ]
    assert capture.problems == ()
    assert capture.health == "unknown"


@pytest.mark.parametrize("order", ["<", ">"])
def test_modified_pcap_has_longer_record_headers(order: str) -> None:
    frames = [(1, 5, b"x" * 60), (2, 7, b"y" * 61)]
    plain = parse_capture(hand_made(order, nano=False, frames=frames), "a.pcap")
    modified = parse_capture(hand_made(order, nano=False, frames=frames, modified=True), "a.pcap")
    assert list(modified.frames) == list(plain.frames)
    assert (modified.format, modified.problems) == ("pcap", ())


@pytest.mark.needs("tshark")
@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize(("nano", "modified"), [(False, False), (True, False), (False, True)])
def test_pcaps_numbers_times_and_lengths_are_tsharks(tmp_path: Path, order: str, nano: bool, modified: bool) -> None:
    times = [(1_700_000_000, 999_999), (1_700_000_001, 0), (0xFFFF_FFF0, 7), (0, 1)]
    frames = [(*time, bytes(frame)) for time, frame in zip(times, fetch(), strict=False)]
    path = tmp_path / "a.pcap"
    path.write_bytes(hand_made(order, nano=nano, frames=frames, modified=modified))
    assert len(read_capture(path).frames) == 4
    assert_tshark_agrees(path, read_capture(path))


def test_pcapng_gives_the_same_frames_as_pcap(tmp_path: Path) -> None:
    frames = fetch()
    path = tmp_path / "a.pcapng"
    writer = PcapNgWriter(str(path))
    for frame in frames:
        writer.write(frame)
    writer.close()
    capture = read_capture(path)
    assert capture.format == "pcapng"
    assert [frame.data for frame in capture.frames] == [bytes(frame) for frame in frames]


@pytest.mark.parametrize("cut", [1, 15, 17, 40])
def test_a_file_cut_in_the_middle_is_read_up_to_there_and_says_so(cut: int) -> None:
    data = pcap(fetch())
    whole = parse_capture(data, "a.pcap")
    capture = parse_capture(data[:-cut], "a.pcap")
    assert list(capture.frames) == list(whole.frames)[:-1]
    assert capture.health == "incomplete"
    assert "ends in the middle of frame 12" in capture.problems[0]


def test_a_frame_of_absurd_length_ends_the_reading() -> None:
    data = pcap(fetch()) + struct.pack("<IIII", 1, 1, 0x7FFF_FFFF, 60) + b"x" * 100
    capture = parse_capture(data, "a.pcap")
    assert len(capture.frames) == 12
    assert "2147483647 bytes" in capture.problems[0]


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        (b"", "is empty"),
        (b"\x01", "only 1 byte"),
        (b"hello, world", "is no capture: it begins with 68 65 6c 6c"),
        (b"\x1f\x8b\x08\x00", "is gzip-compressed, and its gzip data ends too soon"),
        (gzip.compress(b""), "is gzip-compressed, and holds nothing"),
        (gzip.compress(b"hello, world"), "is gzip-compressed, and what is in it is no capture"),
        (gzip.compress(gzip.compress(b"hello, world")), "more than once"),
        (b"12:00:00.000000 IP 10.0.0.1 > 10.0.0.2", "and is text: “12:00:00"),
        ("größer als gedacht".encode(), "and is text: “größer"),
        ("no capture".encode("utf-16"), "and is text"),
        (b"\n<!DOCTYPE HTML><html>", "and is HTML"),
        (b"a\x1b[2J" + bytes(9), "which neither pcap nor pcapng does"),
        (b"\xa1" * 600, "which neither pcap nor pcapng does"),
        (("€" * 600).encode(), "and is text"),
        (b"GMBU\0\2", "Network Monitor 2"),
        (b"RTSS\1\1", "Network Monitor 1"),
        (b"snoop\0\0\0", "snoop"),
        (b"\xac\x01\x00\x1c", "Ixia"),
        (b"PK\x03\x04", "zip archive"),
        (b"\xfd7zXZ\0", "with xz"),
        (b"\x28\xb5\x2f\xfd", "with zstd"),
        (b"BZh91AY", "with bzip2"),
        (b"\x0a\x0d\x0d\x0a", "ends within its section header"),
        (b"\xd4\xc3\xb2\xa1\x02\x00", "24-byte file header"),
    ],
)
def test_what_is_no_capture_is_said_with_the_file_and_a_next_step(
    tmp_path: Path, content: bytes, complaint: str
) -> None:
    path = tmp_path / "a.pcap"
    path.write_bytes(content)
    with pytest.raises(InputError, match=complaint) as caught:
        read_capture(path)
    assert str(path) in str(caught.value)
    assert caught.value.next_step


def test_a_missing_file_and_a_folder_are_said(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such file"):
        read_capture(tmp_path / "nothing")
    with pytest.raises(InputError, match="is a folder"):
        read_capture(tmp_path)


def test_what_is_no_regular_file_is_refused_without_waiting(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / "socket"))
    for path, kind in ((tmp_path / "pipe", "pipe"), (tmp_path / "socket", "socket"), (Path("/dev/null"), "device")):
        with pytest.raises(InputError, match=f"is a {kind}, not a file") as caught:
            read_capture(path)
        assert caught.value.next_step


@pytest.mark.parametrize("name", ["a\0b", "x" * 5000, "\ud800", "a.pcap/b", "loop"])
def test_an_impossible_name_is_said(tmp_path: Path, name: str) -> None:
    (tmp_path / "a.pcap").write_bytes(b"")
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    with pytest.raises(InputError, match=r"can't be") as caught:
        read_capture(tmp_path / name)
    assert caught.value.next_step == "check the path"


def test_a_file_that_is_already_open_can_be_read_by_its_descriptor(tmp_path: Path) -> None:
    (tmp_path / "a.pcap").write_bytes(pcap(fetch()))
    with (tmp_path / "a.pcap").open("rb") as file:
        file.read(7)
        assert len(read_capture(Path(f"/proc/self/fd/{file.fileno()}")).frames) == 12


def test_frames_out_of_order_are_noted_and_miss_nothing() -> None:
    frames = [(second, 5, b"x" * 60) for second in (1, 2, 2, 1, 3, 2)]
    capture = parse_capture(hand_made("<", nano=True, frames=frames), "a.pcap")
    assert capture.notes == ("the frames are not in order of time: first at frame 4",)
    assert (capture.problems, capture.health) == ((), "unknown")
    assert parse_capture(hand_made("<", nano=True, frames=frames[:3]), "a.pcap").notes == ()


@pytest.mark.parametrize("content", [pcap(fetch()), Blocks().section().interface().enhanced(b"x" * 60).content])
def test_gzip_is_unpacked_whatever_the_name(tmp_path: Path, content: bytes) -> None:
    half = len(content) // 2
    plain = parse_capture(content, "a")
    for packed in (
        gzip.compress(content),
        gzip.compress(content[:half]) + gzip.compress(content[half:]),
        gzip.compress(content) + bytes(100_000),
    ):
        (tmp_path / "a.pcap").write_bytes(packed)
        capture = read_capture(tmp_path / "a.pcap")
        assert list(capture.frames) == list(plain.frames)
        assert (capture.format, capture.compressed, capture.problems) == (plain.format, True, ())
    assert not plain.compressed


def test_gzip_cut_or_damaged_is_read_as_far_as_it_can_be_unpacked() -> None:
    draw = random.Random(3)
    content = hand_made("<", nano=True, frames=[(1, 5, draw.randbytes(500).hex().encode()) for _ in range(100)])
    packed = gzip.compress(content)
    whole = parse_capture(content, "a").frames
    wrong_sum = packed[:-8] + bytes(4) + packed[-4:]
    packer = zlib.compressobj(wbits=31)
    torn = packer.compress(content[:50_000]) + packer.flush(zlib.Z_FULL_FLUSH) + b"\x07"  # a block of no known type
    for data, complaint, least in (
        (packed[:-3], "ends too soon", 100),
        (packed[: len(packed) // 2], "ends too soon", 40),
        (wrong_sum, "checksum is wrong", 100),
        (torn + packed, "gzip data is damaged", 49),
        (packed + b"more", "has something else", 100),
    ):
        capture = parse_capture(data, "a")
        assert complaint in capture.problems[0]
        assert capture.health == "incomplete"
        assert least <= len(capture.frames) <= 100
        assert list(capture.frames) == list(whole)[: len(capture.frames)]


def test_gzip_cut_at_any_byte_or_mutated_is_survived() -> None:
    draw, packed = random.Random(15), gzip.compress(pcap(fetch()))
    damaged = [packed[:end] for end in range(len(packed))]
    for _ in range(500):
        mutant = bytearray(packed)
        mutant[draw.randrange(2, len(mutant))] = draw.randrange(256)
        damaged.append(bytes(mutant))
    for data in damaged:
        with contextlib.suppress(InputError):
            decode(parse_capture(data, "a").frames)


def test_what_unpacks_to_far_more_than_itself_is_refused_before_it_fills_anything(tmp_path: Path) -> None:
    packer = zlib.compressobj(9, zlib.DEFLATED, 31)
    bomb = b"".join(packer.compress(bytes(1 << 20)) for _ in range(HARMLESS // (1 << 20) + 1)) + packer.flush()
    tracemalloc.start()
    try:
        with pytest.raises(InputError, match="unpacks to more than 64 MB") as caught:
            parse_capture(bomb, "a.pcap")
        assert tracemalloc.get_traced_memory()[1] < 3 * READ_WHOLE
    finally:
        tracemalloc.stop()
    assert "if you trust it" in caught.value.next_step


def test_much_is_unpacked_into_a_file_that_nobody_sees(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    frames = [(1, 5, bytes(60_000))] * (READ_WHOLE // 60_000 + 1)
    content = hand_made("<", nano=True, frames=frames)
    assert len(content) > READ_WHOLE
    capture = parse_capture(gzip.compress(content, 1), "a")
    assert len(capture.frames) == len(frames)
    assert capture.frames[len(frames) - 1].data == bytes(60_000)
    assert not isinstance(capture.frames.data, bytes)
    assert list(tmp_path.iterdir()) == []

    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "nowhere"))
    with pytest.raises(InputError, match="can't be unpacked into a temporary file") as caught:
        parse_capture(gzip.compress(content, 1), "a")
    assert "TMPDIR" in caught.value.next_step


def test_two_thousand_mutations_of_pcaps_are_survived() -> None:
    draw = random.Random(16)
    frames = [(1, 5, bytes(frame)) for frame in fetch()]
    files = [
        hand_made(order, nano=False, frames=frames, modified=modified) for order in "<>" for modified in (False, True)
    ]
    for _ in range(2000):
        data = bytearray(draw.choice(files))
        for _ in range(draw.randint(1, 6)):
            data[draw.randrange(len(data))] = draw.choice((0, 0x7F, 0x80, 0xFF, draw.randrange(256)))
        with contextlib.suppress(InputError):
            decode(parse_capture(bytes(data), "a.pcap").frames)


def test_a_second_frame_of_absurd_length_may_be_a_variant() -> None:
    frames = [(1, 5, b"x" * 60)]
    data = hand_made("<", nano=False, frames=frames) + struct.pack("<IIII", 1, 1, 999_999, 60) + bytes(100)
    assert "editcap -F pcap IN OUT" in parse_capture(data, "a.pcap").problems[0]


def test_a_cut_at_any_byte_is_survived() -> None:
    data = pcap(fetch())
    for end in range(24, len(data), 7):
        decode(parse_capture(data[:end], "a.pcap").frames)


def test_vlan_tags_and_raw_ip_lead_to_the_same_packet() -> None:
    plain = Ether() / IP(src="10.0.0.1", dst="10.0.0.2") / UDP(sport=1, dport=2) / b"hi"
    tagged = Ether() / Dot1Q(vlan=5) / plain[IP]
    found = [
        decode(parse_capture(data, "a").frames).packet(0)
        for data in (pcap([plain]), pcap([tagged]), pcap([plain[IP]], link_type=101))
    ]
    assert {(packet.src, packet.dst, packet.sport, packet.dport, packet.payload) for packet in found} == {
        ("10.0.0.1", "10.0.0.2", 1, 2, b"hi")
    }
    assert {packet.checksum for packet in found} == {"good"}


def test_either_zero_of_ones_complement_is_a_right_checksum() -> None:
    frame = Ether() / IP(src="10.0.0.1", dst="10.0.0.2") / TCP(sport=1, dport=2, flags="A") / b"\0\0"
    rest = int.from_bytes(bytes(frame[TCP])[16:18])  # the payload that makes the sum of all else 0xffff
    frame[TCP].payload = Raw(rest.to_bytes(2))
    for field, verdict in ((0x0000, "good"), (0xFFFF, "good"), (0x0001, "bad")):
        frame[TCP].chksum = field
        assert decode(parse_capture(pcap([frame]), "a").frames).packet(0).checksum == verdict
