"""Basler cameras, tried on those that pylon emulates."""

from __future__ import annotations

import logging
import os
import threading
import warnings
import weakref
from collections.abc import Iterator
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest

os.environ.setdefault("PYLON_CAMEMU", "2")  # before pylon is loaded: two emulated cameras
if find_spec("pypylon") is None:
    pytest.skip("pypylon is not installed", allow_module_level=True)

from edge_resad.device import basler
from edge_resad.device.basler import open_basler
from edge_resad.device.camera import open_camera
from edge_resad.device.live import MOST_HALVES, LiveCamera, StillWaiting
from edge_resad.device.pipeline import Inspection
from edge_resad.device.settings import CameraSection, StationFile
from edge_resad.device.station import run_station
from edge_resad.errors import CameraError
from tests.fakes import FakeClock, FakeJudge, FakeStop
from tests.mqtt_peers import eventually

with warnings.catch_warnings():
    warnings.simplefilter("ignore", DeprecationWarning)  # as an error, SWIG's would crash the import
    from pypylon import genicam, pylon

EMULATED = "0815-0000"


@pytest.fixture(autouse=True)
def _cameras_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """A camera that a busy machine emulates has the time of that machine for a frame."""
    monkeypatch.setattr(basler, "READ_MS", 60_000)


def test_a_basler_camera_gives_frames_of_the_size_that_was_asked_for() -> None:
    camera = CameraSection(source=f"basler:{EMULATED}", width=640, height=480, controls={"PixelFormat": "BGR8Packed"})
    with open_camera(camera) as source:
        frames = [source.read() for _ in range(3)]
    assert [frame is not None and frame.image.shape for frame in frames] == [(480, 640, 3)] * 3
    assert [frame is not None and frame.frame_id for frame in frames] == [0, 1, 2]


def test_a_gray_basler_camera_gives_pictures_of_three_channels() -> None:
    device = open_basler(EMULATED, wanted={"PixelFormat": "Mono8", "ExposureTime": 4000.0})
    assert device.grab()
    good, image = device.retrieve()
    device.release()
    assert good
    assert image.dtype == np.uint8
    assert image.shape[2] == 3
    assert (image[..., 0] == image[..., 2]).all()


def test_a_basler_camera_that_waits_for_its_trigger_is_not_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(basler, "READ_MS", 100)
    device = open_basler(EMULATED, wanted={"TriggerSelector": "FrameStart", "TriggerMode": "On"})
    with pytest.raises(StillWaiting):
        device.grab()
    device.release()


def test_an_unknown_basler_camera_lists_those_that_are_there() -> None:
    with pytest.raises(CameraError, match=r"no Basler camera with the serial number 4711\. Seen now: 0815-0000, 0815"):
        open_basler("4711", wanted={})
    with pytest.raises(CameraError, match=r'not one camera is there\. .*"basler:SERIAL"'):
        open_basler("", wanted={})


def test_a_basler_camera_is_free_again_after_a_wrong_feature() -> None:
    with pytest.raises(CameraError, match=r"has no feature ExposureTme.*Did you mean .*ExposureTime"):
        open_basler(EMULATED, wanted={"ExposureTme": 1.0})
    with pytest.raises(CameraError, match=r"does not take PixelFormat = Mono7: .*Correct \[camera\] controls"):
        open_basler(EMULATED, wanted={"PixelFormat": "Mono7"})
    open_basler(EMULATED, wanted={}).release()


def test_reading_ends_when_it_is_told_to() -> None:
    stop = threading.Event()
    camera = CameraSection(source=f"basler:{EMULATED}", controls={"TriggerMode": "On"})
    with open_camera(camera, stop=stop) as source:
        stop.set()
        assert source.read() is None


# A camera that fails


class Refusing:
    """Stands before a call of the driver and refuses it for so many times."""

    def __init__(self, call: Any, times: int, *, after: int = 0) -> None:
        self.refused = 0
        self.passed = 0
        self._call = call
        self._times = times
        self._after = after

    def __get__(self, owner: Any, _class: type | None = None) -> Any:
        return partial(self, owner)

    def __call__(self, *arguments: Any) -> Any:
        if self.passed >= self._after and self.refused < self._times:
            self.refused += 1
            raise genicam.RuntimeException("the device is controlled by another application")
        self.passed += 1
        return self._call(*arguments)


def refuse(monkeypatch: pytest.MonkeyPatch, owner: Any, call: str, times: int, *, after: int = 0) -> Refusing:
    refusing = Refusing(getattr(owner, call), times, after=after)
    monkeypatch.setattr(owner, call, refusing)
    return refusing


@pytest.fixture(scope="module")
def listed() -> Any:
    """What pylon finds on all buses and networks, which takes it seconds."""
    return pylon.TlFactory.GetInstance().EnumerateDevices()


class Opened:
    """Every camera that pylon opens; keeps none of them alive, for what is alive holds handles."""

    def __init__(self) -> None:
        self.count = 0
        self._cameras: weakref.WeakSet[Any] = weakref.WeakSet()

    def add(self, camera: Any) -> None:
        self.count += 1
        self._cameras.add(camera)

    @property
    def now(self) -> list[Any]:
        """Those that are open."""
        return [camera for camera in self._cameras if camera.IsOpen()]


@pytest.fixture
def opened(listed: Any, monkeypatch: pytest.MonkeyPatch) -> Opened:
    monkeypatch.setattr(pylon.TlFactory, "EnumerateDevices", lambda _factory: listed)
    found, really = Opened(), pylon.InstantCamera.Open

    def open_and_note(camera: Any) -> None:
        found.add(camera)
        really(camera)

    monkeypatch.setattr(pylon.InstantCamera, "Open", open_and_note)
    return found


def held() -> tuple[int, int]:
    """Threads and handles of this process, the driver's own included."""
    return len(os.listdir("/proc/self/task")), len(os.listdir("/proc/self/fd"))


@pytest.fixture
def one_by_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every frame is handed over, as with a trigger; of a camera that runs by itself pylon drops what is not newest."""
    monkeypatch.setattr("edge_resad.device.basler.waits_for_a_trigger", lambda _features: True)


@pytest.fixture
def looked_for(opened: Opened) -> Iterator[LiveCamera]:
    """A camera that is read and has given a frame."""
    clock = FakeClock()
    camera = LiveCamera(EMULATED, partial(open_basler, EMULATED, wanted={}), stop=FakeStop(clock), clock=clock)
    with camera:
        assert camera.read() is not None
        yield camera
    assert opened.now == []


@pytest.mark.parametrize(
    ("owner", "call"),
    [
        (pylon.InstantCamera, "StartGrabbing"),
        (pylon.InstantCamera, "Open"),
        (pylon.TlFactory, "EnumerateDevices"),
        (pylon.TlFactory, "CreateDevice"),
        (pylon.ImageFormatConverter, "Convert"),
        (pylon.InstantCamera, "RetrieveResult"),
    ],
)
def test_whatever_the_driver_refuses_the_camera_is_looked_for_until_it_is_back_and_leaves_nothing_open(
    owner: Any,
    call: str,
    looked_for: LiveCamera,
    opened: Opened,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    threads, handles = held()
    refusing = refuse(monkeypatch, owner, call, times=3)
    if call not in ("RetrieveResult", "Convert"):
        refuse(monkeypatch, pylon.InstantCamera, "RetrieveResult", times=1)  # it breaks off
    with caplog.at_level(logging.INFO):
        frames = [looked_for.read() for _ in range(3)]
    assert refusing.refused == 3
    assert [frame and frame.frame_id for frame in frames] == [1, 2, 3]
    assert looked_for.lost == 1
    (lost,) = [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]
    assert "the device is controlled by another application. Check the cable and its network." in lost
    assert len(opened.now) == 1
    assert eventually(lambda: held()[0] <= threads and held()[1] <= handles)


@pytest.mark.parametrize(
    ("owner", "call", "words"),
    [
        (pylon.TlFactory, "EnumerateDevices", "pylon does not tell which Basler cameras there are: the device is"),
        (pylon.TlFactory, "CreateDevice", "the Basler camera 0815-0000 is there but cannot be opened: the device is"),
        (
            pylon.InstantCamera,
            "StartGrabbing",
            "the Basler camera 0815-0000 is there but does not begin: the dev",
        ),
    ],
)
def test_a_camera_that_does_not_open_says_why_and_stays_closed(
    owner: Any, call: str, words: str, opened: Opened, monkeypatch: pytest.MonkeyPatch
) -> None:
    refuse(monkeypatch, owner, call, times=1)
    with pytest.raises(CameraError, match=words):
        open_basler(EMULATED, wanted={})
    assert opened.now == []


def test_a_station_goes_on_when_its_driver_has_raised(
    tmp_path: Path, opened: Opened, monkeypatch: pytest.MonkeyPatch
) -> None:
    refuse(monkeypatch, pylon.ImageFormatConverter, "Convert", times=1, after=3)
    refuse(monkeypatch, pylon.InstantCamera, "StartGrabbing", times=1, after=1)
    stop = threading.Event()
    seen: list[int] = []

    def inspected(inspection: Inspection) -> None:
        seen.append(inspection.frame.frame_id)
        if opened.count == 3 and len(seen) > 3:
            stop.set()

    told = StationFile.model_validate(
        {
            "station": {"device": "press-7"},
            "camera": {"source": f"basler:{EMULATED}"},
            "inspection": {"bank": "bank.npz"},
            "spool": {"path": str(tmp_path / "spool.db")},
            "log": {"verdicts": str(tmp_path / "verdicts.jsonl")},
            "watch": {"silent_s": 0.0},  # what a machine that stands still is taken for
        }
    )
    run_station(told, stop=stop, on_inspection=inspected, open_judge=lambda _told: FakeJudge())
    assert opened.count == 3  # at the start, in vain, and well
    assert max(seen) >= 3
    assert eventually(lambda: not opened.now)


# Half a frame


def spoil(camera: Any, count: int) -> None:
    """Let the emulated camera lose pieces of so many frames, as a network does."""
    camera.ForceFailedBufferCount.Value = count
    camera.ForceFailedBuffer.Execute()


@pytest.mark.usefixtures("one_by_one")
def test_half_a_frame_is_a_part_that_cannot_be_read_and_the_camera_stays_open(
    looked_for: LiveCamera, opened: Opened, caplog: pytest.LogCaptureFixture
) -> None:
    spoil(opened.now[0], 3)
    frames = [looked_for.read()]
    while looked_for.unreadable < 3 or len(frames) < 5:  # some were there before
        frames.append(looked_for.read())
    assert looked_for.unreadable == 3
    assert looked_for.lost == 0
    assert opened.count == 1
    assert [frame and frame.frame_id for frame in frames][-1] == len(frames) + 3  # every part has its number
    assert [record.getMessage().partition(". ")[0] for record in caplog.records] == [
        f"the Basler camera {EMULATED} sent half a frame: The buffer was incompletely grabbed"
    ] * 2  # the first and the second; the fourth would be next


@pytest.mark.usefixtures("one_by_one")
def test_a_camera_that_sends_nothing_but_half_frames_is_opened_anew(looked_for: LiveCamera, opened: Opened) -> None:
    spoil(opened.now[0], MOST_HALVES)
    assert eventually(lambda: looked_for.read() is not None and looked_for.lost == 1)
    assert looked_for.unreadable == MOST_HALVES
    assert looked_for.lost == 1
    assert opened.count == 2


@pytest.mark.usefixtures("one_by_one")
def test_half_a_frame_of_a_camera_that_was_unplugged_is_no_part(
    looked_for: LiveCamera, opened: Opened, monkeypatch: pytest.MonkeyPatch
) -> None:
    spoil(opened.now[0], 1)
    monkeypatch.setattr(pylon.InstantCamera, "IsCameraDeviceRemoved", lambda _camera: True)
    assert eventually(lambda: looked_for.read() is not None and looked_for.lost == 1)
    assert looked_for.unreadable == 0
    assert opened.count == 2
