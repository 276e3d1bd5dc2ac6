"""One picture of one part, and what every camera promises about it."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass, replace
from types import TracebackType
from typing import Literal, Protocol

import numpy as np
from numpy.typing import NDArray

FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.5, 10.0
"""How long to wait before looking for a camera that has gone: doubles from the first to the longest."""

Missed = Literal["no_picture", "backlog"]
"""Why a part that was announced reaches the inspection without a picture."""

NO_ID = -1  # of a part that the camera gave no frame of
_NO_IMAGE: NDArray[np.uint8] = np.zeros((0, 0, 3), np.uint8)


@dataclass(frozen=True, kw_only=True, eq=False)
class Truth:
    """What is really wrong with a part; known for drawn parts only."""

    defect: str | None  # kind of defect, None for a good part
    mask: NDArray[np.bool_] | None  # (H, W) True on the defect


@dataclass(frozen=True, kw_only=True, eq=False)
class Frame:
    """One picture of one part; or a part without a picture, which nobody can judge."""

    image: NDArray[np.uint8]  # (H, W, 3) BGR; (0, 0, 3) where `missed` says why there is none
    frame_id: int  # counts every part of this source from 0, unreadable ones too; NO_ID where no frame came
    captured_mono: float  # seconds of the monotonic clock; of the trigger where no frame came
    captured_wall: float  # seconds since 1970
    name: str | None = None  # the file it came from
    truth: Truth | None = None
    triggered_mono: float | None = None  # when a trigger said that the part is there
    missed: Missed | None = None

    @property
    def there_mono(self) -> float:
        """When the part was there, from which signals to the line count: its trigger, or its picture."""
        return self.captured_mono if self.triggered_mono is None else self.triggered_mono

    def without_picture(self, missed: Missed) -> Frame:
        """The same part, its picture given up."""
        return replace(self, image=_NO_IMAGE, truth=None, missed=missed)

    @staticmethod
    def never_taken(triggered_mono: float, triggered_wall: float) -> Frame:
        """A part that a trigger announced and no frame showed."""
        return Frame(
            image=_NO_IMAGE,
            frame_id=NO_ID,
            captured_mono=triggered_mono,
            captured_wall=triggered_wall,
            triggered_mono=triggered_mono,
            missed="no_picture",
        )


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
