"""GenICam cameras, tried on the one that GenICam's own package simulates; features, which Basler cameras have too."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

genicam = pytest.importorskip("genicam", reason="harvesters is not installed")

from edge_resad.device.basler import open_basler  # noqa: E402 - after the skip
from edge_resad.device.camera import open_camera  # noqa: E402
from edge_resad.device.features import set_features, waits_for_a_trigger, wanted_features  # noqa: E402
from edge_resad.device.genicam import open_genicam  # noqa: E402
from edge_resad.device.live import LiveCamera, StillWaiting  # noqa: E402
from edge_resad.device.settings import CameraSection, is_camera, split_source  # noqa: E402
from edge_resad.errors import CameraError  # noqa: E402
from tests.fakes import FakeClock, FakeDevice, FakeStop  # noqa: E402

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
