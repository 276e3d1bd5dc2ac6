"""Q/DQ: convolutions of the backbone in INT8, said in the file by QuantizeLinear and DequantizeLinear.

Two dialects from the same ranges. TensorRT's (S8S8): signed, symmetric, zero point 0, weights stored as INT8 per
output channel, biases in float, depthwise and thin convolutions left in float, a skip connection quantised so that the
addition joins the convolution before it. ONNX Runtime's on x86 (U8S8): unsigned activations with a zero point, 32-bit
biases, and every convolution's result quantised too, so that whole blocks stay integers.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper, numpy_helper

from edge_resad.errors import CalibrationError
from export.ranges import Dialect, Range

FEWEST_CHANNELS = 16  # of a convolution that TensorRT computes in INT8 with a gain
MULTIPLE = 8  # of channels, for the same reason
_LEAST_SCALE = 2.0**-14  # below it FP16 has fewer digits, or 0, which TensorRT refuses


@dataclass(frozen=True)
class Scale:
    """real = (integer - zero) scale."""

    scale: float
    zero: int


def layers_of(model: onnx.ModelProto, dialect: Dialect) -> list[str]:
    """Names of the convolutions that this dialect may quantise: the backbone's, but not those that gain nothing."""
    weights = {tensor.name: tensor for tensor in model.graph.initializer}
    convs = [node for node in model.graph.node if node.op_type == "Conv" and node.name.startswith("backbone.")]
    if dialect == "onnxruntime":
        return [node.name for node in convs]
    return [node.name for node in convs if _gains(node, weights[node.input[1]])]


def tensors_of(model: onnx.ModelProto) -> list[str]:
    """Names of the tensors whose ranges are asked for: what layers and additions of the backbone read and give."""
    names: dict[str, None] = {}
    readers = _readers(model)
    for node in model.graph.node:
        if node.name.startswith("backbone.") and node.op_type in ("Conv", "Add"):
            names.update(dict.fromkeys(node.input[:1] if node.op_type == "Conv" else node.input))
            names[_after_activation(node, readers)] = None
    return list(names)


def quantize(
    model: onnx.ModelProto, ranges: Mapping[str, Range], dialect: Dialect, layers: Collection[str]
) -> onnx.ModelProto:
    """Put these convolutions into INT8; the graph is FP32 with names as `export.names` gives them.

    Raises:
        CalibrationError: a range that is needed is missing.
    """
    graph = model.graph
    chosen = [node for node in graph.node if node.op_type == "Conv" and node.name in set(layers)]
    missing = set(layers) - {node.name for node in chosen}
    if missing:
        raise CalibrationError(f"the graph has no layer {min(missing)}. Calibrate with a bundle of this profile.")
    readers = _readers(model)
    makers = {name: node for node in graph.node for name in node.output}
    inserter = _Inserter(model, ranges, dialect)
    adds = [node for node in graph.node if node.op_type == "Add" and node.name.startswith("backbone.")]
    sums = {add.name for add in adds}
    names = {node.name for node in chosen}
    for node in chosen:
        means = inserter.found(node.input[0]).means
        inserter.weights(node, inserter.activation(node, 0), np.array(means))
    if dialect == "tensorrt":
        for add in adds:
            _quantize_skip(add, makers, names, inserter)
    else:
        for add in adds:
            if all(_layer_before(name, makers) in names | sums for name in add.input):
                for index in range(len(add.input)):
                    inserter.activation(add, index)
        for node in chosen:
            given = _after_activation(node, readers)
            if given not in inserter.pairs:
                inserter.everywhere(given)
    inserter.finish()
    return model


class _Inserter:
    """Adds one pair of Q and DQ a tensor, and points readers at it."""

    def __init__(self, model: onnx.ModelProto, ranges: Mapping[str, Range], dialect: Dialect) -> None:
        self.graph = model.graph
        self.ranges = ranges
        self.dialect = dialect
        self.tensors = {tensor.name: tensor for tensor in model.graph.initializer}
        self.pairs: dict[str, list[onnx.NodeProto]] = {}  # by the tensor that they follow
        self.loose: list[onnx.NodeProto] = []  # DQ of weights and biases

    def activation(self, reader: onnx.NodeProto, index: int) -> Scale:
        """Let a node's input pass through Q and DQ."""
        name = reader.input[index]
        scale = self._pair(name)
        reader.input[index] = f"{name}.dq"
        return scale

    def everywhere(self, name: str) -> None:
        """Let all readers of a tensor see it quantised."""
        self._pair(name)
        for node in self.graph.node:
            node.input[:] = [f"{name}.dq" if old == name else old for old in node.input]

    def weights(self, conv: onnx.NodeProto, activation: Scale, means: NDArray[np.float64]) -> None:
        """Store a convolution's weights as INT8, one scale an output channel; its bias as the dialect asks.

        What rounding the weights adds to an output on average, the sum over inputs of (w' - w) E[x], is taken off the
        bias (Nagel et al., Data-Free Quantization Through Weight Equalization and Bias Correction, 2019).

        means: (C,) of the input's channels.
        """
        weight = numpy_helper.to_array(self.tensors[conv.input[1]])
        largest = np.abs(weight).max(axis=tuple(range(1, weight.ndim)))
        scales = np.maximum(largest / 127, _LEAST_SCALE).astype(np.float32)
        shaped = scales.reshape(-1, *[1] * (weight.ndim - 1))
        whole = np.clip(np.rint(weight / shaped), -127, 127).astype(np.int8)
        added = (whole * shaped.astype(np.float64) - weight).sum((2, 3))  # (O, C / groups)
        drift = added[:, 0] * means if _groups(conv) > 1 else added @ means
        bias = numpy_helper.to_array(self.tensors[conv.input[2]]).astype(np.float64) - drift
        conv.input[1] = self._constant(conv.input[1], whole, scales)
        if self.dialect == "onnxruntime":
            product = (scales.astype(np.float64) * activation.scale).astype(np.float32)
            limit = np.iinfo(np.int32)
            steps = np.clip(np.rint(bias / product.astype(np.float64)), limit.min, limit.max).astype(np.int32)
            conv.input[2] = self._constant(conv.input[2], steps, product)
        else:
            self._initializer(f"{conv.input[2]}.corrected", bias.astype(np.float32))
            conv.input[2] = f"{conv.input[2]}.corrected"

    def finish(self) -> None:
        """Write all nodes in their order."""
        ordered = list(self.loose)
        for name in [value.name for value in self.graph.input]:
            ordered += self.pairs.get(name, [])
        for node in self.graph.node:
            ordered.append(node)
            for name in node.output:
                ordered += self.pairs.get(name, [])
        del self.graph.node[:]
        self.graph.node.extend(ordered)
        read = {name for node in ordered for name in node.input}
        for tensor in [tensor for tensor in self.graph.initializer if tensor.name not in read]:
            self.graph.initializer.remove(tensor)

    def found(self, name: str) -> Range:
        """The range of a tensor."""
        if name not in self.ranges:
            raise CalibrationError(
                f"the ranges have no tensor {name}, which quantisation needs. Calibrate with a bundle of this profile."
            )
        return self.ranges[name]

    def _pair(self, name: str) -> Scale:
        scale = scale_of(self.found(name), self.dialect)
        if name not in self.pairs:
            kind: type[np.generic] = np.int8 if self.dialect == "tensorrt" else np.uint8
            self._initializer(f"{name}.scale", np.float32(scale.scale))
            self._initializer(f"{name}.zero", np.array(scale.zero, kind))
            self.pairs[name] = [
                _node("QuantizeLinear", [name, f"{name}.scale", f"{name}.zero"], f"{name}.q"),
                _node("DequantizeLinear", [f"{name}.q", f"{name}.scale", f"{name}.zero"], f"{name}.dq"),
            ]
        return scale

    def _constant(self, name: str, whole: NDArray[np.integer], scales: NDArray[np.float32]) -> str:
        self._initializer(f"{name}.q", whole)
        self._initializer(f"{name}.scale", scales)
        self._initializer(f"{name}.zero", np.zeros(scales.shape, whole.dtype))
        inputs = [f"{name}.q", f"{name}.scale", f"{name}.zero"]
        self.loose.append(helper.make_node("DequantizeLinear", inputs, [f"{name}.dq"], name=f"{name}.dq", axis=0))
        return f"{name}.dq"

    def _initializer(self, name: str, value: NDArray[np.generic] | np.generic) -> None:
        self.graph.initializer.append(numpy_helper.from_array(np.asarray(value), name))


def scale_of(found: Range, dialect: Dialect) -> Scale:
    """The scale and zero point of a range: symmetric for TensorRT, the whole of 0 to 255 for ONNX Runtime."""
    low, high = min(found.low, 0.0), max(found.high, 0.0)  # 0 is always exact
    if dialect == "tensorrt":
        return Scale(max(-low, high, 127 * _LEAST_SCALE) / 127, 0)
    scale = max((high - low) / 255, _LEAST_SCALE)
    return Scale(scale, round(-low / scale))


def _quantize_skip(
    add: onnx.NodeProto, makers: Mapping[str, onnx.NodeProto], layers: Collection[str], inserter: _Inserter
) -> None:
    """Of an addition, quantise the input that is not the result of the convolution that it joins."""
    results = [index for index, name in enumerate(add.input) if makers[name].name in layers]
    if results:
        for index in set(range(len(add.input))) - {max(results)}:
            inserter.activation(add, index)


def _layer_before(name: str, makers: Mapping[str, onnx.NodeProto]) -> str:
    node = makers[name]
    return makers[node.input[0]].name if node.op_type in ("Clip", "Relu") else node.name


def _after_activation(node: onnx.NodeProto, readers: Mapping[str, list[onnx.NodeProto]]) -> str:
    """What a layer gives, after the activation function where one follows."""
    followers = readers.get(node.output[0], [])
    if len(followers) == 1 and followers[0].op_type in ("Clip", "Relu"):
        return str(followers[0].output[0])
    return str(node.output[0])


def _groups(node: onnx.NodeProto) -> int:
    return next((int(item.i) for item in node.attribute if item.name == "group"), 1)


def _gains(node: onnx.NodeProto, weight: onnx.TensorProto) -> bool:
    outputs, inputs = weight.dims[0], weight.dims[1]
    return _groups(node) == 1 and all(count >= FEWEST_CHANNELS and count % MULTIPLE == 0 for count in (inputs, outputs))


def _readers(model: onnx.ModelProto) -> dict[str, list[onnx.NodeProto]]:
    readers: dict[str, list[onnx.NodeProto]] = {}
    for node in model.graph.node:
        for name in node.input:
            readers.setdefault(name, []).append(node)
    return readers


def _node(kind: str, inputs: list[str], output: str) -> onnx.NodeProto:
    return helper.make_node(kind, inputs, [output], name=output)
