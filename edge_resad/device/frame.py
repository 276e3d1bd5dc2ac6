"""One picture of one part, and what every camera promises about it."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass
from types import TracebackType
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.5, 10.0
"""How long to wait before looking for a camera that has gone: doubles from the first to the longest."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Truth:
    """What is really wrong with a part; known for drawn parts only."""

    defect: str | None  # kind of defect, None for a good part
    mask: NDArray[np.bool_] | None  # (H, W) True on the defect


@dataclass(frozen=True, kw_only=True, eq=False)
class Frame:
    """One picture of one part."""

    image: NDArray[np.uint8]  # (H, W, 3) BGR
    frame_id: int  # counts every part of this source from 0, unreadable ones too
    captured_mono: float  # seconds of the monotonic clock
    captured_wall: float  # seconds since 1970
    name: str | None = None  # the file it came from
    truth: Truth | None = None


class FrameSource(Protocol):
    """A camera, or what stands in for one. A context manager, read by one thread."""

    @property
    def live(self) -> bool:
        """True: parts pass by and an old frame is worthless. False: a backlog, every frame waits for its turn."""

    @property
    def unreadable(self) -> int:
        """How many parts there were without a picture that could be read."""

    def __enter__(self) -> FrameSource: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None, /
    ) -> None: ...

    def read(self) -> Frame | None:
        """Wait for the next part; None at the end of a finite source, or when told to stop."""


class Clock:
    """The two clocks a frame is stamped with."""

    def monotonic(self) -> float:
        """Seconds that never jump: for ages and latencies."""
        return time.monotonic()

    def wall(self) -> float:
        """Seconds since 1970, as far as this device knows."""
        return time.time()


class Pace:
    """Lets a source go on at most `fps` times a second; without `fps` it never waits."""

    def __init__(self, fps: float | None, stop: threading.Event, clock: Clock) -> None:
        self._period = 1 / fps if fps else 0.0
        self._stop = stop
        self._clock = clock
        self._due: float | None = None

    def wait(self) -> bool:
        """Wait until the next frame is due; False where the source was told to stop."""
        now = self._clock.monotonic()
        if self._due is None or now > self._due + self._period:  # late by a frame: begin anew, do not rush
            self._due = now
        if self._due > now:
            self._stop.wait(self._due - now)
        self._due += self._period
        return not self._stop.is_set()
