"""Where a range cuts off, on histograms whose answer is known."""

from __future__ import annotations

from typing import get_args

import numpy as np
import pytest

pytest.importorskip("onnx", reason="onnx is the workstation's alone: pip install 'edge-resad[workstation]'")
pytest.importorskip("torch", reason="torch is the workstation's alone: pip install 'edge-resad[workstation]'")

from numpy.typing import NDArray

from calibration.methods import BINS, Histogram, find_range
from export.ranges import Method

METHODS: tuple[Method, ...] = get_args(Method)


def _histogram(values: NDArray[np.float64]) -> Histogram:
    counts, edges = np.histogram(values, BINS)
    return Histogram(float(edges[0]), float(edges[-1]), counts.astype(np.int64), np.array([values.mean()]))


def _normal(outliers: int = 0) -> Histogram:
    values = np.random.default_rng(0).standard_normal(200_000)
    return _histogram(np.concatenate([values, np.full(outliers, 80.0)]))


def test_max_cuts_nothing_off() -> None:
    histogram = _normal(outliers=1)
    found = find_range(histogram, "max")
    assert (found.low, found.high) == (histogram.low, histogram.high)


@pytest.mark.parametrize("method", ["percentile", "entropy"])
def test_one_value_far_away_does_not_spread_the_range(method: Method) -> None:
    found = find_range(_normal(outliers=1), method)
    assert 2 < found.high < 20


@pytest.mark.parametrize("method", METHODS)
def test_a_range_lies_within_what_was_seen(method: Method) -> None:
    histogram = _normal(outliers=3)
    found = find_range(histogram, method)
    assert histogram.low <= found.low < 0 < found.high <= histogram.high


@pytest.mark.parametrize("method", METHODS)
def test_what_is_never_negative_keeps_zero_as_its_low(method: Method) -> None:
    values = np.maximum(np.random.default_rng(0).standard_normal(100_000), 0)
    assert find_range(_histogram(values), method).low == pytest.approx(0, abs=1e-9)


@pytest.mark.parametrize("method", METHODS)
def test_a_tensor_that_is_always_the_same_has_a_range(method: Method) -> None:
    found = find_range(Histogram(0.0, 0.0, np.zeros(BINS, np.int64), np.zeros(3)), method)
    assert (found.low, found.high) == (0, 0)


def test_mse_cuts_where_the_error_is_least() -> None:
    histogram = _normal()
    values, counts = histogram.centres, histogram.counts

    def error(low: float, high: float) -> float:
        step = (high - low) / 255
        return float(
            (counts * np.square(values - (np.clip(np.rint((values - low) / step), 0, 255) * step + low))).sum()
        )

    found = find_range(histogram, "mse")
    assert error(found.low, found.high) < error(histogram.low, histogram.high)
    assert error(found.low, found.high) < error(0.5 * found.low, 0.5 * found.high)


def test_the_percentile_leaves_one_value_in_ten_thousand_outside() -> None:
    histogram = _normal()
    found = find_range(histogram, "percentile")
    outside = histogram.counts[(histogram.centres < found.low) | (histogram.centres > found.high)].sum()
    assert 5 <= outside <= 20


def test_means_are_kept() -> None:
    assert find_range(_normal(), "mse").means == pytest.approx((0.0,), abs=0.01)
