"""Coarse search, exact distance: INT8 finds the nearest reference, FP32 measures it."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("onnx", reason="onnx is the workstation's alone: pip install 'edge-resad[workstation]'")
pytest.importorskip("torch", reason="torch is the workstation's alone: pip install 'edge-resad[workstation]'")

import onnx
from onnx import TensorProto, helper

from export.match import match_in_int8
from tests.export.graphs import run

ROWS, BANK, CHANNELS = 64, 96, 40


def _search(*, and_its_value: bool = False) -> onnx.ModelProto:
    nodes = [
        helper.make_node("Transpose", ["bank"], ["turned"], perm=[1, 0]),
        helper.make_node("MatMul", ["rows", "turned"], ["similarity"], name="similarity"),
        helper.make_node("ArgMax", ["similarity"], ["found"], axis=1, keepdims=0),
    ]
    outputs = [helper.make_tensor_value_info("found", TensorProto.INT64, [ROWS])]
    if and_its_value:
        nodes.append(helper.make_node("ReduceMax", ["similarity"], ["value"], axes=[1], keepdims=0))
        outputs.append(helper.make_tensor_value_info("value", TensorProto.FLOAT, [ROWS]))
    inputs = [
        helper.make_tensor_value_info("rows", TensorProto.FLOAT, [ROWS, CHANNELS]),
        helper.make_tensor_value_info("bank", TensorProto.FLOAT, [BANK, CHANNELS]),
    ]
    graph = helper.make_graph(nodes, "search", inputs, outputs)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)


def _unit(count: int, seed: int) -> np.ndarray[tuple[int, int], np.dtype[np.float32]]:
    rows = np.random.default_rng(seed).standard_normal((count, CHANNELS))
    return np.asarray(rows / np.linalg.norm(rows, axis=1, keepdims=True), np.float32)


def test_what_is_found_is_as_near_as_the_nearest_within_a_hundredth() -> None:
    rows, bank = _unit(ROWS, 0), _unit(BANK, 1)
    model = match_in_int8(_search())
    assert "MatMulInteger" in [node.op_type for node in model.graph.node]
    found = np.asarray(run(model, {"rows": rows, "bank": bank})[0], np.int64)
    cosines = rows @ bank.T
    assert (cosines.max(1) - cosines[np.arange(ROWS), found] < 0.01).all()
    assert (cosines.argmax(1) == found).mean() > 0.9


def test_a_row_that_is_in_the_bank_is_found() -> None:
    bank = _unit(BANK, 1)
    found = run(match_in_int8(_search()), {"rows": bank[:ROWS], "bank": bank})[0]
    np.testing.assert_array_equal(found, np.arange(ROWS))


def test_a_graph_that_reads_the_similarity_itself_is_left_as_it_is() -> None:
    model = _search(and_its_value=True)
    before = model.SerializeToString(deterministic=True)
    assert match_in_int8(model).SerializeToString(deterministic=True) == before
