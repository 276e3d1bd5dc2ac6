"""Q/DQ stands where TensorRT and ONNX Runtime want it, and computes nearly what FP32 computes."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("onnx", reason="onnx is the workstation's alone: pip install 'edge-resad[workstation]'")
pytest.importorskip("torch", reason="torch is the workstation's alone: pip install 'edge-resad[workstation]'")

import onnx
from numpy.typing import NDArray
from onnx import numpy_helper

from edge_resad.errors import CalibrationError
from export.graph import check
from export.half import to_half
from export.quantize import layers_of, quantize, scale_of, tensors_of
from export.ranges import Dialect, Range
from tests.export.graphs import conv_chain, ranges_of, run

X = np.random.default_rng(1).standard_normal((1, 16, 8, 8)).astype(np.float32)
DIALECTS: tuple[Dialect, ...] = ("tensorrt", "onnxruntime")


def _quantized(dialect: Dialect, layers: list[str] | None = None) -> onnx.ModelProto:
    model = conv_chain()
    ranges = ranges_of(model, tensors_of(model), X)
    return quantize(model, ranges, dialect, layers_of(model, dialect) if layers is None else layers)


def _tensors(model: onnx.ModelProto) -> dict[str, NDArray[np.generic]]:
    return {tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer}


def _maker(model: onnx.ModelProto, name: str) -> onnx.NodeProto:
    found: onnx.NodeProto = next(node for node in model.graph.node if name in node.output)
    return found


@pytest.mark.parametrize("dialect", DIALECTS)
def test_int8_computes_nearly_what_fp32_computes(dialect: Dialect) -> None:
    expected, found = run(conv_chain(), {"x": X})[0], run(check(_quantized(dialect)), {"x": X})[0]
    error = np.sqrt(np.square(found - expected).mean() / np.square(expected).mean())
    assert 1e-4 < error < 0.03


@pytest.mark.parametrize("dialect", DIALECTS)
def test_weights_are_stored_as_int8_with_a_scale_for_every_output_channel(dialect: Dialect) -> None:
    tensors = _tensors(_quantized(dialect))
    weight, scale = tensors["backbone.blocks.0.expand.weight.q"], tensors["backbone.blocks.0.expand.weight.scale"]
    assert weight.dtype == np.int8
    assert scale.shape == (16,)
    assert np.abs(weight).max() == 127
    assert "backbone.blocks.0.expand.weight" not in tensors


def test_every_zero_point_for_tensorrt_is_zero_and_signed() -> None:
    zeros = {name: value for name, value in _tensors(_quantized("tensorrt")).items() if name.endswith(".zero")}
    assert len(zeros) > 4
    assert {value.dtype for value in zeros.values()} == {np.dtype(np.int8)}
    assert not any(value.any() for value in zeros.values())


def test_biases_for_tensorrt_stay_float_and_those_for_onnx_runtime_are_integers() -> None:
    model = _quantized("tensorrt")
    conv = _maker(model, "backbone.blocks.0.expand")
    assert _tensors(model)[conv.input[2]].dtype == np.float32
    model = _quantized("onnxruntime")
    dequantized = _maker(model, _maker(model, "backbone.blocks.0.expand").input[2])
    assert _tensors(model)[dequantized.input[0]].dtype == np.int32


def test_tensorrt_keeps_depthwise_and_thin_convolutions_in_float() -> None:
    assert layers_of(conv_chain(), "tensorrt") == [
        "backbone.stem", "backbone.blocks.0.expand", "backbone.blocks.0.project", "backbone.blocks.1.expand"
    ]  # fmt: skip
    assert layers_of(conv_chain(channels=12), "tensorrt") == []
    assert "backbone.blocks.0.depthwise" in layers_of(conv_chain(), "onnxruntime")


def test_tensorrt_sees_the_skip_quantised_and_the_convolutions_result_not() -> None:
    add = _maker(_quantized("tensorrt"), "backbone.blocks.0.Add")
    assert list(add.input) == ["backbone.stem.clip.dq", "backbone.blocks.0.project"]


def test_onnx_runtime_sees_both_sides_of_an_addition_quantised() -> None:
    add = _maker(_quantized("onnxruntime"), "backbone.blocks.0.Add")
    assert list(add.input) == ["backbone.stem.clip.dq", "backbone.blocks.0.project.dq"]


@pytest.mark.parametrize("dialect", DIALECTS)
def test_a_tensor_has_one_pair_whoever_reads_it(dialect: Dialect) -> None:
    quantizers = [node.input[0] for node in _quantized(dialect).graph.node if node.op_type == "QuantizeLinear"]
    assert "backbone.stem.clip" in quantizers  # read by a convolution and an addition
    assert len(quantizers) == len(set(quantizers))


def test_a_layer_that_was_not_chosen_keeps_its_weights() -> None:
    tensors = _tensors(_quantized("tensorrt", ["backbone.blocks.0.expand"]))
    expected = _tensors(conv_chain())["backbone.blocks.0.project.weight"]
    np.testing.assert_array_equal(tensors["backbone.blocks.0.project.weight"], expected)


def test_a_bias_gives_back_what_rounded_weights_add_on_average() -> None:
    model = conv_chain()
    layer = "backbone.blocks.0.expand"
    ranges = ranges_of(model, tensors_of(model), X)
    plain = {name: found.model_copy(update={"means": (0.0,) * 16}) for name, found in ranges.items()}
    drifts = []
    for given in (plain, ranges):
        made = quantize(conv_chain(), given, "tensorrt", [layer])
        for graph in (made, model):
            graph.graph.output.append(onnx.ValueInfoProto(name=layer))
        drifts.append(np.abs((run(made, {"x": X})[1] - run(model, {"x": X})[1]).mean((0, 2, 3))).mean())
        model = conv_chain()
    assert drifts[1] < 0.7 * drifts[0]


def test_a_layer_whose_input_has_no_range_is_named() -> None:
    with pytest.raises(CalibrationError, match=r"no tensor x, which quantisation needs\. Calibrate"):
        quantize(conv_chain(), {}, "tensorrt", ["backbone.stem"])


def test_a_layer_that_the_graph_has_not_is_named() -> None:
    with pytest.raises(CalibrationError, match=r"no layer backbone\.blocks\.9"):
        quantize(conv_chain(), {}, "tensorrt", ["backbone.blocks.9"])


@pytest.mark.parametrize(("low", "high"), [(-3.0, 1.0), (0.0, 6.0), (0.5, 2.0), (-2.0, -1.0)])
def test_zero_is_exact_in_every_scale(low: float, high: float) -> None:
    found = Range(low=low, high=high, means=())
    signed, unsigned = scale_of(found, "tensorrt"), scale_of(found, "onnxruntime")
    assert signed.zero == 0
    assert signed.scale * 127 == pytest.approx(max(-low, high))
    assert 0 <= unsigned.zero <= 255
    assert unsigned.scale * 255 == pytest.approx(max(high, 0) - min(low, 0))


def test_a_tensor_that_is_always_zero_has_a_scale() -> None:
    assert scale_of(Range(low=0, high=0, means=()), "tensorrt").scale > 0
    assert scale_of(Range(low=0, high=0, means=()), "onnxruntime").scale > 0


def test_int8_and_fp16_go_together() -> None:
    expected, model = run(conv_chain(), {"x": X})[0], check(to_half(_quantized("tensorrt")))
    error = np.sqrt(np.square(run(model, {"x": X})[0] - expected).mean() / np.square(expected).mean())
    assert 1e-4 < error < 0.03
    types = {tensor.name: tensor.data_type for tensor in model.graph.initializer}
    scales = [types[node.input[1]] for node in model.graph.node if node.op_type == "QuantizeLinear"]
    assert set(scales) == {onnx.TensorProto.FLOAT16}  # the same float on both sides of every pair
