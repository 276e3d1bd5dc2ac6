"""What several cameras on one engine cost: throughput and latency at a fixed total rate, and the change of banks.

`python -m benchmarks.cameras` runs a whole station with 1, 2 and 4 cameras, interleaved. Every camera shows another
product and has a bank of its own, so that with several the bank in the engine changes before nearly every part.
"""

from __future__ import annotations

import json
import tempfile
import threading
import time
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from rich.console import Console
from rich.progress import track
from rich.table import Table

from edge_resad.bank import Bank, load_bank, save_bank
from edge_resad.bench.line import Parts, PreparedLine, draw_parts
from edge_resad.bundle import open_bundle
from edge_resad.demo import products
from edge_resad.device.histogram import Histogram
from edge_resad.device.pipeline import Inspection
from edge_resad.device.settings import StationFile
from edge_resad.device.station import run_station
from edge_resad.engine.enrolment import enrol
from edge_resad.engine.inspector import Inspector

WARM_UP = 20  # parts of every run that do not count


class _Run:
    """The parts of one number of cameras, over all rounds."""

    def __init__(self) -> None:
        self.latency = Histogram()
        self.judged = self.overwritten = self.other = 0
        self.seconds = 0.0

    def row(self) -> dict[str, float]:
        p50, p99 = (1e3 * (self.latency.percentile_s(percent) or 0.0) for percent in (50, 99))
        per_second = self.judged / self.seconds if self.seconds else 0.0
        return {
            "per_second": round(per_second, 2), "p50_ms": round(p50, 2), "p99_ms": round(p99, 2),
            "judged": self.judged, "overwritten": self.overwritten, "not_inspected_otherwise": self.other,
        }  # fmt: skip


def main(
    rate: Annotated[float, typer.Option(min=0.1, help="Parts per second, all cameras together.")] = 30.0,
    seconds: Annotated[float, typer.Option(min=1, help="Of each run.")] = 20.0,
    rounds: Annotated[int, typer.Option(min=1, help="Runs of each number of cameras.")] = 3,
    size: Annotated[int, typer.Option(min=64, help="Both sides of the frames, pixels.")] = 640,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Measure 1, 2 and 4 cameras at a fixed total rate."""
    families = list(products.FAMILIES)[:4]
    runs = {count: _Run() for count in (1, 2, 4)}
    with tempfile.TemporaryDirectory(prefix="edge-resad-cameras-") as scratch:
        folder = Path(scratch)
        parts = [draw_parts(products, family, (size, size)) for family in families]
        bundle = open_bundle()
        for family, shown in zip(families, parts, strict=True):
            save_bank(enrol(bundle, shown.references, product=family, augment="off").bank, folder / f"{family}.npz")
        swap_ms = _swap([load_bank(folder / f"{family}.npz") for family in families[:2]])
        order = [count for _ in range(rounds) for count in runs]
        for count in track(order, "run stations", console=Console(stderr=True), transient=True):
            _run(folder, families[:count], parts[:count], rate, seconds, runs[count])
    rows = {count: run.row() for count, run in runs.items()}
    if as_json:
        about = {"rate": rate, "seconds": seconds, "rounds": rounds, "size": size, "bank_swap_ms": swap_ms}
        print(json.dumps({**about, "cameras": rows}))
        return
    table = Table("cameras", "parts/s", "p50 ms", "p99 ms", "overwritten", title=f"{rate:g} parts/s in all")
    for count, row in rows.items():
        table.add_row(str(count), *(f"{row[key]:g}" for key in ("per_second", "p50_ms", "p99_ms", "overwritten")))
    console = Console()
    console.print(table)
    console.print(f"changing the bank in the engine: p50 {swap_ms['p50']:.2f} ms, p99 {swap_ms['p99']:.2f} ms")


def _run(folder: Path, families: list[str], parts: list[Parts], rate: float, seconds: float, into: _Run) -> None:
    raw: dict[str, Any] = {
        "station": {"device": "bench"},
        "camera": [
            {"name": f"cam{index}", "source": "synthetic", "product": family, "bank": str(folder / f"{family}.npz")}
            for index, family in enumerate(families)
        ],
        "spool": {"path": str(folder / "spool.db")},
        "log": {"verdicts": False},
    }
    shown = dict(zip((camera["name"] for camera in raw["camera"]), parts, strict=True))
    seen = 0
    began = time.monotonic()

    def count(inspection: Inspection) -> None:
        nonlocal seen, began
        seen += 1
        if seen == WARM_UP:
            began = time.monotonic()
        if seen > WARM_UP and inspection.verdict is not None:
            into.judged += 1
            into.latency.record(1e-3 * inspection.latency.total_ms)

    summary = run_station(
        StationFile.model_validate(raw),
        stop=threading.Event(),
        open_source=lambda told, halt: PreparedLine(
            shown[told.camera.name], halt, rate=rate / len(families), seconds=seconds
        ),
        on_inspection=count,
    )
    into.seconds += time.monotonic() - began
    into.overwritten += summary.not_inspected.get("overwritten", 0)
    into.other += sum(number for reason, number in summary.not_inspected.items() if reason != "overwritten")


def _swap(banks: list[Bank], times: int = 200) -> dict[str, float]:
    """Milliseconds that putting another prepared bank into the engine takes."""
    with Inspector(open_bundle(), banks[0]) as inspector:
        prepared = [inspector.prepare(bank) for bank in banks]
        took = []
        for number in range(times):
            start = time.perf_counter()
            inspector.put(prepared[number % len(prepared)])
            took.append(1e3 * (time.perf_counter() - start))
    return {"p50": float(np.percentile(took, 50)), "p99": float(np.percentile(took, 99))}


if __name__ == "__main__":
    typer.run(main)
