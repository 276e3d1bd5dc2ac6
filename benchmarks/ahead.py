"""What it brings that the next part is made ready while the engine computes: parts a second where one always waits.

`python -m benchmarks.ahead` runs whole stations, interleaved: some whose judge can make parts ready ahead, some whose
judge cannot, all else alike. Beside the engines of this machine it shows a stand-in for one that leaves the CPU alone,
as a GPU does: it waits.
"""

from __future__ import annotations

import json
import statistics
import tempfile
import threading
import time
from collections.abc import Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, get_args

import numpy as np
import typer
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import track
from rich.table import Table

from benchmarks.in_a_row import Kind, in_a_row
from edge_resad.bank import load_bank, save_bank
from edge_resad.bench.bench import THRESHOLD
from edge_resad.bench.line import Parts, PreparedLine, draw_parts
from edge_resad.bundle import Precision, open_bundle
from edge_resad.demo import products
from edge_resad.device.judges import OpenJudge, open_inspector
from edge_resad.device.pipeline import Inspection, Judge
from edge_resad.device.settings import StationFile
from edge_resad.device.stages import Stages
from edge_resad.device.station import run_station
from edge_resad.engine.enrolment import enrol
from edge_resad.engine.inspector import Inspector

WARM_UP = 20  # parts of every run that do not count
STAND_IN = "stand-in"  # for an engine that leaves the CPU alone


@dataclass(frozen=True, kw_only=True)
class _Run:
    """What one station did; p50 of its stages."""

    per_s: float
    resize_ms: float
    engine_ms: float


class _StandIn(Inspector):
    """Scales as every inspector does, then waits instead of computing. Its score is always the same."""

    wait_ms = 0.0

    def look(self, picture: NDArray[np.uint8], paint: NDArray[np.bool_] | None = None) -> float:
        start = time.perf_counter()
        self.see(picture, paint, self._image)
        fitted = time.perf_counter()
        time.sleep(1e-3 * self.wait_ms)
        self.timings["resize_ms"] = 1e3 * (fitted - start)
        self.timings["engine_ms"] = 1e3 * (time.perf_counter() - fitted)
        return 0.5


def main(
    precision: Annotated[list[str], typer.Option(help="Of the engines of this machine.")] = ["fp32", "int8"],  # noqa: B006
    stand_in_ms: Annotated[float, typer.Option(min=0.1, help="What the stand-in for a GPU takes.")] = 4.0,
    size: Annotated[str, typer.Option(help="WIDTHxHEIGHT of the frames.")] = "1280x720",
    parts: Annotated[int, typer.Option(min=10, help="Parts of each run.")] = 300,
    rounds: Annotated[int, typer.Option(min=1, help="Runs of each kind.")] = 5,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Compare stations that work ahead with stations that do not."""
    unknown = set(precision) - set(get_args(Precision))
    if unknown:
        raise typer.BadParameter(f"no precision {unknown.pop()}. There are: {', '.join(get_args(Precision))}")
    width, height = (int(pixels) for pixels in size.split("x"))
    shown = draw_parts(products, "flange", (width, height))
    engines = [*precision, STAND_IN]
    runs: dict[str, dict[Kind, list[_Run]]] = {engine: {"row": [], "ahead": []} for engine in engines}
    with tempfile.TemporaryDirectory(prefix="edge-resad-ahead-") as scratch:
        folder = Path(scratch)
        for engine in engines:
            own: Any = "fp32" if engine == STAND_IN else engine
            made = enrol(open_bundle(), shown.references, product="flange", precision=own, threads=1, augment="off")
            save_bank(made.bank, folder / f"{engine}.npz")
        kinds: tuple[Kind, ...] = get_args(Kind)
        order = [(engine, kind) for _ in range(rounds) for engine in engines for kind in kinds]
        for engine, kind in track(order, "run stations", console=Console(stderr=True), transient=True):
            opens = _opens(engine, stand_in_ms)
            opens = opens if kind == "ahead" else in_a_row(opens)
            runs[engine][kind].append(_run(folder, engine, shown, parts, opens))
    rows = {engine: _row(runs[engine]) for engine in engines}
    if as_json:
        about = {"size": [width, height], "parts": parts, "rounds": rounds, "stand_in_ms": stand_in_ms}
        print(json.dumps({**about, "engines": rows}))
        return
    table = Table("engine", *(name.replace("_", " ") for name in next(iter(rows.values()))))
    for engine, row in rows.items():
        table.add_row(engine, *(f"{value:.{0 if value >= 100 else 2}f}" for value in row.values()))
    Console().print(table)


def _row(runs: Mapping[Kind, list[_Run]]) -> dict[str, float]:
    ratios = [ahead.per_s / row.per_s for row, ahead in zip(runs["row"], runs["ahead"], strict=True)]
    found = {"ratio": statistics.median(ratios), "least": min(ratios), "most": max(ratios)}
    for kind, all_runs in runs.items():
        found[f"{kind}_per_s"] = statistics.median(run.per_s for run in all_runs)
        found[f"{kind}_resize_ms"] = statistics.median(run.resize_ms for run in all_runs)
        found[f"{kind}_engine_ms"] = statistics.median(run.engine_ms for run in all_runs)
    return found


def _opens(engine: str, wait_ms: float) -> OpenJudge:
    if engine != STAND_IN:
        return open_inspector

    def opened(told: StationFile) -> AbstractContextManager[Judge]:
        assert told.inspection.bank is not None
        judge = _StandIn(open_bundle(), load_bank(told.inspection.bank))
        judge.wait_ms = wait_ms
        return judge

    return opened


def _run(folder: Path, engine: str, shown: Parts, count: int, opens: OpenJudge) -> _Run:
    """One station, of whose parts one always waits while another one is judged."""
    stages = Stages()
    settings = {
        "station": {"device": "bench"},
        "camera": {"source": "synthetic"},
        "inspection": {"bank": str(folder / f"{engine}.npz"), "threshold": THRESHOLD},
        "engine": {"threads": 1},
        "spool": {"path": str(folder / "spool.db")},
        "log": {"verdicts": False},
        "pictures": {"folder": str(folder / "pictures")},
        "drift": {"on": False},  # it looks at inspectors alone
    }
    lines: list[PreparedLine] = []
    done: list[float] = []

    def opened(_told: StationFile, halt: threading.Event) -> PreparedLine:
        lines.append(PreparedLine(shown, halt, frames=count + WARM_UP, waiting=1))
        return lines[0]

    def inspected(_inspection: Inspection) -> None:
        done.append(time.perf_counter())
        if len(done) == WARM_UP:
            stages.clear()
        lines[0].done()

    run_station(
        StationFile.model_validate(settings),
        stop=threading.Event(),
        open_source=opened,
        open_judge=opens,
        on_inspection=inspected,
        stages=stages,
    )
    times = stages.times()
    return _Run(
        per_s=(len(done) - WARM_UP) / (done[-1] - done[WARM_UP - 1]),
        resize_ms=times["resize"].p50,
        engine_ms=times["engine"].p50,
    )


if __name__ == "__main__":
    typer.run(main)
