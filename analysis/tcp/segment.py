"""A TCP segment in its connection: who sent it, and its numbers relative to each side's initial one."""

from dataclasses import dataclass
from typing import Literal, NamedTuple

from analysis.packets.packet import ACK, AE, CWR, ECE, FIN, PSH, RST, SYN, URG, Packet, TcpHeader

Role = Literal["client", "server"]
ROLES: tuple[Role, Role] = ("client", "server")
PEER: dict[Role, Role] = {"client": "server", "server": "client"}
FLAG_NAMES = (
    (FIN, "FIN"),
    (SYN, "SYN"),
    (RST, "RST"),
    (PSH, "PSH"),
    (ACK, "ACK"),
    (URG, "URG"),
    (ECE, "ECE"),
    (CWR, "CWR"),
    (AE, "AE"),
)


class Endpoint(NamedTuple):
    """One end of a connection."""

    address: str
    port: int


@dataclass(frozen=True, slots=True)
class Segment:
    """One TCP segment of a connection, in relative numbers that only grow (no wrap at 2^32).

    `ack` is None without the ACK flag. `repeated`: it occupies sequence space (bytes, SYN or FIN), all
    of which the capture had seen from this side before.
    """

    packet: Packet
    tcp: TcpHeader
    sender: Role
    seq: int
    ack: int | None
    repeated: bool

    @property
    def frame(self) -> int:
        return self.packet.frame

    @property
    def length(self) -> int:
        return self.packet.payload_length

    @property
    def flags(self) -> int:
        return self.tcp.flags

    @property
    def end(self) -> int:
        """The number after the last byte; SYN and FIN not counted."""
        return self.seq + self.length

    @property
    def next(self) -> int:
        """The number that follows the segment: SYN and FIN consume one each (RFC 9293 §3.4)."""
        return self.end + bool(self.flags & SYN) + bool(self.flags & FIN)

    @property
    def is_pure_ack(self) -> bool:
        return self.length == 0 and self.flags & (SYN | FIN | RST | ACK) == ACK


def flag_names(flags: int) -> str:
    """`FIN,PSH,ACK`: in the order of the header's bits, as tshark prints them."""
    return ",".join(name for bit, name in FLAG_NAMES if flags & bit)
