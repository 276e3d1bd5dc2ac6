"""Pixel metrics in bounded memory: counts by score that are added up over images, runs and machines."""

from __future__ import annotations

import io
import math
from collections.abc import Iterable
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import ArrayLike, NDArray

from edge_resad.evaluation.curve import Curve
from edge_resad.evaluation.metrics import (
    FALSE_POSITIVE_LIMIT,
    PixelMetrics,
    check_limit,
    flat,
    pixel_metrics_of,
    region_shares,
)

BINS = 65536


@dataclass(frozen=True, kw_only=True, eq=False)
class PixelHistogram:
    """How many good and how many defective pixels have a score in each of equally wide bins from low to high.

    Scores outside count in the first or last bin. Within a bin scores are taken for equal: `error` says how much that
    can change. Adding makes a new histogram and leaves this one as it is.
    """

    low: float
    high: float
    good: NDArray[np.int64]  # (bins,) good pixels
    bad: NDArray[np.int64]  # (bins,) defective pixels
    share: NDArray[np.float64]  # (bins,) of defective pixels: sum of 1 / (pixels of the region each belongs to)
    regions: int  # 8-connected defects

    @classmethod
    def empty(cls, low: float, high: float, bins: int = BINS) -> PixelHistogram:
        """Without a pixel yet; 24 bytes a bin. Choose a range that holds nearly all scores."""
        if not (math.isfinite(low) and math.isfinite(high) and low < high and bins > 0):
            raise ValueError(f"a histogram needs low < high and at least one bin, got {low}, {high}, {bins}")
        counts = np.zeros(bins, np.int64)
        return cls(low=low, high=high, good=counts, bad=counts, share=np.zeros(bins), regions=0)

    def add(self, maps: Iterable[ArrayLike], masks: Iterable[ArrayLike]) -> PixelHistogram:
        """With these images too. maps: each (h, w), finite. masks: each (h, w), non-zero where it is defective."""
        good, bad, share, regions = self.good.copy(), self.bad.copy(), self.share.copy(), self.regions
        for anomaly_map, mask in zip(maps, masks, strict=True):
            if np.shape(anomaly_map) != np.shape(mask):
                raise ValueError(f"a map of {np.shape(anomaly_map)} with a mask of {np.shape(mask)}")
            bins, defective = self._bins(flat(anomaly_map)), np.asarray(mask) != 0
            shares, found = region_shares(defective)
            is_bad = defective.reshape(-1)
            good += np.bincount(bins[~is_bad], minlength=good.size)
            bad += np.bincount(bins[is_bad], minlength=good.size)
            share += np.bincount(bins[is_bad], weights=shares, minlength=good.size)
            regions += found
        return replace(self, good=good, bad=bad, share=share, regions=regions)

    def merge(self, other: PixelHistogram) -> PixelHistogram:
        """Both together, as if one had seen all images. ValueError where their bins are not the same."""
        if (self.low, self.high, self.good.size) != (other.low, other.high, other.good.size):
            raise ValueError(
                f"histograms over {self.low}..{self.high} in {self.good.size} bins and over {other.low}..{other.high} "
                f"in {other.good.size} cannot be added"
            )
        return replace(
            self,
            good=self.good + other.good,
            bad=self.bad + other.bad,
            share=self.share + other.share,
            regions=self.regions + other.regions,
        )

    def metrics(self, limit: float = FALSE_POSITIVE_LIMIT) -> PixelMetrics:
        """Every bin's edge as a threshold. limit: how far AUPRO integrates."""
        check_limit(limit)
        return pixel_metrics_of(self._curve(self.bad), self._curve(self.share), self.regions, limit)

    def error(self, limit: float = FALSE_POSITIVE_LIMIT) -> PixelMetrics:
        """How far each of `metrics` can be from its exact value, whatever the order of the scores within the bins.

        Half a bin's rectangle for the areas; the best and the worst order for the others. None where the metric is.
        """
        check_limit(limit)
        pixels, by_region = self._curve(self.bad), self._curve(self.share)
        if not pixels.is_defined:
            return PixelMetrics(auroc=None, average_precision=None, f1_max=None, aupro=None)
        return PixelMetrics(
            auroc=_area_error(pixels, 1.0) / float(pixels.true[-1]),
            average_precision=_average_precision_error(pixels),
            f1_max=_f1_error(pixels),
            aupro=_area_error(by_region, limit) / (limit * self.regions),
        )

    def as_bytes(self) -> bytes:
        """For a file or a message; `from_bytes` reads it. Empty bins take next to nothing."""
        packed = io.BytesIO()
        np.savez_compressed(
            packed, range=[self.low, self.high], good=self.good, bad=self.bad, share=self.share, regions=self.regions
        )
        return packed.getvalue()

    @classmethod
    def from_bytes(cls, packed: bytes) -> PixelHistogram:
        """What `as_bytes` wrote."""
        with np.load(io.BytesIO(packed), allow_pickle=False) as stored:
            low, high = (float(edge) for edge in stored["range"])
            return cls(
                low=low,
                high=high,
                good=stored["good"],
                bad=stored["bad"],
                share=stored["share"],
                regions=int(stored["regions"]),
            )

    def _bins(self, scores: NDArray[np.floating]) -> NDArray[np.int64]:
        places = (scores.astype(np.float64) - self.low) * (self.good.size / (self.high - self.low))
        return np.clip(places, 0, self.good.size - 1).astype(np.int64)

    def _curve(self, weights: NDArray[np.int64] | NDArray[np.float64]) -> Curve:
        above = np.cumsum(self.good[::-1])
        here = self.bad[::-1] > 0
        return Curve(
            true=np.cumsum(weights[::-1])[here].astype(np.float64),
            false=above[here].astype(np.float64),
            false_before=(above - self.good[::-1])[here].astype(np.float64),
            good=int(above[-1]),
        )


def _area_error(curve: Curve, limit: float) -> float:
    """The curve rises somehow from one corner of each bin's rectangle to the other; the metric takes the diagonal.

    The rectangle that the limit cuts counts whole as high and as wide as lies below the limit.
    """
    left, right = curve.false_before / curve.good, curve.false / curve.good
    wide = np.clip(np.minimum(right, limit) - left, 0, None)
    share = np.where(right > limit, 1.0, 0.5)
    return float(np.sum(share * wide * np.diff(curve.true, prepend=0.0)))


def _f1_error(curve: Curve) -> float:
    """To the F1 that a bin would have if its defective pixels all came before its good ones."""
    everything = curve.true[-1]
    best = np.max(2 * curve.true / (everything + curve.true + curve.false_before))
    return float(best - np.max(2 * curve.true / (everything + curve.true + curve.false)))


def _average_precision_error(curve: Curve) -> float:
    """To the order with the defective pixels of every bin first, or to that with its good pixels first."""
    before, gained = curve.true - np.diff(curve.true, prepend=0.0), np.diff(curve.true, prepend=0.0)
    taken = gained * curve.true / (curve.true + curve.false)
    first = gained * curve.true / (curve.true + curve.false_before)
    # One by one after the good pixels, precision rises as x / (x + false): its sum is at least the integral.
    last = gained - curve.false * np.log((curve.true + curve.false) / np.maximum(before + curve.false, 1e-300))
    last = np.where(curve.false > 0, last, gained)
    return float(max(np.sum(first - taken), np.sum(taken - last)) / curve.true[-1])
