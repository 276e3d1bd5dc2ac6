"""A V4L2 camera's controls: exposure, gain, trigger mode, by the names that `v4l2-ctl --list-ctrls` shows.

The kernel's user-space API, "Extended Controls" and `VIDIOC_QUERYCTRL`.
"""

from __future__ import annotations

import fcntl
import os
import re
import struct
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

from edge_resad.errors import CameraError

_QUERY = struct.Struct("=II32siiiiI2I")  # struct v4l2_queryctrl
_VALUE = struct.Struct("=Ii")  # struct v4l2_control
_VIDIOC_QUERYCTRL = 0xC0445624
_VIDIOC_S_CTRL = 0xC008561C
_NEXT = 0x80000000  # V4L2_CTRL_FLAG_NEXT_CTRL
_DISABLED, _READ_ONLY, _INACTIVE = 0x1, 0x4, 0x10
_CLASS = 6  # V4L2_CTRL_TYPE_CTRL_CLASS: a heading

Ioctl = Callable[[int, int, bytearray], object]


@dataclass(frozen=True, kw_only=True)
class Control:
    """Something a camera can be told."""

    name: str
    id: int
    least: int
    most: int
    step: int
    is_inactive: bool  # another control, such as automatic exposure, overrides it now


def set_controls(path: str, wanted: Mapping[str, int], *, ioctl: Ioctl = fcntl.ioctl) -> None:
    """Set controls in the given order: what switches an automatic off comes before what it held.

    Raises:
        CameraError: the camera lacks a control, or a value is outside its range.
    """
    if not wanted:
        return
    try:
        device = os.open(path, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        raise CameraError(f"the controls of {path} cannot be set: {error.strerror}. Check the camera.") from error
    try:
        for name, value in wanted.items():
            known = {control.name: control for control in _controls(device, ioctl)}  # anew: one switches another
            _set(path, device, known, name, value, ioctl)
    finally:
        os.close(device)


def _set(path: str, device: int, known: Mapping[str, Control], name: str, value: int, ioctl: Ioctl) -> None:
    control = known.get(name)
    if control is None:
        raise CameraError(
            f"the camera at {path} has no control {name}. It has: {', '.join(sorted(known)) or 'none'}. "
            "Correct [camera] controls."
        )
    if control.is_inactive:
        raise CameraError(
            f"the control {name} of the camera at {path} is held by an automatic. "
            "Set what switches that off before it in [camera] controls, such as auto_exposure = 1."
        )
    if not control.least <= value <= control.most or (value - control.least) % max(control.step, 1):
        steps = f" in steps of {control.step}" if control.step > 1 else ""
        raise CameraError(
            f"the control {name} of the camera at {path} takes {control.least} to {control.most}{steps}, "
            f"[camera] controls says {value}. Correct it."
        )
    try:
        ioctl(device, _VIDIOC_S_CTRL, bytearray(_VALUE.pack(control.id, value)))
    except OSError as error:
        raise CameraError(
            f"the camera at {path} does not take {name} = {value}: {error.strerror}. Correct [camera] controls."
        ) from error


def _controls(device: int, ioctl: Ioctl) -> Iterator[Control]:
    last = 0
    while True:
        asked = bytearray(_QUERY.size)
        struct.pack_into("=I", asked, 0, last | _NEXT)
        try:
            ioctl(device, _VIDIOC_QUERYCTRL, asked)
        except OSError:  # the end of the list, or a device without controls
            return
        last, kind, name, least, most, step, _, flags, *_ = _QUERY.unpack(asked)
        if kind != _CLASS and not flags & (_DISABLED | _READ_ONLY):
            yield Control(
                name=as_v4l2_ctl(name),
                id=last,
                least=least,
                most=most,
                step=step,
                is_inactive=bool(flags & _INACTIVE),
            )


def as_v4l2_ctl(name: bytes) -> str:
    """`Exposure Time, Absolute` as v4l2-ctl writes it: `exposure_time_absolute`."""
    text = name.partition(b"\0")[0].decode("ascii", "replace").lower()
    return re.sub(r"[^a-z0-9]+", "_", text).strip("_")
