"""The station: camera, inspector, spool and broker put together, from the first part to the last."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from edge_resad import __version__
from edge_resad.bank import load_bank
from edge_resad.bundle import Precision, open_bundle
from edge_resad.device.camera import FrameSource, Products, open_camera
from edge_resad.device.changeover import Changeover
from edge_resad.device.frame import Clock, Frame
from edge_resad.device.handover import Capture
from edge_resad.device.health import Health
from edge_resad.device.metrics import MetricsFile, prometheus_text
from edge_resad.device.notify import Service
from edge_resad.device.pipeline import Alarm, Inspection, Judge, Line, Reason, Tally
from edge_resad.device.post import Post
from edge_resad.device.progress import Progress, VitalSigns
from edge_resad.device.publisher import Publisher, Timing
from edge_resad.device.rtsp import without_password
from edge_resad.device.settings import StationFile, load_station, split_source
from edge_resad.device.signals import stopped_by_signals
from edge_resad.device.spool import Spool
from edge_resad.device.stages import Stages, StageTimes, said
from edge_resad.device.verdict_log import VerdictLog, as_record
from edge_resad.device.watch import Limits, Watch
from edge_resad.engine.inspector import Inspector
from edge_resad.errors import SpoolError
from edge_resad.messages import Address, gap_message
from edge_resad.overlay import thumbnail

log = logging.getLogger(__name__)

POLL_S = 0.2  # how often a loop without parts looks whether it should stop
FLUSH_S = 1.0  # how long the disk may take for the last messages when the station stops
DELIVER_S = 3.0  # how long the broker may take for the last messages when the camera is at its end
CLOSING = Timing(drain_s=0.5, goodbye_s=0.3, close_s=1.2)  # with all of the above a station stops within 2 s

OpenSource = Callable[[StationFile, threading.Event], FrameSource]
OpenJudge = Callable[[StationFile], AbstractContextManager[Judge]]


@dataclass(frozen=True, kw_only=True)
class StationSummary:
    """What a station did between its start and its stop."""

    passed: int
    failed: int
    not_inspected: Mapping[Reason, int]
    alerts: int
    latency_p50_ms: float | None  # from the picture to the verdict; None where there was no verdict
    latency_p99_ms: float | None
    waiting: int  # messages in the spool's file that the broker does not have yet
    lost: int = 0  # messages that are nowhere: the disk of the spool did not take them
    log_lines_lost: int
    stages: Mapping[str, StageTimes] = field(default_factory=dict)

    @property
    def parts(self) -> int:
        """Every part that passed the camera."""
        return self.passed + self.failed + sum(self.not_inspected.values())

    def __str__(self) -> str:
        reasons = ", ".join(f"{count} {reason.replace('_', ' ')}" for reason, count in self.not_inspected.items())
        says = [f"{_counted(self.parts, 'part')}: {self.passed} passed, {self.failed} failed"]
        says += [f"{sum(self.not_inspected.values())} not inspected ({reasons})"] if reasons else []
        says += [_counted(self.alerts, "alert")]
        if self.latency_p50_ms is not None and self.latency_p99_ms is not None:
            says += [f"from picture to verdict {self.latency_p50_ms:.1f} ms (p99 {self.latency_p99_ms:.1f} ms)"]
        if self.stages:
            says += [f"ms of each stage (p50, p95, p99, max): {said(self.stages)}"]
        if self.waiting:
            says += [f"{_counted(self.waiting, 'message')} {'waits' if self.waiting == 1 else 'wait'} in the spool"]
        says += [f"{_counted(self.lost, 'message')} lost"] if self.lost else []
        says += [f"{_counted(self.log_lines_lost, 'line')} of the verdict log lost"] if self.log_lines_lost else []
        return "; ".join(says)


def _counted(count: int, noun: str) -> str:
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


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
            f"{_counted(summary.lost, 'message')} of this run could not be written to the spool {settings.spool.path} "
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
    stages = stages or Stages()
    halt = VitalSigns()  # the camera's own: it also ends when the inspection fails

    def opened(halt: threading.Event) -> FrameSource:
        return (
            open_source(settings, halt) if open_source else open_camera(settings.camera, stop=halt, products=products)
        )

    source, limits = opened(halt), _limits(settings)
    tally = Tally()
    service = Service.of_environment(describe=lambda: str(tally))
    spool = _spool(settings)
    with spool, ExitStack() as stack:
        judge = stack.enter_context((open_judge or open_inspector)(settings))
        publisher = stack.enter_context(_publisher(settings, spool, judge, stages)) if settings.broker else None
        verdicts = stack.enter_context(_verdict_log(settings))
        stack.enter_context(_metrics(settings, tally, stages, spool, verdicts))
        post, alarm = _post(settings, spool), _alarm(settings, judge)
        watch = Watch(limits) if limits is not None else None
        say = publisher.say_faults if publisher is not None else None
        health = Health(settings.camera.name, watch, post, say) if watch else None
        line = Line(judge, alarm, max_age_s=settings.inspection.max_age_s if source.live else None, watch=watch)
        watched = Capture(source, halt, reopen=opened, silent_s=limits.silent_s if limits is not None else None)
        with _last_word(post, alarm, service, health), watched as capture:
            log.info("station %s inspects %s", settings.station.device, without_password(settings.camera.source))

            def step(frame: Frame) -> Inspection:
                if isinstance(judge, Changeover) and judge.before(frame.image):
                    recipe = judge.product.recipe
                    post.end(alarm.restart(recipe.debounce_k, recipe.debounce_n))
                    if watch is not None:
                        watch.learn_anew()
                return line.step(frame)

            for inspection in _inspections(capture, step, stop, service, Progress(capture), health):
                judged = time.perf_counter()
                post.send(inspection, judge.score_map)
                tally.count(inspection)
                if verdicts is not None:
                    verdicts.append(as_record(inspection))
                if inspection.verdict is not None:
                    outputs_ms = 1e3 * (time.perf_counter() - judged)
                    stages.count(inspection.latency, getattr(judge, "timings", {}), outputs_ms=outputs_ms)
                if on_inspection is not None:
                    on_inspection(inspection)
        if not spool.flush(FLUSH_S):
            log.warning("not all messages are written yet. %s", spool.health() or "The disk is slow.")
        if publisher is not None:
            _deliver(publisher, spool, stop)
    _count_unseen(tally, capture)
    return _summary(tally, stages, spool, verdicts)  # now that the spool is closed: what it could not write is lost


def open_inspector(settings: StationFile) -> AbstractContextManager[Judge]:
    """The inspector of these settings, not yet entered: of one bank, or of the products of a folder."""
    inspection, engine = settings.inspection, settings.engine
    if settings.products is not None:
        return Changeover(open_bundle(inspection.bundle), settings.products, engine)
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
    )


def _inspections(
    capture: Capture,
    line: Callable[[Frame], Inspection],
    stop: threading.Event,
    service: Service,
    progress: Progress,
    health: Health | None,
) -> Iterator[Inspection]:
    clock = Clock()
    while not stop.is_set() and not capture.slot.ended:
        frame = capture.slot.get(POLL_S)
        inspection = line(frame) if frame is not None else None
        if inspection is not None:
            yield inspection
        capture.look()
        if capture.opened:
            if health is not None:
                health.step(clock.monotonic())
            service.ready()  # the inspector was there before the camera
            if progress.step(inspection):
                service.progress()


def _spool(settings: StationFile) -> Spool:
    spool = settings.spool
    address = _address(settings)
    return Spool(
        spool.path,
        max_bytes=spool.max_mb * 10**6,
        max_letters=spool.max_messages,
        gap_topic=address.gap_topic,
        gap_letter=partial(gap_message, address),
        commit_ms=spool.commit_ms,
    )


def _publisher(settings: StationFile, spool: Spool, judge: Judge, stages: Stages) -> Publisher:
    assert settings.broker is not None
    product = judge.product.recipe.product if isinstance(judge, Changeover) else settings.station.product
    birth = {"version": __version__, "product": product, "camera": settings.camera.name}
    return Publisher(
        spool,
        settings.broker,
        settings.station,
        birth=birth,
        stages=stages.times,
        delivery=settings.spool,
        timing=CLOSING,
    )


def _address(settings: StationFile) -> Address:
    station = settings.station
    return Address(site=station.site, line=station.line, device=station.device)


def _post(settings: StationFile, spool: Spool) -> Post:
    station = settings.station
    return Post(
        spool,
        _address(settings),
        product=station.product,
        camera=settings.camera.name,
        draw=thumbnail if settings.spool.thumbnails else None,
    )


def _alarm(settings: StationFile, judge: Judge) -> Alarm:
    if isinstance(judge, Changeover):
        return Alarm(judge.product.recipe.debounce_k, judge.product.recipe.debounce_n)
    return Alarm(settings.inspection.debounce_k, settings.inspection.debounce_n)


@contextmanager
def _last_word(post: Post, alarm: Alarm, service: Service, health: Health | None) -> Iterator[None]:
    """End the alerts that are open when the watch over the line ends, whatever ends it."""
    try:
        yield
    finally:
        service.stopping()
        post.end(alarm.end())
        if health is not None:
            health.end()


def _verdict_log(settings: StationFile) -> AbstractContextManager[VerdictLog | None]:
    told = settings.log
    if told.verdicts is False:
        return nullcontext()
    return VerdictLog(told.verdicts, max_bytes=told.max_mb * 10**6, keep=told.keep)


def _metrics(
    settings: StationFile, tally: Tally, stages: Stages, spool: Spool, verdicts: VerdictLog | None
) -> AbstractContextManager[MetricsFile | None]:
    told, station = settings.metrics, settings.station
    if told.prometheus_file is None:
        return nullcontext()
    place = {"site": station.site, "line": station.line, "device": station.device}
    labels = {**place, "product": station.product, "camera": settings.camera.name}

    def compose() -> str:
        lines_lost = verdicts.lost if verdicts else 0
        return prometheus_text(
            labels, tally, stages, waiting=spool.waiting(), lost=spool.lost, log_lines_lost=lines_lost
        )

    return MetricsFile(told.prometheus_file, compose, every_s=told.every_s)


def _deliver(publisher: Publisher, spool: Spool, stop: threading.Event) -> None:
    """Give the last messages of a finite camera a moment to reach the broker; the rest goes with the next start."""
    deadline = time.monotonic() + DELIVER_S
    while spool.waiting() and publisher.status.problem is None and time.monotonic() < deadline and not stop.is_set():
        time.sleep(0.02)  # not stop.wait(): a signal handler may set the event in this very thread


def _limits(settings: StationFile) -> Limits | None:
    """What the camera's pictures must be like; None where they are drawn."""
    told, kind = settings.watch, split_source(settings.camera.source)[0]
    if kind == "synthetic":
        return None
    is_camera = kind not in ("folder", "video")
    repeats = kind != "rtsp" or "frozen_s" in told.model_fields_set  # H.264 of a still scene repeats itself
    slowest_s = 2 / settings.camera.fps if settings.camera.fps else 0.0  # between two frames
    return Limits(
        black=told.black,
        white=told.white,
        dark=told.dark,
        bright=told.bright,
        blur=told.blur or None,
        frozen_s=told.frozen_s if is_camera and repeats and told.frozen_s else None,
        silent_s=max(told.silent_s, slowest_s) if is_camera and told.silent_s else None,
        one_size=is_camera,
    )


def _count_unseen(tally: Tally, capture: Capture) -> None:
    slot = capture.slot
    unseen: dict[Reason, int] = {
        "overwritten": slot.overwritten, "unreadable": capture.unreadable, "stopped": slot.left
    }  # fmt: skip
    tally.not_inspected.update({reason: count for reason, count in unseen.items() if count})


def _summary(tally: Tally, stages: Stages, spool: Spool, verdicts: VerdictLog | None) -> StationSummary:
    return StationSummary(
        passed=tally.passed,
        failed=tally.failed,
        not_inspected=dict(tally.not_inspected),
        alerts=tally.alerts,
        latency_p50_ms=tally.latency_ms(50),
        latency_p99_ms=tally.latency_ms(99),
        waiting=spool.waiting(),
        lost=spool.lost,
        log_lines_lost=verdicts.lost if verdicts else 0,
        stages=stages.times(),
    )
