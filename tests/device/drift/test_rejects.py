"""The chart of rejects says when more parts fail than enrolment aimed at and than usual."""

from __future__ import annotations

import math

import numpy as np
import pytest

from edge_resad.device.drift.rejects import RejectChart


def fed(chart: RejectChart, rate: float, parts: int, seed: int) -> int | None:
    """After how many parts it said something; None where it said nothing."""
    fails = np.random.default_rng(seed).random(parts) < rate
    for taken, is_reject in enumerate(fails.tolist(), start=1):
        chart.add(is_reject)
        if chart.sum.is_on:
            return taken
    return None


@pytest.mark.parametrize("rate", [0.01, 0.05])
def test_a_line_that_rejects_as_aimed_at_raises_no_more_false_alarms_than_stated(rate: float) -> None:
    lines, parts, arm_parts = 200, 10_000, 50_000.0
    expected = lines * (1 - math.exp(-parts / arm_parts))
    charts = [RejectChart(arm_parts=arm_parts, rate=0.05) for _ in range(lines)]
    alarms = sum(fed(chart, rate, parts, seed) is not None for seed, chart in enumerate(charts))
    assert alarms < expected + 3 * math.sqrt(expected)


def test_a_line_with_more_rejects_than_before_is_seen() -> None:
    chart = RejectChart(arm_parts=1e7, rate=0.05)
    assert fed(chart, 0.01, 10_000, 1) is None
    taken = fed(chart, 0.08, 3000, 2)
    assert taken is not None
    assert taken < 800
    assert chart.usual == pytest.approx(0.01, abs=0.005)


def test_a_line_that_rejects_half_from_the_start_is_seen() -> None:
    taken = fed(RejectChart(arm_parts=1e7, rate=0.05), 0.5, 1000, 3)
    assert taken is not None
    assert taken < 150


def test_an_alarm_ends_when_rejects_are_rare_again_even_if_none_comes() -> None:
    chart = RejectChart(arm_parts=1e6, rate=0.05)
    fed(chart, 0.02, 3000, 4)
    assert fed(chart, 0.6, 300, 5) is not None
    assert fed(chart, 0.0, 500, 6) == 1  # it is still on
    for _ in range(500):
        chart.add(False)
    assert not chart.sum.is_on
