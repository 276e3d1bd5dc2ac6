"""From an anomaly map to a verdict: threshold, regions, severity. Pure: no camera, no clock, no network."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import Literal

import cv2
import numpy as np
from numpy.typing import NDArray

Status = Literal["pass", "fail"]
Obstacle = Literal["not_aligned", "wrong_size", "unknown_product"]
"""What may keep a part from being judged by its product."""

SEVERITY_CLASSES = (1.25, 1.75)
"""Times the threshold: where a defect begins to be major, and critical."""


class NotInspected(Exception):
    """A part that cannot be judged. Whoever catches it counts the part and says so; nobody lets it pass."""

    def __init__(self, obstacle: Obstacle, says: str) -> None:
        super().__init__(says)
        self.obstacle = obstacle


@dataclass(frozen=True, kw_only=True)
class Region:
    """One connected defect, in pixels of the inspected image."""

    box: tuple[int, int, int, int]  # x, y, width, height
    area_px: int
    peak: float  # highest value of the anomaly map inside
    polygon: tuple[tuple[int, int], ...]  # outline, (x, y)
    roi: str | None = None  # which of its product's regions of interest it lies in
    area_mm2: float | None = None  # where the product knows its scale
    size_mm: tuple[float, float] | None = None  # width, height of the box
    polygon_mm: tuple[tuple[float, float], ...] | None = None  # the outline on the product's picture


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """What the inspector says of one part."""

    status: Status
    score: float
    threshold: float
    regions: tuple[Region, ...]  # worst first
    region_threshold: float | None = None  # value of the map from which its regions begin; None: there are none
    product: str | None = None  # by whose recipe it was judged
    product_version: int | None = None
    severity_classes: tuple[float, float] = SEVERITY_CLASSES

    @property
    def severity(self) -> Literal["none", "minor", "major", "critical"]:
        """How far beyond the threshold the score lies: up to 1.25x, up to 1.75x, more, or as the product says."""
        if self.status == "pass":
            return "none"
        major, critical = self.severity_classes
        if self.score < major * self.threshold:
            return "minor"
        return "major" if self.score < critical * self.threshold else "critical"


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


def judge(
    score_map: NDArray[np.float32],
    score: float,
    *,
    threshold: float,
    region: float,
    frame_size: tuple[int, int],
    min_area_px: float = 0,
) -> Verdict:
    """Decide on one part.

    score_map:   (h, w) float32 anomaly map.
    score:       the image score that goes with it.
    threshold:   the part fails from this score on.
    region:      a cell belongs to a defect from this value of the map on; where a failed part has no such cell, from
                 80 % of its peak.
    frame_size:  height and width of the inspected image, pixels.
    min_area_px: a defect smaller than this does not count; a part whose defects are all smaller passes.
    """
    if score < threshold:
        return Verdict(status="pass", score=score, threshold=threshold, regions=())
    fine = _finer(score_map)
    level = min(region, 0.8 * float(score_map.max()), float(fine.max()))  # one cell among masked ones shrinks
    regions = tuple(found for found in _regions(fine, level, frame_size) if found.area_px >= min_area_px)
    status: Status = "fail" if regions or min_area_px == 0 else "pass"
    return Verdict(status=status, score=score, threshold=threshold, regions=regions, region_threshold=level)


_FINER = 4  # contours are drawn on a map this much finer, so that outlines are smooth


def _finer(score_map: NDArray[np.float32]) -> NDArray[np.float32]:
    height, width = score_map.shape[0] * _FINER, score_map.shape[1] * _FINER
    return np.asarray(cv2.resize(score_map, (width, height), interpolation=cv2.INTER_LINEAR), np.float32)


def _regions(fine: NDArray[np.float32], level: float, frame_size: tuple[int, int]) -> list[Region]:
    height, width = fine.shape
    contours, _ = cv2.findContours((fine >= level).astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE)
    to_frame = np.array([frame_size[1] / width, frame_size[0] / height])
    regions = []
    for contour in contours:
        inside = np.zeros(fine.shape, np.uint8)
        cv2.drawContours(inside, [contour], -1, 1, cv2.FILLED)
        corners = np.rint((contour[:, 0, :] + 0.5) * to_frame).astype(int)
        left, top, wide, high = cv2.boundingRect(corners.astype(np.int32))
        regions.append(
            Region(
                box=(int(left), int(top), int(wide), int(high)),
                area_px=round(int(inside.sum()) * float(to_frame.prod())),
                peak=float(fine[inside > 0].max()),
                polygon=tuple((int(x), int(y)) for x, y in corners),
            )
        )
    return sorted(regions, key=lambda found: found.peak, reverse=True)
