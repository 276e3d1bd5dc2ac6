"""The part that waits next is made ready for the network while the engine computes the one before."""

from __future__ import annotations

import threading
from collections.abc import Callable
from types import TracebackType

from edge_resad.device.frame import Frame
from edge_resad.device.worker import Worker

LEAVE_S = 0.2  # how long a part may take when the station stops


class Preparer:
    """A thread that scales ahead of the line's. It works only while a part is being judged and another one waits.

    Nobody waits for it but the line, and that only for the very part that it has begun.
    """

    def __init__(
        self, coming: Callable[[], tuple[int, Frame] | None], make_ready: Callable[[int, Frame], None]
    ) -> None:
        """coming: the frame whose turn comes next, as far as is known now, and its camera's number.

        make_ready: makes it ready, where that is not done yet.
        """
        self._coming = coming
        self._make_ready = make_ready
        self._is_judging = False
        self._closing = threading.Event()
        self._news = threading.Event()
        self._thread = Worker(self._work, name="preparer", closing=self._closing)

    def __enter__(self) -> Preparer:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None, /
    ) -> None:
        self._closing.set()
        self._news.set()
        self._thread.join(LEAVE_S)

    def judging(self, is_judging: bool) -> None:
        """Say that the line begins with a part, or is done with it. Belongs to the line's thread."""
        self._is_judging = is_judging
        if is_judging and self._coming() is not None:
            self._news.set()

    def arrived(self) -> None:
        """Say that a camera gave a frame. From any thread; where the line is free it takes the frame itself."""
        if self._is_judging:
            self._news.set()

    def _work(self) -> None:
        while True:
            self._news.wait()
            self._news.clear()
            if self._closing.is_set():
                return
            if self._is_judging:
                self._step()

    def _step(self) -> None:
        """Make one part ready. Not in the loop: it would keep the frame while it waits for the next one."""
        found = self._coming()
        if found is not None:
            self._make_ready(*found)
