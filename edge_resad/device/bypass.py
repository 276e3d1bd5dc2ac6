"""The bypass: a person lets parts go by without inspection, and says why."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

log = logging.getLogger(__name__)

LONGEST_REASON = 200  # letters


@dataclass(frozen=True, kw_only=True)
class Bypassed:
    """Why and since when parts are not inspected."""

    reason: str
    since: float  # seconds since 1970


class Bypass:
    """Whether parts go by. It ends when somebody says so or the station ends: a new start inspects."""

    def __init__(
        self, say: Callable[[Bypassed | None], None] | None = None, wall: Callable[[], float] = time.time
    ) -> None:
        """say: who tells the fleet."""
        self._now: Bypassed | None = None
        self._lock = threading.Lock()  # what is said last is what holds, whoever else begins or ends it
        self._say = say
        self._wall = wall

    @property
    def now(self) -> Bypassed | None:
        """None while parts are inspected. From any thread."""
        return self._now

    def begin(self, reason: str) -> Bypassed:
        """Inspect no more parts until `end`; each is counted and said as not inspected (`bypassed`)."""
        with self._lock:
            bypassed = self._now = Bypassed(reason=reason, since=self._wall())
            log.warning("bypass: parts are not inspected from now on. Reason: %s", reason)
            if self._say is not None:
                self._say(bypassed)
            return bypassed

    def end(self) -> bool:
        """Inspect again; whether there was a bypass to end."""
        with self._lock:
            was, self._now = self._now, None
            if was is not None:
                log.warning("the bypass ends, parts are inspected again. It was for: %s", was.reason)
                if self._say is not None:
                    self._say(None)
            return was is not None
