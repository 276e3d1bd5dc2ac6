"""`python -m benchmarks.triggers`: from trigger to the verdict, of one camera or of two that are triggered at once.

Whole stations run whose cameras run by themselves; somebody tells them of parts over the control socket. Every part is
a verdict or not inspected: they are counted, and where that does not add up the exit code is 1.
"""

from __future__ import annotations

import json
import random
import tempfile
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from datetime import date
from pathlib import Path
from typing import Annotated, Optional, get_args

import typer
from rich.console import Console
from rich.progress import track

from benchmarks.in_a_row import in_a_row
from benchmarks.latency import _machine as machine
from benchmarks.triggers.moments import at_random, before_pictures
from benchmarks.triggers.report import Kind, Runs, figures, render, sentences, tables
from benchmarks.triggers.station import Moments, Run, Station, on_one_engine, run
from edge_resad.bank import save_bank
from edge_resad.bench.line import draw_parts
from edge_resad.bundle import Precision, open_bundle
from edge_resad.demo import products
from edge_resad.engine.enrolment import enrol
from edge_resad.page import write_page

LEAD_MS = 4.0  # from the triggers of two cameras until the exposure of the pictures that show their parts begins


@dataclass(frozen=True, kw_only=True)
class Request:
    """What to measure."""

    cameras: int  # 1 or 2
    seconds: float  # of each run
    rounds: int
    rate: float  # triggers a second
    fps: float
    capture_ms: float
    size: tuple[int, int]
    precision: Precision


def main(
    cameras: Annotated[int, typer.Option(min=1, max=2, help="2: triggered at once, in a row and ahead.")] = 1,
    seconds: Annotated[float, typer.Option(min=1, help="Of each run.")] = 6.5,
    rounds: Annotated[int, typer.Option(min=1, help="Runs of each kind, in turns.")] = 6,
    rate: Annotated[float, typer.Option(min=0.1, help="Triggers a second, of each camera.")] = 8.0,
    fps: Annotated[float, typer.Option(min=1, help="Frames a second of the cameras.")] = 30.0,
    capture_ms: Annotated[float, typer.Option(min=0, help="capture_ms of the trigger, where it is set.")] = 8.0,
    size: Annotated[str, typer.Option(help="WIDTHxHEIGHT of the frames.")] = "1280x720",
    precision: Annotated[str, typer.Option(help="fp32, fp16 or int8.")] = "int8",
    page: Annotated[Optional[Path], typer.Option(help="Also write a page, PAGE.html, with the histograms.")] = None,  # noqa: UP045
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Fire, judge and count: one camera with capture_ms and without; two cameras in a row and ahead."""
    if precision not in get_args(Precision):
        raise typer.BadParameter(f"precision is one of {', '.join(get_args(Precision))}")
    width, height = (int(pixels) for pixels in size.split("x"))
    request = Request(
        cameras=cameras, seconds=seconds, rounds=rounds, rate=rate, fps=fps, capture_ms=capture_ms,
        size=(width, height), precision=precision,  # type: ignore[arg-type]
    )  # fmt: skip
    where, runs = machine(), measured(request)
    found = {"machine": where, **asdict(request), **figures(runs)}
    if page is not None:
        write_page(render(found, runs, day=date.today()), page)
    if as_json:
        print(json.dumps(found))
    else:
        console = Console()
        console.print(f"{where}; {_line(request)}", highlight=False, soft_wrap=True)
        for table in tables(found):
            console.print(table)
        for sentence in sentences(found):
            console.print(sentence, highlight=False, soft_wrap=True)
    raise typer.Exit(0 if all(row["adds_up"] for row in found["kinds"].values()) else 1)


def measured(request: Request) -> Runs:
    """Run the stations of every kind in turns."""
    dice = random.Random(1)
    families = list(products.FAMILIES)[: request.cameras]
    shown = {family: draw_parts(products, family, request.size) for family in families}
    with tempfile.TemporaryDirectory(prefix="edge-resad-triggers-") as scratch:
        folder = Path(scratch)
        for family, parts in shown.items():
            made = enrol(
                open_bundle(), parts.references, product=family, precision=request.precision, threads=1, augment="off"
            )
            save_bank(made.bank, folder / f"{family}.npz")
        own = Station(products=shown, folder=folder, fps=request.fps, capture_ms=request.capture_ms)
        stations: dict[Kind, Station] = (
            {"capture_ms": own, "no_capture_ms": replace(own, capture_ms=None)}
            if request.cameras == 1
            else {"row": replace(own, opens=in_a_row(on_one_engine())), "ahead": replace(own, opens=on_one_engine())}
        )
        runs: dict[Kind, list[Run]] = {kind: [] for kind in stations}
        turns = [kind for _ in range(request.rounds) for kind in stations]
        for kind in track(turns, "run stations", console=Console(stderr=True), transient=True):
            runs[kind].append(run(stations[kind], _moments(request, dice), request.seconds))
    return runs


def _moments(request: Request, dice: random.Random) -> Moments:
    """Of two cameras always so long before a picture: what then differs from trigger to verdict is the station's."""

    def moments(now: float) -> Iterator[float]:
        if request.cameras == 1:
            return at_random(now, request.rate, dice)
        lead_s = 1e-3 * (request.capture_ms + LEAD_MS)
        return before_pictures(now, request.rate, dice, fps=request.fps, lead_s=lead_s)

    return moments


def _line(request: Request) -> str:
    width, height = request.size
    says = f"{request.precision}, {width} x {height}, {request.fps:g} frames and {request.rate:g} triggers a second"
    return f"{says}, capture_ms {request.capture_ms:g} where set"


if __name__ == "__main__":
    typer.run(main)
