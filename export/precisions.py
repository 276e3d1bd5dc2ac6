"""One FP32 graph, and from it what every runtime is given: FP16, and INT8 as ONNX Runtime or TensorRT wants it."""

from __future__ import annotations

from collections.abc import Callable

import onnx

from edge_resad.bundle import Precision, Rung
from export.graph import check
from export.half import to_half
from export.match import match_in_int8
from export.quantize import layers_of, quantize
from export.ranges import Dialect, Ranges

MOST_COST = 0.001
"""A layer whose quantisation alone moves a part further than this from itself stays in float."""

Step = Callable[[onnx.ModelProto], onnx.ModelProto]


def precisions(model: onnx.ModelProto, ranges: Ranges | None) -> dict[Precision, onnx.ModelProto]:
    """What ONNX Runtime runs. No ranges, no INT8."""
    made: dict[Precision, onnx.ModelProto] = {"fp32": model, "fp16": _made(model, to_half)}
    if ranges is not None:
        made["int8"] = _made(model, _quantized(ranges, "onnxruntime"), match_in_int8)
    return made


def rungs(model: onnx.ModelProto, ranges: Ranges | None) -> dict[Rung, onnx.ModelProto]:
    """What TensorRT is given for INT8; FP16 and FP32 are the same files for both. No ranges, no rungs of its own."""
    if ranges is None:
        return {}
    whole = _quantized(ranges, "tensorrt")
    return {"int8+fp16": _made(model, whole, to_half), "int8+fp32": _made(model, whole)}


def quantized_layers(model: onnx.ModelProto, ranges: Ranges, dialect: Dialect) -> list[str]:
    """Names of the layers in INT8: what the dialect gains by, but for those that cost too much.

    For ONNX Runtime all that comes before such a layer stays in float too, and the rest of its block. One change of
    type is quicker than three, and where nobody forbids it (`engine.onnx_runtime.DISABLED`) the runtime itself
    quantises a convolution in float between two in INT8, with one scale for all channels.
    """
    layers = layers_of(model, dialect)
    costly = [layer for layer in layers if ranges.layers[dialect].get(layer, 0.0) > MOST_COST]
    if dialect == "tensorrt" or not costly:
        return [layer for layer in layers if layer not in costly]
    blocks = [layer.rpartition(".")[0] for layer in layers]
    last = len(blocks) - blocks[::-1].index(costly[-1].rpartition(".")[0])
    return layers[last:]


def _quantized(ranges: Ranges, dialect: Dialect) -> Step:
    return lambda model: quantize(model, ranges.tensors, dialect, quantized_layers(model, ranges, dialect))


def _made(model: onnx.ModelProto, *steps: Step) -> onnx.ModelProto:
    made = onnx.ModelProto()
    made.CopyFrom(model)
    for step in steps:
        made = step(made)
    return check(made)
