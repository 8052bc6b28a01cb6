"""One host of the lab: a network namespace that holds one TAP, `eth0`, without offloads."""

import fcntl
import os
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from lab.netns import kernel
from lab.netns.rtnetlink import Network
from lab.scenario.model import Address, Role, Route

TUNSETIFF, IFF_TAP, IFF_NO_PI = 0x4004_54CA, 0x0002, 0x1000
QUEUE_LENGTH = 20_000  # frames; the default of 1000 loses some of a large download, silently

SYSCTLS = {
    # what changes a sequence from kernel to kernel, or is inherited from the caller: set, in every host
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
    "net/ipv4/tcp_wmem": "4096 4194304 4194304",
    "net/ipv4/tcp_timestamps": "1",
    "net/ipv4/tcp_sack": "1",
}


NO_IPV6 = {f"net/ipv6/conf/{which}/disable_ipv6": "1" for which in ("all", "default")}  # no solicitations, no MLD
QUIET_IPV6 = {  # addresses are those of the scenario, at once, and no word about them goes out
    f"net/ipv6/conf/{which}/{name}": value
    for which in ("all", "default")
    for name, value in (
        ("disable_ipv6", "0"),
        ("accept_dad", "0"),
        ("accept_ra", "0"),
        ("autoconf", "0"),
        ("router_solicitations", "0"),
        ("addr_gen_mode", "1"),
    )
}


@dataclass(frozen=True, slots=True)
class Host:
    """A host as made: descriptors of its namespace and TAP, and what its sysctls read back as."""

    role: Role
    addresses: tuple[Address, ...]
    mac: bytes
    mtu: int
    namespace: int
    tap: int
    sysctls: Mapping[str, str]


def mac_of(address: Address) -> bytes:
    """A locally administered MAC that shows the end of the host's address (IEEE 802, bit 1 of the first byte)."""
    return b"\x02\x00" + address.packed[-4:]


def create_host(
    role: Role, addresses: tuple[Address, ...], others: Mapping[Address, bytes], *, mtu: int, route: Route
) -> Host:
    """Make the host `role`, whose neighbours are `others`. Leaves the process in the host's namespace."""
    kernel.unshare(kernel.CLONE_NEWNET)
    firsts = {address.version: address for address in reversed(addresses)}
    sysctls = _set_sysctls(SYSCTLS | (QUIET_IPV6 if 6 in firsts else NO_IPV6))
    tap = open_tap("eth0")
    mac = mac_of(addresses[0])
    network = Network()
    try:
        index = network.set_link("eth0", mac=mac, mtu=mtu, queue_length=QUEUE_LENGTH)
        for address in addresses:
            network.add_address(index, address)
        for first in firsts.values():
            network.add_default_route(index, first, route)
        for address, neighbour in others.items():
            if address.version in firsts:
                network.add_neighbour(index, address, neighbour)
    finally:
        network.close()
    namespace = os.open("/proc/self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
    return Host(role, addresses, mac, mtu, namespace, tap, sysctls)


def open_tap(name: str) -> int:
    """A non-blocking TAP device in this namespace. Without IFF_VNET_HDR the kernel does every checksum."""
    tap = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        fcntl.ioctl(tap, TUNSETIFF, struct.pack("16sH22x", name.encode(), IFF_TAP | IFF_NO_PI))
    except OSError:
        os.close(tap)
        raise
    return tap


def _set_sysctls(wanted: Mapping[str, str]) -> dict[str, str]:
    values: dict[str, str] = {}
    for name, value in wanted.items():
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
