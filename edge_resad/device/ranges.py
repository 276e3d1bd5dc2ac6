"""Ranges of whole numbers: which letters, said in a few words however many there are."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator


class Ranges:
    """A set of whole numbers that keeps neighbours together. Beyond `most` ranges the lowest are forgotten."""

    def __init__(self, ranges: Iterable[tuple[int, int]] = (), *, most: int | None = None) -> None:
        self._firsts: list[int] = []
        self._lasts: list[int] = []
        self._most = most
        for first, last in ranges:
            self.add(first, last)

    def __contains__(self, number: int) -> bool:
        at = bisect_right(self._firsts, number) - 1
        return at >= 0 and number <= self._lasts[at]

    def __iter__(self) -> Iterator[tuple[int, int]]:
        """The ranges, ascending, both ends included."""
        return iter(list(zip(self._firsts, self._lasts, strict=True)))

    def __bool__(self) -> bool:
        return bool(self._firsts)

    def __len__(self) -> int:
        """How many numbers, not how many ranges."""
        return sum(self._lasts) - sum(self._firsts) + len(self._firsts)

    def add(self, first: int, last: int) -> None:
        """Take these numbers in, both ends included."""
        begin = bisect_left(self._lasts, first - 1)
        end = bisect_right(self._firsts, last + 1)
        if begin < end:
            first, last = min(first, self._firsts[begin]), max(last, self._lasts[end - 1])
        self._firsts[begin:end] = [first]
        self._lasts[begin:end] = [last]
        if self._most is not None and len(self._firsts) > self._most:
            del self._firsts[0], self._lasts[0]

    def remove(self, first: int, last: int) -> None:
        """Take these numbers out, where they are in."""
        begin = bisect_left(self._lasts, first)
        end = bisect_right(self._firsts, last)
        if begin >= end:
            return
        rest = [(self._firsts[begin], first - 1), (last + 1, self._lasts[end - 1])]
        rest = [(low, high) for low, high in rest if low <= high]
        self._firsts[begin:end] = [low for low, _ in rest]
        self._lasts[begin:end] = [high for _, high in rest]

    def within(self, first: int, last: int) -> list[tuple[int, int]]:
        """The ranges of what is in here and between these two, both included."""
        begin = bisect_left(self._lasts, first)
        end = bisect_right(self._firsts, last)
        return [(max(first, self._firsts[at]), min(last, self._lasts[at])) for at in range(begin, end)]
