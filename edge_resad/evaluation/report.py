"""What an evaluation found, for a file and for a screen."""

from __future__ import annotations

from typing import Any

from rich.box import SIMPLE_HEAD
from rich.table import Table
from rich.text import Text

from edge_resad.evaluation.protocol import METRICS, ClassResult, Results, SeedResult

_HEADINGS = {
    "image_auroc": "image AUROC",
    "image_ap": "image AP",
    "image_f1max": "image F1max",
    "pixel_auroc": "pixel AUROC",
    "pixel_ap": "pixel AP",
    "aupro": "AUPRO",
}


def as_json(results: Results, bundle: str, precision: str) -> dict[str, Any]:
    """Fractions between 0 and 1, null where a metric is not defined; ready for `json.dumps`.

    bundle:    which bundle was judged: its name or hash.
    precision: which of its precisions, such as "fp32".
    """
    return {
        "classes": {one.name: _class(one) for one in results.classes},
        "mean": {metric: results.mean(metric) for metric in METRICS},
        "bundle": bundle,
        "precision": precision,
    }


def as_table(results: Results) -> Table:
    """Percent, mean ± standard deviation over the seeds; below it what a reader of the numbers has to know."""
    runs = "1 draw" if len(results.seeds) == 1 else f"{len(results.seeds)} draws"
    shots = "1 reference" if results.shots == 1 else f"{results.shots} references"
    notes = Text("\n".join(results.notes)) if results.notes else None
    table = Table(
        title=f"{shots}, {runs}, percent", caption=notes, caption_justify="left", box=SIMPLE_HEAD, pad_edge=False
    )
    table.add_column("class", overflow="fold")
    table.add_column("good + bad", justify="right")
    for metric in METRICS:
        table.add_column(_HEADINGS[metric], justify="right")
    for one in results.classes:
        table.add_row(Text(one.name), f"{one.good} + {one.defective}", *_cells(one))
    if len(results.classes) > 1:
        table.add_section()
        table.add_row("mean", "", *_cells(results), style="bold")
    return table


def _class(one: ClassResult) -> dict[str, Any]:
    return {
        **{metric: one.mean(metric) for metric in METRICS},
        "seeds": [_seed(draw) for draw in one.seeds],
        "test_images": {
            "good": one.good,
            "defective": one.defective,
            "with_mask": one.with_mask,
            "references": one.references,
        },
    }


def _seed(draw: SeedResult) -> dict[str, Any]:
    return {"seed": draw.seed, **{metric: draw.metric(metric) for metric in METRICS}}


def _cells(row: ClassResult | Results) -> list[str]:
    return [_percent(row.mean(metric), row.spread(metric)) for metric in METRICS]


def _percent(mean: float | None, spread: float | None) -> str:
    if mean is None:
        return "-"
    return f"{100 * mean:.1f}" if spread is None else f"{100 * mean:.1f} ± {100 * spread:.1f}"
