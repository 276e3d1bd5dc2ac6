"""FP16 in the file: the convolutions and the similarity in half precision, the rest in single."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

_COMPUTES = ("Conv", "Gemm", "MatMul")
_FOLLOWS = (  # keep a value as it is or choose among some: in half precision where their input is
    "Add", "Clip", "Relu", "Reshape", "Transpose", "Squeeze", "Unsqueeze", "Flatten", "Gather", "ReduceMax", "ArgMax",
)  # fmt: skip
_INTEGERS = ("Reshape", "Squeeze", "Unsqueeze")  # whose second input is no value
LARGEST = 65504.0


def in_half(node: onnx.NodeProto) -> bool:
    """Whether a node may compute in FP16: layers of the backbone and of the network, and the similarity.

    The input's normalisation, unit rows, distances, logarithms, exponentials and the smoothed map stay in FP32.
    """
    return node.op_type in _COMPUTES and (
        node.name.startswith(("backbone.", "net.")) or (node.op_type == "MatMul" and not node.name.startswith("blur"))
    )


def to_half(model: onnx.ModelProto, chosen: Callable[[onnx.NodeProto], bool] = in_half) -> onnx.ModelProto:
    """Let the chosen nodes, and those that only pass their values on, compute in FP16; inputs and outputs stay FP32.

    A cast stands wherever a value changes its precision, one for all its readers.

    Raises:
        ValueError: a weight that FP16 cannot hold.
    """
    graph = model.graph
    weights = {tensor.name: tensor for tensor in graph.initializer}
    floats = _floats(model)
    half: set[str] = set()  # what is FP16 after this pass
    cast: dict[tuple[str, int], str] = {}
    nodes: list[onnx.NodeProto] = []

    def converted(old: str, to: int) -> str:
        """The name of a value in the wanted precision."""
        if old not in floats or (old in half) == (to == TensorProto.FLOAT16):
            return old
        if (old, to) not in cast:
            new = f"{old}.{'half' if to == TensorProto.FLOAT16 else 'single'}"
            cast[old, to] = new
            if old in weights:
                graph.initializer.append(numpy_helper.from_array(_rounded(weights[old]), new))
            else:
                nodes.append(helper.make_node("Cast", [old], [new], name=new, to=to))
        return cast[old, to]

    outputs = {value.name for value in graph.output}
    pairs = _pairs(model, chosen)
    for node in list(graph.node):
        follows = node.op_type in _FOLLOWS and node.input[0] in half and not outputs.intersection(node.output)
        if follows and node.op_type == "Add":
            follows = all(name in half or name in weights for name in node.input)
        to = TensorProto.FLOAT16 if follows or chosen(node) or node.name in pairs else TensorProto.FLOAT
        kept = node.input[1:] if node.op_type in _INTEGERS else []
        values = node.input[:1] if kept else node.input
        node.input[:] = [*(converted(name, to) if name else "" for name in values), *kept]
        nodes.append(node)
        if to == TensorProto.FLOAT16:
            half.update(name for name in node.output if name in floats)
    del graph.node[:]
    graph.node.extend(nodes)
    for name in outputs & half:
        raise ValueError(f"output {name} would be FP16")
    read = {name for node in graph.node for name in node.input}
    for tensor in [tensor for tensor in graph.initializer if tensor.name not in read]:
        graph.initializer.remove(tensor)
    return model


def _pairs(model: onnx.ModelProto, chosen: Callable[[onnx.NodeProto], bool]) -> set[str]:
    """Names of QuantizeLinear and DequantizeLinear whose readers compute in FP16: so do both sides of a pair."""
    makers = {name: node for node in model.graph.node for name in node.output}
    found: set[str] = set()
    for node in model.graph.node:
        for name in node.input if chosen(node) or node.op_type == "Add" else ():
            given = makers.get(name)
            if given is not None and given.op_type == "DequantizeLinear":
                found.add(given.name)
                if given.input[0] in makers:
                    found.add(makers[given.input[0]].name)
    return found


def _floats(model: onnx.ModelProto) -> set[str]:
    """Names of all FP32 values."""
    graph = onnx.shape_inference.infer_shapes(model, strict_mode=True, data_prop=True).graph
    values = [*graph.input, *graph.value_info, *graph.output]
    return {value.name for value in values if value.type.tensor_type.elem_type == TensorProto.FLOAT} | {
        tensor.name for tensor in graph.initializer if tensor.data_type == TensorProto.FLOAT
    }


def _rounded(tensor: onnx.TensorProto) -> NDArray[np.float16]:
    values = numpy_helper.to_array(tensor)
    if np.abs(values).max(initial=0) > LARGEST:
        raise ValueError(f"{tensor.name} has a weight above {LARGEST:.0f}, which FP16 cannot hold")
    return values.astype(np.float16)
