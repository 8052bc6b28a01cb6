"""One host of the lab: a network namespace that holds one TAP, `eth0`, without offloads."""

import fcntl
import os
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from ipaddress import IPv4Address
from pathlib import Path

from lab.netns import kernel
from lab.netns.rtnetlink import Network

TUNSETIFF, IFF_TAP, IFF_NO_PI = 0x4004_54CA, 0x0002, 0x1000
MTU = 1500
QUEUE_LENGTH = 20_000  # frames; the default of 1000 loses some of a large download, silently

SYSCTLS = {
    # what changes a sequence from kernel to kernel, or is inherited from the caller: set, in every host
    "net/ipv6/conf/all/disable_ipv6": "1",  # no router solicitations, no MLD reports
    "net/ipv6/conf/default/disable_ipv6": "1",
    "net/ipv4/tcp_congestion_control": "reno",
    "net/ipv4/tcp_no_metrics_save": "1",
    "net/ipv4/tcp_syn_linear_timeouts": "0",  # 6.5 and later would retry a SYN each second
    "net/ipv4/tcp_syn_retries": "2",
    "net/ipv4/tcp_ecn": "0",
    "net/ipv4/tcp_early_retrans": "0",
    "net/ipv4/tcp_backlog_ack_defer": "0",
    "net/ipv4/tcp_pingpong_thresh": "1",
    "net/ipv4/tcp_moderate_rcvbuf": "0",
    "net/ipv4/tcp_rmem": "4096 131072 6291456",
    "net/ipv4/tcp_wmem": "4096 16384 4194304",
    "net/ipv4/tcp_timestamps": "1",
    "net/ipv4/tcp_sack": "1",
}


@dataclass(frozen=True, slots=True)
class Host:
    """A host as made: descriptors of its namespace and TAP, and what its sysctls read back as."""

    role: str
    addresses: tuple[IPv4Address, ...]
    mac: bytes
    namespace: int
    tap: int
    sysctls: Mapping[str, str]


def mac_of(address: IPv4Address) -> bytes:
    """A locally administered MAC that shows the host's first address (IEEE 802, bit 1 of the first byte)."""
    return b"\x02\x00" + address.packed


def create_host(
    role: str, addresses: tuple[IPv4Address, ...], others: Mapping[IPv4Address, bytes], *, quickack: bool
) -> Host:
    """Make the host `role`, whose neighbours are `others`. Leaves the process in the host's namespace."""
    kernel.unshare(kernel.CLONE_NEWNET)
    sysctls = _set_sysctls()
    tap = open_tap("eth0")
    mac = mac_of(addresses[0])
    network = Network()
    try:
        index = network.set_link("eth0", mac=mac, mtu=MTU, queue_length=QUEUE_LENGTH)
        for address in addresses:
            network.add_address(index, address)
        network.add_default_route(index, addresses[0], quickack=quickack)
        for address, neighbour in others.items():
            network.add_neighbour(index, address, neighbour)
    finally:
        network.close()
    namespace = os.open("/proc/self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
    return Host(role, addresses, mac, namespace, tap, sysctls)


def open_tap(name: str) -> int:
    """A non-blocking TAP device in this namespace. Without IFF_VNET_HDR the kernel does every checksum."""
    tap = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        fcntl.ioctl(tap, TUNSETIFF, struct.pack("16sH22x", name.encode(), IFF_TAP | IFF_NO_PI))
    except OSError:
        os.close(tap)
        raise
    return tap


def _set_sysctls() -> dict[str, str]:
    values: dict[str, str] = {}
    for name, value in SYSCTLS.items():
        path = Path("/proc/sys", name)
        try:
            path.write_text(value)
        except FileNotFoundError:
            continue  # this kernel has no such setting
        values[name.replace("/", ".")] = " ".join(path.read_text().split())
    return values


def dropped_frames() -> int:
    """Frames that this namespace's `eth0` dropped for want of queue."""
    for line in Path("/proc/net/dev").read_text().splitlines():
        name, _, counters = line.partition(":")
        if name.strip() == "eth0":
            return int(counters.split()[11])  # the fourth of the transmit counters
    return 0
