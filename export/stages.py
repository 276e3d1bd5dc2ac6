"""Which part of the detector a node belongs to, from its layer's name where it has one and from what it reads."""

from __future__ import annotations

import re
from collections.abc import Iterable

import onnx

IMAGE, ROWS, MAP, NET, FUSION = "image", "unit rows", "nearest-reference map", "residual network", "fusion"
_INSERTED = {"QuantizeLinear", "DequantizeLinear"}
_BACKBONE, _NET, _TOP = "(backbone)", "(net)", "(top)"  # marks of what depends on these; top: the largest distances


def stages(model: onnx.ModelProto) -> list[str]:
    """The stage of every node, in the graph's order.

    image, stem and block N (of another backbone: its own names), unit rows, matching N, nearest-reference
    map, residual network, fusion. A node that an export put between two others belongs to the one that reads it.
    """
    nodes = model.graph.node
    banks = [value.name for value in model.graph.input if value.name.startswith("bank")]
    to_net = {name for node in nodes if _path(node)[:1] == ["net"] for name in node.input}
    origins: dict[str, frozenset[str]] = {value.name: frozenset({value.name}) for value in model.graph.input}
    made_in: dict[str, str] = {}
    found: list[str] = []
    for node in nodes:
        origin = frozenset().union(*(origins.get(name, frozenset()) for name in node.input))
        before = next((made_in[name] for name in node.input if name in made_in), "")
        inserted = _was_inserted(node)
        feeds_net = bool(to_net.intersection(node.output))
        stage = before if inserted else _stage(node, origin, banks, feeds_net=feeds_net, before=before)
        origins.update(dict.fromkeys(node.output, origin | _marks(node)))
        if stage:
            made_in.update(dict.fromkeys(node.output, stage))
        found.append("" if inserted else stage)
    return _of_their_readers(nodes, found)


def in_order(names: Iterable[str]) -> list[str]:
    """Stages, once each, as a part passes them: the graph's order, but the head's as it is explained."""
    head = [ROWS, "matching", MAP, NET, FUSION]
    ranks = {name: place for place, name in enumerate(head, start=1)}
    return sorted(dict.fromkeys(names), key=lambda name: ranks.get(re.sub(r"^matching .*", "matching", name), 0))


def _stage(node: onnx.NodeProto, origin: frozenset[str], banks: list[str], feeds_net: bool, before: str) -> str:
    path = _path(node)
    if path[:1] == ["backbone"]:
        return _of_backbone(path[1:])
    if path[:1] == ["net"]:
        return NET
    levels = [level for level, bank in enumerate(banks) if bank in origin]
    if origin & {_NET, "fusion"}:
        return FUSION
    if len(levels) == 1 and _TOP not in origin and node.op_type != "TopK":
        if "level_norm" not in origin:
            return f"matching {levels[0]}"
        return NET if feeds_net else MAP
    if levels or "level_norm" in origin:
        return NET if feeds_net else MAP
    if "image" in origin:
        return ROWS if _BACKBONE in origin else IMAGE
    return before or "graph"


def _marks(node: onnx.NodeProto) -> set[str]:
    path = _path(node)
    found = {
        _BACKBONE: path[:1] == ["backbone"],
        _NET: path[:1] == ["net"],
        _TOP: node.op_type == "TopK",
    }
    return {mark for mark, holds in found.items() if holds}


def _of_backbone(path: list[str]) -> str:
    if path[:1] == ["blocks"] and len(path) > 1:
        return f"block {path[1]}"
    return path[0].replace("conv_stem", "stem") if path else "backbone"


def _was_inserted(node: onnx.NodeProto) -> bool:
    """Whether a change of precision put the node there: the tracer's own casts are called Cast or Cast_N."""
    return node.op_type in _INSERTED or (node.op_type == "Cast" and not re.search(r"(^|\.)Cast(_\d+)*$", node.name))


def _of_their_readers(nodes: Iterable[onnx.NodeProto], found: list[str]) -> list[str]:
    """Give every node without a stage the one of its first reader, or of the node before it where nobody reads it."""
    listed, reader = list(nodes), dict[str, str]()
    for place in reversed(range(len(found))):
        if not found[place]:
            read = [reader[name] for name in listed[place].output if name in reader]
            found[place] = read[0] if read else next((name for name in reversed(found[:place]) if name), "graph")
        reader.update({name: found[place] for name in listed[place].input if name})
    return found


def _path(node: onnx.NodeProto) -> list[str]:
    return node.name.split(".") if "." in node.name else []
