"""Where a belt was at which moment: an encoder's counts over time, for pictures that were taken a moment ago."""

from __future__ import annotations

import bisect
import threading
from collections import deque

SAMPLES = 8192
SPACING_S = 0.001  # of samples that are kept: a belt does not jump in between


class Track:
    """Counts over time, as far back as pictures are judged. Unwraps a counter that begins anew at its size.

    It belongs to one counter that is open. Counts of another have nothing to do with these: whoever holds some compares
    the track that they are of. Added to by one thread, asked by any.
    """

    def __init__(self, size: int) -> None:
        """size: the raw counter goes from size - 1 to 0."""
        self.count: int | None = None  # newest; begins at 0, whatever the counter says
        self._size = size
        self._raw = 0
        self._began_at = 0.0
        self._samples: deque[tuple[float, int]] = deque(maxlen=SAMPLES)
        self._lock = threading.Lock()  # for the few steps of a look into it

    def add(self, mono: float, raw: int) -> None:
        """The counter said `raw` at `mono`, seconds of the monotonic clock. Half of its size or more is backwards."""
        with self._lock:
            if self.count is None:
                self.count, self._began_at = 0, mono
            else:
                step = (raw - self._raw) % self._size
                self.count += step - self._size if step >= self._size // 2 else step
            self._raw = raw
            if not self._samples or mono - self._samples[-1][0] >= SPACING_S:
                self._samples.append((mono, self.count))

    def at(self, mono: float) -> int | None:
        """The count at a moment; between two samples in proportion. None before the first that there was."""
        with self._lock:
            if self.count is None or mono < self._began_at:
                return None
            after = bisect.bisect_right(self._samples, mono, key=lambda sample: sample[0])
            if after == len(self._samples):
                return self.count
            if after == 0:
                return self._samples[0][1]
            (begin, low), (end, high) = self._samples[after - 1], self._samples[after]
            return low + int((high - low) * (mono - begin) / (end - begin))
