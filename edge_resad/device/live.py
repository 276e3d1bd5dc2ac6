"""A live camera: whatever gives frames by itself, may go away, and is looked for until it is back."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from types import TracebackType
from typing import Any, Protocol

import cv2
import numpy as np
from numpy.typing import NDArray

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


class StillWaiting(Exception):
    """Raised by a device's `grab`: all is well, only nobody has triggered the camera yet."""


class LiveCamera:
    """A live camera. When it goes away it is said once and looked for until it is back."""

    live = True
    unreadable = 0  # a camera that gives no frame has gone, and then there is no part to count

    def __init__(
        self,
        where: str,
        open_device: Callable[[], Device],
        *,
        stop: threading.Event | None = None,
        clock: Clock | None = None,
    ) -> None:
        """where: the camera as an operator knows it."""
        self.lost = 0  # how many times the camera went away
        self._where = where
        self._stop = stop or threading.Event()
        self._clock = clock or Clock()
        self._open_device = open_device
        self._device: Device | None = None
        self._taken = 0
        self._lost_at: float | None = None

    def __enter__(self) -> LiveCamera:
        self._device = self._open_device()  # a camera that was never there is a mistake of the station file
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None, /
    ) -> None:
        self._release()

    def read(self) -> Frame | None:
        pause_s = FIRST_PAUSE_S
        while not self._stop.is_set():
            try:
                frame = self._try()
            except StillWaiting:
                self._stop.wait(0)  # a sign of life
                continue
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
            self._gone(f"the camera at {self._where} gives no frame any more. Check the cable.")
            return None
        frame = Frame(
            image=_as_bgr(image),
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
            log.info("camera %s is back after %.1f s", self._where, self._clock.monotonic() - self._lost_at)
            self._lost_at = None

    def _release(self) -> None:
        if self._device is not None:
            self._device.release()
            self._device = None


def _as_bgr(image: NDArray[Any]) -> NDArray[np.uint8]:
    """Some cameras give gray pictures, and Jetson's scaler a fourth channel that means nothing."""
    if image.ndim == 2 or image.shape[2] == 1:
        return np.asarray(cv2.cvtColor(image, cv2.COLOR_GRAY2BGR), np.uint8)
    if image.shape[2] == 4:
        return np.asarray(cv2.cvtColor(image, cv2.COLOR_BGRA2BGR), np.uint8)
    return np.ascontiguousarray(image, dtype=np.uint8)
