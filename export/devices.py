"""The modules of NVIDIA's that a bundle may run on, and the least time that their published rates allow a graph.

Sources: NVIDIA's data sheets "Jetson Orin Nano Series", "Jetson Orin NX Series", "Jetson AGX Orin Series" and "Jetson
Thor Series Modules", and the announcement of the Super modes with JetPack 6.2: CUDA cores, tensor cores, the GPU's
highest clock in the mode and the memory's bandwidth.

A tensor core of Orin's does 512 INT8 or 256 FP16 multiply-accumulates a clock, dense. Doubled for sparsity, and with
what the DLAs do, which a detector does not use, that gives the data sheets' TOPS. Of Thor NVIDIA gives 2070 TFLOPS in
sparse FP4; dense FP16 is an eighth. We know no published figure for its dense INT8, so there INT8 counts at FP16's
rate. FP32 is the CUDA cores'; TF32 is not assumed.
"""

from __future__ import annotations

from dataclasses import dataclass

from export.cost import Arithmetic, GraphCost, NodeCost


@dataclass(frozen=True, kw_only=True)
class Module:
    """A module in a power mode: the highest rates of its GPU, dense, in operations; a multiply-accumulate is two."""

    name: str
    mode: str
    fp32_tflops: float
    fp16_tflops: float
    int8_tops: float | None  # None: no published figure
    gb_per_s: float  # of memory, 10^9 bytes

    def rate(self, arithmetic: Arithmetic) -> float:
        """Operations a second."""
        rates = {"fp32": self.fp32_tflops, "fp16": self.fp16_tflops, "int8": self.int8_tops or self.fp16_tflops}
        return rates[arithmetic] * 1e12


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """What the roofline says of a graph on a module."""

    module: Module
    seconds: float
    memory_share: float  # of the seconds, spent in nodes that wait for memory

    @property
    def ms(self) -> float:
        """Milliseconds."""
        return self.seconds * 1e3


def estimate(cost: GraphCost, module: Module) -> Estimate:
    """Add up the nodes, each at the module's peak rate or at its bandwidth, whichever is slower.

    No efficiency factor, no time to launch a kernel. That a real engine reaches neither peak makes it slower than this;
    that it fuses more nodes than are counted as fused makes it faster.
    """
    times = [_node_seconds(node, module) for node in cost.nodes]
    seconds = sum(max(pair) for pair in times)
    waiting = sum(moving for computing, moving in times if moving >= computing)
    return Estimate(module=module, seconds=seconds, memory_share=waiting / seconds if seconds else 0.0)


def _node_seconds(node: NodeCost, module: Module) -> tuple[float, float]:
    """Computing, and moving bytes."""
    moved = node.read_bytes + node.written_bytes
    return 2 * node.macs / module.rate(node.arithmetic), moved / (module.gb_per_s * 1e9)


def _orin(name: str, mode: str, *, cuda_cores: int, tensor_cores: int, mhz: float, gb_per_s: float) -> Module:
    int8_tops = 2 * 512 * tensor_cores * mhz / 1e6
    return Module(
        name=name, mode=mode, fp32_tflops=2 * cuda_cores * mhz / 1e6, fp16_tflops=int8_tops / 2, int8_tops=int8_tops,
        gb_per_s=gb_per_s,
    )  # fmt: skip


MODULES = (
    _orin("Orin Nano 8GB", "15W", cuda_cores=1024, tensor_cores=32, mhz=625, gb_per_s=68),
    _orin("Orin Nano 8GB", "Super", cuda_cores=1024, tensor_cores=32, mhz=1020, gb_per_s=102),
    _orin("Orin NX 16GB", "MAXN", cuda_cores=1024, tensor_cores=32, mhz=918, gb_per_s=102.4),
    _orin("Orin NX 16GB", "Super", cuda_cores=1024, tensor_cores=32, mhz=1173, gb_per_s=102.4),
    _orin("AGX Orin 64GB", "MAXN", cuda_cores=2048, tensor_cores=64, mhz=1300, gb_per_s=204.8),
    Module(
        name="AGX Thor (T5000)", mode="MAXN", fp32_tflops=2 * 2560 * 1575 / 1e6, fp16_tflops=2070 / 8, int8_tops=None,
        gb_per_s=273,
    ),
)  # fmt: skip
"""What the report lists; one module's modes stand together."""
