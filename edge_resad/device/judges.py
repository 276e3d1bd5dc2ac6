"""Who judges the parts of a station's cameras: one engine for all of them, each with its own bank or products."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack

from edge_resad.bank import load_bank
from edge_resad.bundle import open_bundle
from edge_resad.device.changeover import Changeover, LastProduct
from edge_resad.device.pipeline import Judge
from edge_resad.device.revival import Revival
from edge_resad.device.settings import StationFile
from edge_resad.engine.inspector import Inspector

log = logging.getLogger(__name__)

OpenJudge = Callable[[StationFile], AbstractContextManager[Judge]]


def open_inspector(
    settings: StationFile, beside: Inspector | None = None, last_product: LastProduct | None = None
) -> AbstractContextManager[Judge]:
    """The inspector of these settings, not yet entered: of one bank, or of the products of a folder.

    beside: an inspector that is open, whose engine it shares.
    last_product: what judged this camera's parts last.
    """
    inspection, engine = settings.inspection, settings.engine
    if settings.products is not None:
        bundle = open_bundle(inspection.bundle)
        return Changeover(bundle, settings.products, engine, beside=beside, last_product=last_product)
    assert inspection.bank is not None  # or the station file would have been refused
    return Inspector(
        open_bundle(inspection.bundle),
        load_bank(inspection.bank),
        threads=engine.threads,
        provider=engine.provider,
        engines=engine.engines,
        io_memory=engine.io_memory,
        precision=engine.precision,
        threshold=inspection.threshold,
        min_area_px=inspection.min_area_px,
        beside=beside,
    )


def _judges(
    settings: StationFile, open_judge: OpenJudge | None, stack: ExitStack, last_products: Mapping[str, LastProduct]
) -> list[Judge]:
    """Every camera's judge, all on one engine. last_products: by camera."""
    judges: list[Judge] = []
    shared: Inspector | None = None
    for camera in settings.cameras:
        told = settings.of_camera(camera)
        opened = open_judge(told) if open_judge else open_inspector(told, shared, last_products[camera.name])
        judge = stack.enter_context(opened)
        if shared is None and isinstance(judge, Inspector | Changeover):
            shared = judge.inspector
        judges.append(judge)
    return judges


def reviving_judges(settings: StationFile, open_judge: OpenJudge | None, stop: threading.Event) -> Revival:
    """Every camera's judge, not yet entered; opened again together where their engine fails.

    open_judge: how to open the judge of a station with one camera; `open_inspector` without it.
    """

    def wait(seconds: float) -> bool:
        until = time.monotonic() + seconds
        while time.monotonic() < until and not stop.is_set():
            time.sleep(0.05)  # not stop.wait(): a signal handler may set the event in this very thread
        return stop.is_set()

    last_products = {camera.name: LastProduct() for camera in settings.cameras}
    return Revival(lambda stack: _judges(settings, open_judge, stack, last_products), wait=wait)


def keep_warm(judges: Sequence[Judge]) -> None:
    """Keep an idle GPU's clocks up, by the engine that all judges share. Raises nothing."""
    for judge in judges:
        if isinstance(judge, Inspector | Changeover):
            try:
                judge.keep_warm()
            except Exception:  # an engine that fails is said, and opened again, when it fails on parts
                log.debug("the engine failed while no part was there", exc_info=True)
            return
