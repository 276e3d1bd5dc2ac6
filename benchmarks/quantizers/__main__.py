"""Our Q/DQ beside that of others, from the same FP32 encoder and the same frames.

`python -m benchmarks.quantizers FRAMES` quantises the encoder of the shipped bundle with ours (`export.quantize`), with
`onnxruntime.quantization` and, where `--modelopt-python` names an interpreter that has it, with NVIDIA's Model
Optimizer. Each is judged by how far parts that nobody calibrated with are from themselves, by its time on one thread
and by its size; what is for TensorRT also by whether TensorRT builds it, where that is installed.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Annotated, Any, Optional

import numpy as np
import onnx
import typer
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from benchmarks.quantizers.candidate import Candidate
from benchmarks.quantizers.judge import TensorRTSays, build, distances, features, milliseconds
from benchmarks.quantizers.model_optimizer import model_optimizer
from benchmarks.quantizers.ours import ours
from benchmarks.quantizers.static import static
from calibration.frames import load_frames
from edge_resad.bundle import GraphSpec, open_bundle
from edge_resad.demo.products import draw
from edge_resad.engine.tensorrt_api import TensorRT, find_tensorrt
from edge_resad.errors import EdgeResadError, EngineError
from edge_resad.image import fit, image_files, read_image

Image = NDArray[np.uint8]
FAMILIES = ("board", "cap", "flange", "nameplate")
"""Of the drawn parts that are judged; the shipped ranges have not seen them."""
DRAWN = 4  # parts of each
FIRST_SEED = 500


@dataclass(frozen=True, kw_only=True)
class Row:
    """One candidate's figures."""

    candidate: Candidate
    distances: dict[str, float]  # by sample
    worst: dict[str, float]  # the one image that is furthest from itself
    milliseconds: dict[str, float]
    size: int  # bytes of a file that stands alone
    tensorrt: TensorRTSays | None

    def as_json(self) -> dict[str, Any]:
        return {
            "maker": self.candidate.maker,
            "settings": self.candidate.settings,
            "method": self.candidate.method,
            "for": self.candidate.dialect,
            "convolutions": self.candidate.convolutions,
            "distance": self.distances,
            "worst_distance": self.worst,
            "ms": self.milliseconds,
            "bytes": self.size,
            "tensorrt": vars(self.tensorrt) if self.tensorrt else None,
        }


def main(
    frames: Annotated[list[str], typer.Argument(help="Good parts to calibrate with: images, folders, a video.")],
    on: Annotated[
        Optional[list[Path]],  # noqa: UP045
        typer.Option(help="Folder of images to judge on too, beside drawn parts."),
    ] = None,
    each: Annotated[int, typer.Option(min=1, help="Images of each folder of --on, spread evenly.")] = 3,
    most: Annotated[int, typer.Option(min=16, help="Frames to calibrate with.")] = 129,
    modelopt_python: Annotated[Optional[Path], typer.Option(help="Interpreter with nvidia-modelopt.")] = None,  # noqa: UP045
    bundle: Annotated[Optional[Path], typer.Option(help="Without it, the one that comes with the package.")] = None,  # noqa: UP045
    turns: Annotated[int, typer.Option(min=1, help="Blocks of runs that times are taken from.")] = 8,
    sm: Annotated[str, typer.Option(help="GPU that TensorRT-RTX builds for.")] = "SM86",
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Compare quantisers on the shipped bundle's encoder."""
    opened = open_bundle(bundle)
    graph, size = opened.graphs("fp32").encoder, opened.manifest.image_size
    encoder = opened.file(graph)
    seen = [frame.image for frame in load_frames(frames, size, most)]
    samples = {"drawn": drawn_parts(size)}
    if on:
        samples["--on"] = list(chain.from_iterable(_spread(folder, size, each) for folder in on))
    with tempfile.TemporaryDirectory() as folder, _bar() as progress:
        scratch, model = Path(folder), onnx.load(encoder)
        made = chain(
            ours(encoder, seen, threads=1, progress=progress),
            static(model, seen, scratch),
            model_optimizer(model, seen, scratch, modelopt_python) if modelopt_python else (),
        )
        rows, fp32 = judged(made, encoder, graph, samples, scratch, _tensorrt(), sm=sm, turns=turns, progress=progress)
    about = {"frames": len(seen), **{name: len(images) for name, images in samples.items()}, "machine": _machine()}
    if as_json:
        print(json.dumps({**about, "fp32_ms": fp32, "rows": [row.as_json() for row in rows]}))
    else:
        _print_table(rows, fp32, about)


def judged(
    candidates: Iterator[Candidate],
    encoder: Path,
    graph: GraphSpec,
    samples: dict[str, list[Image]],
    folder: Path,
    tensorrt: TensorRT | None,
    *,
    sm: str,
    turns: int,
    progress: Callable[[str, int, int], None] = lambda stage, done, total: None,
) -> tuple[list[Row], dict[str, float]]:
    """Every candidate's figures, and FP32's milliseconds.

    encoder: the FP32 graph, which `graph` describes. samples: images (S, S, 3) uint8 BGR by the sample's name.
    """
    expected = {name: features(encoder, graph, images) for name, images in samples.items()}
    made, files = list(candidates), [encoder]
    far: list[dict[str, NDArray[np.float64]]] = []
    says: list[TensorRTSays | None] = []
    for index, candidate in enumerate(made):
        file = folder / f"candidate-{index}.onnx"
        onnx.save(candidate.model, file)
        files.append(file)
        far.append({name: distances(features(file, graph, images), expected[name]) for name, images in samples.items()})
        says.append(build(file, graph, tensorrt, sm) if tensorrt and candidate.dialect == "tensorrt" else None)
        progress("judge", index + 1, len(made))
    fp32, *took = milliseconds(files, graph, next(iter(samples.values()))[0], turns=turns)
    rows = [
        Row(
            candidate=candidate,
            distances={name: float(values.mean()) for name, values in found.items()},
            worst={name: float(values.max()) for name, values in found.items()},
            milliseconds=ms,
            size=file.stat().st_size,
            tensorrt=said,
        )
        for candidate, file, found, ms, said in zip(made, files[1:], far, took, says, strict=True)
    ]
    return rows, fp32


def drawn_parts(size: int, families: Sequence[str] = FAMILIES, count: int = DRAWN) -> list[Image]:
    """Good parts as the network takes them, (size, size, 3) uint8 BGR."""
    seeds = range(FIRST_SEED, FIRST_SEED + count)
    return [_fitted(draw(family, seed).image, size) for family in families for seed in seeds]


def _spread(folder: Path, size: int, most: int) -> list[Image]:
    files = image_files([str(folder)])
    chosen = np.linspace(0, len(files) - 1, min(len(files), most)).round().astype(int)
    return [_fitted(read_image(files[index]), size) for index in chosen]


def _fitted(image: Image, size: int) -> Image:
    return fit(image, size, np.empty((size, size, 3), np.uint8))


def _tensorrt() -> TensorRT | None:
    try:
        return find_tensorrt()
    except EngineError as error:
        print(f"nothing is built: {error}", file=sys.stderr)
        return None


def _machine() -> str:
    lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return f"{names[0] if names else 'unknown CPU'}, {len(os.sched_getaffinity(0))} CPUs, load {os.getloadavg()[0]:.1f}"


@contextmanager
def _bar() -> Iterator[Callable[[str, int, int], None]]:
    """A progress bar on stderr; nothing where nobody looks."""
    with Progress(console=Console(stderr=True), transient=True, disable=not sys.stderr.isatty()) as bar:
        task = bar.add_task("quantise")
        yield lambda stage, done, total: bar.update(task, description=stage, completed=done, total=total)


def _print_table(rows: Sequence[Row], fp32: dict[str, float], about: dict[str, Any]) -> None:
    samples = list(rows[0].distances)
    table = Table(title=f"distance of a part to itself, thousandths; calibrated on {about['frames']} frames")
    for column in ("for", "by", "settings", "method"):
        table.add_column(column)
    for column in ("layers", *(f"{name} ({about[name]})" for name in samples), "ms", "KiB", "TensorRT, KiB"):
        table.add_column(column, justify="right")
    for row in sorted(rows, key=lambda row: (row.candidate.dialect, row.distances[samples[-1]])):
        one = row.candidate
        far = [f"{1000 * row.distances[name]:.2f}" for name in samples]
        figures = [f"{row.milliseconds['p50']:.2f}", f"{row.size / 1024:.0f}", _said(row.tensorrt)]
        table.add_row(one.dialect, one.maker, one.settings, one.method, str(one.convolutions), *far, *figures)
    console = Console()
    console.print(table)
    console.print(
        f"fp32 takes {fp32['p50']:.2f} ms (p50), on one thread as all others; {about['machine']}", highlight=False
    )


def _said(tensorrt: TensorRTSays | None) -> str:
    if tensorrt is None:
        return "-"
    if tensorrt.refused is not None:
        return f"refused: {tensorrt.refused}"
    return "built" if tensorrt.weights_bytes is None else f"{tensorrt.weights_bytes / 1024:.0f}"


if __name__ == "__main__":
    try:
        typer.run(main)
    except EdgeResadError as error:
        print(f"quantizers: {error}", file=sys.stderr)
        raise SystemExit(1) from None
