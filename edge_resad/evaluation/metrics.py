"""How well scores tell defective from good: exact over all thresholds, equal scores share one.

A metric that is not defined, because the defective or the good side is empty, is None.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import ArrayLike, NDArray

FALSE_POSITIVE_LIMIT = 0.3
"""How far AUPRO integrates, by the custom of MVTec AD."""


def auroc(scores: ArrayLike, defective: ArrayLike) -> float | None:
    """Probability that a defective sample scores above a good one, ties counted as half.

    scores:    (N,) or any shape; higher is more anomalous; finite.
    defective: the same number of entries; non-zero where the sample is defective.
    """
    return _auroc(_steps_of(scores, defective))


def average_precision(scores: ArrayLike, defective: ArrayLike) -> float | None:
    """Sum over thresholds of the recall gained times the precision there."""
    return _average_precision(_steps_of(scores, defective))


def f1_max(scores: ArrayLike, defective: ArrayLike) -> float | None:
    """The F1 score at the best of all thresholds."""
    steps = _steps_of(scores, defective)
    if not steps.is_defined:
        return None
    return float(np.max(2 * steps.true / (steps.true[-1] + steps.true + steps.false)))


def aupro(maps: Iterable[ArrayLike], masks: Iterable[ArrayLike], limit: float = FALSE_POSITIVE_LIMIT) -> float | None:
    """Area under the per-region overlap over the false positive rate, up to a limit, as a share of the limit.

    Every 8-connected defect counts the same, however large it is.

    maps:  each (h, w) anomaly map, finite.
    masks: each (h, w), non-zero where the part is defective; empty for good parts.
    limit: false positive rate up to which the area is taken, 0 < limit <= 1.
    """
    return pixel_metrics(maps, masks, limit).aupro


@dataclass(frozen=True, kw_only=True)
class PixelMetrics:
    """What all pixels of all test images say together."""

    auroc: float | None
    average_precision: float | None
    aupro: float | None


def pixel_metrics(
    maps: Iterable[ArrayLike], masks: Iterable[ArrayLike], limit: float = FALSE_POSITIVE_LIMIT
) -> PixelMetrics:
    """The three metrics over pixels, with one sort for all of them. Arguments as for `aupro`."""
    if not 0 < limit <= 1:
        raise ValueError(f"limit must be a rate in (0, 1], got {limit}")
    good, bad, shares, regions = _pool(maps, masks)
    good.sort()
    order = np.argsort(bad)[::-1]
    steps = _steps(good, bad[order])
    by_region = _steps(good, bad[order], weights=shares[order])
    return PixelMetrics(
        auroc=_auroc(steps),
        average_precision=_average_precision(steps),
        aupro=_area(by_region, limit) / (limit * regions) if by_region.is_defined else None,
    )


@dataclass(frozen=True)
class _Steps:
    """What lies above each score that a defective sample has, scores descending.

    Between two such scores only good samples are added, so nothing a metric needs happens there.
    """

    true: NDArray[np.float64]  # (T,) weight of defective samples at or above the score
    false: NDArray[np.float64]  # (T,) number of good samples at or above it
    false_before: NDArray[np.float64]  # (T,) number of good samples strictly above it
    good: int  # number of all good samples

    @property
    def is_defined(self) -> bool:
        return self.true.size > 0 and self.good > 0


def _steps_of(scores: ArrayLike, defective: ArrayLike) -> _Steps:
    values, is_defective = _flat(scores), np.asarray(defective).reshape(-1) != 0
    if values.size != is_defective.size:
        raise ValueError(f"{values.size} scores but {is_defective.size} labels")
    return _steps(np.sort(values[~is_defective]), np.sort(values[is_defective])[::-1])


def _steps(good: NDArray[np.floating], bad: NDArray[np.floating], weights: NDArray[np.float64] | None = None) -> _Steps:
    """good: (G,) scores, ascending. bad: (B,) scores, descending. weights: (B,) of the bad ones, default 1 each."""
    ends = np.flatnonzero(np.append(bad[1:] != bad[:-1], bad.size > 0))  # the last of each run of equal scores
    total = np.arange(1.0, bad.size + 1) if weights is None else np.cumsum(weights)
    return _Steps(
        true=total[ends],
        false=(good.size - np.searchsorted(good, bad[ends], side="left")).astype(np.float64),
        false_before=(good.size - np.searchsorted(good, bad[ends], side="right")).astype(np.float64),
        good=good.size,
    )


def _auroc(steps: _Steps) -> float | None:
    return _area(steps, 1.0) / float(steps.true[-1]) if steps.is_defined else None


def _average_precision(steps: _Steps) -> float | None:
    # Without a good sample it would be 1 for any scores, which says nothing: None, as for the others.
    if not steps.is_defined:
        return None
    gained = np.diff(steps.true, prepend=0.0)
    return float(np.sum(gained * steps.true / (steps.true + steps.false)) / steps.true[-1])


def _area(steps: _Steps, limit: float) -> float:
    """Area under true over the false positive rate up to the limit: trapezoids, the last one cut by interpolation."""
    rises = np.stack([steps.false_before, steps.false], axis=1).reshape(-1)
    x = np.concatenate([[0.0], rises, [steps.good]]) / steps.good
    y = np.append(np.repeat(np.append(0.0, steps.true), 2), steps.true[-1])[: x.size]
    inside = int(np.searchsorted(x, limit, side="right"))
    if inside < x.size:
        part = (limit - x[inside - 1]) / (x[inside] - x[inside - 1])
        x = np.append(x[:inside], limit)
        y = np.append(y[:inside], y[inside - 1] + part * (y[inside] - y[inside - 1]))
    return float(np.sum(np.diff(x) * (y[1:] + y[:-1])) / 2)


def _pool(
    maps: Iterable[ArrayLike], masks: Iterable[ArrayLike]
) -> tuple[NDArray[np.floating], NDArray[np.floating], NDArray[np.float64], int]:
    """Scores of all good pixels (G,), of all bad ones (B,), what part of its region each bad one is (B,), regions."""
    good, bad, shares = [np.empty(0, np.float32)], [np.empty(0, np.float32)], [np.empty(0)]
    regions = 0
    for anomaly_map, mask in zip(maps, masks, strict=True):
        if np.shape(anomaly_map) != np.shape(mask):
            raise ValueError(f"a map of {np.shape(anomaly_map)} with a mask of {np.shape(mask)}")
        pixels, defective = _flat(anomaly_map), np.asarray(mask) != 0
        share, found = _region_shares(defective)
        good.append(pixels[~defective.reshape(-1)])
        bad.append(pixels[defective.reshape(-1)])
        shares.append(share)
        regions += found
    return np.concatenate(good), np.concatenate(bad), np.concatenate(shares), regions


def _region_shares(defective: NDArray[np.bool_]) -> tuple[NDArray[np.float64], int]:
    """1 / (pixels of its 8-connected region) for every defective pixel, row by row; the number of regions."""
    if not defective.any():
        return np.empty(0), 0
    found, labels = cv2.connectedComponents(defective.astype(np.uint8), connectivity=8)
    region_of = np.asarray(labels)[defective]
    return 1.0 / np.bincount(region_of)[region_of], found - 1  # label 0 is the good part


def _flat(scores: ArrayLike) -> NDArray[np.floating]:
    values = np.asarray(scores).reshape(-1)
    if values.dtype != np.float32:
        values = values.astype(np.float64)
    if not np.isfinite(values).all():
        raise ValueError("scores must be finite: there is NaN or infinity among them")
    return values
