"""What every engine can do, whatever computes inside: one image in, views of its own buffers out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

Provider = Literal["cpu", "cuda", "tensorrt"]
"""ONNX Runtime on the CPU, ONNX Runtime on CUDA, or the engines that `edge-resad build` has built."""

IoMemory = Literal["auto", "device", "mapped"]
"""Where TensorRT reads its image and writes its outputs: the GPU's memory, with copies, or the host's, without."""


@dataclass(frozen=True, eq=False)
class Constants:
    """Values of all inputs but the image, such as a bank's: they belong together, and never change."""

    by_input: Mapping[str, NDArray[Any]]


class Engine(Protocol):
    """One graph, ready to run. All buffers are allocated on entry and void after exit; one engine, one thread."""

    def __enter__(self) -> Engine:
        """Load the graph and allocate its buffers."""
        ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Release everything."""
        ...

    @property
    def inputs(self) -> Mapping[str, NDArray[Any]]:
        """The input buffers by name. Write the image into its own, which every run reads; the others by `write`."""
        ...

    @property
    def outputs(self) -> Mapping[str, NDArray[np.float32]]:
        """The output buffers by name: overwritten by the next run, so copy what you keep."""
        ...

    @property
    def timings(self) -> Mapping[str, float]:
        """Milliseconds of the last run's stages on the engine's own clock; empty where it has none."""
        ...

    def write(self, name: str, values: NDArray[Any]) -> None:
        """Give an input a value that stays until the next one, such as a bank. It holds from the next run on."""
        ...

    def put(self, constants: Constants) -> None:
        """Give all inputs but the image values that stay. An engine may keep them, and has them again sooner."""
        ...

    def run(self) -> None:
        """Compute the outputs from the inputs. Allocates nothing."""
        ...
