"""`python -m calibration ranges` watches real frames; its file says what was seen, and the export takes no other."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

pytest.importorskip("onnx", reason="onnx is the workstation's alone: pip install 'edge-resad[workstation]'")
pytest.importorskip("torch", reason="torch is the workstation's alone: pip install 'edge-resad[workstation]'")

import onnx
from onnx import numpy_helper

from calibration.collect import histograms
from calibration.sensitivity import sensitivity
from edge_resad.bundle import Bundle, open_bundle
from edge_resad.demo.products import draw
from edge_resad.errors import CalibrationError
from edge_resad.image import fit
from edge_resad.model.profile import EDGE
from export.build import build_bundle
from export.precisions import MOST_COST, quantized_layers
from export.quantize import layers_of, tensors_of
from export.ranges import Ranges, load_ranges, own_ranges, save_ranges
from tests.learned import PROFILE

CHECKOUT = Path(__file__).resolve().parents[2]
FRAMES = [
    fit(draw(family, seed, size=128).image, 128, np.empty((128, 128, 3), np.uint8))
    for family in ("flange", "board")
    for seed in range(8)
]


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return build_bundle(PROFILE, tmp_path_factory.mktemp("bundle") / "plain")


@pytest.fixture(scope="module")
def written(bundle: Bundle, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("good")
    for index, frame in enumerate(FRAMES):
        cv2.imwrite(str(folder / f"{index:02d}.png"), frame)
    done = _calibration("ranges", folder, "--bundle", bundle.path, "--out", folder / "ranges.json", "--method", "max")
    assert done.returncode == 0, done.stderr
    assert "ranges by max from 16 frames" in done.stdout
    return folder / "ranges.json"


def _calibration(*arguments: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "calibration", *map(str, arguments)]
    return subprocess.run(command, cwd=CHECKOUT, capture_output=True, text=True, timeout=100)


def test_every_tensor_that_int8_asks_for_has_a_range(bundle: Bundle, written: Path) -> None:
    found = load_ranges(written)
    assert set(found.tensors) == set(tensors_of(onnx.load(bundle.file(bundle.graphs("fp32").encoder))))
    clipped = [limits for name, limits in found.tensors.items() if name.endswith(".clip")]
    assert len(clipped) > 10
    assert all(0 <= limits.low <= limits.high <= 6 for limits in clipped)


def test_the_file_says_what_was_watched(bundle: Bundle, written: Path) -> None:
    found = load_ranges(written)
    assert (found.method, found.profile, found.image_size) == ("max", "small", 128)
    assert found.backbone_sha256 == bundle.manifest.backbone_sha256
    assert len(set(found.images)) == 16


def test_the_same_frames_give_the_same_file(bundle: Bundle, written: Path, tmp_path: Path) -> None:
    again = tmp_path / "again.json"
    _calibration("ranges", written.parent, "--bundle", bundle.path, "--out", again, "--method", "max")
    assert again.read_bytes() == written.read_bytes()


def test_the_digest_tells_ranges_apart(written: Path) -> None:
    found = load_ranges(written)
    name, limits = next(iter(found.tensors.items()))
    other = found.model_copy(
        update={"tensors": {**found.tensors, name: limits.model_copy(update={"high": limits.high + 1})}}
    )
    assert other.sha256 != found.sha256


def test_a_layer_that_loses_its_weights_costs_most(bundle: Bundle, written: Path, tmp_path: Path) -> None:
    encoder = bundle.file(bundle.graphs("fp32").encoder)
    layer = "backbone.blocks.3.expand_conv"
    found = load_ranges(written)
    source = next(node.input[0] for node in onnx.load(encoder).graph.node if node.name == layer)
    narrow = found.tensors[source].model_copy(update={"low": -1e-3, "high": 1e-3})
    costs = sensitivity(encoder, {**found.tensors, source: narrow}, FRAMES[:4], "tensorrt")
    assert max(costs, key=costs.__getitem__) == layer
    assert found.layers["tensorrt"][layer] < 0.01 < costs[layer]


def test_a_costly_layer_stays_in_float(bundle: Bundle, written: Path) -> None:
    model, found = onnx.load(bundle.file(bundle.graphs("fp32").encoder)), load_ranges(written)
    layers = layers_of(model, "tensorrt")
    costs = dict.fromkeys(layers, 0.0) | {layers[2]: 2 * MOST_COST}
    chosen = quantized_layers(
        model, found.model_copy(update={"layers": {**found.layers, "tensorrt": costs}}), "tensorrt"
    )
    assert chosen == [layer for layer in layers if layer != layers[2]]


def test_for_onnx_runtime_all_up_to_the_end_of_a_costly_layers_block_stays_in_float(
    bundle: Bundle, written: Path
) -> None:
    model, found = onnx.load(bundle.file(bundle.graphs("fp32").encoder)), load_ranges(written)
    layers = layers_of(model, "onnxruntime")
    costs = dict.fromkeys(layers, 0.0) | {"backbone.blocks.2.expand_conv": 2 * MOST_COST}
    changed = found.model_copy(update={"layers": {**found.layers, "onnxruntime": costs}})
    assert quantized_layers(model, changed, "onnxruntime") == layers[layers.index("backbone.blocks.3.expand_conv") :]


def test_a_bundle_with_ranges_has_int8_in_both_dialects(written: Path, tmp_path: Path) -> None:
    made = build_bundle(PROFILE, tmp_path / "int8", None, load_ranges(written))
    manifest = open_bundle(made.path).manifest
    assert list(manifest.precisions) == ["fp32", "fp16", "int8"]
    assert list(manifest.rungs) == ["int8+fp16", "int8+fp32", "fp16", "fp32"]
    assert manifest.calibration is not None
    assert (manifest.calibration.method, manifest.calibration.images) == ("max", 16)
    assert manifest.calibration.sha256 == load_ranges(written).sha256
    kinds = {}
    for name, pair in (("onnxruntime", manifest.precisions["int8"]), ("tensorrt", manifest.rungs["int8+fp16"])):
        graph = onnx.load(made.file(pair.detector)).graph
        zeros = {tensor.name: numpy_helper.to_array(tensor).dtype for tensor in graph.initializer}
        kinds[name] = {zeros[node.input[2]].name for node in graph.node if node.op_type == "QuantizeLinear"}
    assert kinds == {"onnxruntime": {"uint8"}, "tensorrt": {"int8"}}


def test_ranges_of_another_network_are_refused(written: Path, tmp_path: Path) -> None:
    other = load_ranges(written).model_copy(update={"image_size": 256})
    with pytest.raises(
        CalibrationError, match=r"another network \(small: .* at 256 pixels\) than that of small .* at 128"
    ):
        build_bundle(PROFILE, tmp_path / "int8", None, other)
    assert not (tmp_path / "int8").exists()


def test_a_frame_that_makes_a_tensor_infinite_is_refused(bundle: Bundle, tmp_path: Path) -> None:
    model = onnx.load(bundle.file(bundle.graphs("fp32").encoder))
    bias = next(tensor for tensor in model.graph.initializer if tensor.name == "backbone.blocks.0.project_conv.bias")
    bias.CopyFrom(numpy_helper.from_array(np.full(16, np.nan, np.float32), bias.name))
    onnx.save(model, tmp_path / "broken.onnx")
    with pytest.raises(CalibrationError, match=r"backbone\.blocks\.0\.project_conv is not finite for frame 0"):
        histograms(tmp_path / "broken.onnx", tensors_of(model), FRAMES[:2])


@pytest.mark.parametrize(
    ("text", "says"),
    [("", "is no file of ranges"), ("{}", "is no file of ranges .Field required"), ("[1]", "is no file of ranges")],
)
def test_what_is_no_file_of_ranges_is_refused(tmp_path: Path, text: str, says: str) -> None:
    (tmp_path / "ranges.json").write_text(text)
    with pytest.raises(CalibrationError, match=says):
        load_ranges(tmp_path / "ranges.json")


def test_a_missing_file_of_ranges_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(CalibrationError, match=r"cannot read .*nowhere\.json: No such file.*python -m calibration"):
        load_ranges(tmp_path / "nowhere.json")


def test_a_range_upside_down_is_refused(written: Path, tmp_path: Path) -> None:
    raw = json.loads(written.read_text())
    first = next(iter(raw["tensors"]))
    raw["tensors"][first]["low"], raw["tensors"][first]["high"] = 2.0, 1.0
    (tmp_path / "ranges.json").write_text(json.dumps(raw))
    with pytest.raises(CalibrationError, match=r"low 2\.0 lies above high 1\.0"):
        load_ranges(tmp_path / "ranges.json")


def test_a_disk_that_takes_nothing_leaves_nothing(written: Path, tmp_path: Path) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("in the way")
    with pytest.raises(CalibrationError, match=r"cannot write .* Check space and rights"):
        save_ranges(load_ranges(written), blocked / "ranges.json")
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_too_few_frames_end_with_one_line(bundle: Bundle, written: Path, tmp_path: Path) -> None:
    done = _calibration("ranges", written.parent / "00.png", "--bundle", bundle.path, "--out", tmp_path / "ranges.json")
    assert done.returncode == 1
    assert done.stderr.startswith("calibration: 1 frames are too few")
    assert len(done.stderr.splitlines()) == 1
    assert not (tmp_path / "ranges.json").exists()


def test_the_edge_profiles_own_ranges_are_of_the_shipped_network() -> None:
    file = own_ranges(EDGE)
    assert file is not None
    ranges: Ranges = load_ranges(file)
    assert ranges.backbone_sha256 == open_bundle().manifest.backbone_sha256
    assert own_ranges(PROFILE) is None
