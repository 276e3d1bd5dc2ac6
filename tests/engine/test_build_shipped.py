"""TensorRT's own parser and builder take the graphs that the package carries, every rung of them."""

from __future__ import annotations

from pathlib import Path

import pytest

pytest.importorskip("onnx", reason="edits graphs, which takes a workstation: pip install 'edge-resad[workstation]'")

from edge_resad.bundle import Bundle, Rung
from edge_resad.engine.builder import BuildRequest, BuildResult
from edge_resad.engine.child import ask
from edge_resad.engine.engine_file import GraphName, Settings
from tests.engine.rungs import needs_builder, shipped_rungs, shipped_with_rungs

pytestmark = needs_builder


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return shipped_with_rungs(tmp_path_factory.mktemp("shipped") / "bundle")


def built(bundle: Bundle, rung: Rung, graph: GraphName, sm: str, folder: Path) -> BuildResult:
    pair = bundle.manifest.rungs[rung]
    spec = pair.encoder if graph == "encoder" else pair.detector
    request = BuildRequest(
        onnx=bundle.file(spec).absolute(),
        plan=folder / f"{sm}.plan",
        inputs=spec.inputs,
        outputs=spec.outputs,
        settings=Settings(sm=sm),
        timing_cache=folder / "timing.cache",
    )
    result = BuildResult.model_validate_json(ask("edge_resad.engine.builder", request))
    assert request.plan.stat().st_size == result.size
    assert {file.name for file in folder.iterdir()} == {request.plan.name}
    return result


@pytest.mark.parametrize("graph", ["encoder", "detector"])
@pytest.mark.parametrize("sm", ["SM86", "SM89"])
@pytest.mark.parametrize("rung", shipped_rungs())
def test_every_rung_builds(bundle: Bundle, rung: Rung, sm: str, graph: GraphName, tmp_path: Path) -> None:
    result = built(bundle, rung, graph, sm, tmp_path)
    assert 100_000 < result.size < 40_000_000  # bytes
    assert result.weights_bytes is not None
    assert 100_000 < result.weights_bytes <= result.size


@pytest.mark.parametrize("rung", shipped_rungs())
def test_two_processes_write_the_same_plan(bundle: Bundle, rung: Rung, tmp_path: Path) -> None:
    plans = []
    for name in ("first", "second"):
        (tmp_path / name).mkdir()
        built(bundle, rung, "detector", "SM86", tmp_path / name)
        plans.append((tmp_path / name / "SM86.plan").read_bytes())
    assert plans[0] == plans[1]


def test_lower_precision_takes_less_memory_for_weights(bundle: Bundle, tmp_path: Path) -> None:
    rungs = shipped_rungs()
    if len(rungs) < 2:
        pytest.skip("the bundle that comes with the package has one rung")
    sizes = {}
    for rung in rungs:
        (tmp_path / rung).mkdir()
        sizes[rung] = built(bundle, rung, "encoder", "SM86", tmp_path / rung).weights_bytes or 0
    pairs = [("int8+fp16", "fp16"), ("int8+fp32", "fp32"), ("fp16", "fp32")]
    present = [(sizes[less], sizes[more]) for less, more in pairs if less in sizes and more in sizes]
    assert present
    assert all(less < 0.9 * more for less, more in present), sizes
