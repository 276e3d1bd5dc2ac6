"""The camera that a station file names."""

from __future__ import annotations

import threading
from functools import partial
from pathlib import Path

from edge_resad.device.basler import open_basler
from edge_resad.device.device_name import DeviceName
from edge_resad.device.features import wanted_features
from edge_resad.device.files import FolderCamera, VideoCamera
from edge_resad.device.frame import Frame, FrameSource, Truth
from edge_resad.device.genicam import open_genicam
from edge_resad.device.gstreamer import csi_pipeline, open_gstreamer
from edge_resad.device.inbox import InboxCamera
from edge_resad.device.live import LiveCamera
from edge_resad.device.rtsp import open_rtsp, without_password
from edge_resad.device.settings import CameraSection, split_source
from edge_resad.device.synthetic import Products, SyntheticLine
from edge_resad.device.v4l2 import V4L2Camera
from edge_resad.errors import CameraError

__all__ = ["Frame", "FrameSource", "Products", "Truth", "open_camera"]


def open_camera(
    camera: CameraSection,
    *,
    stop: threading.Event | None = None,
    products: Products | None = None,
    name: DeviceName | None = None,
) -> FrameSource:
    """The camera of these settings, to be entered by the thread that reads it.

    stop:     ends a `read` that waits.
    products: who draws the parts of a synthetic line.
    name:     what is known of a V4L2 device from before.
    """
    kind, argument = split_source(camera.source)
    if kind == "folder":
        if camera.watch:
            return InboxCamera(Path(argument), stop=stop)
        return FolderCamera(Path(argument), fps=camera.fps, loop=camera.loop, stop=stop)
    if kind == "video":
        return VideoCamera(Path(argument), fps=camera.fps, loop=camera.loop, stop=stop)
    if kind == "v4l2":
        return V4L2Camera(
            argument,
            fps=camera.fps,
            width=camera.width,
            height=camera.height,
            controls={name: int(value) for name, value in camera.controls.items()},
            triggered=camera.trigger.kind == "camera",
            stop=stop,
            name=name,
        )
    if kind in ("genicam", "basler"):
        wanted = wanted_features(camera.controls, fps=camera.fps, width=camera.width, height=camera.height)
        opener = partial(open_basler, argument, wanted=wanted)
        if kind == "genicam":
            opener = partial(open_genicam, argument, producer=camera.producer, wanted=wanted)
        return LiveCamera(camera.source, opener, stop=stop)
    if kind in ("csi", "gstreamer"):
        pipeline, where = argument, "the end of the pipeline"
        if kind == "csi":
            pipeline = csi_pipeline(argument, fps=camera.fps, width=camera.width, height=camera.height)
            where = camera.source
        triggered = camera.trigger.kind == "camera"
        opener = partial(open_gstreamer, pipeline, fps=camera.fps, triggered=triggered, stop=stop)
        return LiveCamera(where, opener, stop=stop)
    if kind == "rtsp":
        return LiveCamera(without_password(argument), partial(open_rtsp, argument), stop=stop)
    if products is None:
        raise CameraError(
            "this program draws no synthetic parts. Set [camera] source in the station file to a folder: or a camera."
        )
    return SyntheticLine(products, argument, fps=camera.fps, stop=stop)
