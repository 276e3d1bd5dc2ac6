"""FP16 is in the file: convolutions and the similarity, with casts where a value changes, and FP32 where it must be."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("onnx", reason="onnx is the workstation's alone: pip install 'edge-resad[workstation]'")
pytest.importorskip("torch", reason="torch is the workstation's alone: pip install 'edge-resad[workstation]'")

import onnx
from onnx import TensorProto, numpy_helper

from edge_resad.bundle import open_bundle
from export.graph import check
from export.half import to_half
from tests.export.graphs import conv_chain, run

X = np.random.default_rng(1).standard_normal((1, 16, 8, 8)).astype(np.float32)
SHIPPED = open_bundle()


def _types(model: onnx.ModelProto) -> dict[str, int]:
    graph = onnx.shape_inference.infer_shapes(model, strict_mode=True, data_prop=True).graph
    values = {
        value.name: value.type.tensor_type.elem_type for value in (*graph.input, *graph.value_info, *graph.output)
    }
    return values | {tensor.name: tensor.data_type for tensor in graph.initializer}


@pytest.fixture(scope="module")
def detector() -> onnx.ModelProto:
    return onnx.load(SHIPPED.file(SHIPPED.graphs("fp16").detector))


def test_fp16_computes_nearly_what_fp32_computes() -> None:
    expected, found = run(conv_chain(), {"x": X})[0], run(check(to_half(conv_chain())), {"x": X})[0]
    error = np.abs(found - expected).max() / np.abs(expected).max()
    assert 1e-6 < error < 5e-3


def test_inputs_and_outputs_stay_fp32(detector: onnx.ModelProto) -> None:
    values = [*detector.graph.input, *detector.graph.output]
    assert {value.type.tensor_type.elem_type for value in values} == {TensorProto.FLOAT, TensorProto.UINT8}


def test_every_convolution_of_the_backbone_and_the_similarity_are_fp16(detector: onnx.ModelProto) -> None:
    types = _types(detector)
    chosen = [
        node
        for node in detector.graph.node
        if (node.op_type == "Conv" and node.name.startswith("backbone.")) or node.op_type == "MatMul"
    ]
    assert len(chosen) == 38
    assert {types[node.output[0]] for node in chosen} == {TensorProto.FLOAT16}
    assert {types[name] for node in chosen for name in node.input} == {TensorProto.FLOAT16}


def test_norms_logarithms_exponentials_and_the_map_are_fp32(detector: onnx.ModelProto) -> None:
    types = _types(detector)
    islands = [
        node for node in detector.graph.node if node.op_type in ("Log", "Exp", "Sqrt", "ReduceSum", "ReduceMean")
    ]
    assert {node.op_type for node in islands} == {"Log", "Exp", "Sqrt", "ReduceSum", "ReduceMean"}
    assert {types[node.output[0]] for node in islands} == {TensorProto.FLOAT}


def test_one_cast_serves_all_readers_of_a_value(detector: onnx.ModelProto) -> None:
    casts = [(node.input[0], node.attribute[0].i) for node in detector.graph.node if node.op_type == "Cast"]
    assert len(casts) == len(set(casts))


def test_a_weight_that_fp16_cannot_hold_is_refused() -> None:
    model = conv_chain()
    weight = next(tensor for tensor in model.graph.initializer if tensor.name == "backbone.stem.weight")
    weight.CopyFrom(numpy_helper.from_array(np.full((16, 16, 3, 3), 7e4, np.float32), weight.name))
    with pytest.raises(ValueError, match=r"backbone\.stem\.weight has a weight above 65504"):
        to_half(model)
