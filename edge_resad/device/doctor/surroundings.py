"""The disk below the station and the socket at which it answers."""

from __future__ import annotations

import getpass
import os
from collections.abc import Iterator
from pathlib import Path

from edge_resad.bundle import open_bundle
from edge_resad.device.control import check_path
from edge_resad.device.doctor.case import Case
from edge_resad.device.doctor.check import Check, ok, problem, warning
from edge_resad.device.settings import PicturesSection, StationFile
from edge_resad.engine.engine_file import engine_folder
from edge_resad.errors import ControlError, EdgeResadError

_LEAST_MB = 64  # below, the spool has no reserve for a full disk
_COMFORT_MB = 1000


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
    return ok("control", f"a station that runs is asked and told at {path}")


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
