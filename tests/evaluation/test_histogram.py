"""Histograms of pixels add up, stay within the error they state and take bounded memory."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from edge_resad.evaluation.histogram import PixelHistogram
from edge_resad.evaluation.metrics import pixel_metrics

METRICS = ("auroc", "average_precision", "f1_max", "aupro")
Images = tuple[NDArray[np.float64], NDArray[np.bool_]]


def _images(seed: int, count: int = 6, values: int | None = None) -> Images:
    random = np.random.default_rng(seed)
    masks = random.random((count, 24, 24)) < 0.08
    masks[0] = False
    maps = random.normal(size=masks.shape) + 1.2 * masks
    return (np.round(maps * values) / values if values else maps), masks


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("bins", [3, 20, 1000, 65536])
@pytest.mark.parametrize("values", [None, 4], ids=["few ties", "many ties"])
@pytest.mark.parametrize("limit", [0.05, 0.3])
def test_the_stated_error_holds(seed: int, bins: int, values: int | None, limit: float) -> None:
    maps, masks = _images(seed, values=values)
    histogram = PixelHistogram.empty(-3.0, 3.0, bins).add(maps, masks)
    found, error, exact = histogram.metrics(limit), histogram.error(limit), pixel_metrics(maps, masks, limit)
    for name in METRICS:
        assert abs(getattr(found, name) - getattr(exact, name)) <= getattr(error, name) + 1e-12, name


def test_many_bins_are_near_the_exact_value() -> None:
    maps, masks = _images(0)
    histogram = PixelHistogram.empty(-6.0, 6.0).add(maps, masks)
    found, error, exact = histogram.metrics(), histogram.error(), pixel_metrics(maps, masks)
    for name in METRICS:
        assert getattr(found, name) == pytest.approx(getattr(exact, name), abs=1e-3)
        assert getattr(error, name) < 5e-3
    assert found.overlap == pytest.approx(exact.overlap, abs=1e-2)  # a step may fall into the next point


def test_scores_that_fill_a_bin_each_are_exact() -> None:
    random = np.random.default_rng(1)
    maps, masks = random.integers(0, 50, (4, 16, 16)).astype(np.float64), random.random((4, 16, 16)) < 0.2
    found, exact = PixelHistogram.empty(0.0, 50.0, 50).add(maps, masks).metrics(), pixel_metrics(maps, masks)
    for name in METRICS:
        assert getattr(found, name) == pytest.approx(getattr(exact, name), abs=1e-12)


def test_two_together_are_what_one_alone_would_have_seen() -> None:
    (maps, masks), (more_maps, more_masks) = _images(1), _images(2)
    empty = PixelHistogram.empty(-3.0, 3.0, 500)
    merged = empty.add(maps, masks).merge(empty.add(more_maps, more_masks))
    whole = empty.add([*maps, *more_maps], [*masks, *more_masks])
    assert np.array_equal(merged.good, whole.good)
    assert np.array_equal(merged.bad, whole.bad)
    assert merged.share == pytest.approx(whole.share)
    assert merged.metrics().aupro == pytest.approx(whole.metrics().aupro)
    assert merged.regions == whole.regions


def test_adding_leaves_the_histogram_as_it_was() -> None:
    empty = PixelHistogram.empty(0.0, 1.0, 10)
    empty.add(*_images(0))
    assert empty.good.sum() == empty.bad.sum() == empty.regions == 0


def test_what_was_packed_comes_back() -> None:
    histogram = PixelHistogram.empty(-3.0, 3.0, 100).add(*_images(0))
    unpacked = PixelHistogram.from_bytes(histogram.as_bytes())
    assert unpacked.metrics() == histogram.metrics()
    assert unpacked.merge(histogram).good.sum() == 2 * histogram.good.sum()


def test_memory_does_not_grow_with_images() -> None:
    empty = PixelHistogram.empty(-3.0, 3.0, 100)
    sizes = {array.nbytes for one in (empty, empty.add(*_images(0, 40))) for array in (one.good, one.bad, one.share)}
    assert sizes == {800}


def test_scores_outside_count_at_the_ends() -> None:
    histogram = PixelHistogram.empty(0.0, 1.0, 4).add([np.array([[-5.0, 1.0], [9.0, 0.5]])], [np.zeros((2, 2))])
    assert histogram.good.tolist() == [1, 0, 1, 2]


def test_histograms_with_other_bins_cannot_be_added() -> None:
    with pytest.raises(ValueError, match=r"over 0\.0\.\.1\.0 in 4 bins and over 0\.0\.\.2\.0 in 4 cannot be added"):
        PixelHistogram.empty(0.0, 1.0, 4).merge(PixelHistogram.empty(0.0, 2.0, 4))


@pytest.mark.parametrize(("low", "high", "bins"), [(1.0, 1.0, 4), (0.0, float("inf"), 4), (0.0, 1.0, 0)])
def test_a_histogram_needs_a_range_and_a_bin(low: float, high: float, bins: int) -> None:
    with pytest.raises(ValueError, match="low < high"):
        PixelHistogram.empty(low, high, bins)


@pytest.mark.parametrize("mask", [np.zeros((4, 4)), np.ones((4, 4))], ids=["all good", "all defective"])
def test_one_side_alone_has_neither_metrics_nor_errors(mask: NDArray[np.float64]) -> None:
    histogram = PixelHistogram.empty(0.0, 1.0, 4).add([np.zeros((4, 4))], [mask])
    for found in (histogram.metrics(), histogram.error()):
        assert all(getattr(found, name) is None for name in METRICS)


def test_a_map_and_its_mask_have_one_size() -> None:
    with pytest.raises(ValueError, match=r"\(4, 4\) with a mask of \(2, 8\)"):
        PixelHistogram.empty(0.0, 1.0, 4).add([np.zeros((4, 4))], [np.zeros((2, 8))])
