"""An engine on ONNX Runtime: every tensor is bound once to memory of ours."""

from __future__ import annotations

import platform
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from edge_resad.bundle import GraphSpec
from edge_resad.engine.engine import Constants
from edge_resad.errors import BundleError, SettingsError

_PROVIDERS = {
    "cpu": "CPUExecutionProvider",
    "cuda": "CUDAExecutionProvider",
}

_VNNI = {"avx512_vnni", "avx512vnni", "avx_vnni"}


@cache
def products_overflow(cpuinfo: Path = Path("/proc/cpuinfo")) -> bool:
    """Whether this CPU adds pairs of 8-bit products in 16 bits, as x86 without VNNI does.

    ONNX Runtime then has slower kernels that do not overflow; elsewhere they would cost a third for nothing.
    """
    if platform.machine().lower() not in ("x86_64", "amd64"):
        return False
    try:
        flags = cpuinfo.read_text(encoding="utf-8").partition("flags")[2].partition("\n")[0].split()
    except OSError:
        return True
    return not _VNNI.intersection(flags)


DISABLED = ["WeightBiasQuantization"]
"""Quantises what a graph leaves in float, with one scale for all channels, and biases with an FP16 scale of 0."""


def session_options(threads: int) -> onnxruntime.SessionOptions:
    """How every session is opened that has to compute what the product's computes."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 3  # errors; warnings about a device's CPU topology help nobody at the line
    options.add_session_config_entry("session.intra_op.allow_spinning", "0" if threads == 1 else "1")
    if products_overflow():
        options.add_session_config_entry("session.x64quantprecision", "1")
    return options


class OnnxRuntimeEngine:
    """Runs one graph of a bundle; see `edge_resad.engine.engine.Engine`."""

    def __init__(self, file: Path, graph: GraphSpec, *, provider: str = "cpu", threads: int = 1) -> None:
        self._file = file
        self._graph = graph
        self._provider = provider
        self._threads = threads
        self._inputs: dict[str, NDArray[Any]] = {}
        self._outputs: dict[str, NDArray[np.float32]] = {}

    def __enter__(self) -> OnnxRuntimeEngine:
        options, providers = session_options(self._threads), [self._provider_name()]
        try:
            self._session = onnxruntime.InferenceSession(
                str(self._file), options, providers=providers, disabled_optimizers=DISABLED
            )
        except Exception as error:  # ONNX Runtime's own exceptions share no base class
            raise BundleError(
                f"ONNX Runtime cannot load {self._file}: {str(error).splitlines()[0]} Export the bundle again."
            ) from error
        self._check_signature()
        self._inputs = {spec.name: np.zeros(spec.shape, spec.dtype) for spec in self._graph.inputs}
        self._outputs = {spec.name: np.zeros(spec.shape, np.float32) for spec in self._graph.outputs}
        self._binding = self._session.io_binding()
        for name, buffer in self._inputs.items():
            self._binding.bind_input(name, "cpu", 0, buffer.dtype.type, buffer.shape, buffer.ctypes.data)
        for name, buffer in self._outputs.items():
            self._binding.bind_output(name, "cpu", 0, np.float32, buffer.shape, buffer.ctypes.data)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        del self._binding, self._session

    @property
    def inputs(self) -> Mapping[str, NDArray[Any]]:
        """The input buffers by name: write into them, then run."""
        return self._inputs

    @property
    def outputs(self) -> Mapping[str, NDArray[np.float32]]:
        """The output buffers by name: overwritten by the next run, so copy what you keep."""
        return self._outputs

    @property
    def timings(self) -> Mapping[str, float]:
        """Empty: ONNX Runtime has no clock of its own."""
        return {}

    def write(self, name: str, values: NDArray[Any]) -> None:
        """Give an input a value that stays until the next one."""
        np.copyto(self._inputs[name], values)

    def put(self, constants: Constants) -> None:
        """Give all inputs but the image values that stay until the next ones."""
        for name, values in constants.by_input.items():
            self.write(name, values)

    def run(self) -> None:
        """Compute the outputs from the inputs. Allocates nothing of ours."""
        self._session.run_with_iobinding(self._binding)

    def _provider_name(self) -> str:
        wanted = _PROVIDERS[self._provider]
        available = onnxruntime.get_available_providers()
        if wanted not in available:
            usable = [name for name, full in _PROVIDERS.items() if full in available]
            raise SettingsError(
                f"[engine] provider is {self._provider!r}, which this ONNX Runtime does not have; it has "
                f"{', '.join(usable)}. Choose one of these, or install onnxruntime-gpu."
            )
        return wanted

    def _check_signature(self) -> None:
        for kind, specs, nodes in (
            ("input", self._graph.inputs, self._session.get_inputs()),
            ("output", self._graph.outputs, self._session.get_outputs()),
        ):
            found = {node.name: tuple(node.shape) for node in nodes}
            expected = {spec.name: spec.shape for spec in specs}
            if found != expected:
                raise BundleError(
                    f"{self._file} has the {kind}s {found}, its manifest says {expected}. Export the bundle again."
                )
