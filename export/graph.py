"""The steps from a torch module to an ONNX graph that a device can trust: trace, fold, check."""

from __future__ import annotations

import tempfile
import warnings
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnx
import torch
from numpy.typing import NDArray
from onnx import numpy_helper
from onnx.reference import ReferenceEvaluator
from torch import Tensor, nn

OPSET = 19  # the first with FP16 in QuantizeLinear; understood by TensorRT 10.3 and by ONNX Runtime since 1.15


def trace(module: nn.Module, inputs: Sequence[Tensor], names: Sequence[str], outputs: Sequence[str]) -> onnx.ModelProto:
    """Trace a module with static shapes."""
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")  # the exporter announces its own successor
        file = Path(folder) / "graph.onnx"
        torch.onnx.export(
            module,
            tuple(inputs),
            file,
            input_names=list(names),
            output_names=list(outputs),
            dynamo=False,
            opset_version=OPSET,
            training=torch.onnx.TrainingMode.PRESERVE,  # in EVAL the exporter folds batch norms, CPU by CPU differently
        )
        return onnx.load(file)


def fold_constants(model: onnx.ModelProto) -> onnx.ModelProto:
    """Compute what does not depend on the inputs: the exporter leaves a padding's amounts as fifteen nodes."""
    graph = model.graph
    known = {tensor.name: numpy_helper.to_array(tensor) for tensor in graph.initializer}
    for node in list(graph.node):
        if any(name and name not in known for name in node.input):
            continue
        feeds = {name: known[name] for name in node.input if name}
        results = ReferenceEvaluator(node, opsets={"": OPSET}).run(None, feeds)
        for name, value in zip(node.output, results, strict=True):
            known[name] = np.asarray(value)
            graph.initializer.append(numpy_helper.from_array(known[name], name))
        graph.node.remove(node)
    return _without_orphans(model)


def fold_shapes(model: onnx.ModelProto) -> onnx.ModelProto:
    """Replace questions for a shape by its numbers: all shapes are static."""
    graph = model.graph
    inferred = onnx.shape_inference.infer_shapes(model, data_prop=True).graph
    known = {
        value.name: np.array([dim.dim_value for dim in value.type.tensor_type.shape.dim], np.int64)
        for value in (*inferred.input, *inferred.value_info)
        if all(dim.HasField("dim_value") for dim in value.type.tensor_type.shape.dim)
    }
    for node in [node for node in graph.node if node.op_type == "Shape"]:
        if node.input[0] in known:
            graph.initializer.append(numpy_helper.from_array(known[node.input[0]], node.output[0]))
            graph.node.remove(node)
    return fold_constants(model)


def fold_batch_norms(model: onnx.ModelProto) -> onnx.ModelProto:
    """Multiply every batch norm into the convolution before it, in double precision: the same bytes on every CPU.

    w' = w g, b' = (b - mean) g + beta with g = gamma / sqrt(var + eps), per output channel.
    """
    graph = model.graph
    tensors = {tensor.name: tensor for tensor in graph.initializer}
    makers = {name: node for node in graph.node for name in node.output}
    for norm in [node for node in graph.node if node.op_type == "BatchNormalization"]:
        conv = makers[norm.input[0]]
        if conv.op_type != "Conv":
            raise ValueError(f"{norm.name} follows {conv.op_type}, a convolution was expected")
        gamma, beta, mean, var = (numpy_helper.to_array(tensors[name]).astype(np.float64) for name in norm.input[1:5])
        eps = next(item.f for item in norm.attribute if item.name == "epsilon")
        gain = gamma / np.sqrt(var + eps)
        weight = numpy_helper.to_array(tensors[conv.input[1]]).astype(np.float64)
        bias = numpy_helper.to_array(tensors[conv.input[2]]).astype(np.float64) if len(conv.input) > 2 else 0.0
        folded = {
            f"{conv.input[1]}.folded": weight * gain[:, None, None, None],
            f"{conv.input[1]}.bias": (bias - mean) * gain + beta,
        }
        graph.initializer.extend(numpy_helper.from_array(v.astype(np.float32), k) for k, v in folded.items())
        conv.input[:] = [conv.input[0], *folded]
        conv.output[0] = norm.output[0]
        graph.node.remove(norm)
    return _without_orphans(model)


def fold_padding(model: onnx.ModelProto) -> onnx.ModelProto:
    """Move zero padding into the convolution that follows it: a Pad of its own costs a copy and a change of layout."""
    graph = model.graph
    constants = {tensor.name: numpy_helper.to_array(tensor) for tensor in graph.initializer}
    readers: dict[str, list[onnx.NodeProto]] = {}
    for node in graph.node:
        for name in node.input:
            readers.setdefault(name, []).append(node)
    for pad in [node for node in graph.node if node.op_type == "Pad"]:
        followers = readers.get(pad.output[0], [])
        if _mode(pad) != "constant" or pad.input[1] not in constants or [n.op_type for n in followers] != ["Conv"]:
            continue
        amounts = constants[pad.input[1]]
        rank = len(amounts) // 2
        if amounts[[0, 1, rank, rank + 1]].any():
            continue
        _add_pads(followers[0], amounts, rank)
        followers[0].input[0] = pad.input[0]
        graph.node.remove(pad)
    return _without_orphans(model)


def fold_input(model: onnx.ModelProto) -> onnx.ModelProto:
    """Move the image's scaling and its order of colours into the first convolution.

    Conv(Gather(Mul(x, scale), order)) is Conv'(x) with w'[:, order] = w scale[order], in double precision. What is
    subtracted before stays, because the convolution pads with zeros.
    """
    graph = model.graph
    tensors = {tensor.name: tensor for tensor in graph.initializer}
    makers = {name: node for node in graph.node for name in node.output}
    conv = next(node for node in graph.node if node.op_type == "Conv")
    weight = numpy_helper.to_array(tensors[conv.input[1]]).astype(np.float64)
    before = makers.get(conv.input[0])
    if before is not None and before.op_type == "Gather" and before.input[1] in tensors and _axis(before) == 1:
        order = numpy_helper.to_array(tensors[before.input[1]])
        unordered = np.empty_like(weight)
        unordered[:, order] = weight
        weight, conv.input[0] = unordered, before.input[0]
        before = makers.get(conv.input[0])
    if before is not None and before.op_type == "Mul" and before.input[1] in tensors:
        scale = numpy_helper.to_array(tensors[before.input[1]]).astype(np.float64)
        weight, conv.input[0] = weight * scale.reshape(1, -1, 1, 1), before.input[0]
    folded = f"{conv.input[1]}.scaled"
    graph.initializer.append(numpy_helper.from_array(weight.astype(np.float32), folded))
    conv.input[1] = folded
    return _without_orphans(model)


def check(model: onnx.ModelProto) -> onnx.ModelProto:
    """Run onnx's checker with shape inference; refuse a shape that is not a number, and write down the outputs'."""
    inferred = onnx.shape_inference.infer_shapes(model, strict_mode=True, data_prop=True)
    onnx.checker.check_model(inferred, full_check=True)
    for value in (*inferred.graph.input, *inferred.graph.output):
        if any(not dim.HasField("dim_value") for dim in value.type.tensor_type.shape.dim):
            raise ValueError(f"{value.name} has a dimension that is not fixed")
    for value, known in zip(model.graph.output, inferred.graph.output, strict=True):
        value.CopyFrom(known)
    return model


def _axis(gather: onnx.NodeProto) -> int:
    return next((int(item.i) for item in gather.attribute if item.name == "axis"), 0)


def _mode(pad: onnx.NodeProto) -> str:
    return next((item.s.decode() for item in pad.attribute if item.name == "mode"), "constant")


def _add_pads(conv: onnx.NodeProto, amounts: NDArray[np.int64], rank: int) -> None:
    before = next((list(item.ints) for item in conv.attribute if item.name == "pads"), [0] * (2 * (rank - 2)))
    extra = [*amounts[2:rank], *amounts[rank + 2 :]]
    kept = [item for item in conv.attribute if item.name != "pads"]
    del conv.attribute[:]
    conv.attribute.extend(kept)
    conv.attribute.append(onnx.helper.make_attribute("pads", [int(a + b) for a, b in zip(before, extra, strict=True)]))


def _without_orphans(model: onnx.ModelProto) -> onnx.ModelProto:
    graph = model.graph
    while True:
        read = {name for node in graph.node for name in node.input} | {value.name for value in graph.output}
        orphans = [node for node in graph.node if not read.intersection(node.output)]
        if not orphans:
            break
        for node in orphans:
            graph.node.remove(node)
    for tensor in [tensor for tensor in graph.initializer if tensor.name not in read]:
        graph.initializer.remove(tensor)
    return model
