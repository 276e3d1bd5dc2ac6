"""One output: shown at its moment, safe while nobody judges, and honest about what it could not show."""

from __future__ import annotations

import logging

import pytest

from edge_resad.device.outputs import Encoder, Output, Wiring
from edge_resad.device.outputs.output import (
    EXIT_S,
    HANGS,
    HANGS_S,
    JUDGING_S,
    LOOK_S,
    MOST_TOLD,
    RETRY_MAX_S,
    RETRY_MIN_S,
    STUCK_S,
)
from edge_resad.device.outputs.pulses import MOST_WAITING
from edge_resad.device.settings import Cause
from edge_resad.errors import OutputError
from tests.device.outputs.fakes import FakeTerminal, FakeTicks
from tests.fakes import FakeClock


def wired(
    *on: Cause, pulse_s: float = 0.1, delay_s: float = 0.0, safe_active: bool = False, counts: int | None = None
) -> Wiring:
    causes = frozenset(on or ("fail",))
    return Wiring(
        name="reject", on=causes, pulse_s=pulse_s, delay_s=delay_s, safe_active=safe_active, delay_counts=counts
    )


class Bench:
    """An output whose steps are made by hand: time passes only between them."""

    def __init__(
        self,
        wiring: Wiring,
        terminal: FakeTerminal | None = None,
        encoder: Encoder | None = None,
        *,
        opens: bool = True,
        clock: FakeClock | None = None,
    ) -> None:
        self.clock = clock or FakeClock(100.0)
        self.terminal = terminal or FakeTerminal()
        self.output = Output(wiring, self.terminal, clock=self.clock, encoder=encoder)
        if opens:
            self.step(alive=False)

    def step(self, *, after_s: float = 0.0, alive: bool = True) -> float | None:
        self.clock.now += after_s
        if alive:
            self.output.alive()
        return self.output.step(self.clock.now)


def test_a_signal_without_a_delay_is_shown_at_once_for_its_pulse() -> None:
    bench = Bench(wired())
    bench.step()
    bench.output.signal(99.9)
    wait_s = bench.step()
    assert bench.terminal.last == 1
    assert wait_s == pytest.approx(0.1)
    bench.step(after_s=0.1)
    assert bench.terminal.shown == [0, 1, 0]
    assert (bench.output.status.fired, bench.output.status.late) == (1, 0)


def test_a_delay_counts_from_the_picture_and_not_from_the_verdict() -> None:
    bench = Bench(wired(delay_s=0.5))
    bench.output.signal(99.9)  # the verdict comes 0.1 s after the picture
    wait_s = bench.step()
    assert bench.terminal.last == 0
    assert wait_s == pytest.approx(0.4)
    bench.step(after_s=0.4)
    assert bench.terminal.last == 1


def test_a_verdict_that_comes_after_its_moment_is_shown_at_once_and_counted_late() -> None:
    bench = Bench(wired(delay_s=0.5))
    bench.output.signal(99.0)
    bench.step()
    assert bench.terminal.last == 1
    assert (bench.output.status.fired, bench.output.status.late) == (1, 1)


@pytest.mark.parametrize(("late_s", "shown", "fired", "failed"), [(0.04, [0, 1, 0], 1, 0), (0.1, [0], 0, 1)])
def test_a_pass_that_comes_after_its_moment_opens_the_gate_for_no_other_part(
    late_s: float, shown: list[int], fired: int, failed: int
) -> None:
    bench = Bench(wired("pass", delay_s=0.5))
    bench.step()
    bench.output.signal(100.0 - 0.5 - late_s)
    for _ in range(3):
        bench.step()
        bench.clock.now = 100.0 + 0.1 - late_s  # when its pulse should be over
    assert bench.terminal.shown == shown
    status = bench.output.status
    assert (status.fired, status.late, status.failed) == (fired, fired, failed)


def test_a_pass_whose_count_was_over_when_it_came_opens_the_gate_for_no_other_part() -> None:
    ticks = FakeTicks()
    encoder = Encoder(ticks)
    bench = Bench(wired("pass", counts=5), encoder=encoder)
    encoder.track.add(99.0, 0)
    encoder.track.add(99.5, 10)
    bench.step()
    bench.output.signal(99.1)  # at count 2, and its moment was at 7
    bench.output.signal(100.0)  # at count 10
    bench.step()
    assert (bench.terminal.shown, bench.output.status.failed) == ([0], 1)
    encoder.track.add(100.1, 15)
    bench.step(after_s=0.1)
    assert (bench.terminal.shown, bench.output.status.fired) == ([0, 1], 1)


def test_pulses_of_two_parts_that_overlap_are_one() -> None:
    bench = Bench(wired())
    bench.step()
    bench.output.signal(100.0)
    bench.step()
    bench.output.signal(100.06)
    bench.step(after_s=0.06)
    bench.step(after_s=0.06)
    assert bench.terminal.last == 1
    bench.step(after_s=0.05)
    assert bench.terminal.shown == [0, 1, 0]
    assert bench.output.status.fired == 2


def test_a_signal_that_a_terminal_fails_at_in_a_way_that_nobody_foresaw_is_counted_as_failed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    bench = Bench(wired())
    bench.step()
    bench.output.signal(100.0)
    with monkeypatch.context() as patch:
        patch.setattr(FakeTerminal, "set", _broken)
        with pytest.raises(RuntimeError, match="of a library"):
            bench.step()
    assert (bench.output.status.fired, bench.output.failures) == (0, 1)


def _broken(_terminal: FakeTerminal, _value: int) -> None:
    raise RuntimeError("of a library")


def test_an_output_is_safe_until_the_station_judges_and_again_when_it_hangs() -> None:
    bench = Bench(wired(safe_active=True))
    bench.step(alive=False)
    assert bench.terminal.last == 1
    bench.step()
    assert bench.terminal.last == 0
    wait_s = bench.step(after_s=JUDGING_S - 1, alive=False)
    assert bench.terminal.last == 0
    assert wait_s == pytest.approx(1)
    bench.step(after_s=1, alive=False)
    assert bench.terminal.last == 1
    bench.step()
    assert bench.terminal.last == 0


def test_an_output_is_safe_while_one_of_its_cameras_sees_nothing() -> None:
    bench = Bench(wired(safe_active=True))
    bench.step()
    bench.output.ail(ill=True, blind=False)
    bench.step()
    assert bench.terminal.last == 0
    bench.output.ail(ill=True, blind=True)
    bench.step()
    assert bench.terminal.last == 1
    bench.output.ail(ill=False, blind=False)
    bench.step()
    assert bench.terminal.last == 0


def test_an_output_is_safe_while_the_station_is_stuck_at_one_part(caplog: pytest.LogCaptureFixture) -> None:
    bench = Bench(wired(safe_active=True))
    bench.step()
    assert bench.terminal.last == 0
    bench.output.at_work(True)
    wait_s = bench.step(alive=False)
    assert wait_s == pytest.approx(LOOK_S)
    wait_s = bench.step(after_s=LOOK_S, alive=False)
    assert wait_s == pytest.approx(STUCK_S - LOOK_S)
    bench.step(after_s=STUCK_S - LOOK_S, alive=False)
    assert bench.terminal.last == 1
    assert "parts of its cameras are not judged" in caplog.text
    bench.output.at_work(False)
    bench.step(alive=False)
    assert bench.terminal.last == 0


def test_parts_that_no_camera_saw_are_rejected_when_they_come_to_a_gate_further_down() -> None:
    bench = Bench(wired(delay_s=6.0, safe_active=True))
    bench.step()
    wait_s = bench.step(after_s=5.9)
    assert bench.terminal.last == 1  # of those that passed before the station judged the last is not there yet
    assert wait_s == pytest.approx(0.1)
    bench.step(after_s=0.1)
    assert bench.terminal.last == 0
    bench.output.ail(ill=True, blind=True)
    bench.step()
    for _ in range(2):
        bench.step(after_s=2.0)
    bench.output.ail(ill=False, blind=False)
    bench.step()
    bench.step(after_s=5.9)
    assert bench.terminal.last == 1
    bench.step(after_s=0.1)
    assert bench.terminal.last == 0


def test_parts_that_no_camera_saw_are_rejected_by_counts_too() -> None:
    belt = Belt()
    bench = Bench(wired(counts=50, safe_active=True), encoder=belt)
    bench.step()
    belt.move(101.0, 49)
    bench.step()
    assert bench.terminal.last == 1
    assert bench.output._awaited == 50
    belt.move(102.0, 50)
    bench.step()
    assert bench.terminal.last == 0


def test_a_fault_is_shown_as_long_as_it_lasts() -> None:
    bench = Bench(wired("fault"))
    bench.step(alive=False)
    assert bench.terminal.last == 1  # nobody judges
    bench.step()
    assert bench.terminal.last == 0
    bench.output.ail(ill=True, blind=False)
    bench.step()
    bench.step(after_s=3)
    assert bench.terminal.last == 1
    bench.output.ail(ill=False, blind=False)
    bench.step()
    assert bench.terminal.last == 0


def test_a_heartbeat_toggles_while_the_station_judges_and_then_stands_still_and_idle() -> None:
    bench = Bench(wired("heartbeat", pulse_s=0.5))
    bench.step(alive=False)
    bench.step()
    for _ in range(3):
        assert bench.step(after_s=0.5) == pytest.approx(0.5)
    assert bench.terminal.shown == [0, 1, 2, 3, 4]
    bench.step(after_s=0.5)
    bench.step(after_s=JUDGING_S, alive=False)
    bench.step(after_s=1.0, alive=False)
    assert bench.terminal.shown == [0, 1, 2, 3, 4, 5, 6]
    bench.step()
    assert bench.terminal.last == 7


class Watched:
    """A heartbeat beside the output that rejects, at terminals of their own."""

    def __init__(self, *, delay_s: float = 0.0) -> None:
        self.reject = Bench(wired(delay_s=delay_s), FakeTerminal(is_local=False))
        self.heart = Bench(wired("heartbeat", pulse_s=0.5), clock=self.reject.clock)
        self.heart.output.watch([self.reject.output])
        self.reject.step()
        self.heart.step()

    def beats(self, seconds: float) -> int:
        """How often the heartbeat changes within a time in which it is asked ten times a second."""
        before = len(self.heart.terminal.shown)
        for _ in range(round(10 * seconds)):
            self.reject.step(after_s=0.1)
            assert (self.heart.step() or 0.0) > 0.0
        return len(self.heart.terminal.shown) - before


def test_a_heartbeat_stands_still_while_no_part_could_be_rejected() -> None:
    both = Watched()
    assert both.beats(2.0) >= 3
    both.reject.terminal.away = True
    both.reject.output.signal(both.reject.clock.now)
    both.reject.step()
    both.heart.step()
    assert both.heart.terminal.last % 2 == 0  # idle
    assert both.beats(20.0) <= 1
    both.reject.terminal.away = False
    assert both.beats(RETRY_MAX_S + 2.0) > 2
    assert both.beats(2.0) >= 3


def test_a_heartbeat_stands_still_for_longer_than_two_half_periods_when_a_signal_was_lost_in_a_moment() -> None:
    both = Watched()
    both.reject.terminal.away = True
    both.reject.output.signal(both.reject.clock.now)
    both.reject.step()
    both.reject.terminal.away = False
    assert both.beats(RETRY_MIN_S + 0.1) <= 1
    assert both.reject.output.is_set  # again, before anybody would miss a beat
    assert both.beats(2 * 0.5) == 0
    assert both.beats(2.0) >= 2


@pytest.mark.parametrize(("late_s", "beats"), [(0.05, 2), (0.2, 0)])
def test_a_heartbeat_stands_still_when_a_reject_came_so_late_that_its_part_has_passed(
    late_s: float, beats: int
) -> None:
    both = Watched(delay_s=0.5)
    both.beats(2.0)
    both.reject.output.signal(both.reject.clock.now - 0.5 - late_s)
    both.reject.step()
    assert (both.reject.output.status.late, both.reject.output.status.failed) == (1, 0)
    both.heart.step()
    assert both.beats(2 * 0.5) == beats
    assert both.beats(2.0) >= 2


def test_a_heartbeat_stands_still_while_the_terminal_that_rejects_does_not_come_back_and_that_is_said(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    both, beats, said = Watched(), list[int](), list[str | None]()

    def hanging(_terminal: FakeTerminal, _value: int) -> None:
        monkeypatch.undo()
        for _ in range(round(10 * (HANGS_S + 0.5))):
            both.reject.clock.now += 0.1
            both.heart.step()
        beats.append(len(both.heart.terminal.shown))
        said.append(both.reject.output.status.problem)
        for _ in range(50):
            both.reject.clock.now += 0.1
            both.heart.step()
        beats.append(len(both.heart.terminal.shown))

    both.reject.output.signal(both.reject.clock.now)
    monkeypatch.setattr(both.reject.terminal, "set", hanging.__get__(both.reject.terminal))
    both.reject.step()
    assert beats[1] - beats[0] <= 1
    assert both.heart.terminal.last % 2 == 0  # idle
    assert said == [HANGS]
    assert both.reject.output.status.problem is None
    assert both.beats(2.0) >= 3


def test_a_signal_while_the_terminal_is_away_fails_and_is_never_shown_late(caplog: pytest.LogCaptureFixture) -> None:
    bench = Bench(wired(), FakeTerminal(is_local=False))
    bench.step()
    bench.terminal.away = True
    bench.output.signal(100.0)
    bench.step()
    bench.output.signal(100.0)
    bench.step(after_s=0.001)
    assert (bench.output.status.failed, bench.output.status.fired) == (2, 0)
    assert bench.output.status.problem == "nobody is there."
    bench.terminal.away = False
    bench.clock.now += RETRY_MAX_S
    bench.output.signal(bench.clock.now)  # due before it is there again
    bench.step()
    bench.step()
    assert bench.terminal.shown == [0, 0]
    assert bench.output.status.failed == 3
    assert not bench.output.status.problem


def test_a_terminal_that_stays_away_is_tried_with_longer_and_longer_pauses() -> None:
    bench = Bench(wired(), FakeTerminal(is_local=False), opens=False)
    bench.terminal.away = True
    waits = [bench.step() or 0.0]
    for _ in range(8):
        waits.append(bench.step(after_s=waits[-1]) or 0.0)
    assert all(0 < wait_s <= RETRY_MAX_S for wait_s in waits)
    assert waits[-1] > 5 * waits[0]


def test_what_the_other_side_may_have_forgotten_is_shown_again() -> None:
    terminal = FakeTerminal()
    terminal.refresh_s = 1.0
    bench = Bench(wired(), terminal)
    bench.step()
    assert bench.step(after_s=0.4) == pytest.approx(0.6)
    assert bench.terminal.shown == [0]
    bench.step(after_s=0.6)
    assert bench.terminal.shown == [0, 0]


def test_a_station_that_stops_shows_what_is_due_and_then_the_safe_level() -> None:
    bench = Bench(wired(delay_s=0.3))
    bench.output.signal(100.0)
    bench.step()
    bench.output.begin_close()
    assert bench.step() is not None
    bench.step(after_s=0.3)
    assert bench.terminal.last == 1
    assert bench.step(after_s=0.1) is None
    assert (bench.terminal.shown, bench.terminal.closed) == ([0, 1, 0], 1)
    assert bench.output.status.failed == 0


def test_a_station_that_stops_counts_the_signals_it_cannot_wait_for(caplog: pytest.LogCaptureFixture) -> None:
    bench = Bench(wired(delay_s=60.0))
    bench.output.signal(100.0)
    bench.step()
    bench.output.begin_close()
    assert bench.step(after_s=EXIT_S) is None
    assert bench.output.status.failed == 1
    assert "1 signals were not due yet" in caplog.text


def test_a_station_that_stops_rejects_at_once_where_that_is_safe() -> None:
    bench = Bench(wired(delay_s=60.0, safe_active=True))
    bench.output.signal(100.0)
    bench.step()
    bench.output.begin_close()
    assert bench.step() is None
    assert (bench.terminal.last, bench.terminal.closed, bench.output.status.failed) == (1, 1, 0)


def test_a_pin_that_is_missing_at_the_start_is_a_mistake_in_the_file() -> None:
    bench = Bench(wired(), opens=False)
    bench.terminal.away = True
    with pytest.raises(OutputError, match="nobody is there"):
        bench.output.open()
    bench.output.close()


def test_too_many_waiting_signals_are_counted_and_said_once(caplog: pytest.LogCaptureFixture) -> None:
    bench = Bench(wired(delay_s=60.0))
    for part in range(MOST_WAITING + 5):
        bench.output.signal(100.0 + part / 1e6)
    bench.step()
    assert bench.output.status.failed == 5
    assert "more than" in (bench.output.status.problem or "")
    assert len(caplog.records) == 1


class Belt(Encoder):
    """An encoder without a thread: moved by the test, in this thread."""

    def __init__(self) -> None:
        super().__init__(FakeTicks(), FakeClock(100.0))
        self.problem = None
        self.move(100.0, 0)

    def move(self, mono: float, count: int) -> None:
        self._moved((mono, count))

    def lose(self) -> None:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(logging.getLogger("edge_resad.device.outputs.encoder"), "disabled", True)
            self._lost(OutputError("the encoder is broken."))


def test_a_delay_in_counts_follows_the_belt_from_where_it_was_at_the_picture() -> None:
    belt = Belt()
    bench = Bench(wired(counts=50), encoder=belt)
    belt.move(101.0, 20)
    bench.clock.now = 101.0
    bench.output.signal(100.5)  # at count 10
    bench.step()
    belt.move(200.0, 59)
    bench.step(after_s=90.0)
    assert bench.terminal.last == 0
    belt.move(201.0, 60)
    bench.step()
    assert bench.terminal.last == 1
    assert (bench.output.status.fired, bench.output.status.late) == (1, 0)


def test_a_part_that_the_belt_has_carried_past_its_gate_is_late() -> None:
    belt = Belt()
    bench = Bench(wired(counts=50), encoder=belt)
    belt.move(101.0, 80)
    bench.clock.now = 101.0
    bench.output.signal(100.0)
    bench.step()
    assert (bench.terminal.last, bench.output.status.late) == (1, 1)


def test_without_the_encoder_signals_in_counts_fail_and_the_output_is_safe() -> None:
    belt = Belt()
    bench = Bench(wired(counts=50, safe_active=True), encoder=belt)
    bench.step()
    belt.move(100.0, 50)
    bench.output.signal(100.0)
    bench.step()
    assert bench.terminal.last == 0
    belt.lose()
    bench.step()
    assert (bench.terminal.last, bench.output.status.failed) == (1, 1)
    bench.output.signal(100.0)
    bench.step()
    assert bench.output.status.failed == 2
    belt.problem = None
    belt.move(101.0, 0)
    bench.step()
    assert bench.terminal.last == 1  # parts that were never signalled are on their way
    belt.move(102.0, 50)
    bench.step()
    assert bench.terminal.last == 0


@pytest.mark.parametrize("count", [0, 49, 60, 4_000])
def test_an_encoder_that_is_lost_and_found_while_an_output_hangs_fails_what_waited_for_its_counts(count: int) -> None:
    belt = Belt()
    bench = Bench(wired(counts=50, safe_active=True), encoder=belt)
    bench.step()
    belt.move(100.0, 50)
    bench.step()
    assert bench.terminal.last == 0
    bench.output.signal(100.0)  # due at 100
    bench.step()
    bench.output.signal(100.0)  # not taken yet: it comes while the terminal hangs
    belt.lose()
    belt.problem = None
    belt.move(101.0, 0)
    belt.move(102.0, count)
    bench.step(after_s=2.0)
    assert (bench.output.status.failed, bench.output.status.fired, bench.output.status.waiting) == (2, 0, 0)
    assert bench.terminal.last == 1  # the parts that they were for are on their way
    assert bench.output._awaited == count + 50
    belt.move(103.0, count + 50)
    bench.output.signal(103.0)
    bench.step(after_s=1.0)
    assert (bench.terminal.last, bench.output.status.waiting) == (0, 1)
    belt.move(104.0, count + 100)
    bench.step(after_s=1.0)
    assert (bench.terminal.last, bench.output.status.fired, bench.output.status.late) == (1, 1, 0)


def test_a_picture_from_before_an_encoder_was_found_has_no_moment() -> None:
    belt = Belt()
    bench = Bench(wired(counts=50), encoder=belt)
    belt.lose()
    belt.problem = None
    belt.move(102.0, 0)
    bench.clock.now = 102.5
    bench.output.signal(101.0)
    bench.output.signal(102.0)
    bench.step()
    assert (bench.output.status.failed, bench.output.status.waiting) == (1, 1)


def test_an_output_is_awake_at_the_count_that_it_waits_for_even_if_that_came_unseen() -> None:
    belt = Belt()
    bench = Bench(wired(counts=50), encoder=belt)
    bench.output.signal(100.0)
    bench.step()
    belt.move(101.0, 70)
    assert bench.output._next(101.0) == 101.0


def test_a_terminal_that_hangs_for_days_fails_signals_and_does_not_eat_the_memory() -> None:
    bench = Bench(wired())
    for _ in range(MOST_TOLD + 5):  # and its thread takes none of them
        bench.output.signal(99.9)
    assert (bench.output.status.waiting, bench.output.status.failed) == (MOST_TOLD, 5)
