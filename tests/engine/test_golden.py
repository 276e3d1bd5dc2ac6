"""The stored run: every precision of the shipped bundle comes close to it, and nonsense does not."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from edge_resad.bundle import Rung, open_bundle
from edge_resad.engine.engine import Constants, Engine
from edge_resad.engine.golden import TOLERANCE, Golden, deviation, fault, golden_bytes, read_golden
from edge_resad.engine.golden_run import golden_runs
from edge_resad.engine.onnx_runtime import OnnxRuntimeEngine

BUNDLE = open_bundle()


class Doubling:
    """An engine that doubles its input, or does worse."""

    def __init__(self, image: str = "image", factor: float = 2.0, *, blind: bool = False) -> None:
        self.inputs: dict[str, NDArray[Any]] = {image: np.zeros(4, np.uint8), "bank": np.zeros(4, np.float32)}
        self.outputs: Mapping[str, NDArray[np.float32]] = {"map": np.zeros(4, np.float32)}
        self.timings: Mapping[str, float] = {}
        self._factor, self._blind, self._image = factor, blind, image

    def __enter__(self) -> Engine:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...

    def write(self, name: str, values: NDArray[Any]) -> None:
        np.copyto(self.inputs[name], values)

    def put(self, constants: Constants) -> None:
        for name, values in constants.by_input.items():
            self.write(name, values)

    def run(self) -> None:
        seen = 1.0 if self._blind else self.inputs[self._image]
        self.outputs["map"][:] = self._factor * (seen + self.inputs["bank"])


@pytest.fixture(scope="module")
def runs() -> dict[str, Golden]:
    return golden_runs(BUNDLE)


@pytest.mark.parametrize("graph", ["encoder", "detector"])
@pytest.mark.parametrize("rung", BUNDLE.manifest.rungs)
def test_every_rung_of_the_shipped_bundle_is_within_its_tolerance(
    runs: dict[str, Golden], rung: Rung, graph: str
) -> None:
    spec = getattr(BUNDLE.manifest.rungs[rung], graph)
    with OnnxRuntimeEngine(BUNDLE.file(spec), spec) as engine:
        assert fault(engine, runs[graph], TOLERANCE[rung]) is None


def test_the_map_of_another_picture_is_far_beyond_every_tolerance(runs: dict[str, Golden]) -> None:
    known = runs["detector"]
    other = replace(known, inputs={**known.inputs, "image": 255 - known.inputs["image"]})
    spec = BUNDLE.manifest.rungs["fp32"].detector
    with OnnxRuntimeEngine(BUNDLE.file(spec), spec) as engine:
        said = fault(engine, other, max(TOLERANCE.values()))
    assert said is not None
    assert said.startswith("its map is off by ")


def test_what_is_stored_is_read_again(runs: dict[str, Golden], tmp_path: Path) -> None:
    file = tmp_path / "golden.npz"
    file.write_bytes(golden_bytes(runs))
    for graph, known in runs.items():
        found = read_golden(file, graph)
        for kept, held in ((found.inputs, known.inputs), (found.outputs, known.outputs)):
            assert kept.keys() == held.keys()
            assert all(np.array_equal(kept[name], held[name]) for name in held)


def test_the_same_run_gives_the_same_file(runs: dict[str, Golden]) -> None:
    assert golden_bytes(golden_runs(BUNDLE)) == golden_bytes(runs)


@pytest.mark.parametrize(
    ("engine", "said"),
    [
        (Doubling(), None),
        (Doubling(image="x"), None),  # no image: nothing to be blind to
        (Doubling(factor=float("nan")), "its map holds values that are no numbers"),
        (Doubling(factor=0.0), "its map is zero throughout"),
        (Doubling(blind=True), "it gives the same for every image"),
    ],
)
def test_without_a_known_run_nonsense_is_noticed_all_the_same(engine: Doubling, said: str | None) -> None:
    assert fault(engine, None, 0.0) == said
    assert not any(buffer.any() for buffer in engine.inputs.values())


def test_a_deviation_is_relative() -> None:
    assert deviation(np.array([3.0, 4.4]), np.array([3.0, 4.0])) == pytest.approx(0.08)
