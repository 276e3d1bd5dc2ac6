"""Telegrams: what is worth saying only now, and never written to the disk."""

from __future__ import annotations

import threading
import time
from collections import deque
from dataclasses import dataclass, field
from math import ceil

from edge_resad.messages import JSON_TYPE


@dataclass(frozen=True, kw_only=True)
class Telegram:
    """A message that may be lost: telemetry, the answer to a command, a state that is said again."""

    topic: str
    payload: bytes
    short: bytes | None = None  # goes in its place where the broker takes no message so large
    qos: int = 0  # 1: sent again on the next connection where the broker did not answer
    retain: bool = False
    expiry_s: float | None = None  # not sent later than this, and forgotten by the broker then
    content_type: str = JSON_TYPE
    correlation: bytes | None = None
    user: tuple[tuple[str, str], ...] = ()
    written_mono: float = field(default_factory=time.monotonic)

    def left_s(self, now: float) -> int | None:
        """Seconds that it is still worth something; None for ever. now: monotonic seconds."""
        if self.expiry_s is None:
            return None
        age_s = max(0.0, now - self.written_mono)
        return max(0, ceil(self.expiry_s - age_s))


class Telegrams:
    """Telegrams that wait for a connection: the newest ones, a bounded number."""

    def __init__(self, most: int = 256) -> None:
        self._lock = threading.Lock()
        self._waiting: deque[Telegram] = deque(maxlen=most)

    def put(self, telegram: Telegram) -> None:
        """Take one; where there are too many the oldest is forgotten. From any thread."""
        with self._lock:
            self._waiting.append(telegram)

    def take(self, now: float) -> Telegram | None:
        """The next that is still worth something."""
        with self._lock:
            while self._waiting:
                telegram = self._waiting.popleft()
                if telegram.left_s(now) != 0:
                    return telegram
        return None

    def give_back(self, telegrams: list[Telegram]) -> None:
        """These were not answered: they go first on the next connection, as far as there is room."""
        with self._lock:
            room = (self._waiting.maxlen or 0) - len(self._waiting)
            self._waiting.extendleft(reversed(telegrams[:room]))
