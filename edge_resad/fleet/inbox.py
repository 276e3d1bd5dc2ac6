"""The inbox: what the broker handed over and the store does not have yet."""

from __future__ import annotations

import threading
import time
from collections import deque

from edge_resad.fleet.reading import Arrival


class Inbox:
    """Filled by the connection's thread, emptied by the one that stores.

    What wants an acknowledgement is bounded by the broker, which sends no more than we said; the rest is bounded here.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._changed = threading.Condition()
        self._waiting: deque[Arrival] = deque()
        self.dropped = 0  # messages with QoS 0 for which there was no room

    def put(self, arrival: Arrival) -> None:
        """Add what arrived; without room, what nobody waits for is dropped."""
        with self._changed:
            if arrival.qos == 0 and len(self._waiting) >= self._most:
                self.dropped += 1
                return
            self._waiting.append(arrival)
            self._changed.notify()

    def take(self, most: int, *, gather_s: float, patience_s: float) -> list[Arrival]:
        """Up to `most` messages: wait `patience_s` for the first one, then `gather_s` for more.

        A quarter of that without one is the end: a broker that sends few ahead sends no more before these are answered.
        """
        with self._changed:
            self._changed.wait_for(lambda: self._waiting, patience_s)
            if not self._waiting:
                return []
            until = time.monotonic() + gather_s
            while len(self._waiting) < most and (left := until - time.monotonic()) > 0:
                if not self._changed.wait(min(left, gather_s / 4)):
                    break
            return [self._waiting.popleft() for _ in range(min(most, len(self._waiting)))]

    def begin(self) -> None:
        """A new connection: what came by the last one and was not acknowledged comes again, so it need not wait here.

        Without this a store that is away and a connection that comes and goes would fill the memory.
        """
        with self._changed:
            self._waiting = deque(arrival for arrival in self._waiting if arrival.qos == 0)
