"""What an enrolled threshold does: how many good parts it rejects and how many defective ones it finds.

`python -m benchmarks.thresholds DATA...` enrols a few good parts of every product (folders as in MVTec AD),
at several rates of false alarms aimed at, and judges all others.
"""

from __future__ import annotations

import json
import statistics
from pathlib import Path
from typing import Annotated, Optional

import numpy as np
import typer
from rich.console import Console
from rich.progress import track
from rich.table import Table

from edge_resad.bundle import open_bundle
from edge_resad.datasets.find import find_classes
from edge_resad.datasets.inspection_class import InspectionClass
from edge_resad.engine.enrolment import enrol
from edge_resad.engine.fusion import head_named
from edge_resad.engine.inspector import Inspector
from edge_resad.evaluation.protocol import draw_references
from edge_resad.image import read_image

RATES = (0.01, 0.02, 0.05, 0.1)


def main(
    data: Annotated[list[Path], typer.Argument(help="Folders with labelled products.")],
    shots: Annotated[int, typer.Option(min=1, help="References a product.")] = 4,
    seeds: Annotated[int, typer.Option(min=1, help="Draws of references.")] = 3,
    head: Annotated[Optional[str], typer.Option(help="nn, resad or fused; the bundle's own choice without it.")] = None,  # noqa: UP045
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Measure false alarms and finds of enrolled thresholds on labelled folders."""
    classes = find_classes(data)
    runs = [(one, seed) for one in classes for seed in range(seeds)]
    told = track(runs, "enrol and judge", console=Console(stderr=True), transient=True)
    found = [_judged(one, shots, seed, head) for one, seed in told]
    rows = {
        rate: {
            "false_alarms": statistics.fmean(shares[rate][0] for shares, _ in found),
            "found": statistics.fmean(shares[rate][1] for shares, _ in found),
        }
        for rate in RATES
    }
    spread = statistics.median(spread for _, spread in found)
    if as_json:
        about: dict[str, object] = {
            "products": len(classes),
            "shots": shots,
            "seeds": seeds,
            "head": head,
            "spread": spread,
        }
        print(json.dumps({**about, "rates": rows}))
        return
    table = Table(title=f"{len(classes)} products, {shots} references, {seeds} draws: means over products and draws")
    for name in ("false alarms aimed at", "false alarms", "defective parts found"):
        table.add_column(name, justify="right")
    for rate, row in rows.items():
        table.add_row(f"{rate:.0%}", f"{row['false_alarms']:.1%}", f"{row['found']:.1%}")
    Console().print(table)
    Console().print(f"good parts' scores spread by {spread:.2f}, on the logarithm (median)")


def _judged(
    one: InspectionClass, shots: int, seed: int, head: str | None
) -> tuple[dict[float, tuple[float, float]], float]:
    """Per rate, the shares of good and of defective parts that fail; and how the logarithms of good scores spread."""
    bundle = open_bundle()
    references = draw_references(one.train, shots, seed)
    images = [read_image(path) for path in references]
    named = head_named(bundle.manifest, head)
    made = {
        rate: enrol(bundle, images, product="parts", false_alarm_rate=rate, seed=seed, head=named).bank
        for rate in RATES
    }
    good = [path for path in one.train if path not in references]
    good += [part.path for part in one.test if not part.is_defective]
    bad = [part.path for part in one.test if part.is_defective]
    with Inspector(bundle, made[RATES[0]]) as inspector:
        good_scores = [inspector.inspect(read_image(path)).score for path in good]
        bad_scores = [inspector.inspect(read_image(path)).score for path in bad]
    shares = {
        rate: (_share(good_scores, bank.info.threshold.score), _share(bad_scores, bank.info.threshold.score))
        for rate, bank in made.items()
    }
    return shares, float(np.std(np.log(good_scores), ddof=1))


def _share(scores: list[float], threshold: float) -> float:
    return sum(score >= threshold for score in scores) / len(scores)


if __name__ == "__main__":
    typer.run(main)
