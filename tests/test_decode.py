"""Frames to packets: links, tags, IP options, extension headers, fragments; what isn't read is named."""

import struct
import subprocess
from pathlib import Path

import pytest
from scapy.layers.inet import ICMP, IP, TCP, UDP, IPOption_NOP, IPOption_RR, fragment
from scapy.layers.inet6 import (
    IPv6,
    IPv6ExtHdrDestOpt,
    IPv6ExtHdrFragment,
    IPv6ExtHdrHopByHop,
    IPv6ExtHdrRouting,
    fragment6,
)
from scapy.layers.ipsec import AH
from scapy.layers.l2 import ARP, Dot1AD, Dot1Q, Ether
from scapy.packet import Packet as Scapy
from scapy.packet import Raw

from analysis.files.capture import parse_capture
from analysis.packets.columns import Packets
from analysis.packets.decode import decode
from tests.craft import pcap

MAC = "02:00:00:00:00:01"
ETHER = Ether(src=MAC, dst=MAC)  # or scapy looks for the neighbour
V4 = IP(src="10.0.0.1", dst="10.0.0.2", id=7)
V6 = IPv6(src="2001:db8::1", dst="2001:db8::2")
LOAD = UDP(sport=1111, dport=2222) / b"hi there"


def packets(frames: list[Scapy], link_type: int = 1) -> Packets:
    content = bytearray(pcap(frames))
    content[20:24] = link_type.to_bytes(4, "little")
    return decode(parse_capture(bytes(content), "a").frames)


def behind(header: bytes, packet: Scapy) -> Raw:
    return Raw(header + bytes(packet))


LINKS = {
    "Ethernet": (1, ETHER / V4 / LOAD),
    "802.1Q": (1, ETHER / Dot1Q(vlan=5) / V4 / LOAD),
    "QinQ": (1, ETHER / Dot1AD(vlan=7) / Dot1Q(vlan=5) / V4 / LOAD),
    "raw IP": (101, V4 / LOAD),
    "raw IP, BSD's number": (12, V4 / LOAD),
    "IPv4 alone": (228, V4 / LOAD),
    "null, little-endian": (0, behind(struct.pack("<I", 2), V4 / LOAD)),
    "null, big-endian": (0, behind(struct.pack(">I", 2), V4 / LOAD)),
    "loop": (108, behind(struct.pack(">I", 2), V4 / LOAD)),
    "cooked v1": (113, behind(struct.pack(">HHH8sH", 0, 1, 6, b"\2" * 8, 0x0800), V4 / LOAD)),
    "cooked v1 with a tag": (113, behind(struct.pack(">HHH8sHHH", 0, 1, 6, b"\2" * 8, 0x8100, 5, 0x0800), V4 / LOAD)),
    "cooked v2": (276, behind(struct.pack(">HHIHBB8s", 0x0800, 0, 3, 1, 0, 6, b"\2" * 8), V4 / LOAD)),
}


@pytest.mark.parametrize("name", LINKS)
def test_every_link_leads_to_the_same_packet(name: str) -> None:
    link_type, frame = LINKS[name]
    packet = packets([frame], link_type).packet(0)
    assert (packet.src, packet.dst, packet.sport, packet.dport) == ("10.0.0.1", "10.0.0.2", 1111, 2222)
    assert (packet.payload, packet.checksum) == (b"hi there", "good")


@pytest.mark.parametrize("family", [24, 28, 30, 10])
def test_every_systems_number_for_ipv6_is_known_on_a_loopback(family: int) -> None:
    assert packets([behind(struct.pack("<I", family), V6 / LOAD)], 0).packet(0).src == "2001:db8::1"


EXTENDED = {
    "IPv4 options": ETHER / IP(src="10.0.0.1", dst="10.0.0.2", options=[IPOption_NOP(), IPOption_RR()]) / LOAD,
    "hop-by-hop": ETHER / V6 / IPv6ExtHdrHopByHop() / LOAD,
    "three of them": ETHER / V6 / IPv6ExtHdrHopByHop() / IPv6ExtHdrDestOpt() / IPv6ExtHdrRouting() / LOAD,
    "a fragment that is alone": ETHER / V6 / IPv6ExtHdrFragment(id=9) / LOAD,
    "authentication": ETHER / V6 / AH(nh=17, payloadlen=4, icv=b"\1" * 12) / LOAD,
}


@pytest.mark.parametrize("name", EXTENDED)
def test_options_and_extension_headers_are_stepped_over(name: str) -> None:
    found = packets([EXTENDED[name]])
    assert found.others == {}
    assert found.packet(0).payload == b"hi there"
    assert found.packet(0).checksum == ("unchecked" if name == "authentication" else "good")  # scapy leaves it out


NAMED = {
    "ARP": (1, ETHER / ARP()),
    "ICMP": (1, ETHER / V4 / ICMP()),
    "802.3 (LLC)": (1, Raw(b"\2" * 12 + b"\0\x26" + b"\x42\x42\3" + bytes(40))),
    "EtherType 0x1234": (1, Ether(src=MAC, dst=MAC, type=0x1234) / (b"x" * 50)),
    "IP protocol 200": (1, ETHER / IP(proto=200) / (b"x" * 30)),
    "GRE": (1, ETHER / IP(proto=47) / (b"x" * 30)),
    "link type 147": (147, Raw(b"x" * 60)),
    "802.11 (radiotap)": (127, Raw(b"x" * 60)),
    "address family 7": (0, behind(struct.pack("<I", 7), V4 / LOAD)),
    "neither IPv4 nor IPv6": (101, Raw(b"\xf0" + b"x" * 60)),
    "malformed IPv4": (1, ETHER / Raw(b"\x41" + bytes(V4 / LOAD)[1:])),
    "malformed IPv6": (1, Ether(src=MAC, dst=MAC, type=0x86DD) / Raw(b"\x90" + bytes(V6 / LOAD)[1:])),
    "malformed UDP": (1, ETHER / V4 / UDP(sport=1, dport=2, len=7) / b"abc"),
    "malformed TCP": (1, ETHER / V4 / TCP(dataofs=4)),
    "cut header": (1, Raw(bytes(ETHER / V4 / LOAD)[:40])),
}


@pytest.mark.parametrize("name", NAMED)
def test_what_is_not_read_is_counted_by_name(name: str) -> None:
    link_type, frame = NAMED[name]
    if name.startswith("malformed IP"):
        frame.type = 0x0800 if name.endswith("4") else 0x86DD
    assert packets([frame], link_type).others == {name: 1}


def test_a_datagram_ends_where_its_own_header_says() -> None:
    frame = ETHER / V4 / UDP(sport=1, dport=2, len=12) / b"four, and what is no part of it"
    assert packets([frame]).packet(0).payload == b"four"


def _sixth(frames: list[Scapy]) -> list[Scapy]:
    return [ETHER / frame for frame in frames]


FRAGMENTED = {
    "IPv4": [ETHER / one for one in fragment(V4 / UDP(sport=53, dport=4000) / (bytes(range(256)) * 8), fragsize=600)],
    "IPv6": _sixth(
        fragment6(V6 / IPv6ExtHdrFragment(id=77) / UDP(sport=53, dport=4000) / (bytes(range(256)) * 8), 600)
    ),
}


@pytest.mark.parametrize("version", FRAGMENTED)
@pytest.mark.parametrize("order", ["in order", "backward", "one twice"])
def test_fragments_become_one_packet_at_the_frame_that_completed_it(version: str, order: str) -> None:
    frames = list(FRAGMENTED[version])
    count = len(frames)
    assert count > 2
    if order == "backward":
        frames.reverse()
    if order == "one twice":
        frames.insert(1, frames[0])
    found = packets([ETHER / V4 / LOAD, *frames, ETHER / V4 / LOAD])
    assert len(found) == 3
    packet = found.packet(1)
    assert packet.payload == bytes(range(256)) * 8
    assert (packet.sport, packet.dport, packet.checksum) == (53, 4000, "good")
    assert packet.frame == len(frames) + 1
    assert len(found.frames_of(1)) == count
    assert found.others == ({f"{version} fragment": 1} if order == "one twice" else {})


@pytest.mark.parametrize("version", FRAGMENTED)
def test_a_datagram_that_lacks_a_fragment_is_none(version: str) -> None:
    frames = FRAGMENTED[version]
    for missing in range(len(frames)):
        found = packets([frame for number, frame in enumerate(frames) if number != missing])
        assert len(found) == 0
        assert found.others == {f"{version} fragment": len(frames) - 1}


def test_fragments_that_overlap_are_given_up() -> None:
    first, second, *rest = FRAGMENTED["IPv4"]
    other = second.copy()
    other[IP].frag -= 1
    del other[IP].chksum
    assert len(packets([first, other, second, *rest])) == 0


def test_fragments_of_two_datagrams_are_kept_apart() -> None:
    other = [frame.copy() for frame in FRAGMENTED["IPv4"]]
    for frame in other:
        frame[IP].id = 8
        del frame[IP].chksum
    mixed = [frame for pair in zip(FRAGMENTED["IPv4"], other, strict=True) for frame in pair]
    assert len(packets(mixed)) == 2


def test_fragments_a_minute_apart_belong_to_two_datagrams() -> None:
    frames = FRAGMENTED["IPv4"]
    found = parse_capture(pcap(frames), "a").frames
    assert len(decode(found)) == 1
    found.time_ns[1:] += 61_000_000_000
    assert len(decode(found)) == 0


def test_a_segment_in_fragments_is_read_as_well() -> None:
    whole = V4 / TCP(sport=80, dport=4000, seq=5, flags="PA") / (b"x" * 1200)
    packet = packets([ETHER / one for one in fragment(whole, fragsize=400)]).packet(0)
    assert packet.tcp is not None
    assert (packet.tcp.seq, packet.payload_length, packet.checksum) == (5, 1200, "good")


@pytest.mark.needs("tshark")
def test_tshark_completes_the_same_datagrams_in_the_same_frames(tmp_path: Path) -> None:
    frames = [*FRAGMENTED["IPv4"], *reversed(FRAGMENTED["IPv6"]), FRAGMENTED["IPv4"][0], *EXTENDED.values()]
    path = tmp_path / "a.pcap"
    path.write_bytes(pcap(frames))
    command = ["tshark", "-r", str(path), "-Y", "udp", "-T", "fields", "-e", "frame.number", "-e", "udp.length"]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60)
    theirs = [tuple(int(word) for word in line.split("\t")) for line in done.stdout.splitlines()]
    found = packets(frames)
    ours = [(found.packet(row).frame, found.packet(row).payload_length + 8) for row in range(len(found))]
    assert ours == theirs
