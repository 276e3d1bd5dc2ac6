"""The bench: prepares a product, lets a station inspect it, and counts what that takes."""

from __future__ import annotations

import os
import tempfile
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import cv2

from edge_resad.bank import Bank, Threshold, load_bank, save_bank
from edge_resad.bench.allocation import Allocation, AllocationMeter, allocation, rest
from edge_resad.bench.first import ColdStart, cold_start
from edge_resad.bench.line import Parts, PreparedLine, draw_parts
from edge_resad.bench.watch import SLOPE_S, USUAL_S, Heat, Held, Watch, held, slope_per_hour, usual
from edge_resad.bundle import Bundle, Precision, open_bundle
from edge_resad.device.camera import Products
from edge_resad.device.frame import Clock, Pace
from edge_resad.device.histogram import Histogram
from edge_resad.device.open_station import OpenStation
from edge_resad.device.pipeline import Inspection
from edge_resad.device.procfs import module, processor
from edge_resad.device.settings import StationFile
from edge_resad.device.stages import Stages
from edge_resad.device.station import run_station
from edge_resad.device.summary import StationSummary
from edge_resad.engine.engine import IoMemory, Provider
from edge_resad.engine.enrolment import enrol
from edge_resad.engine.inspector import Inspector
from edge_resad.errors import EngineError

Progress = Callable[[str, int, int], None]
"""What is done, how far, of how much."""

FRAMES = 200
BARE = 60  # parts whose engine alone is timed, before the station and again after it
SETTLE_S = 10.0  # at most, for the last threads of a station to go
FLUSH_S = 60.0  # at most, for a disk to take what waits for it
THRESHOLD = 2.5  # between drawn good parts and the defective one: a bench asks for times, not for verdicts
WARM_UP = 20  # parts that are not counted: clocks rise, caches fill
STATION_ROUND, STATION_ROUNDS = 256, 2  # parts: of fewer, what bounded caches take while they fill hides the rest


@dataclass(frozen=True, kw_only=True)
class Request:
    """What to measure."""

    bank: Path | None = None  # without it, four drawn good parts are enrolled
    bundle: Path | None = None
    precision: Precision | None = None  # without it the bank's own
    provider: Provider = "cpu"
    engines: Path | None = None  # TensorRT's, if not where `edge-resad build` puts them
    io_memory: IoMemory = "auto"
    threads: int = 1
    size: tuple[int, int] = (1280, 720)  # width and height of the frames, pixels
    frames: int = FRAMES
    minutes: float | None = None  # instead of frames
    rate: float | None = None  # parts per second; without it each comes as soon as the one before is done
    queue: bool = False  # without a rate: another part always waits, as on a line at its limit


@dataclass(frozen=True, kw_only=True, eq=False)
class Figures:
    """What came out."""

    request: Request
    precision: Precision
    machine: str
    load: tuple[float, float]  # of the machine before and after, over a minute
    stages: Mapping[str, Histogram]  # of the parts after the warm-up
    overhead: Histogram  # a part's total without its engine
    overhead_to_signal: Histogram  # until the line's outputs have their signal
    bare_engine: Histogram  # at the pace of the line, before and after the station
    first_stages_ms: Mapping[str, float]  # of the first part: the warm-up begins with it
    seconds: float  # that the parts after the warm-up took
    summary: StationSummary
    cold: ColdStart
    allocation: Allocation  # by the inspector alone
    station_allocation: Allocation  # by a whole station
    memory: tuple[tuple[float, float], ...]  # (seconds, MB) from the warm-up to the last part
    held: Mapping[str, Held]  # before, warm, at the end, after
    heat: Heat

    @property
    def parts(self) -> int:
        """Parts that were counted."""
        return self.stages["total"].count

    @property
    def per_second(self) -> float:
        """Parts a second."""
        return self.parts / self.seconds

    @property
    def rss_mb_per_h(self) -> float | None:
        """How fast memory grows once caches are full: over the last two thirds; None where those are under a minute."""
        return slope_per_hour(usual(self.memory[len(self.memory) // 3 :]), least_s=SLOPE_S - USUAL_S)


class _Observer:
    """Sees every part after it was inspected, and notes what the figures need."""

    def __init__(self, stages: Stages, line: PreparedLine, progress: Progress, request: Request, watch: Watch) -> None:
        self.first_stages_ms: Mapping[str, float] = {}
        self.overhead, self.overhead_to_signal = Histogram(), Histogram()
        self.began = self.ended = time.monotonic()  # the parts that count
        self.warm = self.last = held()
        self._stages = stages
        self._line = line
        self._progress = progress
        self._request = request
        self._watch = watch
        self._judged = 0

    @property
    def is_warm(self) -> bool:
        """Whether any part counted."""
        return self._judged > WARM_UP

    def __call__(self, inspection: Inspection) -> None:
        last_ms = self._stages.last_ms
        if inspection.verdict is not None:
            self._judged += 1
            if self._judged == 1:
                self.first_stages_ms = dict(last_ms)
            if self._judged == WARM_UP:
                self._begin()
            elif self._judged > WARM_UP:
                self.overhead.record(1e-3 * (last_ms["total"] - last_ms["engine"]))
                self.overhead_to_signal.record(1e-3 * (last_ms["signal"] - last_ms["engine"]))
                self.ended = time.monotonic()
        if self._judged % 32 == 0:
            self._say()
        self._line.done()

    def _begin(self) -> None:
        self._stages.clear()
        self._watch.clear()
        self.warm = held()
        self.began = self.ended = time.monotonic()

    def _say(self) -> None:
        self.last = held()
        minutes = self._request.minutes
        if minutes is None:
            self._progress("inspect", self._judged, self._request.frames + WARM_UP)
        else:
            self._progress("inspect", round(time.monotonic() - self.began), round(60 * minutes))


def run_bench(request: Request, products: Products, *, progress: Progress = lambda _what, _done, _of: None) -> Figures:
    """Measure this device.

    products: who draws the parts.

    Raises:
        BankError: the bank cannot be read, or belongs to another bundle or precision.
        BundleError, EngineError, SettingsError: the detector does not run here like this.
    """
    load = os.getloadavg()[0]
    with tempfile.TemporaryDirectory(prefix="edge-resad-bench-") as scratch:
        folder = Path(scratch)
        progress("draw", 0, 1)
        bundle = open_bundle(request.bundle)
        parts, bank, file = _product(request, bundle, products, folder)
        request = replace(request, precision=request.precision or bank.info.precision, bank=file)
        settings = _settings(request, folder, {"source": "synthetic"})
        bare = Histogram()
        progress("bare engine", 0, 1)
        with _inspector(request, bundle, bank) as inspector:
            _engine_alone(inspector, parts, bare, request.rate)
            memory_use = allocation(inspector, parts)
        before = held()
        stages, watch = Stages(), Watch()
        observers: list[_Observer] = []

        def open_line(_settings: StationFile, halt: threading.Event) -> PreparedLine:
            line = PreparedLine(
                parts, halt, rate=request.rate, frames=None if request.minutes else request.frames + WARM_UP,
                seconds=request.minutes and 60 * request.minutes, waiting=int(request.queue),
            )  # fmt: skip
            observers.append(_Observer(stages, line, progress, request, watch))
            return line

        with watch:
            summary = run_station(
                settings,
                stop=threading.Event(),
                open_source=open_line,
                on_inspection=lambda inspection: observers[0](inspection),
                stages=stages,
            )
        after = _settled(before)
        progress("bare engine", 0, 1)
        seen = observers[0]
        if not seen.is_warm:
            raise EngineError(_too_few(summary))
        with _inspector(request, bundle, bank) as inspector:
            _engine_alone(inspector, parts, bare, request.rate)
        progress("allocation", 0, 1)
        station_use = _allocation_of_a_station(settings, parts)
        progress("cold start", 0, 1)
        cold = _cold(request, folder, parts)
    assert request.precision is not None
    return Figures(
        request=request,
        precision=request.precision,
        machine=_machine(),
        load=(load, os.getloadavg()[0]),
        stages=stages.histograms(),
        overhead=seen.overhead,
        overhead_to_signal=seen.overhead_to_signal,
        bare_engine=bare,
        first_stages_ms=seen.first_stages_ms,
        seconds=seen.ended - seen.began,
        summary=summary,
        cold=cold,
        allocation=memory_use,
        station_allocation=station_use,
        memory=tuple(sample for sample in watch.memory if sample[0] <= seen.ended - watch.began),
        held={"before": before, "warm": seen.warm, "end": seen.last, "after": after},
        heat=watch.heat,
    )


def _settled(before: Held) -> Held:
    """What is held once the kernel has seen the last threads go, which takes it a moment."""
    until = time.monotonic() + SETTLE_S
    while (now := held()) != replace(now, handles=before.handles, threads=before.threads) and time.monotonic() < until:
        time.sleep(0.01)
    return now


def _too_few(summary: StationSummary) -> str:
    return (
        f"only {summary.passed + summary.failed} of {summary.parts} parts were judged, expected more than the "
        f"{WARM_UP} of the warm-up. Give more --frames or --minutes, or a lower --rate; edge-resad doctor says "
        "what is wrong here."
    )


def _product(request: Request, bundle: Bundle, products: Products, folder: Path) -> tuple[Parts, Bank, Path]:
    """Parts, and the bank that they are judged by. A bank of the demo's products gets its own parts."""
    families = list(products.FAMILIES)
    given = None if request.bank is None else load_bank(request.bank)
    family = given.info.product if given is not None and given.info.product in families else families[0]
    parts = draw_parts(products, family, request.size)
    if given is not None and request.bank is not None:
        return parts, given, request.bank.absolute()
    made = enrol(
        bundle, parts.references, product=family, precision=request.precision or "fp32", threads=request.threads,
        augment="off",
    ).bank  # fmt: skip
    file = folder / "bench.npz"
    made = replace(made, info=made.info.model_copy(update={"threshold": _between(made.info.threshold)}))
    save_bank(made, file)
    return parts, made, file


def _between(found: Threshold) -> Threshold:
    return found.model_copy(update={"score": THRESHOLD, "how": "by hand", "promise": "For a bench alone."})


def _settings(request: Request, folder: Path, camera: Mapping[str, Any]) -> StationFile:
    return StationFile.model_validate(
        {
            "station": {"device": "bench"},
            "camera": camera,
            "inspection": {
                "bank": str(request.bank),
                **({"bundle": str(request.bundle.absolute())} if request.bundle else {}),
            },
            "engine": {
                "provider": request.provider,
                "threads": request.threads,
                "precision": request.precision,
                "engines": None if request.engines is None else str(request.engines.absolute()),
                "io_memory": request.io_memory,
            },
            "spool": {"path": str(folder / "spool.db")},
            "log": {"verdicts": str(folder / "verdicts.jsonl")},
            "pictures": {"folder": str(folder / "pictures")},
        }
    )


def _inspector(request: Request, bundle: Bundle, bank: Bank) -> Inspector:
    return Inspector(
        bundle, bank, threads=request.threads, provider=request.provider, precision=request.precision,
        engines=request.engines, io_memory=request.io_memory,
    )  # fmt: skip


def _engine_alone(inspector: Inspector, parts: Parts, engine: Histogram, rate: float | None) -> None:
    """The engine of an inspector without a station. At the pace of the line: between parts caches cool, clocks fall."""
    pace = Pace(rate, threading.Event(), Clock())
    for number in range(WARM_UP + BARE):
        pace.wait()
        inspector.inspect(parts[number])
        if number >= WARM_UP:
            engine.record(1e-3 * inspector.timings["engine_ms"])


def _allocation_of_a_station(settings: StationFile, parts: Parts) -> Allocation:
    """In a run of its own, for counting takes time. Of good parts: a reject stays until twelve newer ones are there."""
    lines: list[PreparedLine] = []
    stop = threading.Event()

    def open_line(_settings: StationFile, halt: threading.Event) -> PreparedLine:
        lines.append(PreparedLine(parts.good * meter.parts, halt, frames=meter.parts))
        return lines[0]

    def at_rest() -> None:
        for station in open_stations:
            station.spool.flush(FLUSH_S)  # a disk may be slower than any rest is long
        rest()

    open_stations: list[OpenStation] = []
    with AllocationMeter(parts_a_round=STATION_ROUND, rounds=STATION_ROUNDS, rest=at_rest) as meter:
        with OpenStation(settings, stop=stop, open_source=open_line) as station, station.running():
            open_stations.append(station)
            for lane, inspection in station.parts():
                station.say(lane, inspection)
                meter.done()
                lines[0].done()
        open_stations.clear()
    return meter.found


def _cold(request: Request, folder: Path, parts: Parts) -> ColdStart:
    pictures = folder / "parts"
    pictures.mkdir()
    cv2.imwrite(str(pictures / "part.png"), parts[0])
    settings = folder / "cold.json"
    settings.write_text(_settings(request, folder, {"source": f"folder:{pictures}"}).model_dump_json())
    return cold_start(settings)


def _machine() -> str:
    chip = processor()
    board = module()
    return f"{board + ', ' if board else ''}{chip.name}, {chip.cores} CPUs"
