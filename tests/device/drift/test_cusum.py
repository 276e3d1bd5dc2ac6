"""The cumulative sum keeps the run length that is computed for it, and sees a shift when it should."""

from __future__ import annotations

import math

import numpy as np
import pytest

from edge_resad.device.drift.cusum import CAP, OVER, Cusum, average_run_length, limit_for, normal_of_t


@pytest.mark.parametrize(("limit", "shift", "known"), [(4.0, 0.0, 335.4), (5.0, 0.0, 930.9), (5.0, 1.0, 10.38)])
def test_run_lengths_are_those_of_the_tables(limit: float, shift: float, known: float) -> None:
    """Hawkins and Olwell (1998), for an allowance of half a deviation."""
    assert average_run_length(limit, shift) == pytest.approx(known, rel=1e-3)


@pytest.mark.parametrize("run_length", [100.0, 1e4, 1e6, 1e7])
def test_the_limit_gives_the_run_length_that_was_asked_for(run_length: float) -> None:
    assert average_run_length(limit_for(run_length)) == pytest.approx(run_length, rel=1e-3)


def test_a_run_of_chance_lasts_as_long_as_computed() -> None:
    limit, runs, steps = limit_for(400.0), 4000, 200
    dice = np.random.default_rng(5)
    sums, alarmed = np.zeros(runs), np.zeros(runs, bool)
    for _ in range(steps):
        sums = np.maximum(0, sums + dice.standard_normal(runs) - 0.5)
        alarmed |= sums > limit
    expected = 1 - math.exp(-steps / 400.0)
    assert alarmed.mean() < expected + 4 * math.sqrt(expected * (1 - expected) / runs)
    assert alarmed.mean() > 0.8 * expected  # a run begins at 0, so its first alarm is a little late


def test_a_single_wild_value_is_no_shift() -> None:
    one = Cusum()
    one.step(1000.0, 5.0, 1)
    assert not one.is_on
    assert one.sum == pytest.approx(2.5)


def test_a_shift_that_is_over_is_noticed_soon_however_long_it_lasted() -> None:
    one = Cusum()
    for count in range(500):
        one.step(2.0, 5.0, count)
    assert one.is_on
    assert one.sum == CAP * 5.0
    for _ in range(math.ceil(5.0 * (CAP - OVER) / 0.5)):
        one.step(0.0, 5.0, 0)
    assert not one.is_on


def test_it_remembers_where_a_shift_began() -> None:
    one = Cusum()
    for count in range(100):
        one.step(-1.0 if count < 60 else 1.0, 5.0, count)
    assert one.since == 60


@pytest.mark.parametrize("freedom", [9, 49, 500])
def test_students_values_become_normal_ones(freedom: int) -> None:
    drawn = np.random.default_rng(1).standard_t(freedom, 20_000)
    normal = np.array([normal_of_t(float(t), freedom) for t in drawn])
    assert abs(normal.mean()) < 0.03
    assert normal.std() == pytest.approx(1.0, abs=0.02)
    assert (normal > 3).mean() == pytest.approx(0.00135, abs=0.0012)
