"""From a frame to an inspection: judged in time, debounced into alerts, and counted exactly once."""

from __future__ import annotations

import logging
import math
import uuid
from collections import Counter, deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from typing import Literal, Protocol, get_args

import numpy as np
from numpy.typing import NDArray

from edge_resad.decision import Debounce, NotInspected, Obstacle, Verdict
from edge_resad.device.frame import Clock, Frame, Missed
from edge_resad.device.histogram import Histogram
from edge_resad.device.watch import Blind, Watch
from edge_resad.messages import Phase, Severity

log = logging.getLogger(__name__)

Reason = (
    Literal["too_old", "inspector_error", "overwritten", "unreadable", "stopped", "bypassed"]
    | Missed
    | Blind
    | Obstacle
)
"""Why a part has no verdict."""

_SEVERITIES: tuple[Severity, ...] = get_args(Severity)  # from the mildest to the worst


class Judge(Protocol):
    """What the pipeline needs of an inspector."""

    def inspect(self, frame: NDArray[np.uint8], /) -> Verdict:
        """Judge one part. frame: (H, W, 3) uint8, BGR. Raises NotInspected where it cannot."""

    @property
    def score_map(self) -> NDArray[np.float32]:
        """(h, w) anomaly map of the last part; valid until the next one."""


@dataclass(frozen=True, kw_only=True)
class Alert:
    """A run of bad parts: it begins, may get worse, and ends, always under the same id."""

    alert_id: str
    phase: Phase
    severity: Severity  # the worst so far
    score: float  # the highest so far
    failed_parts: int  # so far


@dataclass(frozen=True, kw_only=True)
class Latency:
    """From the picture to the verdict, milliseconds."""

    waiting_ms: float  # from the camera to the inspector
    inspecting_ms: float
    trigger_ms: float | None = None  # from the trigger to the verdict, where a trigger announced the part

    @property
    def total_ms(self) -> float:
        """What the line's reject gate has to allow for."""
        return self.waiting_ms + self.inspecting_ms


@dataclass(frozen=True, kw_only=True)
class Inspection:
    """What became of one frame: a verdict, or the reason why there is none."""

    frame: Frame
    verdict: Verdict | None
    not_inspected: Reason | None  # exactly one of the two is there
    latency: Latency
    alert: Alert | None = None
    camera: str = "cam0"


@dataclass(kw_only=True)
class Tally:
    """How many parts there were, and what became of each."""

    passed: int = 0
    failed: int = 0
    alerts: int = 0  # new ones
    not_inspected: Counter[Reason] = field(default_factory=Counter)
    _latencies: Histogram = field(default_factory=Histogram)

    @classmethod
    def of(cls, tallies: Iterable[Tally]) -> Tally:
        """All of them together, as they are now. From any thread."""
        whole = cls()
        for tally in tallies:
            whole.passed += tally.passed
            whole.failed += tally.failed
            whole.alerts += tally.alerts
            whole.not_inspected.update(dict(tally.not_inspected))  # it may grow meanwhile
            whole._latencies.merge(tally._latencies)
        return whole

    @property
    def parts(self) -> int:
        return self.passed + self.failed + self.not_inspected.total()

    def __str__(self) -> str:
        return f"{self.passed} passed, {self.failed} failed, {self.not_inspected.total()} not inspected"

    def count(self, inspection: Inspection) -> None:
        """Take one more part."""
        if inspection.verdict is None:
            self.not_inspected[inspection.not_inspected or "inspector_error"] += 1
            return
        self.passed += inspection.verdict.status == "pass"
        self.failed += inspection.verdict.status == "fail"
        self.alerts += inspection.alert is not None and inspection.alert.phase == "new"
        self._latencies.record(1e-3 * inspection.latency.total_ms)

    def latency_ms(self, percent: float) -> float | None:
        """A percentile of the verdicts' latency, within 1 %; None before the first verdict."""
        seconds = self._latencies.percentile_s(percent)
        return None if seconds is None else 1e3 * seconds


class Alarm:
    """Turns verdicts into alerts: k failed parts among the last n begin one, fewer end it."""

    def __init__(self, k: int, n: int, new_id: Callable[[], str] = lambda: uuid.uuid4().hex) -> None:
        self._debounce = Debounce(k, n)
        self._last: deque[Verdict] = deque(maxlen=n)
        self._new_id = new_id
        self._open: Alert | None = None

    @property
    def open(self) -> Alert | None:
        """The alert that is open now. From any thread."""
        return self._open

    def restart(self, k: int, n: int) -> Alert | None:
        """Begin anew for another product; the alert of the one before ends, where one is open."""
        self._debounce = Debounce(k, n)
        self._last = deque(maxlen=n)
        return self.end()

    def step(self, verdict: Verdict) -> Alert | None:
        """Take one more verdict; the alert to send, where there is something new to say."""
        self._last.append(verdict)
        failing = self._debounce.step(verdict.status == "fail")
        if self._open is None:
            self._open = self._begin() if failing else None
            return self._open
        before, self._open = self._open, _grown(self._open, verdict)
        if not failing:
            return self.end()
        return self._open if self._open.severity != before.severity else None

    def end(self) -> Alert | None:
        """End the alert that is open; None where none is. The station says it when it stops."""
        ended, self._open = self._open, None
        return ended and replace(ended, phase="end")

    def _begin(self) -> Alert:
        alert = Alert(alert_id=self._new_id(), phase="new", severity=_SEVERITIES[0], score=0.0, failed_parts=0)
        for verdict in self._last:
            alert = replace(_grown(alert, verdict), phase="new")
        return alert


class Line:
    """The stage between camera and world. One thread; it waits for nothing but the judge."""

    def __init__(
        self,
        judge: Judge,
        alarm: Alarm,
        *,
        max_age_s: float | None = None,  # None: a backlog, no frame is too old
        clock: Clock | None = None,
        watch: Watch | None = None,  # what pictures must be like
        camera: str = "cam0",
        is_bypassed: Callable[[], bool] = lambda: False,  # whether parts go by without inspection
        before: Callable[[NDArray[np.uint8] | None], None] = lambda _frame: None,
    ) -> None:
        """before: called before every frame with its picture, or with None where it is not judged."""
        self._is_bypassed = is_bypassed
        self._before = before
        self._camera = camera
        self._watch = watch
        self._judge = judge
        self._alarm = alarm
        self._max_age_s = max_age_s
        self._clock = clock or Clock()
        self._said: set[str] = set()  # kinds of the judge's errors

    def put(self, judge: Judge) -> None:
        """Go on with another judge."""
        self._judge = judge

    def step(self, frame: Frame) -> Inspection:
        """Judge one frame, unless it is too old or shows no part; a judge that fails costs this frame and no other."""
        began = self._clock.monotonic()
        age_s = began - frame.captured_mono
        obstacle = self._obstacle(frame, began, age_s)
        self._before(frame.image if obstacle is None else None)
        if obstacle is not None:
            return self._without(frame, obstacle, Latency(waiting_ms=1e3 * age_s, inspecting_ms=0.0))
        if self._watch is not None:
            self._watch.compare(began)  # now that the product is known: of a part that is not judged it never is
        verdict, reason = self._verdict(frame)
        now = self._clock.monotonic()
        latency = Latency(
            waiting_ms=1e3 * age_s,
            inspecting_ms=1e3 * (now - began),
            trigger_ms=None if frame.triggered_mono is None else 1e3 * (now - frame.triggered_mono),
        )
        if verdict is None:
            return self._without(frame, reason, latency)
        alert = self._alarm.step(verdict)
        return Inspection(
            frame=frame, verdict=verdict, not_inspected=None, latency=latency, alert=alert, camera=self._camera
        )

    def _obstacle(self, frame: Frame, now: float, age_s: float) -> Reason | None:
        """Why a frame is not to be judged at all; the watch looks at it in any case."""
        blind = self._blind(frame, now)
        if self._is_bypassed():
            return "bypassed"
        if frame.missed is not None:
            return frame.missed
        if self._max_age_s is not None and age_s > self._max_age_s:
            return "too_old"
        return blind

    def _blind(self, frame: Frame, now: float) -> Blind | None:
        """Why the watch says that a frame cannot be judged; what it cannot look at, the judge refuses."""
        if self._watch is None or frame.missed is not None:
            return None
        try:
            return self._watch.glance(frame, now)
        except Exception as error:  # whatever the camera gave, the next part is already on its way
            self._say_once(frame, error)
            return None

    def _without(self, frame: Frame, reason: Reason, latency: Latency) -> Inspection:
        return Inspection(frame=frame, verdict=None, not_inspected=reason, latency=latency, camera=self._camera)

    def _verdict(self, frame: Frame) -> tuple[Verdict | None, Reason]:
        """The verdict, or why there is none."""
        try:
            verdict = self._judge.inspect(frame.image)
            if not math.isfinite(verdict.score):
                raise ArithmeticError(f"the score of part {frame.frame_id} is {verdict.score}, expected a number")
            return verdict, "inspector_error"
        except NotInspected as obstacle:
            if obstacle.obstacle not in self._said:
                self._said.add(obstacle.obstacle)
                log.warning(
                    "part %d was not inspected: %s; more of this kind are only counted", frame.frame_id, obstacle
                )
            return None, obstacle.obstacle
        except Exception as error:  # whatever it is, the next part is already on its way
            self._say_once(frame, error)
            return None, "inspector_error"

    def _say_once(self, frame: Frame, error: Exception) -> None:
        kind = type(error).__name__
        if kind not in self._said:
            self._said.add(kind)
            log.exception("part %d was not inspected (%s); more of this kind are only counted", frame.frame_id, kind)


def _grown(alert: Alert, verdict: Verdict) -> Alert:
    """The alert with one more part in it."""
    severity = verdict.severity
    if severity == "none":
        return alert
    return replace(
        alert,
        phase="update",
        severity=max(alert.severity, severity, key=_SEVERITIES.index),
        score=max(alert.score, verdict.score),
        failed_parts=alert.failed_parts + 1,
    )
