"""How long each stage of a part's way takes, over all parts that were judged."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from edge_resad.device.histogram import Histogram
from edge_resad.device.pipeline import Latency

JUDGE_STAGES = ("resize", "engine", "decide")
"""What every inspector times; one that has more stages names them by itself."""


@dataclass(frozen=True, kw_only=True)
class StageTimes:
    """What one stage took, milliseconds."""

    p50: float
    p95: float
    p99: float
    max: float

    def __str__(self) -> str:
        return " ".join(_short(value) for value in (self.p50, self.p95, self.p99, self.max))


class Stages:
    """A histogram for every stage: waiting, what the inspector times, outputs, and what several of them take together.

    waiting: from the picture until the line takes it. outputs: from the verdict until all that is said of the part was
    handed on. signal: from the picture until the line's outputs have their signal, which is the first thing said.
    total: from the picture until all was handed on. trigger: from the trigger to the verdict, of parts that one
    announced.
    """

    def __init__(self) -> None:
        self.last_ms: dict[str, float] = {}  # of the last part that was judged
        self._histograms = {
            name: Histogram() for name in ("waiting", *JUDGE_STAGES, "outputs", "signal", "total", "trigger")
        }
        self._names = {f"{name}_ms": name for name in JUDGE_STAGES}  # as inspectors call them -> stage

    def clear(self) -> None:
        """Begin anew, as after a warm-up."""
        for histogram in self._histograms.values():
            histogram.clear()

    def count(self, latency: Latency, timings: Mapping[str, float], *, signal_ms: float, outputs_ms: float) -> None:
        """Take one more part that has a verdict.

        timings:   milliseconds of the judge's own stages, `resize_ms` ...
        signal_ms: from the verdict until the line's outputs had their signal; outputs_ms: until all was handed on.
        """
        self._record("waiting", latency.waiting_ms)
        before = "waiting"
        for timing, milliseconds in timings.items():
            if timing not in self._names:
                self._add(timing, before)
            before = self._names[timing]
            self._record(before, milliseconds)
        self._record("outputs", outputs_ms)
        self._record("signal", latency.total_ms + signal_ms)
        self._record("total", latency.total_ms + outputs_ms)
        if latency.trigger_ms is not None:
            self._record("trigger", latency.trigger_ms)

    def histograms(self) -> Mapping[str, Histogram]:
        """Every stage that any part has gone through, in the order of a part's way."""
        return {name: histogram for name, histogram in self._histograms.items() if histogram.sum_s > 0}

    def times(self) -> dict[str, StageTimes]:
        """Every stage's percentiles; nothing before the first part."""
        return {name: _times(histogram) for name, histogram in self.histograms().items()}

    def _record(self, name: str, milliseconds: float) -> None:
        self.last_ms[name] = milliseconds
        self._histograms[name].record(milliseconds * 1e-3)

    def _add(self, timing: str, before: str) -> None:
        """A stage that this inspector has and others have not, and which one comes before it."""
        name = timing.removesuffix("_ms")
        self._names[timing] = name
        stages = list(self._histograms.items())
        stages.insert(1 + list(self._histograms).index(before), (name, Histogram()))
        self._histograms = dict(stages)  # another thread may walk through the old one


def said(times: Mapping[str, StageTimes]) -> str:
    """The stages as one line: `waiting 0.1 0.2 0.3 0.9, engine ...`."""
    return ", ".join(f"{name} {stage}" for name, stage in times.items())


def _times(histogram: Histogram) -> StageTimes:
    p50, p95, p99 = (1e3 * (histogram.percentile_s(percent) or 0.0) for percent in (50, 95, 99))
    return StageTimes(p50=p50, p95=p95, p99=p99, max=1e3 * histogram.most_s)


def _short(milliseconds: float) -> str:
    return f"{milliseconds:.2f}" if milliseconds < 10 else f"{milliseconds:.1f}"
