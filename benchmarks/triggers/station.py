"""A whole station with triggered cameras, told of parts over its control socket, and what became of every part."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.triggers.moments import InStep
from edge_resad.bench.bench import THRESHOLD
from edge_resad.bench.line import Parts, PreparedLine
from edge_resad.device.control import ControlClient
from edge_resad.device.frame import Clock
from edge_resad.device.histogram import Histogram
from edge_resad.device.judges import OpenJudge, open_inspector
from edge_resad.device.pipeline import Inspection, Judge, Latency
from edge_resad.device.settings import StationFile
from edge_resad.device.stages import Stages
from edge_resad.device.station import run_station
from edge_resad.engine.inspector import Inspector

WARM_UP = 5  # parts of every camera that do not count
PATIENCE_S = 60.0  # for a station on a machine that has much else to do
POLL_S = 0.1

Moments = Callable[[float], Iterator[float]]
"""Monotonic seconds at which a trigger fires, from such a moment on."""


@dataclass(frozen=True, kw_only=True)
class Station:
    """One camera for each product, all of the same rate and on one engine."""

    products: Mapping[str, Parts]  # by the name of a product, whose bank lies in the folder
    folder: Path
    fps: float
    capture_ms: float | None  # [camera.trigger] capture_ms
    opens: OpenJudge | None = None  # its judges, otherwise than a station does it


@dataclass(frozen=True, kw_only=True)
class Run:
    """What a station did until it was stopped."""

    stages: Mapping[str, Histogram]  # without the warm-up
    fired: int  # parts that were announced
    verdicts: int
    not_inspected: Mapping[str, int]
    latencies: Sequence[Sequence[Latency | None]] = field(repr=False)  # of each camera's parts; None: no verdict

    @property
    def adds_up(self) -> bool:
        """Whether every part that was announced has a verdict or a reason."""
        return self.fired == self.verdicts + sum(self.not_inspected.values())

    @property
    def cameras(self) -> int:
        return len(self.latencies)

    def pairs(self) -> list[tuple[Latency, Latency]]:
        """Of two cameras, parts that were announced at the same moment: the one judged first, then the other."""
        pairs = [pair[WARM_UP:] for pair in self.latencies]
        return [
            (one, other) if (one.trigger_ms or 0.0) <= (other.trigger_ms or 0.0) else (other, one)
            for one, other in zip(*pairs, strict=True)
            if one is not None and other is not None
        ]


class _FreeCamera(PreparedLine):
    """Runs by itself and says when it is open."""

    def __init__(self, parts: Parts, halt: threading.Event, fps: float, opened: threading.Semaphore) -> None:
        super().__init__(parts, halt, pace=InStep(fps, halt, Clock()))
        self._opened = opened

    def __enter__(self) -> PreparedLine:
        self._opened.release()
        return super().__enter__()


def on_one_engine() -> OpenJudge:
    """Opens every camera's inspector, the later ones beside the first, as a station does by itself."""
    first: list[Inspector] = []

    @contextmanager
    def opened(told: StationFile) -> Iterator[Judge]:
        beside: AbstractContextManager[Judge] = open_inspector(told, first[0] if first else None)
        with beside as judge:
            if isinstance(judge, Inspector) and not first:
                first.append(judge)
            try:
                yield judge
            finally:
                if first and first[0] is judge:
                    first.clear()

    return opened


def run(station: Station, moments: Moments, seconds: float) -> Run:
    """Run a station and fire all its cameras' triggers at these moments, for so long."""
    told = StationFile.model_validate(_settings(station))
    shown = dict(zip((camera.name for camera in told.cameras), station.products.values(), strict=True))
    latencies: dict[str, list[Latency | None]] = {name: [] for name in shown}
    stages, stop, opened = Stages(), threading.Event(), threading.Semaphore(0)

    def told_of() -> int:
        return sum(map(len, latencies.values()))

    def inspected(inspection: Inspection) -> None:
        latencies[inspection.camera].append(None if inspection.verdict is None else inspection.latency)
        if told_of() == WARM_UP * len(shown):
            stages.clear()

    client = ControlClient(station.folder / "control.sock", timeout_s=PATIENCE_S)
    firing = _Firing(client, stop, opened, len(shown), moments, seconds, told_of)
    firing.start()
    try:
        summary = run_station(
            told,
            stop=stop,
            open_source=lambda told, halt: _FreeCamera(shown[told.camera.name], halt, station.fps, opened),
            open_judge=station.opens,
            on_inspection=inspected,
            stages=stages,
        )
    finally:
        stop.set()
        firing.join()
    if firing.error is not None:
        raise firing.error
    return Run(
        stages=stages.histograms(),
        fired=firing.fired,
        verdicts=summary.passed + summary.failed,
        not_inspected={reason: count for reason, count in summary.not_inspected.items() if count},
        latencies=list(latencies.values()),
    )


class _Firing(threading.Thread):
    """Who tells a station that parts are there, and ends it."""

    def __init__(
        self,
        client: ControlClient,
        stop: threading.Event,
        opened: threading.Semaphore,
        cameras: int,
        moments: Moments,
        seconds: float,
        told_of: Callable[[], int],
    ) -> None:
        """told_of: of how many parts the station has told so far."""
        super().__init__(name="firing", daemon=True)
        self.fired = 0
        self.error: Exception | None = None
        self._client = client
        self._stop_event = stop
        self._opened = opened
        self._cameras = cameras
        self._moments = moments
        self._seconds = seconds
        self._told_of = told_of

    def run(self) -> None:
        try:
            self._fire()
        except Exception as error:  # raised again by who waits for the station
            self.error = error
        finally:
            self._stop_event.set()

    def _fire(self) -> None:
        for _ in range(self._cameras):
            while not self._opened.acquire(timeout=POLL_S):
                if self._stop_event.is_set():
                    return
        now = time.monotonic()
        end = now + self._seconds
        for at in self._moments(now):
            if at > end or self._stop_event.wait(max(0.0, at - time.monotonic())):
                break
            self.fired += len(self._client.ask("trigger", source="benchmark")["triggered"])
        until = time.monotonic() + PATIENCE_S
        while self._told_of() < self.fired and time.monotonic() < until:
            if self._stop_event.wait(POLL_S):
                break


def _settings(station: Station) -> dict[str, Any]:
    trigger = {"kind": "software", "capture_ms": station.capture_ms}
    return {
        "station": {"device": "bench"},
        "camera": [
            # a camera, not a drawing: of those a station knows that they are taken in no time
            {"name": f"cam{index}", "source": f"/dev/video{index}", "trigger": trigger, "product": product,
             "bank": str(station.folder / f"{product}.npz")}
            for index, product in enumerate(station.products)
        ],
        "inspection": {"threshold": THRESHOLD},
        "engine": {"threads": 1},
        "spool": {"path": str(station.folder / "spool.db")},
        "log": {"verdicts": str(station.folder / "verdicts.jsonl")},
        "pictures": {"folder": str(station.folder / "pictures")},
        "control": {"socket": str(station.folder / "control.sock"), "labels": str(station.folder / "labels.jsonl")},
        "watch": {"frozen_s": 0.0},  # its pictures were drawn beforehand and come again
        "drift": {"on": False},  # it looks at inspectors alone
    }  # fmt: skip
