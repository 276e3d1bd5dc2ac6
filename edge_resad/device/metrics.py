"""A station's figures for Prometheus: a text file for node_exporter's textfile collector, written now and then."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from types import TracebackType

from edge_resad.device.commands.commands import Refusal
from edge_resad.device.machine import MachineLook
from edge_resad.device.outputs import OutputStatus
from edge_resad.device.pictures.album import Kind
from edge_resad.device.pictures.pictures import Loss
from edge_resad.device.pipeline import Tally
from edge_resad.device.stages import Stages
from edge_resad.device.worker import Worker
from edge_resad.whole_file import write_whole

log = logging.getLogger(__name__)

BOUNDS_S = (0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0)
QUANTILES = (0.5, 0.95, 0.99)


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
        self._writer.join(timeout=1.0)  # a disk that hangs keeps its thread, not us

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
    labels: Mapping[str, str],
    cameras: Sequence[tuple[Mapping[str, str], Tally]],
    stages: Stages,
    *,
    waiting: int,
    lost: int,
    log_lines_lost: int,
    dead: int = 0,
    dropped: int = 0,
    outputs: Sequence[OutputStatus] = (),
    drift: Sequence[tuple[Mapping[str, str], Mapping[str, float]]] = (),
    machine: MachineLook | None = None,
    revivals: int = 0,
) -> str:
    """All figures in Prometheus's text format, version 0.0.4.

    labels: of every figure, such as device.
    cameras: what became of each camera's parts, with the labels that say which camera.
    waiting, lost: messages in the spool, and those that its disk did not take.
    dead, dropped: messages that the broker never takes, and those that were given up.
    drift: how far each camera's charts are from saying something, with the labels that say which camera.
    revivals: times that the engine was opened again.
    """
    counted = [({**labels, **camera}, tally) for camera, tally in cameras]
    lines = [*_head("parts_total", "counter", "Parts, by what became of them.")]
    for which, tally in counted:
        counts = {"passed": tally.passed, "failed": tally.failed, "not_inspected": tally.not_inspected.total()}
        lines += [_line("parts_total", which, count, status=status) for status, count in counts.items()]
    lines += _head("not_inspected_total", "counter", "Parts without a verdict, by reason.")
    for which, tally in counted:
        reasons = sorted(dict(tally.not_inspected).items())
        lines += [_line("not_inspected_total", which, count, reason=reason) for reason, count in reasons]
    lines += _head("alerts_total", "counter", "Alerts that began.")
    lines += [_line("alerts_total", which, tally.alerts) for which, tally in counted]
    for name, kind, says, value in (
        ("spool_waiting_messages", "gauge", "Messages that are not delivered yet.", waiting),
        ("spool_dead_messages", "gauge", "Messages that the broker never takes.", dead),
        ("spool_dropped_total", "counter", "Messages given up over the life of the spool's stream.", dropped),
        ("messages_lost_total", "counter", "Messages that the disk of the spool did not take.", lost),
        ("log_lines_lost_total", "counter", "Lines that the verdict log did not take.", log_lines_lost),
        ("engine_revivals_total", "counter", "Times that the engine was opened again because it failed.", revivals),
    ):
        lines += [*_head(name, kind, says), _line(name, labels, value)]
    lines += _output_lines(labels, outputs)
    lines += _stage_lines(labels, stages)
    if drift:
        lines += _head("drift_share", "gauge", "How far a chart is from saying that something drifts: 1 is its limit.")
        for camera, shares in drift:
            named = {**labels, **camera}
            lines += [_line("drift_share", named, share, chart=chart) for chart, share in shares.items()]
    lines += _machine_lines(labels, machine) if machine is not None else ()
    return "\n".join(lines) + "\n"


def _output_lines(labels: Mapping[str, str], outputs: Sequence[OutputStatus]) -> Iterator[str]:
    if not outputs:
        return
    yield from _head("output_signals_total", "counter", "Signals to the line: shown, of them late, and not shown.")
    for status in outputs:
        for result, count in (("fired", status.fired), ("late", status.late), ("failed", status.failed)):
            yield _line("output_signals_total", labels, count, output=status.name, result=result)
    yield from _head("output_ok", "gauge", "Whether an output can be set.")
    for status in outputs:
        yield _line("output_ok", labels, int(status.problem is None), output=status.name)


def pictures_text(labels: Mapping[str, str], kept: Mapping[Kind, int], not_kept: Mapping[Loss, int]) -> str:
    """The figures of the pictures that stay on the device, as `prometheus_text` gives the others."""
    lines = [*_head("pictures_kept_total", "counter", "Pictures of parts that were kept, by kind.")]
    lines += [_line("pictures_kept_total", labels, count, kind=kind) for kind, count in sorted(dict(kept).items())]
    lines += _head("pictures_not_kept_total", "counter", "Pictures that were to be kept and were not, by reason.")
    counted = sorted(dict(not_kept).items())
    lines += [_line("pictures_not_kept_total", labels, count, reason=reason) for reason, count in counted]
    return "\n".join(lines) + "\n"


def commands_text(labels: Mapping[str, str], done: Mapping[str, int], refused: Mapping[Refusal, int]) -> str:
    """The figures of what the fleet told this station, as `prometheus_text` gives the others."""
    lines = [*_head("commands_total", "counter", "Commands of the fleet, by what became of them.")]
    lines += [_line("commands_total", labels, count, status=status) for status, count in sorted(dict(done).items())]
    lines += _head("commands_refused_total", "counter", "Messages that were no command for this station, by why.")
    why = sorted(dict(refused).items())
    lines += [_line("commands_refused_total", labels, count, reason=reason) for reason, count in why]
    return "\n".join(lines) + "\n"


def _stage_lines(labels: Mapping[str, str], stages: Stages) -> Iterator[str]:
    found = stages.histograms()
    yield from _head("stage_seconds", "histogram", "What a stage of a part's way took.")
    for stage, histogram in found.items():
        counts = [(f"{bound:g}", histogram.up_to(bound)) for bound in BOUNDS_S]
        every = max(histogram.count, counts[-1][1])  # a part may have been counted meanwhile
        for bound, count in (*counts, ("+Inf", every)):
            yield _line("stage_seconds_bucket", labels, count, stage=stage, le=bound)
        yield _line("stage_seconds_sum", labels, histogram.sum_s, stage=stage)
        yield _line("stage_seconds_count", labels, every, stage=stage)
    yield from _head("stage_quantile_seconds", "gauge", "Percentiles of a stage since the start, within 1 %.")
    for stage, histogram in found.items():
        for quantile in QUANTILES:
            value = histogram.percentile_s(100 * quantile) or 0.0
            yield _line("stage_quantile_seconds", labels, value, stage=stage, quantile=f"{quantile:g}")
    yield from _head("stage_max_seconds", "gauge", "The longest that a stage took since the start.")
    for stage, histogram in found.items():
        yield _line("stage_max_seconds", labels, histogram.most_s, stage=stage)


def _machine_lines(labels: Mapping[str, str], machine: MachineLook) -> Iterator[str]:
    for name, says, value in (
        ("machine_celsius", "The hottest place.", machine.hottest.celsius if machine.hottest else None),
        ("machine_celsius_to_limit", "Degrees to where clocks are lowered, of the closest place.", machine.near_c),
        ("machine_throttled", "Alerts of the kernel that lower clocks now.", len(machine.throttled_now)),
        ("machine_gpu_hertz", "Clock of the GPU.", _hertz(machine.gpu.now_mhz if machine.gpu else None)),
        ("machine_memory_free_bytes", "Memory that can be had without swapping.", _bytes(machine.memory_free_mb)),
        ("machine_disk_free_bytes", "Free on the disk of the spool.", _bytes(machine.disk_free_mb)),
    ):
        if value is not None:
            yield from (*_head(name, "gauge", says), _line(name, labels, value))


def _hertz(mhz: float | None) -> float | None:
    return None if mhz is None else mhz * 1e6


def _bytes(mb: float | None) -> float | None:
    return None if mb is None else mb * 1e6


def _head(name: str, kind: str, says: str) -> tuple[str, str]:
    return f"# HELP edge_resad_{name} {says}", f"# TYPE edge_resad_{name} {kind}"


def _line(name: str, labels: Mapping[str, str], value: float, **more: str) -> str:
    named = ",".join(f'{key}="{_escaped(text)}"' for key, text in {**labels, **more}.items())
    return (
        f"edge_resad_{name}{{{named}}} {value:.9g}"
        if isinstance(value, float)
        else (f"edge_resad_{name}{{{named}}} {value}")
    )


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace("\n", "\\n").replace('"', '\\"')
