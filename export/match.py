"""Finding the nearest reference in INT8, for ONNX Runtime: the search is coarse, what it finds is measured in FP32."""

from __future__ import annotations

import numpy as np
import onnx
from onnx import helper, numpy_helper

LARGEST = 127


def match_in_int8(model: onnx.ModelProto) -> onnx.ModelProto:
    """Search banks with 8-bit integers where the graph only asks which row is the nearest.

    MatMul(unit, Transpose(bank)) becomes MatMulInteger: unit rows with a scale for all of them, the bank with its own,
    both found anew for every frame, since the bank is an input. A graph that reads the similarity itself, as a detector
    without a learned head does, is left as it is: no distance is ever computed from a rounded bank.
    """
    graph = model.graph
    inputs = {value.name for value in graph.input}
    makers = {name: node for node in graph.node for name in node.output}
    nodes: list[onnx.NodeProto] = []
    constants = {"int8.largest": np.float32(LARGEST), "int8.zero": np.int8(0)}
    found = False
    for node in graph.node:
        turned = makers.get(node.input[1]) if node.op_type == "MatMul" else None
        if turned is None or turned.op_type != "Transpose" or turned.input[0] not in inputs:
            nodes.append(node)
            continue
        if not _only_searched(model, node.output[0]):
            return model
        found = True
        unit, bank, name = node.input[0], turned.input[0], node.name
        nodes += [
            helper.make_node("DynamicQuantizeLinear", [unit], [f"{name}.unit", f"{name}.scale", f"{name}.unit_zero"]),
            helper.make_node("ReduceMax", [bank], [f"{name}.high"], keepdims=0),
            helper.make_node("ReduceMin", [bank], [f"{name}.low"], keepdims=0),
            helper.make_node("Neg", [f"{name}.low"], [f"{name}.depth"]),
            helper.make_node("Max", [f"{name}.high", f"{name}.depth"], [f"{name}.most"]),
            helper.make_node("Div", [f"{name}.most", "int8.largest"], [f"{name}.bank_scale"]),
            helper.make_node("QuantizeLinear", [bank, f"{name}.bank_scale", "int8.zero"], [f"{name}.rows"]),
            helper.make_node("Transpose", [f"{name}.rows"], [f"{name}.bank"], perm=[1, 0]),
            helper.make_node("MatMulInteger", [f"{name}.unit", f"{name}.bank", f"{name}.unit_zero"], [name]),
        ]  # fmt: skip
    if not found:
        return model
    for added in nodes:
        added.name = added.name or added.output[0]
    read = {name for node in nodes for name in node.input} | {value.name for value in graph.output}
    del graph.node[:]
    graph.node.extend(node for node in nodes if read.intersection(node.output))
    graph.initializer.extend(numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items())
    return model


def _only_searched(model: onnx.ModelProto, name: str) -> bool:
    """Whether nothing but the place of a value's maxima leaves it."""
    for node in model.graph.node:
        if name in node.input[:1]:
            if node.op_type in ("Reshape", "Gather", "ReduceMax"):
                if not _only_searched(model, node.output[0]):
                    return False
            elif node.op_type != "ArgMax":
                return False
        elif name in node.input:
            return False
    return name not in {value.name for value in model.graph.output}
