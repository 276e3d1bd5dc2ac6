"""The charts of a station, as they were kept, on one HTML page."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import date
from html import escape
from pathlib import Path

from edge_resad import __version__, charts
from edge_resad.device.drift.chart import LEARN_GROUPS, Chart, Figure
from edge_resad.device.drift.figures import FIGURES
from edge_resad.device.drift.product_charts import ProductCharts
from edge_resad.device.drift.rejects import SHARE_PARTS, RejectChart
from edge_resad.page import sign, whole, write_page

Kept = Mapping[str, dict[str, ProductCharts]]
"""Camera -> product -> charts, the product that was on the line last at the end."""


@dataclass(frozen=True, kw_only=True)
class Row:
    """One chart in numbers."""

    camera: str
    product: str
    chart: str
    parts: int
    usual: str
    now: str
    share: float | None  # of its limit; None while it learns


def rows_of(kept: Kept) -> Iterator[Row]:
    """Every chart, a row each."""
    for camera, products in kept.items():
        for product, found in products.items():
            for name, chart in found.figures.items():
                figure = FIGURES[name]
                learnt = f"learns, {len(chart.learning) / LEARN_GROUPS:.0%}"
                yield Row(
                    camera=camera, product=product, chart=name.replace("_", " "), parts=chart.parts,
                    usual=_shown(chart.mean, figure) if chart.count else learnt,
                    now="" if chart.last is None else _shown(chart.last, figure),
                    share=max(chart.up.sum, chart.down.sum) / chart.limit if chart.count else None,
                )  # fmt: skip
            rejects = found.rejects
            yield Row(
                camera=camera, product=product, chart="rejects", parts=rejects.parts, usual=f"{rejects.usual:.1%}",
                now="" if rejects.share is None else f"{rejects.share:.1%}", share=rejects.sum.sum / rejects.limit,
            )  # fmt: skip


def write_drift_page(kept: Kept, device: str, path: Path, *, day: date) -> Path:
    """Write the page.

    Raises:
        EdgeResadError: there is no room or no right to write it.
    """
    return write_page(render(kept, device, day=day), path)


def render(kept: Kept, device: str, *, day: date) -> str:
    """The page itself."""
    said = [
        (f"{product} on {camera}", text)
        for camera, products in kept.items()
        for product, found in products.items()
        for text in found.said().values()
    ]
    mood = "nothing drifts" if not said else "something drifts"
    body = [
        f'<header><p class="brand">edge-resad <span>drift</span></p><h1>{escape(device)}</h1>'
        '<p class="lead">What the line was like from the first part that was charted to the last. The band is what is '
        "usual; the line below is how far a chart is from saying that something drifts.</p>"
        f'<p class="mood {"mixed" if said else "fine"}">{sign(not said)} {mood}</p></header>'
    ]
    body += [f"<p>{escape(where)}: {escape(text)}.</p>" for where, text in said]
    for camera, products in kept.items():
        for product, found in reversed(products.items()):  # the one on the line comes first
            figures = [_figure(FIGURES[name], chart) for name, chart in found.figures.items()]
            body.append(
                f"<section><h2>{escape(product)} on {escape(camera)}</h2>"
                f'<div class="charts">{"".join(figures)}{_rejects(found.rejects)}</div></section>'
            )
    body.append(f"<footer><p>edge-resad {__version__}, {day:%d %B %Y}</p></footer>")
    return whole("edge-resad drift", "\n".join(body), STYLE)


def _figure(figure: Figure, chart: Chart) -> str:
    values, usual = list(chart.history.values), None
    if chart.count:
        spread = 2 * chart.spread(figure)
        usual = (chart.mean - spread, chart.mean + spread)
    if figure.is_ratio:
        values = [math.exp(value) for value in values]
        usual = None if usual is None else (math.exp(usual[0]), math.exp(usual[1]))
    drawn = charts.trend(values, chart.history.sums, usual=usual, unit=figure.unit)
    per_point = chart.history.every * chart.group_parts
    note = f"{chart.parts} parts, {per_point} a point" if chart.count else _learning(chart)
    return _captioned(figure.name.replace("_", " "), note, drawn)


def _rejects(chart: RejectChart) -> str:
    drawn = charts.trend(chart.history.values, chart.history.sums, usual=(0.0, 2 * chart.usual), unit="of parts")
    note = f"{chart.rejects} of {chart.parts} parts, {chart.history.every * SHARE_PARTS} a point"
    return _captioned("rejects", note, drawn)


def _captioned(name: str, note: str, drawn: str) -> str:
    return f"<figure><figcaption><h3>{escape(name)}</h3><p>{escape(note)}</p></figcaption>{drawn}</figure>"


def _learning(chart: Chart) -> str:
    return f"learns: {len(chart.learning)} of {LEARN_GROUPS} groups of {chart.group_parts} parts"


def _shown(mean: float, figure: Figure) -> str:
    return f"{math.exp(mean) if figure.is_ratio else mean:.3g} {figure.unit}".rstrip()


STYLE = """
.charts { display: grid; grid-template-columns: repeat(auto-fill, minmax(420px, 1fr)); gap: 18px; margin-top: 14px; }
.charts figure {
  background: var(--sheet); border: 1px solid var(--line); border-radius: 14px; padding: 14px 16px;
}
.chart .sum { fill: none; stroke: var(--heat); stroke-width: 1.4; stroke-linejoin: round; }
header + p { margin-top: 14px; }
"""
