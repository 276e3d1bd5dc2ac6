"""Ranges for INT8 of the small profile, found on a few drawn parts in a moment."""

from __future__ import annotations

import numpy as np
import onnx

from calibration.collect import histograms
from calibration.methods import find_range
from edge_resad.bundle import Bundle
from edge_resad.demo.products import draw
from edge_resad.image import fit
from export.quantize import tensors_of
from export.ranges import Ranges

FLOAT = (
    "conv_stem", "blocks.0.depthwise_conv", "blocks.0.project_conv", "blocks.1.expand_conv", "blocks.1.depthwise_conv",
)  # fmt: skip
"""The first layers of the backbone: in INT8 these cost most."""


def found_ranges(bundle: Bundle, parts: int = 12) -> Ranges:
    """What the encoder's tensors reach on good flanges and boards; FLOAT is said to cost too much."""
    manifest = bundle.manifest
    size = manifest.image_size
    drawn = [draw(("flange", "board")[seed % 2], seed, size=160).image for seed in range(parts)]
    images = [fit(image, size, np.empty((size, size, 3), np.uint8)) for image in drawn]
    encoder = bundle.file(bundle.graphs("fp32").encoder)
    seen = histograms(encoder, tensors_of(onnx.load(encoder)), images)
    return Ranges(
        method="mse",
        profile=manifest.profile,
        image_size=size,
        backbone_sha256=manifest.backbone_sha256,
        images=tuple(f"{seed:064x}" for seed in range(parts)),
        tensors={name: find_range(histogram, "mse") for name, histogram in seen.items()},
        layers={"tensorrt": {}, "onnxruntime": {f"backbone.{layer}": 1.0 for layer in FLOAT}},
    )
