"""A quantised encoder, and by whom and how it was made."""

from __future__ import annotations

from dataclasses import dataclass

import onnx

from export.ranges import Dialect


@dataclass(frozen=True, kw_only=True)
class Candidate:
    """One encoder of a comparison."""

    maker: str
    settings: str  # what differs from the maker's other candidates
    method: str  # how ranges were found, in the maker's own words
    dialect: Dialect  # for whom it is
    model: onnx.ModelProto

    @property
    def convolutions(self) -> int:
        """How many have their weights in INT8."""
        quantised = {
            name for node in self.model.graph.node if node.op_type == "DequantizeLinear" for name in node.output
        }
        return sum(node.op_type == "Conv" and node.input[1] in quantised for node in self.model.graph.node)
