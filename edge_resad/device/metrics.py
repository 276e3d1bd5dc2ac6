"""A station's figures for Prometheus: a text file for node_exporter's textfile collector, written now and then."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from operator import attrgetter
from pathlib import Path
from types import TracebackType
from typing import TypeVar

from edge_resad.device.acknowledgements import AckRefusal
from edge_resad.device.commands.commands import Refusal
from edge_resad.device.machine import MachineLook
from edge_resad.device.outputs import OutputStatus
from edge_resad.device.pictures.album import Kind
from edge_resad.device.pictures.pictures import Loss
from edge_resad.device.pipeline import Tally
from edge_resad.device.pressure import Pressure
from edge_resad.device.stages import Stages
from edge_resad.device.worker import Worker
from edge_resad.whole_file import write_whole

log = logging.getLogger(__name__)

BOUNDS_S = (0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0)
QUANTILES = (0.5, 0.95, 0.99)
CLOSE_S = 1.0  # how long the last figures may take when the station stops

Labels = Mapping[str, str]
Value = TypeVar("Value", bound=str)


class MetricsFile:
    """Writes a text to a file every so often, whole or not at all, in a thread of its own; once more at the end.

    A disk that refuses or hangs costs the file its news, never the line its time.
    """

    def __init__(self, path: Path, compose: Callable[[], str], *, every_s: float = 15.0) -> None:
        self.problem: str | None = None  # why the file is not up to date
        self._path = path
        self._compose = compose
        self._every_s = every_s
        self._closing = threading.Event()
        self._writer = Worker(self._work, name="metrics", closing=self._closing)

    def __enter__(self) -> MetricsFile:
        self._writer.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None, /
    ) -> None:
        self._closing.set()
        self._writer.join(CLOSE_S)  # a disk that hangs keeps its thread, not us

    def _work(self) -> None:
        while True:
            last = self._closing.is_set()
            self._write()
            if last:
                return
            self._closing.wait(self._every_s)

    def _write(self) -> None:
        try:
            # Readable for node_exporter, which is somebody else; old figures are worth no wait for the disk.
            write_whole(self._path, self._compose().encode(), mode=0o644, durable=False)
        except Exception as refused:  # whatever it is, the next time may go well
            says = (refused.strerror if isinstance(refused, OSError) else None) or str(refused)
            if self.problem is None:
                log.warning("%s takes no metrics: %s. Make room, or allow it; inspection goes on", self._path, says)
            self.problem = says
            return
        if self.problem is not None:
            log.info("%s takes metrics again", self._path)
        self.problem = None


def prometheus_text(
    labels: Labels,
    cameras: Sequence[tuple[Labels, Tally]],
    stages: Stages,
    *,
    waiting: int,
    lost: int,
    log_lines_lost: int,
    dead: int = 0,
    dropped: int = 0,
    pressures: Sequence[tuple[Labels, Pressure]] = (),
    outputs: Sequence[OutputStatus] = (),
    drift: Sequence[tuple[Labels, Mapping[str, float]]] = (),
    machine: MachineLook | None = None,
    revivals: int = 0,
) -> str:
    """All figures in Prometheus's text format, version 0.0.4.

    labels: of every figure, such as device.
    cameras: what became of parts, with the labels that say of which camera and product.
    waiting, lost: messages in the spool, and those that its disk did not take.
    dead, dropped: messages that the broker never takes, and those that were given up.
    pressures: of the cameras whose parts wait in a queue, with the labels that say which camera.
    drift: how far each camera's charts are from saying something, with the labels that say which camera.
    revivals: times that the engine was opened again.
    """
    counted = [({**labels, **camera}, tally) for camera, tally in cameras]
    parts = [({**which, "status": status}, count) for which, tally in counted for status, count in _fates(tally)]
    reasons = [one for which, tally in counted for one in _by("reason", which, tally.not_inspected)]
    alerts = [(which, tally.alerts) for which, tally in counted]
    lines = [
        *_figure("parts_total", "counter", "Parts, by what became of them.", parts),
        *_figure("not_inspected_total", "counter", "Parts without a verdict, by reason.", reasons),
        *_figure("alerts_total", "counter", "Alerts that began.", alerts),
    ]
    for name, kind, says, value in (
        ("spool_waiting_messages", "gauge", "Messages that are not delivered yet.", waiting),
        ("spool_dead_messages", "gauge", "Messages that the broker never takes.", dead),
        ("spool_dropped_total", "counter", "Messages given up over the life of the spool's stream.", dropped),
        ("messages_lost_total", "counter", "Messages that the disk of the spool did not take.", lost),
        ("log_lines_lost_total", "counter", "Lines that the verdict log did not take.", log_lines_lost),
        ("engine_revivals_total", "counter", "Times that the engine was opened again because it failed.", revivals),
    ):
        lines += _figure(name, kind, says, [(labels, value)])
    lines += _pressure_lines([({**labels, **camera}, pressure) for camera, pressure in pressures])
    lines += _output_lines(labels, outputs)
    lines += _stage_lines(labels, stages)
    if drift:
        says = "How far a chart is from saying that something drifts: 1 is its limit."
        shares = [
            ({**labels, **camera, "chart": chart}, share) for camera, found in drift for chart, share in found.items()
        ]
        lines += _figure("drift_share", "gauge", says, shares)
    lines += _machine_lines(labels, machine) if machine is not None else ()
    return _text(lines)


def pictures_text(labels: Labels, kept: Mapping[Kind, int], not_kept: Mapping[Loss, int]) -> str:
    """The figures of the pictures that stay on the device, as `prometheus_text` gives the others."""
    kept_says = "Pictures of parts that were kept, by kind."
    not_kept_says = "Pictures that were to be kept and were not, by reason."
    return _text(
        _figure("pictures_kept_total", "counter", kept_says, _by("kind", labels, kept)),
        _figure("pictures_not_kept_total", "counter", not_kept_says, _by("reason", labels, not_kept)),
    )


def commands_text(labels: Labels, done: Mapping[str, int], refused: Mapping[Refusal, int]) -> str:
    """The figures of what the fleet told this station, as `prometheus_text` gives the others."""
    done_says = "Commands of the fleet, by what became of them."
    refused_says = "Messages that were no command for this station, by why."
    return _text(
        _figure("commands_total", "counter", done_says, _by("status", labels, done)),
        _figure("commands_refused_total", "counter", refused_says, _by("reason", labels, refused)),
    )


def acknowledgements_text(labels: Labels, refused: Mapping[AckRefusal, int]) -> str:
    """The figures of what collectors say, or who pretends to be one, as `prometheus_text` gives the others."""
    says = "Messages that were no acknowledgement for this station, by why."
    return _text(_figure("acknowledgements_refused_total", "counter", says, _by("reason", labels, refused)))


def _fates(tally: Tally) -> tuple[tuple[str, int], ...]:
    return ("passed", tally.passed), ("failed", tally.failed), ("not_inspected", tally.not_inspected.total())


def _pressure_lines(pressures: Sequence[tuple[Labels, Pressure]]) -> Iterator[str]:
    for name, says, value in (
        ("waiting_parts", "Parts that wait for the inspection with their pictures.", attrgetter("waiting")),
        ("waiting_parts_most", "The most of them over this minute and the one before.", attrgetter("most")),
        (
            "inspection_behind",
            "Whether parts are not inspected, for too many wait or they wait too long.",
            attrgetter("is_behind"),
        ),
    ):
        if pressures:
            yield from _figure(name, "gauge", says, [(which, int(value(pressure))) for which, pressure in pressures])


def _output_lines(labels: Labels, outputs: Sequence[OutputStatus]) -> Iterator[str]:
    if not outputs:
        return
    signals = [
        ({**labels, "output": status.name, "result": result}, count)
        for status in outputs
        for result, count in (("fired", status.fired), ("late", status.late), ("failed", status.failed))
    ]
    says = "Signals to the line: shown, of them late, and not shown."
    yield from _figure("output_signals_total", "counter", says, signals)
    well = [({**labels, "output": status.name}, int(status.problem is None)) for status in outputs]
    yield from _figure("output_ok", "gauge", "Whether an output can be set.", well)


def _stage_lines(labels: Labels, stages: Stages) -> Iterator[str]:
    found = [({**labels, "stage": stage}, histogram) for stage, histogram in stages.histograms().items()]
    yield from _figure("stage_seconds", "histogram", "What a stage of a part's way took.", ())
    for which, histogram in found:
        counts = [(f"{bound:g}", histogram.up_to(bound)) for bound in BOUNDS_S]
        every = max(histogram.count, counts[-1][1])  # a part may have been counted meanwhile
        for bound, count in (*counts, ("+Inf", every)):
            yield _line("stage_seconds_bucket", {**which, "le": bound}, count)
        yield _line("stage_seconds_sum", which, histogram.sum_s)
        yield _line("stage_seconds_count", which, every)
    quantiles = [
        ({**which, "quantile": f"{quantile:g}"}, histogram.percentile_s(100 * quantile) or 0.0)
        for which, histogram in found
        for quantile in QUANTILES
    ]
    says = "Percentiles of a stage since the start, within 1 %."
    yield from _figure("stage_quantile_seconds", "gauge", says, quantiles)
    longest = [(which, histogram.most_s) for which, histogram in found]
    yield from _figure("stage_max_seconds", "gauge", "The longest that a stage took since the start.", longest)


def _machine_lines(labels: Labels, machine: MachineLook) -> Iterator[str]:
    for name, says, value in (
        ("machine_celsius", "The hottest place.", machine.hottest.celsius if machine.hottest else None),
        ("machine_celsius_to_limit", "Degrees to where clocks are lowered, of the closest place.", machine.near_c),
        ("machine_throttled", "Alerts of the kernel that lower clocks now.", len(machine.throttled_now)),
        ("machine_gpu_hertz", "Clock of the GPU.", _hertz(machine.gpu.now_mhz if machine.gpu else None)),
        ("machine_cpu_hertz", "Clock of the fastest core.", _hertz(machine.cpu_mhz)),
        ("machine_memory_free_bytes", "Memory that can be had without swapping.", _bytes(machine.memory_free_mb)),
        ("machine_disk_free_bytes", "Free on the disk of the spool.", _bytes(machine.disk_free_mb)),
    ):
        if value is not None:
            yield from _figure(name, "gauge", says, [(labels, value)])


def _hertz(mhz: float | None) -> float | None:
    return None if mhz is None else mhz * 1e6


def _bytes(mb: float | None) -> float | None:
    return None if mb is None else mb * 1e6


def _by(label: str, labels: Labels, counts: Mapping[Value, int]) -> list[tuple[Labels, int]]:
    """A count for each value of one more label; another thread may go on counting."""
    return [({**labels, label: value}, count) for value, count in sorted(dict(counts).items())]


def _figure(name: str, kind: str, says: str, values: Iterable[tuple[Labels, float]]) -> Iterator[str]:
    """The lines of one figure: what it is, and its value for each set of labels."""
    yield f"# HELP edge_resad_{name} {says}"
    yield f"# TYPE edge_resad_{name} {kind}"
    for labels, value in values:
        yield _line(name, labels, value)


def _line(name: str, labels: Labels, value: float) -> str:
    named = ",".join(f'{key}="{_escaped(text)}"' for key, text in labels.items())
    return f"edge_resad_{name}{{{named}}} {f'{value:.9g}' if isinstance(value, float) else value}"


def _text(*figures: Iterable[str]) -> str:
    return "".join(f"{line}\n" for figure in figures for line in figure)


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace("\n", "\\n").replace('"', '\\"')
