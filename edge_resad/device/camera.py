"""The camera that a station file names."""

from __future__ import annotations

import threading
from pathlib import Path

from edge_resad.device.files import FolderCamera, VideoCamera
from edge_resad.device.frame import Frame, FrameSource, Truth
from edge_resad.device.settings import CameraSection, split_source
from edge_resad.device.synthetic import Products, SyntheticLine
from edge_resad.device.v4l2 import V4L2Camera
from edge_resad.errors import CameraError

__all__ = ["Frame", "FrameSource", "Products", "Truth", "open_camera"]


def open_camera(
    camera: CameraSection, *, stop: threading.Event | None = None, products: Products | None = None
) -> FrameSource:
    """The camera of these settings, to be entered by the thread that reads it.

    stop:     ends a `read` that waits.
    products: who draws the parts of a synthetic line.
    """
    kind, argument = split_source(camera.source)
    if kind == "folder":
        return FolderCamera(Path(argument), fps=camera.fps, loop=camera.loop, stop=stop)
    if kind == "video":
        return VideoCamera(Path(argument), fps=camera.fps, loop=camera.loop, stop=stop)
    if kind == "v4l2":
        return V4L2Camera(argument, fps=camera.fps, width=camera.width, height=camera.height, stop=stop)
    if products is None:
        raise CameraError(
            "this program draws no synthetic parts. Set [camera] source in the station file to a folder: or a camera."
        )
    return SyntheticLine(products, argument, fps=camera.fps, stop=stop)
