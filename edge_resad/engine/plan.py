"""A plan, loaded: TensorRT's runtime, engine and execution context, with every answer of theirs looked at."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

from edge_resad.bundle import TensorSpec
from edge_resad.engine.child import Refused
from edge_resad.engine.tensorrt_api import Log, TensorRT, recording_logger

if TYPE_CHECKING:
    from tensorrt import ICudaEngine, IExecutionContext, Runtime


class Plan:
    """One plan in the current CUDA context. Every method raises Refused where TensorRT says no, with its reason."""

    def __init__(
        self, file: Path, inputs: Sequence[TensorSpec], outputs: Sequence[TensorSpec], tensorrt: TensorRT
    ) -> None:
        self._file = file
        self._inputs = tuple(inputs)
        self._outputs = tuple(outputs)
        self._trt: Any = tensorrt.module
        self._log = Log()
        self._runtime: Runtime | None = None
        self._engine: ICudaEngine | None = None
        self._execution: IExecutionContext | None = None

    def __enter__(self) -> Plan:
        """Load it, and compare its tensors with those that are expected."""
        try:
            with _as_refusal():
                self._load()
                self._check_tensors()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def bind(self, name: str, address: int) -> None:
        """Say where a tensor is."""
        assert self._execution is not None
        with _as_refusal():
            taken = self._execution.set_tensor_address(name, address)
        if not taken:
            raise self._refused(f"it does not take an address for {name}")

    def enqueue(self, stream: int) -> None:
        """Put one run on a stream."""
        assert self._execution is not None
        with _as_refusal():
            runs = self._execution.execute_async_v3(stream)
        if not runs:
            raise self._refused("it does not run")

    def close(self) -> None:
        """Give everything back, the newest first."""
        self._execution = None
        self._engine = None
        self._runtime = None

    def _load(self) -> None:
        trt = self._trt
        try:
            content = self._file.read_bytes()
        except OSError as error:
            raise Refused(f"{self._file.name} cannot be read ({error.strerror})") from error
        try:
            self._runtime = trt.Runtime(recording_logger(trt, self._log))
        except (TypeError, RuntimeError) as error:  # the factory gave nothing
            raise self._refused(str(error)) from error
        self._engine = self._runtime.deserialize_cuda_engine(content)
        if self._engine is None:
            raise self._refused("it does not load the plan")
        self._execution = self._engine.create_execution_context()
        if self._execution is None:
            raise self._refused("it makes no execution context, most often for want of memory")

    def _check_tensors(self) -> None:
        trt = self._trt
        assert self._engine is not None
        dtypes = {trt.DataType.UINT8: "uint8", trt.DataType.FLOAT: "float32"}
        found = {}
        for index in range(self._engine.num_io_tensors):
            name = self._engine.get_tensor_name(index)
            kind = "input" if self._engine.get_tensor_mode(name) == trt.TensorIOMode.INPUT else "output"
            dtype = self._engine.get_tensor_dtype(name)
            found[name] = (kind, tuple(self._engine.get_tensor_shape(name)), dtypes.get(dtype, str(dtype)))
            if self._engine.get_tensor_location(name) != trt.TensorLocation.DEVICE:
                raise Refused(f"its {kind} {name} is not in the GPU's memory")
            if self._engine.get_tensor_format(name) != trt.TensorFormat.LINEAR:
                raise Refused(f"its {kind} {name} does not lie in rows")
        expected = {spec.name: ("input", spec.shape, spec.dtype) for spec in self._inputs}
        expected |= {spec.name: ("output", spec.shape, spec.dtype) for spec in self._outputs}
        if found != expected:
            differing = sorted(name for name in found.keys() | expected.keys() if found.get(name) != expected.get(name))
            said = "; ".join(f"{name}: {found.get(name)} instead of {expected.get(name)}" for name in differing)
            raise Refused(f"its tensors are not those of the bundle: {said}")

    def _refused(self, otherwise: str) -> Refused:
        reason = self._log.reason if self._log.errors else otherwise
        self._log.errors.clear()  # the next refusal has reasons of its own
        return Refused(reason)


@contextmanager
def _as_refusal() -> Iterator[None]:
    """What TensorRT's C++ throws, as what it refuses."""
    try:
        yield
    except (RuntimeError, MemoryError) as error:
        raise Refused(f"it raises {type(error).__name__}: {error}") from error
