"""What lies above each threshold, and the areas and peaks that metrics take from it."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, eq=False)
class Curve:
    """What lies above each score that a defective sample has, scores descending.

    Between two such scores only good samples are added, so nothing a metric needs happens there.
    """

    true: NDArray[np.float64]  # (T,) weight of defective samples at or above the score
    false: NDArray[np.float64]  # (T,) number of good samples at or above it
    false_before: NDArray[np.float64]  # (T,) number of good samples strictly above it
    good: int  # number of all good samples

    @property
    def is_defined(self) -> bool:
        """Whether there are samples of both kinds; the functions below need it."""
        return self.true.size > 0 and self.good > 0


def curve_of(good: NDArray[np.floating], bad: NDArray[np.floating]) -> Curve:
    """Every sample weighs 1. good: (G,) scores, ascending. bad: (B,) scores, descending."""
    ends = np.flatnonzero(np.append(bad[1:] != bad[:-1], bad.size > 0))  # the last of each run of equal scores
    return Curve(
        true=(ends + 1).astype(np.float64),
        false=(good.size - np.searchsorted(good, bad[ends], side="left")).astype(np.float64),
        false_before=(good.size - np.searchsorted(good, bad[ends], side="right")).astype(np.float64),
        good=good.size,
    )


def weighed(curve: Curve, weights: NDArray[np.float64]) -> Curve:
    """The same scores where defective samples weigh this much. weights: (B,) in the order of `curve_of`."""
    return replace(curve, true=np.cumsum(weights)[curve.true.astype(np.int64) - 1])


def auroc_of(curve: Curve) -> float | None:
    """Probability that a defective sample scores above a good one; None where one kind is missing."""
    return area_up_to(curve, 1.0) / float(curve.true[-1]) if curve.is_defined else None


def average_precision_of(curve: Curve) -> float | None:
    """Sum over thresholds of the recall gained times the precision there."""
    # Without a good sample it would be 1 for any scores, which says nothing: None, as for the others.
    if not curve.is_defined:
        return None
    gained = np.diff(curve.true, prepend=0.0)
    return float(np.sum(gained * curve.true / (curve.true + curve.false)) / curve.true[-1])


def f1_max_of(curve: Curve) -> float | None:
    """The F1 score at the best of all thresholds."""
    if not curve.is_defined:
        return None
    return float(np.max(2 * curve.true / (curve.true[-1] + curve.true + curve.false)))


def area_up_to(curve: Curve, limit: float) -> float:
    """Area under true over the false positive rate up to the limit: trapezoids, the last one cut by interpolation."""
    x, y = corners_of(curve)
    inside = int(np.searchsorted(x, limit, side="right"))
    if inside < x.size:
        part = (limit - x[inside - 1]) / (x[inside] - x[inside - 1])
        x = np.append(x[:inside], limit)
        y = np.append(y[:inside], y[inside - 1] + part * (y[inside] - y[inside - 1]))
    return float(np.sum(np.diff(x) * (y[1:] + y[:-1])) / 2)


def corners_of(curve: Curve) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """False positive rate and weight of true positives, (2 T + 2,) each, from (0, 0) to (1, all)."""
    rises = np.stack([curve.false_before, curve.false], axis=1).reshape(-1)
    x = np.concatenate([[0.0], rises, [curve.good]]) / curve.good
    y = np.append(np.repeat(np.append(0.0, curve.true), 2), curve.true[-1])[: x.size]
    return x, y
