"""What a precision costs in accuracy, beside what chance costs: few-shot figures for several orders of the bank.

`python -m benchmarks.precisions DATA` judges labelled folders in every precision, each with banks of its own, and INT8
also with banks that FP32 has made, which a station refuses. All draws of references are the same. A bank that has more
patches than room is reduced to a coreset, and which one depends on where it starts: `--orders` starts it elsewhere, so
that a difference between precisions can be told from one between orders.
"""

from __future__ import annotations

import json
import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from edge_resad.bundle import open_bundle
from edge_resad.datasets.find import find_classes
from edge_resad.evaluation.protocol import evaluate
from export.way import MIXED, Way, WayScorer, ways_of

FIGURES = {"image_auroc": "image AUROC", "pixel_auroc": "pixel AUROC", "aupro": "AUPRO", "aupimo": "AUPIMO"}
_APART = 100  # seeds of two orders differ by


class _Ordered(WayScorer):
    """Starts the coreset of every bank elsewhere."""

    order = 0

    def enrol(self, references: Sequence[NDArray[np.uint8]], seed: int) -> None:
        super().enrol(references, seed + _APART * self.order)


def main(
    data: Annotated[list[Path], typer.Argument(help="Folders with labelled products.")],
    shots: Annotated[int, typer.Option(min=1, help="References a product.")] = 4,
    seeds: Annotated[int, typer.Option(min=1, help="Draws of references.")] = 3,
    orders: Annotated[int, typer.Option(min=1, help="Orders of the bank for each draw.")] = 3,
    max_good: Annotated[int, typer.Option(min=1, help="At most so many good test images a product.")] = 40,
    max_defect: Annotated[int, typer.Option(min=1, help="At most so many defective ones.")] = 60,
    threads: Annotated[int, typer.Option(min=1, help="Threads of the engine.")] = 1,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Measure every precision of the shipped bundle, for several orders of the bank."""
    bundle, classes = open_bundle(), find_classes(data)
    found: dict[str, list[dict[str, float]]] = {}
    with Progress(console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("precisions")
        for way in ways_of(bundle, rungs=False, mixed=True):
            for order in range(orders):
                scorer = _Ordered(bundle, way, threads=threads)
                scorer.order = order
                with scorer:
                    results = evaluate(
                        classes, scorer, shots=shots, seeds=range(seeds), max_good=max_good, max_defect=max_defect,
                        progress=lambda name, done, total, way=way, order=order: bar.update(  # type: ignore[misc]
                            task, description=f"{way.name}, order {order}: {name}", completed=done, total=total
                        ),
                    )  # fmt: skip
                means = {name: results.mean(name) for name in FIGURES}
                found.setdefault(_title(way), []).append({k: v for k, v in means.items() if v is not None})
    if as_json:
        print(json.dumps({name: {"orders": rows, "mean": _means(rows)} for name, rows in found.items()}))
        return
    table = Table(title=f"percent, mean over {len(classes)} products and {orders} orders (their spread)")
    table.add_column("precision")
    for title in FIGURES.values():
        table.add_column(title, justify="right")
    for name, rows in found.items():
        table.add_row(name, *(_cell([row[figure] for row in rows if figure in row]) for figure in FIGURES))
    Console().print(table)


def _title(way: Way) -> str:
    return "int8 with a bank of fp32" if way.name == MIXED else way.name


def _means(rows: Sequence[dict[str, float]]) -> dict[str, Any]:
    return {figure: statistics.fmean(row[figure] for row in rows) for figure in FIGURES if figure in rows[0]}


def _cell(values: Sequence[float]) -> str:
    if not values:
        return "-"
    spread = f" ({100 * statistics.stdev(values):.1f})" if len(values) > 1 else ""
    return f"{100 * statistics.fmean(values):.1f}{spread}"


if __name__ == "__main__":
    typer.run(main)
