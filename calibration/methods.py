"""From a histogram of a tensor's values to the range that INT8 spreads its 256 levels over."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from export.ranges import Method, Range

BINS = 2048
PERCENTILE = 99.99  # of the values that stay inside, split between both ends where values have both signs
_LEVELS = 128  # of INT8 on one side, for the entropy
_TRIES = 100  # ranges that mse and entropy compare


class Limits(NamedTuple):
    """Where values are cut off."""

    low: float
    high: float


@dataclass(frozen=True)
class Histogram:
    """How often values fall into BINS equal bins between low and high."""

    low: float
    high: float
    counts: NDArray[np.int64]  # (BINS,)
    means: NDArray[np.float64]  # (C,) of every channel

    @property
    def centres(self) -> NDArray[np.float64]:
        """The middle of every bin. (BINS,)"""
        step = (self.high - self.low) / len(self.counts)
        return np.asarray(self.low + step * (np.arange(len(self.counts)) + 0.5), np.float64)


def find_range(histogram: Histogram, method: Method) -> Range:
    """Where to cut, by one of four methods.

    max:        nowhere.
    percentile: so that PERCENTILE of the values stay inside.
    mse:        where the mean squared error of rounding and cutting is least.
    entropy:    where the cut and rounded distribution of magnitudes differs least from the seen one, by the
                Kullback-Leibler divergence (Migacz, 8-bit Inference with TensorRT, 2017).
    """
    limits = Limits(histogram.low, histogram.high)
    if method != "max" and histogram.high > histogram.low:
        limits = _METHODS[method](histogram)
    return Range(low=limits.low, high=limits.high, means=tuple(float(f"{mean:.6g}") for mean in histogram.means))


def _percentile(histogram: Histogram) -> Limits:
    share = np.cumsum(histogram.counts) / histogram.counts.sum()
    both = histogram.low < 0 < histogram.high
    outside = (1 - PERCENTILE / 100) / (2 if both else 1)
    edges = np.linspace(histogram.low, histogram.high, len(histogram.counts) + 1)
    low = edges[int(np.searchsorted(share, outside, side="right"))] if histogram.low < 0 else histogram.low
    high = edges[int(np.searchsorted(share, 1 - outside)) + 1] if histogram.high > 0 else histogram.high
    return Limits(float(low), float(max(high, low)))


def _mse(histogram: Histogram) -> Limits:
    values, counts = histogram.centres, histogram.counts
    errors = []
    tried = [_cut(histogram, float(share)) for share in np.linspace(1 / _TRIES, 1, _TRIES)]
    for low, high in tried:
        step = max((high - low) / 255, 1e-12)
        seen = np.clip(np.rint((values - low) / step), 0, 255) * step + low
        errors.append(float((counts * np.square(values - seen)).sum()))
    return tried[int(np.argmin(errors))]


def _entropy(histogram: Histogram) -> Limits:
    magnitude = max(-histogram.low, histogram.high)
    bins = np.minimum((np.abs(histogram.centres) / magnitude * BINS).astype(int), BINS - 1)
    counts = np.bincount(bins, histogram.counts, BINS).astype(np.float64)
    counts[0] = counts[1]  # zeros are exact in any range, and would outweigh everything
    starts = np.unique(np.linspace(_LEVELS, BINS, _TRIES).astype(int))
    divergences = [_divergence(counts, int(kept)) for kept in starts]
    return _cut(histogram, float(starts[int(np.argmin(divergences))]) / BINS)


def _divergence(counts: NDArray[np.float64], kept: int) -> float:
    """Between the first `kept` bins, what lies beyond added to the last, and the same in _LEVELS levels."""
    seen = counts[:kept].copy()
    group = np.arange(kept) * _LEVELS // kept
    filled = counts[:kept] > 0
    total = np.bincount(group, counts[:kept], _LEVELS)
    members = np.bincount(group, filled, _LEVELS)
    rounded = np.where(filled, (total / np.maximum(members, 1))[group], 0.0)
    seen[-1] += counts[kept:].sum()
    p, q = seen / seen.sum(), rounded / max(rounded.sum(), 1e-12)
    there = p > 0
    return float((p[there] * np.log(p[there] / np.maximum(q[there], 1e-12))).sum())


def _cut(histogram: Histogram, share: float) -> Limits:
    """What lies within a share of the largest magnitude, and 0."""
    most = share * max(-histogram.low, histogram.high)
    return Limits(max(min(histogram.low, 0.0), -most), min(max(histogram.high, 0.0), most))


_METHODS: dict[Method, Callable[[Histogram], Limits]] = {"percentile": _percentile, "mse": _mse, "entropy": _entropy}
