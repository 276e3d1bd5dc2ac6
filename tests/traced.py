"""What a piece of work takes of Python's and NumPy's memory, and what it leaves behind."""

from __future__ import annotations

import gc
import tracemalloc
from collections.abc import Callable

ROUNDS = 3


def traced(work: Callable[[int], object], times: int) -> tuple[int, int]:
    """Bytes that one call takes at most, and that all of them leave behind: the least of some rounds.

    Of one round alone it may be something else: a worker of pytest-xdist is handed its next tests at any time.
    """
    rounds = [_round(work, times) for _ in range(ROUNDS)]
    return min(most for most, _ in rounds), min(left for _, left in rounds)


def _round(work: Callable[[int], object], times: int) -> tuple[int, int]:
    tracemalloc.start()
    try:
        work(0)
        gc.collect()
        start = tracemalloc.get_traced_memory()[0]
        most = 0  # not a list: what we keep would count as well
        for index in range(times):
            tracemalloc.reset_peak()
            before = tracemalloc.get_traced_memory()[0]
            work(index)
            most = max(most, tracemalloc.get_traced_memory()[1] - before)
        gc.collect()
        return most, tracemalloc.get_traced_memory()[0] - start
    finally:
        tracemalloc.stop()
