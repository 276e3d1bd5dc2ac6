"""What an enrolled threshold does: how many good parts it rejects and how many defective ones it finds.

`python -m benchmarks.thresholds DATA...` enrols a few good parts of every product (folders as in MVTec AD),
at several rates of false alarms aimed at, and judges all others.
"""

from __future__ import annotations

import json
import statistics
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import track
from rich.table import Table

from edge_resad.bundle import open_bundle
from edge_resad.datasets.find import find_classes
from edge_resad.datasets.inspection_class import InspectionClass
from edge_resad.engine.enrolment import enrol
from edge_resad.engine.inspector import Inspector
from edge_resad.evaluation.protocol import draw_references
from edge_resad.image import read_image

RATES = (0.01, 0.02, 0.05, 0.1)


def main(
    data: Annotated[list[Path], typer.Argument(help="Folders with labelled products.")],
    shots: Annotated[int, typer.Option(min=1, help="References a product.")] = 4,
    seeds: Annotated[int, typer.Option(min=1, help="Draws of references.")] = 3,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Measure false alarms and finds of enrolled thresholds on labelled folders."""
    classes = find_classes(data)
    runs = [(one, seed) for one in classes for seed in range(seeds)]
    told = track(runs, "enrol and judge", console=Console(stderr=True), transient=True)
    found = [_judged(one, shots, seed) for one, seed in told]
    rows = {
        rate: {
            "false_alarms": statistics.fmean(run[rate][0] for run in found),
            "found": statistics.fmean(run[rate][1] for run in found),
        }
        for rate in RATES
    }
    if as_json:
        print(json.dumps({"products": len(classes), "shots": shots, "seeds": seeds, "rates": rows}))
        return
    table = Table(title=f"{len(classes)} products, {shots} references, {seeds} draws: means over products and draws")
    for name in ("false alarms aimed at", "false alarms", "defective parts found"):
        table.add_column(name, justify="right")
    for rate, row in rows.items():
        table.add_row(f"{rate:.0%}", f"{row['false_alarms']:.1%}", f"{row['found']:.1%}")
    Console().print(table)


def _judged(one: InspectionClass, shots: int, seed: int) -> dict[float, tuple[float, float]]:
    """Per rate: the shares of good and of defective parts that fail."""
    bundle = open_bundle()
    references = draw_references(one.train, shots, seed)
    images = [read_image(path) for path in references]
    made = {rate: enrol(bundle, images, product="parts", false_alarm_rate=rate, seed=seed).bank for rate in RATES}
    good = [path for path in one.train if path not in references]
    good += [part.path for part in one.test if not part.is_defective]
    bad = [part.path for part in one.test if part.is_defective]
    with Inspector(bundle, made[RATES[0]]) as inspector:
        good_scores = [inspector.inspect(read_image(path)).score for path in good]
        bad_scores = [inspector.inspect(read_image(path)).score for path in bad]
    return {
        rate: (_share(good_scores, bank.info.threshold.score), _share(bad_scores, bank.info.threshold.score))
        for rate, bank in made.items()
    }


def _share(scores: list[float], threshold: float) -> float:
    return sum(score >= threshold for score in scores) / len(scores)


if __name__ == "__main__":
    typer.run(main)
