"""TensorRT's own parser and builder take the graphs that the package carries, every rung of them."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from edge_resad.bundle import Rung, open_bundle
from edge_resad.engine.builder import BuildRequest, BuildResult
from edge_resad.engine.child import ask
from edge_resad.engine.engine_file import GraphName, Settings
from tests.engine.rungs import needs_builder

pytestmark = needs_builder
BUNDLE = open_bundle()
RUNGS = tuple(BUNDLE.manifest.rungs)


def built(rung: Rung, graph: GraphName, sm: str, folder: Path) -> BuildResult:
    pair = BUNDLE.manifest.rungs[rung]
    spec = pair.encoder if graph == "encoder" else pair.detector
    request = BuildRequest(
        onnx=BUNDLE.file(spec).absolute(),
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
@pytest.mark.parametrize("rung", RUNGS)
def test_every_rung_builds(rung: Rung, sm: str, graph: GraphName, tmp_path: Path) -> None:
    result = built(rung, graph, sm, tmp_path)
    assert 100_000 < result.size < 40_000_000  # bytes
    assert result.weights_bytes is not None
    assert 100_000 < result.weights_bytes <= result.size


@pytest.mark.parametrize("rung", RUNGS)
def test_two_processes_write_the_same_plan(rung: Rung, tmp_path: Path) -> None:
    plans = []
    for name in ("first", "second"):
        (tmp_path / name).mkdir()
        built(rung, "detector", "SM86", tmp_path / name)
        plans.append((tmp_path / name / "SM86.plan").read_bytes())
    # Once in a while its builder lists the outputs in the other order: the same bytes, elsewhere. They go by name.
    assert Counter(plans[0]) == Counter(plans[1])


def test_lower_precision_takes_less_memory_for_weights(tmp_path: Path) -> None:
    sizes: dict[str, int] = {}
    for rung in RUNGS:
        (tmp_path / rung).mkdir()
        sizes[rung] = built(rung, "encoder", "SM86", tmp_path / rung).weights_bytes or 0
    pairs = [("int8+fp16", "fp16"), ("int8+fp32", "fp32"), ("fp16", "fp32")]
    assert all(sizes[less] < 0.9 * sizes[more] for less, more in pairs), sizes
