"""One camera's way through the station: its frames, its judge, its alerts and its health."""

from __future__ import annotations

import hashlib
import logging
import math
import threading
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from types import TracebackType

import numpy as np
from numpy.typing import NDArray

from edge_resad.decision import NotInspected
from edge_resad.device.changeover import Changeover
from edge_resad.device.drift.drift import Drift
from edge_resad.device.drift.product_charts import Enrolled
from edge_resad.device.faults import Faults, Roll
from edge_resad.device.frame import Frame, FrameSource
from edge_resad.device.gpio_trigger import GpioTrigger, Pin
from edge_resad.device.handover import Capture
from edge_resad.device.health import Health, SayFaults
from edge_resad.device.part_queue import EveryFrame, PartQueue, Parts
from edge_resad.device.pipeline import Alarm, Alert, Inspection, Judge, Line, Reason, Tally
from edge_resad.device.post import Post
from edge_resad.device.presence_trigger import PresenceTrigger
from edge_resad.device.pressure import Pressure
from edge_resad.device.progress import Pace, Progress, VitalSigns
from edge_resad.device.revival import Absent
from edge_resad.device.settings import SourceKind, StationFile, split_source
from edge_resad.device.spool import Spool
from edge_resad.device.trigger import Trigger
from edge_resad.device.unseen import MissedPart
from edge_resad.device.watch import WORDS, Limits, Watch
from edge_resad.engine.inspector import Inspector
from edge_resad.errors import ImageError
from edge_resad.overlay import thumbnail

log = logging.getLogger(__name__)

OpenSource = Callable[[StationFile, threading.Event], FrameSource]

CAUGHT_UP_S = 10.0  # the inspection is behind until it has caught up for so long: bursts are one story
HELD_UP_S = 1.0  # without a look for so long the line was held up, by its engine as a rule
FILES: frozenset[SourceKind] = frozenset({"synthetic", "folder", "video"})  # and what is drawn: no cameras
IDLE_LOOK_S = 0.1  # between two looks of the watch at pictures that show no part
WIRED_S: Mapping[SourceKind, float] = {"v4l2": 15.0, "genicam": 10.0, "basler": 10.0}
"""How long a camera that waits for its wire may show no sign of life: OpenCV comes back from V4L2 after ten seconds, a
camera by GenICam is asked every READ_S whether it is there."""


class Lane:
    """From one camera to what is said of its parts. Entered, its camera is read; left, its alerts end."""

    def __init__(
        self,
        told: StationFile,
        judge: Judge,
        spool: Spool,
        open_source: OpenSource,
        *,
        say: SayFaults | None = None,
        changed: threading.Condition | None = None,
        is_bypassed: Callable[[], bool] = lambda: False,
        may_be_missing: bool = False,
        arrived: Callable[[], None] = lambda: None,
    ) -> None:
        """told: the station file as if this camera were its only one.

        say:     who puts camera -> faults into the station's state.
        changed: notified whenever there is news of this camera.
        is_bypassed: whether parts go by without inspection.
        may_be_missing: a camera that is not there at the start is looked for; files and drawings must be there.
        arrived: called in the camera's thread when it gave a frame.
        """
        self.name = told.camera.name
        self.judge = judge
        self.tally = Tally()
        self._tallies: dict[str, Tally] = {}  # by product
        self._missed: Counter[Reason] = Counter()  # parts that never reached the judge, as far as they are counted
        self._label = judge.product.label if isinstance(judge, Changeover) else None  # of the product on the line
        self._threshold: float | None = None  # that a person has set, of every judge of a bank from then on

        def opened(halt: threading.Event) -> FrameSource:
            return open_source(told, halt)

        halt = VitalSigns()  # the camera's own: it also ends when the inspection fails
        source, limits = opened(halt), limits_of(told)
        self._watch = Watch(limits) if limits is not None else None
        self._post = _post(told, spool)
        self._show(enrolled_of(judge, self._post.product))
        self._alarm = _alarm(told, judge)
        self._is_bypassed = is_bypassed
        roll = Roll(self.name, say)
        self._health = None
        if self._watch is not None:
            self._health = Health(self.name, self._watch, self._post, lambda told: roll.tell("watch", told[self.name]))
        self.drift = _drift(told, self._post, roll)
        max_age_s = told.inspection.max_age_s if source.live else None
        self._line = Line(
            judge,
            self._alarm,
            max_age_s=max_age_s,
            watch=self._watch,
            camera=self.name,
            is_bypassed=is_bypassed,
            before=self._before,
        )
        silent_s = limits.silent_s if limits is not None else None
        parts = _parts(told, changed)
        slot = PartQueue(parts, most=told.camera.trigger.queue, live=source.live) if parts is not None else None
        self.trigger = parts if isinstance(parts, Trigger) else None
        """Where it is told that a part is there; None where nobody is to tell."""
        self._pin = _pin(told, self.trigger)
        self._pin_faults = None  # the pin itself says in the log what is wrong with it
        if self._pin is not None:
            said = partial(roll.tell, "trigger")
            self._pin_faults = Faults(None, self._post, said, severity="critical")
        self._queue_faults = None  # the queue itself says in the log when it is full
        if slot is not None and source.live:
            self._queue_faults = Faults(None, self._post, partial(roll.tell, "queue"), severity="major")
        self._is_behind = False  # as it was said
        self._behind_until = -math.inf
        waits_for_wire = told.camera.trigger.kind == "camera" and silent_s is None
        wired_s = WIRED_S.get(split_source(told.camera.source)[0]) if waits_for_wire else None
        self._is_asked = wired_s is not None  # a camera that may be silent for long shows otherwise that it is there
        self.capture = Capture(
            source,
            halt,
            reopen=opened,
            silent_s=silent_s or wired_s,
            changed=changed,
            slot=slot,
            may_be_missing=may_be_missing and split_source(told.camera.source)[0] not in FILES,
            arrived=arrived,
        )
        self._progress = Progress(self.capture, may_be_still=waits_for_wire)
        self._counts_unreadable = told.camera.trigger.kind in ("free", "camera")  # of others a picture is no part yet
        self._looked_at = 0.0  # when the watch last looked at a picture without a part
        self._said: set[str] = set()  # kinds of errors in that, or ahead
        self._open = ExitStack()
        self._last_look_at = -math.inf

    def __enter__(self) -> Lane:
        with ExitStack() as opening:
            if self.drift is not None:
                opening.enter_context(self.drift)
                self.drift.use(enrolled_of(self.judge, self._post.product))
            if self._pin is not None:
                opening.enter_context(self._pin)
            opening.enter_context(self.capture)
            self._open = opening.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None, /
    ) -> None:
        self._open.__exit__(kind, error, trace)
        self._post.end(self._alarm.end())
        if self._pin_faults is not None:
            self._pin_faults.end()
        if self._queue_faults is not None:
            self._queue_faults.end()
        if self._health is not None:
            self._health.end()

    @property
    def product(self) -> str:
        """What this camera's parts are judged as now."""
        return self.judge.product.recipe.product if isinstance(self.judge, Changeover) else self._post.product

    @property
    def tallies(self) -> Mapping[str, Tally]:
        """The tally by product: what was counted for one stays its own when another is on the line. From any thread."""
        return {self.product: Tally(), **self._tallies}

    @property
    def alert(self) -> Alert | None:
        """The alert of failed parts that is open now. From any thread."""
        return self._alarm.open

    @property
    def pressure(self) -> Pressure | None:
        """How many parts wait for the inspection; None where no more than one ever does. From any thread."""
        waiting = self.capture.slot.waiting()
        return None if waiting is None else Pressure(waiting=waiting[0], most=waiting[1], is_behind=self._is_behind)

    @property
    def timings(self) -> Mapping[str, float]:
        """Milliseconds of the last part's stages in the judge."""
        return getattr(self.judge, "timings", {})

    def make_ready(self, frame: Frame) -> None:
        """Scale a part that waits, and what else its judge can do ahead. From one other thread than the line's."""
        judge = self.judge
        if self._is_bypassed() or not isinstance(judge, Inspector | Changeover):
            return
        try:
            judge.make_ready(frame.image)
        except (NotInspected, ImageError):  # the judge says it when the part's turn comes
            pass
        except Exception as error:  # the judge does all by itself then
            self._say_once("a part that waits could not be made ready", error)

    def step(self, frame: Frame) -> Inspection:
        """Judge one frame; change the product before it, where another one was asked for."""
        return self._line.step(frame)

    def _before(self, picture: NDArray[np.uint8] | None) -> None:
        """Change the product, as was asked for or as the code on a part says. picture: None of what is not judged."""
        if isinstance(self.judge, Changeover) and self.judge.before(picture):
            self._begin(self.judge)

    def debounce(self, k: int, n: int) -> None:
        """Alert from now on when k of n parts fail; an alert that is open ends. Belongs to the line's thread."""
        self._post.end(self._alarm.restart(k, n))

    def say(self, inspection: Inspection) -> tuple[str, ...]:
        """Put all there is to say of a part on its way, and count it; the ids of the messages that say it."""
        event_ids = self._post.send(inspection, self.judge.score_map)
        self.tally.count(inspection)
        verdict = inspection.verdict
        self._tally_of((verdict.product if verdict is not None else None) or self.product).count(inspection)
        return event_ids

    def chart(self, inspection: Inspection) -> None:
        """Let the charts of drift take a part."""
        if self.drift is not None:
            self.drift.add(inspection, self._watch, getattr(self.judge, "place", None))

    def put(self, judge: Judge) -> None:
        """Go on with another judge: the engine was opened again."""
        self.judge = judge
        if self._threshold is not None:
            self.set_threshold(self._threshold)
        self._line.put(judge)
        if isinstance(judge, Changeover) and judge.product.label != self._label:  # it was changed meanwhile
            self._begin(judge)
        elif self.drift is not None and not isinstance(judge, Absent):
            self.drift.use(enrolled_of(judge, self._post.product))

    def set_threshold(self, threshold: float) -> None:
        """Let parts fail from another score on until the station stops. From any thread."""
        self._threshold = threshold  # first: `put` reads it last
        if isinstance(self.judge, Inspector):
            self.judge.set_threshold(threshold)

    def _begin(self, changeover: Changeover) -> None:
        """Another product is on the line: its alerts, its usual pictures and its charts are its own."""
        recipe, self._label = changeover.product.recipe, changeover.product.label
        self._post.end(self._alarm.restart(recipe.debounce_k, recipe.debounce_n))
        enrolled = enrolled_of(changeover, self._post.product)
        self._show(enrolled)
        if self.drift is not None:
            self.drift.use(enrolled)

    def _show(self, enrolled: Enrolled) -> None:
        """Another reference may be of other pictures: what is usual of them is learnt anew."""
        if self._watch is not None:
            self._watch.show((enrolled.product, enrolled.of))

    @property
    def is_away(self) -> bool:
        """Whether the camera is known to give no picture, and looked for. From any thread."""
        return self._watch is not None and "silent" in self._watch.said

    def look(self, now: float, inspection: Inspection | None) -> Pace:
        """See how the camera does, and say how this lane does. To be called a few times a second.

        now: monotonic seconds. inspection: of this camera's part, where there was one since the last look.
        """
        self.capture.look()
        self._look_at_pin()
        self._look_at_queue(now, inspection)
        if not self.capture.opened and not self.capture.is_looked_for:
            return "still"
        if self._health is not None and not self.capture.slot.ended:
            if self._watch is not None and now - self._looked_at >= IDLE_LOOK_S:
                idle = self.capture.slot.idle()
                if idle is not None:
                    self._look_at(idle, self._watch, now)
            was_held_up = now - self._last_look_at >= HELD_UP_S
            if self._watch is not None and was_held_up and self.capture.slot.has_news:
                self._watch.arrived(now)  # its frames came and were overwritten
            if self._watch is not None:
                self._watch.gone(self.capture.is_looked_for or (self._is_asked and self.capture.is_gone))
            self._health.step(now)
            self._last_look_at = now
        if self.capture.slot.ended:
            return "over"
        if self._progress.step(inspection) and self.capture.opened and not self.capture.is_stuck:
            return "on"
        return "away" if self.is_away and not self._progress.fails else "still"

    def _look_at(self, idle: Frame, watch: Watch, now: float) -> None:
        """Let the watch take a picture that shows no part."""
        self._looked_at = now
        try:
            watch.look(idle, now)
        except Exception as error:  # whatever the camera gave, the next part is already on its way
            self._say_once("a picture without a part could not be looked at", error)

    def _say_once(self, what: str, error: Exception) -> None:
        kind = type(error).__name__
        if kind not in self._said:
            self._said.add(kind)
            log.exception("camera %s: %s (%s)", self.name, what, kind)

    def _look_at_pin(self) -> None:
        """Without its pin nobody tells of parts: they pass uncounted, so the outputs must be safe."""
        if self._pin is not None and self._pin_faults is not None:
            self._pin_faults.set({} if self._pin.problem is None else {"trigger_lost": WORDS["trigger_lost"]})

    def _look_at_queue(self, now: float, inspection: Inspection | None) -> None:
        """Say once that the inspection is behind, and once that it no longer is."""
        if self._queue_faults is None:
            return
        is_late = inspection is not None and inspection.not_inspected == "too_old"
        if is_late or self.capture.slot.is_behind:
            self._behind_until = now + CAUGHT_UP_S
        is_behind = now < self._behind_until
        if is_behind != self._is_behind:
            self._is_behind = is_behind
            self._queue_faults.set({"behind": WORDS["behind"]} if is_behind else {})

    def missed(self) -> Sequence[MissedPart]:
        """Parts that passed without ever reaching the judge since this was last asked: why, and when each was there."""
        missed = self.capture.missed()
        told = [part for part in missed if self._counts_unreadable or part[0] != "unreadable"]
        if told:  # with nearly every look there is none
            self._count(Counter(reason for reason, _ in told))
        return told

    def leave(self) -> Sequence[MissedPart]:
        """Take no more parts: those that are there by now and that `missed` has not told of, as it tells them."""
        self.capture.leave()
        return self.missed()

    def count_unseen(self) -> None:
        """Count the parts that never reached the judge and that `missed` has not told of."""
        self._count({reason: count - self._missed[reason] for reason, count in self._unseen().items()})

    def _count(self, missed: Mapping[Reason, int]) -> None:
        found = {reason: count for reason, count in missed.items() if count > 0}
        self._missed.update(found)
        self.tally.not_inspected.update(found)
        self._tally_of(self.product).not_inspected.update(found)

    def _tally_of(self, product: str) -> Tally:
        found = self._tallies.get(product)
        if found is None:
            found = self._tallies[product] = Tally()
        return found

    def _unseen(self) -> dict[Reason, int]:
        unseen = self.capture.slot.unseen()
        return {**unseen, "unreadable": self.capture.unreadable} if self._counts_unreadable else unseen


def limits_of(told: StationFile) -> Limits | None:
    """What the camera's pictures must be like; None where they are drawn."""
    watch, kind = told.watch, split_source(told.camera.source)[0]
    if kind == "synthetic":
        return None
    is_camera = kind not in FILES
    repeats = kind != "rtsp" or "frozen_s" in watch.model_fields_set  # H.264 of a still scene repeats itself
    slowest_s = 2 / told.camera.fps if told.camera.fps else 0.0  # between two frames
    speaks = told.camera.trigger.kind != "camera" or "silent_s" in watch.model_fields_set  # or waits for its trigger
    return Limits(
        black=watch.black,
        white=watch.white,
        dark=watch.dark,
        bright=watch.bright,
        blur=watch.blur or None,
        frozen_s=watch.frozen_s if is_camera and repeats and watch.frozen_s else None,
        never_twice=is_camera and kind != "rtsp" and watch.frozen_s > 0,
        silent_s=max(watch.silent_s, slowest_s) if is_camera and speaks and watch.silent_s else None,
        one_size=is_camera,
    )


def _parts(told: StationFile, changed: threading.Condition | None) -> Parts | None:
    """What tells which pictures are parts; None where all are and the newest wins."""
    trigger, kind = told.camera.trigger, split_source(told.camera.source)[0]
    if trigger.kind == "free":
        return None
    if trigger.kind == "camera":
        return EveryFrame(changed)
    if trigger.kind == "presence":
        return PresenceTrigger(
            area=None if trigger.area is None else (trigger.area[0], trigger.area[1], trigger.area[2], trigger.area[3]),
            least_change=trigger.least_change,
            settle=trigger.settle,
            moment=trigger.moment,
            changed=changed,
        )
    capture_ms = 0.0 if kind in FILES else None  # those are taken in no time
    if trigger.capture_ms is not None:
        capture_ms = trigger.capture_ms
    return Trigger(
        wait_s=trigger.wait_ms / 1e3,
        delay_s=trigger.delay_ms / 1e3,
        capture_s=None if capture_ms is None else capture_ms / 1e3,
        changed=changed,
    )


def _pin(told: StationFile, trigger: Trigger | None) -> GpioTrigger | None:
    pin = told.camera.trigger
    if pin.kind != "gpio" or trigger is None or pin.line is None:
        return None
    return GpioTrigger(
        Pin(chip=pin.chip, line=pin.line, edge=pin.edge, pull=pin.pull, debounce_us=pin.debounce_us), trigger.fire
    )


def enrolled_of(judge: Judge, product: str) -> Enrolled:
    """What the enrolment of the product on the line says of good parts. product: where no recipe names it."""
    if isinstance(judge, Changeover):
        recipe = judge.product.recipe
        bank, product = judge.product.bank_of(0), recipe.product
        several = len(recipe.regions) > 1  # then a score is that of the worst region: no one bank foretells it
    elif isinstance(judge, Inspector) and judge.prepared is not None:
        bank, several = judge.prepared.bank, False
    else:
        return Enrolled(product=product, of="")
    info, limit = bank.info, bank.info.threshold
    of = hashlib.sha256(repr((info.references, info.bundle_id, info.precision, info.head)).encode()).hexdigest()
    return Enrolled(
        product=product, of=of, good=None if several else limit.good, false_alarm_rate=limit.false_alarm_rate
    )


def charts_file(told: StationFile, camera: str) -> Path:
    """Where a camera's charts of drift are kept."""
    return (told.drift.folder or told.spool.path.parent / "drift") / f"{camera}.json"


def _drift(told: StationFile, post: Post, roll: Roll) -> Drift | None:
    if not told.drift.on:
        return None
    name = told.camera.name
    return Drift(
        name,
        charts_file(told, name),
        false_alarm_parts=told.drift.false_alarm_parts,
        learn_parts=told.drift.learn_parts,
        post=post,
        say=lambda faults: roll.tell("drift", faults),
    )


def _post(told: StationFile, spool: Spool) -> Post:
    station = told.station
    return Post(
        spool,
        station.address,
        product=station.product,
        camera=told.camera.name,
        draw=thumbnail if told.spool.thumbnails else None,
        passes=told.spool.passes,
    )


def _alarm(told: StationFile, judge: Judge) -> Alarm:
    if isinstance(judge, Changeover):
        return Alarm(judge.product.recipe.debounce_k, judge.product.recipe.debounce_n)
    return Alarm(told.inspection.debounce_k, told.inspection.debounce_n)
