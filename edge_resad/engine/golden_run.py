"""The run that a bundle's engines are compared with at every start, computed once by ONNX Runtime in FP32."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from edge_resad.bundle import Bundle
from edge_resad.engine.fusion import uncalibrated
from edge_resad.engine.golden import Arrays, Golden
from edge_resad.engine.inspector import write_bank
from edge_resad.engine.onnx_runtime import OnnxRuntimeEngine


def golden_runs(bundle: Bundle) -> dict[str, Golden]:
    """A drawn picture through the encoder, and through the detector against one that is the same on its left half.

    returns: by the graphs' names; nothing where the bundle holds no FP32 graphs for ONNX Runtime.

    Raises:
        BundleError: ONNX Runtime does not load the graphs.
    """
    manifest = bundle.manifest
    pair = manifest.precisions.get("fp32")
    if pair is None:
        return {}
    reference, other = (_picture(manifest.image_size, seed) for seed in (1, 2))
    middle = manifest.image_size // 2
    shown = np.concatenate([reference[:, :middle], other[:, middle:]], 1)
    with OnnxRuntimeEngine(bundle.file(pair.encoder), pair.encoder) as encoder:
        features = []
        for image in (reference, shown):
            np.copyto(encoder.inputs["image"], image)
            encoder.run()
            features.append(_copies(encoder.outputs))
    rows = tuple(
        features[0][f"feature_{index}"][: level.capacity].astype(np.float32)
        for index, level in enumerate(manifest.levels)
    )
    with OnnxRuntimeEngine(bundle.file(pair.detector), pair.detector) as detector:
        norm = np.ones((len(manifest.levels), 2), np.float32)
        write_bank(detector, bundle, rows, norm, uncalibrated(manifest, manifest.default_head))
        np.copyto(detector.inputs["image"], shown)
        detector.run()
        judged = Golden(inputs=_copies(detector.inputs), outputs=_copies(detector.outputs))
    return {"encoder": Golden(inputs={"image": shown}, outputs=features[1]), "detector": judged}


def _copies(buffers: Arrays) -> Arrays:
    return {name: buffer.copy() for name, buffer in buffers.items()}


def _picture(size: int, seed: int) -> NDArray[np.uint8]:
    """Coloured patches with edges, no two pictures alike. (size, size, 3) uint8."""
    random = np.random.default_rng(seed)
    layers = [
        cv2.resize(random.random((cells, cells, 3)), (size, size), interpolation=cv2.INTER_NEAREST)
        for cells in (3, 8, 24)
    ]
    return np.asarray(255 * (0.6 * layers[seed % 2] + 0.3 * layers[1] + 0.1 * layers[2]), np.uint8)
