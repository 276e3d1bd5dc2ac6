"""The encoder: where the belt was when a picture was taken."""

from __future__ import annotations

import threading

import pytest

from edge_resad.device.outputs.encoder import Encoder
from edge_resad.device.outputs.track import SAMPLES, Track
from edge_resad.errors import OutputError
from tests.device.outputs.fakes import FakeTicks
from tests.fakes import FakeClock

PATIENCE_S = 60.0


def test_a_count_of_a_moment_ago_is_found_in_proportion() -> None:
    track = Track(10_000)
    for mono, raw in ((1.0, 500), (2.0, 600), (3.0, 800)):
        track.add(mono, raw)
    assert [track.at(mono) for mono in (1.0, 1.5, 2.25, 3.0, 9.0)] == [0, 50, 150, 300, 300]


def test_where_the_belt_was_before_its_counts_began_nobody_knows() -> None:
    track = Track(10_000)
    track.add(1.0, 500)
    assert (track.at(0.99), track.at(1.0)) == (None, 0)


def test_a_track_without_samples_knows_no_count() -> None:
    assert (Track(100).count, Track(100).at(1.0)) == (None, None)


def test_a_counter_that_begins_anew_goes_on_and_one_that_goes_back_does() -> None:
    track = Track(2**16)
    for mono, raw in enumerate((65_530, 4, 0, 65_535)):
        track.add(float(mono), raw)
    assert [track.at(float(mono)) for mono in range(4)] == [0, 10, 6, 5]


def test_a_track_keeps_as_many_samples_as_pictures_need_and_no_more() -> None:
    track = Track(2**32)
    for sample in range(2 * SAMPLES):
        track.add(float(sample), sample)
    assert track.at(0.0) == SAMPLES
    assert track.at(float(2 * SAMPLES - 1)) == 2 * SAMPLES - 1


def test_an_encoder_tells_its_listeners_of_every_count() -> None:
    ticks, heard, enough = FakeTicks(), list[int | None](), threading.Event()
    encoder = Encoder(ticks, FakeClock(100.0))

    def listen(count: int | None) -> None:
        heard.append(count)
        if count == 12:
            enough.set()

    encoder.listen(listen)
    with encoder:
        ticks.turn(101.0, 5)
        ticks.turn(102.0, 12)
        assert enough.wait(PATIENCE_S)
        assert (encoder.count, encoder.track.at(101.0), encoder.problem) == (12, 5, None)
    assert heard == [0, 5, 12]


def test_an_encoder_that_breaks_is_said_once_and_counts_anew_when_it_is_back(caplog: pytest.LogCaptureFixture) -> None:
    ticks, lost, back = FakeTicks(), threading.Event(), threading.Event()
    encoder = Encoder(ticks, FakeClock(100.0))

    def listen(count: int | None) -> None:
        if count is None:
            lost.set()
        elif lost.is_set() and count == 3:
            back.set()

    encoder.listen(listen)
    with encoder:
        before = encoder.track
        ticks.broken = True
        assert lost.wait(PATIENCE_S)
        assert encoder.count is None
        assert encoder.problem == "encoder belt: the encoder is broken."
        ticks.broken = False
        ticks.turn(101.0, 3)
        assert back.wait(PATIENCE_S)
        assert encoder.problem is None
        assert (before.at(100.0), encoder.track.at(99.0)) == (0, None)  # what a count is of is never in doubt
    assert [record.levelname for record in caplog.records].count("WARNING") == 1


def test_an_encoder_of_this_machine_that_is_missing_at_the_start_is_a_mistake_in_the_file() -> None:
    ticks = FakeTicks()
    ticks.broken = True
    with pytest.raises(OutputError, match="broken"), Encoder(ticks):
        pass


def test_an_encoder_of_a_plc_that_is_away_at_the_start_is_looked_for() -> None:
    ticks, found = FakeTicks(is_local=False), threading.Event()
    ticks.broken = True
    encoder = Encoder(ticks)
    encoder.listen(lambda count: found.set() if count is not None else None)
    with encoder:
        ticks.broken = False
        ticks.turn(1.0, 9_000)
        assert found.wait(PATIENCE_S)
        assert encoder.count == 0  # wherever the register stands, counts begin here
