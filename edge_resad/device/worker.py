"""A thread that begins its work anew when an error ends it, with growing pauses, and says why."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable

from edge_resad.device.link import Backoff

log = logging.getLogger(__name__)

FIRST_PAUSE_S, LONGEST_PAUSE_S = 1.0, 60.0


class Worker(threading.Thread):
    """Runs until its work returns. What it does not catch itself is logged and costs it a pause, never its life."""

    def __init__(
        self, work: Callable[[], None], *, name: str, closing: threading.Event, first_pause_s: float = FIRST_PAUSE_S
    ) -> None:
        """closing: set when nobody wants it any more; then it begins once more at the most."""
        super().__init__(name=name, daemon=True)
        self.restarts = 0
        self._work = work
        self._closing = closing
        self._backoff = Backoff(first_pause_s, LONGEST_PAUSE_S)

    def run(self) -> None:
        """What the thread does."""
        while True:
            began, last = time.monotonic(), self._closing.is_set()
            try:
                self._work()
                return
            except Exception:
                if time.monotonic() - began > LONGEST_PAUSE_S:
                    self._backoff.reset()
                pause_s = self._backoff.next()
                if last:
                    log.exception("the thread of the %s died while it was closed", self.name)
                    return
                log.exception("the thread of the %s died; it begins anew after %.0f s", self.name, pause_s)
                self.restarts += 1
                self._closing.wait(pause_s)
