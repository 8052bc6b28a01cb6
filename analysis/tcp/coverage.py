"""Which numbers of a sequence space were seen."""

from bisect import bisect_left, bisect_right


class Coverage:
    """Which numbers of a sequence space were seen: disjoint, sorted intervals."""

    def __init__(self) -> None:
        self._starts: list[int] = []
        self._ends: list[int] = []

    def add(self, start: int, end: int) -> bool:
        """Mark `start` to `end`; whether any of it was new."""
        first = bisect_left(self._ends, start)  # the intervals that touch [start, end): first up to, not with, last
        last = bisect_right(self._starts, end)
        if first < last and self._starts[first] <= start and end <= self._ends[first]:
            return False
        if first < last:
            start, end = min(start, self._starts[first]), max(end, self._ends[last - 1])
        self._starts[first:last] = [start]
        self._ends[first:last] = [end]
        return True

    @property
    def first_missing(self) -> int | None:
        """The first number behind the first one seen that is missing; None if none was seen."""
        return self._ends[0] if self._ends else None

    def has_gap_before(self, end: int) -> bool:
        """Whether a number before `end`, and behind the first one seen, is missing."""
        return bool(self._ends) and self._ends[0] < end
