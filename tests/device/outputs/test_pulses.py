"""Pulses: in the order in which they are due, merged where they overlap."""

from __future__ import annotations

import heapq

from hypothesis import given
from hypothesis import strategies as st

from edge_resad.device.outputs.pulses import MOST_WAITING, NOTHING, Pulses


def test_a_signal_waits_for_its_moment_and_lasts_as_long_as_it_should() -> None:
    pulses = Pulses(pulse_s=0.1)
    pulses.add(5.0, late=False)
    assert (pulses.begin(4.9, 4.9), pulses.until) == (NOTHING, None)
    assert pulses.begin(5.0, 5.0).signals == 1
    pulses.end(5.05)
    assert pulses.until == 5.1
    pulses.end(5.1)
    assert pulses.until is None


def test_signals_are_due_in_their_own_order_not_in_that_in_which_they_came() -> None:
    pulses = Pulses(pulse_s=0.1)
    for due in (7.0, 5.0, 6.0):
        pulses.add(due, late=False)
    assert pulses.next_due == 5.0
    pulses.begin(5.0, 5.0)
    assert pulses.next_due == 6.0


def test_pulses_that_overlap_are_one_that_ends_with_the_last() -> None:
    pulses = Pulses(pulse_s=0.1)
    pulses.add(5.0, late=False)
    pulses.add(5.06, late=False)
    pulses.begin(5.0, 5.0)
    pulses.begin(5.06, 5.06)
    pulses.end(5.1)
    assert pulses.until is not None
    pulses.end(5.16)
    assert pulses.until is None


def test_a_signal_is_late_when_it_came_late_or_is_served_late() -> None:
    pulses = Pulses(pulse_s=0.1)
    pulses.add(5.0, late=True)
    pulses.add(5.1, late=False)
    assert pulses.begin(5.1, 5.1, tolerance=0.5).late == 1
    pulses.add(6.0, late=False)
    assert pulses.begin(6.6, 6.6, tolerance=0.5).late == 1


def test_signals_of_one_moment_take_one_place_and_are_all_counted() -> None:
    pulses = Pulses(pulse_s=0.1)
    for _ in range(3 * MOST_WAITING):
        assert pulses.add(5.0, late=False)
    assert len(pulses) == 1
    assert pulses.begin(5.0, 5.0).signals == 3 * MOST_WAITING


def test_more_signals_than_there_is_room_for_are_refused_and_the_others_dropped_by_count() -> None:
    pulses = Pulses(pulse_s=0.1)
    assert all(pulses.add(float(due), late=False) for due in range(MOST_WAITING))
    assert not pulses.add(float(MOST_WAITING), late=False)
    assert pulses.drop() == MOST_WAITING
    assert (len(pulses), pulses.next_due) == (0, None)


@given(st.lists(st.integers(0, 50)), st.lists(st.integers(1, 20)))
def test_every_signal_begins_exactly_once_and_never_early(dues: list[int], steps: list[int]) -> None:
    pulses = Pulses(pulse_s=1.0)
    for due in dues:
        pulses.add(due, late=False)
    waiting = sorted(dues)
    now = 0
    for step in (0, *steps, 100):
        now += step
        expected = 0
        while waiting and waiting[0] <= now:
            heapq.heappop(waiting)
            expected += 1
        assert pulses.begin(now, now).signals == expected
    assert not waiting
