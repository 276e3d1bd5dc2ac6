"""A ration: so many a minute are said of what others may send without end, and of the rest nothing."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable


class Ration:
    """Allows so much within each minute. For any thread."""

    def __init__(self, most: int, clock: Callable[[], float] = time.monotonic) -> None:
        """most: within a minute."""
        self._most = most
        self._clock = clock
        self._lock = threading.Lock()
        self._said_at: deque[float] = deque()

    def take(self) -> bool:
        """Whether one more may be said now, which is then one of them."""
        now = self._clock()
        with self._lock:
            while self._said_at and now - self._said_at[0] >= 60.0:
                self._said_at.popleft()
            if len(self._said_at) >= self._most:
                return False
            self._said_at.append(now)
        return True
