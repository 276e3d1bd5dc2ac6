"""The camera in front of the station: whether it is there, and what reads it. Opens none."""

from __future__ import annotations

import getpass
import os
from pathlib import Path

from edge_resad.device.basler import look_for_basler
from edge_resad.device.doctor.case import Case
from edge_resad.device.doctor.check import Check, ok, problem, warning
from edge_resad.device.genicam import look_for_genicam
from edge_resad.device.rtsp import check_pyav, without_password
from edge_resad.device.settings import CameraSection, split_source
from edge_resad.device.v4l2 import cameras_seen
from edge_resad.errors import CameraError, EdgeResadError
from edge_resad.image import image_files


def camera(case: Case) -> Check:
    """Whether the station's camera is there and may be opened; without a station, which cameras there are."""
    if case.station is None:
        return _cameras(case)
    told = case.station.camera
    kind, argument = split_source(told.source)
    if kind == "v4l2":
        return _v4l2(case, argument)
    if kind == "folder":
        return _folder(argument, is_watched=told.watch)
    if kind == "video":
        there = Path(argument).is_file()
        return ok("camera", f"the video {argument}") if there else problem("camera", f"no video file at {argument}")
    if kind == "synthetic":
        return ok("camera", "parts are drawn")
    try:
        return _of_a_library(told)
    except CameraError as error:
        return problem("camera", str(error).rstrip("."))


def silence(case: Case) -> Check | None:
    """Whether anybody notices that a camera which is triggered by wire gives no pictures any more."""
    if case.station is None or case.station.camera.trigger.kind != "camera":
        return None
    if split_source(case.station.camera.source)[0] in ("synthetic", "folder", "video"):
        return None
    if "silent_s" in case.station.watch.model_fields_set:
        return None
    return warning(
        "silence",
        "the camera is triggered by wire and may be silent for long: a trigger that does not reach it is not noticed. "
        "Set [watch] silent_s, longer than the line's longest pause; 0 says that no such time is known",
    )


def _of_a_library(told: CameraSection) -> Check:
    """A camera that something else than the kernel reads: whether that is here, and whether it sees the camera."""
    kind, argument = split_source(told.source)
    if kind == "genicam":
        return ok("camera", f"the GenICam camera {look_for_genicam(argument, producer=told.producer)} is there")
    if kind == "basler":
        return ok("camera", f"the Basler camera {look_for_basler(argument)} is there")
    if kind == "rtsp":
        check_pyav()
        return _not_tried(without_password(told.source), "ffplay")
    return _not_tried(told.source, "gst-launch-1.0")


def _not_tried(source: str, program: str) -> Check:
    return warning("camera", f"{source} is not tried: whether it gives pictures shows with {program}, or at the start")


def _folder(path: str, *, is_watched: bool) -> Check:
    if is_watched:
        there = Path(path).is_dir()
        return ok("camera", f"the folder {path}") if there else problem("camera", f"no folder at {path}")
    try:
        return ok("camera", f"{len(image_files(path))} images in {path}")
    except EdgeResadError as error:
        return problem("camera", str(error))


def _cameras(case: Case) -> Check:
    seen = _seen(case)
    if not seen:
        return ok("camera", "none under /dev/video*")
    closed = [said for said in seen if not _may_open(case, Path(said.split(" (")[0]))]
    if closed:
        return warning("camera", f"{getpass.getuser()} may not open {', '.join(closed)}. {_join_video()}")
    return ok("camera", ", ".join(seen))


def _v4l2(case: Case, path: str) -> Check:
    file, seen = case.root / path.lstrip("/"), _seen(case)
    if not file.exists():
        return problem(
            "camera",
            f"no camera at {path}. Seen now: {', '.join(seen) or 'none'}. Check the cable, or name another camera",
        )
    if not _may_open(case, file):
        return problem("camera", f"{getpass.getuser()} may not open {path}. {_join_video()}")
    return ok("camera", f"{path} is there and may be opened")


def _seen(case: Case) -> list[str]:
    return cameras_seen(case.root / "dev", case.root / "sys/class/video4linux")


def _may_open(case: Case, file: Path) -> bool:
    return case.may(file, os.R_OK | os.W_OK)


def _join_video() -> str:
    return f"Run: sudo usermod -aG video {getpass.getuser()}, and log in again"
