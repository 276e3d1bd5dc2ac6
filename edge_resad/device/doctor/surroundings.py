"""The camera in front of the station, the disk below it, and the socket at which it answers."""

from __future__ import annotations

import getpass
import os
from collections.abc import Iterator
from pathlib import Path

from edge_resad.bundle import open_bundle
from edge_resad.device.control import check_path
from edge_resad.device.doctor.case import Case
from edge_resad.device.doctor.check import Check, ok, problem, warning
from edge_resad.device.rtsp import without_password
from edge_resad.device.settings import PicturesSection, StationFile, split_source
from edge_resad.device.v4l2 import cameras_seen
from edge_resad.engine.engine_file import engine_folder
from edge_resad.errors import ControlError, EdgeResadError
from edge_resad.image import image_files

_LEAST_MB = 64  # below, the spool has no reserve for a full disk
_COMFORT_MB = 1000


def camera(case: Case) -> Check:
    """Whether the station's camera is there and may be opened; without a station, which cameras there are."""
    if case.station is None:
        return _cameras(case)
    kind, argument = split_source(case.station.camera.source)
    if kind == "v4l2":
        return _v4l2(case, argument)
    if kind == "folder" and case.station.camera.watch:
        there = Path(argument).is_dir()
        return ok("camera", f"the folder {argument}") if there else problem("camera", f"no folder at {argument}")
    if kind in ("csi", "gstreamer", "rtsp"):
        return ok("camera", f"{without_password(case.station.camera.source)}, not tried")
    if kind == "folder":
        try:
            return ok("camera", f"{len(image_files(argument))} images in {argument}")
        except EdgeResadError as error:
            return problem("camera", str(error))
    if kind == "video":
        there = Path(argument).is_file()
        return ok("camera", f"the video {argument}") if there else problem("camera", f"no video file at {argument}")
    return ok("camera", "parts are drawn")


def disks(case: Case) -> Iterator[Check]:
    """Whether there is room, and the right to write, where the station writes."""
    if case.station is None:
        try:
            yield _disk(case, "cache", engine_folder(open_bundle()), _COMFORT_MB)
        except EdgeResadError:
            return  # said by the check of the bundle
        return
    for name, folder, wanted_mb in _written(case.station):
        yield _disk(case, name, folder, wanted_mb)
    if case.station.pictures.folder is not False and case.station.pictures.folder.is_absolute():
        yield _pictures(case, case.station.pictures.folder, case.station.pictures)


def control(case: Case) -> Check | None:
    """Whether the station can make its control socket."""
    if case.station is None:
        return None
    path = case.station.control.socket
    if path is False:
        return ok("control", "[control] socket is false: nobody can ask the station or tell it anything")
    if not path.is_absolute():  # settings that never were in a file
        return None
    try:
        check_path(path)
    except ControlError as error:
        return problem("control", str(error).rstrip("."))
    there = next(place for place in path.parents if place.exists())
    if not there.is_dir() or not case.may(there, os.W_OK | os.X_OK):
        who = getpass.getuser()
        return problem("control", f"{who} can make no socket in {there}. Give it the right, or set [control] socket")
    return ok("control", f"the station answers at {path}")


def _written(station: StationFile) -> Iterator[tuple[str, Path, int]]:
    """What the station writes: its name, its folder, and the megabytes it may take."""
    yield "spool", station.spool.path.parent, min(station.spool.max_mb, _COMFORT_MB)
    if station.log.verdicts is not False:
        yield "verdict log", station.log.verdicts.parent, min(station.log.max_mb * (1 + station.log.keep), _COMFORT_MB)


def _pictures(case: Case, folder: Path, told: PicturesSection) -> Check:
    found = _disk(case, "pictures", folder, told.min_free_mb + min(told.max_mb, _COMFORT_MB))
    if found.state != "warning":
        return found
    spare_mb = case.free_bytes(next(place for place in (folder, *folder.parents) if place.exists())) / 1e6
    if spare_mb >= told.min_free_mb:
        return found
    says = f"{spare_mb:.0f} MB are free, and {told.min_free_mb} MB stay free of pictures: none is kept"
    return warning("pictures", f"{says}. Make room, or set a lower [pictures] min_free_mb")


def _disk(case: Case, name: str, folder: Path, wanted_mb: int) -> Check:
    there = next(place for place in (folder, *folder.parents) if place.exists())
    if not there.is_dir():
        return problem(name, f"{there} is a file, expected the folder {folder}. Name another one")
    if not case.may(there, os.W_OK | os.X_OK):
        return problem(name, f"{getpass.getuser()} may not write in {there}. Give it the right, or name another folder")
    free_mb = case.free_bytes(there) / 1e6
    said = f"{free_mb:.0f} MB are free in {there}"
    if free_mb < _LEAST_MB:
        return problem(name, f"{said}, which is next to nothing. Make room")
    if free_mb < wanted_mb:
        return warning(name, f"{said}, and up to {wanted_mb} MB may be wanted. Make room")
    return ok(name, said)


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
