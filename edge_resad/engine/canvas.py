"""The canvas: one anomaly map of a whole frame, put together from those of its regions of interest."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

FINER = 4  # pixels of the frame for one of the canvas, each way

Box = tuple[int, int, int, int]


class Canvas:
    """A map as large as a quarter of the frame each way. Allocates nothing once every region was there."""

    def __init__(self, picture_px: tuple[int, int]) -> None:
        """picture_px: width, height of a frame."""
        width, height = (max(1, side // FINER) for side in picture_px)
        self.map = np.zeros((height, width), np.float32)
        self._straight = np.zeros_like(self.map)  # as the product's picture lies
        self._scale = (width / picture_px[0], height / picture_px[1])
        self._pieces: dict[tuple[int, int], NDArray[np.float32]] = {}

    def clear(self) -> None:
        """Begin a frame."""
        self._straight.fill(0)

    def add(self, score_map: NDArray[np.float32], box: Box, factor: float) -> None:
        """Lay the map of a region where its box is, times a factor; where regions overlap the higher value shows."""
        left, top = round(box[0] * self._scale[0]), round(box[1] * self._scale[1])
        right = min(self.map.shape[1], max(left + 1, round((box[0] + box[2]) * self._scale[0])))
        bottom = min(self.map.shape[0], max(top + 1, round((box[1] + box[3]) * self._scale[1])))
        size = (right - left, bottom - top)
        if min(size) < 1:
            return
        if size not in self._pieces:
            self._pieces[size] = np.empty(size[::-1], np.float32)
        piece = self._pieces[size]
        cv2.resize(score_map, size, dst=piece, interpolation=cv2.INTER_LINEAR)
        np.multiply(piece, factor, out=piece)
        place = self._straight[top:bottom, left:right]
        cv2.max(place, piece, dst=place)  # NumPy would copy rows that have gaps between them

    def finish(self, to_frame: NDArray[np.float64] | None) -> None:
        """End a frame: turn the map as the part lies on it."""
        if to_frame is None:
            np.copyto(self.map, self._straight)
            return
        moved = to_frame.copy()
        moved[:, 2] *= self._scale
        cv2.warpAffine(self._straight, moved, self.map.shape[::-1], dst=self.map, flags=cv2.INTER_LINEAR)
