"""A belt on which parts pass a camera at a known rate, whether the camera sees them or not."""

from __future__ import annotations

import threading
import time
from bisect import bisect_right
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import cv2
import numpy as np
from numpy.typing import NDArray

from edge_resad.bench.line import Parts

Picture = NDArray[np.uint8]
Mood = Literal["well", "black", "white", "frozen", "blurred", "wrong size", "too dark", "too bright", "hangs", "gone"]
"""How a camera does."""

BAD_EVERY = 16  # of so many parts one is defective
BUFFERS = 4  # pictures that the driver keeps for one who comes late
POLL_S = 0.05  # how often a camera that waits for a part looks whether it is still wanted
_NOISE = np.random.default_rng(0)


@dataclass(frozen=True, kw_only=True)
class Seen:
    """A picture that a camera took."""

    mono: float  # monotonic seconds
    part: int
    is_true: bool  # whether it shows the part; a frozen one shows another


class Belt:
    """Parts by their number, from 0: part n is before the camera at `moment(n)`."""

    def __init__(self, parts: Parts, rate: float) -> None:
        """rate: parts a second."""
        self.ended_at: float | None = None
        self._parts = parts
        self._period = 1 / rate
        self._began = time.monotonic()

    def picture(self, part: int) -> Picture:
        """What a camera sees of a part."""
        is_bad = part % BAD_EVERY == BAD_EVERY - 1
        image = self._parts.bad if is_bad else self._parts.good[part % len(self._parts.good)]
        return noisy(image)

    def moment(self, part: int) -> float:
        """When a part is before the camera, monotonic seconds."""
        return self._began + part * self._period

    def next_after(self, mono: float) -> int:
        """The first part that is before the camera later than this."""
        return max(0, int((mono - self._began) / self._period) + 1)

    def end(self) -> None:
        """No part follows. Waits until the last one is well past the camera."""
        if self.ended_at is None:
            end = self.moment(self.next_after(time.monotonic())) + self._period / 2
            time.sleep(end - time.monotonic())
            self.ended_at = end

    @property
    def shown(self) -> int:
        """How many parts have passed the camera."""
        return self.next_after(self.ended_at if self.ended_at is not None else time.monotonic())


class BeltCamera:
    """A camera above a belt, as the system's driver hands it over; its mood is what is wrong with it."""

    def __init__(self, belt: Belt) -> None:
        self.seen: list[Seen] = []
        self.mood: Mood = "well"
        self.is_stuck = False  # whether it hangs even when it is opened anew
        self._belt = belt
        self._held: Picture | None = None  # what a frozen camera shows
        self._released = threading.Event()

    def hang(self, *, opened_anew_too: bool) -> None:
        """Return from no read any more, until it is released."""
        self._released.clear()
        self.is_stuck, self.mood = opened_anew_too, "hangs"

    def opened(self, halt: threading.Event) -> Callable[[], BeltDevice]:
        """What opens it, for one reader."""
        return lambda: BeltDevice(self, self._belt, halt)

    def release(self) -> None:
        """Let every read that hangs return."""
        self._released.set()

    def wait_released(self) -> None:
        """Hang."""
        self._released.wait()

    def take(self, part: int) -> Picture:
        """A picture of a part, as the camera's mood makes it."""
        frozen = self._held if self.mood == "frozen" else None
        self.seen.append(Seen(mono=time.monotonic(), part=part, is_true=frozen is None))
        if frozen is not None:
            return frozen
        self._held = _as(self.mood, self._belt.picture(part))
        return self._held

    def part_of(self, captured_mono: float) -> Seen | None:
        """The picture that was taken last before a moment."""
        at = bisect_right(self.seen, captured_mono, key=lambda seen: seen.mono)
        return self.seen[at - 1] if at else None


class BeltDevice:
    """One opening of the camera."""

    def __init__(self, camera: BeltCamera, belt: Belt, halt: threading.Event) -> None:
        self._camera = camera
        self._belt = belt
        self._halt = halt
        self._was_opened_ill = camera.mood == "hangs"
        self._image: Picture | None = None
        self._next = belt.next_after(time.monotonic())  # part

    def grab(self) -> bool:
        """Wait for the next part; who comes late finds the last pictures in the driver's buffers."""
        camera, belt = self._camera, self._belt
        while not self._halt.is_set() and camera.mood != "gone":
            if camera.mood == "hangs" and (camera.is_stuck or not self._was_opened_ill):
                camera.wait_released()
                self._next = belt.next_after(time.monotonic())
                continue
            now = time.monotonic()
            wait_s = belt.moment(self._next) - now
            if wait_s <= 0 and (belt.ended_at is None or self._next < belt.shown):
                part = max(self._next, belt.next_after(now) - BUFFERS)
                self._next = part + 1
                self._image = camera.take(part)
                return True
            time.sleep(min(max(wait_s, 0.005), POLL_S))
        return False

    def retrieve(self) -> tuple[bool, Picture | None]:
        """The picture."""
        return self._image is not None, self._image

    def release(self) -> None:
        """Nothing is held."""


def noisy(image: Picture) -> Picture:
    """As a sensor sees it: no two pictures are the same."""
    noise = _NOISE.integers(0, 3, image.shape, dtype=np.uint8)
    return np.asarray(cv2.add(image, noise), np.uint8)


def _as(mood: Mood, image: Picture) -> Picture:
    if mood == "black":
        return noisy(np.zeros_like(image))
    if mood == "white":
        return np.full_like(image, 255) - noisy(np.zeros_like(image))
    if mood == "too dark":
        return noisy(image // 16)
    if mood == "too bright":
        return np.asarray(240 + image // 28 + noisy(np.zeros_like(image)), np.uint8)
    if mood == "blurred":
        return np.asarray(cv2.GaussianBlur(image, (0, 0), 4), np.uint8)
    if mood == "wrong size":
        return np.ascontiguousarray(image[: image.shape[0] // 2])
    return image
