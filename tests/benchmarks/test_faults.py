"""The table of faults counts a part as lost where it is, and a station has two of its faults without losing one."""

from __future__ import annotations

from dataclasses import replace

import pytest

pytest.importorskip("pymodbus", reason="the PLC takes pip install 'edge-resad[modbus]'")

import benchmarks.faults.account
import benchmarks.faults.belt
import benchmarks.faults.scene
from benchmarks.faults.__main__ import is_bad, play
from benchmarks.faults.account import ALIVE, GATE_S, HALF_PERIOD_S, PULSE_S, REJECT, Part, Write, account, missing
from benchmarks.faults.scene import Outcome

UNTIL = 20.0
BEATS: list[Write] = [(HALF_PERIOD_S * beat, ALIVE, bool(beat % 2)) for beat in range(int(UNTIL / HALF_PERIOD_S) + 1)]


def shown(coil: int, begin: float, end: float) -> list[Write]:
    return [(begin, coil, True), (end, coil, False)]


def test_a_part_that_nobody_saw_is_lost_where_the_plc_knows_of_nothing() -> None:
    found = account([Part(moment=5.0), Part(moment=6.0, fate="pass", told_at=6.1)], BEATS, UNTIL)
    assert (found.shown, found.verdicts, found.signalled, found.lost) == (2, 1, 0, 1)


@pytest.mark.parametrize("writes", [
    [*BEATS, *shown(REJECT, 5.0 + GATE_S - 0.1, 12.0)],  # held before it is at the gate
    [beat for beat in BEATS if beat[0] < 6.0],  # no heartbeat
])  # fmt: skip
def test_a_part_that_nobody_saw_is_signalled_by_a_level_or_a_missing_heartbeat(writes: list[Write]) -> None:
    found = account([Part(moment=5.0)], writes, UNTIL)
    assert (found.signalled, found.lost) == (1, 0)


def test_a_level_that_comes_after_the_part_has_passed_the_gate_signals_nothing() -> None:
    found = account([Part(moment=5.0)], [*BEATS, *shown(REJECT, 5.1 + GATE_S, 12.0)], UNTIL)
    assert (found.signalled, found.lost) == (0, 1)


def test_the_pulse_of_another_part_signals_nothing_for_this_one() -> None:
    parts = [Part(moment=5.0, fate="fail", told_at=5.1), Part(moment=7.0, fate="fail", told_at=7.1), Part(moment=9.0)]
    found = account(parts, [*BEATS, *shown(REJECT, 5.1, 5.16)], UNTIL)
    assert (found.failed, found.rejects, found.lost) == (2, 1, 2)


def test_a_level_before_any_part_can_have_a_pulse_signals_however_short_it_is() -> None:
    """A station that starts quickly shows its level for less than three pulses."""
    level = shown(REJECT, 5.0, 5.0 + 2 * PULSE_S)
    parts = [Part(moment=5.0), Part(moment=5.2, fate="pass", told_at=5.3), Part(moment=7.0, fate="fail", told_at=7.1)]
    assert account(parts[:2], [*BEATS, *level], UNTIL).lost == 0
    assert account(parts, [*BEATS, *level, *shown(REJECT, 7.1, 7.16)], UNTIL).lost == 0
    later = [*BEATS, *shown(REJECT, 7.1, 7.16)]
    assert account(parts, later, UNTIL).lost == 1


def test_a_part_without_a_verdict_has_its_own_pulse() -> None:
    part = Part(moment=5.0, fate="not inspected", told_at=5.1)
    assert account([part], [*BEATS, *shown(REJECT, 5.1, 5.16)], UNTIL).signalled == 1
    assert account([part], BEATS, UNTIL).lost == 1


def test_a_heartbeat_that_is_only_written_again_is_missing() -> None:
    again: list[Write] = [(float(second), ALIVE, True) for second in range(10, 20)]
    assert missing([*(beat for beat in BEATS if beat[0] <= 9.5), *again], UNTIL)[-1] == (10.5, UNTIL)


def test_what_is_lost_makes_the_table_fail() -> None:
    well = Outcome(fault="none", account=account([], BEATS, UNTIL))
    lost = Outcome(fault="lost", account=account([Part(moment=5.0)], BEATS, UNTIL))
    assert [is_bad(one) for one in (well, lost, replace(well, messages_lost=1))] == [False, True, True]


@pytest.fixture
def _patience(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine that is busy is late with everything: the gate is further away, and bad parts further from each other,
    so that a late pulse is that of no other part. The driver keeps the pictures of a camera that is not read meanwhile.
    """
    monkeypatch.setattr(benchmarks.faults.account, "GATE_S", 6.0)
    monkeypatch.setattr(benchmarks.faults.account, "BEFORE_S", 6.0)
    monkeypatch.setattr(benchmarks.faults.account, "AFTER_S", 6.0)
    monkeypatch.setattr(benchmarks.faults.belt, "BAD_EVERY", 64)
    monkeypatch.setattr(benchmarks.faults.belt, "BUFFERS", 1000)
    monkeypatch.setattr(benchmarks.faults.scene, "LAST_PICTURE_S", 60.0)


@pytest.mark.usefixtures("_patience")
def test_a_station_has_two_faults_and_loses_no_part() -> None:
    hung, raised = play(["camera-hangs", "engine-once"])
    assert hung.account is not None
    assert raised.account is not None
    assert "the camera hangs in a read" in hung.happened
    assert hung.account.shown > hung.account.verdicts > 10
    assert hung.account.signalled == hung.account.shown - hung.account.verdicts
    assert (hung.account.lost, raised.account.lost) == (0, 0)
    assert (hung.messages_lost, raised.messages_lost) == (0, 0)
    assert raised.noticed_s is not None
