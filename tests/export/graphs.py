"""Small graphs with the names that the export gives, for tests of its steps."""

from __future__ import annotations

import numpy as np
import onnx
import onnxruntime
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from export.ranges import Range


def conv_chain(*, channels: int = 16, size: int = 8, seed: int = 0) -> onnx.ModelProto:
    """x -> stem -> clip -> expand -> clip -> depthwise -> clip -> project, added to the stem's output -> y.

    x and y: (1, C, S, S) float32.
    """
    random = np.random.default_rng(seed)
    shape = [1, channels, size, size]
    nodes, tensors = [], [numpy_helper.from_array(np.float32(0), "zero"), numpy_helper.from_array(np.float32(6), "six")]

    def conv(name: str, source: str, *, kernel: int = 1, groups: int = 1) -> str:
        weight = random.standard_normal((channels, channels // groups, kernel, kernel)) / np.sqrt(channels)
        bias = random.standard_normal(channels) / 4
        tensors.extend(
            numpy_helper.from_array(np.asarray(value, np.float32), f"{name}.{what}")
            for what, value in (("weight", weight), ("bias", bias))
        )
        inputs, pads = [source, f"{name}.weight", f"{name}.bias"], [kernel // 2] * 4
        nodes.append(helper.make_node("Conv", inputs, [name], name=name, group=groups, pads=pads))
        return name

    def clip(name: str) -> str:
        nodes.append(helper.make_node("Clip", [name, "zero", "six"], [f"{name}.clip"], name=f"{name}.clip"))
        return f"{name}.clip"

    stem = clip(conv("backbone.stem", "x", kernel=3))
    expanded = clip(conv("backbone.blocks.0.expand", stem))
    looked = clip(conv("backbone.blocks.0.depthwise", expanded, kernel=3, groups=channels))
    result = conv("backbone.blocks.0.project", looked)
    nodes.append(helper.make_node("Add", [stem, result], ["backbone.blocks.0.Add"], name="backbone.blocks.0.Add"))
    last = conv("backbone.blocks.1.expand", "backbone.blocks.0.Add")
    nodes.append(helper.make_node("Identity", [last], ["y"], name="y"))
    values = [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name in ("x", "y")]
    graph = helper.make_graph(nodes, "chain", values[:1], values[1:], tensors)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 19)], ir_version=9)


def run(model: onnx.ModelProto, feeds: dict[str, NDArray[np.generic]]) -> list[NDArray[np.float32]]:
    """What ONNX Runtime computes."""
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return list(session.run(None, feeds))


def ranges_of(model: onnx.ModelProto, tensors: list[str], x: NDArray[np.float32]) -> dict[str, Range]:
    """What these tensors reach for one input."""
    watched = onnx.ModelProto()
    watched.CopyFrom(model)
    watched.graph.output.extend(onnx.ValueInfoProto(name=name) for name in tensors if name != "x")
    session = onnxruntime.InferenceSession(watched.SerializeToString(), providers=["CPUExecutionProvider"])
    found = {
        "x": x,
        **dict(zip([value.name for value in session.get_outputs()], session.run(None, {"x": x}), strict=True)),
    }
    return {
        name: Range(
            low=float(found[name].min()),
            high=float(found[name].max()),
            means=tuple(found[name].mean((0, 2, 3)).tolist()),
        )
        for name in tensors
    }
