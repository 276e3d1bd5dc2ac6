"""A camera of the system's V4L2 driver: USB cameras, and whatever else is under /dev/video*."""

from __future__ import annotations

import logging
import os
import re
import threading
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol

import cv2
import numpy as np

from edge_resad.device.device_name import DeviceName
from edge_resad.device.frame import FIRST_PAUSE_S, LONGEST_PAUSE_S, Clock, Frame
from edge_resad.errors import CameraError

log = logging.getLogger(__name__)


class Device(Protocol):
    """What we use of `cv2.VideoCapture`."""

    def grab(self) -> bool:
        """Wait for a frame; whether one came."""

    def retrieve(self) -> tuple[bool, Any]:
        """Decode it: whether that went well, and the frame."""

    def release(self) -> None:
        """Give the camera back to the system."""


class V4L2Camera:
    """A live camera. When it goes away it is said once and looked for until it is back."""

    live = True
    unreadable = 0  # a camera that gives no frame has gone, and then there is no part to count

    def __init__(
        self,
        path: str,
        *,
        fps: float | None = None,
        width: int | None = None,
        height: int | None = None,
        stop: threading.Event | None = None,
        clock: Clock | None = None,
        open_device: Callable[[], Device] | None = None,
    ) -> None:
        self.lost = 0  # how many times the camera went away
        self._path = path
        self._stop = stop or threading.Event()
        self._clock = clock or Clock()
        self._open_device = open_device or _opener(path, fps=fps, width=width, height=height)
        self._device: Device | None = None
        self._taken = 0
        self._lost_at: float | None = None

    def __enter__(self) -> V4L2Camera:
        self._device = self._open_device()  # a camera that was never there is a mistake of the station file
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None, /
    ) -> None:
        self._release()

    def read(self) -> Frame | None:
        pause_s = FIRST_PAUSE_S
        while not self._stop.is_set():
            frame = self._try()
            if frame is not None:
                self._found()
                return frame
            self._stop.wait(pause_s)
            pause_s = min(2 * pause_s, LONGEST_PAUSE_S)
        return None

    def _try(self) -> Frame | None:
        """A frame of the camera, opened anew where it had gone; None where there is none."""
        try:
            if self._device is None:
                self._device = self._open_device()
            good = self._device.grab()
            mono, wall = self._clock.monotonic(), self._clock.wall()  # the driver has it; decoding takes its time
            good, image = self._device.retrieve() if good else (False, None)
        except (CameraError, cv2.error, OSError) as gone:
            self._gone(str(gone).strip())
            return None
        if not good or image is None or not image.size:
            self._gone(f"the camera at {self._path} gives no frame any more. Check the cable.")
            return None
        frame = Frame(
            image=np.ascontiguousarray(image, dtype=np.uint8),
            frame_id=self._taken,
            captured_mono=mono,
            captured_wall=wall,
        )
        self._taken += 1
        return frame

    def _gone(self, why: str) -> None:
        self._release()
        if self._lost_at is None and not self._stop.is_set():
            self._lost_at = self._clock.monotonic()
            self.lost += 1
            log.warning("camera lost: %s Looking for it until it is back.", why)

    def _found(self) -> None:
        if self._lost_at is not None:
            log.info("camera %s is back after %.1f s", self._path, self._clock.monotonic() - self._lost_at)
            self._lost_at = None

    def _release(self) -> None:
        if self._device is not None:
            self._device.release()
            self._device = None


def _opener(path: str, *, fps: float | None, width: int | None, height: int | None) -> Callable[[], Device]:
    name = DeviceName(path)

    def open_device() -> Device:
        device = open_v4l2(name.now(), fps=fps, width=width, height=height)
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
    camera.set(cv2.CAP_PROP_FOURCC, float(cv2.VideoWriter.fourcc(*"MJPG")))  # first: sizes depend on it
    if width and height:
        camera.set(cv2.CAP_PROP_FRAME_WIDTH, width)
        camera.set(cv2.CAP_PROP_FRAME_HEIGHT, height)
        given = int(camera.get(cv2.CAP_PROP_FRAME_WIDTH)), int(camera.get(cv2.CAP_PROP_FRAME_HEIGHT))
        if given != (width, height):
            log.warning("camera %s gives %dx%d pixels, asked for %dx%d", path, *given, width, height)
    if fps:
        camera.set(cv2.CAP_PROP_FPS, fps)
    camera.set(cv2.CAP_PROP_BUFFERSIZE, 1)  # a queue in the driver would hand over parts that have passed
    return camera


def cameras_seen(dev: Path = Path("/dev"), names: Path = Path("/sys/class/video4linux")) -> list[str]:
    """The video devices of this system, each with its name where the driver tells one."""
    found = sorted((int(path.name[5:]), path) for path in dev.glob("video*") if re.fullmatch(r"video\d+", path.name))
    return [f"{path}{_called(names / path.name / 'name')}" for _, path in found]


def _called(file: Path) -> str:
    try:
        return f" ({file.read_text(encoding='utf-8', errors='replace').strip()})"
    except OSError:
        return ""
