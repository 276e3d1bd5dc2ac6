"""What a graph costs: multiplications, bytes that move, memory. Counted from its shapes; nothing is run."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import onnx

from export.buffers import HALVES, INTEGERS, Layout, lay_out
from export.stages import in_order, stages

Arithmetic = Literal["fp32", "fp16", "int8"]
"""In what a node multiplies."""

_PICKS = {"Gather", "GatherElements", "GatherND", "Slice"}  # read as much of their first input as they write


@dataclass(frozen=True, kw_only=True)
class NodeCost:
    """One node of a graph."""

    name: str
    stage: str
    arithmetic: Arithmetic
    macs: int  # multiply-accumulates of Conv, Gemm, MatMul and MatMulInteger; all else is counted by its bytes alone
    read_bytes: int  # activations, bank and weights
    written_bytes: int
    weight_bytes: int  # of the constants that no node before it reads


@dataclass(frozen=True, kw_only=True)
class StageCost:
    """The nodes of one stage together."""

    stage: str
    macs: int
    read_bytes: int
    written_bytes: int
    weight_bytes: int


@dataclass(frozen=True, kw_only=True)
class GraphCost:
    """A graph as a whole. What is read and written adds up over its nodes; memory is what is held at one time."""

    nodes: tuple[NodeCost, ...]
    bank_bytes: tuple[int, ...]  # of every level, finest first
    input_bytes: int  # of the other inputs
    peak_bytes: int  # the most that computed tensors take at one time, outputs included
    peak_node: NodeCost  # when

    @property
    def total(self) -> StageCost:
        """All nodes together."""
        return _sum("total", self.nodes)

    @property
    def stages(self) -> tuple[StageCost, ...]:
        """The stages, as a part passes them."""
        at_work = [node for node in self.nodes if node.written_bytes]  # constants may stand anywhere in the graph
        names = in_order(node.stage for node in (*at_work, *self.nodes))
        return tuple(_sum(name, [node for node in self.nodes if node.stage == name]) for name in names)


def graph_cost(model: onnx.ModelProto) -> GraphCost:
    """Count a graph with static shapes.

    Raises:
        ValueError: a tensor without a fixed shape.
    """
    layout = lay_out(model)
    seen: set[str] = set()
    nodes = []
    for place, (node, stage) in enumerate(zip(model.graph.node, stages(model), strict=True)):
        read, written = (0, 0) if place in layout.free else _moved(node, layout)
        nodes.append(
            NodeCost(
                name=node.name, stage=stage, arithmetic=_arithmetic(node, layout), macs=_macs(node, layout),
                read_bytes=read, written_bytes=written,
                weight_bytes=0 if place in layout.early else _weights(node, layout, seen),
            )
        )  # fmt: skip
    held = _held(model, layout)
    moment = max(range(len(held)), key=held.__getitem__)
    fixed = [layout.homes[value.name] for value in model.graph.input if layout.homes[value.name].kind == "input"]
    banks = [buffer.bytes for buffer in fixed if buffer.name.startswith("bank")]
    return GraphCost(
        nodes=tuple(nodes), bank_bytes=tuple(banks),
        input_bytes=sum(buffer.bytes for buffer in fixed) - sum(banks),
        peak_bytes=held[moment], peak_node=nodes[moment],
    )  # fmt: skip


def _macs(node: onnx.NodeProto, layout: Layout) -> int:
    if node.op_type not in {"Conv", "Gemm", "MatMul", "MatMulInteger"}:
        return 0
    shape = layout.shapes
    results = math.prod(shape[node.output[0]])
    if node.op_type == "Conv":  # weights are (out, in / groups, *kernel)
        return results * math.prod(shape[node.input[1]][1:])
    transposed = any(item.name == "transA" and item.i for item in node.attribute)
    return results * shape[node.input[0]][0 if transposed else -1]


def _arithmetic(node: onnx.NodeProto, layout: Layout) -> Arithmetic:
    """INT8 where the first two inputs are stored as integers and read as numbers: DequantizeLinear made them."""
    names = [name for name in node.input[:2] if name]
    stored = {layout.homes[name].dtype for name in names}
    if node.op_type == "MatMulInteger":
        return "int8"
    if len(names) == 2 and stored <= INTEGERS and not INTEGERS & {layout.dtypes[name] for name in names}:
        return "int8"
    return "fp16" if names and layout.dtypes[names[0]] in HALVES else "fp32"


def _moved(node: onnx.NodeProto, layout: Layout) -> tuple[int, int]:
    """Bytes that a node reads and writes, every tensor once."""
    written = {layout.homes[name].name: layout.homes[name].bytes for name in node.output if name}
    read = {layout.homes[name].name: layout.homes[name].bytes for name in node.input if name}
    if node.op_type in _PICKS:
        read[layout.homes[node.input[0]].name] = sum(written.values())
    if node.op_type == "Shape":
        read = {}
    return sum(read.values()), sum(written.values())


def _weights(node: onnx.NodeProto, layout: Layout, seen: set[str]) -> int:
    buffers = {layout.homes[name] for name in node.input if name and layout.homes[name].kind == "constant"}
    fresh = {buffer for buffer in buffers if buffer.name not in seen}
    seen.update(buffer.name for buffer in fresh)
    return sum(buffer.bytes for buffer in fresh)


def _held(model: onnx.ModelProto, layout: Layout) -> list[int]:
    """Bytes of computed tensors at every node: from the one that writes a tensor to the last that reads it."""
    born: dict[str, int] = {}
    last: dict[str, int] = {}
    size: dict[str, int] = {}
    count = len(model.graph.node)
    for place, node in enumerate(model.graph.node):
        for name in (*node.input, *node.output):
            if name and layout.homes[name].kind == "computed":
                buffer = layout.homes[name]
                born.setdefault(buffer.name, place)
                last[buffer.name], size[buffer.name] = place, buffer.bytes
    for value in model.graph.output:
        last[layout.homes[value.name].name] = count - 1
    change = [0] * (count + 1)
    for buffer_name, place in born.items():
        change[place] += size[buffer_name]
        change[last[buffer_name] + 1] -= size[buffer_name]
    held, now = [], 0
    for difference in change[:count]:
        now += difference
        held.append(now)
    return held


def _sum(stage: str, nodes: Sequence[NodeCost]) -> StageCost:
    return StageCost(
        stage=stage,
        macs=sum(node.macs for node in nodes),
        read_bytes=sum(node.read_bytes for node in nodes),
        written_bytes=sum(node.written_bytes for node in nodes),
        weight_bytes=sum(node.weight_bytes for node in nodes),
    )
