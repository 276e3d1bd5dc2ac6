"""Frames to calibrate with: real ones, enough of them, no two the same."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edge_resad.demo import products
from edge_resad.device.camera import open_camera
from edge_resad.device.settings import CameraSection, is_camera
from edge_resad.errors import CalibrationError
from edge_resad.image import VIDEO_SUFFIXES, fit, image_files, read_image

FEWEST = 16
"""Frames below which a range would be an accident."""


@dataclass(frozen=True)
class CalibrationFrame:
    """One frame as the network takes it."""

    name: str
    image: NDArray[np.uint8]  # (S, S, 3) BGR
    sha256: str  # of the picture's pixels before it was resized


def load_frames(sources: Sequence[str], size: int, most: int) -> list[CalibrationFrame]:
    """Read images, folders of them, videos, or a running camera, spread evenly where there are more than wanted.

    size: pixels, both sides of the network's input.

    Raises:
        CalibrationError: fewer than FEWEST frames, or two that are the same.
        ImageError: a file that is no picture. CameraError: a camera or a video that gives none.
    """
    pictures = [source for source in sources if not _is_stream(source)]
    files = image_files(pictures) if pictures else []
    files = [files[index] for index in _spread(len(files), most)]
    frames = [_frame(str(file), read_image(file), size) for file in files]
    for source in sources:
        if _is_stream(source):
            frames += _stream(source, size, most)
    known: dict[str, str] = {}
    for frame in frames:
        if frame.sha256 in known:
            raise CalibrationError(
                f"{frame.name} is the same picture as {known[frame.sha256]}. Expected different ones: a range that is "
                "found on copies says nothing. Remove one of them."
            )
        known[frame.sha256] = frame.name
    if len(frames) < FEWEST:
        raise CalibrationError(
            f"{len(frames)} frames are too few to find ranges with, at least {FEWEST} are needed, 64 or more are "
            "better. Give more pictures of good parts as the camera shows them."
        )
    return frames


def _frame(name: str, image: NDArray[np.uint8], size: int) -> CalibrationFrame:
    fitted = fit(image, size, np.empty((size, size, 3), np.uint8))
    return CalibrationFrame(name, fitted, hashlib.sha256(np.ascontiguousarray(image).tobytes()).hexdigest())


def _stream(source: str, size: int, most: int) -> list[CalibrationFrame]:
    """The first frames of a camera or a video that differ from the one before."""
    named = source if is_camera(source) else f"video:{os.path.abspath(source)}"
    frames: list[CalibrationFrame] = []
    with open_camera(CameraSection(source=named), products=products) as camera:
        while len(frames) < most and (seen := camera.read()) is not None:
            frame = _frame(f"{source}#{seen.frame_id}", seen.image, size)
            if all(frame.sha256 != other.sha256 for other in frames):
                frames.append(frame)
    return frames


def _is_stream(source: str) -> bool:
    return is_camera(source) or source.lower().endswith(VIDEO_SUFFIXES)


def _spread(count: int, most: int) -> list[int]:
    return [int(index) for index in np.linspace(0, count - 1, min(count, most)).round()] if count else []
