"""pcap files: either byte order, µs or ns, and the "modified" kind with longer record headers.

https://www.ietf.org/archive/id/draft-ietf-opsawg-pcap-04.html §4 (file header), §5 (packet record).
"""

import struct
from array import array
from typing import NamedTuple

import numpy as np

from analysis.errors import InputError
from analysis.files.frames import LONGEST_FRAME, Buffer, Content, Frames, cut_after, words

FILE_HEADER = 24


class Variant(NamedTuple):
    """Byte order for `struct`, ns a tick, and the bytes of a record's header."""

    order: str
    tick_ns: int
    header: int = 16


VARIANTS = {  # by the first four bytes
    b"\xa1\xb2\xc3\xd4": Variant(">", 1000),
    b"\xd4\xc3\xb2\xa1": Variant("<", 1000),
    b"\xa1\xb2\x3c\x4d": Variant(">", 1),
    b"\x4d\x3c\xb2\xa1": Variant("<", 1),
    b"\xa1\xb2\xcd\x34": Variant(">", 1000, 24),  # "modified", in the Linux of 1999: interface, protocol, packet type
    b"\x34\xcd\xb2\xa1": Variant("<", 1000, 24),
}


def read_pcap(data: Buffer, path: str) -> Content:
    """The frames of the pcap `data`; `InputError` if it ends before the first could begin."""
    order, tick_ns, header = VARIANTS[data[:4]]
    if len(data) < FILE_HEADER:
        raise InputError(f"{path}: ends within its 24-byte file header", "capture again")
    link_type = struct.unpack_from(order + "I", data, 20)[0] & 0xFFFF  # the upper bits tell of an FCS
    found, problem = _records(data, order, header)
    start = np.array(found, np.int64)
    del found  # as many bytes again
    word = words(data, order)
    captured = word[start - (header - 8)].astype(np.uint32)
    frames = Frames(
        data,
        start,
        captured,
        np.maximum(word[start - (header - 12)], captured).astype(np.uint32),
        word[start - header].astype(np.int64) * 1_000_000_000 + word[start - (header - 4)].astype(np.int64) * tick_ns,
        np.full(len(start), link_type, np.uint16),
    )
    return Content("pcap-ns" if tick_ns == 1 else "pcap", frames, (problem,) if problem else ())


def _records(data: Buffer, order: str, header: int) -> "tuple[array[int], str]":
    """Where the bytes of each whole frame begin: the one step that must go record by record; what ended it early."""
    starts = array("q")
    add, length_at, end, back = starts.append, struct.Struct(order + "I").unpack_from, len(data), header - 8
    position = FILE_HEADER + header
    while position <= end:
        following = position + length_at(data, position - back)[0]
        if following > end or following - position > LONGEST_FRAME:
            break
        add(position)
        position = following + header
    if position - header >= end:
        return starts, ""
    captured = length_at(data, position - back)[0] if position <= end else 0
    return starts, _damaged(len(starts), captured) if captured > LONGEST_FRAME else cut_after(len(starts))


def _damaged(whole: int, captured: int) -> str:
    said = f"frame {whole + 1} claims {captured} bytes: the file is damaged from there on"
    # Nokia's, Red Hat's and SuSE's variants have another one's first bytes: their second frame looks like damage
    return (
        said if whole > 1 else f"{said}, or a variant of pcap; `editcap -F pcap IN OUT` makes an ordinary one of that"
    )
