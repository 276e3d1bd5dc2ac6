"""The station: camera, inspector, spool and broker put together, from the first part to the last."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, nullcontext
from functools import partial
from pathlib import Path

from edge_resad import __version__
from edge_resad.bundle import Precision
from edge_resad.device.camera import Products, open_camera
from edge_resad.device.changeover import Changeover
from edge_resad.device.commands.commands import Commands
from edge_resad.device.control import Command
from edge_resad.device.faults import Faults, Roll
from edge_resad.device.frame import Clock
from edge_resad.device.health import SayFaults
from edge_resad.device.judges import OpenJudge, keep_warm, reviving_judges
from edge_resad.device.lane import Lane, OpenSource
from edge_resad.device.machine import Machine, MachineHealth, MachineLook
from edge_resad.device.machine_ids import machine_ids
from edge_resad.device.metrics import MetricsFile, commands_text, pictures_text, prometheus_text
from edge_resad.device.notify import Service
from edge_resad.device.operator_side import OperatorSide, product_facts
from edge_resad.device.output_health import OutputHealth
from edge_resad.device.outputs import Outputs, open_outputs
from edge_resad.device.pictures.commands import register_pictures
from edge_resad.device.pictures.pictures import Pictures
from edge_resad.device.pipeline import Inspection, Judge, Tally
from edge_resad.device.post import Post, end_interrupted
from edge_resad.device.publisher import Publisher, Timing
from edge_resad.device.revival import Revival
from edge_resad.device.rota import Rota
from edge_resad.device.rtsp import without_password
from edge_resad.device.settings import EngineSection, StationFile, load_station
from edge_resad.device.spool import Spool
from edge_resad.device.stages import Stages
from edge_resad.device.summary import StationSummary, counted
from edge_resad.device.telemetry import Telemeter
from edge_resad.device.trigger import TRIGGER_SAYS, Triggers
from edge_resad.device.verdict_log import VerdictLog, as_record
from edge_resad.errors import SpoolError
from edge_resad.messages import gap_message
from edge_resad.signals import stopped_by_signals

log = logging.getLogger(__name__)

POLL_S = 0.2  # how often a loop without parts looks whether it should stop
FLUSH_S = 1.0  # how long the disk may take for the last messages when the station stops
DELIVER_S = 3.0  # how long the broker may take for the last messages when the camera is at its end
OUTPUTS = "outputs"  # so does this, where it is an output
MACHINE = "machine"  # stands for a camera's name where it is the machine that something is wrong with
CLOSING = Timing(drain_s=0.5, goodbye_s=0.3, close_s=1.2)  # with all of the above a station stops within 2 s


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
    stages, tally = stages or Stages(), Tally()
    service = Service.of_environment(describe=lambda: str(tally))
    spool = _spool(settings)
    with spool, ExitStack() as stack:
        end_interrupted(spool, settings.station.address)  # before this run has an alert of its own
        outputs = stack.enter_context(open_outputs(settings))  # first: safe while the engine is made ready
        people = stack.enter_context(OperatorSide(settings))
        revival = stack.enter_context(reviving_judges(settings, open_judge, stop))
        judges = revival.judges
        publisher = _publisher(settings, spool, judges, stages, outputs) if settings.broker else None
        commands = Commands(settings, publisher, spool) if publisher is not None and settings.commands.on else None
        if publisher is not None:
            stack.enter_context(publisher)  # after the commands: what waits at the broker comes at once
        people.connect(publisher)
        verdicts = stack.enter_context(_verdict_log(settings))
        pictures = stack.enter_context(_pictures(settings, publisher))
        register_pictures(people.controls, pictures)
        if pictures is not None:
            people.watch("pictures", pictures.health)
        lanes, changed = [], threading.Condition()
        for camera, judge in zip(settings.cameras, judges, strict=True):
            open_one = open_source or (lambda told, halt: open_camera(told.camera, stop=halt, products=products))
            say = _say_faults(people, outputs)
            told = settings.of_camera(camera)
            bypassed = people.is_bypassed
            lanes.append(Lane(told, judge, spool, open_one, say=say, changed=changed, is_bypassed=bypassed))
        people.open_desk(lanes, spool, outputs=lambda: outputs.status)
        triggers = {lane.name: lane.trigger for lane in lanes}
        if any(trigger is not None for trigger in triggers.values()):
            people.controls.register("trigger", Triggers(triggers).command, TRIGGER_SAYS)
        health = _output_health(settings, spool, publisher, outputs, stack)
        machine = stack.enter_context(_machine(settings, spool, publisher, people))
        stack.enter_context(
            _metrics(settings, lanes, stages, spool, verdicts, outputs, machine, revival, pictures, commands)
        )
        people.controls.register("restart", _restart(stop), "restart: end the station, to be started again")
        if publisher is not None:
            stack.enter_context(Telemeter(settings, publisher, spool, stages, lanes, lambda: _last(machine)))
        with ExitStack() as running:
            for lane in lanes:
                running.enter_context(lane)
            running.callback(service.stopping)
            running.callback(outputs.stopping)
            if commands is not None:
                commands.begin(people.controls, people.errands, lanes, pictures)
                running.enter_context(commands)
            sources = ", ".join(without_password(camera.source) for camera in settings.cameras)
            log.info("station %s inspects %s", settings.station.device, sources)
            parts = _inspections(lanes, changed, stop, service, outputs, people, revival, settings.engine, health)
            for lane, inspection in parts:
                judged = time.perf_counter()
                outputs.judged(inspection)  # before disk and network
                event_ids = lane.say(inspection)
                tally.count(inspection)
                if verdicts is not None:
                    verdicts.append(as_record(inspection))
                if pictures is not None:
                    pictures.keep(inspection, lane.judge.score_map, event_ids=event_ids)
                lane.chart(inspection)
                if inspection.verdict is not None:
                    outputs_ms = 1e3 * (time.perf_counter() - judged)
                    stages.count(inspection.latency, lane.timings, outputs_ms=outputs_ms)
                people.inspected(inspection, lane.judge)
                if on_inspection is not None:
                    on_inspection(inspection)
        if not spool.flush(FLUSH_S):
            log.warning("not all messages are written yet. %s", spool.health() or "The disk is slow.")
        if publisher is not None:
            _deliver(publisher, spool, stop)
    for lane in lanes:
        tally.not_inspected.update(lane.count_unseen())
    # Now that the spool is closed: what it could not write is lost.
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
        pictures_not_kept=pictures.not_kept.total() if pictures else 0,
        stages=stages.times(),
        cameras={lane.name: lane.tally for lane in lanes},
        outputs=outputs.status,
    )


def _machine(
    settings: StationFile, spool: Spool, publisher: Publisher | None, people: OperatorSide
) -> AbstractContextManager[Machine | None]:
    told, station = settings.machine, settings.station
    if not told.watch:
        return nullcontext()
    address = station.address
    post = Post(spool, address, product=station.product, camera=MACHINE, draw=None)
    roll = Roll(MACHINE, people.say_faults)
    faults = Faults("the machine", post, lambda said: roll.tell(MACHINE, said), severity="major")
    health = MachineHealth(low_memory_mb=told.low_memory_mb, low_disk_mb=told.low_disk_mb)
    tell = publisher.say_machine if publisher is not None else None
    return Machine(settings.spool.path.parent, faults, health, every_s=told.every_s, tell=tell)


def _output_health(
    settings: StationFile, spool: Spool, publisher: Publisher | None, outputs: Outputs, stack: ExitStack
) -> OutputHealth | None:
    """None where there are no outputs. People have a light for each output anyway, and the log a line."""
    if not settings.outputs:
        return None
    station = settings.station
    address = station.address
    post = Post(spool, address, product=station.product, camera=OUTPUTS, draw=None)
    roll = Roll(OUTPUTS, publisher.say_faults if publisher is not None else None)
    faults = Faults(None, post, lambda said: roll.tell(OUTPUTS, said), severity="critical")
    stack.callback(faults.end)
    return OutputHealth(outputs, faults)


def _last(machine: Machine | None) -> MachineLook | None:
    return None if machine is None else machine.last


def _inspections(
    lanes: Sequence[Lane],
    changed: threading.Condition,
    stop: threading.Event,
    service: Service,
    outputs: Outputs,
    people: OperatorSide,
    revival: Revival,
    engine: EngineSection,
    health: OutputHealth | None,
) -> Iterator[tuple[Lane, Inspection]]:
    """Every part of every camera, judged in turn, until all cameras are at their end."""
    clock = Clock()
    slots = [lane.capture.slot for lane in lanes]
    rota = Rota(slots, changed)
    got_on: set[str] = set()  # cameras that got on since the watchdog was last fed
    while not stop.is_set() and not all(slot.ended for slot in slots):
        people.errands.do()
        outputs.at_work(False)
        turn = rota.next(POLL_S)
        outputs.at_work(True)
        inspection, lane = None, None
        if turn is not None:
            lane = lanes[turn[0]]
            inspection = lane.step(turn[1])
            yield lane, inspection
        elif engine.provider != "cpu":  # a CPU needs no such thing
            keep_warm(revival.judges)
        for one in lanes:
            for reason in one.missed():
                people.missed(reason)
                if not people.is_bypassed():  # or a bypass would reject what nobody looks at
                    outputs.missed(reason, one.name)
        if revival.step(inspection):
            for one, judge in zip(lanes, revival.judges, strict=True):
                one.put(judge)
        now = clock.monotonic()
        if health is not None:
            health.step(now)
        got_on.update(one.name for one in lanes if one.look(now, inspection if one is lane else None))
        if all(one.capture.opened for one in lanes):
            service.ready()  # the inspector was there before the cameras
        if len(got_on) == len(lanes):
            service.progress()
            outputs.alive()
            got_on.clear()


def _say_faults(people: OperatorSide, outputs: Outputs) -> SayFaults:
    """What is wrong with a camera is of interest to its outputs, to people and to the broker."""

    def say(faults: Mapping[str, tuple[str, ...]]) -> None:
        outputs.faults(faults)
        people.say_faults(faults)

    return say


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


def _publisher(
    settings: StationFile, spool: Spool, judges: Sequence[Judge], stages: Stages, outputs: Outputs
) -> Publisher:
    assert settings.broker is not None
    products: dict[str, tuple[str, int | None]] = {
        camera.name: (judge.product.recipe.product, judge.product.version)
        if isinstance(judge, Changeover)
        else (settings.of_camera(camera).station.product, None)
        for camera, judge in zip(settings.cameras, judges, strict=True)
    }
    birth = {"version": __version__, **product_facts(settings, products)}
    return Publisher(
        spool,
        settings.broker,
        settings.station,
        birth=birth,
        stages=stages.times,
        changing=outputs.facts,
        delivery=settings.spool,
        timing=CLOSING,
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


def _metrics(
    settings: StationFile,
    lanes: Sequence[Lane],
    stages: Stages,
    spool: Spool,
    verdicts: VerdictLog | None,
    outputs: Outputs,
    machine: Machine | None,
    revival: Revival,
    pictures: Pictures | None,
    commands: Commands | None,
) -> AbstractContextManager[MetricsFile | None]:
    told, station = settings.metrics, settings.station
    if told.prometheus_file is None:
        return nullcontext()
    labels = {"site": station.site, "line": station.line, "device": station.device}

    def compose() -> str:
        lines_lost = verdicts.lost if verdicts else 0
        cameras = [({"camera": lane.name, "product": lane.product}, lane.tally) for lane in lanes]
        text = prometheus_text(
            labels,
            cameras,
            stages,
            waiting=spool.waiting(),
            lost=spool.lost,
            log_lines_lost=lines_lost,
            dead=spool.dead,
            dropped=spool.dropped,
            outputs=outputs.status,
            drift=[({"camera": lane.name, "product": lane.product}, lane.drift.shares) for lane in lanes if lane.drift],
            machine=machine.last if machine is not None else None,
            revivals=revival.revivals,
        )
        text += pictures_text(labels, pictures.kept, pictures.not_kept) if pictures else ""
        return text + commands_text(labels, commands.counts, commands.refused) if commands else text

    return MetricsFile(told.prometheus_file, compose, every_s=told.every_s)


def _restart(stop: threading.Event) -> Command:
    def command(_arguments: dict[str, object]) -> Mapping[str, str]:
        log.warning("the station was told to end, to be started again")
        stop.set()
        return {"station": "ends"}

    return command


def _deliver(publisher: Publisher, spool: Spool, stop: threading.Event) -> None:
    """Give the last messages of a finite camera a moment to reach the broker; the rest goes with the next start."""
    deadline = time.monotonic() + DELIVER_S
    while spool.waiting() and publisher.status.problem is None and time.monotonic() < deadline and not stop.is_set():
        time.sleep(0.02)  # not stop.wait(): a signal handler may set the event in this very thread
