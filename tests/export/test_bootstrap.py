"""A difference between two precisions is told from an accident of the test images."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from export.bootstrap import Change, PairedScores, auroc_change, mean_change

GOOD, BAD = 40, 40
DEFECTIVE = np.arange(GOOD + BAD) >= GOOD


def _scores(distance: float, seed: int = 0) -> NDArray[np.float64]:
    """One draw of good and defective parts' scores, so far apart."""
    return np.random.default_rng(seed).normal(size=(1, GOOD + BAD)) + distance * DEFECTIVE


def _change(found: NDArray[np.float64], expected: NDArray[np.float64]) -> Change:
    return auroc_change([PairedScores(found=found, expected=expected, defective=DEFECTIVE)])


def test_equal_scores_give_no_difference() -> None:
    change = _change(_scores(1), _scores(1))
    assert change == Change(difference=0, low=0, high=0)
    assert change.said == "no difference seen"


def test_scores_in_another_unit_give_no_difference() -> None:
    assert _change(3 * _scores(1) + 7, _scores(1)) == Change(difference=0, low=0, high=0)


def test_a_clear_loss_is_seen_with_an_interval_around_it() -> None:
    change = _change(_scores(0), _scores(3))
    assert change.low < change.difference < change.high < 0
    assert change.said.startswith("worse by ")


def test_a_clear_gain_is_no_loss() -> None:
    assert _change(_scores(3), _scores(0)).said.startswith("better by ")


def test_noise_that_favours_nobody_is_no_difference() -> None:
    noise = 0.05 * np.random.default_rng(1).normal(size=(1, GOOD + BAD))
    assert _change(_scores(1) + noise, _scores(1)).said == "no difference seen"


def test_the_difference_is_that_of_the_aurocs() -> None:
    expected = np.where(DEFECTIVE, 1.0, 0.0)[None]
    found = expected.copy()
    found[0, GOOD] = 0.0  # one of 40 defective parts is now equal to all good ones
    assert _change(found, expected).difference == pytest.approx(-0.5 / BAD)


def test_the_interval_narrows_with_more_images() -> None:
    few = PairedScores(found=_scores(0.8), expected=_scores(1.2), defective=DEFECTIVE)
    many = PairedScores(
        found=np.tile(few.found, 9), expected=np.tile(few.expected, 9), defective=np.tile(few.defective, 9)
    )
    wide, narrow = auroc_change([few]), auroc_change([many])
    assert narrow.difference == pytest.approx(wide.difference)
    assert (wide.high - wide.low) / (narrow.high - narrow.low) == pytest.approx(3, rel=0.15)


def test_products_count_the_same_however_many_images_they_have() -> None:
    lost, kept = np.full(100, -0.2), np.zeros(5)
    assert mean_change([lost, kept]).difference == pytest.approx(-0.1)


def test_the_same_question_gets_the_same_answer() -> None:
    differences = [np.random.default_rng(0).normal(size=30)]
    assert mean_change(differences) == mean_change(differences)


def test_a_loss_is_said_in_points() -> None:
    assert Change(difference=-0.0123, low=-0.02, high=-0.001).said == "worse by 1.23 (0.10 to 2.00)"
