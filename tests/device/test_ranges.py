"""Ranges are a set of numbers, whatever is put in and taken out."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from edge_resad.device.ranges import Ranges

SPAN = st.tuples(st.integers(-30, 30), st.integers(0, 12)).map(lambda pair: (pair[0], pair[0] + pair[1]))


@given(st.lists(st.tuples(st.booleans(), SPAN), max_size=40), SPAN)
def test_ranges_hold_what_a_set_would_hold(steps: list[tuple[bool, tuple[int, int]]], asked: tuple[int, int]) -> None:
    ranges, model = Ranges(), set[int]()
    for adds, (first, last) in steps:
        if adds:
            ranges.add(first, last)
            model |= set(range(first, last + 1))
        else:
            ranges.remove(first, last)
            model -= set(range(first, last + 1))
    listed = list(ranges)
    assert {number for first, last in listed for number in range(first, last + 1)} == model
    assert all(one[1] + 1 < other[0] for one, other in pairwise(listed))  # neighbours are one
    assert len(ranges) == len(model)
    assert all((number in ranges) == (number in model) for number in range(-45, 60))
    between = {number for first, last in ranges.within(*asked) for number in range(first, last + 1)}
    assert between == model & set(range(asked[0], asked[1] + 1))


def test_beyond_the_bound_the_lowest_are_forgotten() -> None:
    ranges = Ranges(((number, number) for number in range(0, 20, 2)), most=3)
    assert list(ranges) == [(14, 14), (16, 16), (18, 18)]
