"""Random connections full of odd segments, for comparisons with tshark: nobody's TCP, but every number adds up."""

import random
import struct

from analysis.packets.packet import ACK, FIN, PSH, RST, SYN, ones_complement_sum

CLIENT, SERVER = b"\x0a\x00\x00\x01", b"\xc6\x33\x64\x50"
ETHERNET = bytes.fromhex("020000000001020000000002 0800")
STEPS_NS = (1_000, 50_000, 500_000, 2_000_000, 5_000_000, 30_000_000, 300_000_000)
START_NS = 1_700_000_000 * 10**9


def odd_capture(seed: int, connections: int, *, without: tuple[str, ...] = ()) -> bytes:
    """A nanosecond pcap of so many connections, one after the other; moves `without` are left out."""
    dice = random.Random(seed)
    content = [struct.pack("<IHHiIII", 0xA1B23C4D, 2, 4, 0, 0, 65535, 1)]
    for number in range(connections):
        talk = _Talk(dice, 10_000 + number, START_NS + number * 10**10, without)
        for time_ns, frame in talk.frames():
            content.append(struct.pack("<IIII", time_ns // 10**9, time_ns % 10**9, len(frame), len(frame)) + frame)
    return b"".join(content)


class _Talk:
    """One connection; sides are 0 (client) and 1 (server), numbers relative."""

    def __init__(self, dice: random.Random, port: int, time_ns: int, without: tuple[str, ...]) -> None:
        self.dice, self.port, self.time_ns, self.without = dice, port, time_ns, without
        self.isn = [dice.choice([1000, 2**32 - 20, dice.randrange(2**32)]) for _ in range(2)]
        self.next, self.seen, self.last_ack = [0, 0], [0, 0], [0, 0]
        self.window = [dice.choice([10, 100, 500]) for _ in range(2)]
        self.ip_id = [dice.randrange(65536) for _ in range(2)]
        scale = dice.choice([None, 0, 1])
        self.syn_options = b"\x02\x04\x05\xb4" + (b"" if scale is None else bytes([3, 3, scale, 1]))
        self.sent: list[tuple[int, bytes]] = []

    def frames(self) -> list[tuple[int, bytes]]:
        self._open()
        moves = [move for move in MOVES if move not in self.without]
        for _ in range(self.dice.randrange(3, 25)):
            self._move(self.dice.choice(moves), self.dice.randrange(2))
        self._close(self.dice.randrange(2))
        return self.sent

    def _open(self) -> None:
        if self.dice.random() < 0.15:
            self.next, self.seen = [1, 1], [1, 1]  # joined midway
            return
        self._send(0, SYN)
        if self.dice.random() < 0.1:
            self._send(0, SYN, seq=0)
        self._send(1, SYN | ACK)
        if self.dice.random() < 0.1:
            self._send(1, SYN | ACK, seq=0)
        if self.dice.random() < 0.9:
            self._send(0, ACK)

    def _close(self, first: int) -> None:
        second = 1 - first
        how = self.dice.randrange(5)
        if how == 0:
            self._send(first, FIN | ACK)
            self._send(second, FIN | ACK)
            self._send(first, ACK)
        elif how == 1:
            self._send(first, FIN | ACK)
            self._send(second, ACK)
            self._send(second, FIN | ACK)
            self._send(first, ACK)
        elif how == 2:
            self._send(first, RST | ACK, bytes(self.dice.choice([0, 0, 4])))
        elif how == 3:
            self._send(first, FIN | ACK)
            self._send(first, FIN | ACK, seq=self.next[first] - 1)

    def _move(self, move: str, me: int) -> None:
        size = self.dice.choice([1, 2, 5, 10, 50])
        again, data = self.last_ack[me], ACK | PSH
        match move:
            case "data":
                self._send(me, data, bytes(size))
            case "ack":
                self._send(me, ACK)
            case "ack again":
                for _ in range(self.dice.randrange(1, 4)):
                    self._send(me, ACK, ack=again)
            case "data again":
                self._send(me, data, bytes(size), seq=max(1, self.next[me] - size))
            case "data asked for again":
                self._send(me, data, bytes(size), seq=max(1, self.last_ack[1 - me]))
            case "gap":
                self._send(me, data, bytes(size), seq=self.next[me] + self.dice.choice([1, 5, 10]))
            case "shut":
                self._send(me, ACK, window=0)
            case "window":
                self._send(me, ACK, window=self.dice.choice([10, 100, 500]), ack=again)
            case "keep-alive":
                self._send(me, ACK, bytes(self.dice.randrange(2)), seq=self.next[me] - 1)
            case "byte":
                self._send(me, data, b"x")
            case "unseen":
                self._send(me, ACK, ack=self.seen[me] + self.dice.choice([1, 10]))
            case "fill":
                self._send(me, data, bytes(self.window[1 - me]))

    def _send(
        self,
        me: int,
        flags: int,
        payload: bytes = b"",
        seq: int | None = None,
        ack: int | None = None,
        window: int | None = None,
    ) -> None:
        self.time_ns += self.dice.choice(STEPS_NS)
        self.ip_id[me] += 1
        seq = self.next[me] if seq is None else seq
        ack = self.seen[me] if ack is None else ack
        self.window[me] = self.window[me] if window is None else window
        options = self.syn_options if flags & SYN else b""
        frame = self._frame(me, seq, ack, flags, options, payload)
        self.sent.append((self.time_ns, frame))
        if "twice" not in self.without and self.dice.random() < 0.01:
            self.sent.append((self.time_ns + 500, frame))
        end = seq + len(payload) + bool(flags & SYN) + bool(flags & FIN)
        self.next[me], self.seen[1 - me] = max(self.next[me], end), max(self.seen[1 - me], end)
        if flags & ACK:
            self.last_ack[me] = ack

    def _frame(self, me: int, seq: int, ack: int, flags: int, options: bytes, payload: bytes) -> bytes:
        ends, ports = (CLIENT, SERVER), (self.port, 80)
        source, target = ends[me], ends[1 - me]
        raw_ack = (self.isn[1 - me] + ack) % 2**32 if flags & ACK else 0
        offset = (5 + len(options) // 4) << 12
        head = struct.pack(
            "!HHIIHHHH",
            ports[me],
            ports[1 - me],
            (self.isn[me] + seq) % 2**32,
            raw_ack,
            offset | flags,
            self.window[me],
            0,
            0,
        )
        segment = head + options + payload
        check = _complement(source + target + struct.pack("!II", len(segment), 6) + segment)
        segment = segment[:16] + check + segment[18:]
        ip = struct.pack("!BBHHHBBH", 0x45, 0, 20 + len(segment), self.ip_id[me] % 65536, 0x4000, 64, 6, 0)
        ip += source + target
        return ETHERNET + ip[:10] + _complement(ip) + ip[12:] + segment


MOVES = (
    *("data", "data", "data", "data", "ack", "ack", "ack", "ack again", "ack again", "data again", "gap"),
    *("data asked for again", "shut", "window", "keep-alive", "byte", "unseen", "fill"),
)


def _complement(data: bytes) -> bytes:
    return (0xFFFF - ones_complement_sum(data)).to_bytes(2)
