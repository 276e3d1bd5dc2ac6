"""Every loss and every gradient is the reference implementation's."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

torch = pytest.importorskip("torch", reason="torch is the workstation's alone: pip install 'edge-resad[workstation]'")

from edge_resad.model.head_settings import RESAD_PP, RESAD_PP_IMAGEBIND, HeadSettings  # noqa: E402 - after the skip
from edge_resad.model.likelihood import log_likelihood  # noqa: E402
from edge_resad.train import losses  # noqa: E402
from edge_resad.train.step import Stage, flow_loss  # noqa: E402
from tests.golden.numbers import assert_golden, golden, gradient_of  # noqa: E402

if TYPE_CHECKING:
    from torch import Tensor

    Occ = Callable[[Tensor, Tensor, Tensor], Tensor]


@pytest.mark.parametrize("mask", ["mixed", "normal"])
@pytest.mark.parametrize(
    ("name", "loss"),
    [
        ("v1_occ", losses.occ_v1),
        ("logbar_occ", losses.occ_one_sided),
        ("bi_occ", losses.occ_linear),
        ("logbar_bi_occ", losses.occ_log_barrier),
    ],
)
def test_a_one_class_loss_and_its_gradient(name: str, loss: Occ, mask: str) -> None:
    numbers = golden("occ_losses")
    rows = numbers["features"].clone().requires_grad_()
    found = loss(rows, numbers["target"], numbers[f"mask_{mask}"] == 1)
    torch.autograd.backward(found)
    assert_golden(found, numbers[f"{name}_{mask}"])
    assert_golden(gradient_of(rows), numbers[f"{name}_{mask}_grad"])


def test_what_normal_and_abnormal_patches_add_to_it() -> None:
    numbers = golden("occ_losses")
    rows, before, abnormal = numbers["features"], numbers["target"], numbers["mask_mixed"] == 1
    assert_golden(losses.invariance(rows, before, abnormal), numbers["logbar_occ_mixed_loss_a"])
    one_sided = losses.occ_one_sided(rows, before, abnormal) - numbers["logbar_occ_mixed_loss_a"]
    assert_golden(one_sided, numbers["logbar_occ_mixed_loss_n"])
    both_sides = losses.occ_log_barrier(rows, before, abnormal) - numbers["logbar_bi_occ_mixed_loss_a"]
    assert_golden(both_sides, numbers["logbar_bi_occ_mixed_loss_n"])
    assert_golden(both_sides, numbers["logbar_bi_occ_mixed_notarget"])


def test_far_anomalies_leave_the_shell_its_radius() -> None:
    numbers = golden("occ_losses")
    rows, before, abnormal = numbers["features_far"], numbers["target_far"], numbers["mask_mixed"] == 1
    assert_golden(losses.occ_log_barrier(rows, before, abnormal), numbers["logbar_bi_occ_far"])
    assert_golden(losses.invariance(rows, before, abnormal), numbers["logbar_bi_occ_far_a"])  # no push is left
    assert losses.shell_of(rows, abnormal) == torch.tensor(0.4)


@pytest.mark.parametrize("mask", ["mixed", "normal"])
def test_the_orthogonality_regulariser(mask: str) -> None:
    numbers = golden("occ_losses")
    found = losses.orthogonality(numbers["features"], numbers[f"mask_{mask}"] == 1)
    assert_golden(RESAD_PP_IMAGEBIND.orthogonality * found, numbers[f"ortho_reg_{mask}"])


def test_likelihoods_and_the_boundary() -> None:
    numbers = golden("flow_losses")
    assert_golden(log_likelihood(numbers["z"], numbers["logdet"]), numbers["logp"])
    assert_golden(log_likelihood(numbers["z"], numbers["logdet"], center=1.0), numbers["logp_a"])
    normal = numbers["logp"][numbers["mask"] == 0]
    boundary = losses.boundary_of(normal, float(numbers["pos_beta"]))
    assert boundary is not None
    assert_golden(boundary, numbers["b_n_quantile"])


def test_the_running_boundary() -> None:
    numbers = golden("flow_losses")
    boundary = torch.tensor(0.0)
    for new, expected in zip(numbers["boundary_ema_inputs"], numbers["boundary_ema_sequence"], strict=True):
        boundary = losses.running_boundary(boundary, new.float(), 0.9)
        assert_golden(boundary, expected)


@pytest.mark.parametrize(("at", "suffix"), [("b_n_median", ""), ("b_n_quantile", "_at_quantile")])
def test_the_background_terms(at: str, suffix: str) -> None:
    numbers = golden("flow_losses")
    abnormal = numbers["mask"] == 1
    found = losses.background_log_barrier(numbers["logp"], abnormal, numbers[at], float(numbers["margin_tau"]))
    assert_golden(found, numbers[f"bg_logbar_n{suffix}"] + numbers[f"bg_logbar_a{suffix}"])


@pytest.mark.parametrize("normalizer", [1, 10])
def test_the_background_terms_with_hinges(normalizer: int) -> None:
    numbers = golden("flow_losses")
    abnormal = numbers["mask"] == 1
    found = losses.background_hinge(numbers["logp"], abnormal, numbers["b_n_median"], 0.1, normalizer)
    assert_golden(found, numbers[f"bgad_hinge_n_norm{normalizer}"] + numbers[f"bgad_hinge_a_norm{normalizer}"])


def test_the_focal_loss_and_the_likelihoods() -> None:
    numbers = golden("flow_losses")
    abnormal = numbers["mask"] == 1
    likelihood, around_ones = numbers["logp"], numbers["logp_a"]
    assert_golden(torch.stack([likelihood, around_ones], 1).softmax(1), numbers["softmax"])
    assert_golden(losses.focal(likelihood, around_ones, abnormal), numbers["focal"])
    assert_golden(losses.bounded_likelihood(likelihood), numbers["stage1_ml"])
    assert_golden(losses.bounded_likelihood(likelihood[~abnormal]), numbers["ml_normal"])
    assert_golden(losses.bounded_likelihood(around_ones[abnormal]), numbers["ml_abnormal"])


@pytest.mark.parametrize(
    ("settings", "stage", "has_defects", "expected"),
    [
        (RESAD_PP, 1, False, "stage1_ml"),
        (RESAD_PP, 2, True, "stage2_total_at_median"),
        (RESAD_PP_IMAGEBIND, 1, False, "flow_loss_ib_normal"),
        (RESAD_PP_IMAGEBIND, 1, True, "flow_loss_ib"),
        (RESAD_PP_IMAGEBIND, 2, True, "flow_loss_ib_boundary"),
    ],
)
def test_the_sum_of_a_stage(settings: HeadSettings, stage: Stage, has_defects: bool, expected: str) -> None:
    numbers = golden("flow_losses")
    abnormal = (numbers["mask"] == 1) & has_defects
    still = replace(settings, boundary_momentum=1.0)  # the numbers are those at the median, which an update would leave
    median = log_likelihood(numbers["z"], numbers["logdet"])[numbers["mask"] == 0].median()
    assert_golden(median, numbers["b_n_median"])
    found, boundary = flow_loss(numbers["z"], numbers["logdet"], abnormal, median, stage, still)
    assert boundary == median
    assert_golden(found, numbers[expected])
