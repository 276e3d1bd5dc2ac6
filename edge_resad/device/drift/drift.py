"""The drift of one camera's line: its charts, product by product, kept over restarts and said when they shift."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Protocol

from edge_resad.device.drift.charts_file import ChartsFile
from edge_resad.device.drift.product_charts import Enrolled, ProductCharts, prepare_limits
from edge_resad.device.faults import FaultPost, Faults
from edge_resad.device.pipeline import Inspection
from edge_resad.device.worker import Worker
from edge_resad.engine.alignment import Place

log = logging.getLogger(__name__)

SAVE_S = 60.0  # so much of a chart a power cut may cost
LEAVE_S = 1.0  # how long a disk that hangs may keep the station


class Sight(Protocol):
    """What somebody has measured of the newest picture, such as `edge_resad.device.watch.Watch`."""

    @property
    def brightness(self) -> float | None:
        """Mean grey level."""

    @property
    def sharpness(self) -> float | None:
        """How steep edges are."""


class Drift:
    """Charts every part of one camera. A call costs microseconds; files are written by a thread of its own.

    `use` and `add` are the line's thread's. Whatever goes wrong in here is logged once and costs no part.
    """

    def __init__(
        self,
        camera: str,
        path: Path | None,
        *,
        false_alarm_parts: float,
        learn_parts: int,
        post: FaultPost | None = None,
        say: Callable[[tuple[str, ...]], None] | None = None,
        save_s: float = SAVE_S,
    ) -> None:
        """path: where the charts are kept; None keeps them in memory alone. say: who tells the station's state."""
        self.errors = 0  # parts that could not be charted
        self._camera = camera
        self._file = None if path is None else ChartsFile(path)
        self._false_alarm_parts = false_alarm_parts
        self._learn_parts = learn_parts
        self._save_s = save_s
        self._faults = Faults(f"camera {camera}", post, say)
        self._enrolled: Enrolled | None = None
        self._charts: ProductCharts | None = None
        self._others: dict[str, ProductCharts] = {}  # by product
        self._renewed = False  # whether charts were begun anew since somebody last asked what they say
        self._lock = threading.Lock()
        self._closing = threading.Event()
        self._writer = Worker(self._work, name="drift", closing=self._closing)

    def __enter__(self) -> Drift:
        prepare_limits(self._false_alarm_parts, self._learn_parts)
        if self._file is not None:
            self._others = self._file.read()
            self._writer.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None, /
    ) -> None:
        self._closing.set()
        if self._file is not None:
            self._writer.join(LEAVE_S)
        self._faults.end()

    @property
    def said(self) -> tuple[str, ...]:
        """What is wrong now."""
        return self._faults.said

    @property
    def shares(self) -> Mapping[str, float]:
        """How far every chart is from saying something: 1 is the limit."""
        with self._lock:
            return {} if self._charts is None else self._charts.shares()

    def use(self, enrolled: Enrolled) -> None:
        """Another product is on the line, or the first one: its charts go on where they stopped."""
        if enrolled == self._enrolled:
            return
        try:
            with self._lock:
                if self._charts is not None and self._enrolled is not None:
                    self._others[self._enrolled.product] = self._charts
                    if self._file is not None:
                        self._file.keep(self._enrolled.product, self._charts)
                self._enrolled = enrolled
                self._charts = self._kept(enrolled)
                self._charts.shares()  # computes the limits that are not known yet, before a part waits for them
                self._renewed = True  # what they say is said with the product's first part: alerts name their product
            self._faults.end()
        except Exception:
            self._stumble()

    def add(self, inspection: Inspection, sight: Sight | None = None, place: Place | None = None) -> None:
        """Take one part. Never raises."""
        try:
            verdict = inspection.verdict
            if verdict is None:
                return
            with self._lock:
                charts, enrolled = self._charts, self._enrolled
                if charts is None or enrolled is None:
                    return
                news, self._renewed = self._renewed, False
                news |= charts.count(verdict.status == "fail")
                figures = {} if sight is None else {"light": sight.brightness, "focus": sight.sharpness}
                if verdict.status == "pass":
                    figures["scores"] = verdict.score
                if place is not None:
                    figures["shift_x"], figures["shift_y"] = place.shift_px
                    figures["turn"], figures["likeness"] = place.turn_deg, place.likeness
                for name, value in figures.items():
                    if value is not None:
                        news |= charts.add(name, value, learn_parts=self._learn_parts, good=enrolled.good)
                wrong = charts.said() if news else None
            if wrong is not None:
                self._faults.set(wrong)
        except Exception:
            self._stumble()

    def save(self) -> None:
        """Write the charts now; where their file was taken away since it was written, learn everything anew."""
        if self._file is None:
            return
        was_taken_away = self._file.was_taken_away()  # before the lock: the line's thread takes it, the disk may hang
        if was_taken_away:
            log.info("camera %s: the charts were taken away, everything is learnt anew", self._camera)
        with self._lock:
            if was_taken_away:
                self._others = {}
                self._file.forget()
                if self._enrolled is not None:
                    self._charts = self._begun(self._enrolled)
                self._renewed = True
            if self._charts is not None and self._enrolled is not None:
                self._file.keep(self._enrolled.product, self._charts)
        self._file.write()

    def _kept(self, enrolled: Enrolled) -> ProductCharts:
        """The charts of a product, as they were left; new ones where its bank is another."""
        charts = self._others.pop(enrolled.product, None)
        if charts is None or charts.of != enrolled.of:
            return self._begun(enrolled)
        charts.set_false_alarm_parts(self._false_alarm_parts)
        return charts

    def _begun(self, enrolled: Enrolled) -> ProductCharts:
        return ProductCharts.begun(enrolled, false_alarm_parts=self._false_alarm_parts)

    def _stumble(self) -> None:
        self.errors += 1
        if self.errors == 1:
            log.exception("camera %s: a part could not be charted; more of this kind are only counted", self._camera)

    def _work(self) -> None:
        while True:
            last = self._closing.wait(self._save_s)
            try:
                self.save()
            except Exception:  # whatever it is, the next time may go well
                log.exception("camera %s: the charts could not be saved", self._camera)
            if last:
                return
