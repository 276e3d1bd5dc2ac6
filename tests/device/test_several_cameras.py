"""A station of two cameras of which one hangs or is missing: the other inspects, and what belongs to both is safe."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import numpy as np
import pytest
from numpy.typing import NDArray

import edge_resad.device.handover as handover_module
from edge_resad.device.lane import Lane, OpenSource
from edge_resad.device.open_station import OpenStation
from edge_resad.device.pipeline import Inspection, Tally
from edge_resad.device.progress import Pace, StationProgress
from edge_resad.device.settings import StationFile
from edge_resad.device.station import run_station
from edge_resad.device.v4l2 import V4L2Camera
from edge_resad.errors import CameraError
from tests.device.test_notify import Systemd, systemd
from tests.device.test_station import GOOD, WAIT_S, settings
from tests.fakes import FakeCamera, FakeJudge, picture
from tests.mqtt_peers import eventually
from tests.plc import Plc

__all__ = ["systemd"]  # the fixture

TOP, SIDE, BOTH = 1, 2, 3  # coils
SOON_S = 0.3
PACE_S = 0.01


def two_cameras(folder: Path, plc: Plc | None = None) -> StationFile:
    raw = settings(folder).model_dump(by_alias=True)
    raw["camera"] = [{"source": "/dev/video7", "name": "top"}, {"source": "/dev/video8", "name": "side"}]
    raw["watch"] = {"frozen_s": 0, "silent_s": SOON_S}  # a fake camera has no noise
    if plc is not None:
        where = {"kind": "modbus", "host": plc.server.host, "port": plc.server.port}
        raw["output"] = [
            {**where, "name": "top", "coil": TOP, "cameras": ["top"]},
            {**where, "name": "side", "coil": SIDE, "cameras": ["side"]},
            {**where, "name": "both", "coil": BOTH},
        ]
    return StationFile.model_validate(raw)


class Steady:
    """A V4L2 device that gives good parts for ever, a hundred a second."""

    def __init__(self, halt: threading.Event) -> None:
        self._halt = halt

    def grab(self) -> bool:
        time.sleep(PACE_S)
        return not self._halt.is_set()

    def retrieve(self) -> tuple[bool, NDArray[np.uint8]]:
        return True, picture(GOOD)

    def release(self) -> None: ...


class Driver:
    """What opens the side camera; what hangs in it is let go at the end."""

    def __init__(self) -> None:
        self.released = threading.Event()
        self.is_missing = False
        self.hangs_in_open = self.hangs_in_read = False

    def opened(self, halt: threading.Event) -> Steady:
        if self.is_missing:
            raise CameraError("no camera at /dev/video8.")
        if self.hangs_in_open:
            self.released.wait(WAIT_S)
        driver = self

        class Hanging(Steady):
            def grab(self) -> bool:
                if driver.hangs_in_read:
                    driver.released.wait(WAIT_S)
                return super().grab()

        return Hanging(halt)


def opening(driver: Driver) -> OpenSource:
    def opened(told: StationFile, halt: threading.Event) -> V4L2Camera:
        make = driver.opened if told.camera.name == "side" else Steady
        return V4L2Camera(told.camera.source, open_device=partial(make, halt), stop=halt)

    return opened


@contextmanager
def running(told: StationFile, driver: Driver, judged: list[Inspection]) -> Iterator[None]:
    stop = threading.Event()

    def run() -> None:
        run_station(
            told,
            stop=stop,
            on_inspection=judged.append,
            open_source=opening(driver),
            open_judge=lambda _told: FakeJudge(),
        )

    thread = threading.Thread(target=run, name="station")
    thread.start()
    try:
        yield
    finally:
        stop.set()
        driver.released.set()
        thread.join(WAIT_S)
        assert not thread.is_alive()


def passed(judged: list[Inspection], camera: str) -> int:
    return sum(one.camera == camera and one.verdict is not None for one in list(judged))


@pytest.mark.parametrize(
    ("paces", "gets_on"),
    [
        ([("on", "on")], [True]),
        ([("on", "still"), ("still", "on")], [False, True]),
        ([("on", "still"), ("on", "still")], [False, False]),  # nobody knows why: a new start is the better hope
        ([("on", "away"), ("on", "away")], [True, True]),
        ([("away", "away")], [False]),
        ([("over", "on"), ("over", "away")], [True, False]),  # nothing is inspected any more
    ],
)
def test_a_camera_that_is_looked_for_does_not_hold_up_the_station_and_one_that_stands_still_does(
    paces: list[tuple[Pace, Pace]], gets_on: list[bool]
) -> None:
    progress = StationProgress()
    assert [progress.step({"top": top, "side": side}) for top, side in paces] == gets_on


def test_a_camera_that_hangs_in_a_read_takes_neither_the_others_parts_nor_the_watchdog(
    tmp_path: Path, systemd: Systemd
) -> None:
    driver, judged = Driver(), list[Inspection]()
    with running(two_cameras(tmp_path), driver, judged):
        assert eventually(lambda: passed(judged, "side") > 0 and systemd.fed() > 0)
        driver.hangs_in_read = True
        assert eventually(lambda: "no picture from side" in systemd.listen()[-1])
        before, fed = passed(judged, "top"), systemd.fed()
        assert eventually(lambda: systemd.fed() >= fed + 6)  # systemd would have killed it after four
        assert eventually(lambda: passed(judged, "top") > before)


def test_a_station_one_of_whose_cameras_hangs_while_it_opens_is_ready_and_shows_the_others_parts(
    tmp_path: Path, systemd: Systemd, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(handover_module, "OPEN_S", SOON_S)
    driver, judged = Driver(), list[Inspection]()
    driver.hangs_in_open = True
    with Plc() as plc, running(two_cameras(tmp_path, plc), driver, judged):
        plc.wait_for(lambda: plc.edges(TOP)[:2] == [True, False])  # it is judged by its own camera
        assert eventually(lambda: any("READY=1" in message for message in systemd.listen()))
        assert eventually(lambda: "no picture from side" in systemd.listen()[-1])
        plc.wait_for(lambda: plc.edges(SIDE) == plc.edges(BOTH) == [True])  # each output has a thread of its own


def test_a_station_one_of_whose_cameras_is_missing_begins_without_it_says_so_and_finds_it(
    tmp_path: Path, systemd: Systemd, caplog: pytest.LogCaptureFixture
) -> None:
    driver, judged = Driver(), list[Inspection]()
    driver.is_missing = True
    with Plc() as plc, running(two_cameras(tmp_path, plc), driver, judged):
        plc.wait_for(lambda: plc.edges(TOP)[:2] == [True, False])
        assert eventually(lambda: any("READY=1" in message for message in systemd.listen()))
        assert eventually(lambda: "camera side gives no picture" in caplog.text)
        assert caplog.text.count("camera side: no camera at /dev/video8. It is looked for; the others inspect") == 1
        plc.wait_for(lambda: plc.edges(SIDE) == plc.edges(BOTH) == [True])
        driver.is_missing = False
        assert eventually(lambda: passed(judged, "side") > 0)
        plc.wait_for(lambda: plc.edges(SIDE)[-1] is plc.edges(BOTH)[-1] is False)


@pytest.mark.parametrize("reads", range(6))
def test_a_camera_that_is_found_missing_at_whatever_moment_of_the_start_is_said_to_be(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, reads: int
) -> None:
    """reads: how often it is asked for before its thread finds out."""

    class Late:
        name, opened, tally, is_away = "side", False, Tally(), True

        def __init__(self) -> None:
            self.asked = 0

        @property
        def capture(self) -> Late:
            return self

        @property
        def missing(self) -> CameraError | None:
            self.asked += 1
            return CameraError("no camera at /dev/video8.") if self.asked > reads else None

        @property
        def is_looked_for(self) -> bool:
            return self.missing is not None

    there = SimpleNamespace(opened=True, is_looked_for=False, missing=None)
    top = SimpleNamespace(name="top", capture=there, tally=Tally(), is_away=False)
    station = OpenStation(two_cameras(tmp_path), stop=threading.Event())
    station.lanes = cast(list[Lane], [top, Late()])
    for _ in range(8):
        station._begin()
    assert station._has_begun
    assert caplog.text.count("camera side: no camera at /dev/video8. It is looked for; the others inspect") == 1


def test_a_station_does_not_start_without_any_of_its_cameras(tmp_path: Path) -> None:
    def missing(told: StationFile, halt: threading.Event) -> V4L2Camera:
        return V4L2Camera(told.camera.source, stop=halt)

    with pytest.raises(CameraError, match="no camera at /dev/video7"):
        run_station(
            two_cameras(tmp_path),
            stop=threading.Event(),
            open_source=missing,
            open_judge=lambda _told: FakeJudge(),
        )


def test_a_folder_that_is_missing_is_a_mistake_of_the_station_file_whatever_the_other_camera_does(
    tmp_path: Path,
) -> None:
    class Missing(FakeCamera):
        def __enter__(self) -> FakeCamera:
            raise CameraError("no folder parts")

    shown = {"top": FakeCamera([GOOD] * 10**6), "side": Missing([])}
    with pytest.raises(CameraError, match="no folder parts"):
        run_station(
            two_cameras(tmp_path),
            stop=threading.Event(),
            open_source=lambda told, _halt: shown[told.camera.name],
            open_judge=lambda _told: FakeJudge(),
        )
