"""How long something took, however often it happened: a histogram of durations that never grows."""

from __future__ import annotations

import math
from array import array
from collections.abc import Iterator

import numpy as np

_STEPS_BITS = 6
_STEPS = 1 << _STEPS_BITS  # buckets for each doubling: a bucket is at most 1/64 of its values wide
TOP_S = 60.0  # what takes longer is counted as this; the longest is kept exactly
_TOP_NS = round(TOP_S * 1e9)


class Histogram:
    """Counts durations in buckets that widen with them, as HdrHistogram does: log-linear, 15.6 KiB in all.

    A percentile is that of the exact values within 0.8 % or 1 ns, from 1 us (and below) to 60 s; the least, the most
    and the sum are exact. `record` keeps nothing but counts. One thread records; others may ask meanwhile.
    """

    __slots__ = ("_counts", "least_s", "most_s", "sum_s")

    def __init__(self) -> None:
        self._counts = array("Q", bytes(8 * (_index(_TOP_NS) + 1)))
        self.clear()

    def clear(self) -> None:
        """Begin anew."""
        self._counts[:] = array("Q", bytes(8 * len(self._counts)))
        self.least_s = math.inf
        self.most_s = 0.0
        self.sum_s = 0.0

    def record(self, seconds: float) -> None:
        """Count one duration; a negative one, of a clock that jumped, as 0."""
        seconds = max(seconds, 0.0)
        self._counts[_index(min(int(seconds * 1e9), _TOP_NS))] += 1
        self.sum_s += seconds
        if seconds > self.most_s:
            self.most_s = seconds
        if seconds < self.least_s:
            self.least_s = seconds

    def merge(self, other: Histogram) -> None:
        """Count everything that the other one has counted."""
        counts = np.frombuffer(self._counts, np.uint64)
        counts += np.frombuffer(other._counts, np.uint64)
        self.sum_s += other.sum_s
        self.most_s = max(self.most_s, other.most_s)
        self.least_s = min(self.least_s, other.least_s)

    @property
    def count(self) -> int:
        """How many durations there were."""
        return sum(self._counts)

    def percentile_s(self, percent: float) -> float | None:
        """The shortest duration that so many percent do not exceed, seconds; None where there was none."""
        counts = self._counts[:]  # of one moment, though another thread records
        rank = max(1, math.ceil(sum(counts) * percent / 100))
        for index, count in enumerate(counts):
            rank -= count
            if count and rank <= 0:
                return min(max(_middle_s(index), self.least_s), self.most_s)
        return self.most_s if any(counts) else None

    def up_to(self, seconds: float) -> int:
        """How many durations were no longer than this, give or take those in the bucket where it lies."""
        return sum(count for middle, count in self.buckets() if middle <= seconds)

    def buckets(self) -> Iterator[tuple[float, int]]:
        """The middle (seconds) of every bucket that is not empty, and how many durations are in it."""
        for index, count in enumerate(self._counts[:]):
            if count:
                yield _middle_s(index), count


def _index(ns: int) -> int:
    """The bucket of a duration: its first seven binary digits, and how many digits follow."""
    shift = max(0, ns.bit_length() - _STEPS_BITS - 1)
    return (shift << _STEPS_BITS) + (ns >> shift)


def _middle_s(index: int) -> float:
    shift = max(0, (index >> _STEPS_BITS) - 1)
    lowest = (index - (shift << _STEPS_BITS)) << shift
    return (lowest + ((1 << shift) - 1) / 2) * 1e-9
