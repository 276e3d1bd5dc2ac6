"""A camera of the system's V4L2 driver: USB cameras, and whatever else is under /dev/video*."""

from __future__ import annotations

import logging
import os
import re
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import cv2

from edge_resad.device.controls import set_controls
from edge_resad.device.device_name import DeviceName
from edge_resad.device.frame import Clock
from edge_resad.device.live import Device, HalfFrame, LiveCamera
from edge_resad.errors import CameraError

log = logging.getLogger(__name__)


FORMAT = "MJPG"
RATE_WITHIN = 0.02  # 29.97 a second are 30


class V4L2Camera(LiveCamera):
    """A camera of the system's V4L2 driver."""

    def __init__(
        self,
        path: str,
        *,
        fps: float | None = None,
        width: int | None = None,
        height: int | None = None,
        controls: Mapping[str, int] | None = None,
        triggered: bool = False,
        stop: threading.Event | None = None,
        clock: Clock | None = None,
        open_device: Callable[[], Device] | None = None,
        name: DeviceName | None = None,
    ) -> None:
        """name: what is known of the device from before, where a reader of the same camera hangs.
        controls: by the names that `v4l2-ctl --list-ctrls` shows.
        triggered: it gives a picture when it is told to by wire, and may wait for that for long.
        """
        name = name or DeviceName(path)
        opener = open_device or _opener(name, fps=fps, width=width, height=height, controls=controls or {})
        super().__init__(path, opener, stop=stop, clock=clock, still_there=name.is_there if triggered else None)


def _opener(
    name: DeviceName, *, fps: float | None, width: int | None, height: int | None, controls: Mapping[str, int]
) -> Callable[[], Device]:
    def open_device() -> Device:
        there = name.now()
        device = open_v4l2(there, fps=fps, width=width, height=height)
        try:
            set_controls(there, controls)  # every time: a camera that was unplugged has forgotten them
        except CameraError:
            device.release()
            raise
        name.remember()
        return device

    return open_device


def open_v4l2(path: str, *, fps: float | None, width: int | None, height: int | None) -> Device:
    """Open a camera for MJPEG frames as fresh as the driver gives them."""
    if not os.path.exists(path):
        raise CameraError(
            f"no camera at {path}. Seen now: {', '.join(cameras_seen()) or 'none'}. "
            "Check the cable, or name another camera."
        )
    if not os.access(path, os.R_OK | os.W_OK):
        raise CameraError(
            f"this user may not open the camera at {path}. Expected a member of the group video. "
            "Run: sudo usermod -aG video $USER, and log in again."
        )
    camera = cv2.VideoCapture(os.path.realpath(path), cv2.CAP_V4L2)
    if not camera.isOpened():
        camera.release()
        raise CameraError(
            f"{path} is there but gives no pictures. Expected a camera that no other program uses. "
            f"Seen now: {', '.join(cameras_seen())}. Close the other program, or name another camera."
        )
    camera.set(cv2.CAP_PROP_FOURCC, float(cv2.VideoWriter.fourcc(*FORMAT)))  # first: sizes depend on it
    given_format = _letters(int(camera.get(cv2.CAP_PROP_FOURCC)))
    if given_format != FORMAT:
        log.warning("camera %s gives %s pictures, asked for %s: USB may be too slow", path, given_format, FORMAT)
    if width and height:
        camera.set(cv2.CAP_PROP_FRAME_WIDTH, width)
        camera.set(cv2.CAP_PROP_FRAME_HEIGHT, height)
        given = int(camera.get(cv2.CAP_PROP_FRAME_WIDTH)), int(camera.get(cv2.CAP_PROP_FRAME_HEIGHT))
        if given != (width, height):
            log.warning("camera %s gives %dx%d pixels, asked for %dx%d", path, *given, width, height)
    if fps:
        camera.set(cv2.CAP_PROP_FPS, fps)
        given_fps = camera.get(cv2.CAP_PROP_FPS)
        if abs(given_fps - fps) > RATE_WITHIN * fps:
            log.warning("camera %s gives %g pictures a second, asked for %g", path, given_fps, fps)
    camera.set(cv2.CAP_PROP_BUFFERSIZE, 1)  # a queue in the driver would hand over parts that have passed
    return _Decoding(camera, path)


class _Decoding:
    """A camera that is open. A frame that came and cannot be decoded is not whole: the camera is there all the same."""

    def __init__(self, camera: Device, path: str) -> None:
        self._camera = camera
        self._path = path

    def grab(self) -> bool:
        return self._camera.grab()

    def retrieve(self) -> tuple[bool, Any]:
        good, image = self._camera.retrieve()
        if not good:
            raise HalfFrame(f"the camera at {self._path} sent half a frame")
        return good, image

    def release(self) -> None:
        self._camera.release()


def _letters(fourcc: int) -> str:
    """The name of a pixel format: its number's bytes are letters."""
    name = fourcc.to_bytes(4, "little", signed=fourcc < 0).decode("ascii", "ignore").strip(" \0")
    return name if name.isprintable() and name else f"{fourcc:#x}"


def cameras_seen(dev: Path = Path("/dev"), names: Path = Path("/sys/class/video4linux")) -> list[str]:
    """The video devices of this system, each with its name where the driver tells one."""
    found = sorted((int(path.name[5:]), path) for path in dev.glob("video*") if re.fullmatch(r"video\d+", path.name))
    return [f"{path}{_called(names / path.name / 'name')}" for _, path in found]


def _called(file: Path) -> str:
    try:
        return f" ({file.read_text(encoding='utf-8', errors='replace').strip()})"
    except OSError:
        return ""
