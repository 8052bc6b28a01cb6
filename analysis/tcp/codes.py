"""Each segment as one small number: all that the state tables and the names of openings and closes need of it.

Many connections have the same codes in the same order, so what follows from them is worked out once.
"""

import numpy as np
import numpy.typing as npt

from analysis.packets.packet import ACK, FIN, RST, SYN
from analysis.tcp.coverage import Coverage
from analysis.tcp.flows import CLIENT, SERVER, Segments

FROM_SERVER = 1 << 0
HAS_FIN = 1 << 1
HAS_SYN = 1 << 2
HAS_RST = 1 << 3
HAS_ACK = 1 << 4
HAS_DATA = 1 << 5
IS_NEW = 1 << 6  # takes numbers beyond all that its side had sent before
ACKS_SYN = 1 << 7  # its Ack covers the peer's SYN
ACKS_FIN = 1 << 8  # its Ack covers the peer's first FIN, which was captured before
AGAIN = 1 << 9  # a FIN that ends where its side's first FIN ended: the same one, sent again
ACKS_SYN_DATA = 1 << 10  # a SYN,ACK whose Ack covers bytes that the SYN carried, too
REFUSES = 1 << 11  # a reset that answers a SYN (RFC 9293 §3.5.2, case 1), or one without Ack
AHEAD = 1 << 12  # a FIN behind numbers that were not captured: its receiver can't have taken it yet (`mark_gaps`)
STRAY = 1 << 13  # a reset that its receiver doesn't believe (RFC 5961 §3.2); HAS_RST is of those that it does


def code_segments(segments: Segments) -> npt.NDArray[np.uint16]:
    """The code of every segment: the sum of the constants above that hold for it."""
    flags, sender = segments.flags, segments.sender
    acks, has_data, is_reset = flags & ACK != 0, segments.length > 0, flags & RST != 0
    is_stray = is_reset & _is_out_of_window(segments) if is_reset.any() else is_reset
    is_fin = (flags & FIN != 0) & ~is_reset
    is_syn = flags & SYN != 0
    connection = segments.connection
    end_of_fin, fin_at = _each_side(segments, is_fin, segments.next)
    end_of_syn, syn_at = _each_side(segments, flags & (SYN | ACK) == SYN, segments.next)
    codes = np.zeros(len(flags), np.uint16)

    def note(bit: int, where: npt.NDArray[np.bool_]) -> None:
        codes[where] |= np.uint16(bit)

    note(FROM_SERVER, sender == SERVER)
    note(HAS_FIN, is_fin)
    note(HAS_SYN, is_syn)
    note(HAS_RST, is_reset & ~is_stray)
    note(STRAY, is_stray)
    note(HAS_ACK, acks)
    note(HAS_DATA, has_data)
    note(IS_NEW, (has_data | is_fin) & (segments.next > segments.newest))
    own, peers = (sender, connection), (1 - sender, connection)
    peers_syn = np.where(syn_at < len(flags), end_of_syn, 0)[peers]
    too_much = is_syn & (peers_syn > 0) & (segments.ack > peers_syn)  # no answer to that SYN
    note(ACKS_SYN, acks & (segments.ack >= 1) & ~too_much & ~is_stray)
    note(ACKS_SYN_DATA, (flags & (SYN | ACK) == SYN | ACK) & (segments.ack > 1))
    answers_syn = (segments.raw_seq == 0) & (segments.ack >= 1) & (segments.ack <= peers_syn)
    note(REFUSES, is_reset & ~is_stray & (~acks | answers_syn))
    note(ACKS_FIN, acks & ~is_reset & (segments.index > fin_at[peers]) & (segments.ack >= end_of_fin[peers]))
    note(AGAIN, is_fin & (segments.index > fin_at[own]) & (segments.next == end_of_fin[own]))
    return codes


def mark_gaps(codes: npt.NDArray[np.uint16], segments: Segments, part: slice) -> None:
    """Add AHEAD to the FINs in `part`, one connection, that were captured before all the numbers that precede them."""
    fins = np.flatnonzero(codes[part] & HAS_FIN) + part.start
    if not len(fins):
        return
    seen = (Coverage(), Coverage())
    for block in segments.blocks(slice(part.start, int(fins[-1]) + 1)):
        columns = (segments.sender, segments.seq, segments.next, segments.flags, codes)
        walk = zip(*(column[block].tolist() for column in columns), strict=True)
        for place, (sender, seq, end, flags, code) in enumerate(walk, block.start):
            if end > seq and not flags & RST:
                seen[sender].add(seq, end)
            if code & HAS_FIN and seen[sender].has_gap_before(end):
                codes[place] |= AHEAD


def _is_out_of_window(segments: Segments) -> npt.NDArray[np.bool_]:
    """Where a segment lies before what the peer has acknowledged, or beyond all that its side sent while others follow.

    RFC 5961 §3.2: a reset counts at the very number that its receiver expects. That number is at least the receiver's
    last Ack, and at most the sender's newest number, unless the capture lacks some: then the connection ends there.
    Of an Ack before the last one it counts what the sender had sent: the last one may be a copy that came late.
    """
    peers_ack, _, peer_at = segments.last_of(1 - segments.sender)
    known = (peer_at >= 0) & (segments.newest > 0) & (peers_ack >= 1)
    others = np.where(segments.flags & RST == 0, segments.index, np.int32(-1))
    last_other = np.maximum.reduceat(others, segments.begin)[segments.connection]
    beyond = (segments.seq > segments.newest) & (segments.index < last_other)
    acked = np.maximum(peers_ack, np.minimum(segments.most_acked(), segments.newest))
    out_of_window: npt.NDArray[np.bool_] = known & ((segments.seq < acked) | beyond)
    return out_of_window


def _each_side(
    segments: Segments, mask: npt.NDArray[np.bool_], values: npt.NDArray[np.int64]
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """By side and connection: the value of the first segment where `mask` holds, and where that is."""
    where = np.stack([segments.first_where(mask & (segments.sender == side)) for side in (CLIENT, SERVER)])
    return np.append(values, 0)[where], where
