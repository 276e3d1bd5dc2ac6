"""A TensorRT for tests: a plan names an ONNX file, which ONNX Runtime computes at the addresses that were set.

It has the names of the real module that our code touches and no others; a test compares them with the real lists. Work
goes through the fake CUDA driver, so it is done when somebody synchronises, and again when a graph is launched.
"""

from __future__ import annotations

import ctypes
import json
import math
from collections import Counter
from collections.abc import Callable, Iterator
from enum import Enum
from functools import cache, wraps
from itertools import repeat
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import onnxruntime

__version__ = "10.3.0"

F = TypeVar("F", bound=Callable[..., Any])
_WORK = ctypes.CFUNCTYPE(None, ctypes.c_void_p)


class _Behaviour:
    """What the tests ask of this module: never part of TensorRT."""

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        self.calls: list[str] = []  # names of methods, in order
        self.fails: tuple[str, Any] | None = None  # a method's name and what it gives: None, False or an exception
        self.spoil: Callable[[np.ndarray[Any, Any]], Any] | None = None  # what becomes of every output
        self.kernel_us: Iterator[float] = repeat(1000.0)  # of one run after the other
        self.mapped_us = 0.0  # more, where an address is the host's
        self.blind = False  # always the first image


_behaviour = _Behaviour()
_alive: Counter[str] = Counter()


def _api(method: F) -> F:
    name = method.__qualname__

    @wraps(method)
    def called(self: Any, *arguments: Any) -> Any:
        _behaviour.calls.append(name)
        if _behaviour.fails is not None and _behaviour.fails[0] == name:
            answer = _behaviour.fails[1]
            if isinstance(answer, BaseException):
                del self, arguments  # the real one has no frames that a traceback would keep
                raise answer
            return answer
        return method(self, *arguments)

    return called  # type: ignore[return-value]


class _Counted:
    """Knows how many of its kind there are, and that none is destroyed without a CUDA context."""

    __slots__ = ()

    def _begin(self) -> None:
        _alive[type(self).__name__] += 1

    def _end(self) -> None:
        _alive[type(self).__name__] -= 1
        if not _library().fake_stack():
            _library().fake_problem(b"TensorRT was destroyed without a CUDA context")


@cache
def _library() -> ctypes.CDLL:
    library = ctypes.CDLL("libcuda.so.1")
    library.fake_launch.argtypes = [ctypes.c_void_p, _WORK, ctypes.c_void_p, ctypes.c_double]
    library.fake_may_use.argtypes = [ctypes.c_void_p, ctypes.c_size_t]
    library.fake_is_mapped.argtypes = [ctypes.c_void_p]
    library.fake_is_capturing.argtypes = [ctypes.c_void_p]
    return library


class DataType(Enum):
    FLOAT = 0
    UINT8 = 1


class TensorIOMode(Enum):
    INPUT = 1


class TensorLocation(Enum):
    DEVICE = 0


class TensorFormat(Enum):
    LINEAR = 0


class BuilderFlag(Enum):
    TF32 = 0


class MemoryPoolType(Enum):
    WORKSPACE = 0


class NetworkDefinitionCreationFlag:
    class _Member:
        def __int__(self) -> int:
            return 1

    STRONGLY_TYPED = _Member()


class ILogger:
    """Whoever derives from it says what becomes of a message, in `log`."""

    INTERNAL_ERROR, ERROR, VERBOSE = range(3)

    def __init__(self) -> None: ...


class ITensor:
    __slots__ = ("dtype", "name", "shape")

    def __init__(self, node: Any) -> None:
        self.name: str = node.name
        self.shape: tuple[int, ...] = tuple(node.shape)
        self.dtype = {"tensor(uint8)": DataType.UINT8, "tensor(float)": DataType.FLOAT}.get(node.type, node.type)

    @property
    def _nbytes(self) -> int:
        return math.prod(self.shape) * (1 if self.dtype == DataType.UINT8 else 4)

    def _at(self, address: int) -> np.ndarray[Any, Any]:
        raw: Any = (ctypes.c_ubyte * self._nbytes).from_address(address)
        flat: np.ndarray[Any, Any] = np.frombuffer(raw, np.uint8 if self.dtype == DataType.UINT8 else np.float32)
        return flat.reshape(self.shape)


def _session(onnx: str) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 4
    return onnxruntime.InferenceSession(
        onnx, options, providers=["CPUExecutionProvider"], disabled_optimizers=["WeightBiasQuantization"]
    )


class Runtime(_Counted):
    __slots__ = ("_logger",)

    def __init__(self, logger: Any) -> None:
        self._logger = logger
        self._begin()

    def __del__(self) -> None:
        self._end()

    @_api
    def deserialize_cuda_engine(self, plan: bytes) -> ICudaEngine | None:
        try:
            onnx = json.loads(plan)["onnx"]
        except (ValueError, KeyError):
            self._logger.log(ILogger.ERROR, "Serialization assertion magicTagRead == kMAGIC_TAG failed")
            return None
        return ICudaEngine(self, _session(onnx))


class ICudaEngine(_Counted):
    __slots__ = ("_inputs", "_runtime", "_session", "_tensors")

    def __init__(self, runtime: Runtime, session: onnxruntime.InferenceSession) -> None:
        self._runtime = runtime
        self._session = session
        self._inputs = {node.name for node in session.get_inputs()}
        nodes = (*session.get_inputs(), *session.get_outputs())
        self._tensors = {node.name: ITensor(node) for node in nodes}
        self._begin()

    def __del__(self) -> None:
        self._end()

    @property
    def num_io_tensors(self) -> int:
        return len(self._tensors)

    @_api
    def get_tensor_name(self, index: int) -> str:
        name: str = list(self._tensors)[index]
        return name

    @_api
    def get_tensor_mode(self, name: str) -> object:
        return TensorIOMode.INPUT if name in self._inputs else "OUTPUT"

    @_api
    def get_tensor_dtype(self, name: str) -> Any:
        return self._tensors[name].dtype

    @_api
    def get_tensor_shape(self, name: str) -> tuple[int, ...]:
        return self._tensors[name].shape

    @_api
    def get_tensor_location(self, name: str) -> TensorLocation:
        return TensorLocation.DEVICE

    @_api
    def get_tensor_format(self, name: str) -> TensorFormat:
        return TensorFormat.LINEAR

    @_api
    def create_execution_context(self) -> IExecutionContext | None:
        return IExecutionContext(self)


class IExecutionContext(_Counted):
    __slots__ = ("_addresses", "_engine", "_first_image", "_gone", "_ran", "_works")

    def __init__(self, engine: ICudaEngine) -> None:
        self._engine = engine
        self._addresses: dict[str, int] = {}
        self._works: dict[tuple[int, ...], Any] = {}  # for as long as something may call them
        self._first_image: list[np.ndarray[Any, Any]] = []
        self._gone: list[bool] = []
        self._ran = False
        self._begin()

    def __del__(self) -> None:
        self._gone.append(True)
        _kept.extend(self._works.values())
        self._end()

    @_api
    def set_tensor_address(self, name: str, memory: int) -> bool:
        if name not in self._engine._tensors or memory % 256:
            return False
        self._addresses[name] = memory
        return True

    @_api
    def execute_async_v3(self, stream_handle: int) -> bool:
        library, logger = _library(), self._engine._runtime._logger
        if missing := self._engine._tensors.keys() - self._addresses.keys():
            logger.log(ILogger.ERROR, f"Address is not set for {sorted(missing)}")
            return False
        if library.fake_is_capturing(stream_handle) and not self._ran:
            logger.log(ILogger.ERROR, "operation not permitted when stream is capturing")
            return False
        self._ran = True
        mapped = any(library.fake_is_mapped(address) for address in self._addresses.values())
        key = tuple(self._addresses.values())
        if key not in self._works:
            self._works[key] = _WORK(self._work(dict(self._addresses)))
        cost = next(_behaviour.kernel_us) + (_behaviour.mapped_us if mapped else 0)
        return bool(library.fake_launch(stream_handle, self._works[key], None, cost) == 0)

    def _work(self, addresses: dict[str, int]) -> Callable[[Any], None]:
        """What the GPU does; it must not keep this context alive."""
        session, tensors, inputs = self._engine._session, self._engine._tensors, self._engine._inputs
        gone, first_image = self._gone, self._first_image

        def work(_: Any) -> None:
            library = _library()
            if gone:
                library.fake_problem(b"TensorRT works for a context that was destroyed")
                return
            if not all(library.fake_may_use(address, tensors[name]._nbytes) for name, address in addresses.items()):
                return
            given = {name: tensors[name]._at(addresses[name]) for name in inputs}
            if _behaviour.blind and "image" in given:
                first_image[:] = first_image or [given["image"].copy()]
                given["image"] = first_image[0]
            names = [name for name in tensors if name not in inputs]
            for name, output in zip(names, session.run(names, given), strict=True):
                spoilt = output if _behaviour.spoil is None else _behaviour.spoil(output)
                np.copyto(tensors[name]._at(addresses[name]), spoilt)

        return work


_kept: list[Any] = []  # what a late launch may still call


class INetworkDefinition:
    __slots__ = ("_inputs", "_onnx", "_outputs")

    def __init__(self) -> None:
        self._onnx = ""
        self._inputs: list[ITensor] = []
        self._outputs: list[ITensor] = []

    @property
    def num_inputs(self) -> int:
        return len(self._inputs)

    @property
    def num_outputs(self) -> int:
        return len(self._outputs)

    def get_input(self, index: int) -> ITensor:
        return self._inputs[index]

    def get_output(self, index: int) -> ITensor:
        return self._outputs[index]


class IBuilderConfig:
    __slots__ = ("builder_optimization_level",)

    def clear_flag(self, flag: BuilderFlag) -> None: ...

    def set_memory_pool_limit(self, pool: MemoryPoolType, pool_size: int) -> None: ...

    def create_timing_cache(self, serialized_timing_cache: bytes) -> None: ...


class Builder:
    __slots__ = ()

    def __init__(self, logger: ILogger) -> None: ...

    def create_network(self, flags: int = 0) -> INetworkDefinition:
        return INetworkDefinition()

    def create_builder_config(self) -> IBuilderConfig:
        return IBuilderConfig()

    def build_serialized_network(self, network: INetworkDefinition, config: IBuilderConfig) -> bytes:
        return json.dumps({"onnx": network._onnx}).encode()


class OnnxParser:
    __slots__ = ("_network",)

    def __init__(self, network: INetworkDefinition, logger: ILogger) -> None:
        self._network = network

    def parse_from_file(self, model: str) -> bool:
        session = _session(model)
        self._network._onnx = str(Path(model).resolve())
        self._network._inputs = [ITensor(node) for node in session.get_inputs()]
        self._network._outputs = [ITensor(node) for node in session.get_outputs()]
        return True
