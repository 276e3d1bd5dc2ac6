"""GenICam cameras, tried on the one that GenICam's own package simulates; features, which Basler cameras have too."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

genicam = pytest.importorskip("genicam", reason="harvesters is not installed")
harvesters = pytest.importorskip("harvesters.core", reason="harvesters is not installed")

from edge_resad.device.basler import open_basler  # noqa: E402 - after the skip
from edge_resad.device.camera import open_camera  # noqa: E402
from edge_resad.device.features import set_features, waits_for_a_trigger, wanted_features  # noqa: E402
from edge_resad.device.genicam import open_genicam  # noqa: E402
from edge_resad.device.live import HalfFrame, LiveCamera, StillWaiting  # noqa: E402
from edge_resad.device.settings import CameraSection, is_camera, split_source  # noqa: E402
from edge_resad.errors import CameraError  # noqa: E402
from tests.fakes import FakeClock, FakeDevice, FakeStop  # noqa: E402
from tests.mqtt_peers import eventually  # noqa: E402

PRODUCER = Path(genicam.__file__).parent / "viky.cti"  # the simulated camera that comes with GenICam's package


@pytest.mark.parametrize("kind", ["genicam", "basler"])
def test_the_station_file_names_them_by_their_serial_number(kind: str) -> None:
    assert split_source(f"{kind}:4711") == (kind, "4711")
    assert split_source(kind) == (kind, "")
    assert is_camera(f"{kind}:4711")
    assert isinstance(open_camera(CameraSection(source=f"{kind}:4711")), LiveCamera)


def test_a_folder_that_is_called_like_a_camera_is_a_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert is_camera("basler")
    (tmp_path / "basler").mkdir()
    assert not is_camera("basler")


# GenICam


@pytest.fixture(autouse=True)
def _cameras_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """A camera that a busy machine simulates has the time of that machine for a frame."""
    monkeypatch.setattr("edge_resad.device.genicam.READ_S", 60.0)


def test_a_genicam_camera_gives_colour_frames() -> None:
    with open_camera(CameraSection(source="genicam:1", producer=PRODUCER)) as source:
        frame = source.read()
    assert frame is not None
    assert frame.image.shape == (400, 400, 3)
    assert frame.image.dtype == np.uint8
    assert frame.image.std() > 0


def test_a_gray_genicam_camera_gives_pictures_of_three_channels() -> None:
    device = open_genicam("0", producer=PRODUCER, wanted={"PixelFormat": "Mono8"})
    assert device.grab()
    _, image = device.retrieve()
    device.release()
    assert image.shape == (400, 400, 3)
    assert (image[..., 0] == image[..., 1]).all()


def test_a_frame_stays_as_it_was_when_the_next_one_comes() -> None:
    device = open_genicam("0", producer=PRODUCER, wanted={})
    device.grab()
    _, first = device.retrieve()
    kept = first.copy()
    for _ in range(6):  # more than there are buffers
        device.grab()
        device.retrieve()
    device.release()
    assert (first == kept).all()


def test_an_unknown_genicam_camera_lists_those_that_are_there() -> None:
    with pytest.raises(CameraError, match=r"serial number 4711\. Seen now: 0, 1, 2"):
        open_genicam("4711", producer=PRODUCER, wanted={})
    with pytest.raises(CameraError, match=r'not one camera is there\. Seen now: 0, 1, 2\. .*"genicam:SERIAL"'):
        open_genicam("", producer=PRODUCER, wanted={})


def test_a_feature_that_the_camera_lacks_names_its_neighbours() -> None:
    with pytest.raises(CameraError, match=r"no feature PixelFormt.*Did you mean .*PixelFormat"):
        open_genicam("0", producer=PRODUCER, wanted={"PixelFormt": "Mono8"})
    with pytest.raises(CameraError, match=r"does not take PixelFormat = Mono7"):
        open_genicam("0", producer=PRODUCER, wanted={"PixelFormat": "Mono7"})


def test_without_a_producer_it_says_where_one_comes_from(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("GENICAM_GENTL64_PATH", raising=False)
    with pytest.raises(CameraError, match=r"no GenTL producer is known\. Install the camera vendor's"):
        open_genicam("0", producer=None, wanted={})
    with pytest.raises(CameraError, match=r"no GenTL producer at .*none\.cti"):
        open_genicam("0", producer=tmp_path / "none.cti", wanted={})
    (tmp_path / "text.cti").write_text("no library")
    with pytest.raises(CameraError, match=r"text\.cti is no GenTL producer for this machine"):
        open_genicam("0", producer=tmp_path / "text.cti", wanted={})


def test_the_systems_producers_are_found_by_their_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GENICAM_GENTL64_PATH", str(PRODUCER.parent))
    device = open_genicam("2", producer=None, wanted={})
    assert device.grab()
    device.release()


@pytest.mark.parametrize(
    ("module", "extra", "open_one"),
    [
        ("harvesters.core", "genicam", lambda: open_genicam("0", producer=PRODUCER, wanted={})),
        ("pypylon", "basler", lambda: open_basler("0", wanted={})),
    ],
)
def test_a_missing_library_is_named_with_its_extra(
    module: str, extra: str, open_one: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(CameraError, match=rf"pip install 'edge-resad\[{extra}\]'"):
        open_one()


# A camera that fails


def handles() -> int:
    return len(os.listdir("/proc/self/fd"))


@pytest.fixture
def looked_for() -> Iterator[LiveCamera]:
    """A camera that is read and has given a frame."""
    clock = FakeClock()
    opener = partial(open_genicam, "0", producer=PRODUCER, wanted={"PixelFormat": "Mono8"})
    with LiveCamera("genicam:0", opener, stop=FakeStop(clock), clock=clock) as camera:
        assert camera.read() is not None
        yield camera


def failing(really: Callable[..., Any], times: int) -> tuple[Callable[..., Any], list[int]]:
    """A call that fails for so many times, and how many times it has."""
    failed: list[int] = []

    def call(*arguments: Any, **named: Any) -> Any:
        if len(failed) < times:
            failed.append(1)
            raise genicam.gentl.IoException("the camera does not answer")
        return really(*arguments, **named)

    return call, failed


@pytest.mark.parametrize(
    ("owner", "call"),
    [
        (harvesters.Harvester, "update"),
        (harvesters.Harvester, "create"),
        (harvesters.ImageAcquirer, "start"),
        (harvesters.ImageAcquirer, "try_fetch"),
        (harvesters.Buffer, "queue"),
        (cv2, "cvtColor"),
    ],
)
def test_whatever_the_driver_refuses_the_camera_is_looked_for_until_it_is_back_and_leaves_nothing_open(
    owner: Any, call: str, looked_for: LiveCamera, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    before = handles()
    refusing, refused = failing(getattr(owner, call), 5)
    monkeypatch.setattr(owner, call, refusing)
    if call != "try_fetch":
        breaking_off, _ = failing(harvesters.ImageAcquirer.try_fetch, 1)
        monkeypatch.setattr(harvesters.ImageAcquirer, "try_fetch", breaking_off)
    frames = [looked_for.read() for _ in range(3)]
    assert len(refused) == 5
    assert [frame and frame.frame_id for frame in frames] == [1, 2, 3]
    assert looked_for.lost == 1
    (lost,) = [record.getMessage() for record in caplog.records if record.name == "edge_resad.device.live"]
    assert "the camera does not answer. Check the cable and its network." in lost
    assert eventually(lambda: handles() <= before)  # others of this process may hold some for a moment


@pytest.mark.parametrize(
    ("owner", "call", "words"),
    [
        (harvesters.Harvester, "update", "the GenTL producer does not tell which cameras there are: the camera does"),
        (
            harvesters.Harvester,
            "create",
            "the camera 0 is there but cannot be opened: the camera does not answer. Cl",
        ),
        (harvesters.ImageAcquirer, "start", "the camera 0 is there but does not begin: the camera does not answer"),
    ],
)
def test_a_camera_that_does_not_open_says_why_and_is_free_again(
    owner: Any, call: str, words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    refusing, _ = failing(getattr(owner, call), 1)
    monkeypatch.setattr(owner, call, refusing)
    with pytest.raises(CameraError, match=words):
        open_genicam("0", producer=PRODUCER, wanted={})
    open_genicam("0", producer=PRODUCER, wanted={}).release()


@pytest.mark.parametrize("error", [ValueError("cannot reshape"), RuntimeError("no driver")])
def test_an_exception_that_nobody_expects_costs_the_camera_and_keeps_its_traceback(
    error: Exception, caplog: pytest.LogCaptureFixture
) -> None:
    class Odd(FakeDevice):
        def retrieve(self) -> tuple[bool, Any]:
            raise error

        def release(self) -> None:
            super().release()
            raise error

    devices = [Odd([np.zeros((4, 4, 3), np.uint8)]), FakeDevice([np.full((4, 4, 3), 9, np.uint8)])]
    left, clock = iter(devices), FakeClock()
    with LiveCamera("here", lambda: next(left), stop=FakeStop(clock), clock=clock) as camera:
        assert camera.read() is not None
    assert [device.released for device in devices] == [True, True]
    (lost,) = [record for record in caplog.records if record.levelno == logging.WARNING]
    assert f"the camera at here broke off: {error}. Check the cable" in lost.getMessage()
    assert lost.exc_info is not None
    assert lost.exc_info[1] is error


# Half a frame


def losing(monkeypatch: pytest.MonkeyPatch, lost: list[bool]) -> None:
    """Let the next frames be whole or not, as the producer tells it; from then on they are."""
    really = genicam.gentl.Buffer.is_complete
    monkeypatch.setattr(genicam.gentl.Buffer, "is_complete", lambda buffer: not lost.pop(0) if lost else really(buffer))


def test_half_a_frame_is_a_part_that_cannot_be_read_and_the_camera_stays_open(
    looked_for: LiveCamera, monkeypatch: pytest.MonkeyPatch
) -> None:
    losing(monkeypatch, [True, True, False, True])
    created, _ = failing(harvesters.Harvester.create, 1)
    monkeypatch.setattr(harvesters.Harvester, "create", created)  # it would not be opened again
    frames = [looked_for.read() for _ in range(4)]
    assert looked_for.unreadable == 3
    assert looked_for.lost == 0
    assert [frame and frame.frame_id for frame in frames][-1] == 7  # every part has its number


def test_half_a_frame_of_a_camera_that_is_triggered_is_a_part_and_no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("edge_resad.device.genicam.waits_for_a_trigger", lambda _features: True)
    device = open_genicam("0", producer=PRODUCER, wanted={})
    losing(monkeypatch, [False, True, False])
    whole: list[bool] = []
    for _ in range(3):
        try:
            whole.append(device.grab() and device.retrieve()[0])
        except HalfFrame:
            whole.append(False)
    device.release()
    assert whole == [True, False, True]


def test_a_frame_that_harvesters_can_make_nothing_of_is_a_part_that_cannot_be_read(
    looked_for: LiveCamera, monkeypatch: pytest.MonkeyPatch
) -> None:
    refusing, refused = failing(harvesters.Buffer._build_payload, 1)
    monkeypatch.setattr(harvesters.Buffer, "_build_payload", staticmethod(refusing))
    assert looked_for.read() is not None
    assert looked_for.read() is not None
    assert refused
    assert (looked_for.unreadable, looked_for.lost) == (1, 0)


def test_a_frame_with_fewer_bytes_than_its_size_says_is_a_part_that_cannot_be_read(
    looked_for: LiveCamera, monkeypatch: pytest.MonkeyPatch
) -> None:
    really, cut = harvesters.Component2DImage.data.fget, [True]

    def data(component: Any) -> Any:
        return really(component)[: 400 * 300] if cut and cut.pop() else really(component)

    monkeypatch.setattr(harvesters.Component2DImage, "data", property(data))
    assert looked_for.read() is not None
    assert (looked_for.unreadable, looked_for.lost) == (1, 0)


def test_a_clock_that_is_set_forward_ends_no_wait_for_a_frame(monkeypatch: pytest.MonkeyPatch) -> None:
    device = open_genicam("0", producer=PRODUCER, wanted={})
    really, early = harvesters.ImageAcquirer.try_fetch, [None, None]

    def at_once(acquirer: Any, *, timeout: float) -> Any:
        return early.pop() if early else really(acquirer, timeout=timeout)

    monkeypatch.setattr(harvesters.ImageAcquirer, "try_fetch", at_once)
    assert device.grab()
    device.release()


def test_a_triggered_camera_that_is_gone_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("edge_resad.device.genicam.waits_for_a_trigger", lambda _features: True)
    monkeypatch.setattr("edge_resad.device.genicam.READ_S", 0.01)
    monkeypatch.setattr("edge_resad.device.genicam.PULSE", "PixelFormat")  # the simulated one has no TriggerMode
    monkeypatch.setattr(harvesters.ImageAcquirer, "try_fetch", lambda _acquirer, *, timeout: None)
    device = open_genicam("0", producer=PRODUCER, wanted={})
    with pytest.raises(StillWaiting):
        device.grab()
    monkeypatch.setattr("edge_resad.device.genicam.PULSE", "Gone")
    with pytest.raises(CameraError, match=r"the camera 0 broke off: .*Check the cable"):
        device.grab()
    device.release()


# Features


class FakeFeatures:
    def __init__(self, **values: Any) -> None:
        self.values = values
        self.log: list[tuple[str, Any]] = []

    def names(self) -> list[str]:
        return list(self.values)

    def get(self, name: str) -> Any:
        return self.values.get(name)

    def set(self, name: str, value: Any) -> None:
        self.log.append((name, value))
        self.values[name] = value


def test_size_comes_first_and_the_rate_last_and_is_switched_on() -> None:
    wanted = wanted_features({"Gain": 1.5}, fps=20, width=640, height=480)
    assert list(wanted) == ["Width", "Height", "Gain", "AcquisitionFrameRate"]
    camera = FakeFeatures(
        Width=1, Height=1, Gain=0.0, AcquisitionFrameRate=1.0, AcquisitionFrameRateEnable=False, TriggerMode="Off"
    )
    set_features("4711", camera, wanted)
    assert camera.log[0] == ("AcquisitionFrameRateEnable", True)
    assert camera.values["AcquisitionFrameRate"] == 20.0
    assert not waits_for_a_trigger(camera)


def test_a_rate_that_cannot_be_switched_on_is_said_as_any_feature() -> None:
    class Stubborn(FakeFeatures):
        def set(self, name: str, value: Any) -> None:
            raise RuntimeError(f"Node is not writable. : AccessException thrown in node '{name}'")

    camera = Stubborn(AcquisitionFrameRate=1.0, AcquisitionFrameRateEnable=False)
    with pytest.raises(CameraError, match=r"does not take AcquisitionFrameRateEnable = True: Node is not writable\."):
        set_features("4711", camera, {"AcquisitionFrameRate": 20.0})


def test_a_camera_without_a_trigger_yet_shows_that_it_lives() -> None:
    clock = FakeClock()
    stop = FakeStop(clock)

    class Patient(FakeDevice):
        asked = 0

        def grab(self) -> bool:
            self.asked += 1
            if self.asked < 4:
                raise StillWaiting
            return super().grab()

    device = Patient([np.full((4, 4, 3), 9, np.uint8)])
    with LiveCamera("4711", lambda: device, stop=stop, clock=clock) as camera:
        frame = camera.read()
    assert frame is not None
    assert camera.lost == 0
    assert len(stop.waits) == 3


def test_controls_of_another_kind_of_camera_are_refused() -> None:
    with pytest.raises(ValueError, match=r"are whole numbers\. Correct gain"):
        CameraSection(source="/dev/video0", controls={"gain": "high"})
    with pytest.raises(ValueError, match="controls are of a camera under /dev, GenICam or Basler"):
        CameraSection(source="csi:0", controls={"Gain": 1})
    with pytest.raises(ValueError, match="producer is of a GenICam camera"):
        CameraSection(source="basler:1", producer=Path("a.cti"))
