"""AUPIMO: how much of each defect is found while good parts stay all but free of false pixels.

Bertoldo et al., AUPIMO, BMVC 2024. The false positive rate is shared: at a threshold, the mean over good images of the
share of pixels at or above it. An image's overlap is the share of its defective pixels at or above that threshold; its
AUPIMO is the mean of that overlap over the logarithm of the shared rate between two bounds.

The paper samples 300 000 thresholds. Here every score of a good pixel between the bounds is one: the integral is exact.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from edge_resad.evaluation.metrics import flat

BOUNDS = (1e-5, 1e-4)
"""Shared false positive rates between which the overlap is averaged."""


def aupimo(
    maps: Sequence[ArrayLike], masks: Sequence[ArrayLike], bounds: tuple[float, float] = BOUNDS
) -> list[float | None]:
    """One figure for every image; None for good images, which have no defect to find.

    All are None where it is not defined: no good image, or too few good pixels for one of them to be as rare as the
    lower bound.

    maps:   each (h, w) anomaly map, finite.
    masks:  each (h, w), non-zero where the part is defective; empty for good parts.
    bounds: lower and upper rate, 0 < lower < upper <= 1.
    """
    low, high = bounds
    if not 0 < low < high <= 1:
        raise ValueError(f"the bounds must be rates, 0 < lower < upper <= 1, got {bounds}")
    pixels, defective = [flat(one) for one in maps], [np.asarray(mask).reshape(-1) != 0 for mask in masks]
    for scores, bad in zip(pixels, defective, strict=True):
        if scores.size != bad.size:
            raise ValueError(f"a map of {scores.size} pixels with a mask of {bad.size}")
    good = [scores for scores, bad in zip(pixels, defective, strict=True) if not bad.any()]
    thresholds, rates = _shared_rates(good, high)
    if not rates.size or rates[0] > low * (1 + 1e-9):
        return [None] * len(pixels)
    return [
        _mean_overlap(np.sort(scores[bad]), thresholds, rates, low, high) if bad.any() else None
        for scores, bad in zip(pixels, defective, strict=True)
    ]


def _shared_rates(
    good: Sequence[NDArray[np.floating]], high: float
) -> tuple[NDArray[np.floating], NDArray[np.float64]]:
    """The highest scores of good pixels, descending, each once, and the shared rate at each: as far as it takes to
    reach `high` and one further."""
    scores, weights = [np.empty(0)], [np.empty(0)]
    for image in good:
        # The mean of n rates is at least one of them over n, so nothing deeper than this has a part in it.
        deep = min(image.size, math.ceil(high * len(good) * image.size) + 1)
        lowest = np.partition(image, image.size - deep)[image.size - deep]
        top = image[image >= lowest]  # with everything that equals the lowest
        scores.append(top)
        weights.append(np.full(top.size, 1.0 / (len(good) * image.size)))
    every, weight = np.concatenate(scores), np.concatenate(weights)
    order = np.argsort(-every, kind="stable")
    every, rate = every[order], np.cumsum(weight[order])
    ends = np.flatnonzero(np.append(every[1:] != every[:-1], every.size > 0))
    last = int(np.searchsorted(rate[ends], high * (1 - 1e-12))) + 1  # the first that reaches it
    return every[ends][:last], np.minimum(rate[ends][:last], 1.0)


def _mean_overlap(
    bad: NDArray[np.floating], thresholds: NDArray[np.floating], rates: NDArray[np.float64], low: float, high: float
) -> float:
    """bad: (B,) scores of one image's defective pixels, ascending. thresholds: (T,) descending; rates: (T,) at each."""
    # Between a threshold and the next the rate stands still and the overlap grows; at the next the rate jumps.
    x = np.repeat(np.log(rates), 2)[:-1]
    y = np.empty(x.size)
    y[::2] = 1 - np.searchsorted(bad, thresholds, side="left") / bad.size  # at or above the threshold
    y[1::2] = 1 - np.searchsorted(bad, thresholds[1:], side="right") / bad.size  # above the next one
    a, b = math.log(low), math.log(high)
    inside = (x >= a) & (x <= b)
    x_cut = np.concatenate([[a], x[inside], [b]])
    y_cut = np.concatenate([[_at(a, x, y)], y[inside], [_at(b, x, y)]])
    area = float(np.sum(np.diff(x_cut) * (y_cut[1:] + y_cut[:-1])) / 2)
    return min(max(area / (b - a), 0.0), 1.0)


def _at(at: float, x: NDArray[np.float64], y: NDArray[np.float64]) -> float:
    """The curve where the rate is not one of its own, by interpolation."""
    return float(np.interp(at, x, y))
