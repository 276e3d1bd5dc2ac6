"""Buffers into which frames are copied that are kept: made once, used again and again, few enough for the memory."""

from __future__ import annotations

import contextlib
from collections import deque

import numpy as np
from numpy.typing import NDArray

POOL_BYTES = 64 << 20
MOST, FEWEST = 8, 2
"""How many frames may wait for their writing: as many as fit in POOL_BYTES, within these."""


class Slot:
    """Room for one frame with its anomaly map."""

    def __init__(self) -> None:
        self._pixels = np.empty(0, np.uint8)
        self._map = np.empty((0, 0), np.float32)

    def make_room(self, frame_bytes: int) -> None:
        """Have the memory, not only its address: what is touched for the first time by the line would cost it."""
        if self._pixels.size < frame_bytes:
            self._pixels = np.empty(frame_bytes, np.uint8)
            self._pixels.fill(0)

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
        self.is_cold = False  # slots are too small for the largest frame
        self._largest = 1
        self._free = deque(Slot() for _ in range(MOST))  # the two threads share it: its ends are safe without a lock

    def see(self, frame_bytes: int) -> bool:
        """Learn how large frames are; whether this is the largest so far, for which slots have to be made ready."""
        if frame_bytes <= self._largest:
            return False
        self._largest = frame_bytes
        self.size = min(MOST, max(FEWEST, self._max_bytes // frame_bytes))
        self.is_cold = True
        return True

    def warm(self) -> None:
        """Make the free slots ready, in the writer's time."""
        self.is_cold = False
        for _ in range(self.size):
            with contextlib.suppress(IndexError):  # the line has taken them meanwhile
                slot = self._free.pop()
                slot.make_room(self._largest)
                self._free.appendleft(slot)
        self._free.rotate(-self.size)  # those that are ready are taken first

    def borrow(self, *, leave: int) -> Slot | None:
        """A slot; None where no more than `leave` would be left for what matters more."""
        in_use = MOST - len(self._free)
        if in_use + leave >= self.size:
            return None
        with contextlib.suppress(IndexError):  # the writer has just taken the last one to make it ready
            return self._free.pop()  # the last one used: its memory is warm
        return None

    def give_back(self, slot: Slot) -> None:
        self._free.append(slot)
