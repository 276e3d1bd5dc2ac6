"""What a graph costs agrees with counting by hand, and with what the shipped bundle's manifest and file say."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pytest

pytest.importorskip("torch", reason="torch is the workstation's alone: pip install 'edge-resad[workstation]'")
onnx = pytest.importorskip("onnx", reason="onnx is the workstation's alone: pip install 'edge-resad[workstation]'")

from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper  # noqa: E402 - after the skip

from edge_resad.bundle import open_bundle  # noqa: E402
from export.cost import GraphCost, NodeCost, graph_cost  # noqa: E402

Array = np.ndarray[tuple[int, ...], np.dtype[np.generic]]
SHIPPED = open_bundle()


def zeros(*shape: int) -> Array:
    return np.zeros(shape, np.float32)


def graph(
    nodes: Sequence[NodeProto],
    inputs: Mapping[str, Sequence[int | str]],
    constants: Mapping[str, Array] | None = None,
    outputs: Sequence[str] = ("y",),
    dtype: int = TensorProto.FLOAT,
) -> ModelProto:
    model = helper.make_model(
        helper.make_graph(
            list(nodes),
            "small",
            [helper.make_tensor_value_info(name, dtype, list(shape)) for name, shape in inputs.items()],
            [helper.make_tensor_value_info(name, dtype, None) for name in outputs],
            [numpy_helper.from_array(value, name) for name, value in (constants or {}).items()],
        ),
        opset_imports=[helper.make_opsetid("", 17)],
    )
    assert isinstance(model, ModelProto)
    return model


def node(op: str, inputs: str, outputs: str, **attributes: Any) -> NodeProto:
    """A node named after its first output; names of tensors are apart by spaces."""
    made = helper.make_node(op, inputs.split(), outputs.split(), name=outputs.split()[0], **attributes)
    assert isinstance(made, NodeProto)
    return made


def costs(model: ModelProto) -> dict[str, NodeCost]:
    return {cost.name: cost for cost in graph_cost(model).nodes}


def moved(cost: NodeCost) -> tuple[int, int]:
    return cost.read_bytes, cost.written_bytes


@pytest.fixture(scope="module")
def shipped() -> GraphCost:
    return graph_cost(onnx.load(SHIPPED.file(SHIPPED.graphs("fp32").detector)))


def test_a_convolution_multiplies_its_group_of_channels_at_every_step_of_its_stride() -> None:
    conv = node("Conv", "x w b", "y", group=2, strides=[2, 2], pads=[1, 1, 1, 1])
    cost = costs(graph([conv], {"x": (1, 4, 8, 8)}, {"w": zeros(6, 2, 3, 3), "b": zeros(6)}))["y"]
    assert cost.macs == (6 * 4 * 4) * (2 * 3 * 3)
    assert moved(cost) == (4 * (4 * 8 * 8 + 6 * 2 * 3 * 3 + 6), 4 * 6 * 4 * 4)
    assert cost.weight_bytes == 4 * (6 * 2 * 3 * 3 + 6)
    assert cost.arithmetic == "fp32"


@pytest.mark.parametrize(
    ("multiplication", "a", "b", "macs"),
    [
        (node("MatMul", "a b", "y"), (2, 5), (5, 3), 30),
        (node("MatMul", "a b", "y"), (4, 2, 5), (5, 3), 120),
        (node("Gemm", "a b", "y"), (2, 5), (5, 3), 30),
        (node("Gemm", "a b", "y", transA=1), (5, 2), (5, 3), 30),
        (node("Gemm", "a b", "y", transB=1), (2, 5), (3, 5), 30),
    ],
    ids=["matmul", "batched", "gemm", "transA", "transB"],
)
def test_a_product_of_matrices_multiplies_rows_with_columns(
    multiplication: NodeProto, a: tuple[int, ...], b: tuple[int, ...], macs: int
) -> None:
    cost = costs(graph([multiplication], {"a": a, "b": b}))["y"]
    assert cost.macs == macs
    assert moved(cost) == (4 * (math.prod(a) + math.prod(b)), 4 * macs // 5)


def test_what_only_moves_multiplies_nothing() -> None:
    cost = costs(graph([node("Add", "a b", "y")], {"a": (10, 3), "b": (3,)}))["y"]
    assert (cost.macs, *moved(cost)) == (0, 4 * (30 + 3), 4 * 30)


def test_a_tensor_that_is_read_twice_by_a_node_moves_once() -> None:
    assert moved(costs(graph([node("Mul", "x x", "y")], {"x": (10,)}))["y"]) == (40, 40)


def test_a_view_moves_nothing_and_holds_nothing_of_its_own() -> None:
    nodes = [node("Exp", "x", "a"), node("Reshape", "a shape", "b"), node("Exp", "b", "y")]
    cost = graph_cost(graph(nodes, {"x": (10, 10)}, {"shape": np.array([100])}))
    assert [moved(part) for part in cost.nodes] == [(400, 400), (0, 0), (400, 400)]
    assert cost.peak_bytes == 800


def test_picking_rows_reads_those_rows() -> None:
    cost = costs(graph([node("Gather", "x rows", "y")], {"x": (1000, 7)}, {"rows": np.arange(3)}))["y"]
    assert moved(cost) == (4 * 3 * 7 + 8 * 3, 4 * 3 * 7)


def test_a_transposition_is_a_copy_unless_only_products_read_it() -> None:
    nodes = [node("Transpose", "bank", "t"), node("MatMul", "x t", "y")]
    inputs = {"x": (2, 5), "bank": (3, 5)}
    assert moved(costs(graph(nodes, inputs))["t"]) == (0, 0)
    assert moved(costs(graph([*nodes, node("Exp", "t", "z")], inputs, outputs=["y", "z"]))["t"]) == (60, 60)


def test_an_activation_function_behind_a_convolution_is_part_of_it() -> None:
    conv, relu, exp = node("Conv", "x w", "c"), node("Relu", "c", "r"), node("Exp", "r", "y")
    cost = graph_cost(graph([conv, relu, exp], {"x": (1, 1, 10, 10)}, {"w": zeros(1, 1, 1, 1)}))
    assert [moved(part) for part in cost.nodes] == [(404, 400), (0, 0), (400, 400)]
    assert cost.peak_bytes == 800


def test_an_activation_function_is_a_node_of_its_own_where_another_reads_the_convolution_too() -> None:
    nodes = [node("Conv", "x w", "c"), node("Relu", "c", "r"), node("Add", "c r", "y")]
    cost = graph_cost(graph(nodes, {"x": (1, 1, 10, 10)}, {"w": zeros(1, 1, 1, 1)}))
    assert [moved(part) for part in cost.nodes] == [(404, 400), (400, 400), (800, 400)]
    assert cost.peak_bytes == 1200


def test_the_peak_is_where_most_is_needed_at_one_time() -> None:
    nodes = [
        node("Exp", "x", "a"),  # a: 400
        node("Exp", "a", "b"),  # a b: 800
        node("Exp", "b", "c"),  # a is needed later, b for the last time: 1200
        node("Add", "a c", "d"),  # a c d: 1200
        node("Concat", "d d d", "e", axis=0),  # d e: 400 + 1200
        node("ReduceSum", "e", "y"),  # e y: 1200 + 4
    ]
    cost = graph_cost(graph(nodes, {"x": (100,)}))
    assert (cost.peak_bytes, cost.peak_node.name) == (1600, "e")


def test_an_output_is_held_to_the_end() -> None:
    nodes = [node("Exp", "x", "y"), node("Exp", "x", "a"), node("ReduceSum", "a", "z")]
    assert graph_cost(graph(nodes, {"x": (100,)}, outputs=["y", "z"])).peak_bytes == 400 + 400 + 4


def test_weights_that_two_nodes_read_are_in_memory_once() -> None:
    nodes = [node("MatMul", "x w", "a"), node("MatMul", "a w", "y")]
    cost = graph_cost(graph(nodes, {"x": (2, 5)}, {"w": zeros(5, 5)}))
    assert cost.total.weight_bytes == 100
    assert cost.total.read_bytes == 2 * (40 + 100)


def test_half_precision_moves_half_the_bytes() -> None:
    w = np.zeros((5, 3), np.float16)
    cost = costs(graph([node("MatMul", "x w", "y")], {"x": (2, 5)}, {"w": w}, dtype=TensorProto.FLOAT16))["y"]
    assert cost.arithmetic == "fp16"
    assert moved(cost) == (2 * (10 + 15), 2 * 6)


SCALES: dict[str, Array] = {"s": np.array(0.1, np.float32), "z": np.array(0, np.int8)}
QUANTISED = [
    node("QuantizeLinear", "x s z", "q"),
    node("DequantizeLinear", "q s z", "d"),
    node("Conv", "d w b", "c"),
    node("Relu", "c", "r"),
    node("QuantizeLinear", "r s z", "rq"),
    node("DequantizeLinear", "rq s z", "rd"),
    node("Exp", "rd", "y"),
]


@pytest.mark.parametrize(
    ("of_weights", "stored"),
    [
        ([node("DequantizeLinear", "wq s z", "w")], {"wq": np.zeros((6, 4, 1, 1), np.int8)}),
        (
            [node("QuantizeLinear", "wf s z", "wq"), node("DequantizeLinear", "wq s z", "w")],
            {"wf": np.zeros((6, 4, 1, 1), np.float32)},
        ),
    ],
    ids=["integer weights", "weights rounded in the graph"],
)
def test_a_convolution_between_integers_is_counted_in_integers(
    of_weights: list[NodeProto], stored: dict[str, Array]
) -> None:
    constants = {**SCALES, **stored, "b": zeros(6)}
    cost = graph_cost(graph([*of_weights, *QUANTISED], {"x": (1, 4, 8, 8)}, constants))
    nodes = {part.name: part for part in cost.nodes}
    assert nodes["c"].arithmetic == "int8"
    assert nodes["c"].macs == 6 * 8 * 8 * 4
    assert moved(nodes["c"]) == (4 * 8 * 8 + 6 * 4 + 4 * 6, 6 * 8 * 8)
    assert moved(nodes["q"]) == (4 * 256 + 4 + 1, 256)
    assert [moved(nodes[name]) for name in ("w", "d", "r", "rq", "rd")] == [(0, 0)] * 5
    assert moved(nodes["y"]) == (6 * 8 * 8, 4 * 6 * 8 * 8)
    assert cost.total.weight_bytes == 6 * 4 + 4 * 6 + 4 + 1
    assert cost.peak_bytes == (1 + 4) * 6 * 8 * 8


def test_a_convolution_with_integer_weights_alone_multiplies_numbers() -> None:
    nodes = [node("DequantizeLinear", "wq s z", "w"), node("Conv", "x w", "y")]
    cost = costs(graph(nodes, {"x": (1, 4, 8, 8)}, {**SCALES, "wq": np.zeros((6, 4, 1, 1), np.int8)}))["y"]
    assert cost.arithmetic == "fp32"
    assert cost.read_bytes == 4 * 256 + 24


def test_a_shape_that_is_not_fixed_is_refused() -> None:
    with pytest.raises(ValueError, match="x has no fixed shape"):
        graph_cost(graph([node("Exp", "x", "y")], {"x": ("N", 3)}))


def test_what_quantises_belongs_to_the_stage_that_reads_it() -> None:
    conv = node("Conv", "d w", "y")
    conv.name = "/encoder/backbone/_blocks.3/_project_conv/Conv"
    nodes = [node("DequantizeLinear", "wq s z", "w"), *QUANTISED[:2], conv]
    constants = {**SCALES, "wq": np.zeros((6, 4, 1, 1), np.int8)}
    assert {cost.stage for cost in graph_cost(graph(nodes, {"x": (1, 4, 8, 8)}, constants)).nodes} == {"block 3"}


def test_the_shipped_stem_multiplies_as_its_kernel_says(shipped: GraphCost) -> None:
    stem = next(cost for cost in shipped.nodes if cost.name == "/encoder/backbone/_conv_stem/Conv")
    assert stem.macs == 128 * 128 * 32 * 3 * 9
    assert stem.weight_bytes == 4 * (32 * 3 * 9 + 32)


def test_matching_multiplies_every_cell_with_every_row(shipped: GraphCost) -> None:
    found = {stage.stage: stage.macs for stage in shipped.stages}
    for number, level in enumerate(SHIPPED.manifest.levels):
        assert found[f"matching {number}"] == level.cells * level.capacity * level.channels


def test_the_shipped_weights_are_the_files_constants(shipped: GraphCost) -> None:
    held = onnx.load(SHIPPED.file(SHIPPED.graphs("fp32").detector)).graph.initializer
    assert shipped.total.weight_bytes == sum(numpy_helper.to_array(tensor).nbytes for tensor in held)


def test_the_shipped_bank_is_the_manifests(shipped: GraphCost) -> None:
    assert shipped.bank_bytes == tuple(4 * level.capacity * level.channels for level in SHIPPED.manifest.levels)


def test_the_image_and_the_heads_constants_are_the_other_inputs(shipped: GraphCost) -> None:
    levels, size = len(SHIPPED.manifest.levels), SHIPPED.manifest.image_size
    assert shipped.input_bytes == size * size * 3 + 4 * 2 * levels + 4 * 4


def test_the_similarity_of_the_finest_level_makes_the_peak(shipped: GraphCost) -> None:
    finest = SHIPPED.manifest.levels[0]
    assert shipped.peak_node.stage == "matching 0"
    assert 1 < shipped.peak_bytes / (4 * finest.cells * finest.capacity) < 1.5


def test_every_node_of_the_shipped_detector_is_in_a_stage_that_the_page_explains(shipped: GraphCost) -> None:
    assert [stage.stage for stage in shipped.stages] == [
        "image", "stem", *(f"block {number}" for number in range(11)), "last block", "unit rows",
        *(f"matching {level}" for level in range(3)), "nearest-reference map", "residual network", "fusion",
    ]  # fmt: skip


def test_stages_add_up_to_the_whole(shipped: GraphCost) -> None:
    for quantity in ("macs", "read_bytes", "written_bytes", "weight_bytes"):
        parts = [getattr(stage, quantity) for stage in shipped.stages]
        assert sum(parts) == getattr(shipped.total, quantity) > 0
