"""Cameras of GStreamer: the CSI cameras of a Jetson, and any pipeline that ends in pictures."""

from __future__ import annotations

import re
from fractions import Fraction

import cv2

from edge_resad.device.live import Device
from edge_resad.errors import CameraError

NEWEST = "appsink drop=true max-buffers=1 sync=false"  # a queue would hand over parts that have passed

NO_GSTREAMER = (
    "this OpenCV was built without GStreamer, which csi: and gstreamer: cameras need. Use the system's: "
    "pip uninstall opencv-python-headless, then sudo apt install python3-opencv, in a venv that sees the "
    "system's packages."
)


def open_gstreamer(pipeline: str) -> Device:
    """Open a pipeline whose pictures are BGR, BGRx or gray; an appsink is put at its end where it has none."""
    if not has_gstreamer():
        raise CameraError(NO_GSTREAMER)
    whole = pipeline if re.search(r"\bappsink\b", pipeline) else f"{pipeline} ! {NEWEST}"
    camera = cv2.VideoCapture(whole, cv2.CAP_GSTREAMER)
    if not camera.isOpened():
        camera.release()
        raise CameraError(
            f"GStreamer cannot run the pipeline: {whole}. Try it with gst-launch-1.0, and correct [camera] source."
        )
    return camera


def csi_pipeline(sensor: str, *, fps: float | None, width: int | None, height: int | None) -> str:
    """The pipeline of a CSI camera: nvarguscamerasrc, scaled by the VIC, in BGRx. sensor: its number."""
    rate = Fraction(fps or 30).limit_denominator(1001)
    size = f"width={width or 1920},height={height or 1080}"
    return (
        f"nvarguscamerasrc sensor-id={sensor} ! "
        f"video/x-raw(memory:NVMM),{size},format=NV12,framerate={rate.numerator}/{rate.denominator} ! "
        f"nvvidconv flip-method=0 ! video/x-raw,{size},format=BGRx ! {NEWEST}"
    )


def has_gstreamer() -> bool:
    """Whether this OpenCV was built with it."""
    return re.search(r"^\s*GStreamer:\s+YES", cv2.getBuildInformation(), re.MULTILINE) is not None
