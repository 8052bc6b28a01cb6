"""The UDP and TCP packets of a capture as columns of header fields.

A column costs a few bytes a packet; `decode` fills them. A `Packet` is made of a row when someone looks at it.
"""

import ipaddress
import struct
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from analysis.files.capture import Frames
from analysis.packets.block import Fragment, Ints
from analysis.packets.fragments import Datagram
from analysis.packets.packet import TCP, Packet, TcpHeader, check_sum, parse_options

TcpField = Literal["seq", "ack", "window"]
TCP_FIELDS: dict[TcpField, tuple[int, int]] = {"seq": (4, 4), "ack": (8, 4), "window": (14, 2)}  # offset, bytes
FIRST_IPV6 = 1 << 32  # address numbers: an IPv4 address is its own, IPv6 addresses are numbered from here on
ROW = np.dtype(
    [
        ("frame", "u4"),  # from 1
        ("transport", "u2"),  # where the UDP or TCP header begins in the frame
        ("network", "u2"),  # where the IP header begins in the frame
        ("protocol", "u1"),
        ("header", "u1"),  # bytes of the transport header
        ("length", "i4"),  # payload bytes, by the IP header
        ("source", "u8"),  # address number << 16 | port
        ("target", "u8"),
        ("flags", "u2"),
    ]
)


@dataclass(slots=True)
class Packets:
    """The UDP datagrams and TCP segments of a capture, in order, as columns; and how many frames were something else.

    `ROW` has the columns. Endpoints are numbers, address and port in one; `address` reads the first. `whole`: by row,
    the datagrams that came in fragments; their row has the frame that completed them. `unfinished`: the fragments of
    those that were not captured whole.
    """

    frames: Frames
    columns: dict[str, npt.NDArray[Any]]
    ipv6: list[bytes]
    others: dict[str, int]
    whole: dict[int, Datagram] = field(default_factory=dict)
    unfinished: list[tuple[Fragment, ...]] = field(default_factory=list)
    _names: dict[int, str] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.columns["frame"])

    def tcp_fields(self, rows: npt.NDArray[Any], *names: TcpField) -> Iterator[npt.NDArray[np.uint32]]:
        """Fields of the TCP header of each of `rows`, read anew from the file: as columns they would take too much."""
        data = self.frames.data
        at = self.frames.start[self.columns["frame"][rows] - 1] + self.columns["transport"][rows]
        for name in names:
            offset, size = TCP_FIELDS[name]
            values = np.ndarray((max(0, len(data) - size - offset + 1),), f">u{size}", data, offset, (1,))
            found: npt.NDArray[np.uint32] = values[at].astype(np.uint32)
            for place in np.flatnonzero(np.isin(rows, list(self.whole))).tolist() if self.whole else ():
                found[place] = int.from_bytes(self.whole[int(rows[place])].data[offset : offset + size])
            yield found

    def column(self, name: str) -> Ints:
        """The column `name` (see `ROW`); do not change it."""
        return self.columns[name]

    def address(self, endpoint: int) -> str:
        """The address of an endpoint, as text."""
        number = endpoint >> 16
        name = self._names.get(number)
        if name is None:
            ipv6 = number >= FIRST_IPV6
            name = str(ipaddress.IPv6Address(self.ipv6[number - FIRST_IPV6]) if ipv6 else ipaddress.IPv4Address(number))
            self._names[number] = name
        return name

    def packet_in(self, frame: int) -> Packet | None:
        """The packet in frame number `frame`, or None if that holds something else."""
        row = int(np.searchsorted(self.columns["frame"], frame))
        return self.packet(row) if row < len(self) and self.columns["frame"][row] == frame else None

    def segment(self, row: int) -> bytes:
        """The captured bytes of packet `row` from its transport header on."""
        if row in self.whole:
            return self.whole[row].data
        start, end = self._segment_bounds(row)
        return self.frames.data[start:end]

    def payload(self, row: int) -> bytes:
        """The captured bytes behind the transport header of packet `row`."""
        return self.segment(row)[int(self.columns["header"][row]) :]

    def frames_of(self, row: int) -> tuple[int, ...]:
        """The frames that brought packet `row`: several if it came in fragments."""
        return self.whole[row].frames if row in self.whole else (int(self.columns["frame"][row]),)

    def payload_bounds(self, rows: npt.NDArray[Any]) -> tuple[Ints, Ints]:
        """Where the payload of each of `rows` begins in the file, and where it ends, as far as captured.

        Rows that are in `whole` have none there.
        """
        frame = self.columns["frame"][rows] - 1
        start = self.frames.start[frame] + self.columns["transport"][rows] + self.columns["header"][rows]
        end = np.minimum(start + self.columns["length"][rows], self.frames.start[frame] + self.frames.captured[frame])
        return start, end

    def packet(self, row: int) -> Packet:
        """Packet `row` as a value."""
        number, protocol = int(self.columns["frame"][row]), int(self.columns["protocol"][row])
        segment, header = self.segment(row), int(self.columns["header"][row])
        length = int(self.columns["length"][row])
        source, target = int(self.columns["source"][row]), int(self.columns["target"][row])
        field_at = 16 if protocol == TCP else 6
        sent = struct.unpack_from("!H", segment, field_at)[0]
        pseudo_header = self._address_bytes(source) + self._address_bytes(target)
        pseudo_header += struct.pack("!II", length + header, protocol)
        state, right = check_sum(pseudo_header, segment, length + header, sent, protocol)
        return Packet(
            number,
            int(self.frames.time_ns[number - 1]),
            int(self.frames.wire_length[number - 1]),
            self.address(source),
            self.address(target),
            source & 0xFFFF,
            target & 0xFFFF,
            segment[header:],
            length,
            state,
            sent,
            right,
            self._tcp_header(row, segment[:header]) if protocol == TCP else None,
        )

    def identity(self, row: int) -> tuple[int, bytes] | None:
        """Identification and bytes of a datagram that came in fragments; None for another."""
        return (self.whole[row].pieces[0].ident, self.whole[row].data) if row in self.whole else None

    def network_bytes(self, row: int) -> bytes:
        """Packet `row`, which is not in `whole`, from its IP header on, as captured, link padding left out."""
        start = int(self.frames.start[int(self.columns["frame"][row]) - 1]) + int(self.columns["network"][row])
        return self.frames.data[start : self._segment_bounds(row)[1]]

    def _tcp_header(self, row: int, header: bytes) -> TcpHeader:
        seq, ack, window = struct.unpack_from("!4xII2xH", header)
        options = header[20:]
        return TcpHeader(seq, ack, int(self.columns["flags"][row]), window, parse_options(options))

    def _segment_bounds(self, row: int) -> tuple[int, int]:
        """Where the transport header begins in the file, and where its payload ends, as far as captured."""
        index = int(self.columns["frame"][row]) - 1
        frame = int(self.frames.start[index])
        start = frame + int(self.columns["transport"][row])
        whole = start + int(self.columns["header"][row]) + int(self.columns["length"][row])
        return start, min(whole, frame + int(self.frames.captured[index]))

    def _address_bytes(self, endpoint: int) -> bytes:
        number = endpoint >> 16
        return self.ipv6[number - FIRST_IPV6] if number >= FIRST_IPV6 else number.to_bytes(4)
