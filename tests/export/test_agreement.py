"""Two precisions are compared by what they say of the same parts."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("torch", reason="torch is the workstation's alone: pip install 'edge-resad[workstation]'")
pytest.importorskip("onnx", reason="onnx is the workstation's alone: pip install 'edge-resad[workstation]'")

from export.accuracy import Accuracy
from export.agreement import Agreement, Judged, agreement, correlation, rank_correlation
from export.bootstrap import Change
from export.budget import FP16, INT8, budget_of, misses
from export.way import MIXED

MAPS = np.random.default_rng(0).random((4, 8, 8))
SCORES = np.array([0.5, 0.9, 1.1, 2.0])


def test_what_is_the_same_agrees_fully() -> None:
    found = agreement("parts", "fp16", Judged(maps=MAPS, scores=SCORES), Judged(maps=MAPS, scores=SCORES))
    assert (found.rank_correlation, found.map_correlation) == (1, 1)
    assert (found.map_largest, found.score_largest, found.other_verdicts) == (0, 0, 0)


def test_differences_are_those_over_the_thresholds() -> None:
    maps, scores = MAPS.copy(), SCORES + np.array([0, 0.2, 0, 0])
    maps[2, 3, 3] += 0.5
    found = agreement("parts", "int8", Judged(maps=maps, scores=scores), Judged(maps=MAPS, scores=SCORES))
    assert found.map_largest == pytest.approx(0.5)
    assert found.map_mean == pytest.approx(0.5 / MAPS.size)
    assert found.score_largest == pytest.approx(0.2)
    assert found.other_verdicts == 1


def test_the_order_of_scores_is_compared_not_their_size() -> None:
    assert rank_correlation([1, 2, 3, 4], [1, 10, 100, 1000]) == pytest.approx(1)
    assert rank_correlation([4, 3, 2, 1], [1, 2, 3, 4]) == pytest.approx(-1)


def test_equal_scores_share_a_rank() -> None:
    assert rank_correlation([1, 1, 2], [1, 1, 2]) == 1
    assert rank_correlation([1, 1, 2], [1, 2, 3]) == pytest.approx(np.sqrt(3) / 2)


@pytest.mark.parametrize(("found", "says"), [([5, 5, 5], 0), ([1, 2, 3], 1)], ids=["constant", "itself"])
def test_a_map_that_says_nothing_correlates_with_nothing(found: list[float], says: float) -> None:
    assert correlation(found, [1, 2, 3]) == says


def _agreement(way: str, ranks: float = 1.0, maps: float = 1.0) -> Agreement:
    return Agreement(
        sample="parts", way=way, parts=9, rank_correlation=ranks, map_correlation=maps, map_mean=0, map_largest=0,
        score_mean=0, score_largest=0, other_verdicts=0,
    )  # fmt: skip


def test_every_way_to_inspect_has_its_budget() -> None:
    assert [budget_of(way) for way in ("fp32", "fp16", "int8", "int8+fp16", "int8+fp32", MIXED)] == [
        None, FP16, INT8, INT8, INT8, None,
    ]  # fmt: skip


def test_what_is_within_budget_misses_nothing() -> None:
    assert misses([_agreement("fp16", 0.98, 0.997), _agreement("int8", 0.9, 0.97), _agreement(MIXED, 0, 0)], {}) == []


def test_a_miss_says_the_figure_the_budget_and_where() -> None:
    assert misses([_agreement("fp16", maps=0.9)], {}) == [
        "fp16 has a correlation of maps with fp32 of 0.9000 on parts, at least 0.997 was expected"
    ]
    assert misses([_agreement("int8", ranks=0.5)], {}) == [
        "int8 has a rank correlation of scores with fp32 of 0.5000 on parts, at least 0.9 was expected"
    ]


def test_a_figure_that_is_no_number_is_a_miss() -> None:
    assert len(misses([_agreement("int8", maps=float("nan"))], {})) == 1


def test_features_that_strayed_are_a_miss_and_inner_layers_are_none() -> None:
    inner = {"backbone.blocks.3.project_conv": 9.0}
    assert misses([], {"fp16": {**inner, "feature_0": 0.02}, "int8+fp16": {**inner, "feature_2": 0.15}}) == []
    assert misses([], {"int8+fp16": {"feature_0": 0.05, "feature_1": 0.75}}) == [
        "feature_1 of int8+fp16 differs from fp32's by 0.750 of it, at most 0.15 was expected"
    ]


def _accuracy(way: str, loss: float, half_width: float, aupro: float | None = 0.0) -> Accuracy:
    change = Change(difference=-loss, low=-loss - half_width, high=-loss + half_width)
    return Accuracy(
        way=way, image_auroc=0.9, aupro=0.8, aupimo=None, auroc_change=change, aupro_change=aupro, aupimo_change=None
    )


def test_a_loss_that_is_seen_and_above_the_budget_is_a_miss() -> None:
    assert misses([], {}, [_accuracy("int8", 0.02, 0.01)]) == [
        "int8 loses 2.00 points of image AUROC against fp32, at most 0.5 were expected"
    ]


@pytest.mark.parametrize(
    ("way", "loss", "half_width"),
    [("int8", 0.02, 0.03), ("int8", 0.004, 0.001), ("int8", -0.02, 0.01), (MIXED, 0.2, 0.1)],
    ids=["an accident", "within budget", "a gain", "for the study alone"],
)
def test_other_losses_are_none(way: str, loss: float, half_width: float) -> None:
    assert misses([], {}, [_accuracy(way, loss, half_width)]) == []


def test_a_loss_of_aupro_is_a_miss_and_where_nothing_is_outlined_there_is_none() -> None:
    assert misses([], {}, [_accuracy("int8", 0, 0.1, aupro=-0.03)]) == [
        "int8 loses 3.00 points of AUPRO against fp32, at most 1 were expected"
    ]
    assert misses([], {}, [_accuracy("int8", 0, 0.1, aupro=None)]) == []
