"""An engine on TensorRT: every buffer allocated on entry, one CUDA graph launched a run, every stage timed."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from statistics import median
from types import TracebackType
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from edge_resad.bundle import TensorSpec
from edge_resad.engine.child import Refused
from edge_resad.engine.cuda import Cuda
from edge_resad.engine.device_copies import DeviceCopies, DeviceCopy
from edge_resad.engine.engine import Constants, IoMemory
from edge_resad.engine.golden import TOLERANCE, Golden, fault
from edge_resad.engine.libcuda import CudaGraph
from edge_resad.engine.plan import Plan
from edge_resad.engine.tensorrt_api import TensorRT
from edge_resad.errors import EngineError

log = logging.getLogger(__name__)

STAGES = ("copy_in_ms", "compute_ms", "copy_out_ms")
_WARM_UP = 10  # runs: the first one sets up, and none may do so while it is captured
_TRIALS = 30  # runs of each memory that auto compares
_ALIGNMENT = 256  # bytes; what TensorRT asks of an address


class TensorRTEngine:
    """Runs one plan; see `edge_resad.engine.engine.Engine`. It belongs to the thread that enters it."""

    def __init__(
        self,
        plan: Path,
        inputs: Sequence[TensorSpec],
        outputs: Sequence[TensorSpec],
        *,
        tensorrt: TensorRT,
        rebuild: str,
        io_memory: IoMemory = "auto",
        golden: Golden | None = None,
        tolerance: float = TOLERANCE["fp32"],
    ) -> None:
        """Remember what to run.

        rebuild: the command that builds the plan again, for messages.
        golden:  a run whose outputs are known; tolerance: how far the plan's may lie from them, see `golden`.
        """
        self._plan_file = plan
        self._specs = (tuple(inputs), tuple(outputs))
        self._tensorrt = tensorrt
        self._rebuild = rebuild
        self._io_memory = io_memory
        self._golden = golden
        self._tolerance = tolerance
        self._inputs: dict[str, NDArray[Any]] = {}
        self._outputs: dict[str, NDArray[np.float32]] = {}
        self._timings = dict.fromkeys(STAGES, 0.0)
        self._changed: dict[str, None] = {}  # inputs that were written since the last run, in order
        self._wanted: DeviceCopy | None = None  # what was put since the last run, before what was written
        self._graph: CudaGraph | None = None
        self._mapped = False

    def __enter__(self) -> TensorRTEngine:
        self._owner = threading.get_ident()
        with ExitStack() as opening:
            cuda = opening.enter_context(Cuda())
            self._failures = cuda.failures
            with self._in_a_sentence():
                self._open(cuda, opening)
                self._settle(cuda, opening)
            wrong = fault(self, self._golden, self._tolerance)
            if wrong is not None:
                raise EngineError(
                    f"the engine {self._plan_file} is broken: {wrong}. Build it again: {self._rebuild} --force"
                )
            self._closing = opening.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._closing.close()

    @property
    def inputs(self) -> Mapping[str, NDArray[Any]]:
        """The input buffers by name: the image's to write into; the others take `write` and `put`."""
        return self._inputs

    @property
    def outputs(self) -> Mapping[str, NDArray[np.float32]]:
        """The output buffers by name: overwritten by the next run, so copy what you keep."""
        return self._outputs

    @property
    def timings(self) -> Mapping[str, float]:
        """Milliseconds of the last run's stages on the GPU's clock: `copy_in_ms`, `compute_ms`, `copy_out_ms`."""
        return self._timings

    @property
    def io_memory(self) -> Literal["device", "mapped"]:
        """Where image and outputs are."""
        return "mapped" if self._mapped else "device"

    @property
    def captured(self) -> bool:
        """Whether a run launches a CUDA graph."""
        return self._graph is not None

    def write(self, name: str, values: NDArray[Any]) -> None:
        """Give an input a value that stays. It is copied to the GPU once, before the next run computes."""
        if name in self._kept.views:
            np.copyto(self._kept.views[name], values)
            self._changed[name] = None
        else:
            np.copyto(self._inputs[name], values)

    def put(self, constants: Constants) -> None:
        """Give all inputs but the image values that stay; the GPU keeps them for as long as somebody has them.

        The GPU copies them to where the plan reads them, before the next run computes: no address changes.

        Raises:
            EngineError: the GPU refuses. They must be put once more.
        """
        self._check_thread()
        copy = self._copies.find(constants)
        if copy is None:
            self._wanted = None  # its copy may be the one that makes room
            for name, view in self._kept.views.items():
                np.copyto(view, constants.by_input[name])
            with self._in_a_sentence():
                copy = self._copies.add(constants, self._stream, self._kept.host.bytes)
        self._wanted = copy
        self._changed.clear()

    def run(self) -> None:
        """Compute the outputs from the inputs. Allocates nothing.

        Raises:
            EngineError: TensorRT or the GPU refuses.
        """
        self._check_thread()
        with self._in_a_sentence():
            self._run()

    def _check_thread(self) -> None:
        if threading.get_ident() != self._owner:
            raise RuntimeError("an engine runs in the thread that entered it: CUDA's context is current there alone")

    def _run(self) -> None:
        stream, (start, ready, computed, done) = self._stream, self._events
        stream.record(start)
        if self._wanted is not None:
            stream.copy(self._kept.device.address, self._wanted.address, self._kept.size)
        for name in self._changed:
            stream.upload(self._kept.addresses[name], self._kept.raw[name])
        if not self._mapped and self._fresh.size:
            stream.upload(self._fresh.device.address, self._fresh.host.bytes)
        stream.record(ready)
        if self._graph is not None:
            self._graph.launch()
        else:
            self._plan.enqueue(stream.handle)
        stream.record(computed)
        if not self._mapped:
            stream.download(self._results.host.bytes, self._results.device.address)
        stream.record(done)
        stream.synchronize()
        self._wanted = None
        self._changed.clear()
        self._timings["copy_in_ms"] = ready.ms_since(start)
        self._timings["compute_ms"] = computed.ms_since(ready)
        self._timings["copy_out_ms"] = done.ms_since(computed)

    def _open(self, cuda: Cuda, opening: ExitStack) -> None:
        """What is made last is released first."""
        inputs, outputs = self._specs
        fresh = [spec for spec in inputs if spec.name == "image"]
        kept = [spec for spec in inputs if spec.name != "image"]
        can_map = self._io_memory == "mapped" or (self._io_memory == "auto" and cuda.integrated)
        self._stream = cuda.stream()
        opening.callback(self._stream.close)
        self._events = []
        for _ in range(4):
            self._events.append(cuda.event())
            opening.callback(self._events[-1].close)
        opening.callback(self._forget)
        self._fresh = _Block(cuda, fresh, opening, mapped=can_map)
        self._kept = _Block(cuda, kept, opening)
        self._copies = DeviceCopies(cuda, self._kept.size)
        opening.callback(self._copies.close)
        self._copies.open()
        self._results = _Block(cuda, outputs, opening, mapped=can_map)
        self._plan = opening.enter_context(Plan(self._plan_file, inputs, outputs, self._tensorrt))
        opening.callback(self._finish)
        self._inputs = self._fresh.views | {name: _read_only(view) for name, view in self._kept.views.items()}
        self._outputs = self._results.views
        self._changed = dict.fromkeys(self._kept.views)  # zeros, until somebody writes
        for spec in kept:
            self._plan.bind(spec.name, self._kept.addresses[spec.name])

    def _settle(self, cuda: Cuda, opening: ExitStack) -> None:
        """Choose the memory, warm up, and capture."""
        self._bind(mapped=self._io_memory == "mapped")
        if self._io_memory == "auto" and cuda.integrated:
            times = {}
            for mapped in (False, True):
                self._bind(mapped=mapped)
                times[mapped] = self._median_ms()
            self._bind(mapped=times[True] < times[False])
            log.info(
                "image and outputs are in %s memory: %.2f ms a run mapped, %.2f ms with copies",
                self.io_memory, times[True], times[False],
            )  # fmt: skip
        for _ in range(_WARM_UP):
            self._run()
        refusals: tuple[type[Exception], ...] = (Refused, *self._failures)
        try:
            graph = self._stream.capture(lambda: self._plan.enqueue(self._stream.handle))
        except refusals as error:
            log.warning("%s runs without a CUDA graph, somewhat slower: %s", self._plan_file.name, error)
            return
        opening.callback(graph.close)
        opening.callback(self._finish)
        self._graph = graph

    def _bind(self, *, mapped: bool) -> None:
        for block in (self._fresh, self._results):
            for name in block.views:
                self._plan.bind(name, block.mapped_addresses[name] if mapped else block.addresses[name])
        self._mapped = mapped

    def _median_ms(self) -> float:
        times = []
        for number in range(_WARM_UP + _TRIALS):
            self._run()
            if number >= _WARM_UP:
                times.append(sum(self._timings.values()))
        return median(times)

    def _finish(self) -> None:
        """Wait for what is on the way, before its memory goes."""
        self._graph = None
        with suppress(*self._failures):
            self._stream.synchronize()

    def _forget(self) -> None:
        """Their memory is gone."""
        self._inputs, self._outputs = {}, {}

    @contextmanager
    def _in_a_sentence(self) -> Iterator[None]:
        try:
            yield
        except Refused as refusal:
            raise EngineError(
                f"TensorRT does not run the engine {self._plan_file}: {refusal}. "
                f"Build it again: {self._rebuild} --force"
            ) from refusal
        except self._failures as error:
            raise EngineError(
                f"the GPU failed at the engine {self._plan_file}: {error}. Start the station again; if that does not "
                "help, the device."
            ) from error


class _Block:
    """Several tensors one after another: at the host, and at the GPU for who copies them there."""

    def __init__(self, cuda: Cuda, specs: Sequence[TensorSpec], opening: ExitStack, *, mapped: bool = False) -> None:
        offsets, self.size = _offsets(specs)
        self.views: dict[str, NDArray[Any]] = {}
        self.raw: dict[str, NDArray[np.uint8]] = {}  # the same as bytes
        self.addresses: dict[str, int] = {}
        self.mapped_addresses: dict[str, int] = {}
        if not self.size:
            return
        self.device = cuda.device_buffer(self.size)
        opening.callback(self.device.close)
        self.host = cuda.host_buffer(self.size, mapped=mapped)
        opening.callback(self.host.close)
        opening.callback(self._forget)
        for spec, offset in zip(specs, offsets, strict=True):
            self.raw[spec.name] = self.host.bytes[offset : offset + _bytes(spec)]
            self.views[spec.name] = self.raw[spec.name].view(spec.dtype).reshape(spec.shape)
            self.addresses[spec.name] = self.device.address + offset
            if mapped:
                self.mapped_addresses[spec.name] = self.host.address + offset

    def _forget(self) -> None:
        self.views.clear()
        self.raw.clear()


def _offsets(specs: Sequence[TensorSpec]) -> tuple[list[int], int]:
    offsets, end = [], 0
    for spec in specs:
        offsets.append(end)
        end += -(-_bytes(spec) // _ALIGNMENT) * _ALIGNMENT
    return offsets, end


def _bytes(spec: TensorSpec) -> int:
    return int(np.prod(spec.shape, dtype=np.int64)) * np.dtype(spec.dtype).itemsize


def _read_only(view: NDArray[Any]) -> NDArray[Any]:
    locked: NDArray[Any] = view.view()
    locked.flags.writeable = False
    return locked
