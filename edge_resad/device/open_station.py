"""A station that runs: all that it consists of, opened and closed in an order that counts."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from functools import partial
from types import TracebackType

from edge_resad import __version__
from edge_resad.device.camera import Products, open_camera
from edge_resad.device.changeover import Changeover
from edge_resad.device.commands.commands import Commands
from edge_resad.device.control import Command
from edge_resad.device.device_name import DeviceName
from edge_resad.device.faults import Faults
from edge_resad.device.frame import Clock, FrameSource
from edge_resad.device.health import SayFaults
from edge_resad.device.judges import OpenJudge, keep_warm, reviving_judges
from edge_resad.device.lane import Lane, OpenSource
from edge_resad.device.machine import Machine, MachineHealth, MachineLook
from edge_resad.device.machine_ids import machine_ids
from edge_resad.device.metrics import (
    MetricsFile,
    acknowledgements_text,
    commands_text,
    pictures_text,
    prometheus_text,
)
from edge_resad.device.notify import Service
from edge_resad.device.operator_side import OperatorSide, product_facts
from edge_resad.device.output_health import OutputHealth
from edge_resad.device.outputs import open_outputs
from edge_resad.device.pictures.commands import register_pictures
from edge_resad.device.pictures.pictures import Pictures
from edge_resad.device.pipeline import Inspection, Judge, Tally
from edge_resad.device.post import Post, end_interrupted
from edge_resad.device.preparer import Preparer
from edge_resad.device.pressure import Pressure
from edge_resad.device.progress import StationProgress
from edge_resad.device.publisher import Publisher, Timing
from edge_resad.device.rota import Rota
from edge_resad.device.rtsp import without_password
from edge_resad.device.settings import CameraSection, StationFile, split_source
from edge_resad.device.sparkplug.sparkplug import Sparkplug
from edge_resad.device.sparkplug.station_view import StationView
from edge_resad.device.spool import Spool
from edge_resad.device.stages import Stages
from edge_resad.device.summary import StationSummary
from edge_resad.device.telemetry import Telemeter
from edge_resad.device.trigger import TRIGGER_SAYS, Triggers
from edge_resad.device.unseen import MissedPart
from edge_resad.device.verdict_log import VerdictLog, as_record
from edge_resad.messages import Severity, gap_message

log = logging.getLogger(__name__)

POLL_S = 0.2  # how often a loop without parts looks whether it should stop
FLUSH_S = 1.0  # how long the disk may take for the last messages when the station stops
DELIVER_S = 3.0  # how long the broker may take for the last messages when the camera is at its end
OUTPUTS = "outputs"  # stands for a camera's name where it is an output that something is wrong with
MACHINE = "machine"  # so does this, where it is the machine
CLOSING = Timing(drain_s=0.5, goodbye_s=0.3, close_s=1.2)  # with all of the above a station stops within 2 s


class OpenStation:
    """Entered, all of a station is open and only its cameras are not read yet; left, it can say what it did."""

    def __init__(
        self,
        settings: StationFile,
        *,
        stop: threading.Event,
        products: Products | None = None,
        open_source: OpenSource | None = None,
        open_judge: OpenJudge | None = None,
        stages: Stages | None = None,
    ) -> None:
        """stop: ends `parts`.

        products: who draws the parts of a synthetic camera.
        open_source, open_judge: how to open a camera and its judge, otherwise than the settings say.
        stages: where stage times are counted; the station's own without it.
        """
        self.lanes: list[Lane] = []
        self.stages = stages or Stages()
        self._settings = settings
        self._stop = stop
        self._products = products
        self._open_source = open_source
        self._open_judge = open_judge
        self._changed = threading.Condition()  # notified whenever there is news of a camera
        self._has_begun = False
        self._without: set[str] = set()  # cameras that were missing at the start, as far as it is said
        self._service = Service.of_environment(describe=self._in_one_line)
        self._preparer = Preparer(lambda: self._rota.coming(), lambda lane, frame: self.lanes[lane].make_ready(frame))
        self._open = ExitStack()

    def __enter__(self) -> OpenStation:
        settings = self._settings
        with ExitStack() as opening:
            enter = opening.enter_context
            self.spool = enter(_spool(settings))
            end_interrupted(self.spool, settings.station.address)  # before this run has an alert of its own
            self.outputs = enter(open_outputs(settings))  # first: safe while the engine is made ready
            self.people = enter(OperatorSide(settings))
            self.revival = enter(reviving_judges(settings, self._open_judge, self._stop))
            publisher = self.publisher = self._publisher() if settings.broker else None
            self.commands = (
                Commands(settings, publisher, self.spool) if publisher is not None and settings.commands.on else None
            )
            if publisher is not None:
                enter(publisher)  # after the commands: what waits at the broker comes at once
            self.people.connect(publisher)
            self.verdicts = enter(_verdict_log(settings))
            self.pictures = enter(_pictures(settings, publisher))
            register_pictures(self.people.controls, self.pictures)
            if self.pictures is not None:
                self.people.watch("pictures", self.pictures.health)
            judged = zip(settings.cameras, self.revival.judges, strict=True)
            self.lanes = [self._lane(camera, judge) for camera, judge in judged]
            self._rota = Rota([lane.capture.slot for lane in self.lanes], self._changed)
            self.people.open_desk(
                self.lanes, self.spool, outputs=lambda: self.outputs.status, pressures=self._pressures
            )
            triggers = {lane.name: lane.trigger for lane in self.lanes}
            if any(trigger is not None for trigger in triggers.values()):
                self.people.controls.register("trigger", Triggers(triggers).command, TRIGGER_SAYS)
            self.output_health = self._output_health(opening)
            self.machine = enter(self._machine())
            enter(self._metrics_file())
            self.people.controls.register(
                "restart", _restart(self._stop), "restart: end the station, to be started again"
            )
            if publisher is not None:
                look, queues = self._last_look, self._queue_facts
                enter(Telemeter(settings, publisher, self.spool, self.stages, self.lanes, look, queues))
            self._show_by_sparkplug(enter)
            self._open = opening.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None, /
    ) -> None:
        self._open.__exit__(kind, error, trace)
        for lane in self.lanes:
            lane.count_unseen()  # only now do its parts not grow any more

    @property
    def tally(self) -> Tally:
        """What became of the parts of all cameras so far."""
        return Tally.of(lane.tally for lane in self.lanes)

    @contextmanager
    def running(self) -> Iterator[None]:
        """While the context lasts cameras are read and commands of the fleet carried out."""
        with ExitStack() as running:
            running.enter_context(self._preparer)
            for lane in self.lanes:
                running.enter_context(lane)
            running.callback(self._service.stopping)
            running.callback(self.outputs.stopping)
            running.callback(self._leave)  # while outputs still take signals
            if self.commands is not None:
                self.commands.begin(self.people.controls, self.people.errands, self.lanes, self.pictures)
                running.enter_context(self.commands)
            sources = ", ".join(without_password(camera.source) for camera in self._settings.cameras)
            log.info("station %s inspects %s", self._settings.station.device, sources)
            yield

    def parts(self) -> Iterator[tuple[Lane, Inspection]]:
        """Every part of every camera, judged in turn, until all cameras are at their end or the station is stopped."""
        lanes, people, outputs, stop = self.lanes, self.people, self.outputs, self._stop
        clock = Clock()
        progress = StationProgress()
        while not stop.is_set() and not all(lane.capture.slot.ended for lane in lanes):
            people.errands.do()
            outputs.at_work(False)
            people.at_work(False)
            turn = self._rota.next(POLL_S)
            outputs.at_work(True)
            people.at_work(True)
            inspection, lane = None, None
            if turn is not None:
                lane = lanes[turn[0]]
                self._preparer.judging(True)
                inspection = lane.step(turn[1])
                yield lane, inspection
                self._preparer.judging(False)
            elif self._settings.engine.provider != "cpu":  # a CPU needs no such thing
                keep_warm(self.revival.judges)
            for one in lanes:
                self._tell_missed(one, one.missed())
            if self.revival.step(inspection):
                for one, judge in zip(lanes, self.revival.judges, strict=True):
                    one.put(judge)
            now = clock.monotonic()
            if self.output_health is not None:
                self.output_health.step(now)
            paces = {one.name: one.look(now, inspection if one is lane else None) for one in lanes}
            outputs.alive({name: pace in ("on", "over") for name, pace in paces.items()})
            self._begin()
            if progress.step(paces):
                self._service.progress()
        people.at_work(False)

    def say(self, lane: Lane, inspection: Inspection) -> None:
        """Hand on what became of a part to all whom it concerns, the most urgent first."""
        judged = time.perf_counter()
        self.outputs.judged(inspection)  # before disk and network
        signalled = time.perf_counter()
        event_ids = lane.say(inspection)
        if self.verdicts is not None:
            self.verdicts.append(as_record(inspection))
        if self.pictures is not None:
            self.pictures.keep(inspection, lane.judge.score_map, event_ids=event_ids)
        lane.chart(inspection)
        if inspection.verdict is not None:
            signal_ms, outputs_ms = 1e3 * (signalled - judged), 1e3 * (time.perf_counter() - judged)
            self.stages.count(inspection.latency, lane.timings, signal_ms=signal_ms, outputs_ms=outputs_ms)
        self.people.inspected(inspection, lane.judge)

    def deliver(self) -> None:
        """Give the last messages a moment to reach the disk and the broker; the rest goes with the next start."""
        if not self.spool.flush(FLUSH_S):
            log.warning("not all messages are written yet. %s", self.spool.health() or "The disk is slow.")
        if self.publisher is None:
            return
        deadline = time.monotonic() + DELIVER_S
        while self.spool.waiting() and self.publisher.status.problem is None and time.monotonic() < deadline:
            if self._stop.is_set():
                return
            time.sleep(0.02)  # not stop.wait(): a signal handler may set the event in this very thread

    def summary(self) -> StationSummary:
        """What it did. To be asked when it is closed: what the spool could not write by then is lost."""
        tally = self.tally
        return StationSummary(
            passed=tally.passed,
            failed=tally.failed,
            not_inspected=dict(tally.not_inspected),
            alerts=tally.alerts,
            latency_p50_ms=tally.latency_ms(50),
            latency_p99_ms=tally.latency_ms(99),
            waiting=self.spool.waiting(),
            lost=self.spool.lost,
            log_lines_lost=self.verdicts.lost if self.verdicts else 0,
            pictures_not_kept=self.pictures.not_kept.total() if self.pictures else 0,
            stages=self.stages.times(),
            cameras={lane.name: lane.tally for lane in self.lanes},
            outputs=self.outputs.status,
        )

    def _begin(self) -> None:
        """Be ready once every camera is open, or known to be missing while another one is there.

        Raises:
            CameraError: none of them is there.
        """
        if self._has_begun:
            return
        captures = [lane.capture for lane in self.lanes]
        are_known = all(one.opened or one.is_looked_for for one in captures) and any(one.opened for one in captures)
        missing = [capture.missing for capture in captures]  # now: one that is known to be missing is said to be
        if missing[0] is not None and all(missing):
            raise missing[0]
        for lane, error in zip(self.lanes, missing, strict=True):
            if error is not None and lane.name not in self._without:
                self._without.add(lane.name)
                log.error("camera %s: %s It is looked for; the others inspect", lane.name, error)
        if are_known:
            self._has_begun = True
            self._service.ready()  # the inspector was there before the cameras

    def _in_one_line(self) -> str:
        away = ", ".join(lane.name for lane in self.lanes if lane.is_away)
        return f"{self.tally}; no picture from {away}" if away else str(self.tally)

    def _leave(self) -> None:
        """Take no more parts. Those that came and that nobody looked at are told as all others are."""
        for lane in self.lanes:
            self._tell_missed(lane, lane.leave())

    def _tell_missed(self, lane: Lane, missed: Iterable[MissedPart]) -> None:
        for reason, there_mono in missed:
            self.people.missed(reason)
            if not self.people.is_bypassed():  # or a bypass would reject what nobody looks at
                self.outputs.missed(reason, lane.name, there_mono)

    def _publisher(self) -> Publisher:
        settings = self._settings
        assert settings.broker is not None
        products: dict[str, tuple[str, int | None]] = {
            camera.name: (judge.product.recipe.product, judge.product.version)
            if isinstance(judge, Changeover)
            else (settings.of_camera(camera).station.product, None)
            for camera, judge in zip(settings.cameras, self.revival.judges, strict=True)
        }
        birth = {"version": __version__, **product_facts(settings, products)}
        return Publisher(
            self.spool,
            settings.broker,
            settings.station,
            birth=birth,
            stages=self.stages.times,
            changing=lambda: {**self.outputs.facts(), **self._queue_facts()},
            delivery=settings.spool,
            timing=CLOSING,
        )

    def _lane(self, camera: CameraSection, judge: Judge) -> Lane:
        kind, path = split_source(camera.source)
        name = DeviceName(path) if kind == "v4l2" else None  # one for all its readers: the first may hang and be left

        def opened(told: StationFile, halt: threading.Event) -> FrameSource:
            return open_camera(told.camera, stop=halt, products=self._products, name=name)

        return Lane(
            self._settings.of_camera(camera),
            judge,
            self.spool,
            self._open_source or opened,
            say=self._say_faults,
            changed=self._changed,
            is_bypassed=self.people.is_bypassed,
            may_be_missing=len(self._settings.cameras) > 1,
            arrived=self._preparer.arrived,
        )

    def _show_by_sparkplug(self, enter: Callable[[Sparkplug], Sparkplug]) -> None:
        settings, people = self._settings, self.people
        if settings.sparkplug is None or settings.broker is None:
            return
        view = StationView(
            self.lanes,
            people.board,
            self.spool,
            bypass=lambda: people.bypass.now,
            outputs=lambda: self.outputs.status,
            machine=MACHINE,
        )
        bd_seq_file = settings.spool.path.with_suffix(".bdseq")
        device = settings.station.device
        sparkplug = enter(Sparkplug(settings.sparkplug, settings.broker, view, device=device, bd_seq_file=bd_seq_file))
        people.watch("sparkplug", sparkplug.problem)

    def _say_faults(self, faults: Mapping[str, tuple[str, ...]]) -> None:
        """What is wrong with a camera is of interest to its outputs, to people and to the broker."""
        self.outputs.faults(faults)
        self.people.say_faults(faults)

    def _machine(self) -> AbstractContextManager[Machine | None]:
        told = self._settings.machine
        if not told.watch:
            return nullcontext()
        faults = self._faults(MACHINE, "the machine", say=self.people.say_faults, severity="major")
        health = MachineHealth(low_memory_mb=told.low_memory_mb, low_disk_mb=told.low_disk_mb)
        tell = self.publisher.say_machine if self.publisher is not None else None
        return Machine(self._settings.spool.path.parent, faults, health, every_s=told.every_s, tell=tell)

    def _last_look(self) -> MachineLook | None:
        return None if self.machine is None else self.machine.last

    def _pressures(self) -> dict[str, Pressure]:
        """Of the cameras whose parts wait in a queue. From any thread."""
        return {lane.name: pressure for lane in self.lanes if (pressure := lane.pressure) is not None}

    def _queue_facts(self) -> dict[str, object]:
        """What state and telemetry say of the parts that wait; nothing where there is no queue."""
        said = {
            camera: {"now": pressure.waiting, "most": pressure.most, "behind": pressure.is_behind}
            for camera, pressure in self._pressures().items()
        }
        return {"waiting_parts": said} if said else {}

    def _output_health(self, opening: ExitStack) -> OutputHealth | None:
        """None where there are no outputs. People have a light for each output anyway, and the log a line."""
        if not self._settings.outputs:
            return None
        say = self.publisher.say_faults if self.publisher is not None else None
        faults = self._faults(OUTPUTS, None, say=say, severity="critical")
        opening.callback(faults.end)
        return OutputHealth(self.outputs, faults)

    def _faults(self, thing: str, what: str | None, *, say: SayFaults | None, severity: Severity) -> Faults:
        """Faults of a thing that is no camera: thing stands for a camera's name, what begins the lines of the log."""
        station = self._settings.station
        post = Post(self.spool, station.address, product=station.product, camera=thing, draw=None)
        return Faults(what, post, None if say is None else lambda said: say({thing: said}), severity=severity)

    def _metrics_file(self) -> AbstractContextManager[MetricsFile | None]:
        told = self._settings.metrics
        if told.prometheus_file is None:
            return nullcontext()
        return MetricsFile(told.prometheus_file, self._metrics, every_s=told.every_s)

    def _metrics(self) -> str:
        station, spool, pictures, commands = self._settings.station, self.spool, self.pictures, self.commands
        labels = {"site": station.site, "line": station.line, "device": station.device}
        lanes = [({"camera": lane.name, "product": lane.product}, lane) for lane in self.lanes]
        text = prometheus_text(
            labels,
            [
                ({"camera": lane.name, "product": product}, tally)
                for lane in self.lanes
                for product, tally in lane.tallies.items()
            ],
            self.stages,
            waiting=spool.waiting(),
            lost=spool.lost,
            log_lines_lost=self.verdicts.lost if self.verdicts else 0,
            dead=spool.dead,
            dropped=spool.dropped,
            pressures=[({"camera": camera}, pressure) for camera, pressure in self._pressures().items()],
            outputs=self.outputs.status,
            drift=[(named, lane.drift.shares) for named, lane in lanes if lane.drift],
            machine=self._last_look(),
            revivals=self.revival.revivals,
        )
        text += pictures_text(labels, pictures.kept, pictures.not_kept) if pictures else ""
        text += acknowledgements_text(labels, self.publisher.refused_acknowledgements) if self.publisher else ""
        return text + commands_text(labels, commands.counts, commands.refused) if commands else text


def _spool(settings: StationFile) -> Spool:
    spool, station = settings.spool, settings.station
    address = station.address
    return Spool(
        spool.path,
        max_bytes=spool.max_mb * 10**6,
        max_letters=spool.max_messages,
        gap_topic=address.gap_topic,
        gap_letter=partial(gap_message, address),
        commit_ms=spool.commit_ms,
        machine=machine_ids(),
    )


def _verdict_log(settings: StationFile) -> AbstractContextManager[VerdictLog | None]:
    told = settings.log
    if told.verdicts is False:
        return nullcontext()
    return VerdictLog(told.verdicts, max_bytes=told.max_mb * 10**6, keep=told.keep)


def _pictures(settings: StationFile, publisher: Publisher | None) -> AbstractContextManager[Pictures | None]:
    told = settings.pictures
    if told.folder is False or not told.folder.is_absolute():  # settings of no file have no folder to be beside
        return nullcontext()
    return Pictures(
        told.folder,
        max_bytes=told.max_mb * 10**6,
        min_free_bytes=told.min_free_mb * 10**6,
        rejects=told.rejects,
        passes=told.passes,
        not_inspected=told.not_inspected,
        say=partial(publisher.say_problem, "pictures") if publisher is not None else None,
    )


def _restart(stop: threading.Event) -> Command:
    def command(_arguments: dict[str, object]) -> Mapping[str, str]:
        log.warning("the station was told to end, to be started again")
        stop.set()
        return {"station": "ends"}

    return command
