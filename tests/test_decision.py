"""A verdict follows from the map, the score and the thresholds alone."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from edge_resad.decision import Debounce, Verdict, judge


def _map(*patches: tuple[int, int, int, float]) -> NDArray[np.float32]:
    """A quiet (32, 32) map with squares on it: row, column, side, value."""
    score_map = np.full((32, 32), 0.1, np.float32)
    for row, column, side, value in patches:
        score_map[row : row + side, column : column + side] = value
    return score_map


def _judged(score_map: NDArray[np.float32], score: float = 2.0, **changes: Any) -> Verdict:
    settings: dict[str, Any] = {"threshold": 1.0, "region": 1.0, "frame_size": (320, 320), **changes}
    return judge(score_map, score, **settings)


def test_a_score_below_the_threshold_passes_without_regions() -> None:
    verdict = _judged(_map((4, 4, 8, 5.0)), score=0.999)
    assert (verdict.status, verdict.regions, verdict.severity) == ("pass", (), "none")


def test_a_score_at_the_threshold_fails() -> None:
    assert _judged(_map((4, 4, 8, 5.0)), score=1.0).status == "fail"


def test_a_threshold_of_zero_makes_everything_critical_and_divides_nothing() -> None:
    assert Verdict(status="fail", score=0.5, threshold=0.0, regions=()).severity == "critical"


def test_a_region_lies_where_the_map_is_high_in_pixels_of_the_frame() -> None:
    verdict = _judged(_map((4, 16, 8, 5.0)), frame_size=(320, 640))  # 10 pixels a cell down, 20 across
    (region,) = verdict.regions
    x, y, width, height = region.box
    assert (x, y, width, height) == pytest.approx((320, 40, 160, 80), abs=25)
    assert region.area_px == pytest.approx(160 * 80, rel=0.3)
    assert region.peak == pytest.approx(5.0, rel=0.01)


def test_every_corner_of_an_outline_is_on_the_frame() -> None:
    verdict = _judged(_map((0, 0, 6, 5.0), (26, 26, 6, 5.0)), frame_size=(100, 333))
    assert len(verdict.regions) == 2
    for region in verdict.regions:
        assert all(0 <= x <= 333 and 0 <= y <= 100 for x, y in region.polygon)


def test_regions_come_worst_first() -> None:
    verdict = _judged(_map((2, 2, 6, 3.0), (20, 20, 6, 9.0), (2, 20, 6, 6.0)))
    assert [round(region.peak) for region in verdict.regions] == [9, 6, 3]


def test_a_failed_part_without_a_cell_above_the_region_threshold_still_shows_where() -> None:
    verdict = _judged(_map((4, 4, 8, 0.9)), region=1.0)
    assert verdict.status == "fail"
    assert len(verdict.regions) == 1


def test_a_part_with_only_small_defects_passes() -> None:
    small = _map((4, 4, 3, 5.0))
    assert _judged(small, min_area_px=100).status == "fail"
    assert _judged(small, min_area_px=100_000).status == "pass"


@pytest.mark.parametrize("peak", [1.0, 1.2, 2.0])
def test_a_defect_on_a_single_cell_that_counts_among_masked_ones_is_not_passed(peak: float) -> None:
    cells = np.zeros((28, 28), np.float32)
    cells[10, 10] = peak
    found = judge(cells, peak, threshold=1.0, region=1.0, frame_size=(448, 448), min_area_px=1)
    assert found.status == "fail"
    assert len(found.regions) == 1


def test_a_small_defect_beside_a_large_one_is_left_out() -> None:
    both = _map((4, 4, 2, 9.0), (16, 16, 10, 5.0))
    (region,) = _judged(both, min_area_px=3000).regions
    assert region.peak == pytest.approx(5.0, rel=0.01)


@pytest.mark.parametrize(
    ("score", "severity"),
    [(0.99, "none"), (1.0, "minor"), (1.24, "minor"), (1.25, "major"), (1.74, "major"), (1.75, "critical")],
)
def test_severity_grows_with_the_score_over_the_threshold(score: float, severity: str) -> None:
    assert _judged(_map((4, 4, 8, 5.0)), score=score).severity == severity


def test_k_of_n_wants_k_failures_among_the_last_n() -> None:
    debounce = Debounce(2, 3)
    failed = [True, False, True, False, False, True, True]
    assert [debounce.step(each) for each in failed] == [False, False, True, False, False, False, True]


@pytest.mark.parametrize(("k", "n"), [(0, 3), (4, 3), (-1, 1)])
def test_k_of_n_that_can_never_be_is_a_value_error(k: int, n: int) -> None:
    with pytest.raises(ValueError, match=f"k={k}, n={n}"):
        Debounce(k, n)
