"""What computes."""

from __future__ import annotations

from pydantic import Field

from edge_resad.bundle import Precision
from edge_resad.engine.engine import IoMemory, Provider
from edge_resad.sections import FilePath, Section


class EngineSection(Section):
    """What computes."""

    provider: Provider = Field(
        default="cpu",
        description="what runs the network: ONNX Runtime, or the engines that `edge-resad build` has built",
    )
    threads: int = Field(default=1, ge=1, le=256, description="CPU threads of the network")
    precision: Precision | None = Field(
        default=None, description="what the network computes in; without it: as the bank was made"
    )
    engines: FilePath | None = Field(
        default=None, description="TensorRT: folder of the engines; without it: where `edge-resad build` puts them"
    )
    io_memory: IoMemory = Field(
        default="auto", description="TensorRT: image and map in the GPU's memory or the host's; auto tries both"
    )
