"""Where a graph's tensors lie: which have bytes of their own, which are another's seen anew, which are never stored."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import onnx
from onnx import TensorProto

INTEGERS = frozenset({TensorProto.INT8, TensorProto.UINT8})
HALVES = frozenset({TensorProto.FLOAT16, TensorProto.BFLOAT16})
_VIEWS = {"Reshape", "Flatten", "Squeeze", "Unsqueeze", "Identity"}
_WITH_WEIGHTS = {"Conv", "Gemm", "MatMul"}
_ACTIVATIONS = {"Clip", "Relu", "LeakyRelu", "HardSigmoid", "HardSwish", "Sigmoid", "Tanh"}


@dataclass(frozen=True, kw_only=True)
class Buffer:
    """Bytes in memory, with the name of the tensor that is stored there."""

    name: str
    bytes: int
    dtype: int  # of TensorProto.DataType, of what is stored
    kind: Literal["input", "constant", "computed"]


@dataclass(frozen=True, kw_only=True)
class Layout:
    """A graph's tensors in memory, as a runtime with ordinary fusions keeps them."""

    homes: Mapping[str, Buffer]  # by a tensor's name
    dtypes: Mapping[str, int]  # by a tensor's name, as the graph says
    shapes: Mapping[str, tuple[int, ...]]
    free: frozenset[int]  # places in the graph of the nodes that move nothing
    early: frozenset[int]  # of these, the ones that an engine's builder computes


def lay_out(model: onnx.ModelProto) -> Layout:
    """Find every tensor's home.

    A view lies where its source does, and so does what DequantizeLinear gives: its readers take the integers. What an
    activation function alone reads of a convolution, or QuantizeLinear alone of anybody, is never stored: the maker
    writes the final value. A transposition that multiplications alone read is an argument of theirs. What depends on
    constants alone is computed once, when the engine is built.

    Raises:
        ValueError: a tensor without a fixed shape.
    """
    graph = onnx.shape_inference.infer_shapes(model, strict_mode=True, data_prop=True).graph
    shapes, dtypes = _described(graph)
    constants = {tensor.name for tensor in graph.initializer}
    early = frozenset(place for place, node in enumerate(graph.node) if _is_constant(node, constants))
    free = set(early)
    outputs = {value.name for value in graph.output}
    source: dict[str, str] = {}
    makers: dict[str, onnx.NodeProto] = {}
    readers: dict[str, list[onnx.NodeProto]] = {}
    for node in graph.node:
        makers.update(dict.fromkeys(node.output, node))
        for name in node.input:
            readers.setdefault(name, []).append(node)
    for place, node in enumerate(graph.node):
        if place in free or not node.input:
            continue
        first, result = node.input[0], node.output[0]
        maker = makers.get(first)
        alone = len(readers[first]) == 1 and first not in outputs and first not in constants
        if _is_view(node, readers.get(result, []), last=result in outputs):
            source[result] = first
            free.add(place)
        elif alone and maker is not None and first not in source and _joins(node, maker):
            source[first] = result
            free.add(place)
    inputs = {value.name for value in graph.input} - constants

    def home(name: str) -> Buffer:
        while name in source:
            name = source[name]
        if name not in shapes:
            raise ValueError(f"{name} has no fixed shape")
        size = onnx.helper.tensor_dtype_to_np_dtype(dtypes[name]).itemsize * math.prod(shapes[name])
        kind: Literal["input", "constant", "computed"]
        kind = "input" if name in inputs else "constant" if name in constants else "computed"
        return Buffer(name=name, bytes=size, dtype=dtypes[name], kind=kind)

    read_or_made = [name for node in graph.node for name in (*node.input, *node.output) if name]
    homes = {name: home(name) for name in (*(value.name for value in graph.input), *read_or_made)}
    return Layout(homes=homes, dtypes=dtypes, shapes=shapes, free=frozenset(free), early=early)


def _described(graph: onnx.GraphProto) -> tuple[dict[str, tuple[int, ...]], dict[str, int]]:
    shapes: dict[str, tuple[int, ...]] = {tensor.name: tuple(tensor.dims) for tensor in graph.initializer}
    dtypes: dict[str, int] = {tensor.name: tensor.data_type for tensor in graph.initializer}
    for value in (*graph.input, *graph.output, *graph.value_info):
        kind = value.type.tensor_type
        if kind.HasField("shape") and all(dim.HasField("dim_value") for dim in kind.shape.dim):
            shapes[value.name] = tuple(dim.dim_value for dim in kind.shape.dim)
            dtypes[value.name] = kind.elem_type
    return shapes, dtypes


def _is_constant(node: onnx.NodeProto, constants: set[str]) -> bool:
    """Whether a node depends on constants alone; if so its outputs are from now on constants too.

    DequantizeLinear is none: an engine keeps the integers.
    """
    if node.op_type == "DequantizeLinear" or any(name and name not in constants for name in node.input):
        return False
    constants.update(node.output)
    return True


def _is_view(node: onnx.NodeProto, readers: list[onnx.NodeProto], last: bool) -> bool:
    if node.op_type in _VIEWS:
        return True
    if last:
        return False
    multiplied = bool(readers) and all(reader.op_type in {"MatMul", "Gemm"} for reader in readers)
    return node.op_type == "DequantizeLinear" or (node.op_type == "Transpose" and multiplied)


def _joins(node: onnx.NodeProto, maker: onnx.NodeProto) -> bool:
    if node.op_type == "QuantizeLinear":
        return maker.op_type not in _VIEWS
    return node.op_type in _ACTIVATIONS and maker.op_type in _WITH_WEIGHTS
