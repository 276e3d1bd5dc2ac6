"""Parts that never came to the inspection: counted by why, and when each was there until somebody asks."""

from __future__ import annotations

import threading
from collections import Counter, deque
from collections.abc import Iterable
from itertools import chain, repeat

from edge_resad.device.pipeline import Reason

MOST_MOMENTS = 1000  # of parts that nobody has asked for yet

MissedPart = tuple[Reason, float]
"""Why a part never came to the inspection, and when it was there, seconds of the monotonic clock."""


class Unseen:
    """The parts that a camera or a place where parts wait has lost. From any thread.

    Of more than `most` parts between two questions the oldest are merged, for their moments are over first: they are
    told as if all of them had been there when the last of them was.
    """

    def __init__(self, most: int = MOST_MOMENTS) -> None:
        self.counts: Counter[Reason] = Counter()
        self._most = most
        self._lock = threading.Lock()
        self._untold: deque[MissedPart] = deque()
        self._merged: Counter[Reason] = Counter()  # the oldest
        self._merged_at = 0.0

    def add(self, reason: Reason, at: float) -> None:
        """One more part. at: when it was there, seconds of the monotonic clock."""
        with self._lock:
            self.counts[reason] += 1
            self._untold.append((reason, at))
            if len(self._untold) > self._most:
                oldest, self._merged_at = self._untold.popleft()
                self._merged[oldest] += 1

    def take(self) -> Iterable[MissedPart]:
        """The parts that were added since this was last asked, each once, in the order in which they were lost."""
        with self._lock:
            untold, self._untold = self._untold, deque()
            merged, self._merged = self._merged, Counter()
            at = self._merged_at
        return chain(((reason, at) for reason, count in merged.items() for _ in repeat(None, count)), untold)
