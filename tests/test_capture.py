"""Capture files: formats, byte orders, damage."""

import struct
from pathlib import Path

import pytest
from scapy.layers.inet import IP, TCP, UDP
from scapy.layers.l2 import Dot1Q, Ether
from scapy.packet import Raw
from scapy.utils import PcapNgWriter

from analysis.capture import parse_capture, read_capture
from analysis.columns import decode
from analysis.errors import InputError
from tests.craft import fetch, pcap

MAGICS = {
    ("<", True): 0xA1B23C4D,
    ("<", False): 0xA1B2C3D4,
    (">", True): 0xA1B23C4D,
    (">", False): 0xA1B2C3D4,
}


def hand_made(order: str, *, nano: bool, frames: list[tuple[int, int, bytes]], link_type: int = 1) -> bytes:
    content = struct.pack(order + "IHHiIII", MAGICS[order, nano], 2, 4, 0, 0, 65535, link_type)
    for seconds, ticks, data in frames:
        content += struct.pack(order + "IIII", seconds, ticks, len(data), len(data)) + data
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


def test_frames_cut_by_the_snap_length_are_counted() -> None:
    data = hand_made("<", nano=True, frames=[])
    data += struct.pack("<IIII", 1, 1, 60, 1500) + b"x" * 60
    capture = parse_capture(data, "a.pcap")
    assert capture.health == "incomplete"
    assert "cut 1 frame, first frame 1" in capture.problems[0]


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        (b"", "is empty"),
        (b"\x01", "only 1 byte"),
        (b"hello, world", "is no capture: it begins with 68 65 6c 6c"),
        (b"\x1f\x8b\x08\x00", "gunzip"),
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
