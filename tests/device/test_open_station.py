"""A station that is open: whole or not at all, and what it says it did is what its cameras' lanes counted."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from edge_resad.device.open_station import OpenStation
from edge_resad.device.settings import StationFile
from edge_resad.errors import CameraError
from tests.device.test_station import BROKEN, CRITICAL, GOOD, settings, two_cameras
from tests.fakes import FakeCamera, FakeJudge


def test_a_station_that_cannot_be_opened_leaves_nothing_open(tmp_path: Path) -> None:
    class Watched(FakeJudge):
        closed = 0

        def __exit__(self, *error: object) -> None:
            Watched.closed += 1

    def missing(_told: StationFile, _halt: threading.Event) -> FakeCamera:
        raise CameraError("no camera here")

    told = settings(tmp_path, control={"socket": str(tmp_path / "control.sock")})
    station = OpenStation(told, stop=threading.Event(), open_source=missing, open_judge=lambda _told: Watched())
    with pytest.raises(CameraError), station:
        raise AssertionError("a station without its camera is open")
    assert Watched.closed == 1
    assert not (tmp_path / "control.sock").exists()
    with pytest.raises(ValueError, match="is closed"):
        station.spool.put("er/v1/x", lambda _stamp: b"{}")


def test_the_whole_tally_is_the_sum_of_the_cameras(tmp_path: Path) -> None:
    shown = {"top": FakeCamera([GOOD] * 5), "side": FakeCamera([GOOD, CRITICAL, BROKEN])}
    station = OpenStation(
        two_cameras(tmp_path),
        stop=threading.Event(),
        open_source=lambda told, _halt: shown[told.camera.name],
        open_judge=lambda _told: FakeJudge(),
    )
    with station as opened, opened.running():
        for lane, inspection in opened.parts():
            before = opened.tally.parts
            opened.say(lane, inspection)
            assert opened.tally.parts == before + 1
    summary, (top, side) = station.summary(), (lane.tally for lane in station.lanes)
    assert (top.parts, side.parts, summary.parts) == (5, 3, 8)
    assert (summary.passed, summary.failed, summary.not_inspected) == (6, 1, {"inspector_error": 1})
    assert summary.latency_p99_ms == pytest.approx(max(top.latency_ms(99) or 0, side.latency_ms(99) or 0), rel=0.02)
