"""The station: camera, inspector, spool and broker put together, from the first part to the last."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path

from edge_resad.bundle import Precision
from edge_resad.device.camera import Products
from edge_resad.device.judges import OpenJudge
from edge_resad.device.lane import OpenSource
from edge_resad.device.open_station import OpenStation
from edge_resad.device.pipeline import Inspection
from edge_resad.device.settings import StationFile, load_station
from edge_resad.device.stages import Stages
from edge_resad.device.summary import StationSummary, counted
from edge_resad.errors import SpoolError
from edge_resad.signals import stopped_by_signals

log = logging.getLogger(__name__)


def run(
    path: Path,
    *,
    precision: Precision | None = None,
    quiet: bool = False,
    stop: threading.Event | None = None,
    products: Products | None = None,
    on_inspection: Callable[[Inspection], None] | None = None,
) -> StationSummary:
    """Run the station of a file until its camera ends, or until it is stopped; say what changes on the way.

    precision: what the network computes in, instead of what the file says.
    quiet:    say warnings only.
    stop:     ends the station; without it SIGTERM and SIGINT do.
    products: who draws the parts of a synthetic camera.

    Raises:
        SpoolError: messages are lost, for the disk of the spool did not take them before the end.
    """
    settings = load_station(path)
    if precision is not None:
        settings = settings.model_copy(update={"engine": settings.engine.model_copy(update={"precision": precision})})
    level = logging.WARNING if quiet else settings.log.level.upper()
    logging.basicConfig(level=level, format=f"%(asctime)s {settings.station.device} %(levelname)s %(message)s")
    with nullcontext(stop) if stop is not None else stopped_by_signals() as stopping:
        summary = run_station(settings, stop=stopping, on_inspection=on_inspection, products=products)
    log.info("%s", summary)
    if summary.lost:
        raise SpoolError(
            f"{counted(summary.lost, 'message')} of this run could not be written to the spool {settings.spool.path} "
            "and are lost. Free disk space before the next start."
        )
    return summary


def run_station(
    settings: StationFile,
    *,
    stop: threading.Event,
    on_inspection: Callable[[Inspection], None] | None = None,
    products: Products | None = None,
    open_source: OpenSource | None = None,
    open_judge: OpenJudge | None = None,
    stages: Stages | None = None,
) -> StationSummary:
    """Inspect until the camera is at its end or `stop` is set. Everything is in the spool before it is said elsewhere.

    on_inspection: called for every part that reached the inspection, in this thread.
    stages: where stage times are counted; the station's own without it.
    """
    opened = OpenStation(
        settings, stop=stop, products=products, open_source=open_source, open_judge=open_judge, stages=stages
    )
    with opened as station:
        with station.running():
            for lane, inspection in station.parts():
                station.say(lane, inspection)
                if on_inspection is not None:
                    on_inspection(inspection)
        station.deliver()
    return station.summary()
