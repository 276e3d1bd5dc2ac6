"""The check of what an engine gives for a part: numbers, not zeros, and not the same for other pictures."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

STUCK = 3  # different pictures in a row with one and the same map: a single pixel that differs changes it
EVERY = 8  # rows of the picture, of which one is compared


class OutputCheck:
    """Looks at the outputs for one bank, part after part. Its buffers are made at once; it belongs to one thread."""

    def __init__(self, image: NDArray[Any], score_map: NDArray[Any]) -> None:
        """image, score_map: buffers like those that will be looked at."""
        self._rows = np.zeros(image[::EVERY].shape, image.dtype)  # of the picture
        self._before = np.zeros_like(self._rows)  # of the one before
        self._differs = np.zeros(self._rows.shape, np.bool_)
        self._map = np.zeros_like(score_map)
        self._score = math.nan
        self._alike = 0  # pictures in a row that had the same map, the first one included

    def wrong(self, image: NDArray[np.uint8], score: float, score_map: NDArray[np.float32]) -> str | None:
        """What is wrong with the outputs, as the end of a sentence; None where nothing is.

        image:     (S, S, 3) what the network saw.
        score_map: (h, w) its map.
        """
        self._rows, self._before = self._before, self._rows
        np.copyto(self._rows, image[::EVERY])  # numpy's comparison of every eighth row in its place would allocate
        lowest, highest = float(score_map.min()), float(score_map.max())
        if not (math.isfinite(score) and math.isfinite(lowest) and math.isfinite(highest)):
            return "gave no number"  # no comparison with it means anything
        if lowest == highest == 0:
            return "gave nothing but zeros"
        is_same = score == self._score and np.array_equal(score_map, self._map)
        if not is_same:
            self._alike = 1
        elif np.not_equal(self._rows, self._before, out=self._differs).any():  # or it is a picture that stands still
            self._alike += 1
        self._score = score
        np.copyto(self._map, score_map)
        if self._alike >= STUCK:
            return f"gave the very same for {self._alike} different pictures"
        return None
