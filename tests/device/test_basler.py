"""Basler cameras, tried on those that pylon emulates."""

from __future__ import annotations

import os
import threading
from importlib.util import find_spec

import numpy as np
import pytest

os.environ.setdefault("PYLON_CAMEMU", "2")  # before pylon is loaded: two emulated cameras
if find_spec("pypylon") is None:
    pytest.skip("pypylon is not installed", allow_module_level=True)

from edge_resad.device.basler import open_basler
from edge_resad.device.camera import open_camera
from edge_resad.device.live import StillWaiting
from edge_resad.device.settings import CameraSection
from edge_resad.errors import CameraError

EMULATED = "0815-0000"


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


def test_a_basler_camera_that_waits_for_its_trigger_is_not_lost() -> None:
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
