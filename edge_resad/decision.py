"""From an anomaly map to a verdict: threshold, regions, severity. Pure: no camera, no clock, no network."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import Literal

import cv2
import numpy as np
from numpy.typing import NDArray

Status = Literal["pass", "fail"]


@dataclass(frozen=True, kw_only=True)
class Region:
    """One connected defect, in pixels of the inspected image."""

    box: tuple[int, int, int, int]  # x, y, width, height
    area_px: int
    peak: float  # highest value of the anomaly map inside
    polygon: tuple[tuple[int, int], ...]  # outline, (x, y)


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """What the inspector says of one part."""

    status: Status
    score: float
    threshold: float
    regions: tuple[Region, ...]  # worst first

    @property
    def severity(self) -> Literal["none", "minor", "major", "critical"]:
        """How far beyond the threshold the score lies: up to 1.25x, up to 1.75x, more."""
        if self.status == "pass":
            return "none"
        ratio = self.score / self.threshold
        return "minor" if ratio < 1.25 else "major" if ratio < 1.75 else "critical"


class Debounce:
    """k-of-n: says whether at least k of the last n parts failed."""

    def __init__(self, k: int, n: int) -> None:
        if not 1 <= k <= n:
            raise ValueError(f"debounce needs 1 <= k <= n, got k={k}, n={n}")
        self._k = k
        self._last: deque[bool] = deque(maxlen=n)

    def step(self, failed: bool) -> bool:
        """Take one more part's verdict; True where the last n hold k failures."""
        self._last.append(failed)
        return sum(self._last) >= self._k
