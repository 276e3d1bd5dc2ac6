"""Single parts worth a look: what one draw said of every part, and those that a report shows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from edge_resad.datasets.inspection_class import GOOD, Part

MAP_SIDE = 96  # pixels: a larger map is reduced, the heat over a small picture needs no more


@dataclass(frozen=True, kw_only=True)
class PartScore:
    """What one draw said of one test image."""

    path: Path
    defect: str  # the folder's name; "good" where there is none
    score: float
    aupimo: float | None = None  # None for good parts, without a mask, and where it is not defined
    severity: int | None = None  # 0 good, higher is worse; None where nobody graded it

    @property
    def is_defective(self) -> bool:
        return self.defect != GOOD


@dataclass(frozen=True, kw_only=True, eq=False)
class Case:
    """A part that a report shows, with its anomaly map."""

    why: str  # what it stands for: "best", "median" or "worst" of the defects, or "highest good"
    part: Part
    score: float
    score_map: NDArray[np.float32]  # (h, w), covers the whole image


def reduced(score_map: NDArray[np.float32]) -> NDArray[np.float32]:
    """A copy, its sides at most `MAP_SIDE`."""
    height, width = score_map.shape
    size = (min(width, MAP_SIDE), min(height, MAP_SIDE))
    return np.array(cv2.resize(score_map, size, interpolation=cv2.INTER_AREA), np.float32)


def pick_cases(
    parts: Sequence[Part], scores: NDArray[np.float64], maps: Sequence[NDArray[np.float32]]
) -> tuple[Case, ...]:
    """The defects with the highest, the middle and the lowest score, and the good part with the highest.

    parts, scores, maps: of the same test images. Where there are fewer than three defects, each comes once.
    """
    by_score = sorted((k for k, part in enumerate(parts) if part.is_defective), key=lambda k: -scores[k])
    good = [k for k, part in enumerate(parts) if not part.is_defective]
    chosen: dict[int, str] = {}
    if by_score:
        chosen = {by_score[len(by_score) // 2]: "median"} | {by_score[-1]: "worst"} | {by_score[0]: "best"}
    if good:
        chosen[max(good, key=lambda k: scores[k])] = "highest good"
    order = ("best", "median", "worst", "highest good")
    return tuple(
        Case(why=why, part=parts[k], score=float(scores[k]), score_map=maps[k])
        for k, why in sorted(chosen.items(), key=lambda one: order.index(one[1]))
    )


def heat_level(parts: Sequence[Part], maps: Sequence[NDArray[np.float32]]) -> float:
    """The map's value that half of the good parts reach somewhere; half of all parts where none is good."""
    peaks = [float(one.max()) for part, one in zip(parts, maps, strict=True) if not part.is_defective]
    every = peaks or [float(one.max()) for one in maps]
    level = float(np.median(every)) if every else 0.0
    return level if level > 0 else float(np.finfo(np.float32).tiny)
