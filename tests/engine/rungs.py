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
    file_digest,
    open_bundle,
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
    files: dict[str, bytes] = {}

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


def shipped_rungs() -> tuple[Rung, ...]:
    """The rungs of the bundle that comes with the package; its fp32 graphs where it has none."""
    return tuple(open_bundle().manifest.rungs) or ("fp32",)


def shipped_with_rungs(folder: Path) -> Bundle:
    """The bundle that comes with the package; where it has no rungs, a copy whose one is its fp32 graphs."""
    shipped = open_bundle()
    if shipped.manifest.rungs:
        return shipped
    pair = shipped.manifest.precisions["fp32"]
    files = {graph.file: shipped.file(graph).read_bytes() for graph in (pair.encoder, pair.detector)}
    specs = {}
    for name, graph in (("encoder", pair.encoder), ("detector", pair.detector)):
        content = cast_first(files[graph.file])
        files[f"{name}.trt.onnx"] = content
        specs[name] = graph.model_copy(update={"file": f"{name}.trt.onnx", "sha256": file_digest(content)})
    rungs = {"fp32": GraphPair(**specs)}
    return write_bundle(folder, shipped.manifest.model_copy(update={"rungs": rungs}), files)


def cast_first(content: bytes) -> bytes:
    """The graph with the picture made float before anything else, as TensorRT demands of uint8 inputs."""
    model = onnx.load_from_string(content)
    graph = model.graph
    cast = next(node for node in graph.node if node.op_type == "Cast")
    readers = [node for node in graph.node if "image" in node.input]
    if readers != [cast]:
        for node in graph.node:
            node.input[:] = [cast.input[0] if name == cast.output[0] else name for name in node.input]
        for node in readers:
            node.input[:] = ["image.float" if name == "image" else name for name in node.input]
        graph.node.remove(cast)
        graph.node.insert(0, helper.make_node("Cast", ["image"], ["image.float"], to=onnx.TensorProto.FLOAT))
    return bytes(model.SerializeToString())


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
