"""Python, the packages and what they were built with."""

from __future__ import annotations

import platform
import re
from importlib.metadata import PackageNotFoundError, version

import cv2
import onnxruntime

from edge_resad import __version__
from edge_resad.device.doctor.case import Case
from edge_resad.device.doctor.check import Check, ok, problem, warning
from edge_resad.device.settings import SourceKind, split_source
from edge_resad.errors import CameraError, EngineError

_PACKAGES = ("numpy", "onnxruntime", "paho-mqtt", "pydantic")
_OPENCVS = ("opencv-python", "opencv-python-headless", "opencv-contrib-python", "opencv-contrib-python-headless")


def python(case: Case) -> Check:
    """Versions, for whoever is asked for help."""
    found = ", ".join(f"{name} {_version(name) or 'of unknown version'}" for name in _PACKAGES)
    return ok("python", f"edge-resad {__version__} with Python {platform.python_version()}, {found}")


def onnx_runtime(case: Case) -> Check:
    """What ONNX Runtime could compute on."""
    known = ("CPUExecutionProvider", "CUDAExecutionProvider")
    providers = [
        name.removesuffix("ExecutionProvider") for name in onnxruntime.get_available_providers() if name in known
    ]
    return ok("onnx runtime", f"{onnxruntime.__version__}, computes on {', '.join(providers)}")


def opencv(case: Case) -> Check:
    """Whether OpenCV can read what the station's camera is."""
    name, built = "opencv", case.ask_opencv()
    has = {kind: _is_built_in(built, kind) for kind in ("V4L2", "FFMPEG")}
    lacks = [kind for kind, there in has.items() if not there]
    installed = [package for package in _OPENCVS if _version(package)]
    needs = {"v4l2": "V4L2", "video": "FFMPEG"}
    needed = next((needs[kind] for kind in _kinds(case) if needs.get(kind) in lacks), None)
    again = "Install the one of the package: pip install --force-reinstall opencv-python-headless"
    if needed in lacks:
        return problem(name, f"this OpenCV was built without {needed}, which the station's camera needs. {again}")
    if len(installed) > 1:
        return warning(
            name, f"{' and '.join(installed)} overwrite each other's files. Uninstall all, then install one: {again}"
        )
    without = f", without {' and '.join(lacks)}" if lacks else ""
    return ok(name, f"{cv2.__version__} with {' and '.join(kind for kind in has if kind not in lacks)}{without}")


def gstreamer(case: Case) -> Check:
    """Whether GStreamer is there; a fact where no camera needs it."""
    try:
        return ok("gstreamer", case.ask_gstreamer())
    except CameraError as error:
        needed = any(kind in ("csi", "gstreamer") for kind in _kinds(case))
        return problem("gstreamer", str(error)) if needed else ok("gstreamer", "none; no camera here needs it")


def tensorrt(case: Case) -> Check:
    """Whether TensorRT is there and new enough; a fact where nobody asks for it."""
    name, found = "tensorrt", case.tensorrt
    if not isinstance(found, EngineError):
        return ok(name, str(found))
    if case.provider == "tensorrt":
        return problem(name, str(found))
    return warning(name, str(found)) if case.is_jetson else ok(name, "none; ONNX Runtime inspects")


def _kinds(case: Case) -> list[SourceKind]:
    return [split_source(camera.source)[0] for camera in case.station.cameras] if case.station else []


def _is_built_in(information: str, kind: str) -> bool:
    label = {"V4L2": r"v4l/v4l2|v4l2"}.get(kind, kind)
    return re.search(rf"^\s*(?:{label}):\s+YES", information, re.MULTILINE | re.IGNORECASE) is not None


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None
