"""The examination: every check, one after the other; one that fails itself does not end it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from pathlib import Path

from edge_resad.device.doctor.broker import broker
from edge_resad.device.doctor.camera import camera, silence
from edge_resad.device.doctor.case import Case
from edge_resad.device.doctor.check import Check, ok, problem
from edge_resad.device.doctor.detector import bundle, engines, inspection
from edge_resad.device.doctor.machine import clock, gpu, heat, jetson, memory, power, processor
from edge_resad.device.doctor.outputs import outputs
from edge_resad.device.doctor.software import gstreamer, onnx_runtime, opencv, python, tensorrt
from edge_resad.device.doctor.sparkplug import sparkplug
from edge_resad.device.doctor.surroundings import control, disks
from edge_resad.device.settings import load_station
from edge_resad.errors import EdgeResadError

Look = Callable[[Case], "Check | Iterable[Check] | None"]

LOOKS: tuple[Look, ...] = (
    python,
    onnx_runtime,
    opencv,
    gstreamer,
    processor,
    memory,
    heat,
    clock,
    jetson,
    power,
    gpu,
    tensorrt,
    bundle,
    engines,
    camera,
    silence,
    disks,
    control,
    outputs,
    inspection,
    broker,
    sparkplug,
)
"""Every check, in the order they are said: first what others need."""

OF_EACH_CAMERA: tuple[Look, ...] = (camera, silence, inspection)


def examine(station_file: Path | None = None, case: Case | None = None) -> Iterator[Check]:
    """Look at this machine and, where a file is named, at its station. Each check as it is done."""
    looked_at = case or Case()
    if station_file is not None:
        try:
            looked_at = replace(looked_at, station=load_station(station_file))
            yield ok("station file", f"{station_file} is valid")
        except EdgeResadError as error:
            yield problem("station file", str(error))
    for look in LOOKS:
        for case_of_one, name in _cases(look, looked_at):
            for check in _checks(look, case_of_one):
                yield replace(check, name=f"{check.name} {name}".strip())


def _cases(look: Look, case: Case) -> list[tuple[Case, str]]:
    """What a look is taken at: the whole station, or each of its cameras as if it were the only one."""
    station = case.station
    if look not in OF_EACH_CAMERA or station is None or len(station.cameras) == 1:
        return [(case, "")]
    return [(replace(case, station=station.of_camera(camera)), camera.name) for camera in station.cameras]


def _checks(look: Look, case: Case) -> list[Check]:
    try:
        found = look(case)
        return [] if found is None else [found] if isinstance(found, Check) else list(found)
    except Exception as error:  # a doctor that stumbles over one thing still looks at the others
        name = look.__name__.replace("_", " ")
        return [problem(name, f"the check failed itself, with {type(error).__name__}: {error}. Report it")]
