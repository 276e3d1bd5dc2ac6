"""Buffers into which frames are copied that are kept: made once, used again and again, few enough for the memory."""

from __future__ import annotations

from collections import deque

import numpy as np
from numpy.typing import NDArray

POOL_BYTES = 96 << 20
MOST, FEWEST = 8, 2
"""How many frames may wait for their writing: as many as fit in POOL_BYTES, within these."""


class Slot:
    """Room for one frame with its anomaly map."""

    def __init__(self) -> None:
        self._pixels = np.empty(0, np.uint8)
        self._map = np.empty((0, 0), np.float32)

    def take(
        self, image: NDArray[np.uint8], score_map: NDArray[np.float32] | None
    ) -> tuple[NDArray[np.uint8], NDArray[np.float32] | None]:
        """Copies that stay as they are until the slot takes the next ones."""
        if self._pixels.size < image.size:
            self._pixels = np.empty(image.size, np.uint8)
        pixels = self._pixels[: image.size].reshape(image.shape)
        np.copyto(pixels, image)
        if score_map is None:
            return pixels, None
        if self._map.shape != score_map.shape:
            self._map = np.empty(score_map.shape, np.float32)
        np.copyto(self._map, score_map)
        return pixels, self._map


class Pool:
    """Slots, taken by the line and given back by the writer."""

    def __init__(self, *, max_bytes: int = POOL_BYTES) -> None:
        self.size = MOST  # slots, for frames as large as the largest so far
        self._max_bytes = max_bytes
        self._largest = 1
        self._free = deque(Slot() for _ in range(MOST))  # the two threads share it: its ends are safe without a lock

    def borrow(self, frame_bytes: int, *, leave: int) -> Slot | None:
        """A slot; None where no more than `leave` would be left for what matters more."""
        if frame_bytes > self._largest:
            self._largest = frame_bytes
            self.size = min(MOST, max(FEWEST, self._max_bytes // frame_bytes))
        in_use = MOST - len(self._free)
        return self._free.pop() if in_use + leave < self.size else None  # the last one used: its memory is warm

    def give_back(self, slot: Slot) -> None:
        self._free.append(slot)
