"""A station that is open: whole or not at all, and what it says it did is what its cameras' lanes counted."""

from __future__ import annotations

import threading
import time
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from edge_resad.decision import Verdict
from edge_resad.device.device_name import DeviceName
from edge_resad.device.open_station import OpenStation
from edge_resad.device.settings import StationFile
from edge_resad.errors import CameraError
from tests.device.test_station import BROKEN, CRITICAL, GOOD, settings, two_cameras
from tests.fakes import FakeCamera, FakeJudge, picture
from tests.mqtt_peers import eventually


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


def test_an_engine_that_holds_the_line_up_is_a_red_light_until_it_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hangs, lets_go = threading.Event(), threading.Event()

    class Slow(FakeJudge):
        def inspect(self, frame: NDArray[np.uint8], /) -> Verdict:
            hangs.set()
            lets_go.wait()
            return super().inspect(frame)

    monkeypatch.setattr("edge_resad.device.lights.HELD_UP_S", 0.1)
    monkeypatch.setattr("edge_resad.device.operator_side.GLANCE_S", 0.0)
    stop, camera = threading.Event(), FakeCamera([GOOD], live=True, hangs=True)
    station = OpenStation(
        settings(tmp_path), stop=stop, open_source=lambda _told, _halt: camera, open_judge=lambda _told: Slow()
    )

    def inspect() -> None:
        for lane, inspection in station.parts():
            station.say(lane, inspection)

    def colour() -> str:
        lights = station.people.controls.answer("status", {})["result"]["lights"]
        return next(str(light["colour"]) for light in lights if light["name"] == "engine")

    with station as running, running.running():
        line = threading.Thread(target=inspect, daemon=True)
        assert colour() == "green"
        line.start()
        assert hangs.wait(60.0)
        assert eventually(lambda: colour() == "red")
        lets_go.set()
        assert eventually(lambda: colour() == "green")
        stop.set()
        line.join()
        camera.released.set()


class Hangs:
    """A V4L2 device that gives one picture and then hangs until it is let go."""

    def __init__(self, lets_go: threading.Event) -> None:
        self._lets_go, self._given = lets_go, False

    def grab(self) -> bool:
        if self._given:
            self._lets_go.wait()
            return False
        self._given = True
        return True

    def retrieve(self) -> tuple[bool, NDArray[np.uint8]]:
        return True, picture(GOOD)

    def release(self) -> None: ...


def test_a_camera_that_hangs_and_comes_back_under_another_number_is_the_one_that_is_opened(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    link, lets_go, opened = tmp_path / "by-id" / "serial-acme", threading.Event(), list[str]()
    link.parent.mkdir()
    (tmp_path / "video0").touch()
    link.symlink_to(tmp_path / "video0")

    def opens(path: str, **_: object) -> Hangs:
        opened.append(Path(path).name)
        return Hangs(lets_go)

    monkeypatch.setattr("edge_resad.device.v4l2.open_v4l2", opens)

    def named(path: str) -> DeviceName:
        return DeviceName(str(tmp_path / Path(path).name), [link.parent])

    monkeypatch.setattr("edge_resad.device.open_station.DeviceName", named, raising=False)
    monkeypatch.setattr("edge_resad.device.v4l2.DeviceName", named)
    told = settings(tmp_path, camera={"source": "/dev/video0"}, watch={"silent_s": 0.2})
    station = OpenStation(told, stop=threading.Event(), open_judge=lambda _told: FakeJudge())
    with station as running, running.running():
        (lane,) = running.lanes
        assert eventually(lambda: lane.capture.slot.take() is not None)
        lane.look(time.monotonic(), None)
        link.unlink()
        (tmp_path / "video0").rename(tmp_path / "video3")
        (tmp_path / "video0").touch()  # another camera has taken its number
        link.symlink_to(tmp_path / "video3")
        assert eventually(lambda: lane.look(time.monotonic(), None) is not None and len(opened) == 2)
        lets_go.set()
    assert opened[:2] == ["video0", "video3"]
