"""How far a precision is from FP32 on real frames: nobody has to know which of them are defective."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from edge_resad.bundle import Bundle
from edge_resad.errors import BundleError
from export.sample import Sample
from export.way import Way, WayScorer


@dataclass(frozen=True, kw_only=True)
class Judged:
    """What one way says of parts, over its bank's thresholds: from 1 on a cell belongs to a defect, and a part fails.

    maps:   (n, h, w).
    scores: (n,).
    """

    maps: NDArray[np.float64]
    scores: NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class Agreement:
    """One way beside FP32, on one sample. Differences are in thresholds: 0.1 is a tenth of one."""

    sample: str
    way: str
    parts: int
    rank_correlation: float  # Spearman's, of the scores
    map_correlation: float  # Pearson's, mean over the parts
    map_mean: float  # absolute difference, over all cells
    map_largest: float
    score_mean: float  # absolute difference, over the parts
    score_largest: float
    other_verdicts: int  # parts that one passes and the other fails


def agreement(sample: str, way: str, found: Judged, expected: Judged) -> Agreement:
    """Compare what a way found with what FP32 found on the same parts."""
    maps, scores = np.abs(found.maps - expected.maps), np.abs(found.scores - expected.scores)
    pairs = zip(found.maps, expected.maps, strict=True)
    return Agreement(
        sample=sample,
        way=way,
        parts=len(scores),
        rank_correlation=rank_correlation(found.scores, expected.scores),
        map_correlation=float(np.mean([correlation(ours, theirs) for ours, theirs in pairs])),
        map_mean=float(maps.mean()),
        map_largest=float(maps.max()),
        score_mean=float(scores.mean()),
        score_largest=float(scores.max()),
        other_verdicts=int(((found.scores >= 1) != (expected.scores >= 1)).sum()),
    )


def judge_sample(
    bundle: Bundle, way: Way, sample: Sample, *, threads: int = 1, step: Callable[[], None] = lambda: None
) -> Judged:
    """Enrol the references, judge the parts.

    The bank holds no turned copies: whether it should is a choice that a last digit may tip.

    step: called after every part.

    Raises:
        BundleError: a map or a score that is no number.
    """
    maps, scores = [], []
    with WayScorer(bundle, way, threads=threads, augment="off") as scorer:
        scorer.enrol(sample.references, seed=0)
        for part in sample.parts:
            score_map, score = scorer.score(part)
            if not (np.isfinite(score) and np.isfinite(score_map).all()):
                raise BundleError(
                    f"the graphs of {way.name} in {bundle.path} give a map or a score that is no number for a part of "
                    f"{sample.name}. Expected finite ones. Export again without what makes them: a head or ranges "
                    "whose values that precision cannot hold (--head none, --ranges none)."
                )
            maps.append(score_map / scorer.inspector.region_threshold)
            scores.append(score / scorer.inspector.threshold)
            step()
    return Judged(maps=np.array(maps, np.float64), scores=np.array(scores, np.float64))


def correlation(found: ArrayLike, expected: ArrayLike) -> float:
    """Pearson's, -1 to 1, of two arrays of one shape; where one of them is constant 0, or 1 if both are the same."""
    ours, theirs = np.asarray(found, np.float64).reshape(-1), np.asarray(expected, np.float64).reshape(-1)
    if np.array_equal(ours, theirs):
        return 1.0
    ours, theirs = ours - ours.mean(), theirs - theirs.mean()
    size = float(np.linalg.norm(ours) * np.linalg.norm(theirs))
    return float(ours @ theirs) / size if size > 0 else 0.0


def rank_correlation(found: ArrayLike, expected: ArrayLike) -> float:
    """Spearman's: Pearson's of the ranks, equal values sharing the mean of theirs."""
    return correlation(_ranks(np.asarray(found)), _ranks(np.asarray(expected)))


def _ranks(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """(n,) from 0, in the order of the values (n,)."""
    ordered = np.sort(values)
    ranks = (np.searchsorted(ordered, values, "left") + np.searchsorted(ordered, values, "right") - 1) / 2
    return np.asarray(ranks, np.float64)
