"""The steps of an export change what a graph looks like, not what it computes."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

pytest.importorskip("onnx", reason="onnx is the workstation's alone: pip install 'edge-resad[workstation]'")
pytest.importorskip("torch", reason="torch is the workstation's alone: pip install 'edge-resad[workstation]'")

import onnx
import torch
from torch import Tensor, nn

from edge_resad.model.detector import Encoder, load_backbone
from export.graph import (
    OPSET,
    check,
    fold_batch_norms,
    fold_constants,
    fold_input,
    fold_padding,
    fold_shapes,
    trace,
)
from export.names import name
from export.weights import SMALLEST, WEIGHTS, WeightStore
from tests.export.graphs import conv_chain, run
from tests.learned import PROFILE

Step = Callable[[onnx.ModelProto], onnx.ModelProto]
IMAGE = np.random.default_rng(0).integers(0, 256, (128, 128, 3), dtype=np.uint8)


class _Inner(nn.Module):
    """Holds an encoder, as a detector does."""

    def __init__(self, encoder: Encoder) -> None:
        super().__init__()
        self.encoder = encoder

    def forward(self, image: Tensor) -> tuple[Tensor, ...]:
        return tuple(feature + 1 for feature in self.encoder(image))


def _encoder() -> Encoder:
    return Encoder(PROFILE, load_backbone(PROFILE)).eval()


def _copy(model: onnx.ModelProto) -> onnx.ModelProto:
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    return copy


@pytest.fixture(scope="module")
def traced() -> onnx.ModelProto:
    return trace(_encoder(), [torch.from_numpy(IMAGE)], ["image"], [f"feature_{index}" for index in range(3)])


@pytest.fixture(scope="module")
def expected(traced: onnx.ModelProto) -> list[np.ndarray[tuple[int, ...], np.dtype[np.float32]]]:
    return run(traced, {"image": IMAGE})


@pytest.mark.parametrize("step", [fold_constants, fold_shapes, fold_batch_norms, fold_padding, name, check])
def test_a_step_leaves_what_is_computed_as_it_is(
    step: Step, traced: onnx.ModelProto, expected: list[np.ndarray[tuple[int, ...], np.dtype[np.float32]]]
) -> None:
    for found, value in zip(run(step(fold_constants(_copy(traced))), {"image": IMAGE}), expected, strict=True):
        np.testing.assert_allclose(found, value, atol=2e-4, rtol=2e-4)


def test_scaling_and_the_order_of_colours_go_into_the_first_convolution(
    traced: onnx.ModelProto, expected: list[np.ndarray[tuple[int, ...], np.dtype[np.float32]]]
) -> None:
    folded = fold_input(fold_padding(fold_batch_norms(fold_constants(_copy(traced)))))
    before = [node.op_type for node in folded.graph.node]
    before = before[: before.index("Conv")]
    assert "Sub" in before  # zero padding needs it
    assert not {"Mul", "Gather"} & set(before)
    for found, value in zip(run(folded, {"image": IMAGE}), expected, strict=True):
        np.testing.assert_allclose(found, value, atol=2e-4, rtol=2e-4)


def test_no_question_for_a_shape_is_left(traced: onnx.ModelProto) -> None:
    assert "Shape" not in {node.op_type for node in fold_shapes(fold_constants(_copy(traced))).graph.node}


def test_layers_are_called_what_the_model_calls_them(traced: onnx.ModelProto) -> None:
    model = name(fold_batch_norms(fold_constants(_copy(traced))))
    convs = [node for node in model.graph.node if node.op_type == "Conv"]
    assert convs[0].name == "backbone.conv_stem"
    assert convs[0].input[1:] == ["backbone.conv_stem.weight", "backbone.conv_stem.bias"]
    assert "backbone.blocks.3.project_conv" in [node.name for node in convs]
    followers = [node.name for node in model.graph.node if node.op_type == "Clip"]
    assert "backbone.blocks.3.expand_conv.clip" in followers
    assert all(node.name == node.output[0] for node in model.graph.node)


def test_an_encoder_inside_a_detector_has_the_same_names(traced: onnx.ModelProto) -> None:
    outputs = [f"feature_{index}" for index in range(3)]
    inner = trace(_Inner(_encoder()).eval(), [torch.from_numpy(IMAGE)], ["image"], outputs)
    names = [
        {
            node.name
            for node in name(fold_batch_norms(fold_constants(_copy(model)))).graph.node
            if "backbone" in node.name
        }
        for model in (traced, inner)
    ]
    assert names[0] == names[1]
    assert len(names[0]) > 40


def test_names_are_given_once(traced: onnx.ModelProto) -> None:
    graph = name(fold_constants(_copy(traced))).graph
    given = [output for node in graph.node for output in node.output] + [tensor.name for tensor in graph.initializer]
    assert len(given) == len(set(given))


def test_every_graph_says_the_opset(traced: onnx.ModelProto) -> None:
    assert [(item.domain, item.version) for item in traced.opset_import] == [("", OPSET)]


def test_a_shape_that_is_not_fixed_is_refused() -> None:
    model = conv_chain()
    model.graph.input[0].type.tensor_type.shape.dim[0].dim_param = "batch"
    with pytest.raises(ValueError, match="x has a dimension that is not fixed"):
        check(model)


def test_graphs_share_weights_that_are_the_same(tmp_path: pytest.TempPathFactory) -> None:
    folder, store = str(tmp_path), WeightStore()
    one, other = conv_chain(channels=32), conv_chain(channels=32)
    moved = [store.move_out(model) for model in (one, other)]
    size = len(store.content)
    assert size == len(WeightStore().content) + sum(_large(one))
    with open(f"{folder}/{WEIGHTS}", "wb") as file:
        file.write(store.content)
    onnx.save(moved[1], f"{folder}/other.onnx")
    x = np.random.default_rng(0).standard_normal((1, 32, 8, 8)).astype(np.float32)
    np.testing.assert_array_equal(run(onnx.load(f"{folder}/other.onnx"), {"x": x})[0], run(other, {"x": x})[0])


def test_small_constants_stay_in_their_graph() -> None:
    moved = WeightStore().move_out(conv_chain(channels=32))
    inside = [tensor for tensor in moved.graph.initializer if tensor.data_location != onnx.TensorProto.EXTERNAL]
    assert {"zero", "six", "backbone.stem.bias"} <= {tensor.name for tensor in inside}


def _large(model: onnx.ModelProto) -> list[int]:
    sizes = [len(onnx.numpy_helper.to_array(tensor).tobytes()) for tensor in model.graph.initializer]
    return [size for size in sizes if size >= SMALLEST]
