"""The metrics agree with scikit-learn and with counting by hand, ties included."""

from __future__ import annotations

import itertools
from collections import deque

import numpy as np
import pytest
from numpy.typing import NDArray
from sklearn.metrics import average_precision_score, precision_recall_curve, roc_auc_score

from edge_resad.evaluation.metrics import aupro, auroc, average_precision, f1_max, pixel_metrics

Samples = tuple[NDArray[np.float64], NDArray[np.int64]]


@pytest.fixture(params=[(2, 40), (5, 300), (1000, 300), (10**9, 2000)], ids=lambda p: f"{p[0]} values of {p[1]}")
def samples(request: pytest.FixtureRequest) -> Samples:
    values, number = request.param
    random = np.random.default_rng(number)
    labels = (random.random(number) < 0.3).astype(np.int64)
    return (random.integers(0, values, number) + labels * values / 4).round() / values, labels


def test_auroc_is_scikit_learns(samples: Samples) -> None:
    assert auroc(*samples) == pytest.approx(roc_auc_score(samples[1], samples[0]), abs=1e-12)


def test_average_precision_is_scikit_learns(samples: Samples) -> None:
    assert average_precision(*samples) == pytest.approx(average_precision_score(samples[1], samples[0]), abs=1e-12)


def test_f1_max_is_the_best_of_scikit_learns_curve(samples: Samples) -> None:
    precision, recall, _ = precision_recall_curve(samples[1], samples[0])
    best = np.max(2 * precision * recall / np.maximum(precision + recall, 1e-30))
    assert f1_max(*samples) == pytest.approx(best, abs=1e-12)


def test_perfect_scores_give_one() -> None:
    scores, labels = [0.1, 0.2, 0.8, 0.9], [0, 0, 1, 1]
    assert auroc(scores, labels) == average_precision(scores, labels) == f1_max(scores, labels) == 1.0


def test_scores_turned_round_give_zero_auroc() -> None:
    assert auroc([0.9, 0.8, 0.2, 0.1], [0, 0, 1, 1]) == 0.0


def test_constant_scores_say_nothing() -> None:
    scores, labels = np.full(8, 0.5), [1, 1, 0, 0, 0, 0, 0, 0]
    assert auroc(scores, labels) == 0.5
    assert average_precision(scores, labels) == 0.25
    assert f1_max(scores, labels) == pytest.approx(0.4)


@pytest.mark.parametrize("labels", [[0, 0, 0], [1, 1, 1]])
def test_one_side_alone_has_no_metric(labels: list[int]) -> None:
    scores = [0.1, 0.2, 0.3]
    assert auroc(scores, labels) is average_precision(scores, labels) is f1_max(scores, labels) is None


def test_no_samples_have_no_metric() -> None:
    assert auroc([], []) is average_precision([], []) is f1_max([], []) is aupro([], []) is None


def test_scores_that_are_not_numbers_are_refused() -> None:
    with pytest.raises(ValueError, match="finite"):
        auroc([0.1, float("nan")], [0, 1])
    with pytest.raises(ValueError, match="finite"):
        aupro([np.full((2, 2), np.inf)], [np.eye(2)])


def test_scores_and_labels_must_be_as_many() -> None:
    with pytest.raises(ValueError, match="3 scores but 2 labels"):
        auroc([1, 2, 3], [0, 1])


def _regions(mask: NDArray[np.uint8]) -> list[NDArray[np.bool_]]:
    """8-connected regions by flooding."""
    left, found = {(int(y), int(x)) for y, x in np.argwhere(mask)}, []
    while left:
        region, queue = np.zeros(mask.shape, bool), deque([left.pop()])
        while queue:
            y, x = queue.popleft()
            region[y, x] = True
            near = {(y + dy, x + dx) for dy in (-1, 0, 1) for dx in (-1, 0, 1)} & left
            left -= near
            queue.extend(near)
        found.append(region)
    return found


def _aupro_by_thresholds(maps: NDArray[np.float64], masks: NDArray[np.uint8], limit: float) -> float:
    curve = [(0.0, 0.0)]
    regions = [
        (anomaly_map, region) for anomaly_map, mask in zip(maps, masks, strict=True) for region in _regions(mask)
    ]
    for threshold in np.unique(maps)[::-1]:
        overlap = np.mean([np.mean(anomaly_map[region] >= threshold) for anomaly_map, region in regions])
        curve.append((float(np.mean(maps[masks == 0] >= threshold)), float(overlap)))
    x, y = np.array(curve).T
    ticks = np.unique(np.append(x[x < limit], limit))
    area = 0.0
    for left, right in itertools.pairwise(ticks):
        after_jump = y[np.flatnonzero(x == left)[-1]]
        before_jump = np.interp(right, x, y) if right not in x else y[np.flatnonzero(x == right)[0]]
        area += (right - left) * (after_jump + before_jump) / 2
    return float(area / limit)


@pytest.mark.parametrize("values", [3, 20, 10**6])
@pytest.mark.parametrize("limit", [0.05, 0.3, 1.0])
@pytest.mark.parametrize("seed", range(4))
def test_aupro_is_what_trying_every_threshold_gives(values: int, limit: float, seed: int) -> None:
    random = np.random.default_rng(seed)
    masks = (random.random((4, 8, 8)) < 0.15).astype(np.uint8)
    masks[0] = 0
    maps = random.integers(0, values, masks.shape) / values + 0.3 * masks
    assert aupro(maps, masks, limit) == pytest.approx(_aupro_by_thresholds(maps, masks, limit), abs=1e-12)


def _two_defects() -> NDArray[np.uint8]:
    mask = np.zeros((16, 16), np.uint8)
    mask[1:9, 1:9] = 255  # 64 pixels
    mask[12:14, 12:14] = 255  # 4 pixels
    return mask


def test_a_perfect_map_has_aupro_one() -> None:
    mask = _two_defects()
    assert aupro([mask / 255.0], [mask]) == pytest.approx(1.0)


def test_finding_the_large_defect_alone_is_worth_half() -> None:
    mask = _two_defects()
    only_large = np.zeros((16, 16))
    only_large[1:9, 1:9] = 1.0
    only_large[mask == 0] = 0.5
    assert aupro([only_large], [mask]) == pytest.approx(0.5)


def test_a_constant_map_has_the_area_of_the_diagonal() -> None:
    assert aupro([np.ones((16, 16))], [_two_defects()], limit=0.3) == pytest.approx(0.15)


def test_defects_that_touch_at_a_corner_are_one() -> None:
    mask = np.zeros((8, 8), np.uint8)
    mask[1, 1] = mask[2, 2] = mask[2, 3] = 1
    found = np.full((8, 8), 0.5)
    found[mask == 1] = 0.0
    found[1, 1] = 1.0
    assert aupro([found], [mask]) == pytest.approx(1 / 3)


def test_good_images_count_as_false_positives() -> None:
    mask = _two_defects()
    maps = [mask / 255.0, np.full((16, 16), 2.0)]
    alone, with_a_false_alarm = aupro(maps[:1], [mask]), aupro(maps, [mask, np.zeros_like(mask)])
    assert alone == pytest.approx(1.0)
    assert with_a_false_alarm == 0.0  # the good image alone is more than 30 % of the good pixels


@pytest.mark.parametrize("mask", [np.zeros((4, 4)), np.ones((4, 4))])
def test_pixels_of_one_kind_alone_have_no_metric(mask: NDArray[np.float64]) -> None:
    result = pixel_metrics([np.random.default_rng(0).random((4, 4))], [mask])
    assert result.auroc is result.average_precision is result.f1_max is result.aupro is None
    assert result.overlap == ()


def test_pixels_are_pooled_over_all_images() -> None:
    random = np.random.default_rng(3)
    masks = (random.random((5, 12, 12)) < 0.1).astype(np.uint8)
    maps = random.integers(0, 30, masks.shape).astype(np.float32) + 5 * masks
    result = pixel_metrics(maps, masks)
    assert result.auroc == pytest.approx(roc_auc_score(masks.ravel(), maps.ravel()), abs=1e-12)
    assert result.average_precision == pytest.approx(average_precision_score(masks.ravel(), maps.ravel()), abs=1e-12)
    precision, recall, _ = precision_recall_curve(masks.ravel(), maps.ravel())
    best = np.max(2 * precision * recall / np.maximum(precision + recall, 1e-30))
    assert result.f1_max == pytest.approx(best, abs=1e-12)
    assert result.aupro == aupro(maps, masks)


def test_aupro_is_the_area_under_the_overlap_that_is_plotted() -> None:
    random = np.random.default_rng(4)
    masks = np.zeros((10, 64, 64), np.uint8)
    masks[5:, 10:20, 10:20] = 1
    maps = random.random(masks.shape) + 0.3 * masks
    for limit in (0.05, 0.3, 1.0):
        result = pixel_metrics(maps, masks, limit)
        overlap = np.array(result.overlap)
        assert overlap.shape == (61,)
        assert (np.diff(overlap) >= 0).all()
        assert float(np.mean((overlap[1:] + overlap[:-1]) / 2)) == pytest.approx(result.aupro, abs=0.01)


def test_the_overlap_at_no_false_positive_is_what_lies_above_every_good_pixel() -> None:
    mask = np.zeros((8, 8), np.uint8)
    mask[:2, :2] = 1
    found = np.random.default_rng(0).random((8, 8))
    found[0, :2] = 2.0  # half of the defect
    assert pixel_metrics([found], [mask]).overlap[0] == pytest.approx(0.5)


def test_a_map_and_its_mask_have_one_size() -> None:
    with pytest.raises(ValueError, match=r"\(4, 4\) with a mask of \(2, 8\)"):
        aupro([np.zeros((4, 4))], [np.zeros((2, 8))])


@pytest.mark.parametrize("limit", [0.0, -1.0, 1.5])
def test_the_limit_is_a_rate(limit: float) -> None:
    with pytest.raises(ValueError, match="rate"):
        aupro([np.zeros((4, 4))], [np.eye(4)], limit)
