"""One ONNX file to one plan, in a process of its own: `python -m edge_resad.engine.builder`, asked by `build`.

Networks are strongly typed: precision is in the file, and the builder has no flags for it.
"""

from __future__ import annotations

import hashlib
import re
import time
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, ConfigDict

from edge_resad.bundle import TensorSpec
from edge_resad.engine.child import Refused, answer
from edge_resad.engine.engine_file import Settings, write_whole
from edge_resad.engine.tensorrt_api import Log, TensorRT, find_tensorrt, recording_logger
from edge_resad.errors import EngineError

if TYPE_CHECKING:
    from tensorrt import Builder, IBuilderConfig, INetworkDefinition, ITensor, ITimingCache


class BuildRequest(BaseModel):
    """What to build."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    onnx: Path
    plan: Path
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    settings: Settings
    timing_cache: Path  # read where it is there, and written where this TensorRT has one


class BuildResult(BaseModel):
    """What came of it."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    sha256: str
    size: int  # bytes
    weights_bytes: int | None
    seconds: float
    timing_cache_used: bool


def build_plan(request: BuildRequest, tensorrt: TensorRT) -> BuildResult:
    """Parse, build, and write the plan as a whole.

    Raises:
        Refused: TensorRT does not take the graph, or it is not the graph that the manifest describes.
        EngineError: TensorRT does not start here, a setting is impossible, or the disk refuses.
    """
    trt, log = tensorrt.module, Log()
    logger = recording_logger(trt, log)
    builder = _builder(trt, logger, log)
    network = _network(trt, builder, log)
    parser = trt.OnnxParser(network, logger)  # owns the weights: it must live until the plan is built
    if not parser.parse_from_file(str(request.onnx)):
        raise Refused(log.reason)
    _check_tensors(trt, network, request)
    config = _config(tensorrt, builder, request.settings, log)
    had_cache = _take_timing_cache(config, request.timing_cache)
    log.errors.clear()  # of what came before, such as a timing cache that does not fit
    started = time.perf_counter()
    plan = builder.build_serialized_network(network, config)
    seconds = time.perf_counter() - started
    if plan is None:
        raise Refused(log.reason)
    content = memoryview(plan)
    write_whole(request.plan, content)
    if had_cache is not None:
        _keep_timing_cache(config, request.timing_cache)
    return BuildResult(
        sha256=hashlib.sha256(content).hexdigest(),
        size=content.nbytes,
        weights_bytes=_weights_bytes(log),
        seconds=round(seconds, 3),
        timing_cache_used=bool(had_cache),
    )


def _builder(trt: Any, logger: Any, log: Log) -> Builder:
    try:
        return trt.Builder(logger)
    except (TypeError, RuntimeError) as error:  # the factory gave nothing: no driver, no GPU
        raise EngineError(
            f"TensorRT does not start here: {log.reason if log.errors else error}. It needs an NVIDIA GPU and its "
            "driver; in a container, --runtime nvidia."
        ) from error


def _network(trt: Any, builder: Builder, log: Log) -> INetworkDefinition:
    network: INetworkDefinition | None = builder.create_network(
        1 << int(trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED)
    )
    if network is None:
        raise EngineError(f"TensorRT makes no network: {log.reason}. Install TensorRT again.")
    return network


def _check_tensors(trt: Any, network: INetworkDefinition, request: BuildRequest) -> None:
    inputs = [_described(trt, network.get_input(index)) for index in range(network.num_inputs)]
    outputs = [_described(trt, network.get_output(index)) for index in range(network.num_outputs)]
    for kind, tensors, specs in (("input", inputs, request.inputs), ("output", outputs, request.outputs)):
        for name, shape, _ in tensors:
            if any(size < 0 for size in shape):
                raise Refused(
                    f"its {kind} {name} has the shape {shape}, where -1 may be any size; every size must be fixed"
                )
        found, expected = set(tensors), {(spec.name, spec.shape, spec.dtype) for spec in specs}
        if found != expected:
            raise Refused(f"its {kind}s are {sorted(found)}, the manifest says {sorted(expected)}")


def _described(trt: Any, tensor: ITensor) -> tuple[str, tuple[int, ...], str]:
    names = {trt.DataType.UINT8: "uint8", trt.DataType.FLOAT: "float32"}
    return str(tensor.name), tuple(tensor.shape), names.get(tensor.dtype, str(tensor.dtype))


def _config(tensorrt: TensorRT, builder: Builder, settings: Settings, log: Log) -> IBuilderConfig:
    trt = tensorrt.module
    config: IBuilderConfig | None = builder.create_builder_config()
    if config is None:
        raise EngineError(f"TensorRT makes no builder configuration: {log.reason}. Install TensorRT again.")
    config.clear_flag(trt.BuilderFlag.TF32)  # it would round what the file calls float to 10 bits
    if settings.workspace_mb is not None:
        config.set_memory_pool_limit(trt.MemoryPoolType.WORKSPACE, settings.workspace_mb << 20)
    if settings.optimization_level is not None:
        config.builder_optimization_level = settings.optimization_level
    if settings.sm is not None:
        _aim(tensorrt, config, settings.sm)
    return config


def _aim(tensorrt: TensorRT, config: IBuilderConfig, sm: str) -> None:
    trt = tensorrt.module
    if not hasattr(config, "set_compute_capability"):
        raise EngineError(f"{tensorrt} builds for the GPU of this machine alone: leave --sm {sm} away.")
    known = [name for name in trt.ComputeCapability.__members__ if name.startswith("SM")]
    if sm not in known:
        raise EngineError(f"{tensorrt} cannot build for {sm}, only for {', '.join(sorted(known))}. Name one of these.")
    config.num_compute_capabilities = 1
    if not config.set_compute_capability(getattr(trt.ComputeCapability, sm), 0):
        raise EngineError(f"{tensorrt} does not take {sm} as its target. Name another with --sm.")


def _take_timing_cache(config: IBuilderConfig, file: Path) -> bool | None:
    """Whether measurements of an earlier build are used; None where this TensorRT keeps none."""
    content = file.read_bytes() if file.is_file() else b""
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        for kept in (content, b""):
            cache: ITimingCache | None = config.create_timing_cache(kept)
            taken = cache is not None and config.set_timing_cache(cache, False)  # False: not one of another GPU
            if any(issubclass(one.category, DeprecationWarning) for one in said):  # TensorRT-RTX's does nothing
                return None
            if taken:
                return bool(kept)
    return None


def _keep_timing_cache(config: IBuilderConfig, file: Path) -> None:
    cache: ITimingCache | None = config.get_timing_cache()
    content = None if cache is None else cache.serialize()
    if content is not None:
        write_whole(file, memoryview(content))


def _weights_bytes(log: Log) -> int | None:
    """From the line `Total Weights Memory: 3146380 bytes`."""
    found = [re.search(r"Total Weights Memory: (\d+)", line) for line in log.lines]
    return next((int(match[1]) for match in found if match), None)


if __name__ == "__main__":
    answer(lambda asked: build_plan(BuildRequest.model_validate_json(asked), find_tensorrt()))
