"""The nearest-reference head: what torch computes is what the bundle's graph computes, whatever fills the bank."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="torch is the workstation's alone: pip install 'edge-resad[workstation]'")

from edge_resad.bundle import open_bundle  # noqa: E402 - after the skip
from edge_resad.demo.products import draw  # noqa: E402
from edge_resad.engine.onnx_runtime import OnnxRuntimeEngine  # noqa: E402
from edge_resad.errors import BundleError  # noqa: E402
from edge_resad.model.detector import Encoder, FusedDetector, NearestReference, load_backbone  # noqa: E402
from edge_resad.model.profile import EDGE  # noqa: E402
from export.head import load_head, own_head  # noqa: E402

if TYPE_CHECKING:
    from torch import Tensor


def _image(seed: int, defect: str | None = None) -> Tensor:
    image: Tensor = torch.from_numpy(draw("flange", seed, size=256, defect=defect).image)
    return image


@pytest.fixture(scope="module")
def detector() -> NearestReference:
    return NearestReference(EDGE, Encoder(EDGE, load_backbone(EDGE)).eval()).eval()


def _unit(rows: Tensor) -> Tensor:
    unit: Tensor = torch.nn.functional.normalize(rows, dim=1)
    return unit


@pytest.fixture(scope="module")
def banks(detector: NearestReference) -> list[Tensor]:
    """A good part as the bank, at half of every level's capacity."""
    with torch.no_grad():
        features = detector.encoder(_image(0))
    halves = [tap.capacity // 2 for tap in EDGE.taps]
    return [_unit(rows[torch.arange(half) % len(rows)]) for rows, half in zip(features, halves, strict=True)]


NORM = torch.tensor([[20.0, 4.0], [15.0, 3.0], [10.0, 2.0]])[: len(EDGE.taps)]


@pytest.mark.parametrize("fusion", [(1.0, 0.0, 0.0, 0.0), (0.0, 0.2, 1.0, -3.0), (1.0, 0.2, 1.0, -3.0)], ids=str)
def test_torch_and_onnx_runtime_agree(
    detector: NearestReference, banks: list[Tensor], fusion: tuple[float, ...]
) -> None:
    """The shipped bundle, with every head; the distance alone is what the graph without a learned head gives."""
    bundle = open_bundle()
    graph = bundle.graphs("fp32").detector
    own = own_head(EDGE)
    assert own is not None
    fused = FusedDetector(EDGE, detector.encoder, load_head(own, EDGE).net).eval()
    full = [torch.cat([bank, bank]) for bank in banks]
    with OnnxRuntimeEngine(bundle.file(graph), graph) as engine, torch.no_grad():
        for level, bank in enumerate(full):
            np.copyto(engine.inputs[f"bank_unit_{level}"], bank.numpy())
        np.copyto(engine.inputs["level_norm"], NORM.numpy())
        np.copyto(engine.inputs["fusion"], np.array(fusion, np.float32))
        for image in (_image(1), _image(2), _image(3, "scratch")):
            np.copyto(engine.inputs["image"], image.numpy())
            engine.run()
            expected_map, expected_score = fused(image, *full, NORM, torch.tensor(fusion))
            if fusion[1] == 0:
                torch.testing.assert_close((expected_map, expected_score), detector(image, *full, NORM))
            assert expected_map.std() > 1e-3, "a flat map compares nothing"
            np.testing.assert_allclose(engine.outputs["map"], expected_map.numpy(), atol=1e-4, rtol=1e-4)
            np.testing.assert_allclose(engine.outputs["score"], expected_score.numpy(), atol=1e-4, rtol=1e-4)


def test_rows_that_are_repeated_change_nothing(detector: NearestReference, banks: list[Tensor]) -> None:
    repeated = [torch.cat([bank, bank.flip(0)]) for bank in banks]
    with torch.no_grad():
        once, twice = detector(_image(3), *banks, NORM), detector(_image(3), *repeated, NORM)
    torch.testing.assert_close(once, twice, atol=1e-5, rtol=1e-5)


def test_an_image_that_is_its_own_reference_is_at_no_distance(detector: NearestReference) -> None:
    with torch.no_grad():
        own = [_unit(rows) for rows in detector.encoder(_image(5))]
        score_map, score = detector(_image(5), *own, torch.ones_like(NORM))
        _, other_score = detector(_image(6), *own, torch.ones_like(NORM))
    assert score_map.abs().max() < 1e-5
    assert score.abs() < 1e-5
    assert other_score > 100 * score.abs()


def test_more_references_never_make_a_part_look_worse(detector: NearestReference, banks: list[Tensor]) -> None:
    with torch.no_grad():
        richer = [torch.cat([bank, _unit(rows)]) for bank, rows in zip(banks, detector.encoder(_image(7)), strict=True)]
        few, many = detector(_image(8), *banks, NORM), detector(_image(8), *richer, NORM)
    assert (many[0] <= few[0] + 1e-5).all()
    assert many[1] <= few[1] + 1e-5


def test_brute_force_gives_the_same_cosine_distance(detector: NearestReference) -> None:
    random = torch.Generator().manual_seed(0)
    rows, references = torch.randn(9, 4, generator=random), torch.randn(7, 4, generator=random)
    expected = [min(1 - torch.cosine_similarity(row, ref, dim=0).item() for ref in references) for row in rows]
    torch.testing.assert_close(detector.distance(rows, _unit(references)), torch.tensor(expected))


def test_brute_force_gives_the_same_euclidean_distance(detector: NearestReference) -> None:
    euclidean = NearestReference(replace(EDGE, match="l2"), detector.encoder)
    random = torch.Generator().manual_seed(0)
    rows, references = torch.randn(9, 4, generator=random), torch.randn(7, 4, generator=random)
    expected = torch.cdist(rows, references).amin(1)
    torch.testing.assert_close(euclidean.distance(rows, references), expected, atol=1e-4, rtol=1e-4)


def test_smoothing_keeps_a_flat_map_flat(detector: NearestReference) -> None:
    flat = torch.full((1, 1, 32, 32), 3.0)
    torch.testing.assert_close(detector.smooth(flat), flat)


def test_an_unknown_backbone_is_refused_with_those_that_are_known() -> None:
    with pytest.raises(BundleError, match=r"unknown backbone 'resnet'.*efficientnet_lite0, or timm:NAME"):
        load_backbone(replace(EDGE, backbone="resnet"))
