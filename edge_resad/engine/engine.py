"""What every engine can do, whatever computes inside: one image in, views of its own buffers out."""

from __future__ import annotations

from collections.abc import Mapping
from types import TracebackType
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray


class Engine(Protocol):
    """One graph, ready to run. All buffers are allocated on entry; one engine belongs to one thread."""

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
        """The input buffers by name: write into them, then run."""
        ...

    @property
    def outputs(self) -> Mapping[str, NDArray[np.float32]]:
        """The output buffers by name: overwritten by the next run, so copy what you keep."""
        ...

    def run(self) -> None:
        """Compute the outputs from the inputs. Allocates nothing."""
        ...
