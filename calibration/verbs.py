"""The verbs of `python -m calibration`: ranges of real frames, and what a precision does to thresholds."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Literal, Optional, get_args

import onnx
import typer
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from calibration.collect import histograms
from calibration.frames import load_frames
from calibration.methods import find_range
from calibration.sensitivity import sensitivity
from calibration.thresholds import thresholds as precision_thresholds
from edge_resad.bundle import open_bundle
from edge_resad.errors import CalibrationError, EdgeResadError
from edge_resad.image import image_files, read_image
from export.precisions import MOST_COST
from export.quantize import tensors_of
from export.ranges import Dialect, Ranges, save_ranges

app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False)

JUDGED = 16  # frames that the layers' costs are measured on


@app.callback()
def _calibration() -> None:
    """What INT8 has to know of real frames."""


@app.command()
def ranges(
    sources: Annotated[list[str], typer.Argument(help="Good parts: images, folders, a video, or a camera.")],
    out: Annotated[Path, typer.Option(help="File of the ranges, for python -m export bundle --ranges.")],
    bundle: Annotated[Optional[Path], typer.Option(help="Without it, the one that comes with the package.")] = None,  # noqa: UP045
    method: Annotated[
        Literal["max", "percentile", "mse", "entropy"], typer.Option(help="Where a range cuts off.")
    ] = "mse",
    frames: Annotated[int, typer.Option(min=1, help="At most so many, spread over what is given.")] = 128,
    threads: Annotated[int, typer.Option(min=1, help="Threads of ONNX Runtime.")] = 1,
) -> None:
    """Find the ranges of activations on real frames, and what every layer's quantisation costs."""
    opened = open_bundle(bundle)
    manifest = opened.manifest
    encoder = opened.file(opened.graphs("fp32").encoder)
    seen = load_frames(sources, manifest.image_size, frames)
    images = [frame.image for frame in seen]
    with _bar("calibrate") as step:
        tensors = tensors_of(onnx.load(encoder))
        found = histograms(encoder, tensors, images, threads=threads, progress=step)
        limits = {name: find_range(histogram, method) for name, histogram in found.items()}
        judged = images[:: max(1, len(images) // JUDGED)][:JUDGED]
        costs = {
            dialect: sensitivity(encoder, limits, judged, dialect, threads=threads, progress=step)
            for dialect in get_args(Dialect)
        }
    made = Ranges(
        method=method,
        profile=manifest.profile,
        image_size=manifest.image_size,
        backbone_sha256=manifest.backbone_sha256,
        images=tuple(frame.sha256 for frame in seen),
        tensors=limits,
        layers=costs,
    )
    save_ranges(made, out)
    Console(stderr=True).print(_costs(costs))
    print(f"{out}: {len(limits)} ranges by {method} from {len(seen)} frames, {made.sha256[:12]}")


@app.command()
def thresholds(
    sources: Annotated[list[str], typer.Argument(help="Good parts: images or folders. The first are the references.")],
    shots: Annotated[int, typer.Option(min=1, help="References.")] = 4,
    false_alarm_rate: Annotated[
        float, typer.Option(min=0.0001, max=0.5, help="Share of good parts that may fail.")
    ] = 0.05,
    bundle: Annotated[Optional[Path], typer.Option(help="Without it, the one that comes with the package.")] = None,  # noqa: UP045
    threads: Annotated[int, typer.Option(min=1, help="Threads of ONNX Runtime.")] = 1,
) -> None:
    """Estimate every precision's threshold from the same good parts, and say what FP32's would do in the others."""
    opened = open_bundle(bundle)
    images = [read_image(file) for file in image_files(sources)]
    if len(images) <= shots:
        raise CalibrationError(
            f"{len(images)} pictures are too few: {shots} are references, and a threshold takes further good parts. "
            "Give more."
        )
    with _bar("thresholds") as step:
        found = precision_thresholds(
            opened, images[:shots], images[shots:], rate=false_alarm_rate, threads=threads, progress=step
        )
    table = Table(title=f"thresholds for {false_alarm_rate:.1%} false alarms, from {len(images) - shots} good parts")
    for column in ("precision", "threshold", "would fail", "would fail at fp32's"):
        table.add_column(column, justify="left" if column == "precision" else "right")
    for one in found:
        own, other = one.alarms_at(one.threshold.score), one.alarms_at(found[0].threshold.score)
        table.add_row(one.precision, f"{one.threshold.score:.3f}", str(own), str(other))
    Console().print(table)
    print(found[0].threshold.promise)


@contextmanager
def _bar(title: str) -> Iterator[Callable[[str, int, int], None]]:
    """A progress bar on stderr; nothing where nobody looks."""
    with Progress(console=Console(stderr=True), transient=True, disable=not sys.stderr.isatty()) as bar:
        task = bar.add_task(title)
        yield lambda stage, done, total: bar.update(task, description=stage, completed=done, total=total)


def _costs(costs: dict[Dialect, dict[str, float]]) -> Table:
    table = Table(title=f"how far a part is from itself with one layer in INT8; above {MOST_COST:g} it stays in float")
    table.add_column("layer")
    for dialect in costs:
        table.add_column(dialect, justify="right")
    for layer in sorted(costs["onnxruntime"], key=lambda name: -costs["onnxruntime"][name]):
        found = [costs[dialect].get(layer) for dialect in costs]
        table.add_row(layer, *("-" if cost is None else f"{cost:.5f}" for cost in found))
    return table


def main() -> None:
    """Run the command line; what an engineer can fix is one line on stderr and exit code 1."""
    try:
        app()
    except EdgeResadError as error:
        print(f"calibration: {error}", file=sys.stderr)
        raise SystemExit(1) from None
