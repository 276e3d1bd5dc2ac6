"""What quantising one layer alone does to the map: so that a few bad ones can stay in float."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
from numpy.typing import NDArray

from edge_resad.engine.onnx_runtime import DISABLED, session_options
from export.quantize import layers_of, quantize
from export.ranges import Dialect, Range

Image = NDArray[np.uint8]
Rows = NDArray[np.float32]


def sensitivity(
    encoder: Path,
    ranges: Mapping[str, Range],
    images: Sequence[Image],
    dialect: Dialect,
    *,
    threads: int = 1,
    progress: Callable[[str, int, int], None] = lambda stage, done, total: None,
) -> dict[str, float]:
    """What each layer's quantisation costs: how far a part then is from itself, mean over patches and levels.

    The part's FP32 features are the bank, its features with this one layer in INT8 are what is judged: whatever the map
    shows is the layer's error, in the map's own unit, 0 to 2. Good parts of a product are usually at 0.02 to 0.2.

    encoder: the FP32 graph. images: each (S, S, 3) uint8 BGR.
    """
    model = onnx.load(encoder)
    layers = layers_of(model, dialect)
    expected = [_features(_session(model, threads), image) for image in images]
    costs = {}
    for index, layer in enumerate(layers):
        alone = onnx.ModelProto()
        alone.CopyFrom(model)
        session = _session(quantize(alone, ranges, dialect, [layer]), threads)
        found = [_features(session, image) for image in images]
        costs[layer] = float(np.mean([distance(a, b) for a, b in zip(found, expected, strict=True)]))
        progress(f"layers, {dialect}", index + 1, len(layers))
    return costs


def distance(found: list[Rows], expected: list[Rows]) -> float:
    """Mean over levels of the patches' mean cosine distance."""
    return float(np.mean([1 - (_unit(a) * _unit(b)).sum(1).mean() for a, b in zip(found, expected, strict=True)]))


def _unit(rows: Rows) -> NDArray[np.float64]:
    wide = rows.astype(np.float64)
    return np.asarray(wide / np.maximum(np.linalg.norm(wide, axis=1, keepdims=True), 1e-6))


def _session(model: onnx.ModelProto, threads: int) -> onnxruntime.InferenceSession:
    options = session_options(threads)
    return onnxruntime.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"], disabled_optimizers=DISABLED
    )


def _features(session: onnxruntime.InferenceSession, image: Image) -> list[Rows]:
    return list(session.run(None, {"image": image}))
