"""What triggers found, as tables, as JSON and as a page with the histograms."""

from __future__ import annotations

import math
import statistics
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from datetime import date
from html import escape
from typing import Any, Literal

from rich.table import Table

from benchmarks.triggers.station import Run
from edge_resad import __version__
from edge_resad.bench.page import STYLE, figure
from edge_resad.bench.report import milliseconds
from edge_resad.device.histogram import Histogram
from edge_resad.device.pipeline import Latency
from edge_resad.page import whole

Kind = Literal["capture_ms", "no_capture_ms", "row", "ahead"]
"""One camera with `[camera.trigger] capture_ms` and without; two cameras whose parts are judged in a row and ahead."""

Runs = Mapping[Kind, Sequence[Run]]
"""Of every kind as many, which followed each other in turns."""

SAYS: Mapping[Kind, str] = {
    "capture_ms": "capture_ms set", "no_capture_ms": "capture_ms not set", "row": "in a row", "ahead": "ahead",
}  # fmt: skip
TIMES = {
    "trigger": "trigger to verdict", "first": "trigger to verdict, judged first",
    "second": "trigger to verdict, judged second", "waiting": "of these: picture waits", "resize": "of these: scaling",
    "engine": "of these: engine",
}  # fmt: skip
COLUMNS = ("p50", "p95", "p99", "max")
BUCKET_MS = 10.0  # of the table; JSON has the histogram's own


def figures(runs: Runs) -> dict[str, Any]:
    """What came out, for JSON."""
    found: dict[str, Any] = {"kinds": {kind: _row(of_kind) for kind, of_kind in runs.items()}}
    return found | {"sooner_ms": _sooner(runs)} if "ahead" in runs else found


def histogram_of(runs: Sequence[Run]) -> Histogram:
    """From the trigger to the verdict; of two cameras, of the part that is judged second."""
    return _times(runs)["second" if runs[0].cameras == 2 else "trigger"]


def gathered(buckets: Sequence[Sequence[float]], width_ms: float = BUCKET_MS) -> dict[int, int]:
    """A histogram's buckets in wider ones: how many durations lie in each, by its number from 0 ms on; gaps are 0."""
    counts: Counter[int] = Counter()
    for middle_ms, count in buckets:
        counts[math.floor(middle_ms / width_ms)] += int(count)
    return {number: counts[number] for number in range(min(counts), max(counts) + 1)} if counts else {}


def tables(found: Mapping[str, Any]) -> list[Table]:
    """All of it for a terminal."""
    table = Table("ms", *COLUMNS)
    for kind, row in found["kinds"].items():
        for name, times in row["times_ms"].items():
            table.add_row(f"{TIMES[name]}, {SAYS[kind]}", *(f"{times[column]:.1f}" for column in COLUMNS))
    return [table, _histogram(found["kinds"])]


def sentences(found: Mapping[str, Any]) -> list[str]:
    """What became of the triggers, and of two cameras what working ahead brings."""
    said = []
    for kind, row in found["kinds"].items():
        reasons = ", ".join(f"{count} {reason}" for reason, count in sorted(row["not_inspected"].items())) or "none"
        account = f"{row['verdicts']} verdicts + {sum(row['not_inspected'].values())} not inspected ({reasons})"
        said.append(f"{SAYS[kind]}: {row['fired']} triggers = {account}")
    if "sooner_ms" in found:
        for which, gain in found["sooner_ms"].items():
            said.append(
                f"ahead, the {which} verdict came {gain['median']:.1f} ms sooner than in a row: median of the runs' "
                f"p50, least {gain['least']:.1f}, most {gain['most']:.1f}"
            )
    return said


def render(found: Mapping[str, Any], runs: Runs, *, day: date) -> str:
    """A page with the histograms."""
    width, height = found["size"]
    judged = "parts that were judged second" if "ahead" in runs else "parts"
    drawn = ((SAYS[kind], histogram_of(of_kind)) for kind, of_kind in runs.items())
    body = [
        f'<header><p class="brand">edge-resad <span>triggers</span></p><h1>{escape(found["machine"])}</h1>'
        f'<p class="lead">From the trigger to the verdict, {escape(found["precision"])}, {width} x {height}, '
        f"{found['fps']:g} frames and {found['rate']:g} triggers a second.</p></header>",
        '<section class="pair">'
        + "".join(figure(name, f"{histogram.count} {judged}.", histogram) for name, histogram in drawn)
        + "</section>",
        "<section><h2>Besides</h2><ul>"
        + "".join(f"<li>{escape(sentence)}</li>" for sentence in sentences(found))
        + "</ul></section>",
        f"<footer><p>edge-resad {__version__}, {day:%d %B %Y}</p></footer>",
    ]
    return whole("edge-resad triggers", "\n".join(body), STYLE)


def _row(runs: Sequence[Run]) -> dict[str, Any]:
    without: Counter[str] = Counter()
    for run in runs:
        without.update(run.not_inspected)
    return {
        "times_ms": {name: milliseconds(histogram) for name, histogram in _times(runs).items() if histogram.count},
        "buckets_ms": [[round(1e3 * middle, 3), count] for middle, count in histogram_of(runs).buckets()],
        "fired": sum(run.fired for run in runs),
        "verdicts": sum(run.verdicts for run in runs),
        "not_inspected": dict(without),
        "adds_up": all(run.adds_up for run in runs),
    }


def _times(runs: Sequence[Run]) -> dict[str, Histogram]:
    stages = {
        name: _merged(run.stages[name] for run in runs if name in run.stages)
        for name in ("trigger", "waiting", "resize", "engine")
    }
    if runs[0].cameras == 1:
        return stages
    pairs = [pair for run in runs for pair in run.pairs()]
    del stages["trigger"]
    first, second = (_counted(pair[which] for pair in pairs) for which in (0, 1))
    return {"first": first, "second": second, **stages}


def _sooner(runs: Runs) -> dict[str, dict[str, float]]:
    """How much sooner verdicts come ahead than in a row, ms: of the p50 of runs that followed each other."""
    found = {}
    for which, name in enumerate(("first", "second")):
        row, ahead = ([_p50_ms(run, which) for run in runs[kind]] for kind in ("row", "ahead"))
        gains = [one - other for one, other in zip(row, ahead, strict=True)]
        told = {"median": statistics.median(gains), "least": min(gains), "most": max(gains)}
        found[name] = {key: round(value, 3) for key, value in told.items()}
    return found


def _p50_ms(run: Run, which: int) -> float:
    return statistics.median(_triggered_ms(pair[which]) for pair in run.pairs())


def _triggered_ms(latency: Latency) -> float:
    assert latency.trigger_ms is not None  # all parts of these cameras are announced
    return latency.trigger_ms


def _counted(latencies: Iterable[Latency]) -> Histogram:
    counted = Histogram()
    for latency in latencies:
        counted.record(1e-3 * _triggered_ms(latency))
    return counted


def _merged(histograms: Iterable[Histogram]) -> Histogram:
    merged = Histogram()
    for histogram in histograms:
        merged.merge(histogram)
    return merged


def _histogram(rows: Mapping[Kind, Any]) -> Table:
    counts = {kind: gathered(row["buckets_ms"]) for kind, row in rows.items()}
    numbers = {number for found in counts.values() for number in found}
    table = Table("ms", *(SAYS[kind] for kind in counts), title="parts, from trigger to verdict", title_justify="left")
    for number in range(min(numbers, default=0), max(numbers, default=-1) + 1):
        span = f"{number * BUCKET_MS:g} to {(number + 1) * BUCKET_MS:g}"
        table.add_row(span, *(str(found.get(number, 0)) for found in counts.values()))
    return table
