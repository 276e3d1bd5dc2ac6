"""How long an engine takes on this GPU, in a process of its own: `python -m edge_resad.engine.timing`."""

from __future__ import annotations

from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from edge_resad.bundle import TensorSpec
from edge_resad.engine.child import Refused, answer
from edge_resad.engine.tensorrt_api import Log, find_tensorrt, recording_logger
from edge_resad.errors import EngineError

if TYPE_CHECKING:
    from pycuda.driver import Context, Device, DeviceAllocation, Event, Stream
    from tensorrt import ICudaEngine, IExecutionContext


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
    trt = find_tensorrt().module
    try:
        import pycuda.driver as driver
    except (ImportError, OSError) as error:
        raise EngineError(
            f"engines cannot be timed without pycuda ({error}): pip install 'edge-resad[jetson]', or name the "
            "precision: --precision fp16."
        ) from error
    try:
        driver.init()
        device: Device = driver.Device(0)
        context: Context = device.retain_primary_context()
        context.push()
    except driver.Error as error:
        raise EngineError(
            f"engines cannot be timed: the GPU does not start ({error}). Name the precision: --precision fp16."
        ) from error
    try:
        return _timed(trt, driver, request)
    finally:
        context.pop()


def _timed(trt: Any, driver: Any, request: TimingRequest) -> Timing:
    log = Log()
    runtime = trt.Runtime(recording_logger(trt, log))
    engine: ICudaEngine | None = runtime.deserialize_cuda_engine(request.plan.read_bytes())
    if engine is None:
        raise Refused(log.reason)
    execution: IExecutionContext | None = engine.create_execution_context()
    if execution is None:
        raise Refused(log.reason)
    stream: Stream = driver.Stream()
    buffers = _bind(driver, execution, request, log)
    start: Event = driver.Event()
    end: Event = driver.Event()
    times = []
    for number in range(request.warm_up + request.runs):
        start.record(stream)
        if not execution.execute_async_v3(stream.handle):
            raise Refused(log.reason)
        end.record(stream)
        end.synchronize()
        if number >= request.warm_up:
            times.append(float(end.time_since(start)))  # ms
    del buffers  # not earlier: the runs wrote into them
    return Timing(median_ms=median(times), worst_ms=max(times))


def _bind(driver: Any, execution: IExecutionContext, request: TimingRequest, log: Log) -> list[DeviceAllocation]:
    random = np.random.default_rng(0)
    buffers = []
    for spec in (*request.inputs, *request.outputs):
        content = (random.random(spec.shape) * (255 if spec.dtype == "uint8" else 1)).astype(spec.dtype)
        buffer: DeviceAllocation = driver.mem_alloc(content.nbytes)
        driver.memcpy_htod(buffer, np.ascontiguousarray(content))
        if not execution.set_tensor_address(spec.name, int(buffer)):
            raise Refused(log.reason)
        buffers.append(buffer)
    return buffers


if __name__ == "__main__":
    answer(lambda asked: time_engine(TimingRequest.model_validate_json(asked)))
