"""A line whose parts were drawn beforehand, so that drawing costs nothing while it is measured."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass
from types import TracebackType

import cv2
import numpy as np
from numpy.typing import NDArray

from edge_resad.device.camera import Frame, Products
from edge_resad.device.frame import Clock, Pace

Picture = NDArray[np.uint8]
"""(H, W, 3) uint8, BGR."""

DRAWN_PX = (256, 512)  # least and largest side of a drawn part; other frames are scaled from it
GOOD = 8  # good parts, shown in turn
BAD_EVERY = 32  # of so many parts one is defective
POLL_S = 0.1  # how often a line that waits for a verdict looks whether it should stop


@dataclass(frozen=True, kw_only=True, eq=False)
class Parts:
    """Parts of one product, all of one size."""

    references: tuple[Picture, ...]
    good: tuple[Picture, ...]
    bad: Picture

    def __getitem__(self, number: int) -> Picture:
        """The part of this number: one of every 32 is defective."""
        return self.bad if number % BAD_EVERY == BAD_EVERY - 1 else self.good[number % len(self.good)]


def draw_parts(products: Products, family: str, size: tuple[int, int], *, references: int = 4) -> Parts:
    """Draw what a bench shows. size: width and height of the frames, pixels."""
    least, largest = DRAWN_PX
    side = max(least, min(*size, largest))

    how = cv2.INTER_AREA if max(size) < side else cv2.INTER_LINEAR

    def drawn(seed: int, defect: str | None = None) -> Picture:
        image = products.draw(family, seed, size=side, defect=defect, severity=3).image
        return np.asarray(cv2.resize(image, size, interpolation=how), np.uint8)

    return Parts(
        references=tuple(drawn(seed) for seed in range(references)),
        good=tuple(drawn(100 + seed) for seed in range(GOOD)),
        bad=drawn(200, products.DEFECTS[0]),
    )


class PreparedLine:
    """Shows parts at a rate or a pace, as a live camera does, or without one each as soon as one before is done.

    The end comes after so many parts, or after so many seconds.
    """

    unreadable = 0

    def __init__(
        self,
        parts: Parts | Sequence[Picture],
        halt: threading.Event,
        *,
        rate: float | None = None,  # parts per second
        pace: Pace | None = None,  # instead of a rate, where when parts come is not the line's own affair
        frames: int | None = None,
        seconds: float | None = None,
        waiting: int = 0,
        clock: Clock | None = None,
    ) -> None:
        """waiting: parts that may come, where there is no rate, while one is judged."""
        self.live = rate is not None or pace is not None
        self._parts = parts
        self._halt = halt
        self._frames = frames
        self._seconds = seconds
        self._clock = clock or Clock()
        self._pace = pace or Pace(rate, halt, self._clock)
        self._free = threading.Semaphore(1 + waiting)  # places for parts that nobody has judged yet
        self._began: float | None = None
        self._taken = 0

    def __enter__(self) -> PreparedLine:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None, /
    ) -> None: ...

    def done(self) -> None:
        """Say that a part was judged, so that the next one may come."""
        self._free.release()

    def read(self) -> Frame | None:
        if not (self._pace.wait() if self.live else self._has_room()):
            return None
        now = self._clock.monotonic()
        self._began = now if self._began is None else self._began
        if self._taken == self._frames or (self._seconds is not None and now - self._began >= self._seconds):
            return None
        frame_id = self._taken
        self._taken += 1
        return Frame(
            image=self._parts[frame_id], frame_id=frame_id, captured_mono=now, captured_wall=self._clock.wall()
        )

    def _has_room(self) -> bool:
        while not self._free.acquire(timeout=POLL_S):
            if self._halt.is_set():
                return False
        return not self._halt.is_set()
