"""AUPIMO is what its definition says, by hand and by trying very many thresholds."""

from __future__ import annotations

import math

import numpy as np
import pytest
from numpy.typing import NDArray

from edge_resad.evaluation.pimo import aupimo


def _powers_of_ten() -> NDArray[np.float32]:
    """1000 x 1000: one pixel of 7, nine of 6, ... so that a share of 10^-6, 10^-5, ... 1 is at or above 7, 6, ... 1."""
    counts = [1, 9, 90, 900, 9000, 90000, 900000]
    return np.repeat(np.arange(7, 0, -1).astype(np.float32), counts).reshape(1000, 1000)


MAPS = [_powers_of_ten()] * 3
GOOD = np.zeros((1000, 1000), np.uint8)
ALL = np.ones((1000, 1000), np.uint8)
HIGHEST = (np.arange(1_000_000) < 100_000).astype(np.uint8).reshape(1000, 1000)


@pytest.mark.parametrize(
    ("bounds", "of_all", "of_highest"),
    [
        ((1e-1, 1.0), 0.55, 1.0),
        ((1e-3, 1e-1), (0.0055 + 0.055) / 2, (0.055 + 0.55) / 2),
        ((1e-5, 1e-4), 5.5e-5, 5.5e-4),
    ],
)
def test_the_published_example_comes_out(bounds: tuple[float, float], of_all: float, of_highest: float) -> None:
    """The example that the paper's code is tested with: the same map is good once and twice defective."""
    found = aupimo(MAPS, [GOOD, ALL, HIGHEST], bounds)
    assert found[0] is None
    assert found[1:] == pytest.approx([of_all, of_highest], rel=1e-9)


def test_the_scale_of_scores_does_not_matter() -> None:
    masks = [GOOD, ALL, HIGHEST]
    assert aupimo([10 * one for one in MAPS], masks) == pytest.approx(aupimo(MAPS, masks))


def _tried(
    maps: NDArray[np.float64], masks: NDArray[np.uint8], bounds: tuple[float, float], thresholds: int
) -> list[float | None]:
    """The definition, threshold by threshold, those between the bounds only."""
    good = [one for one, mask in zip(maps, masks, strict=True) if not mask.any()]
    ladder = np.linspace(min(map(np.min, good)), max(map(np.max, good)), thresholds)
    rate = np.mean([(one.size - np.searchsorted(np.sort(one, axis=None), ladder)) / one.size for one in good], axis=0)
    first, last = np.argmin(np.abs(rate - bounds[1])), np.argmin(np.abs(rate - bounds[0]))
    x = np.log(rate[first : last + 1])[::-1]
    found: list[float | None] = []
    for one, mask in zip(maps, masks, strict=True):
        if mask.any():
            bad = np.sort(one[mask > 0])
            y = ((bad.size - np.searchsorted(bad, ladder[first : last + 1])) / bad.size)[::-1]
            found.append(float(np.sum(np.diff(x) * (y[1:] + y[:-1])) / 2 / math.log(bounds[1] / bounds[0])))
        else:
            found.append(None)
    return found


@pytest.mark.parametrize("seed", range(3))
def test_it_is_what_very_many_thresholds_give(seed: int) -> None:
    random = np.random.default_rng(seed)
    masks = np.zeros((8, 40, 40), np.uint8)
    masks[4:, 5:15, 5:25] = 1
    maps = random.random(masks.shape) ** 2 + 0.7 * masks * random.random(masks.shape)
    bounds = (10 / 6400, 320 / 6400)
    found, tried = aupimo(list(maps), list(masks), bounds), _tried(maps, masks, bounds, 1_000_000)
    assert found[:4] == tried[:4] == [None] * 4
    assert found[4:] == pytest.approx(tried[4:], abs=1e-4)


def test_good_images_of_different_size_count_the_same() -> None:
    large, small = np.zeros((100, 100)), np.zeros((10, 10))
    large.flat[:100] = 2.0  # 1 % of its pixels
    small.flat[:1] = 1.0  # 1 % of its pixels
    defect = np.full((10, 10), 1.5)
    # At a threshold of 2 the shared rate is 0.005; at 1 it is 0.01. The defect lies between the two.
    (found,) = aupimo(
        [large, small, defect], [np.zeros((100, 100)), np.zeros((10, 10)), np.ones((10, 10))], (5e-3, 1e-2)
    )[2:]
    assert found == pytest.approx(1.0)


def test_a_perfect_detector_gets_one_and_a_blind_one_zero() -> None:
    random = np.random.default_rng(0)
    masks = np.zeros((4, 50, 50), np.uint8)
    masks[2:, 10:20, 10:20] = 1
    noise = random.random(masks.shape)
    assert aupimo(list(noise + masks), list(masks), (1e-3, 1e-2))[2:] == pytest.approx([1.0, 1.0])
    assert aupimo(list(noise - masks), list(masks), (1e-3, 1e-2))[2:] == pytest.approx([0.0, 0.0])


def test_random_scores_get_the_mean_rate_over_its_logarithm() -> None:
    random = np.random.default_rng(0)
    masks = np.zeros((20, 200, 200), np.uint8)
    masks[10:] = 1
    found = [
        value for value in aupimo(list(random.random(masks.shape)), list(masks), (1e-2, 1e-1)) if value is not None
    ]
    assert np.mean(found) == pytest.approx((1e-1 - 1e-2) / math.log(10), rel=0.02)


def test_a_constant_map_has_none() -> None:
    flat = [np.ones((8, 8))] * 2
    assert aupimo(flat, [np.zeros((8, 8)), np.ones((8, 8))]) == [None, None]


def test_without_good_images_or_with_too_few_pixels_of_them_there_is_none() -> None:
    maps = [np.arange(64.0).reshape(8, 8)] * 2
    assert aupimo(maps, [np.ones((8, 8))] * 2, (0.1, 0.5)) == [None, None]
    assert aupimo(maps, [np.zeros((8, 8)), np.ones((8, 8))], (1 / 65, 0.5)) == [None, None]
    assert aupimo(maps, [np.zeros((8, 8)), np.ones((8, 8))], (1 / 64, 0.5))[1] is not None


def test_only_good_images_have_none() -> None:
    assert aupimo([np.arange(64.0).reshape(8, 8)], [np.zeros((8, 8))], (0.1, 0.5)) == [None]
    assert aupimo([], []) == []


@pytest.mark.parametrize("bounds", [(0.0, 0.5), (0.5, 0.5), (0.1, 1.5)])
def test_the_bounds_are_rates(bounds: tuple[float, float]) -> None:
    with pytest.raises(ValueError, match="rates"):
        aupimo([], [], bounds)


def test_a_map_and_its_mask_have_as_many_pixels() -> None:
    with pytest.raises(ValueError, match="16 pixels with a mask of 4"):
        aupimo([np.zeros((4, 4))], [np.zeros((2, 2))])


def test_a_map_that_is_not_finite_is_refused() -> None:
    with pytest.raises(ValueError, match="finite"):
        aupimo([np.full((2, 2), np.nan)], [np.ones((2, 2))])
