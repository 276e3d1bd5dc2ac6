"""What `python -m export cost` says: a detector's stages, its memory, and an estimate for every module."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass

import onnx

from edge_resad.bundle import Bundle, GraphPair
from edge_resad.errors import BundleError
from export.cost import GraphCost, graph_cost
from export.devices import MODULES, Estimate, estimate
from export.plan import planned_graph

CAVEAT = (
    "An estimate from published peak rates and bandwidths, not a measurement: every node at the slower of the two,\n"
    "no time between nodes. No engine reaches either peak; measure on the device before you promise anything."
)


@dataclass(frozen=True, kw_only=True)
class BankLevel:
    """Room for the references of one level."""

    layer: str
    rows: int
    channels: int
    bytes: int


@dataclass(frozen=True, kw_only=True)
class Report:
    """A detector, counted."""

    profile: str
    precision: str
    image_size: int  # pixels, both sides
    bank: tuple[BankLevel, ...]  # finest first
    cost: GraphCost
    estimates: tuple[Estimate, ...]

    @property
    def memory(self) -> dict[str, int]:
        """Bytes that a run holds, by what they are for."""
        return {
            "weights": self.cost.total.weight_bytes,
            "bank": sum(self.cost.bank_bytes),
            "other inputs": self.cost.input_bytes,
            "activations, peak": self.cost.peak_bytes,
        }


def report(
    bundle: Bundle, precision: str = "fp32", *, size: int | None = None, capacities: Sequence[int] | None = None
) -> Report:
    """Count a bundle's detector, or with a size or capacities the one that would be exported with them.

    Raises:
        BundleError: the bundle has no such graph, a plan of another precision than FP32, or see `planned_graph`.
    """
    if size is None and capacities is None:
        model = onnx.load(bundle.file(_pair(bundle, precision).detector))
    elif precision == "fp32":
        model = planned_graph(bundle, size, capacities)
    else:
        raise BundleError(
            f"a plan with another size or capacity is of the fp32 graph, not of {precision}. Leave out --precision, "
            "or export a bundle with these numbers."
        )
    shapes = {value.name: [dim.dim_value for dim in value.type.tensor_type.shape.dim] for value in model.graph.input}
    banks = [shape for name, shape in shapes.items() if name.startswith("bank")]
    cost = graph_cost(model)
    return Report(
        profile=bundle.manifest.profile, precision=precision, image_size=shapes["image"][0],
        bank=tuple(
            BankLevel(layer=level.layer, rows=rows, channels=channels, bytes=held)
            for level, (rows, channels), held in zip(bundle.manifest.levels, banks, cost.bank_bytes, strict=True)
        ),
        cost=cost, estimates=tuple(estimate(cost, module) for module in MODULES),
    )  # fmt: skip


def as_text(found: Report) -> str:
    """Tables for people. M is 10^6, MB 10^6 bytes, GB 10^9 bytes."""
    rows = ", ".join(str(level.rows) for level in found.bank)
    head = f"{found.profile}, {found.precision}, image {found.image_size} x {found.image_size}, bank {rows} rows"
    stages = [["stage", "MMAC", "read MB", "written MB", "weights MB"]]
    stages += [
        [stage.stage, f"{stage.macs / 1e6:.1f}", *map(_mb, (stage.read_bytes, stage.written_bytes, stage.weight_bytes))]
        for stage in (*found.cost.stages, found.cost.total)
    ]
    memory = [["memory", "MB"], *([name, _mb(count)] for name, count in found.memory.items())]
    memory.append(["together", _mb(sum(found.memory.values()))])
    bank = [["bank", "rows", "channels", "MB"]]
    bank += [[level.layer, str(level.rows), str(level.channels), _mb(level.bytes)] for level in found.bank]
    modules = [["module", "mode", "FP32 TFLOPS", "FP16 TFLOPS", "INT8 TOPS", "GB/s", "estimate ms", "waits for memory"]]
    modules += [_module(item) for item in found.estimates]
    tables = [_aligned(stages), _aligned(bank), _aligned(memory), _aligned(modules, words=2)]
    peak = f"The peak is in {found.cost.peak_node.stage}, at {found.cost.peak_node.name}."
    return "\n\n".join([head, *tables[:2], f"{tables[2]}\n{peak}", tables[3], CAVEAT])


def as_json(found: Report) -> str:
    """One JSON object: the same, in bytes and operations, with every stage."""
    content = {
        "profile": found.profile,
        "precision": found.precision,
        "image_size": found.image_size,
        "stages": [asdict(stage) for stage in found.cost.stages],
        "total": asdict(found.cost.total),
        "bank": [asdict(level) for level in found.bank],
        "memory_bytes": found.memory,
        "peak_node": found.cost.peak_node.name,
        "estimates": [
            {**asdict(item.module), "estimate_ms": item.ms, "memory_share": item.memory_share}
            for item in found.estimates
        ],
        "note": CAVEAT.replace("\n", " "),
    }
    return json.dumps(content)


def _pair(bundle: Bundle, precision: str) -> GraphPair:
    manifest = bundle.manifest
    held = {str(name): pair for name, pair in (*manifest.rungs.items(), *manifest.precisions.items())}
    if precision not in held:
        raise BundleError(
            f"the bundle {bundle.path} holds no {precision} graphs, only {', '.join(held)}. Choose one, or export "
            "again."
        )
    return held[precision]


def _module(item: Estimate) -> list[str]:
    module = item.module
    int8 = "-" if module.int8_tops is None else f"{module.int8_tops:.1f}"
    rates = [f"{module.fp32_tflops:.1f}", f"{module.fp16_tflops:.1f}", int8, f"{module.gb_per_s:.0f}"]
    return [module.name, module.mode, *rates, f"{item.ms:.2f}", f"{item.memory_share:.0%}"]


def _mb(count: int) -> str:
    return f"{count / 1e6:.2f}"


def _aligned(rows: Sequence[Sequence[str]], words: int = 1) -> str:
    """Columns two spaces apart: the first `words` of them to the left, the numbers to the right."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join(
        "  ".join(
            cell.ljust(width) if place < words else cell.rjust(width)
            for place, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    )
