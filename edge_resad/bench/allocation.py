"""What the inspection of a part allocates, and what of it stays."""

from __future__ import annotations

import gc
import tracemalloc
from array import array
from dataclasses import dataclass
from statistics import median
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

ROUND = 32  # parts: each round shows the same ones
ROUNDS = 4  # after one that is not counted


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
    temporary_bytes: float  # at most at a time, given back before the verdict is there; median


def allocation(judge: Judging, parts: Shown, *, parts_a_round: int = ROUND, rounds: int = ROUNDS) -> Allocation:
    """Count what parts allocate, round by round. Nothing else may run in this process meanwhile.

    What is kept is that of the round that kept least: what grows with every part grows in every round, and what some
    cache keeps once for all does not.
    """
    peaks = array("q", bytes(8 * parts_a_round))  # holds no objects
    kept = array("q", bytes(8 * (1 + rounds)))
    tracemalloc.start()
    try:
        for turn in range(1 + rounds):
            gc.collect()
            start, _ = tracemalloc.get_traced_memory()
            for number in range(parts_a_round):
                before, _ = tracemalloc.get_traced_memory()
                tracemalloc.reset_peak()
                judge.inspect(parts[number])
                peaks[number] = tracemalloc.get_traced_memory()[1] - before
            gc.collect()
            kept[turn] = tracemalloc.get_traced_memory()[0] - start
    finally:
        tracemalloc.stop()
    return Allocation(
        kept_bytes=max(0.0, min(kept[1:]) / parts_a_round),
        temporary_bytes=float(median(peaks)),
    )
