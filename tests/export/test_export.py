"""What export writes is checked, static, and the bundle that the package carries."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch", reason="torch is the workstation's alone: pip install 'edge-resad[workstation]'")
onnx = pytest.importorskip("onnx", reason="onnx is the workstation's alone: pip install 'edge-resad[workstation]'")

from edge_resad.bundle import Bundle, GraphSpec, open_bundle  # noqa: E402 - after the skip
from edge_resad.engine.onnx_runtime import OnnxRuntimeEngine  # noqa: E402
from edge_resad.model.profile import EDGE  # noqa: E402
from export.build import build_bundle  # noqa: E402
from export.head import own_head  # noqa: E402
from export.ranges import load_ranges, own_ranges  # noqa: E402

SHIPPED = open_bundle()


GRAPHS = [graph for pair in SHIPPED.manifest.precisions.values() for graph in (pair.encoder, pair.detector)]


@pytest.fixture(scope="module")
def rebuilt(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    path = tmp_path_factory.mktemp("export") / "edge"
    ranges = own_ranges(EDGE)
    assert ranges is not None
    build_bundle(EDGE, path, own_head(EDGE), load_ranges(ranges))
    return open_bundle(path)


@pytest.mark.parametrize("graph", GRAPHS, ids=lambda graph: graph.file)
def test_a_shipped_graph_satisfies_onnxs_checker(graph: GraphSpec) -> None:
    onnx.checker.check_model(onnx.load(SHIPPED.file(graph)), full_check=True)


@pytest.mark.parametrize("graph", GRAPHS, ids=lambda graph: graph.file)
def test_every_shape_of_a_shipped_graph_is_a_number(graph: GraphSpec) -> None:
    inferred = onnx.shape_inference.infer_shapes(onnx.load(SHIPPED.file(graph)), strict_mode=True, data_prop=True).graph
    values = [*inferred.input, *inferred.output, *inferred.value_info]
    assert len(values) > 20
    for value in values:
        assert all(dim.HasField("dim_value") for dim in value.type.tensor_type.shape.dim), value.name


@pytest.mark.parametrize("graph", GRAPHS, ids=lambda graph: graph.file)
def test_a_shipped_graph_pads_inside_its_convolutions(graph: GraphSpec) -> None:
    nodes = onnx.load(SHIPPED.file(graph)).graph.node
    modes = [
        {item.name: item.s for item in node.attribute}.get("mode", b"constant")
        for node in nodes
        if node.op_type == "Pad"
    ]
    assert b"constant" not in modes  # the map's smoothing alone repeats its edges


def test_the_manifest_describes_the_profile() -> None:
    levels = SHIPPED.manifest.levels
    assert SHIPPED.manifest.image_size == EDGE.size
    assert [(level.layer, level.stride, level.channels, level.capacity) for level in levels] == [
        (tap.layer, tap.stride, tap.channels, tap.capacity) for tap in EDGE.taps
    ]


def test_a_notice_says_whose_weights_these_are() -> None:
    assert "Apache" in (SHIPPED.path / "NOTICE.txt").read_text(encoding="utf-8")


def test_export_makes_the_shipped_bundle_again(rebuilt: Bundle) -> None:
    made_by, shipped_by = rebuilt.manifest.producer, SHIPPED.manifest.producer
    if {**made_by, "edge-resad": ""} != {**shipped_by, "edge-resad": ""}:
        pytest.skip(f"the shipped bundle was made with {shipped_by}, here is {made_by}: other bytes are to be expected")
    assert rebuilt.manifest.bundle_id == SHIPPED.manifest.bundle_id


def test_a_rebuilt_bundle_gives_the_shipped_ones_features(rebuilt: Bundle) -> None:
    image = np.random.default_rng(0).integers(0, 256, (EDGE.size, EDGE.size, 3), dtype=np.uint8)
    features = []
    for bundle in (SHIPPED, rebuilt):
        graph = bundle.graphs("fp32").encoder
        with OnnxRuntimeEngine(bundle.file(graph), graph) as engine:
            np.copyto(engine.inputs["image"], image)
            engine.run()
            features.append({name: output.copy() for name, output in engine.outputs.items()})
    for name, expected in features[0].items():
        np.testing.assert_allclose(features[1][name], expected, atol=1e-3, rtol=1e-3)


def test_an_export_replaces_a_bundle_and_leaves_nothing_beside_it(rebuilt: Bundle) -> None:
    assert [file.name for file in Path(rebuilt.path).parent.iterdir()] == ["edge"]
