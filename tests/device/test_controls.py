"""A V4L2 camera's controls are set by name, in order, and what the camera does not take is said."""

from __future__ import annotations

import errno
import os
import struct
from pathlib import Path

import pytest

from edge_resad.device.controls import as_v4l2_ctl, set_controls
from edge_resad.errors import CameraError

QUERYCTRL, S_CTRL = 0xC0445624, 0xC008561C  # of <linux/videodev2.h>, on every architecture we run on


class Driver:
    """A camera's driver, by the layout of `struct v4l2_queryctrl` and `struct v4l2_control`."""

    def __init__(self) -> None:
        self.controls = [  # id, type, name, least, most, step, flags
            (0x00980001, 6, b"User Controls", 0, 0, 0, 0x4),
            (0x00980913, 1, b"Gain", 0, 255, 1, 0),
            (0x009A0001, 6, b"Camera Controls", 0, 0, 0, 0x4),
            (0x009A0901, 3, b"Auto Exposure", 0, 3, 1, 0),
            (0x009A0902, 1, b"Exposure Time, Absolute", 3, 2047, 2, 0x10),
            (0x009A0999, 1, b"Serial Number", 0, 9, 1, 0x4),
        ]
        self.set: list[tuple[str, int]] = []

    def ioctl(self, _device: int, request: int, argument: bytearray) -> int:
        if request == QUERYCTRL:
            assert len(argument) == 68
            (asked,) = struct.unpack_from("=I", argument)
            assert asked & 0x80000000
            later = [control for control in self.controls if control[0] > asked & 0x7FFFFFFF]
            if not later:
                raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))
            number, kind, name, least, most, step, flags = later[0]
            argument[:] = struct.pack("=II32siiiiI2I", number, kind, name, least, most, step, 0, flags, 0, 0)
            return 0
        assert request == S_CTRL
        number, value = struct.unpack("=Ii", argument)
        (name,) = (control[2] for control in self.controls if control[0] == number)
        self.set.append((name.decode(), value))
        if number == 0x009A0901:  # automatic exposure off: the time may be set
            self.controls[4] = (*self.controls[4][:6], 0x0 if value == 1 else 0x10)
        return 0


@pytest.fixture
def device(tmp_path: Path) -> str:
    (tmp_path / "video0").touch()
    return str(tmp_path / "video0")


def test_controls_are_set_by_name_in_their_order(device: str) -> None:
    driver = Driver()
    before = len(os.listdir("/proc/self/fd"))
    set_controls(device, {"auto_exposure": 1, "exposure_time_absolute": 157, "gain": 8}, ioctl=driver.ioctl)
    assert driver.set == [("Auto Exposure", 1), ("Exposure Time, Absolute", 157), ("Gain", 8)]
    assert len(os.listdir("/proc/self/fd")) == before


@pytest.mark.parametrize(
    ("wanted", "words"),
    [
        (
            {"trigger_mode": 1},
            r"has no control trigger_mode\. It has: auto_exposure, exposure_time_absolute, gain\. Correct",
        ),
        ({"gain": 256}, r"control gain .* takes 0 to 255, \[camera\] controls says 256"),
        ({"auto_exposure": 1, "exposure_time_absolute": 4}, "takes 3 to 2047 in steps of 2"),
        ({"exposure_time_absolute": 3}, "exposure_time_absolute .* is held by an automatic"),
        ({"serial_number": 3}, "has no control serial_number"),
    ],
)
def test_what_the_camera_does_not_take_is_said(device: str, wanted: dict[str, int], words: str) -> None:
    with pytest.raises(CameraError, match=words):
        set_controls(device, wanted, ioctl=Driver().ioctl)


def test_a_device_without_controls_has_none(device: str) -> None:
    with pytest.raises(CameraError, match=r"has no control gain\. It has: none"):
        set_controls(device, {"gain": 1})  # a file is no camera: the kernel itself says so


def test_names_are_those_of_v4l2_ctl() -> None:
    assert as_v4l2_ctl(b"White Balance Temperature, Auto\0\0\0") == "white_balance_temperature_auto"
