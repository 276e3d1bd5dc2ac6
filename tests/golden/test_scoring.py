"""Maps, scores and metrics are the reference implementation's, alone and at the end of the whole way."""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

torch = pytest.importorskip("torch", reason="torch is the workstation's alone: pip install 'edge-resad[workstation]'")

from edge_resad.evaluation.metrics import auroc, average_precision, f1_max, pixel_metrics  # noqa: E402 - after the skip
from edge_resad.model.flow import Flow  # noqa: E402
from edge_resad.model.head import ResADHead  # noqa: E402
from edge_resad.model.head_settings import RESAD_PP  # noqa: E402
from edge_resad.model.quantizer import Quantizer  # noqa: E402
from edge_resad.model.scoring import MapScorer, image_scores, level_maxima  # noqa: E402
from tests.golden.numbers import (  # noqa: E402
    assert_golden,
    golden,
    image_of,
    load_conv,
    load_flow,
    rows_of,
    small_profile,
)

LEVELS = (1, 2, 3)


def test_maps_and_scores_of_a_set() -> None:
    numbers = golden("scoring")
    likelihoods = [numbers[f"logp{level}"].flatten(1) for level in LEVELS]
    probabilities = [numbers[f"pa{level}"].flatten(1) for level in LEVELS]
    scores = MapScorer((8, 4, 2), int(numbers["size"]), 4.0).of_a_set(likelihoods, probabilities)
    assert_golden(scores.likelihood, numbers["scores_logp"])
    assert_golden(scores.abnormal, numbers["scores_pa"])
    assert_golden(scores.merged, numbers["scores_merged"])
    assert_golden(image_scores(scores.merged), numbers["image_scores_top1"])
    assert_golden(image_scores(scores.merged, 10), numbers["image_scores_top10"])
    assert_golden(level_maxima(likelihoods), numbers["level_max"])


def test_frozen_constants_shift_a_map_and_leave_its_order() -> None:
    numbers = golden("scoring")
    likelihoods = [numbers[f"logp{level}"].flatten(1) for level in LEVELS]
    probabilities = [numbers[f"pa{level}"].flatten(1) for level in LEVELS]
    scorer = MapScorer((8, 4, 2), int(numbers["size"]), 4.0)
    one_by_one = scorer(likelihoods, probabilities, level_maxima(likelihoods))
    shift = one_by_one.likelihood - numbers["scores_logp"]
    assert_golden(shift, torch.full_like(shift, float(shift[0, 0, 0])))
    assert_golden(one_by_one.abnormal, numbers["scores_pa"])


def test_the_whole_way_from_features_to_maps() -> None:
    numbers = golden("end_to_end")
    settings = replace(
        RESAD_PP, codes=6, blocks=2, alpha=float(numbers["fdm_alpha"]), position_dims=int(numbers["pos_embed_dim"])
    )
    head = ResADHead(small_profile(settings, (4, 6, 8), (8, 4, 2), int(numbers["size"]))).eval()
    for level, (quantizer, constraintor, flow) in enumerate(
        zip(head.quantizers, head.constraintors, head.flows, strict=True), start=1
    ):
        assert isinstance(quantizer, Quantizer)
        quantizer.codes.data.copy_(numbers[f"codebook{level}"])
        load_conv(constraintor, numbers, level)
        assert isinstance(flow, Flow)
        load_flow(flow, numbers, f"flow{level}_")
    features = [rows_of(numbers[f"feat{level}"]) for level in LEVELS]
    bank = [numbers[f"bank{level}"] for level in LEVELS]
    with torch.no_grad():
        residuals = head.residuals(features, [bank])
        found = head(features, [bank])
        folded = head.folded().judge(features, bank)
        scores = head.scorer.of_a_set(*found)
        for index, level in enumerate(LEVELS):
            first, like = residuals[index][:1], numbers[f"img0_residual{level}"]
            adapted = head.adapt(index, first)
            assert_golden(image_of(first, like), like)
            assert_golden(image_of(head.quantizers[index](first), like), numbers[f"img0_vq{level}"])
            assert_golden(image_of(adapted, like), numbers[f"img0_efdm{level}"])
            assert_golden(image_of(head.constrain(index, adapted), like), numbers[f"img0_constrained{level}"])
    for index, level in enumerate(LEVELS):
        for judgement in (found, folded):
            assert_golden(judgement.log_likelihood[index], numbers[f"logp{level}"].flatten(1))
            assert_golden(judgement.abnormal[index], numbers[f"pa{level}"].flatten(1))
    assert_golden(scores.likelihood, numbers["scores_logp"])
    assert_golden(scores.abnormal, numbers["scores_pa"])
    assert_golden(scores.merged, numbers["scores_merged"])


def _aupro_of_thresholds(maps: NDArray[np.floating], masks: NDArray[np.bool_], steps: int = 200) -> float:
    """AUPRO as the reference implementation integrates it.

    Thresholds in equal steps from the smallest to the largest score, false positive rates below 0.3 stretched to 0..1.
    """
    regions = []
    for image, mask in zip(maps, masks, strict=True):
        count, labels = cv2.connectedComponents(mask.astype(np.uint8), connectivity=8)
        regions += [image[np.asarray(labels) == label] for label in range(1, count)]
    thresholds = np.arange(maps.min(), maps.max(), (maps.max() - maps.min()) / steps)
    overlap = np.array([np.mean([(region > threshold).mean() for region in regions]) for threshold in thresholds])
    rate = np.array([(maps[~masks] > threshold).mean() for threshold in thresholds])
    inside = rate < 0.3
    x, y = rate[inside], overlap[inside]
    x = (x - x.min()) / (x.max() - x.min())
    return float(abs(np.sum(np.diff(x) * (y[1:] + y[:-1]) / 2)))


def test_metrics_are_the_references_to_five_digits() -> None:
    numbers = {name: value.numpy() for name, value in golden("metrics").items()}
    maps, masks, labels = numbers["scores"], numbers["gt"], numbers["labels"]
    image = maps.reshape(len(maps), -1).max(1)
    pixels = pixel_metrics(maps, masks)
    found = [
        auroc(image, labels),
        average_precision(image, labels),
        f1_max(image, labels),
        pixels.auroc,
        pixels.average_precision,
        f1_max(maps, masks),
    ]
    np.testing.assert_allclose(np.array(found, float), numbers["metrics_top1"][:6], atol=1e-5)
    np.testing.assert_allclose(np.array(found, float), numbers["metrics_best_topk"][:6], atol=1e-5)


def test_aupro_in_two_hundred_steps_is_the_references_and_near_our_exact_one() -> None:
    numbers = {name: value.numpy() for name, value in golden("metrics").items()}
    stepped = _aupro_of_thresholds(numbers["scores"], numbers["gt"])
    assert stepped == pytest.approx(float(numbers["aupro"]), abs=1e-5)
    assert stepped == pytest.approx(float(numbers["metrics_top1"][6]), abs=1e-5)
    exact = pixel_metrics(numbers["scores"], numbers["gt"]).aupro
    assert exact == pytest.approx(stepped, abs=0.02)
