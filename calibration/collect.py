"""Watch an encoder at work: what its tensors hold when it sees real frames."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
from numpy.typing import NDArray

from calibration.methods import BINS, Histogram, Limits
from edge_resad.engine.onnx_runtime import session_options
from edge_resad.errors import CalibrationError

Image = NDArray[np.uint8]


def histograms(
    encoder: Path,
    tensors: Sequence[str],
    images: Sequence[Image],
    *,
    threads: int = 1,
    progress: Callable[[str, int, int], None] = lambda stage, done, total: None,
) -> dict[str, Histogram]:
    """Run the FP32 encoder twice over the images: for every tensor's extent and means, and for its histogram.

    encoder: the ONNX file.
    images:  each (S, S, 3) uint8 BGR, as the encoder takes it.

    Raises:
        CalibrationError: a value that is not finite.
    """
    session = _watching(encoder, tensors, threads)
    extents: dict[str, Limits] = {}
    sums: dict[str, NDArray[np.float64]] = {}
    for index, image in enumerate(images):
        for name, value in _seen(session, tensors, image).items():
            low, high = float(value.min()), float(value.max())
            if not np.isfinite([low, high]).all():
                raise CalibrationError(
                    f"{name} is not finite for frame {index}. Expected numbers: the bundle's network is damaged, or "
                    "the frame is no picture of a part. Export the bundle again, or remove the frame."
                )
            before = extents.get(name, Limits(low, high))
            extents[name] = Limits(min(low, before.low), max(high, before.high))
            sums[name] = sums.get(name, np.zeros(value.shape[1])) + value.mean((0, 2, 3), dtype=np.float64)
        progress("extent", index + 1, len(images))
    counts = {name: np.zeros(BINS, np.int64) for name in tensors}
    for index, image in enumerate(images):
        for name, value in _seen(session, tensors, image).items():
            counts[name] += _counted(value, extents[name])
        progress("histogram", index + 1, len(images))
    return {name: Histogram(*extents[name], counts[name], sums[name] / len(images)) for name in tensors}


def _watching(encoder: Path, tensors: Sequence[str], threads: int) -> onnxruntime.InferenceSession:
    """A session that gives these tensors instead of features."""
    model = onnx.load(encoder)
    del model.graph.output[:]
    model.graph.output.extend(onnx.ValueInfoProto(name=name) for name in tensors)
    options = session_options(threads)
    return onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])


def _seen(session: onnxruntime.InferenceSession, tensors: Sequence[str], image: Image) -> dict[str, NDArray[Any]]:
    return dict(zip(tensors, session.run(list(tensors), {"image": image}), strict=True))


def _counted(value: NDArray[np.float32], extent: Limits) -> NDArray[np.int64]:
    width = max(extent.high - extent.low, 1e-12)
    bins = ((value.reshape(-1) - np.float32(extent.low)) * np.float32(BINS / width)).astype(np.int32)
    return np.bincount(np.clip(bins, 0, BINS - 1), minlength=BINS).astype(np.int64)
