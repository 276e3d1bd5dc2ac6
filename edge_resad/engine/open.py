"""An engine for one of a bundle's graphs, whatever computes: the one place that knows which there are."""

from __future__ import annotations

from pathlib import Path

from edge_resad.bundle import Bundle, Precision
from edge_resad.engine.engine import Engine, IoMemory, Provider
from edge_resad.engine.engine_file import GraphName, open_engines, rebuild_command
from edge_resad.engine.golden import TOLERANCE
from edge_resad.engine.onnx_runtime import OnnxRuntimeEngine
from edge_resad.engine.tensorrt import TensorRTEngine
from edge_resad.engine.tensorrt_api import find_tensorrt


def engine_for(
    bundle: Bundle,
    graph: GraphName,
    precision: Precision,
    *,
    provider: Provider = "cpu",
    threads: int = 1,
    engines: Path | None = None,
    io_memory: IoMemory = "auto",
) -> Engine:
    """The engine of one graph, not yet entered.

    threads:   of the CPU, in ONNX Runtime.
    engines:   the folder that TensorRT's engines were built into; engine_folder(bundle) where it is None.
    io_memory: where TensorRT finds the image.

    Raises:
        BundleError: the bundle does not hold this precision.
        EngineError: no TensorRT, or no engines that fit; the message says what to do.
    """
    if provider == "tensorrt":
        tensorrt = find_tensorrt()
        found = open_engines(bundle, precision, engines, tensorrt=tensorrt)
        built = getattr(found.about, graph)
        return TensorRTEngine(
            found.file(built),
            built.inputs,
            built.outputs,
            tensorrt=tensorrt,
            rebuild=rebuild_command(bundle, precision, engines),
            io_memory=io_memory,
            golden=found.golden(graph),
            tolerance=TOLERANCE[found.about.rung],
        )
    spec = getattr(bundle.graphs(precision), graph)
    return OnnxRuntimeEngine(bundle.file(spec), spec, provider=provider, threads=threads)
