"""What a bench found, as JSON and as tables."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict

from rich.console import Group
from rich.table import Table
from rich.text import Text

from edge_resad import __version__
from edge_resad.bench.bench import Figures
from edge_resad.bench.watch import usual
from edge_resad.device.histogram import Histogram

PERCENTS = {"p50": 50.0, "p95": 95.0, "p99": 99.0}
COLUMNS = ("min", *PERCENTS, "max", "cold")


def milliseconds(histogram: Histogram) -> dict[str, float]:
    """min, p50, p95, p99 and max of a histogram, ms."""
    percentiles = {name: histogram.percentile_s(percent) or 0.0 for name, percent in PERCENTS.items()}
    seconds = {"min": histogram.least_s, **percentiles, "max": histogram.most_s}
    return {name: round(1e3 * value, 3) for name, value in seconds.items()}


def as_json(figures: Figures) -> dict[str, object]:
    """One object; what `python -m benchmarks.latency --json` has too has the same name and meaning."""
    request, summary = figures.request, figures.summary
    stages = {name: milliseconds(histogram) for name, histogram in figures.stages.items()}
    bare = milliseconds(figures.bare_engine)
    (around, share), (before_signal, share_to_signal) = overhead(figures), overhead_to_signal(figures)
    return {
        "end_to_end_ms": stages["total"],
        "engine_ms": stages["engine"],
        "stages_ms": stages,
        "bare_engine_ms": bare,
        "overhead_ms": milliseconds(figures.overhead),
        "overhead_of_engine": round(share, 4),
        "overhead_without_resize_ms": round(around - stages["resize"]["p50"], 3),
        "overhead_to_signal_ms": milliseconds(figures.overhead_to_signal),
        "overhead_to_signal_of_engine": round(share_to_signal, 4),
        "overhead_to_signal_without_resize_ms": round(before_signal - stages["resize"]["p50"], 3),
        "end_to_end_minus_bare_engine_ms": {
            what: round(stages["total"][what] - bare[what], 3) for what in ("min", "p50")
        },
        "p99_over_p50": round(stages["total"]["p99"] / stages["total"]["p50"], 3),
        "parts": figures.parts,
        "seconds": round(figures.seconds, 3),
        "parts_per_s": round(figures.per_second, 2),
        "rate": request.rate,
        "queue": request.queue,
        "size": list(request.size),
        "passed": summary.passed,
        "failed": summary.failed,
        "not_inspected": dict(summary.not_inspected),
        "first_part_ms": round(figures.first_stages_ms["total"], 3),
        "first_part_stages_ms": {name: round(took, 3) for name, took in figures.first_stages_ms.items()},
        "cold_stages_ms": {name: round(took, 3) for name, took in figures.cold.stages_ms.items()},
        "cold_start_s": round(figures.cold.seconds, 3),
        "peak_rss_mb": _rounded(figures.cold.peak_rss_mb),
        "allocation": {name: round(value, 1) for name, value in asdict(figures.allocation).items()},
        "station_allocation": {name: round(value, 1) for name, value in asdict(figures.station_allocation).items()},
        "rss_mb_per_h": _rounded(figures.rss_mb_per_h),
        "memory_mb": [[round(at, 1), round(held, 2)] for at, held in usual(figures.memory)],
        "held": {moment: asdict(what) for moment, what in figures.held.items()},
        "heat": asdict(figures.heat),
        "precision": figures.precision,
        "provider": request.provider,
        "threads": request.threads,
        "version": __version__,
        "machine": f"{figures.machine}, load {figures.load[0]:.1f} to {figures.load[1]:.1f}",
    }


def overhead(figures: Figures) -> tuple[float, float]:
    """What a station adds to the engine of the same part, by p50: ms, and as a share of the engine."""
    return _around(figures, figures.overhead)


def overhead_to_signal(figures: Figures) -> tuple[float, float]:
    """The same until the line's outputs have their signal: what is said to disk and network comes after it."""
    return _around(figures, figures.overhead_to_signal)


def _around(figures: Figures, histogram: Histogram) -> tuple[float, float]:
    around, engine = histogram.percentile_s(50) or 0.0, figures.stages["engine"].percentile_s(50) or 0.0
    return 1e3 * around, around / engine if engine else 0.0


def as_table(figures: Figures) -> Group:
    """For a terminal: the stages, and below them everything else in sentences."""
    table = Table()
    table.add_column("stage")
    for column in COLUMNS:
        table.add_column(column, justify="right")
    for name, row in rows(figures).items():
        table.add_row(name, *shown_row(row), end_section=name == "outputs")
    return Group(Text(title(figures)), table, *(Text(sentence) for sentence in sentences(figures)))


def title(figures: Figures) -> str:
    """What was measured, in a line."""
    request = figures.request
    width, height = request.size
    pace = f"{request.rate:g} parts/s" if request.rate else "one part after the other"
    pace += ", another one always waits" if request.queue else ""
    return f"{figures.parts} parts of {width} x {height}, {pace}, {figures.precision} on {request.provider}, ms"


def rows(figures: Figures) -> Mapping[str, Mapping[str, float]]:
    """Name -> figures of every row of the table, by its columns as far as there are some."""
    cold = figures.cold.stages_ms
    found = {
        name: {**milliseconds(histogram), **({"cold": cold[name]} if name in cold else {})}
        for name, histogram in figures.stages.items()
    }
    return {**found, "bare engine": milliseconds(figures.bare_engine)}


def shown_row(row: Mapping[str, float]) -> tuple[str, ...]:
    """What a row says in each column."""
    return tuple(shown(row[column]) if column in row else "" for column in COLUMNS)


def shown(value: float) -> str:
    """Milliseconds with three figures that count."""
    return f"{value:.3f}" if value < 1 else f"{value:.2f}" if value < 100 else f"{value:.0f}"


def sentences(figures: Figures) -> Iterator[str]:
    """Everything that is no stage."""
    summary, cold = figures.summary, figures.cold
    missing = ", ".join(f"{count} {reason.replace('_', ' ')}" for reason, count in summary.not_inspected.items())
    yield (
        f"{figures.per_second:.1f} parts/s; with the warm-up {summary.passed} passed, {summary.failed} failed"
        + (f", not inspected: {missing}" if missing else "")
    )
    (around, share), (to_signal, share_to_signal) = overhead(figures), overhead_to_signal(figures)
    resize = 1e3 * (figures.stages["resize"].percentile_s(50) or 0.0)
    yield (
        f"around the engine {around:.2f} ms a part, {100 * share:.1f} % (p50), of that {to_signal:.2f} ms, "
        f"{100 * share_to_signal:.1f} %, until the line has its signal; scaling the frame takes {resize:.2f}"
    )
    peak = f", peak memory {cold.peak_rss_mb:.0f} MB" if cold.peak_rss_mb is not None else ""
    first_ms = figures.first_stages_ms["total"]
    yield f"cold start {cold.seconds:.2f} s to the first verdict{peak}; first part {first_ms:.1f} ms"
    for who, kept in (("inspection alone", figures.allocation), ("whole station", figures.station_allocation)):
        yield (
            f"allocated per part by the {who}: {kept.kept_bytes:.0f} bytes that stay, "
            f"{kept.temporary_bytes:.0f} that are given back"
        )
    slope = figures.rss_mb_per_h
    yield "memory " + (
        f"grows by {slope:.2f} MB/h" if slope is not None else "slope: takes a run of a minute and a half"
    )
    yield _held(figures, "handles")
    yield _held(figures, "threads")
    yield _heat(figures)
    yield f"{figures.machine}; load {figures.load[0]:.1f} before, {figures.load[1]:.1f} after"


def _held(figures: Figures, what: str) -> str:
    counts = {moment: getattr(held, what) for moment, held in figures.held.items()}
    return f"{what} " + ", ".join(f"{'?' if count is None else count} {moment}" for moment, count in counts.items())


def _heat(figures: Figures) -> str:
    heat = figures.heat
    warmest = f"warmest {heat.warmest_c:.0f} °C ({heat.where})" if heat.warmest_c is not None else "no thermometer"
    slowed = [*heat.alerts]
    slowed += [f"{heat.over_current} times over current"] if heat.over_current else []
    slowed += [f"{heat.hot_cores} times a core too hot"] if heat.hot_cores else []
    return f"{warmest}; " + (f"slowed down: {', '.join(slowed)}" if slowed else "no throttling seen")


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 2)
