"""Cameras that are files: a folder of images, a video."""

from __future__ import annotations

import logging
import threading
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType

import cv2
import numpy as np
from numpy.typing import NDArray

from edge_resad.device.frame import Clock, Frame, Pace
from edge_resad.device.unseen import Unseen
from edge_resad.errors import CameraError, ImageError
from edge_resad.image import image_files, read_image

log = logging.getLogger(__name__)


class _FileCamera:
    """What a folder and a video have in common: a path, a pace, and perhaps lap after lap."""

    def __init__(
        self,
        path: Path,
        *,
        fps: float | None = None,
        loop: bool = False,
        stop: threading.Event | None = None,
        clock: Clock | None = None,
    ) -> None:
        self.live = fps is not None
        self.unseen = Unseen()  # parts without a picture that could be read
        self._path = path
        self._loop = loop
        self._clock = clock or Clock()
        self._pace = Pace(fps, stop or threading.Event(), self._clock)
        self._taken = 0  # parts of all laps

    @property
    def unreadable(self) -> int:
        """How many parts there were without a picture that could be read."""
        return self.unseen.counts["unreadable"]


class FolderCamera(_FileCamera):
    """The images of a folder, in natural order. A file that is no picture is said, counted and passed over."""

    _files: Sequence[Path] = ()
    _readable_at = -1  # the last part that was a picture

    def __enter__(self) -> FolderCamera:
        self._files = image_files(self._path)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None, /
    ) -> None:
        self._files = ()

    def read(self) -> Frame | None:
        while self._pace.wait() and self._more():
            frame_id, file = self._taken, self._files[self._taken % len(self._files)]
            self._taken += 1
            try:
                image = read_image(file)
            except ImageError as broken:
                self.unseen.add("unreadable", self._clock.monotonic())
                log.warning("%s", broken)
                continue
            self._readable_at = frame_id
            mono, wall = self._clock.monotonic(), self._clock.wall()
            return Frame(image=image, frame_id=frame_id, captured_mono=mono, captured_wall=wall, name=file.name)
        return None

    def _more(self) -> bool:
        count = len(self._files)
        if self._taken - self._readable_at > count:
            raise CameraError(
                f"none of the {count} images in {self._path} can be read. Expected at least one whole picture. "
                "Check the folder, or name another one."
            )
        return self._taken < count or (self._loop and count > 0)


class VideoCamera(_FileCamera):
    """The frames of a video file, every one a part."""

    _video: cv2.VideoCapture | None = None
    _lap = 0  # parts of this lap

    def __enter__(self) -> VideoCamera:
        self._open()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None, /
    ) -> None:
        if self._video is not None:
            self._video.release()
            self._video = None

    def read(self) -> Frame | None:
        if not self._pace.wait():
            return None
        image = self._next()
        if image is None and self._loop:
            self._open()
            image = self._next()
        if image is None:
            return None
        frame = Frame(
            image=image,
            frame_id=self._taken,
            captured_mono=self._clock.monotonic(),
            captured_wall=self._clock.wall(),
            name=f"{self._path.name}#{self._lap}",
        )
        self._taken += 1
        self._lap += 1
        return frame

    def _open(self) -> None:
        if not self._path.is_file():
            raise CameraError(f"no video file at {self._path}. Check the path.")
        if self._video is not None:
            self._video.release()
        self._video = cv2.VideoCapture(str(self._path))
        self._lap = 0

    def _next(self) -> NDArray[np.uint8] | None:
        if self._video is None:
            raise ValueError("read() outside the camera's context")
        good, image = self._video.read()
        if good:
            return np.asarray(image, dtype=np.uint8)
        if not self._lap:
            raise CameraError(
                f"{self._path} gives no frame. Expected a video this OpenCV can decode, such as MP4 with H.264. "
                "Convert it, or name another one."
            )
        return None
