"""Times of pcapng: ticks of any resolution to ns since 1970, in integers alone, and clamped to the years 1823 to 2116.

https://www.ietf.org/archive/id/draft-ietf-opsawg-pcapng-02.html §4.2 (if_tsresol, if_tsoffset), §4.3 (timestamps).
"""

import numpy as np
import numpy.typing as npt

from analysis.files.frames import LAST_TIME

Ints = npt.NDArray[np.int64]
Ticks = npt.NDArray[np.uint64]

SECOND = 1_000_000_000  # ns
BEYOND = LAST_TIME // SECOND  # seconds, before 1970 likewise: stands for all that is clamped
FINEST = 1 << 34  # ticks a second of which no remainder × SECOND exceeds 64 bits


def times_ns(ticks: Ticks, ticks_per_second: int, offset: int) -> Ints:
    """Ns since 1970 of each of `ticks`, `offset` (seconds) added; what is clamped gets ± `LAST_TIME`."""
    seconds, rest = _divided(ticks, ticks_per_second)
    least, most = max(-BEYOND - offset, 0), max(BEYOND - offset, 0)  # seconds whose sum with `offset` stays within
    whole = np.clip(seconds, np.uint64(least), np.uint64(most)) + np.uint64(min(offset, BEYOND) % 2**64)
    total = np.clip(whole.view(np.int64), -BEYOND, BEYOND)
    exact = total * SECOND + rest.astype(np.int64)
    return np.where(total == BEYOND, LAST_TIME, np.where(total == -BEYOND, -LAST_TIME, exact))


def _divided(ticks: Ticks, ticks_per_second: int) -> tuple[Ticks, Ticks]:
    """Whole seconds, and the ns beyond them."""
    if ticks_per_second <= FINEST:
        divisor, second = np.uint64(ticks_per_second), np.uint64(SECOND)
        seconds = ticks // divisor
        return seconds, (ticks - seconds * divisor) * second // divisor
    exact = ticks.tolist()  # rare, and too fine for 64 bits
    seconds = np.array([tick // ticks_per_second for tick in exact], np.uint64)
    return seconds, np.array([tick % ticks_per_second * SECOND // ticks_per_second for tick in exact], np.uint64)


def fill_gaps(time_ns: Ints, untimed: npt.NDArray[np.bool_]) -> None:
    """Give frames without a time, in place, that of the timed one before them; the first ones that of the one after."""
    if not untimed.any():
        return
    if untimed.all():
        time_ns[:] = 0
        return
    source = np.arange(len(time_ns))
    source[untimed] = -1
    np.maximum.accumulate(source, out=source)
    source[source < 0] = np.argmin(untimed)
    time_ns[:] = time_ns[source]
