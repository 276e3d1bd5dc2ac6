"""The bench's line shows parts that were drawn beforehand, one as soon as the other is done or at a rate."""

from __future__ import annotations

import threading

import numpy as np
import pytest

from edge_resad.bench.line import BAD_EVERY, PreparedLine, draw_parts
from edge_resad.demo import products
from edge_resad.device.frame import Pace
from tests.fakes import FakeClock, FakeStop, picture

PARTS = [picture(brightness) for brightness in range(100)]


def test_parts_have_the_size_that_was_asked_for_and_one_of_many_is_defective() -> None:
    parts = draw_parts(products, "flange", (96, 64))
    shown = [parts[number] for number in range(2 * BAD_EVERY)]
    assert {image.shape for image in shown} == {(64, 96, 3)}
    assert [number for number, image in enumerate(shown) if image is parts.bad] == [BAD_EVERY - 1, 2 * BAD_EVERY - 1]
    assert len(parts.references) == 4


def test_showing_a_part_again_draws_nothing() -> None:
    parts = draw_parts(products, "flange", (64, 64))
    assert parts[0] is parts[len(parts.good)]


def test_the_next_part_comes_when_the_one_before_is_done() -> None:
    line = PreparedLine(PARTS, threading.Event(), frames=3)
    shown = []
    while (frame := line.read()) is not None:
        shown.append(int(frame.image[0, 0, 0]))
        line.done()
    assert shown == [0, 1, 2]
    assert not line.live


def test_no_second_part_comes_before_the_first_is_done() -> None:
    halt = threading.Event()
    line = PreparedLine(PARTS, halt)
    assert line.read() is not None
    halt.set()
    assert line.read() is None


def test_so_many_parts_wait_as_are_asked_for_besides_the_one_that_is_judged() -> None:
    halt = threading.Event()
    line = PreparedLine(PARTS, halt, waiting=2)
    assert all(line.read() is not None for _ in range(3))
    line.done()
    assert line.read() is not None
    halt.set()
    assert line.read() is None


def test_at_a_rate_parts_come_whether_or_not_anybody_is_done() -> None:
    clock = FakeClock()
    line = PreparedLine(PARTS, FakeStop(clock), rate=10, frames=4, clock=clock)
    stamps = [frame.captured_mono for frame in iter(line.read, None)]
    assert np.diff(stamps) == pytest.approx([0.1, 0.1, 0.1])
    assert line.live


def test_after_its_time_a_line_ends() -> None:
    clock = FakeClock()
    line = PreparedLine(PARTS, FakeStop(clock), rate=10, seconds=0.95, clock=clock)
    assert len(list(iter(line.read, None))) == 10


def test_a_halt_ends_it() -> None:
    clock = FakeClock()
    halt = FakeStop(clock)
    line = PreparedLine(PARTS, halt, rate=10, clock=clock)
    assert line.read() is not None
    halt.set()
    assert line.read() is None


def test_at_a_pace_of_somebody_elses_parts_come_when_it_says_so() -> None:
    class Thrice(Pace):
        left = 3

        def wait(self) -> bool:
            self.left -= 1
            return self.left >= 0

    halt = threading.Event()
    line = PreparedLine(PARTS, halt, pace=Thrice(None, halt, FakeClock()))
    assert [frame.frame_id for frame in iter(line.read, None)] == [0, 1, 2]
    assert line.live
