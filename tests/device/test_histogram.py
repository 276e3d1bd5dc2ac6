"""A histogram of durations says what NumPy says of the durations themselves, within a bucket, and never grows."""

from __future__ import annotations

import math
import sys
import tracemalloc

import numpy as np
import pytest

from edge_resad.device.histogram import TOP_S, Histogram

WITHIN = 1 / 128  # half a bucket's width, of its lowest value
PERCENTS = (0.1, 1, 25, 50, 75, 90, 95, 99, 99.9, 100)


def filled(durations: object) -> Histogram:
    histogram = Histogram()
    for seconds in np.asarray(durations, np.float64).tolist():
        histogram.record(seconds)
    return histogram


def durations(kind: str, count: int = 5000) -> list[float]:
    """Seconds between 1 us and 60 s."""
    random = np.random.default_rng(7)
    drawn = {
        "every size": 10 ** random.uniform(-6, np.log10(60), count),
        "a quiet machine": 0.012 + random.exponential(0.0002, count),
        "two kinds of parts": np.where(random.random(count) < 0.9, 0.004, 0.030) * random.uniform(0.99, 1.01, count),
        "microseconds": random.uniform(1e-6, 9e-6, count),
    }
    return [float(seconds) for seconds in drawn[kind]]


@pytest.mark.parametrize("kind", ["every size", "a quiet machine", "two kinds of parts", "microseconds"])
def test_percentiles_are_those_of_numpy_within_half_a_bucket(kind: str) -> None:
    taken = durations(kind)
    histogram = filled(taken)
    for percent in PERCENTS:
        exact = float(np.percentile(taken, percent, method="inverted_cdf"))
        assert histogram.percentile_s(percent) == pytest.approx(exact, rel=WITHIN, abs=1e-9), percent


def test_a_few_durations_have_exactly_the_ranks_that_numpy_gives_them() -> None:
    taken = [0.001, 0.002, 0.004, 0.008, 0.016]
    histogram = filled(taken)
    for percent in (1, 20, 20.5, 40, 60, 80, 80.5, 100):
        exact = float(np.percentile(taken, percent, method="inverted_cdf"))
        assert histogram.percentile_s(percent) == pytest.approx(exact, rel=WITHIN)


def test_every_bucket_is_narrow_and_a_duration_lies_in_its_own() -> None:
    for seconds in np.geomspace(1e-6, TOP_S, 3000).tolist():
        ((middle, count),) = filled([seconds]).buckets()
        assert count == 1
        assert middle == pytest.approx(seconds, rel=WITHIN, abs=1e-9)


def test_the_longest_the_shortest_and_the_sum_are_exact() -> None:
    histogram = filled([0.0123456789, 0.5, 0.25])
    assert (histogram.least_s, histogram.most_s) == (0.0123456789, 0.5)
    assert histogram.sum_s == 0.0123456789 + 0.5 + 0.25
    assert histogram.percentile_s(100) == pytest.approx(0.5, rel=WITHIN)
    assert histogram.count == 3


def test_a_single_duration_is_every_percentile_exactly() -> None:
    histogram = filled([0.0123456789])
    assert {histogram.percentile_s(percent) for percent in PERCENTS} == {0.0123456789}


def test_what_takes_too_long_counts_as_the_most_and_keeps_its_length() -> None:
    histogram = filled([100.0])
    assert histogram.count == 1
    assert histogram.most_s == histogram.percentile_s(50) == 100.0


def test_a_clock_that_went_back_counts_as_no_time() -> None:
    histogram = filled([-0.5])
    assert (histogram.count, histogram.sum_s, histogram.percentile_s(50)) == (1, 0.0, 0.0)


def test_nothing_has_no_percentile() -> None:
    empty = Histogram()
    assert empty.percentile_s(50) is None
    assert (empty.count, empty.sum_s, empty.most_s, empty.least_s) == (0, 0.0, 0.0, math.inf)


def test_two_merged_are_one_that_saw_all() -> None:
    taken = durations("every size", 400)
    one, other = filled(taken[:150]), filled(taken[150:])
    one.merge(other)
    whole = filled(taken)
    assert list(one.buckets()) == list(whole.buckets())
    assert (one.most_s, one.least_s) == (whole.most_s, whole.least_s)
    assert one.sum_s == pytest.approx(whole.sum_s)


def test_a_merge_with_nothing_changes_nothing() -> None:
    one = filled([0.1, 0.2])
    one.merge(Histogram())
    assert (one.count, one.least_s, one.most_s) == (2, 0.1, 0.2)


def test_cleared_it_is_as_new() -> None:
    histogram = filled([0.1, 0.2])
    histogram.clear()
    assert histogram.percentile_s(50) is None
    histogram.record(0.3)
    assert (histogram.count, histogram.least_s, histogram.most_s) == (1, 0.3, 0.3)


def test_it_counts_what_was_no_longer_than_a_bound() -> None:
    histogram = filled([0.001, 0.002, 0.1])
    assert [histogram.up_to(bound) for bound in (0.0005, 0.0015, 0.01, 1.0)] == [0, 1, 2, 3]


def test_recording_keeps_no_memory() -> None:
    histogram = Histogram()
    taken = durations("every size")
    for seconds in taken[:100]:
        histogram.record(seconds)
    own = [tracemalloc.Filter(True, sys.modules[Histogram.__module__].__file__ or "")]
    tracemalloc.start()
    try:
        for seconds in taken[:100]:
            histogram.record(seconds)
        before = tracemalloc.take_snapshot().filter_traces(own)
        for seconds in taken:
            histogram.record(seconds)
        after = tracemalloc.take_snapshot().filter_traces(own)
    finally:
        tracemalloc.stop()
    assert sum(change.size_diff for change in after.compare_to(before, "filename")) == 0
