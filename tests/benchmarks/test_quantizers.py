"""The comparison of quantisers makes what it says, and tells a good candidate from a bad one."""

from __future__ import annotations

import inspect
import sys
from pathlib import Path

import pytest

pytest.importorskip("onnx", reason="onnx is the workstation's alone: pip install 'edge-resad[workstation]'")
pytest.importorskip("torch", reason="torch is the workstation's alone: pip install 'edge-resad[workstation]'")

import onnx
from onnx import TensorProto, numpy_helper
from onnxruntime.quantization import quantize_static

from benchmarks.quantizers.__main__ import drawn_parts, judged
from benchmarks.quantizers.candidate import Candidate
from benchmarks.quantizers.judge import build, distances, features
from benchmarks.quantizers.model_optimizer import model_optimizer
from benchmarks.quantizers.ours import variants
from benchmarks.quantizers.static import static
from calibration.collect import histograms
from calibration.methods import find_range
from edge_resad.bundle import Bundle, GraphSpec
from edge_resad.engine.tensorrt_api import find_tensorrt
from edge_resad.errors import CalibrationError
from export.build import build_bundle
from export.precisions import MOST_COST
from export.quantize import layers_of, tensors_of
from export.ranges import Dialect, Range
from tests.learned import PROFILE

SEEN = drawn_parts(PROFILE.size, ("flange", "cap"), 3)
JUDGED = drawn_parts(PROFILE.size, ("board",), 2)


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return build_bundle(PROFILE, tmp_path_factory.mktemp("bundle") / "plain")


@pytest.fixture(scope="module")
def graph(bundle: Bundle) -> GraphSpec:
    return bundle.graphs("fp32").encoder


@pytest.fixture(scope="module")
def encoder(bundle: Bundle, graph: GraphSpec) -> Path:
    return bundle.file(graph)


@pytest.fixture(scope="module")
def ranges(encoder: Path) -> dict[str, Range]:
    seen = histograms(encoder, tensors_of(onnx.load(encoder)), SEEN)
    return {name: find_range(histogram, "max") for name, histogram in seen.items()}


def _ours(encoder: Path, ranges: dict[str, Range], dialect: Dialect, *costly: int) -> dict[str, Candidate]:
    model = onnx.load(encoder)
    layers = layers_of(model, dialect)
    costs = dict.fromkeys(layers, 0.0) | {layers[index]: 2 * MOST_COST for index in costly}
    return {made.settings: made for made in variants(model, ranges, "max", dialect, costs)}


def test_a_dialect_has_a_candidate_without_each_thing_that_others_do_not_do(
    encoder: Path, ranges: dict[str, Range]
) -> None:
    found = _ours(encoder, ranges, "tensorrt", 2)
    every = len(layers_of(onnx.load(encoder), "tensorrt"))
    assert {settings: made.convolutions for settings, made in found.items()} == {
        "as shipped": every - 1,
        "without bias correction": every - 1,
        "all layers": every,
        "all layers, without bias correction": every,
    }


def test_where_no_layer_is_costly_no_candidate_comes_twice(encoder: Path, ranges: dict[str, Range]) -> None:
    assert list(_ours(encoder, ranges, "onnxruntime")) == ["as shipped", "without bias correction"]


def test_a_bias_correction_brings_parts_nearer_to_themselves(
    encoder: Path, graph: GraphSpec, ranges: dict[str, Range], tmp_path: Path
) -> None:
    made = _ours(encoder, ranges, "tensorrt")
    rows, fp32 = judged(iter(made.values()), encoder, graph, {"drawn": JUDGED}, tmp_path, None, sm="SM86", turns=1)
    shipped, without = (row.distances["drawn"] for row in rows)
    assert 0 < shipped < without < 0.1
    assert rows[0].worst["drawn"] >= shipped
    assert all(0 < took["min"] <= took["p50"] for took in (fp32, *(row.milliseconds for row in rows)))
    assert {row.tensorrt for row in rows} == {None}
    assert rows[0].size == (tmp_path / "candidate-0.onnx").stat().st_size


def test_fp32_is_at_no_distance_from_itself(encoder: Path, graph: GraphSpec) -> None:
    found = features(encoder, graph, JUDGED)
    assert distances(found, found) == pytest.approx([0, 0], abs=1e-12)
    assert distances(found, found[::-1]).min() > 0.01


@pytest.mark.skipif(
    "calibration_cache_path" not in inspect.signature(quantize_static).parameters, reason="needs ONNX Runtime 1.32"
)
def test_onnx_runtimes_quantiser_makes_what_each_runtime_takes(encoder: Path, graph: GraphSpec, tmp_path: Path) -> None:
    model = onnx.load(encoder)
    made = {one.settings: one for one in static(model, SEEN, tmp_path, ["min-max"])}
    kinds = {settings: _integers(one.model) for settings, one in made.items()}
    signed, biases, unsigned = TensorProto.INT8, TensorProto.INT32, TensorProto.UINT8
    assert kinds["defaults"] == {signed, biases}
    assert kinds["U8S8, per channel"] == {signed, biases, unsigned}
    for settings, one in made.items():
        if one.dialect == "tensorrt":
            assert kinds[settings] == {signed}, settings
            assert not _zero_points(one.model), settings
    ours, theirs = layers_of(model, "tensorrt"), made["S8S8, our layers, inputs alone"]
    assert theirs.convolutions == len(ours) < made["S8S8, no depthwise"].convolutions


def test_an_interpreter_without_model_optimizer_is_one_sentence(encoder: Path, tmp_path: Path) -> None:
    without = tmp_path / "python"
    without.write_text(f'#!/bin/sh\nexec {sys.executable} -S "$@"\n')  # -S: nothing that is installed
    without.chmod(0o755)
    with pytest.raises(CalibrationError, match=r"said ModuleNotFoundError: .* leave --modelopt-python away\."):
        next(model_optimizer(onnx.load(encoder), SEEN, tmp_path, without))


def test_tensorrt_builds_its_dialect_and_refuses_the_other(
    encoder: Path, graph: GraphSpec, ranges: dict[str, Range], tmp_path: Path
) -> None:
    pytest.importorskip("tensorrt_rtx", reason="TensorRT-RTX is not installed: pip install 'edge-resad[trt-test]'")
    says = {}
    for dialect in ("tensorrt", "onnxruntime"):
        onnx.save(_ours(encoder, ranges, dialect)["as shipped"].model, tmp_path / f"{dialect}.onnx")
        says[dialect] = build(tmp_path / f"{dialect}.onnx", graph, find_tensorrt(), "SM86")
    assert says["tensorrt"].refused is None
    assert (says["tensorrt"].weights_bytes or 0) > 1_000_000
    assert says["onnxruntime"].weights_bytes is None
    assert says["onnxruntime"].refused


def _integers(model: onnx.ModelProto) -> set[int]:
    """Types of what is dequantised: zero points carry them."""
    types = {tensor.name: int(tensor.data_type) for tensor in model.graph.initializer}
    return {types[node.input[2]] for node in model.graph.node if node.op_type == "DequantizeLinear"}


def _zero_points(model: onnx.ModelProto) -> list[str]:
    """Names of those that are not zero."""
    tensors = {tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer}
    names = [node.input[2] for node in model.graph.node if node.op_type == "DequantizeLinear"]
    return [name for name in names if tensors[name].any()]
