"""Advice picks references that stand for all, says what one more would add, and when they do not suffice."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from numpy.typing import NDArray

from edge_resad.bundle import open_bundle
from edge_resad.demo.products import draw
from edge_resad.engine.advice import MOST_PARTS, advise, coverage
from edge_resad.engine.enrolment import enrol
from edge_resad.errors import BankError

Image = NDArray[np.uint8]
BUNDLE = open_bundle()


def _good(count: int, family: str = "flange") -> list[Image]:
    return [draw(family, seed, size=256).image for seed in range(count)]


def _two_kinds() -> list[Image]:
    return [*_good(5), *_good(3, "cap")]


def test_parts_of_two_kinds_are_both_picked() -> None:
    first, second = advise(BUNDLE, _two_kinds(), 2).parts
    assert (first < 5) != (second < 5)


def test_an_odd_part_is_not_the_first_pick() -> None:
    assert advise(BUNDLE, [*_good(1, "cap"), *_good(4)], 1).parts[0] > 0


def test_picks_are_different_parts_and_each_brings_the_others_closer() -> None:
    advice = advise(BUNDLE, _good(8), 4)
    assert len(set(advice.parts)) == 4
    assert advice.further is not None
    assert advice.further.part not in advice.parts
    means = [pick.mean for pick in (*advice.picks, advice.further)]
    assert all(later < earlier for earlier, later in pairwise(means))
    assert all(mean >= 1 for mean in means)


def test_the_same_parts_give_the_same_advice() -> None:
    assert advise(BUNDLE, _good(5), 2) == advise(BUNDLE, _good(5), 2)


def test_who_picks_all_parts_leaves_none() -> None:
    advice = advise(BUNDLE, _good(3), 3)
    assert sorted(advice.parts) == [0, 1, 2]
    assert advice.further is None
    assert (advice.picks[-1].mean, advice.picks[-1].worst_part) == (1.0, None)


def test_one_part_is_its_own_pick() -> None:
    assert advise(BUNDLE, _good(1), 1).parts == (0,)


def test_of_very_many_parts_some_at_even_steps_are_compared() -> None:
    images = [np.full((8, 8, 3), grey, np.uint8) for grey in range(100)]
    advice = advise(BUNDLE, images, 1)
    assert len(advice.compared) == MOST_PARTS
    assert (advice.compared[0], advice.compared[-1]) == (0, 99)
    assert set(advice.parts) <= set(advice.compared)


@pytest.mark.parametrize("count", [0, 3])
def test_more_picks_than_parts_are_refused_with_both_numbers(count: int) -> None:
    with pytest.raises(BankError, match=f"{count} references were to be picked from 2 good parts"):
        advise(BUNDLE, _good(2), count)


def test_references_that_do_not_cover_the_line_are_said_with_the_share_that_would_fail() -> None:
    images = _two_kinds()
    bank = enrol(BUNDLE, images[:4], product="flange").bank
    found = coverage(BUNDLE, bank, images, range(4, 8))
    assert found.failed == (5, 6, 7)
    assert found.worst > 1
    (warning,) = found.warnings
    assert "do not cover what the line shows: 3 of 4 other good parts (75%)" in warning


def test_references_that_cover_the_line_are_not_warned_of() -> None:
    images = _good(8)
    found = coverage(BUNDLE, enrol(BUNDLE, images[:4], product="flange").bank, images, range(4, 8))
    assert (found.judged, found.failed, found.warnings) == (4, (), ())
    assert found.mean < 1
