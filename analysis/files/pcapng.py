"""pcapng files: sections, their interfaces, the frames of four kinds of blocks, comments, counts of drops.

https://www.ietf.org/archive/id/draft-ietf-opsawg-pcapng-02.html; §3 and §4 below are its own.

One walk from block to block notes where each frame is and how its block is to be read; that is all that must be done
one by one. Lengths and times are then gathered for many frames at once, from the file itself.
"""

import struct
from array import array
from collections.abc import Callable, Iterator
from itertools import pairwise
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from analysis.errors import InputError
from analysis.files.frames import LONGEST_FRAME, NO_PACKET, Buffer, Comment, Content, Frames, cut_after, words
from analysis.files.pcapng_times import fill_gaps, times_ns
from analysis.text import plural

SECTION, INTERFACE, OBSOLETE, SIMPLE, STATISTICS, ENHANCED = 0x0A0D0D0A, 1, 2, 3, 5, 6
# what tshark 4.0 numbers as frames though no network carried it: systemd journal, custom (§4.7), sysdig events
OTHERS = {9: 32, 0xBAD: 16, 0x4000_0BAD: 16, 0x204: 32, 0x216: 32, 0x221: 32}  # block type: its least length
LEAST = {SECTION: 28, INTERFACE: 20, OBSOLETE: 32, SIMPLE: 16, STATISTICS: 24, ENHANCED: 32, **OTHERS}
NAMES = {INTERFACE: "interface", STATISTICS: "statistics", SECTION: "section"}
ORDERS = {b"\x1a\x2b\x3c\x4d": ">", b"\x4d\x3c\x2b\x1a": "<"}

# what an honest file never reaches and a hostile one must not exceed
MOST_OPTIONS = 1000  # looked at in a block
MOST_COMMENTS, MOST_COMMENT_BYTES = 10_000, 1 << 20  # kept of a file
MOST_INTERFACES = 4096  # of different kinds in a file
MOST_DROPPERS = 1000  # interfaces whose drops are counted

DROP_STEP = "capture with a larger buffer (-B) or a narrower filter"

AT_ONCE = 1 << 16  # frames gathered at once: what is needed meanwhile stays small
TIMED, UNTIMED, ENTRY, FORMS = 0, 1, 2, 3  # a frame's form: enhanced or obsolete, simple, no packet at all; how many


class Interface(NamedTuple):
    """What a frame's block must be read with (§4.2): `offset` in seconds, `snap` in bytes, 0 for no limit."""

    order: str
    link_type: int
    snap: int = 0
    ticks_per_second: int = 1_000_000
    offset: int = 0


class Damage(Exception):  # noqa: N818 - it says what the file has
    """What is wrong with the file, in words: reading ends there."""


def read_pcapng(data: Buffer, path: str) -> Content:
    """The frames and comments of the pcapng `data`; `InputError` if its first section header can't be understood."""
    reader = _Reader(data)
    problems = []
    try:
        reader.read()
    except Damage as damage:
        if not reader.section:
            raise InputError(f"{path}: {damage}", "capture again, or save it anew with Wireshark") from None
        problems.append(str(damage))
    frames = _gather(data, reader.starts, reader.codes, list(reader.kinds))
    problems += reader.drops.problems()
    return Content("pcapng", frames, tuple(problems), reader.notes(), tuple(reader.comments))


class _Drops:
    """How many frames the capturing kernel dropped, an interface of a section."""

    def __init__(self) -> None:
        self.counted: dict[tuple[int, int], int] = {}  # between frames: these add up
        self.stated: dict[tuple[int, int], int] = {}  # since the beginning, in statistics: the latest holds

    def add(self, where: tuple[int, int], count: int) -> None:
        if where in self.counted or len(self.counted) < MOST_DROPPERS:
            self.counted[where] = self.counted.get(where, 0) + count

    def state(self, where: tuple[int, int], count: int) -> None:
        if where in self.stated or len(self.stated) < MOST_DROPPERS:
            self.stated[where] = max(self.stated.get(where, 0), count)

    def problems(self) -> list[str]:
        """A sentence an interface, for the first few; the two ways to count are of the same drops."""
        total = {
            where: count
            for where in sorted({*self.counted, *self.stated})
            if (count := max(self.counted.get(where, 0), self.stated.get(where, 0)))
        }
        several = any(section > 1 for section, _ in total)
        said = []
        for section, interface in list(total)[:8]:
            where = f"interface {interface}" + (f" of section {section}" if several else "")
            dropped = plural(total[section, interface], "frame")
            said.append(f"the capturing kernel dropped {dropped} on {where}: {DROP_STEP}")
        if len(total) > 8:
            rest = plural(sum(list(total.values())[8:]), "frame")
            said.append(f"the capturing kernel dropped {rest} on {len(total) - 8} more interfaces: {DROP_STEP}")
        return said


class _Reader:
    """The walk through a file; `section` counts from 1 once a header is understood."""

    def __init__(self, data: Buffer) -> None:
        self.data = data
        self.starts = array("q")  # where a frame's bytes begin
        self.codes = array("I")  # number of its interface's kind × FORMS + its form
        self.kinds: dict[Interface, int] = {}  # each kind's number: many sections can do with few
        self.comments: list[Comment] = []
        self.comment_bytes = 0
        self.comments_left_out = 0
        self.drops = _Drops()
        self.section = 0
        self.order = "<"
        self.interfaces: list[int] = []  # the section's, as codes
        self.snap = 0  # of the first of these
        self.entry_code = 0
        self.handlers: dict[int, Callable[[int, int], None]] = {
            INTERFACE: self._interface,
            OBSOLETE: self._obsolete,
            SIMPLE: self._simple,
            STATISTICS: self._statistics,
            ENHANCED: self._enhanced,
            **dict.fromkeys(OTHERS, self._entry),
        }

    def notes(self) -> tuple[str, ...]:
        """What was read, and not kept."""
        if not self.comments_left_out:
            return ()
        return (f"{plural(self.comments_left_out, 'comment')} more than the {len(self.comments)} kept were left out",)

    def read(self) -> None:
        """Section by section, to the end or to `Damage`."""
        position = 0
        while position < len(self.data):
            self._begin_section(position)
            position = self._blocks(position)

    def _begin_section(self, position: int) -> None:
        """Its byte order and version (§4.1); what the blocks below are read with."""
        if position + LEAST[SECTION] > len(self.data):
            raise Damage(cut_after(len(self.starts)) if position else "ends within its section header")
        order = ORDERS.get(self.data[position + 8 : position + 12])
        where = f"the section at byte {position}" if position else "its section header"
        if order is None:
            raise Damage(f"{where} has no byte-order mark of pcapng's")
        length, major = struct.unpack_from(order + "4xI4xH", self.data, position)
        if length < LEAST[SECTION] or major != 1:
            what = f"is of version {major} of pcapng, not 1" if major != 1 else f"has only {length} bytes"
            raise Damage(f"{where} {what}")
        self.section += 1
        self.order, self.interfaces, self.snap = order, [], 0
        self.pair = struct.Struct(order + "HH").unpack_from
        self.word = struct.Struct(order + "I").unpack_from
        self.packet = struct.Struct(order + "I8xI").unpack_from
        self.long = struct.Struct(order + "Q").unpack_from
        self.entry_code = self._code(Interface(order, NO_PACKET), position) + ENTRY

    def _blocks(self, position: int) -> int:
        """Handle the section's blocks (§3.1); where the next section begins, or the file ends."""
        data, end, handlers, word = self.data, len(self.data), self.handlers, self.word
        head = struct.Struct(self.order + "II").unpack_from
        begin = position
        while position + 12 <= end:
            kind, length = head(data, position)
            if kind == SECTION and position != begin:
                return position
            following = position + length + (-length & 3)  # some writers forget the padding when they count
            if length < 12 or following > end or word(data, following - 4)[0] != length:
                raise Damage(self._torn(position, length, following))
            if kind in handlers:
                if length < LEAST[kind]:
                    raise Damage(self._short(kind, position, length))
                handlers[kind](position, length)
            elif kind == SECTION:
                self._comments(position + 24, position + length - 4)
            position = following
        if position < end:
            raise Damage(cut_after(len(self.starts)))
        return position

    def _torn(self, position: int, length: int, following: int) -> str:
        if length < 12:
            return f"a block at byte {position} claims {length} bytes: {self._from_there()}"
        if following > len(self.data):
            return cut_after(len(self.starts))
        other = self.word(self.data, following - 4)[0]
        return f"a block at byte {position} claims {length} bytes, and {other} at its end: {self._from_there()}"

    def _short(self, kind: int, position: int, length: int) -> str:
        name = f"{NAMES[kind]} block" if kind in NAMES else f"block of frame {len(self.starts) + 1}"
        return f"the {name}, at byte {position}, has {length} bytes, not {LEAST[kind]} or more: {self._from_there()}"

    def _from_there(self) -> str:
        return f"the file is damaged from there on, behind {plural(len(self.starts), 'whole frame')}"

    def _code(self, kind: Interface, position: int) -> int:
        number = self.kinds.setdefault(kind, len(self.kinds))
        if number >= MOST_INTERFACES:
            raise Damage(f"more than {MOST_INTERFACES} kinds of interfaces, at byte {position}: {self._from_there()}")
        return number * FORMS

    def _interface(self, position: int, length: int) -> None:
        """An interface description (§4.2), and of its options if_tsresol (9) and if_tsoffset (14)."""
        link_type, snap = struct.unpack_from(self.order + "H2xI", self.data, position + 8)
        ticks, offset = 1_000_000, 0
        for code, at, size in self._options(position + 16, position + length - 4):
            if code == 9 and size == 1:
                value = self.data[at]
                ticks = 1 << (value & 0x7F) if value & 0x80 else 10**value
            elif code == 14 and size == 8:
                offset = struct.unpack_from(self.order + "q", self.data, at)[0]
            elif code == 1:
                self._comment(None, at, size)
        if not self.interfaces:
            self.snap = snap
        self.interfaces.append(self._code(Interface(self.order, link_type, snap, ticks, offset), position))

    def _enhanced(self, position: int, length: int) -> None:
        """An enhanced packet block (§4.3)."""
        interface, captured = self.packet(self.data, position + 8)
        self._timed(position, length, interface, captured)

    def _obsolete(self, position: int, length: int) -> None:
        """A packet block (appendix A): the same but for two half words where the interface's number is."""
        interface, drops = self.pair(self.data, position + 8)
        self._timed(position, length, interface, self.word(self.data, position + 20)[0])
        if 0 < drops < 0xFFFF:  # 0xffff: unknown
            self.drops.add((self.section, interface), drops)

    def _timed(self, position: int, length: int, interface: int, captured: int) -> None:
        room = length - 32
        if interface >= len(self.interfaces) or captured > room or captured > LONGEST_FRAME:
            raise Damage(self._bad_frame(interface, captured, room))
        self.starts.append(position + 28)
        self.codes.append(self.interfaces[interface])
        if room - captured > 7:  # padding, and an option at least
            self._frame_options(position + 28 + captured + (-captured & 3), position + length - 4, interface)

    def _bad_frame(self, interface: int, captured: int, room: int) -> str:
        frame = f"frame {len(self.starts) + 1}"
        if interface >= len(self.interfaces):
            there = plural(len(self.interfaces), "interface")
            return f"{frame} names interface {interface}, but its section has {there} by then: {self._from_there()}"
        return f"{frame} claims {captured} bytes where there are {min(room, LONGEST_FRAME)}: {self._from_there()}"

    def _frame_options(self, position: int, end: int, interface: int) -> None:
        for code, at, size in self._options(position, end):
            if code == 1:
                self._comment(len(self.starts), at, size)
            elif code == 4 and size == 8 and (dropped := self.long(self.data, at)[0]):  # epb_dropcount
                self.drops.add((self.section, interface), dropped)

    def _simple(self, position: int, length: int) -> None:
        """A simple packet block (§4.4): of the section's first interface, whose snap length says what was captured."""
        wire = self.word(self.data, position + 8)[0]
        captured = min(wire, self.snap or wire)
        if not self.interfaces or captured > min(length - 16, LONGEST_FRAME):
            raise Damage(self._bad_frame(0, captured, length - 16))
        self.starts.append(position + 12)
        self.codes.append(self.interfaces[0] + UNTIMED)

    def _entry(self, position: int, _length: int) -> None:
        """No packet, but what Wireshark numbers as one."""
        self.starts.append(position + 8)
        self.codes.append(self.entry_code)

    def _statistics(self, position: int, length: int) -> None:
        """Interface statistics (§4.6): isb_ifdrop (5) and isb_osdrop (7)."""
        options = self._options(position + 20, position + length - 4)
        dropped = {code: self.long(self.data, at)[0] for code, at, size in options if code in (5, 7) and size == 8}
        self.drops.state((self.section, self.word(self.data, position + 8)[0]), sum(dropped.values()))

    def _comments(self, position: int, end: int) -> None:
        """The comments (option 1, §3.5.1) of a block that is no frame."""
        for code, at, size in self._options(position, end):
            if code == 1:
                self._comment(None, at, size)

    def _comment(self, frame: int | None, at: int, size: int) -> None:
        if len(self.comments) >= MOST_COMMENTS or self.comment_bytes + size > MOST_COMMENT_BYTES:
            self.comments_left_out += 1
        elif size:
            self.comments.append(Comment(frame, self.data[at : at + size].decode(errors="replace")))
            self.comment_bytes += size

    def _options(self, position: int, end: int) -> Iterator[tuple[int, int, int]]:
        """Code, place and length of each option (§3.5), up to the end, or the first that would go beyond it."""
        data, pair = self.data, self.pair
        for _ in range(MOST_OPTIONS):
            if position + 4 > end:
                return
            code, size = pair(data, position)
            position += 4
            if code == 0 or position + size > end:
                return
            yield code, position, size
            position += size + (-size & 3)


def _gather(data: Buffer, starts: "array[int]", codes: "array[int]", kinds: list[Interface]) -> Frames:
    """The columns of all frames: a few dozen bytes each, and not more meanwhile."""
    count = len(starts)
    frames = Frames(
        data,
        np.frombuffer(starts, np.int64) if count else np.empty(0, np.int64),
        np.empty(count, np.uint32),
        np.empty(count, np.uint32),
        np.empty(count, np.int64),
        np.empty(count, np.uint16),
    )
    code = np.frombuffer(codes, np.uint32) if count else np.empty(0, np.uint32)
    for first in range(0, count, AT_ONCE):
        for rows in _alike(code[first : first + AT_ONCE]):
            number, form = divmod(int(code[first + rows[0]]), FORMS)
            _fill(frames, first + rows, kinds[number], form)
    fill_gaps(frames.time_ns, code % FORMS != TIMED)
    return frames


def _alike(code: npt.NDArray[np.uint32]) -> Iterator[npt.NDArray[np.int64]]:
    """The positions of each value, in one sorting however many values there are."""
    order = np.argsort(code, kind="stable")
    bounds = [0, *(np.flatnonzero(np.diff(code[order])) + 1).tolist(), len(code)]
    return (order[begin:end] for begin, end in pairwise(bounds))


def _fill(frames: Frames, rows: npt.NDArray[np.int64], kind: Interface, form: int) -> None:
    """The columns of `rows`, frames of one form on one kind of interface."""
    word, at = words(frames.data, kind.order), frames.start[rows]
    if form == TIMED:
        captured, wire = word[at - 8], word[at - 4]
        ticks = word[at - 16].astype(np.uint64) << np.uint64(32) | word[at - 12]
        frames.time_ns[rows] = times_ns(ticks, kind.ticks_per_second, kind.offset)
    elif form == UNTIMED:
        wire = word[at - 4]
        captured = np.minimum(wire, kind.snap or LONGEST_FRAME)
    else:
        wire = captured = np.minimum(word[at - 4] - 12, LONGEST_FRAME)
    frames.captured[rows] = captured
    frames.wire_length[rows] = np.maximum(wire, captured)
    frames.link_type[rows] = kind.link_type
