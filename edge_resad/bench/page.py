"""A bench as one HTML page: tiles, the histogram of all parts, the stages and memory over time."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date
from html import escape
from pathlib import Path

import numpy as np

from edge_resad import __version__, charts
from edge_resad.bench.bench import Figures
from edge_resad.bench.report import COLUMNS, PERCENTS, overhead, rows, sentences, shown, shown_row, title
from edge_resad.bench.watch import USUAL_S, usual
from edge_resad.device.histogram import Histogram
from edge_resad.page import whole, write_page

SHOWN = 20_000  # durations drawn at most: a bar of fewer parts than one in so many would not be seen
POINTS = 300  # of memory over time at most


def write_bench_page(figures: Figures, path: Path, *, day: date) -> Path:
    """Write the page.

    Raises:
        EdgeResadError: there is no room or no right to write it.
    """
    return write_page(render(figures, day=day), path)


def render(figures: Figures, *, day: date) -> str:
    """The page itself."""
    body = [
        f'<header><p class="brand">edge-resad <span>bench</span></p><h1>{escape(figures.machine)}</h1>'
        f'<p class="lead">{escape(title(figures))}</p></header>',
        _tiles(figures),
        '<section class="pair">'
        + figure("From picture to done", "All parts after the warm-up.", figures.stages["total"])
        + figure("Engine", "Of that, the network with its matching.", figures.stages["engine"])
        + _memory(figures)
        + "</section>",
        f"<section><h2>Stages</h2><p>Milliseconds.</p>{_table(rows(figures))}</section>",
        "<section><h2>Besides</h2><ul>"
        + "".join(f"<li>{escape(sentence)}</li>" for sentence in sentences(figures))
        + "</ul></section>",
        f"<footer><p>edge-resad {__version__}, {day:%d %B %Y}</p></footer>",
    ]
    return whole("edge-resad bench", "\n".join(body), STYLE)


def figure(name: str, note: str, histogram: Histogram) -> str:
    """A histogram of durations with its percentiles marked."""
    marks = [(mark, 1e3 * (histogram.percentile_s(percent) or 0.0)) for mark, percent in PERCENTS.items()]
    chart = charts.histogram(_durations_ms(histogram), marks, unit="ms")
    return f"<figure><figcaption><h2>{name}</h2><p>{note}</p></figcaption>{chart}</figure>"


def _tiles(figures: Figures) -> str:
    table = rows(figures)
    slope = figures.rss_mb_per_h
    tiles = {
        "p50": f"{shown(table['total']['p50'])}<small> ms</small>",
        "p99": f"{shown(table['total']['p99'])}<small> ms</small>",
        "longest": f"{shown(table['total']['max'])}<small> ms</small>",
        "throughput": f"{figures.per_second:.1f}<small> /s</small>",
        "around the engine": f"{overhead(figures)[0]:.2f}<small> ms</small>",
        "cold start": f"{figures.cold.seconds:.2f}<small> s</small>",
        "memory's slope": "&ndash;" if slope is None else f"{slope:.1f}<small> MB/h</small>",
        "kept per part": f"{figures.station_allocation.kept_bytes:.0f}<small> bytes</small>",
    }
    inside = "".join(f'<div class="tile"><b>{value}</b><span>{name}</span></div>' for name, value in tiles.items())
    return f'<section class="tiles">{inside}</section>'


def _memory(figures: Figures) -> str:
    """Resident memory from the warm-up to the last part."""
    held = usual(figures.memory, every_s=max(USUAL_S, figures.seconds / POINTS))
    chart = charts.trend([mb for _, mb in held], unit="MB")
    note = f"From the warm-up to the end, {figures.seconds / 60:.1f} minutes."
    return f"<figure><figcaption><h2>Memory</h2><p>{note}</p></figcaption>{chart}</figure>"


def _durations_ms(histogram: Histogram) -> list[float]:
    """Durations as they are in the buckets; of very many parts, fewer in the same proportions."""
    middles, counts = np.array(list(histogram.buckets()), np.float64).reshape(-1, 2).T  # each (buckets,)
    scale = min(1.0, SHOWN / max(counts.sum(), 1.0))
    durations: list[float] = (1e3 * np.repeat(middles, np.ceil(counts * scale).astype(int))).tolist()
    return durations


def _table(table: Mapping[str, Mapping[str, float]]) -> str:
    head = "".join(f'<th scope="col">{column}</th>' for column in COLUMNS)
    body = "".join(
        f'<tr><th scope="row">{escape(name)}</th>' + "".join(f"<td>{cell}</td>" for cell in shown_row(row)) + "</tr>"
        for name, row in table.items()
    )
    return f'<table><thead><tr><th scope="col">stage</th>{head}</tr></thead><tbody>{body}</tbody></table>'


STYLE = """
h1 { font-size: clamp(24px, 3.4vw, 36px); }
table {
  border-collapse: collapse; width: 100%; margin-top: 14px; font-variant-numeric: tabular-nums; font-size: 14px;
  background: var(--sheet); border: 1px solid var(--line);
}
th, td { padding: 8px 14px; text-align: right; white-space: nowrap; }
th:first-child { text-align: left; }
thead th { color: var(--quiet); font-weight: 600; font-size: 13px; border-bottom: 1px solid var(--line); }
tbody th { font-weight: 500; }
tbody tr + tr > * { border-top: 1px solid var(--lane); }
ul { margin: 12px 0 0 20px; }
"""
