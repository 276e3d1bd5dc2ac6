"""The modules' rates are those of the data sheets, and an estimate is a roofline of them."""

from __future__ import annotations

import pytest

pytest.importorskip("onnx", reason="onnx is the workstation's alone: pip install 'edge-resad[workstation]'")

from export.cost import Arithmetic, GraphCost, NodeCost
from export.devices import MODULES, Module, estimate

TOY = Module(name="toy", mode="", fp32_tflops=1, fp16_tflops=4, int8_tops=8, gb_per_s=50)


def node(macs: int = 0, moved: int = 0, arithmetic: Arithmetic = "fp32") -> NodeCost:
    return NodeCost(
        name="", stage="", arithmetic=arithmetic, macs=macs, read_bytes=moved, written_bytes=0, weight_bytes=0
    )


def whole(*nodes: NodeCost) -> GraphCost:
    return GraphCost(nodes=nodes, bank_bytes=(), input_bytes=0, peak_bytes=0, peak_node=nodes[0])


@pytest.mark.parametrize(
    ("name", "mode", "sparse_tops", "of_the_dlas"),
    [
        ("Orin Nano 8GB", "15W", 40, 0),
        ("Orin Nano 8GB", "Super", 67, 0),
        ("Orin NX 16GB", "MAXN", 100, 40),
        ("Orin NX 16GB", "Super", 157, 80),
        ("AGX Orin 64GB", "MAXN", 275, 105),
    ],
)
def test_a_modules_integer_rate_is_half_the_data_sheets_sparse_one_without_the_dlas(
    name: str, mode: str, sparse_tops: float, of_the_dlas: float
) -> None:
    module = next(module for module in MODULES if (module.name, module.mode) == (name, mode))
    assert module.rate("int8") == pytest.approx((sparse_tops - of_the_dlas) / 2 * 1e12, rel=0.03)
    assert module.rate("fp16") == pytest.approx(module.rate("int8") / 2)


@pytest.mark.parametrize(("arithmetic", "ms"), [("fp32", 8), ("fp16", 2), ("int8", 1)])
def test_a_node_that_computes_takes_two_operations_a_multiplication(arithmetic: Arithmetic, ms: float) -> None:
    found = estimate(whole(node(4 * 10**9, 10**6, arithmetic)), TOY)
    assert found.ms == pytest.approx(ms)
    assert found.memory_share == 0


def test_a_node_that_moves_takes_its_bytes_over_the_bandwidth() -> None:
    found = estimate(whole(node(10**6, 100 * 10**6)), TOY)
    assert found.ms == pytest.approx(2)
    assert found.memory_share == 1


def test_nodes_take_turns() -> None:
    found = estimate(whole(node(macs=3 * 10**9), node(moved=100 * 10**6)), TOY)
    assert found.ms == pytest.approx(6 + 2)
    assert found.memory_share == pytest.approx(0.25)


def test_an_integer_rate_that_nobody_published_is_no_faster_than_half_precision() -> None:
    thor = next(module for module in MODULES if module.int8_tops is None)
    assert thor.rate("int8") == thor.rate("fp16")
