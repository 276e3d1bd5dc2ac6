"""Small graphs as TensorRT is given them, and bundles whose rungs hold them."""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

from edge_resad.bundle import (
    SCHEMA_VERSION,
    Bundle,
    GraphPair,
    GraphSpec,
    Manifest,
    Rung,
    TensorSpec,
    Weights,
    file_digest,
    write_bundle,
)

needs_builder = pytest.mark.skipif(
    importlib.util.find_spec("tensorrt_rtx") is None or importlib.util.find_spec("tensorrt") is not None,
    reason="needs TensorRT-RTX, and no other TensorRT, to build without a GPU: pip install 'edge-resad[trt-test]'",
)

CHANNELS, SIZE = 32, 16
SHAPE = (1, CHANNELS, SIZE, SIZE)


@dataclass(frozen=True)
class Quantized:
    """How a convolution's Q/DQ nodes are, from what TensorRT takes to what it refuses."""

    zero_point: int = 0
    int32_bias: bool = False
    shape: tuple[int | str, ...] = SHAPE


def float_conv() -> bytes:
    """A 3 x 3 convolution, x to y."""
    return _model([_conv("x", "w")], [numpy_helper.from_array(_weight(), "w")], SHAPE)


def int8_conv(how: Quantized | None = None) -> bytes:
    """The same with Q/DQ on its input and its weights."""
    asked = how or Quantized()
    tensors = {
        "scale": np.float32(0.05),
        "zero": np.int8(asked.zero_point),
        "w.int8": np.clip(np.round(_weight() * 40), -127, 127).astype(np.int8),
        "w.scale": np.full(CHANNELS, 1 / 40, np.float32),
        "w.zero": np.zeros(CHANNELS, np.int8),
    }
    nodes = [
        helper.make_node("QuantizeLinear", ["x", "scale", "zero"], ["x.int8"]),
        helper.make_node("DequantizeLinear", ["x.int8", "scale", "zero"], ["x.back"]),
        helper.make_node("DequantizeLinear", ["w.int8", "w.scale", "w.zero"], ["w.back"], axis=0),
    ]
    takes = ["x.back", "w.back"]
    if asked.int32_bias:
        tensors |= {"b.int32": np.zeros(CHANNELS, np.int32), "b.scale": np.full(CHANNELS, 0.05 / 40, np.float32)}
        nodes.append(helper.make_node("DequantizeLinear", ["b.int32", "b.scale"], ["b.back"], axis=0))
        takes.append("b.back")
    inits = [numpy_helper.from_array(np.asarray(value), name) for name, value in tensors.items()]
    return _model([*nodes, _conv(*takes)], inits, asked.shape)


def bundle_with(folder: Path, rungs: Mapping[Rung, tuple[bytes, bytes]]) -> Bundle:
    """A bundle whose rungs are pairs of such graphs, encoder and detector."""
    files = {"weights.bin": b""}

    def spec(name: str, content: bytes) -> GraphSpec:
        files[name] = content
        tensors = (
            TensorSpec(name="x", shape=SHAPE, dtype="float32"),
            TensorSpec(name="y", shape=SHAPE, dtype="float32"),
        )
        return GraphSpec(file=name, sha256=file_digest(content), inputs=tensors[:1], outputs=tensors[1:])

    manifest = Manifest(
        schema_version=SCHEMA_VERSION,
        profile="edge",
        heads=("nn",),
        default_head="nn",
        learned=None,
        match="cosine",
        backbone="efficientnet_lite0",
        backbone_sha256="0" * 64,
        image_size=SIZE,
        levels=(),
        weights=Weights(file="weights.bin", sha256=file_digest(b"")),
        precisions={},
        rungs={
            rung: GraphPair(encoder=spec(f"encoder.{rung}.onnx".replace("+", "-"), pair[0]),
                            detector=spec(f"detector.{rung}.onnx".replace("+", "-"), pair[1]))
            for rung, pair in rungs.items()
        },
        calibration=None,
        producer={},
    )  # fmt: skip
    return write_bundle(folder, manifest, files)


def _weight() -> np.ndarray[tuple[int, ...], np.dtype[np.float32]]:
    return np.random.default_rng(0).normal(size=(CHANNELS, CHANNELS, 3, 3)).astype(np.float32)


def _conv(*takes: str) -> onnx.NodeProto:
    return helper.make_node("Conv", list(takes), ["y"], pads=[1] * 4)


def _model(nodes: list[onnx.NodeProto], inits: list[onnx.TensorProto], shape: tuple[int | str, ...]) -> bytes:
    tensors = [helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, shape) for name in ("x", "y")]
    graph = helper.make_graph(nodes, "graph", tensors[:1], tensors[1:], inits)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.checker.check_model(model)
    return bytes(model.SerializeToString())
