"""What a part allocates, and what of it stays."""

from __future__ import annotations

import gc
import sys
import time
import tracemalloc
import weakref
from array import array
from collections.abc import Callable
from dataclasses import dataclass
from statistics import median, median_low
from types import TracebackType
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

ROUND = 32  # parts: each round shows the same ones
ROUNDS = 4  # after one that is not counted
REST_S = 0.5  # so long nothing is given back any more: a commit to the disk was waited for
REST_MOST_S = 10.0
LETTER_BYTES = 512  # less than any part's message


class Shown(Protocol):
    """Parts by their number."""

    def __getitem__(self, number: int, /) -> NDArray[np.uint8]: ...


class Judging(Protocol):
    """An inspector."""

    def inspect(self, frame: NDArray[np.uint8], /) -> object: ...


@dataclass(frozen=True, kw_only=True)
class Allocation:
    """Per part, of Python's and NumPy's memory."""

    kept_bytes: float  # more with every part: 0 where nothing grows
    temporary_bytes: float  # at most at a time, given back before the next part; median


class AllocationMeter:
    """While the context lasts, counts what parts allocate, round by round. Nothing else may run in this process.

    What is kept is that of a round of the middle, of two the one that kept less: what grows with every part grows in
    every round, and what some cache keeps once for all does not.
    """

    def __init__(
        self, *, parts_a_round: int = ROUND, rounds: int = ROUNDS, rest: Callable[[], None] = lambda: None
    ) -> None:
        """rest: waits until nobody holds anything for a moment only; between two rounds."""
        self._rest = rest
        self.parts = parts_a_round * (1 + rounds)
        """How many it must be told of."""
        self._round = parts_a_round
        self._peaks = array("q", bytes(8 * self.parts))  # holds no objects
        self._levels = array("q", bytes(8 * (2 + rounds)))
        self._done = 0
        self._before = 0

    def __enter__(self) -> AllocationMeter:
        tracemalloc.start()
        self._begin()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None, /
    ) -> None:
        tracemalloc.stop()

    def done(self) -> None:
        """Say that a part is done, and the next one not begun."""
        if self._done == self.parts:
            return
        self._peaks[self._done] = tracemalloc.get_traced_memory()[1] - self._before
        self._done += 1
        self._begin()

    @property
    def found(self) -> Allocation:
        """What all parts after the first round allocated. To be asked when they are done."""
        if self._done < self.parts:
            raise ValueError(f"{self._done} parts were done, expected {self.parts}")
        kept = [end - start for start, end in zip(self._levels[1:], self._levels[2:], strict=False)]
        return Allocation(
            kept_bytes=max(0.0, median_low(kept) / self._round),
            temporary_bytes=float(median(self._peaks[self._round :])),
        )

    def _begin(self) -> None:
        if self._done % self._round == 0:
            self._rest()
            gc.collect()
            self._levels[self._done // self._round] = _held()
        self._before = tracemalloc.get_traced_memory()[0]
        tracemalloc.reset_peak()


def _held() -> int:
    """Bytes that are in use: without dead weak references, of which sqlite3 lets go by the two hundred."""
    dead = [one for one in gc.get_objects() if type(one) is weakref.ref and one() is None]
    size = sum(map(sys.getsizeof, dead)) + sys.getsizeof(dead)
    return tracemalloc.get_traced_memory()[0] - size


def rest() -> None:
    """Wait until other threads have given back what waited for them, such as messages for the disk."""
    now = time.monotonic()
    end, since, least = now + REST_MOST_S, now, tracemalloc.get_traced_memory()[0]
    while now < end and now - since < REST_S:
        time.sleep(0.02)
        now, level = time.monotonic(), tracemalloc.get_traced_memory()[0]
        if level < least - LETTER_BYTES:
            since, least = now, level


def allocation(judge: Judging, parts: Shown, *, parts_a_round: int = ROUND, rounds: int = ROUNDS) -> Allocation:
    """What an inspector allocates for parts, each of a round again and again."""
    with AllocationMeter(parts_a_round=parts_a_round, rounds=rounds) as meter:
        for number in range(meter.parts):
            judge.inspect(parts[number % parts_a_round])
            meter.done()
    return meter.found
