"""How well scores tell defective from good: exact over all thresholds, equal scores share one.

A metric that is not defined, because the defective or the good side is empty, is None.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import ArrayLike, NDArray

from edge_resad.evaluation.curve import (
    Curve,
    area_up_to,
    auroc_of,
    average_precision_of,
    corners_of,
    curve_of,
    f1_max_of,
    weighed,
)

FALSE_POSITIVE_LIMIT = 0.3
"""How far AUPRO integrates, by the custom of MVTec AD."""

OVERLAP_POINTS = 61
"""Points of the curve that a plot of AUPRO shows."""


def auroc(scores: ArrayLike, defective: ArrayLike) -> float | None:
    """Probability that a defective sample scores above a good one, ties counted as half.

    scores:    (N,) or any shape; higher is more anomalous; finite.
    defective: the same number of entries; non-zero where the sample is defective.
    """
    return auroc_of(_curve(scores, defective))


def average_precision(scores: ArrayLike, defective: ArrayLike) -> float | None:
    """Sum over thresholds of the recall gained times the precision there."""
    return average_precision_of(_curve(scores, defective))


def f1_max(scores: ArrayLike, defective: ArrayLike) -> float | None:
    """The F1 score at the best of all thresholds."""
    return f1_max_of(_curve(scores, defective))


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
    f1_max: float | None
    aupro: float | None
    overlap: tuple[float, ...] = ()
    """Mean overlap of the regions at `OVERLAP_POINTS` false positive rates, evenly from 0 to the limit; for a plot."""


def pixel_metrics(
    maps: Iterable[ArrayLike], masks: Iterable[ArrayLike], limit: float = FALSE_POSITIVE_LIMIT
) -> PixelMetrics:
    """The metrics over pixels, with one sort for all of them. Arguments as for `aupro`."""
    check_limit(limit)
    good, bad, shares, regions = _pool(maps, masks)
    good.sort()
    order = np.argsort(bad)[::-1]
    pixels = curve_of(good, bad[order])
    return pixel_metrics_of(pixels, weighed(pixels, shares[order]), regions, limit)


def pixel_metrics_of(pixels: Curve, by_region: Curve, regions: int, limit: float) -> PixelMetrics:
    """The metrics of two curves over the same pixels.

    pixels:    every defective pixel weighs 1.
    by_region: the pixels of every region weigh 1 together.
    regions:   number of regions.
    """
    defined = by_region.is_defined
    return PixelMetrics(
        auroc=auroc_of(pixels),
        average_precision=average_precision_of(pixels),
        f1_max=f1_max_of(pixels),
        aupro=area_up_to(by_region, limit) / (limit * regions) if defined else None,
        overlap=_overlap(by_region, regions, limit) if defined else (),
    )


def check_limit(limit: float) -> None:
    """Refuse what is no false positive rate to integrate up to."""
    if not 0 < limit <= 1:
        raise ValueError(f"limit must be a rate in (0, 1], got {limit}")


def region_shares(defective: NDArray[np.bool_]) -> tuple[NDArray[np.float64], int]:
    """What part of its 8-connected region each defective pixel of a mask is, and the number of regions.

    defective: (h, w).
    returns:   (B,) of the defective pixels, row by row.
    """
    if not defective.any():
        return np.empty(0), 0
    found, labels = cv2.connectedComponents(defective.astype(np.uint8), connectivity=8)
    region_of = np.asarray(labels)[defective]
    return 1.0 / np.bincount(region_of)[region_of], found - 1  # label 0 is the good part


def _overlap(by_region: Curve, regions: int, limit: float) -> tuple[float, ...]:
    x, y = corners_of(by_region)
    first = np.append(np.flatnonzero(np.diff(x) > 0), x.size - 1)  # the top of each vertical rise
    rates = np.linspace(0.0, limit, OVERLAP_POINTS)
    return tuple(float(value) for value in np.interp(rates, x[first], y[first] / regions))


def _curve(scores: ArrayLike, defective: ArrayLike) -> Curve:
    values, is_defective = flat(scores), np.asarray(defective).reshape(-1) != 0
    if values.size != is_defective.size:
        raise ValueError(f"{values.size} scores but {is_defective.size} labels")
    return curve_of(np.sort(values[~is_defective]), np.sort(values[is_defective])[::-1])


def _pool(
    maps: Iterable[ArrayLike], masks: Iterable[ArrayLike]
) -> tuple[NDArray[np.floating], NDArray[np.floating], NDArray[np.float64], int]:
    """Scores of all good pixels (G,), of all bad ones (B,), what part of its region each bad one is (B,), regions."""
    good, bad, shares = [np.empty(0, np.float32)], [np.empty(0, np.float32)], [np.empty(0)]
    regions = 0
    for anomaly_map, mask in zip(maps, masks, strict=True):
        if np.shape(anomaly_map) != np.shape(mask):
            raise ValueError(f"a map of {np.shape(anomaly_map)} with a mask of {np.shape(mask)}")
        pixels, defective = flat(anomaly_map), np.asarray(mask) != 0
        share, found = region_shares(defective)
        good.append(pixels[~defective.reshape(-1)])
        bad.append(pixels[defective.reshape(-1)])
        shares.append(share)
        regions += found
    return np.concatenate(good), np.concatenate(bad), np.concatenate(shares), regions


def flat(scores: ArrayLike) -> NDArray[np.floating]:
    """Scores of any shape as (N,), float32 or else float64; ValueError where one is not finite."""
    values = np.asarray(scores).reshape(-1)
    if values.dtype != np.float32:
        values = values.astype(np.float64)
    if not np.isfinite(values).all():
        raise ValueError("scores must be finite: there is NaN or infinity among them")
    return values
