"""When cameras take their pictures and when triggers fire: at random, or so long before a picture."""

from __future__ import annotations

import math
import random
import threading
from collections.abc import Iterator

from edge_resad.device.frame import Clock, Pace


class InStep(Pace):
    """Lets cameras of one rate go on at the same moments: at whole multiples of their period."""

    def __init__(self, fps: float, stop: threading.Event, clock: Clock) -> None:
        super().__init__(fps, stop, clock)
        self._tick = -1  # of the last picture

    def wait(self) -> bool:
        """Wait until the next picture is due; False where the camera was told to stop. Late pictures are left out."""
        now = self._clock.monotonic()
        self._tick = max(math.floor(now / self._period), self._tick) + 1
        self._stop.wait(self._tick * self._period - now)
        return not self._stop.is_set()


def at_random(now: float, rate: float, dice: random.Random) -> Iterator[float]:
    """Moments from now on, so many a second, each whenever it likes. now: monotonic seconds."""
    while True:
        now += dice.expovariate(rate)
        yield now


def before_pictures(now: float, rate: float, dice: random.Random, *, fps: float, lead_s: float) -> Iterator[float]:
    """Moments that are so long before a picture of cameras in step; two or more pictures from one to the next."""
    tick = math.ceil((now + lead_s) * fps)
    most = max(2, round(2 * fps / rate) - 2)
    while True:
        tick += dice.randint(2, most)
        yield tick / fps - lead_s
