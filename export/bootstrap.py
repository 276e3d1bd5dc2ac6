"""Is a difference between two precisions more than an accident of the test images: a paired bootstrap over them.

Both precisions judged the same images, so every resample draws images and takes both their scores (Efron and
Tibshirani, An Introduction to the Bootstrap, 1993, chapter 8). Good and defective images are drawn apart, so that a
resample has as many of each as the set.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

RESAMPLES = 2000
INTERVAL = 0.95
_SEED = 0


@dataclass(frozen=True, kw_only=True)
class Change:
    """A difference of two fractions, positive where the precision is better than FP32, and its interval."""

    difference: float
    low: float
    high: float

    @property
    def said(self) -> str:
        """In points, for people."""
        if self.low <= 0 <= self.high:
            return "no difference seen"
        word = "worse" if self.difference < 0 else "better"
        ends = sorted((abs(self.low), abs(self.high)))
        return f"{word} by {100 * abs(self.difference):.2f} ({100 * ends[0]:.2f} to {100 * ends[1]:.2f})"


@dataclass(frozen=True, kw_only=True)
class PairedScores:
    """One product's test images, judged twice.

    found, expected: (S, N) scores of N images by a precision and by FP32, with S draws of references.
    defective:       (N,) bool.
    """

    found: NDArray[np.float64]
    expected: NDArray[np.float64]
    defective: NDArray[np.bool_]


def auroc_change(products: Sequence[PairedScores]) -> Change:
    """Of the image AUROC, mean over products and draws of references; every product has good and defective images."""
    random = np.random.default_rng(_SEED)
    differences, resampled = [], []
    for one in products:
        good, bad = ~one.defective, one.defective
        wins = (_wins(one.found, good, bad) - _wins(one.expected, good, bad)).mean(0)  # (G, B)
        goods, bads = (_counts(random, count) for count in wins.shape)
        differences.append(wins.mean())
        resampled.append(((goods @ wins) * bads).sum(1) / wins.size)
    return _change(differences, resampled)


def mean_change(products: Sequence[NDArray[np.float64]]) -> Change:
    """Of a figure that every image has by itself, mean over products: each (N,) differences to FP32's."""
    random = np.random.default_rng(_SEED)
    resampled = [_counts(random, len(one)) @ one / len(one) for one in products]
    return _change([one.mean() for one in products], resampled)


def _wins(scores: NDArray[np.float64], good: NDArray[np.bool_], bad: NDArray[np.bool_]) -> NDArray[np.float64]:
    """(S, G, B): 1 where the defective image scores above the good one, a half where they are equal."""
    low, high = scores[:, good, None], scores[:, None, bad]
    return np.asarray((high > low) + 0.5 * (high == low), np.float64)


def _counts(random: np.random.Generator, images: int) -> NDArray[np.float64]:
    """(RESAMPLES, images): how often each image is in a resample."""
    return random.multinomial(images, np.full(images, 1 / images), size=RESAMPLES).astype(np.float64)


def _change(differences: Sequence[float], resampled: Sequence[NDArray[np.float64]]) -> Change:
    outside = (1 - INTERVAL) / 2
    low, high = np.quantile(np.mean(resampled, axis=0), (outside, 1 - outside))
    return Change(difference=float(np.mean(differences)), low=float(low), high=float(high))
