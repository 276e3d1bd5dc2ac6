"""A chart learns what is usual, keeps its false-alarm rate, and sees shifts, slow drifts and their end."""

from __future__ import annotations

import math

import numpy as np
import pytest
from pydantic import TypeAdapter

from edge_resad.device.drift.chart import LEARN_GROUPS, Chart, groups_alike, neighbours_alike
from edge_resad.device.drift.figures import FIGURES
from edge_resad.device.drift.history import MOST, History

SCORES = FIGURES["scores"]
GROUP = 10
LEARNT = GROUP * LEARN_GROUPS


def a_chart(arm_parts: float = 1e6) -> Chart:
    return Chart(group_parts=GROUP, arm_parts=arm_parts)


def parts(count: int, seed: int, spread: float = 0.2) -> list[float]:
    """Scores of good parts that nothing happens to."""
    scores: list[float] = np.exp(np.random.default_rng(seed).normal(-0.1, spread, count)).tolist()
    return scores


def fed(chart: Chart, values: list[float]) -> int | None:
    """After how many of the values the chart said something; None where it said nothing."""
    for taken, value in enumerate(values, start=1):
        chart.add(value, SCORES)
        if chart.way is not None:
            return taken
    return None


def test_a_chart_of_a_steady_line_raises_no_more_false_alarms_than_stated() -> None:
    lines, parts_each, arm_parts = 300, 6000, 20_000.0
    chances = 2 * (parts_each - LEARNT) / arm_parts  # two sides
    expected = lines * (1 - math.exp(-chances))
    alarms = sum(fed(a_chart(arm_parts), parts(parts_each, seed)) is not None for seed in range(lines))
    assert alarms < expected + 3 * math.sqrt(expected)
    assert alarms > 0.2 * expected  # nor is it blind


def test_parts_that_are_like_their_neighbours_make_larger_groups_and_no_false_alarms() -> None:
    dice = np.random.default_rng(2)
    alarms, sizes = 0, []
    for _ in range(20):
        values, wave = [], 0.0
        for _ in range(20_000):  # the same part for about 25 pictures, as a camera of a slow belt shows it
            wave = 0.96 * wave + math.sqrt(1 - 0.96**2) * dice.standard_normal()
            values.append(math.exp(0.2 * wave))
        chart = a_chart(1e6)
        alarms += fed(chart, values) is not None
        sizes.append(chart.group_parts)
    assert max(sizes) > GROUP
    assert alarms <= 2


@pytest.mark.parametrize(("factor", "within"), [(1.25, 100), (0.8, 100), (1.1, 300)])
def test_a_shift_is_seen_soon(factor: float, within: int) -> None:
    chart = a_chart()
    assert fed(chart, parts(4000, 7)) is None
    taken = fed(chart, [factor * score for score in parts(2000, 8)])
    assert taken is not None
    assert taken <= within
    assert chart.way == ("up" if factor > 1 else "down")
    assert chart.since <= taken + 2 * GROUP


@pytest.mark.parametrize("begins", [LEARNT, 5000])
def test_a_slow_drift_is_seen_although_every_step_is_nothing(begins: int) -> None:
    chart = a_chart()
    assert fed(chart, parts(begins, 9)) is None
    steady = parts(20_000, 10)
    drifting = [score * 1.3 ** (index / len(steady)) for index, score in enumerate(steady)]
    taken = fed(chart, drifting)
    assert taken is not None
    assert 1.3 ** (taken / len(steady)) < 1.2


def test_what_is_over_is_said_to_be_over_and_what_was_odd_did_not_become_usual() -> None:
    chart = a_chart()
    fed(chart, parts(3000, 11))
    usual = chart.mean
    for score in parts(5000, 12):
        chart.add(1.5 * score, SCORES)
    assert chart.way == "up"
    assert chart.mean == pytest.approx(usual, abs=0.02)
    for score in parts(2000, 13):
        chart.add(score, SCORES)
    assert chart.way is None


def test_a_line_steadier_than_anybody_needs_may_change_by_what_nobody_minds() -> None:
    chart = Chart(group_parts=GROUP, arm_parts=1e6)
    for _ in range(LEARNT + 1000):
        chart.add(120.0, FIGURES["light"])
    for _ in range(2000):
        chart.add(120.0 * 1.009, FIGURES["light"])
    assert chart.way is None
    for _ in range(2000):
        chart.add(120.0 * 0.95, FIGURES["light"])
    assert chart.way == "down"


def test_a_wild_group_neither_alarms_nor_blinds() -> None:
    chart = a_chart()
    fed(chart, parts(2000, 14))
    spread = chart.spread(SCORES)
    fed(chart, [1e6] * GROUP)
    assert chart.way is None
    assert chart.spread(SCORES) < 1.3 * spread


def test_a_chart_that_was_written_and_read_goes_on_as_if_nothing_had_been() -> None:
    adapter = TypeAdapter(Chart)
    whole, halved = a_chart(), a_chart()
    values = [*parts(LEARNT // 2 + 3, 15), *parts(2004, 16), *(1.3 * score for score in parts(300, 17))]
    for index, value in enumerate(values):
        whole.add(value, SCORES)
        halved.add(value, SCORES)
        if index % 401 == 0:
            halved = adapter.validate_json(adapter.dump_json(halved))
    assert halved == whole
    assert whole.way == "up"


@pytest.mark.parametrize(("alike", "size"), [(0.5, 5), (0.9, 20), (0.97, 10)])
def test_how_much_groups_are_alike_follows_from_their_parts(alike: float, size: int) -> None:
    dice = np.random.default_rng(6)
    values = np.zeros(400_000)
    noise = dice.standard_normal(len(values))
    for index in range(1, len(values)):
        values[index] = alike * values[index - 1] + noise[index]
    means = values.reshape(-1, size).mean(1)
    assert groups_alike(alike, size) == pytest.approx(np.corrcoef(means[1:], means[:-1])[0, 1], abs=0.02)


def test_neighbours_are_alike_apart_from_a_trend() -> None:
    dice = np.random.default_rng(4)
    noise = dice.standard_normal(200)
    assert abs(neighbours_alike((noise + np.linspace(0, 10, 200)).tolist())) < 0.2
    assert neighbours_alike(np.convolve(noise, np.ones(5), "valid").tolist()) > 0.6


def test_a_history_stays_small_and_true() -> None:
    history = History()
    for index in range(10_000):
        history.add(float(index), index / 10_000)
    assert MOST / 2 <= len(history.values) < MOST
    assert len(history.values) * history.every <= 10_000
    assert history.values == sorted(history.values)
    assert history.values[0] == pytest.approx((history.every - 1) / 2)
    assert history.sums[-1] > 0.95
