"""Small stand-ins for what a laptop does not have: a camera, an inspector, time."""

from __future__ import annotations

import threading
from collections.abc import Iterable
from types import TracebackType

import numpy as np
from numpy.typing import NDArray

from edge_resad.decision import Region, Verdict
from edge_resad.device.frame import Clock, Frame


class FakeClock(Clock):
    """Time that passes only when somebody says so."""

    def __init__(self, now: float = 100.0) -> None:
        self.now = now

    def monotonic(self) -> float:
        return self.now

    def wall(self) -> float:
        return 1_700_000_000.0 + self.now


class FakeStop(threading.Event):
    """A stop event on which waiting takes no time but moves the clock."""

    def __init__(self, clock: FakeClock) -> None:
        super().__init__()
        self.waits: list[float] = []
        self._clock = clock

    def wait(self, timeout: float | None = None) -> bool:
        self.waits.append(timeout or 0.0)
        self._clock.now += timeout or 0.0
        return self.is_set()


def picture(brightness: int = 0) -> NDArray[np.uint8]:
    """A part whose brightness is all a FakeJudge looks at. (8, 8, 3) uint8, BGR."""
    return np.full((8, 8, 3), brightness, np.uint8)


def frame(frame_id: int = 0, brightness: int = 0, captured_mono: float = 0.0) -> Frame:
    return Frame(
        image=picture(brightness), frame_id=frame_id, captured_mono=captured_mono, captured_wall=1_700_000_000.0
    )


def verdict(score: float, threshold: float = 100.0) -> Verdict:
    """A verdict as an inspector gives it: one region where the part fails."""
    failed = score > threshold
    region = Region(box=(1, 2, 3, 4), area_px=12, peak=score, polygon=((1, 2), (4, 2), (4, 6), (1, 6)))
    return Verdict(
        status="fail" if failed else "pass", score=score, threshold=threshold, regions=(region,) if failed else ()
    )


class FakeJudge:
    """Takes a part's brightness for its score; above 100 it fails. 255 breaks the judge for that part."""

    def __init__(self) -> None:
        self.seen: list[int] = []  # brightness of every part, in order
        self.score_map = np.zeros((4, 4), np.float32)

    def __enter__(self) -> FakeJudge:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None, /
    ) -> None: ...

    def inspect(self, frame: NDArray[np.uint8], /) -> Verdict:
        brightness = int(frame[0, 0, 0])
        self.seen.append(brightness)
        if brightness == 255:
            raise RuntimeError("the judge has a headache")
        self.score_map[:] = brightness
        return verdict(float(brightness))


class FakeCamera:
    """Shows parts of the given brightness, stamped by the real clock. May hang at the end instead of ending."""

    unreadable = 0

    def __init__(self, brightnesses: Iterable[int], *, live: bool = False, hangs: bool = False) -> None:
        self.live = live
        self.opened = self.closed = False
        self.hanging = threading.Event()  # set once the camera hangs
        self.released = threading.Event()  # lets a camera that hangs go
        self._brightnesses = list(brightnesses)
        self._hangs = hangs
        self._taken = 0

    def __enter__(self) -> FakeCamera:
        self.opened = True
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None, /
    ) -> None:
        self.closed = True

    def read(self) -> Frame | None:
        if self._taken == len(self._brightnesses):
            if self._hangs:
                self.hanging.set()
                self.released.wait()
            return None
        clock, taken = Clock(), self._taken
        self._taken += 1
        return Frame(
            image=picture(self._brightnesses[taken]),
            frame_id=taken,
            captured_mono=clock.monotonic(),
            captured_wall=clock.wall(),
        )


class FakeDevice:
    """A V4L2 device that gives the given frames, then fails as an unplugged one does."""

    def __init__(self, frames: Iterable[NDArray[np.uint8]]) -> None:
        self.released = False
        self._frames = iter(list(frames))
        self._grabbed: NDArray[np.uint8] | None = None

    def grab(self) -> bool:
        self._grabbed = next(self._frames, None)
        return self._grabbed is not None

    def retrieve(self) -> tuple[bool, NDArray[np.uint8] | None]:
        return self._grabbed is not None, self._grabbed

    def release(self) -> None:
        self.released = True
