"""The bundle, its engines, and whether they inspect."""

from __future__ import annotations

import time

import numpy as np

from edge_resad.bank import load_bank
from edge_resad.bundle import LADDERS, Bundle, Precision, open_bundle
from edge_resad.decision import NotInspected
from edge_resad.device.changeover import Changeover, first_product
from edge_resad.device.doctor.case import Case
from edge_resad.device.doctor.check import Check, ok, problem, warning
from edge_resad.device.judges import open_inspector
from edge_resad.engine.engine_file import engine_folder, open_engines, rebuild_command, sidecar_of
from edge_resad.errors import EdgeResadError, EngineError
from edge_resad.recipe import Shelf


def bundle(case: Case) -> Check:
    """Whether the bundle is whole, and whether its precisions agree."""
    name = "bundle"
    try:
        manifest = _bundle(case).manifest
    except EdgeResadError as error:
        return problem(name, str(error))
    said = f"{manifest.bundle_id[:12]} is whole, with {', '.join(manifest.precisions)}"
    if manifest.verified is None:
        return warning(
            name, f"{said}; nobody has checked whether they agree: python -m export verify, on a workstation"
        )
    beyond = [precision for precision in manifest.precisions if precision in manifest.verified.beyond_budget]
    if beyond:
        return warning(name, f"{said}; {', '.join(beyond)} loses more than it may: choose another [engine] precision")
    return ok(name, f"{said}, which agree on {manifest.verified.images} parts")


def engines(case: Case) -> Check | None:
    """Whether TensorRT's engines are built and fit; nothing where there is no TensorRT."""
    name, tensorrt = "engines", case.tensorrt
    if isinstance(tensorrt, EngineError):
        return None  # said by the check of TensorRT
    say = problem if case.provider == "tensorrt" else warning
    folder = case.station.engine.engines if case.station else None
    try:
        opened = _bundle(case)
        wanted = _precision(case)
        built = [one for one in LADDERS if sidecar_of(folder or engine_folder(opened), one).exists()]
        if not built and wanted is None:
            if case.provider == "cpu" and not case.is_jetson:
                return ok(name, "none are built, and none are asked for")
            return say(name, f"none are built. Build them: {rebuild_command(opened, 'auto', folder)}")
        if wanted is not None and wanted not in built and case.provider != "tensorrt":
            return ok(name, f"none are built for {wanted}, and the station runs on {case.provider}")
        found = [
            open_engines(opened, one, folder, host=case.host, tensorrt=tensorrt)
            for one in ([wanted] if wanted else built)
        ]
    except EngineError as error:
        return say(name, str(error))
    except EdgeResadError:
        return None  # said by the check of the bundle, or of the bank
    rungs = ", ".join(f"{one.about.precision} (rung {one.about.rung})" for one in found)
    return ok(name, f"{rungs} fit, in {found[0].folder}")


def inspection(case: Case) -> Check | None:
    """Open the inspector as the station would, and let it judge a grey part."""
    if case.station is None:
        return None
    try:
        with open_inspector(case.station) as judge:
            side = _bundle(case).manifest.image_size
            size = (judge.product.recipe.picture_px if isinstance(judge, Changeover) else None) or (side, side)
            grey = np.full((*size[::-1], 3), 128, np.uint8)
            judge.inspect(grey)  # the first is slower
            began = time.perf_counter()
            judge.inspect(grey)
            took_ms = (time.perf_counter() - began) * 1e3
    except NotInspected:  # what a part cannot be aligned to is no fault of the station
        return ok("inspection", f"the product is ready on {case.provider}; a grey part cannot be aligned, as it should")
    except EdgeResadError as error:
        return problem("inspection", str(error))
    return ok("inspection", f"a grey part is judged in {took_ms:.1f} ms by {case.provider}, with the station's bank")


def _bundle(case: Case) -> Bundle:
    return open_bundle(case.station.inspection.bundle if case.station else None)


def _precision(case: Case) -> Precision | None:
    """What the station computes in; None where no station says."""
    if case.station is None:
        return None
    told = case.station
    if told.engine.precision is not None:
        return told.engine.precision
    if told.products is not None:
        shelf = Shelf(told.products.folder)
        return shelf.open(first_product(shelf, told.products)).bank_of(0).info.precision
    assert told.inspection.bank is not None  # or the station file would have been refused
    return load_bank(told.inspection.bank).info.precision
