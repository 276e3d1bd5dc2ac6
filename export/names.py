"""Names that people can read: a layer is called what the model calls it, in encoder and detector alike."""

from __future__ import annotations

from collections.abc import Collection
from itertools import count

import onnx

_WEIGHTED = ("Conv", "Gemm", "MatMul")
_ACTIVATIONS = ("Clip", "Relu")
_SUFFIXES = (".scaled", ".folded", ".weight", "_output_0")


def name(model: onnx.ModelProto) -> onnx.ModelProto:
    """Rename nodes and tensors, not inputs and outputs: `backbone.blocks.3.project_conv`, its `.weight` and `.bias`.

    A node has the name of what it gives. What a tensor is called does not depend on whether the encoder was traced
    alone or inside the detector, so that one file of ranges serves both.
    """
    graph = model.graph
    fixed = {value.name for value in (*graph.input, *graph.output)}
    weights = {tensor.name for tensor in graph.initializer}
    names = {name: name for name in fixed}
    layers: set[str] = set()  # what weighted nodes give, by its new name

    def call(old: str, wish: str) -> None:
        if old not in names:
            names[old] = _free(wish, names.values())

    for node in graph.node:
        weighted = node.op_type in _WEIGHTED and len(node.input) > 1 and node.input[1] in weights
        before = names.get(node.input[0], "") if node.input else ""
        if weighted:
            call(node.output[0], _readable(node.input[1]))
            layer = names[node.output[0]]
            layers.add(layer)
            call(node.input[1], f"{layer}.weight")
            if len(node.input) > 2:
                call(node.input[2], f"{layer}.bias")
        elif node.op_type in _ACTIVATIONS and before in layers:
            call(node.output[0], f"{before}.{node.op_type.lower()}")
        for old in node.output:
            call(old, _readable(old))
    for tensor in graph.initializer:
        call(tensor.name, _readable(tensor.name))
        tensor.name = names[tensor.name]
    for node in graph.node:
        node.input[:] = [names.get(old, old) for old in node.input]
        node.output[:] = [names[old] for old in node.output]
        node.name = node.output[0]
    del graph.value_info[:]
    return model


def _free(wish: str, taken: Collection[str]) -> str:
    if wish not in taken:
        return wish
    return next(name for k in count(1) if (name := f"{wish}_{k}") not in taken)


def _readable(old: str) -> str:
    """`/encoder/backbone/_blocks.3/Clip_output_0` is `backbone.blocks.3.Clip`."""
    plain = old.replace("::", ".").replace("/", ".").strip(".")
    for suffix in _SUFFIXES:
        plain = plain.removesuffix(suffix)
    return ".".join(part.removeprefix("_") for part in plain.removeprefix("encoder.").split("."))
