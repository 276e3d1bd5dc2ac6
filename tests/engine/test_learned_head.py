"""Enrolment chooses a head and brings it to the product's scale; the bank carries what the head needs."""

from __future__ import annotations

import math
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

pytest.importorskip("torch", reason="makes a bundle, which takes a workstation: pip install 'edge-resad[workstation]'")
pytest.importorskip("onnx", reason="makes a bundle, which takes a workstation: pip install 'edge-resad[workstation]'")

from edge_resad.bank import Bank, load_bank, save_bank
from edge_resad.bundle import Bundle, HeadName, open_bundle
from edge_resad.demo.products import draw
from edge_resad.engine.advice import coverage
from edge_resad.engine.enrolment import enrol
from edge_resad.engine.fusion import Judged, calibrated, judged, uncalibrated
from edge_resad.engine.inspector import Inspector, write_bank
from edge_resad.engine.onnx_runtime import OnnxRuntimeEngine
from edge_resad.errors import BankError
from export.build import build_bundle
from tests.learned import PROFILE, learned_bundle

Image = NDArray[np.uint8]
HEADS: tuple[HeadName, ...] = ("nn", "resad", "fused")


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return learned_bundle(tmp_path_factory.mktemp("learned"))


@cache
def _drawn(seed: int) -> Image:
    return draw("flange", seed, size=128).image


def _good(count: int) -> list[Image]:
    return [_drawn(seed) for seed in range(count)]


def _enrolled(bundle: Bundle, count: int = 4, **wishes: Any) -> Bank:
    return enrol(bundle, _good(count), product="flange", **wishes).bank


def _score(bundle: Bundle, bank: Bank, image: Image) -> float:
    with Inspector(bundle, bank) as inspector:
        return inspector.inspect(image).score


def test_the_bundles_own_choice_judges_where_nobody_asks(bundle: Bundle) -> None:
    assert _enrolled(bundle, 2).info.head == "fused"
    assert enrol(open_bundle(), _good(2), product="flange", head="nn").bank.info.head == "nn"


@pytest.mark.parametrize("head", HEADS)
def test_a_head_says_what_counts_and_how_much(bundle: Bundle, head: HeadName) -> None:
    info = _enrolled(bundle, head=head).info
    b, a, h0, H0 = info.fusion
    assert info.head == head
    assert (b, a) == {"nn": (1.0, 0.0), "resad": (0.0, 0.1), "fused": (1.0, 0.1)}[head]
    assert (h0 == 0, H0 == 0) == (head == "nn", head == "nn")


def test_a_head_that_the_bundle_lacks_is_refused_with_those_it_has(tmp_path: Path) -> None:
    nearest = build_bundle(PROFILE, tmp_path / "nearest")
    with pytest.raises(BankError, match=r"profile small has no head 'resad', only nn\. Choose one of these"):
        enrol(nearest, _good(2), product="flange", head="resad")


def test_the_nearest_reference_alone_judges_as_without_a_learned_head(bundle: Bundle, tmp_path: Path) -> None:
    nearest = build_bundle(PROFILE, tmp_path / "nearest")
    found, expected = _enrolled(bundle, head="nn"), _enrolled(nearest)
    assert found.info.threshold.score == pytest.approx(expected.info.threshold.score, rel=1e-4)
    assert found.info.threshold.region == pytest.approx(expected.info.threshold.region, rel=1e-4)
    assert found.info.level_norm == expected.info.level_norm
    for one, other in zip(found.levels, expected.levels, strict=True):
        assert np.array_equal(one, other)


@pytest.mark.parametrize(("count", "head"), [(4, "nn"), (4, "resad"), (4, "fused"), (10, "fused")])
def test_good_parts_score_around_one_whatever_judges(bundle: Bundle, count: int, head: HeadName) -> None:
    bank = _enrolled(bundle, count, head=head)
    with Inspector(bundle, bank) as inspector:
        scores = [inspector.inspect(draw("flange", seed, size=128).image).score for seed in range(50, 58)]
    assert 0.5 < np.exp(np.log(scores).mean()) < 2
    assert 0.8 < bank.info.threshold.score < 3


def test_calibrated_scores_of_the_learned_head_are_one_on_average() -> None:
    a, logits = 0.1, [-3.0, 1.0, 5.0]
    seen = [Judged(score=math.exp(a * h), peak=math.exp(a * h), part_logit=h, mean_logit=h - 9) for h in logits]
    fusion, scores, peaks = calibrated((0.0, a, 0.0, 0.0), seen)
    assert fusion == (0.0, a, 1.0, -8.0)
    assert np.log(scores).mean() == pytest.approx(0)
    assert peaks == pytest.approx([math.exp(a * (h + 8)) for h in logits])


@pytest.mark.parametrize("head", HEADS)
def test_what_calibration_makes_of_scores_is_what_the_calibrated_graph_gives(bundle: Bundle, head: HeadName) -> None:
    bank, size = _enrolled(bundle, 2), bundle.manifest.image_size
    norm, part = np.array(bank.info.level_norm, np.float32), draw("flange", 9, size=128).image
    graph = bundle.graphs("fp32").detector
    with OnnxRuntimeEngine(bundle.file(graph), graph) as detector:
        start = uncalibrated(bundle.manifest, head)
        write_bank(detector, bundle, bank.levels, norm, start)
        fusion, (score,), (peak,) = calibrated(start, [judged(detector, part, size, start)])
        again = judged(detector, part, size, fusion)
    assert (again.score, again.peak) == pytest.approx((score, peak), rel=1e-5)
    if head == "resad":
        assert score == pytest.approx(1.0, rel=1e-5)


def test_both_together_are_the_product_of_each(bundle: Bundle) -> None:
    bank = _enrolled(bundle, 3)
    norm, part = np.array(bank.info.level_norm, np.float32), draw("flange", 9, size=128).image
    graph = bundle.graphs("fp32").detector
    with OnnxRuntimeEngine(bundle.file(graph), graph) as detector:
        found = {}
        for head in HEADS:
            fusion = uncalibrated(bundle.manifest, head)
            write_bank(detector, bundle, bank.levels, norm, fusion)
            found[head] = judged(detector, part, bundle.manifest.image_size, fusion)
    assert found["fused"].score == pytest.approx(found["nn"].score * found["resad"].score, rel=1e-4)
    assert found["resad"].score == pytest.approx(math.exp(0.1 * found["resad"].part_logit), rel=1e-5)
    assert found["fused"].part_logit == pytest.approx(found["resad"].part_logit, rel=1e-5)


def test_the_same_parts_make_the_same_fusion(bundle: Bundle) -> None:
    one, other = (_enrolled(bundle, 3, seed=5) for _ in range(2))
    assert one.info == other.info


def test_the_inspector_judges_with_the_banks_fusion(bundle: Bundle) -> None:
    bank = _enrolled(bundle, head="resad")
    part = draw("flange", 60, size=128).image
    b, a, h0, H0 = bank.info.fusion
    shifted = replace(bank, info=bank.info.model_copy(update={"fusion": (b, a, h0 + 3, H0)}))
    usual = _score(bundle, bank, part)
    assert _score(bundle, shifted, part) == pytest.approx(usual * math.exp(-3 * a), rel=1e-5)


def test_a_bank_of_any_head_comes_back_and_judges_alike(bundle: Bundle, tmp_path: Path) -> None:
    part = draw("flange", 61, size=128).image
    for head in HEADS:
        bank = _enrolled(bundle, 2, head=head)
        save_bank(bank, tmp_path / "flange.bank")
        again = load_bank(tmp_path / "flange.bank")
        assert again.info == bank.info
        assert _score(bundle, again, part) == _score(bundle, bank, part)


def test_products_of_different_heads_take_turns_in_one_inspector(bundle: Bundle) -> None:
    part = draw("flange", 62, size=128).image
    nearest, fused = _enrolled(bundle, head="nn"), _enrolled(bundle, head="fused")
    expected = [_score(bundle, bank, part) for bank in (nearest, fused)]
    with Inspector(bundle, nearest) as inspector:
        found = [inspector.inspect(part).score]
        inspector.load(fused)
        found.append(inspector.inspect(part).score)
    assert found == expected
    assert found[0] != found[1]


def test_coverage_is_judged_by_the_banks_head(bundle: Bundle) -> None:
    images = _good(6)
    bank = enrol(bundle, images[:4], product="flange", head="resad").bank
    found = coverage(bundle, bank, images, [4, 5])
    expected = [_score(bundle, bank, images[part]) / bank.info.threshold.score for part in (4, 5)]
    assert found.worst == pytest.approx(max(expected))
