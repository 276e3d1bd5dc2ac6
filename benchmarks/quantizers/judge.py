"""What a quantised encoder costs: how far parts are from themselves, its time, and whether TensorRT takes it."""

from __future__ import annotations

import statistics
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from calibration.sensitivity import distance
from edge_resad.bundle import GraphSpec
from edge_resad.engine.builder import BuildRequest, BuildResult
from edge_resad.engine.child import Refused, ask
from edge_resad.engine.engine_file import Settings
from edge_resad.engine.onnx_runtime import OnnxRuntimeEngine
from edge_resad.engine.tensorrt_api import TensorRT

Image = NDArray[np.uint8]
Rows = NDArray[np.float32]


def features(file: Path, graph: GraphSpec, images: Sequence[Image], *, threads: int = 1) -> list[list[Rows]]:
    """What the product's engine gives: of every image its levels' features (N_l, C_l).

    Raises:
        BundleError: ONNX Runtime does not take the graph, or it has other inputs or outputs.
    """
    found = []
    with OnnxRuntimeEngine(file, graph, threads=threads) as engine:
        for image in images:
            engine.inputs["image"][...] = image
            engine.run()
            found.append([engine.outputs[spec.name].copy() for spec in graph.outputs])
    return found


def distances(found: Sequence[list[Rows]], expected: Sequence[list[Rows]]) -> NDArray[np.float64]:
    """(n,): of every image, how far its features are from FP32's; see `calibration.sensitivity`."""
    return np.array([distance(a, b) for a, b in zip(found, expected, strict=True)])


def milliseconds(
    files: Sequence[Path], graph: GraphSpec, image: Image, *, turns: int, block: int = 5
) -> list[dict[str, float]]:
    """Time of every encoder on one thread, all in one process in short blocks A B C, C B A.

    p50: median of the blocks' medians; min: the run that nobody disturbed.
    """
    blocks: list[list[list[float]]] = [[] for _ in files]
    with ExitStack() as running:
        engines = [running.enter_context(OnnxRuntimeEngine(file, graph)) for file in files]
        for engine in engines:
            engine.inputs["image"][...] = image
        for turn in range(turns):
            for index in list(range(len(files)))[:: -1 if turn % 2 else 1]:
                engines[index].run()  # what the one before has driven out of the cache comes back
                blocks[index].append(list(_timed(engines[index], block)))
    return [
        {
            "p50": round(statistics.median(statistics.median(block) for block in mine), 3),
            "min": round(min(map(min, mine)), 3),
        }
        for mine in blocks
    ]


def _timed(engine: OnnxRuntimeEngine, count: int) -> Iterator[float]:
    for _ in range(count):
        start = time.perf_counter()
        engine.run()
        yield (time.perf_counter() - start) * 1e3


@dataclass(frozen=True, kw_only=True)
class TensorRTSays:
    """Whether TensorRT builds a graph."""

    refused: str | None  # in its words
    weights_bytes: int | None


def build(file: Path, graph: GraphSpec, tensorrt: TensorRT, sm: str) -> TensorRTSays:
    """Parse and build in a process of its own, as `edge-resad build` does.

    sm: the GPU to build for, where this TensorRT builds for others than the machine's.
    """
    settings = Settings(sm=sm if tensorrt.name == "tensorrt_rtx" else None)
    request = BuildRequest(
        onnx=file.absolute(),
        plan=file.absolute().with_suffix(".plan"),
        inputs=graph.inputs,
        outputs=graph.outputs,
        settings=settings,
        timing_cache=file.absolute().with_name("timing.cache"),
    )
    try:
        said = BuildResult.model_validate_json(ask("edge_resad.engine.builder", request))
    except Refused as refusal:
        return TensorRTSays(refused=str(refusal), weights_bytes=None)
    return TensorRTSays(refused=None, weights_bytes=said.weights_bytes)
