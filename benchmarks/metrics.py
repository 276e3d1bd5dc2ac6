"""How long the pixel metrics of a test set take, and how near they are to each other, on one thread.

Beside ours runs the plain way to AUPRO: 200 thresholds evenly from the lowest to the highest score, at each the mean
overlap of the regions and the false positive rate, then the area where that rate is below 0.3, the rate rescaled to
0..1. It gets its regions labelled beforehand and computes AUPRO alone; ours labels them and computes AUROC, AP and
F1max with it. All take turns in one process, A B C, C B A, so that a drift of the machine meets each.
"""

from __future__ import annotations

import json
import os
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Any

import cv2
import numpy as np
import typer
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

from benchmarks.latency import _machine as machine
from edge_resad.evaluation.histogram import PixelHistogram
from edge_resad.evaluation.metrics import FALSE_POSITIVE_LIMIT, pixel_metrics
from edge_resad.evaluation.pimo import aupimo

THRESHOLDS = 200
RANGE = (-1.0, 2.0)  # of the histogram
TITLES = {
    "exact": "exact, all pixel metrics",
    "histogram": "histogram of 65,536 bins, all pixel metrics",
    "plain": f"{THRESHOLDS} thresholds, AUPRO alone",
    "aupimo": "AUPIMO, exact",
}


@dataclass(frozen=True, eq=False)
class Images:
    """A test set, half of it good."""

    maps: list[NDArray[np.float32]]  # each (size, size)
    masks: list[NDArray[np.uint8]]
    regions: list[tuple[int, NDArray[np.intp]]]  # image and its flat pixels, for every region of every mask


def main(
    images: Annotated[int, typer.Option(min=2, help="Test images, half of them good.")] = 200,
    size: Annotated[int, typer.Option(min=64, help="Side of maps and masks, pixels.")] = 256,
    rounds: Annotated[int, typer.Option(min=1, help="Turns of each side.")] = 5,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Measure the pixel metrics on drawn maps, beside the plain way to AUPRO."""
    where = machine()
    os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    cv2.setNumThreads(1)
    drawn = draw_images(images, size)
    sides: dict[str, Callable[[], float | None]] = {
        "exact": lambda: pixel_metrics(drawn.maps, drawn.masks).aupro,
        "histogram": lambda: PixelHistogram.empty(*RANGE).add(drawn.maps, drawn.masks).metrics().aupro,
        "plain": lambda: plain_aupro(drawn),
        "aupimo": lambda: statistics.fmean(one for one in aupimo(drawn.maps, drawn.masks) if one is not None),
    }
    seconds: dict[str, list[float]] = {name: [] for name in sides}
    values: dict[str, float | None] = {}
    for turn in range(rounds):
        for name in sides if turn % 2 == 0 else reversed(sides):
            start = time.perf_counter()
            values[name] = sides[name]()
            seconds[name].append(time.perf_counter() - start)
    results = _results(images, size, seconds, values, drawn, where)
    if as_json:
        print(json.dumps(results))
    else:
        _print_table(results)


def draw_images(count: int, size: int, seed: int = 0) -> Images:
    """Smooth noise; every second image has one to three round defects that are brighter than the noise by a little."""
    random = np.random.default_rng(seed)
    maps, masks, regions = [], [], []
    for index in range(count):
        noise = cv2.GaussianBlur(random.normal(size=(size, size)).astype(np.float32), (0, 0), 4)
        mask = np.zeros((size, size), np.uint8)
        for _ in range(int(random.integers(1, 4)) if index % 2 else 0):
            x, y, radius = (int(value) for value in random.integers((20, 20, 3), (size - 20, size - 20, 18)))
            cv2.circle(mask, (x, y), radius, 1, -1)
        maps.append(np.asarray(noise + 0.2 * cv2.GaussianBlur(mask.astype(np.float32), (0, 0), 3), np.float32))
        masks.append(mask)
        found, labels = cv2.connectedComponents(mask, connectivity=8)
        regions += [(index, np.flatnonzero(np.asarray(labels) == label)) for label in range(1, found)]
    return Images(maps, masks, regions)


def plain_aupro(images: Images) -> float:
    """Threshold by threshold, as described at the top."""
    maps, good = np.stack(images.maps), np.stack(images.masks) == 0
    flat = maps.reshape(len(maps), -1)
    good_pixels = np.count_nonzero(good)
    rates, overlaps = [], []
    for threshold in np.linspace(float(maps.min()), float(maps.max()), THRESHOLDS):
        rate = np.count_nonzero((maps > threshold) & good) / good_pixels
        overlap = np.mean([np.mean(flat[image, pixels] > threshold) for image, pixels in images.regions])
        rates.append(rate)
        overlaps.append(float(overlap))
    x, y = np.array(rates[::-1]), np.array(overlaps[::-1])
    x, y = x[x < FALSE_POSITIVE_LIMIT], y[x < FALSE_POSITIVE_LIMIT]
    x = (x - x.min()) / (x.max() - x.min())
    return float(np.sum(np.diff(x) * (y[1:] + y[:-1])) / 2)


def _results(
    images: int, size: int, seconds: dict[str, list[float]], values: dict[str, float | None], drawn: Images, where: str
) -> dict[str, Any]:
    timed = {
        f"{name}_s": {"p50": round(statistics.median(taken), 4), "min": round(min(taken), 4)}
        for name, taken in seconds.items()
    }
    error = PixelHistogram.empty(*RANGE).add(drawn.maps, drawn.masks).error().aupro
    return {
        "images": images,
        "size": size,
        "regions": len(drawn.regions),
        **timed,
        "ratio": round(timed["plain_s"]["p50"] / timed["exact_s"]["p50"], 3),
        "ratio_of_min": round(timed["plain_s"]["min"] / timed["exact_s"]["min"], 3),
        "aupro": {name: values[name] for name in ("exact", "histogram", "plain")},
        "aupro_histogram_error": error,
        "aupimo": values["aupimo"],
        "machine": where,
    }


def _print_table(results: dict[str, Any]) -> None:
    table = Table(title=f"{results['images']} maps of {results['size']} x {results['size']}, one thread, seconds")
    for column in ("", "min", "p50", "value"):
        table.add_column(column, justify="right" if column else "left")
    for name, title in TITLES.items():
        taken = results[f"{name}_s"]
        value = results["aupimo"] if name == "aupimo" else results["aupro"][name]
        table.add_row(title, f"{taken['min']:.3f}", f"{taken['p50']:.3f}", f"{value:.5f}")
    console = Console()
    console.print(table)
    console.print(f"plain over exact {results['ratio']:.1f} (p50), {results['ratio_of_min']:.1f} (min)")
    console.print(f"the histogram's AUPRO is within {results['aupro_histogram_error']:.1e} of the exact one")
    console.print(results["machine"], highlight=False)


if __name__ == "__main__":
    typer.run(main)
