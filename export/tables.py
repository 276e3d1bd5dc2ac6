"""A verification on a screen."""

from __future__ import annotations

from collections.abc import Iterator

from rich.box import SIMPLE_HEAD
from rich.table import Table
from rich.text import Text

from edge_resad.page import plural
from export.accuracy import Accuracy, Labelled
from export.verification import Report
from export.way import MIXED

_MOST_LAYERS = 10  # the worst ones


def tables(report: Report) -> Iterator[Table | Text]:
    """Agreement, the layers that differ most, accuracy where parts were labelled, and what of that is no accident."""
    yield _agreements(report)
    if report.layers:
        yield _layers(report)
    if report.labelled:
        yield _accuracy(report.labelled)
        yield Text("\n".join(line for row in report.labelled.rows for line in _changes(row)))


def _table(title: str, *columns: str) -> Table:
    table = Table(title=title, title_justify="left", caption_justify="left", box=SIMPLE_HEAD, pad_edge=False)
    table.add_column(columns[0], overflow="fold")
    for column in columns[1:]:
        table.add_column(column, justify="right", no_wrap=True)
    return table


def _agreements(report: Report) -> Table:
    parts = sum(report.samples.values())
    title = f"beside fp32, {parts} parts, each precision with a bank of its own"
    table = _table(title, "", "ranks", "maps", "maps off by", "scores off by", "verdicts")
    for sample in report.samples:
        table.add_row(sample)
        for one in report.agreements:
            if one.sample == sample:
                table.add_row(
                    f"  {one.way}", f"{one.rank_correlation:.4f}", f"{one.map_correlation:.5f}",
                    f"{one.map_mean:.4f} {one.map_largest:6.3f}", f"{one.score_mean:.4f} {one.score_largest:6.3f}",
                    f"{one.other_verdicts} of {one.parts}",
                )  # fmt: skip
    notes = "ranks: Spearman's correlation of scores, maps: Pearson's; off by: in thresholds, mean and largest; "
    if any(one.way == MIXED for one in report.agreements):
        notes += "mixed: int8 with a bank that fp32 has made, which an inspector refuses; "
    table.caption = notes + "verdicts: that are not fp32's."
    return table


def _layers(report: Report) -> Table:
    ways = list(report.layers)
    table = _table("relative RMS difference to fp32, the worst layers and the features", "tensor", *ways)
    worst: dict[str, float] = {}
    for found in report.layers.values():
        for name, value in found.items():
            worst[name] = max(value, worst.get(name, 0.0))
    features = [name for name in worst if name.startswith("feature_")]
    layers = sorted(worst.keys() - features, key=lambda name: -worst[name])[:_MOST_LAYERS]
    for name in (*layers, *features):
        row = [report.layers[way].get(name) for way in ways]
        table.add_row(name, *("-" if value is None else f"{value:.4f}" for value in row))
    return table


def _accuracy(labelled: Labelled) -> Table:
    products, draws = plural("product", len(labelled.classes)), plural("draw", labelled.seeds)
    title = (
        f"accuracy on {labelled.images} labelled images of {len(labelled.classes)} {products}, "
        f"{labelled.shots} {plural('reference', labelled.shots)}, {labelled.seeds} {draws}"
    )
    table = _table(title, "", "image AUROC", "AUPRO", "AUPIMO")
    for row in labelled.rows:
        table.add_row(row.way, *(_percent(value) for value in (row.image_auroc, row.aupro, row.aupimo)))
    return table


def _changes(row: Accuracy) -> Iterator[str]:
    """What is different from FP32, in points, with the intervals of 95 %."""
    if row.auroc_change is not None:
        yield f"{row.way}: image AUROC {row.auroc_change.said}"
    if row.aupro_change is not None:
        yield f"{row.way}: AUPRO {100 * row.aupro_change:+.2f}"
    if row.aupimo_change is not None:
        yield f"{row.way}: AUPIMO {row.aupimo_change.said}"


def _percent(value: float | None) -> str:
    return "-" if value is None else f"{100 * value:.2f}"
