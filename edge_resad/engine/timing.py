"""How long an engine takes on this GPU, in a process of its own: `python -m edge_resad.engine.timing`."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path
from statistics import median

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from edge_resad.bundle import TensorSpec
from edge_resad.engine.child import answer
from edge_resad.engine.cuda import Cuda, Stream
from edge_resad.engine.plan import Plan
from edge_resad.engine.tensorrt_api import TensorRT, find_tensorrt
from edge_resad.errors import EngineError


class TimingRequest(BaseModel):
    """What to time."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    plan: Path
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    warm_up: int = Field(default=50, ge=1)  # runs: clocks rise, and the first run sets up
    runs: int = Field(default=200, ge=1)


class Timing(BaseModel):
    """Between two events around each run, on the GPU's own clock."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    median_ms: float
    worst_ms: float


def time_engine(request: TimingRequest) -> Timing:
    """Run the plan on random inputs.

    Raises:
        EngineError: no TensorRT, no pycuda, or no GPU.
        Refused: TensorRT does not load the plan, or does not run it.
    """
    tensorrt = find_tensorrt()
    with ExitStack() as opening:
        try:
            cuda = opening.enter_context(Cuda())
        except EngineError as error:
            raise EngineError(f"engines cannot be timed: {error} Or name the precision: --precision fp16.") from error
        try:
            return _timed(cuda, tensorrt, request, opening)
        except cuda.failures as error:
            raise EngineError(
                f"engines cannot be timed: the GPU failed ({error}). Name the precision: --precision fp16."
            ) from error


def _timed(cuda: Cuda, tensorrt: TensorRT, request: TimingRequest, opening: ExitStack) -> Timing:
    stream = cuda.stream()
    opening.callback(stream.close)
    start, end = cuda.event(), cuda.event()
    opening.callback(start.close)
    opening.callback(end.close)
    addresses = {spec.name: _filled(cuda, spec, stream, opening) for spec in (*request.inputs, *request.outputs)}
    plan = opening.enter_context(Plan(request.plan, request.inputs, request.outputs, tensorrt))
    opening.callback(stream.synchronize)
    for name, address in addresses.items():
        plan.bind(name, address)
    times = []
    for number in range(request.warm_up + request.runs):
        stream.record(start)
        plan.enqueue(stream.handle)
        stream.record(end)
        stream.synchronize()
        if number >= request.warm_up:
            times.append(end.ms_since(start))
    return Timing(median_ms=median(times), worst_ms=max(times))


def _filled(cuda: Cuda, spec: TensorSpec, stream: Stream, opening: ExitStack) -> int:
    """The address of memory with random content."""
    random = np.random.default_rng(0)
    content = (random.random(spec.shape) * (255 if spec.dtype == "uint8" else 1)).astype(spec.dtype)
    device = cuda.device_buffer(content.nbytes)
    opening.callback(device.close)
    host = cuda.host_buffer(content.nbytes)
    opening.callback(host.close)
    host.bytes[:] = content.reshape(-1).view(np.uint8)
    stream.upload(device.address, host.bytes)
    stream.synchronize()
    return device.address


if __name__ == "__main__":
    answer(lambda asked: time_engine(TimingRequest.model_validate_json(asked)))
