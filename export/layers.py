"""Where in the encoder precisions part: every named tensor beside that of FP32, on the same frames."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
from numpy.typing import NDArray

from edge_resad.engine.onnx_runtime import DISABLED, session_options
from edge_resad.errors import BundleError
from export.quantize import tensors_of

Image = NDArray[np.uint8]


def layer_differences(
    expected: Path,
    found: Path,
    images: Sequence[Image],
    *,
    threads: int = 1,
    step: Callable[[], None] = lambda: None,
) -> dict[str, float]:
    """Relative RMS difference of what the backbone's layers give, and of the features: by name, in the graph's order.

    sqrt(sum (x - x32)^2 / sum x32^2) over all values of all frames. Of a quantised tensor x is what its readers see:
    rounded and cut off. A tensor that only one of the graphs has, as one that was merged into another, is left out.

    expected, found: FP32's encoder and another's. images: each (S, S, 3) uint8 BGR.

    Raises:
        BundleError: ONNX Runtime cannot run a graph, or it gives values that are no numbers.
    """
    theirs = onnx.load(expected)
    names = [*tensors_of(theirs), *(value.name for value in theirs.graph.output)]
    ours = onnx.load(found)
    there = {name for node in ours.graph.node for name in node.output}
    seen_as = {name: f"{name}.dq" if f"{name}.dq" in there else name for name in names}
    watched = [name for name in names if seen_as[name] in there]
    errors, sizes = np.zeros(len(watched)), np.zeros(len(watched))
    one, other = (
        _Watched(theirs, watched, expected, threads),
        _Watched(ours, [seen_as[n] for n in watched], found, threads),
    )
    for image in images:
        with np.errstate(invalid="ignore"):  # what is no number is found below
            for index, (a, b) in enumerate(zip(one.seen(image), other.seen(image), strict=True)):
                exact = a.astype(np.float64)
                errors[index] += np.square(b.astype(np.float64) - exact).sum()
                sizes[index] += np.square(exact).sum()
        step()
    if not np.isfinite(errors).all():
        worst = watched[int(np.argmin(np.isfinite(errors)))]
        raise BundleError(
            f"{found} gives values that are no numbers at {worst}. Expected finite ones: export without what makes "
            "them, a head or ranges (--head none, --ranges none)."
        )
    return {
        name: float(np.sqrt(error / size)) if size > 0 else 0.0
        for name, error, size in zip(watched, errors, sizes, strict=True)
    }


class _Watched:
    """An encoder that gives these tensors."""

    def __init__(self, model: onnx.ModelProto, tensors: Sequence[str], file: Path, threads: int) -> None:
        there = {value.name for value in model.graph.output}
        model.graph.output.extend(onnx.ValueInfoProto(name=name) for name in tensors if name not in there)
        options = session_options(threads)
        try:
            self._session = onnxruntime.InferenceSession(
                model.SerializeToString(), options, providers=["CPUExecutionProvider"], disabled_optimizers=DISABLED
            )
        except Exception as error:  # ONNX Runtime's own exceptions share no base class
            raise BundleError(
                f"ONNX Runtime cannot load {file}: {str(error).splitlines()[0]} Export the bundle again."
            ) from error
        self._tensors = list(tensors)

    def seen(self, image: Image) -> list[NDArray[Any]]:
        return list(self._session.run(self._tensors, {"image": image}))
