"""A detector of a few bytes: how far an image's pixels lie from the nearest row of a bank, as map and score."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from edge_resad.bundle import GraphSpec, TensorSpec, file_digest

SIDE, ROWS = 8, 5
INPUTS = (
    TensorSpec(name="image", shape=(SIDE, SIDE, 3), dtype="uint8"),
    TensorSpec(name="bank_0", shape=(ROWS, 3), dtype="float32"),
    TensorSpec(name="level_norm", shape=(1, 2), dtype="float32"),
)
OUTPUTS = (
    TensorSpec(name="map", shape=(SIDE, SIDE), dtype="float32"),
    TensorSpec(name="score", shape=(), dtype="float32"),
)


def write_small(folder: Path) -> tuple[Path, GraphSpec]:
    """Write the graph: map = level_norm[0, 0] min over rows |pixel - row|_1, score = its largest value."""
    nodes = [
        helper.make_node("Cast", ["image"], ["pixels"], to=TensorProto.FLOAT),
        helper.make_node("Unsqueeze", ["pixels", "two"], ["apart"]),
        helper.make_node("Sub", ["apart", "bank_0"], ["residual"]),
        helper.make_node("Abs", ["residual"], ["absolute"]),
        helper.make_node("ReduceSum", ["absolute", "last"], ["distances"], keepdims=0),
        helper.make_node("ReduceMin", ["distances", "last"], ["nearest"], keepdims=0),
        helper.make_node("Slice", ["level_norm", "zero", "one", "last"], ["norm"]),
        helper.make_node("Mul", ["nearest", "norm"], ["map"]),
        helper.make_node("ReduceMax", ["map"], ["score"], keepdims=0),
    ]
    constants = {"two": [2], "last": [-1], "zero": [0], "one": [1]}
    inits = [numpy_helper.from_array(np.array(value, np.int64), name) for name, value in constants.items()]
    graph = helper.make_graph(
        nodes, "small", [_info(spec) for spec in INPUTS], [_info(spec) for spec in OUTPUTS], inits
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8)
    onnx.checker.check_model(model)
    file = folder / "small.onnx"
    file.write_bytes(model.SerializeToString())
    return file, GraphSpec(file=file.name, sha256=file_digest(file.read_bytes()), inputs=INPUTS, outputs=OUTPUTS)


def small_map(image: NDArray[Any], bank: NDArray[Any], norm: float) -> NDArray[Any]:
    """The same in NumPy."""
    residual = image.astype(np.float32)[:, :, None] - bank
    return np.asarray(np.abs(residual).sum(-1).min(-1) * np.float32(norm), np.float32)


def _info(spec: TensorSpec) -> onnx.ValueInfoProto:
    kind = TensorProto.UINT8 if spec.dtype == "uint8" else TensorProto.FLOAT
    return helper.make_tensor_value_info(spec.name, kind, spec.shape)
