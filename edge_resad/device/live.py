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

from edge_resad.device.driver import driver_says, leave, words_of
from edge_resad.device.frame import FIRST_PAUSE_S, LONGEST_PAUSE_S, Clock, Frame
from edge_resad.errors import CameraError

log = logging.getLogger(__name__)

VAIN_S = 1.0  # a driver that fails sooner did not wait for a trigger
MOST_HALVES = 30  # half frames in a row after which the camera is opened anew


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


class HalfFrame(Exception):
    """Raised by a device's `grab` or `retrieve`: a frame came that is not whole. Its text says of which camera."""


class LiveCamera:
    """A live camera. When it goes away it is said once and looked for until it is back.

    Whatever its driver raises means that it has gone; a frame that is not whole is a part that cannot be read.
    """

    live = True

    def __init__(
        self,
        where: str,
        open_device: Callable[[], Device],
        *,
        stop: threading.Event | None = None,
        clock: Clock | None = None,
        still_there: Callable[[], bool] | None = None,
    ) -> None:
        """where: the camera as an operator knows it.
        still_there: of a camera that waits for triggers, whether it is connected when its driver has waited in vain.
        """
        self.lost = 0  # how many times the camera went away
        self.unreadable = 0  # frames that were not whole
        self._where = where
        self._stop = stop or threading.Event()
        self._clock = clock or Clock()
        self._open_device = open_device
        self._still_there = still_there
        self._device: Device | None = None
        self._taken = 0
        self._lost_at: float | None = None
        self._halves = 0  # in a row

    @property
    def is_open(self) -> bool:
        """Whether the camera is there, as far as its driver knows."""
        return self._device is not None

    def __enter__(self) -> LiveCamera:
        with driver_says(f"the camera at {self._where} cannot be opened", _CHECK):
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
                self._found()
                self._stop.wait(0)  # a sign of life
                continue
            except HalfFrame as half:
                self._stop.wait(0)
                if self._goes_on(half):
                    continue
                frame = None
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
            good = self._grab(self._device)
            mono, wall = self._clock.monotonic(), self._clock.wall()  # the driver has it; decoding takes its time
            good, image = self._device.retrieve() if good else (False, None)
            image = _as_bgr(image) if good and image is not None and image.size else None
        except (StillWaiting, HalfFrame):
            raise
        except (CameraError, cv2.error, OSError) as gone:
            self._gone(str(gone).strip())
            return None
        except Exception as error:  # of a vendor's library, or a mistake of ours: no line ends for its camera
            self._gone(f"the camera at {self._where} broke off: {words_of(error)}. {_CHECK}", error)
            return None
        if image is None:
            self._gone(f"the camera at {self._where} gives no frame any more. {_CHECK}")
            return None
        frame = Frame(
            image=image,
            frame_id=self._taken,
            captured_mono=mono,
            captured_wall=wall,
        )
        self._taken += 1
        return frame

    def _grab(self, device: Device) -> bool:
        """Wait for a frame. A driver may lose its patience; a camera that is opened again misses parts meanwhile."""
        while True:
            asked = self._clock.monotonic()
            if device.grab():
                return True
            waited_s = self._clock.monotonic() - asked
            if waited_s < VAIN_S or self._still_there is None or self._stop.is_set() or not self._still_there():
                return False
            self._stop.wait(0)  # a sign of life

    def _goes_on(self, half: HalfFrame) -> bool:
        """Count a part whose frame is not whole; whether the camera may go on."""
        self.unreadable += 1
        self._taken += 1
        self._halves += 1
        if not self.unreadable & (self.unreadable - 1):  # 1, 2, 4, 8: a bad cable must not fill the log
            log.warning("%s. Its part is not inspected; %d so far. %s", half, self.unreadable, _CHECK)
        if self._halves < MOST_HALVES:
            return True
        self._halves = 0
        self._gone(f"{half}, and {MOST_HALVES} of them in a row. {_CHECK}")
        return False

    def _gone(self, why: str, error: Exception | None = None) -> None:
        self._release()
        if self._lost_at is None and not self._stop.is_set():
            self._lost_at = self._clock.monotonic()
            self.lost += 1
            log.warning("camera lost: %s Looking for it until it is back.", why, exc_info=error)

    def _found(self) -> None:
        self._halves = 0
        if self._lost_at is not None:
            log.info("camera %s is back after %.1f s", self._where, self._clock.monotonic() - self._lost_at)
            self._lost_at = None

    def _release(self) -> None:
        device, self._device = self._device, None
        if device is not None:
            leave(device.release)


_CHECK = "Check the cable and its network."


def _as_bgr(image: NDArray[Any]) -> NDArray[np.uint8]:
    """Some cameras give gray pictures, and Jetson's scaler a fourth channel that means nothing."""
    if image.ndim == 2 or image.shape[2] == 1:
        return np.asarray(cv2.cvtColor(image, cv2.COLOR_GRAY2BGR), np.uint8)
    if image.shape[2] == 4:
        return np.asarray(cv2.cvtColor(image, cv2.COLOR_BGRA2BGR), np.uint8)
    return np.ascontiguousarray(image, dtype=np.uint8)
