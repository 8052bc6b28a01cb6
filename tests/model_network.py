"""The model's parts: two TCP endpoints that follow RFC 9293, and the network between them, in virtual time.

Numbers inside the model count from the sender's initial number and never wrap: a SYN is 0, the first byte of data 1.
Only `encode` adds the initial numbers, modulo 2³², so the model has no serial arithmetic to get wrong.

Not modelled: congestion and flow control, delayed ACKs, SACK blocks, keep-alives, PAWS, urgent data, path MTU.
"""

import heapq
import ipaddress
import struct
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

Side = Literal["client", "server"]
Action = Literal["drop", "duplicate", "delay"]
Opening = Literal[
    "normal",
    "simultaneous",
    "split",
    "split with ack",
    "fast-open accepted",
    "fast-open ignored",
    "refused",
    "unanswered",
    "midway",
]
Close = Literal[
    "three-segment",
    "four-segment",
    "four-segment with data",
    "simultaneous",
    "half-closed",
    "reset",
    "reset after FIN",
    "reset after close",
    "open",
]
SIDES: tuple[Side, Side] = ("client", "server")
PEER: dict[Side, Side] = {"client": "server", "server": "client"}
ADDRESS = {"client": "10.0.0.1", "server": "198.51.100.80"}
HARDWARE = {"client": b"\x02\0\0\0\0\x01", "server": b"\x02\0\0\0\0\x02"}
SERVER_PORT = 80
CIRCLE = 1 << 32
US, MS = 1_000, 1_000_000  # in ns
LATENCY = 5 * MS  # one way
HOST = 10 * US  # from a host's deed to its frame on the link
GAP = 50 * US  # between two frames of one host
ECHO = 20 * US  # between a frame and its duplicate; less than GAP, so nothing comes between them
RTO = 200 * MS  # the first; it doubles (RFC 6298 §5.5)
WINDOW = 500  # unscaled; a message must fit, for the model has no flow control
WINDOW_SCALE = 7
BITS = {"F": 1, "S": 2, "R": 4, "P": 8, "A": 16}


@dataclass(frozen=True)
class Segment:
    """A segment in the model's numbers; `seq` is None for the zero of a RST that answers a segment without ACK."""

    sender: Side
    seq: int | None
    ack: int | None
    flags: str
    payload: bytes = b""
    stamp: tuple[int, int] | None = None
    cookie: bool = False

    @property
    def start(self) -> int:
        """Its first number."""
        return self.seq or 0

    @property
    def length(self) -> int:
        """SYN and FIN consume one number each (RFC 9293 §3.4)."""
        return len(self.payload) + ("S" in self.flags) + ("F" in self.flags)

    @property
    def end(self) -> int:
        """The number after its last."""
        return self.start + self.length


@dataclass(frozen=True)
class Fault:
    """What befalls the `number`th segment (from 1) that `sender` sends; `before` means on the way to the capture point.

    A segment dropped before isn't in the capture, one duplicated before is in it twice, one delayed before is in it
    late. After it, the capture shows the segment once and in time, and only the receiver is concerned.
    """

    action: Action
    sender: Side
    number: int
    before: bool = True
    delay_us: int = 400


@dataclass(frozen=True)
class Sent:
    """A segment as its host sent it: whether it had sent these numbers before, and its state then."""

    segment: Segment
    raw: bytes
    number: int
    is_resend: bool
    state: str


class Captured(NamedTuple):
    """A frame that passed the capture point."""

    time_ns: int
    sent: Sent


def _checksum(data: bytes) -> int:
    """RFC 1071: the complement of the ones' complement sum."""
    total: int = sum(struct.unpack(f"!{(len(data) + 1) // 2}H", data + b"\0" * (len(data) % 2)))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


def _options(segment: Segment) -> bytes:
    """MSS, SACK permitted, timestamps and window scale on a SYN; then timestamps, but on a RST (RFC 7323 §3.2)."""
    if segment.stamp is None:
        return b""
    stamp = struct.pack("!BBII", 8, 10, *segment.stamp)
    if "S" not in segment.flags:
        return b"\x01\x01" + stamp
    cookie = b"\x22\x0a" + b"cookie!!" + b"\x01\x01" if segment.cookie else b""  # RFC 7413 §4.1.1
    return struct.pack("!BBH", 2, 4, 1460) + b"\x04\x02" + stamp + bytes((1, 3, 3, WINDOW_SCALE)) + cookie


def encode(segment: Segment, isn: dict[Side, int], client_port: int, ip_id: int) -> bytes:
    """The Ethernet frame, with valid checksums."""
    sender, peer = segment.sender, PEER[segment.sender]
    ports = (client_port, SERVER_PORT) if sender == "client" else (SERVER_PORT, client_port)
    seq = 0 if segment.seq is None else (isn[sender] + segment.seq) % CIRCLE
    ack = 0 if segment.ack is None else (isn[peer] + segment.ack) % CIRCLE
    options = _options(segment)
    flags = sum(BITS[flag] for flag in segment.flags)
    window = 0 if "R" in segment.flags else WINDOW
    header = struct.pack("!HHIIBBHHH", *ports, seq, ack, (5 + len(options) // 4) << 4, flags, window, 0, 0) + options
    source, target = (ipaddress.IPv4Address(ADDRESS[side]).packed for side in (sender, peer))
    pseudo = source + target + struct.pack("!BBH", 0, 6, len(header) + len(segment.payload))
    checksum = struct.pack("!H", _checksum(pseudo + header + segment.payload))
    tcp = header[:16] + checksum + header[18:] + segment.payload
    ip = struct.pack("!BBHHHBBH", 0x45, 0, 20 + len(tcp), ip_id, 0x4000, 64, 6, 0) + source + target
    ip = ip[:10] + struct.pack("!H", _checksum(ip)) + ip[12:]
    return HARDWARE[peer] + HARDWARE[sender] + b"\x08\x00" + ip + tcp


@dataclass
class Network:
    """The heap of events, the two links, and the capture point beside one host."""

    where: Side
    isn: dict[Side, int]
    client_port: int
    faults: dict[tuple[Side, int], Fault]
    now: int = 0
    captured: list[Captured] = field(default_factory=list)
    receive: dict[Side, Callable[[Segment], None]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._heap: list[tuple[int, int, Callable[[], None]]] = []
        self._order = 0
        self._free = dict.fromkeys(SIDES, 0)
        self._sent = dict.fromkeys(SIDES, 0)

    def at(self, delay: int, action: Callable[[], None]) -> None:
        """Do `action` in `delay` ns; of two at one time the one asked for first goes first."""
        self._order += 1
        heapq.heappush(self._heap, (self.now + delay, self._order, action))

    def run(self, watch: Callable[[], None]) -> None:
        """Until nothing is left to happen; `watch` is called after each event."""
        while self._heap:
            self.now, _, action = heapq.heappop(self._heap)
            action()
            watch()

    def send(self, segment: Segment, state: str, *, is_resend: bool) -> None:
        """Put it on its host's link as soon as that is free, and let its fault befall it."""
        sender = segment.sender
        self._sent[sender] += 1
        number = self._sent[sender]
        ip_id = (0x1000 if sender == "client" else 0x8000) + number
        sent = Sent(segment, encode(segment, self.isn, self.client_port, ip_id), number, is_resend, state)
        departure = max(HOST, self._free[sender] - self.now)
        self._free[sender] = self.now + departure + GAP
        seen, arrival = departure + (0 if sender == self.where else LATENCY), departure + LATENCY
        fault = self.faults.get((sender, number))
        late = fault.delay_us * US if fault and fault.action == "delay" else 0
        early = fault is not None and fault.before
        dropped = fault is not None and fault.action == "drop"
        copies = 2 if fault and fault.action == "duplicate" else 1
        for copy in range(copies):
            if not (early and dropped) and (copy == 0 or early):
                self.at(seen + copy * ECHO + (late if early else 0), lambda: self._capture(sent))
            if not dropped:
                self.at(arrival + copy * ECHO + late, lambda: self.receive[PEER[sender]](segment))

    def _capture(self, sent: Sent) -> None:
        self.captured.append(Captured(self.now, sent))


class Entry(NamedTuple):
    """What waits for its acknowledgement in the retransmission queue."""

    seq: int
    payload: bytes
    syn: bool = False
    fin: bool = False

    @property
    def end(self) -> int:
        """The number that acknowledges it."""
        return self.seq + len(self.payload) + self.syn + self.fin


@dataclass
class Endpoint:
    """One end of the connection: the variables of RFC 9293 §3.3.1 and the procedures of §3.10."""

    name: Side
    network: Network
    mss: int
    opening: Opening  # how it answers a SYN
    tries: int  # how often it sends a segment before it gives up
    notify: Callable[["Endpoint"], None]  # the application learns that a segment was taken
    state: str = "CLOSED"
    una: int = 0
    nxt: int = 0
    rcv_nxt: int | None = None
    queue: list[Entry] = field(default_factory=list)
    written: bytes = b""
    received: bytes = b""

    def __post_init__(self) -> None:
        self._high = 0  # the highest number sent so far
        self._early: dict[int, Segment] = {}
        self._ack_due = False
        self._duplicates = self._attempts = self._timer = 0
        self._rto = RTO
        self._fin_end: int | None = None
        self._recent = 0  # TS.Recent (RFC 7323 §4.3)

    # ---- calls of the user

    def open(self, data: bytes = b"") -> None:
        """Active open (RFC 9293 §3.10.1); `data` goes with the SYN and a Fast Open cookie (RFC 7413 §4.2)."""
        self.state = "SYN-SENT"
        self.written += data
        self.queue = [Entry(0, b"", syn=True), *([Entry(1, data)] if data else [])]
        self.nxt = 1 + len(data)
        self._emit("S", 0, data, cookie=bool(data))
        self._arm()

    def write(self, data: bytes, *, fin: bool = False, ride: bool = False) -> None:
        """SEND, and CLOSE if `fin` (RFC 9293 §3.10.2, §3.10.4): the FIN rides on the last data, or follows."""
        if self.state not in {"ESTABLISHED", "CLOSE-WAIT"}:
            return  # reset meanwhile
        self.written += data
        chunks = [data[at : at + self.mss] for at in range(0, len(data), self.mss)]
        for chunk in chunks[:-1]:
            self._push(chunk, fin=False)
        if chunks:
            self._push(chunks[-1], fin=fin and ride)
        if fin and not (chunks and ride):
            self._push(b"", fin=True)

    def abort(self, *, with_ack: bool) -> None:
        """ABORT (RFC 9293 §3.10.5) sends a bare RST; Linux acknowledges with it."""
        self._die()
        self._emit("RA" if with_ack else "R", self.nxt)

    # ---- what goes out

    def _push(self, payload: bytes, *, fin: bool) -> None:
        entry = Entry(self.nxt, payload, fin=fin)
        if fin:
            self.state = {"ESTABLISHED": "FIN-WAIT-1", "CLOSE-WAIT": "LAST-ACK"}[self.state]
            self._fin_end = entry.end
        self.nxt = entry.end
        if not self.queue:
            self._arm()
        self.queue.append(entry)
        self._transmit(entry)

    def _transmit(self, entry: Entry) -> None:
        flags = "S" * entry.syn + "F" * entry.fin + "P" * bool(entry.payload) + "A" * (self.rcv_nxt is not None)
        self._emit(flags, entry.seq, entry.payload)

    def _emit(self, flags: str, seq: int | None, payload: bytes = b"", *, cookie: bool = False, ack: int = 0) -> None:
        """Send a segment; `ack` stands for RCV.NXT where there is none."""
        acknowledged = (ack if self.rcv_nxt is None else self.rcv_nxt) if "A" in flags else None
        clock = self.network.now // MS + (1_000 if self.name == "client" else 500_000)
        stamp = None if "R" in flags else (clock, self._recent)
        segment = Segment(self.name, seq, acknowledged, flags, payload, stamp, cookie)
        is_resend = segment.length > 0 and segment.start < self._high
        self._high = max(self._high, segment.end)
        self._ack_due = self._ack_due and "A" not in flags
        self.network.send(segment, self.state, is_resend=is_resend)

    def _arm(self) -> None:
        self._timer += 1
        timer = self._timer
        self.network.at(self._rto, lambda: self._expire(timer))

    def _expire(self, timer: int) -> None:
        """RFC 6298 §5.4–5.6: send the earliest again, double the timer."""
        if timer != self._timer or not self.queue:
            return
        self._attempts += 1
        if self._attempts >= self.tries:
            self._die()
            return
        self._rto *= 2
        self._transmit(self.queue[0])
        self._arm()

    def _die(self) -> None:
        self.state, self.queue, self._ack_due = "CLOSED", [], False
        self._timer += 1

    # ---- what comes in: SEGMENT ARRIVES (RFC 9293 §3.10.7)

    def take(self, segment: Segment) -> None:
        """A segment arrives; what it calls for is answered at once, with data or a FIN if the application has them."""
        if self.state == "CLOSED":
            self._refuse(segment)
            return
        if segment.stamp and segment.start <= (self.rcv_nxt or 0):
            self._recent = max(self._recent, segment.stamp[0])
        if self.state == "LISTEN":
            self._listen(segment)
        elif self.state == "SYN-SENT":
            self._syn_sent(segment)
        else:
            self._synchronized(segment)
        self.notify(self)
        if self._ack_due:
            self._emit("A", self.nxt)

    def _refuse(self, segment: Segment) -> None:
        """CLOSED (§3.10.7.1): all but a RST is answered with one."""
        if "R" in segment.flags:
            return
        if segment.ack is None:
            self._emit("RA", None, ack=segment.end)
        else:
            self._emit("R", segment.ack)

    def _listen(self, segment: Segment) -> None:
        """LISTEN (§3.10.7.2); nothing but a SYN can arrive here."""
        if self.opening.startswith("split"):  # it opens actively instead, as if it had not seen the SYN
            if self.opening == "split with ack":
                self._emit("A", 0, ack=1)
            self.open()
            return
        accepted = segment.payload if self.opening == "fast-open accepted" else b""
        self.received += accepted
        self.rcv_nxt = 1 + len(accepted)
        self.state, self.nxt, self.queue = "SYN-RECEIVED", 1, [Entry(0, b"", syn=True)]
        self._transmit(self.queue[0])
        self._arm()

    def _syn_sent(self, segment: Segment) -> None:
        """SYN-SENT (§3.10.7.3); an ACK without SYN is dropped."""
        if "R" in segment.flags:
            if segment.ack == self.nxt:
                self._die()
            return
        if "S" not in segment.flags:
            return
        self.rcv_nxt = 1
        if segment.ack is None:  # simultaneous open (§3.5, figure 7)
            self.state = "SYN-RECEIVED"
            self._transmit(self.queue[0])
            return
        self.state = "ESTABLISHED"
        self._acknowledge(segment)
        self._ack_due = True
        if self.queue:  # data on the SYN that was ignored is sent again at once (RFC 7413 §4.2.2)
            self._transmit(self.queue[0])

    def _synchronized(self, segment: Segment) -> None:
        """The other states (§3.10.7.4)."""
        opening = self.state == "SYN-RECEIVED"
        if opening and segment.flags == "S":  # Linux and the BSDs repeat the SYN,ACK; §3.10.7.4 would send a bare ACK
            self._transmit(self.queue[0])
            return
        crossed = opening and segment.flags == "SA"  # figure 7 line 6, though the number is old by §3.10.7.4
        if crossed:
            self._acknowledge(segment)
        elif not self._acceptable(segment) or "S" in segment.flags:
            self._ack_due = "R" not in segment.flags  # a SYN gets a challenge ACK (§3.10.7.4, fourth)
        elif "R" in segment.flags:
            if segment.seq == self.rcv_nxt:
                self._die()
            else:
                self._ack_due = True  # challenge ACK (§3.10.7.4, second)
        else:
            self._acknowledge(segment)
            if segment.length:
                self._collect(segment)

    def _acceptable(self, segment: Segment) -> bool:
        """The four cases of §3.4, for a window that is never zero."""
        expected = self.rcv_nxt or 0
        last = segment.end if segment.length == 0 else segment.end - 1
        return expected <= last and segment.start < expected + (WINDOW << WINDOW_SCALE)

    def _acknowledge(self, segment: Segment) -> None:
        """Fifth, the ACK field; and the third duplicate sends the earliest again (RFC 5681 §3.2)."""
        ack = segment.ack or 0
        if self.una < ack <= self.nxt:
            self.una = ack
            self.queue = [entry for entry in self.queue if entry.end > ack]
            self._rto, self._attempts, self._duplicates = RTO, 0, 0
            self._arm()
            if self.state == "SYN-RECEIVED":
                self.state = "ESTABLISHED"
            if ack == self._fin_end:
                after = {"FIN-WAIT-1": "FIN-WAIT-2", "CLOSING": "TIME-WAIT", "LAST-ACK": "CLOSED"}
                self.state = after[self.state]
        elif ack == self.una and self.queue and segment.length == 0:
            self._duplicates += 1
            if self._duplicates == 3:
                self._transmit(self.queue[0])

    def _collect(self, segment: Segment) -> None:
        """Seventh and eighth: the data in order, then the FIN; what comes early waits. All is acknowledged at once."""
        self._ack_due = True
        self._early[segment.start] = segment
        while self.rcv_nxt in self._early:  # a host sends numbers again in the same segments only
            ready = self._early.pop(self.rcv_nxt)
            self.received += ready.payload
            self.rcv_nxt = ready.end
            if "F" in ready.flags:
                after = {"ESTABLISHED": "CLOSE-WAIT", "FIN-WAIT-1": "CLOSING", "FIN-WAIT-2": "TIME-WAIT"}
                self.state = after[self.state]


def text(side: Side, start: int, size: int) -> bytes:
    """A side's bytes from `start` on: each eight of them say whose and where they are."""
    first, last = start // 8, (start + size) // 8 + 1
    return b"".join(b"%c%06d\n" % (side[0].encode(), 8 * n) for n in range(first, last))[start % 8 :][:size]


def write_pcap(frames: list[tuple[int, bytes]]) -> bytes:
    """Times in ns since the epoch, and Ethernet frames, as a capture file with nanoseconds."""
    parts = [struct.pack("<IHHiIII", 0xA1B23C4D, 2, 4, 0, 0, 262144, 1)]
    for time_ns, raw in frames:
        parts += [struct.pack("<IIII", *divmod(time_ns, 1_000_000_000), len(raw), len(raw)), raw]
    return b"".join(parts)
