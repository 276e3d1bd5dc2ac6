"""What a place looks like when nothing is there: learns its light and its noise, and shows what differs."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

LONG_SIDE = 160  # pixels to which a picture is made smaller: enough for where a part is, and noise averages out
LEARN_FRAMES = 16  # pictures of the empty place at the beginning
LEARN_EVERY = 6  # when learning anew, one picture of so many: parts that pass meanwhile are in few of them
LEAST_LEVELS = 10.0  # grey levels; what differs less is no part, however quiet the place is
DEVIATIONS = 5.0  # times the mean deviation that a pixel has by itself, about four sigma
RATE = 0.02  # of a new picture in what is remembered, where nothing is there
SAME_LIGHT = 0.08  # pixels of the empty place get brighter together within so much, or it was not the light
AGREEING = 0.7  # share of them that must
RESTORED = 0.8  # of what differs must look as the place did earlier, and it must be
MOST = 0.6  # of the place, to be the earlier light again and not a part of its colour
SAMPLE = 7  # every so many-th pixel is asked for the light


class Backdrop:
    """The empty place, pixel by pixel; follows the light, and can learn another one without forgetting the first.

    Its buffers are made once. Pictures are (h, w, 3) uint8 of one size, `small` makes them.
    """

    def __init__(self, height: int, width: int) -> None:
        """height, width: of the part of the camera's picture that is watched, pixels."""
        scale = min(1.0, LONG_SIDE / max(height, width))
        self.height, self.width = max(8, round(height * scale)), max(8, round(width * scale))
        shape = (self.height, self.width, 3)
        self.seen = np.zeros(shape[:2], np.uint8)
        """(h, w) 255 where something is there, 0 elsewhere; of the last picture, changed by the next."""
        self.moved = np.zeros(shape[:2], np.uint8)
        """(h, w) 255 where the last picture differs from the one before."""
        self._small = np.zeros(shape, np.uint8)
        self._now = np.zeros(shape, np.float32)
        self._before = np.zeros(shape, np.float32)
        self._mean = np.zeros(shape, np.float32)
        self._deviation = np.zeros(shape, np.float32)
        self._earlier: NDArray[np.float32] | None = None  # before it was learnt anew
        self._limit = np.zeros(shape, np.float32)
        self._difference = np.zeros(shape, np.float32)
        self._differs = np.zeros(shape, np.bool_)
        self._any = np.zeros(shape[:2], np.bool_)
        self._around = np.zeros(shape[:2], np.uint8)
        self._speck = np.ones((3, 3), np.uint8)
        self._gap = np.ones((5, 5), np.uint8)
        self._first: list[NDArray[np.uint8]] = []
        self._every, self._skipped = 1, 0

    @property
    def learnt(self) -> bool:
        """Whether the empty place is known."""
        return len(self._first) >= LEARN_FRAMES

    def look(self, image: NDArray[np.uint8]) -> bool:
        """Take a picture, (H, W, 3) uint8; True where `seen` and `moved` tell of it, False while still learning."""
        cv2.resize(image, (self.width, self.height), dst=self._small, interpolation=cv2.INTER_AREA)
        self._now, self._before = self._before, self._now
        np.copyto(self._now, self._small)
        if not self.learnt:
            self._learn()
            return False
        self._follow_the_light()
        np.multiply(self._deviation, DEVIATIONS, out=self._limit)
        np.maximum(self._limit, LEAST_LEVELS, out=self._limit)
        self._far(self._before, self.moved)
        self._far(self._mean, self.seen)
        if self._earlier is not None and self._is_as_earlier(self._earlier):
            np.copyto(self._mean, self._earlier)
            self._earlier = None
            self._far(self._mean, self.seen)
        cv2.morphologyEx(self.seen, cv2.MORPH_OPEN, self._speck, dst=self.seen)
        cv2.morphologyEx(self.seen, cv2.MORPH_CLOSE, self._gap, dst=self.seen)
        self._remember()
        return True

    def learn_anew(self) -> None:
        """The place looks different for good, as under another lamp: learn it from the pictures to come."""
        self._earlier = self._mean.copy()
        self._first.clear()
        self._every, self._skipped = LEARN_EVERY, 0
        self.seen.fill(0)

    def _learn(self) -> None:
        self._skipped = (self._skipped + 1) % self._every
        if self._skipped:
            return
        self._first.append(self._small.copy())
        if self.learnt:
            pictures = np.stack(self._first).astype(np.float32)  # (LEARN_FRAMES, h, w, 3)
            np.copyto(self._mean, np.median(pictures, axis=0))  # a part that passes meanwhile does not count
            np.copyto(self._deviation, np.median(np.abs(pictures - self._mean), axis=0))

    def _follow_the_light(self) -> None:
        empty = self.seen.reshape(-1)[::SAMPLE] == 0
        was = self._mean.reshape(-1, 3)[::SAMPLE][empty].sum(axis=1)
        now = self._now.reshape(-1, 3)[::SAMPLE][empty].sum(axis=1)
        if len(was) < 32:
            return
        ratios = (now + 1) / (was + 1)
        gain = float(np.median(ratios))
        if np.mean(np.abs(ratios - gain) < SAME_LIGHT * gain) < AGREEING:
            return
        self._mean *= np.float32(gain)
        if self._earlier is not None:
            self._earlier *= np.float32(gain)

    def _far(self, other: NDArray[np.float32], mask: NDArray[np.uint8]) -> None:
        """Mark where the picture differs from another in any channel by more than the place does by itself."""
        np.subtract(self._now, other, out=self._difference)
        np.abs(self._difference, out=self._difference)
        np.greater(self._difference, self._limit, out=self._differs)
        np.logical_or(self._differs[..., 0], self._differs[..., 1], out=self._any)
        np.logical_or(self._any, self._differs[..., 2], out=self._any)
        np.multiply(self._any, 255, out=mask, casting="unsafe")

    def _is_as_earlier(self, earlier: NDArray[np.float32]) -> bool:
        """Whether the place looks again as it did before it was learnt anew."""
        differs = cv2.countNonZero(self.seen)
        if differs < MOST * self.seen.size:
            return False
        self._far(earlier, self._around)
        cv2.bitwise_and(self._around, self.seen, dst=self._around)
        return bool(cv2.countNonZero(self._around) <= (1 - RESTORED) * differs)

    def _remember(self) -> None:
        cv2.dilate(self.seen, self._gap, dst=self._around)
        empty = self._around == 0
        np.subtract(self._now, self._mean, out=self._difference)
        self._difference *= (RATE * empty)[..., None]
        self._mean += self._difference
        np.abs(self._difference, out=self._difference)  # RATE * |now - mean|, 0 where something is there
        self._deviation *= (1 - RATE * empty)[..., None]
        self._deviation += self._difference
