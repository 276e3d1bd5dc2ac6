"""The losses say what their definitions say, on examples by hand and where a set of patches is empty."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import pytest

torch = pytest.importorskip("torch", reason="torch is the workstation's alone: pip install 'edge-resad[workstation]'")

from edge_resad.train import losses  # noqa: E402 - after the skip

if TYPE_CHECKING:
    from torch import Tensor

OCC = [losses.occ_v1, losses.occ_v1_paper, losses.occ_one_sided, losses.occ_linear, losses.occ_log_barrier]


def _bools(*values: int) -> Tensor:
    flags: Tensor = torch.tensor(values, dtype=torch.bool)
    return flags


@pytest.mark.parametrize(
    ("norm", "v1", "one_sided", "both_sides"),
    [
        (0.5, 0.22474, 0, 0.9286),
        (0.945, 0.39463, 0, 0.6948),
        (0.95, 0.39642, 0, 0),
        (1.0, 0.41421, 0.7103, 0.7103),
        (2.0, 0.73205, 1.2167, 1.2167),
    ],
)
def test_one_normal_patch(norm: float, v1: float, one_sided: float, both_sides: float) -> None:
    rows, normal = torch.tensor([[norm, 0.0]]), _bools(0)
    assert losses.occ_v1(rows, rows, normal) == pytest.approx(v1, abs=1e-4)
    assert losses.occ_one_sided(rows, rows, normal) == pytest.approx(one_sided, abs=1e-4)
    assert losses.occ_log_barrier(rows, rows, normal) == pytest.approx(both_sides, abs=1e-4)


def test_a_normal_and_an_abnormal_patch() -> None:
    rows, before = torch.tensor([[1.0, 0.0], [0.0, 0.6]]), torch.tensor([[1.0, 0.0], [0.0, 1.0]])
    assert losses.occ_log_barrier(rows, before, _bools(0, 1)) == pytest.approx(1.8021, abs=1e-4)


def test_the_papers_form_is_one_mean_over_all_patches() -> None:
    rows, before = torch.tensor([[3.0, 0.0], [0.0, 0.5], [8.0, 0.0]]), torch.zeros(3, 2)
    found = losses.occ_v1_paper(rows, before, _bools(0, 1, 0))
    assert found == pytest.approx((1.0 + 0.5 + 2.0) / 3)


@pytest.mark.parametrize("loss", OCC)
@pytest.mark.parametrize("labels", [(0, 0), (1, 1)])
def test_a_batch_of_one_kind_has_a_finite_loss_and_gradient(loss: object, labels: tuple[int, int]) -> None:
    assert callable(loss)
    rows = torch.tensor([[0.0, 0.0], [2.0, 1.0]], requires_grad=True)
    value = loss(rows, torch.ones(2, 2), _bools(*labels))
    torch.autograd.backward(value)
    assert rows.grad is not None
    assert math.isfinite(value.item())
    assert rows.grad.isfinite().all()


def test_an_abnormal_patch_near_zero_draws_the_shell_to_itself() -> None:
    rows = torch.tensor([[1.0, 0.0], [0.01, 0.0]])
    assert losses.shell_of(rows, _bools(0, 1)) < 0.005
    assert losses.shell_of(rows, _bools(0, 0)) == pytest.approx(0.4)


def test_the_boundary_is_the_twentieth_part_from_below() -> None:
    likelihood = -torch.arange(100) / 100
    boundary = losses.boundary_of(likelihood, 0.05)
    assert boundary == pytest.approx(-0.94)


def test_without_normal_patches_the_boundary_stays() -> None:
    new = losses.boundary_of(torch.zeros(0), 0.05)
    assert new is None
    assert losses.running_boundary(torch.tensor(-1.5), new, 0.9) == -1.5


def test_the_background_terms_by_hand() -> None:
    likelihood, abnormal = torch.tensor([-1.0, -1.2, -0.8, -0.9]), _bools(0, 0, 1, 1)
    found = losses.background_log_barrier(likelihood, abnormal, torch.tensor(-1.1), 0.1)
    assert found == pytest.approx(0.7444 + 0.8837, abs=1e-4)
    hinge = losses.background_hinge(likelihood, abnormal, torch.tensor(-1.1), 0.1)
    assert hinge == pytest.approx(0.1 + (0.4 + 0.3) / 2)


def test_the_focal_loss_by_hand() -> None:
    probability = torch.tensor([[0.9, 0.1], [0.6, 0.4], [0.3, 0.7]]).log()
    found = losses.focal(probability[:, 0], probability[:, 1], _bools(0, 1, 1))
    assert found == pytest.approx(0.120998, abs=1e-5)


def test_orthonormal_patches_are_not_regularised() -> None:
    rows = torch.eye(3)
    assert losses.orthogonality(rows, _bools(0, 0, 0)) == 0
    assert losses.orthogonality(2 * rows, _bools(0, 0, 0)) == pytest.approx(3.0)  # 3 entries of 9, each 3 off


def test_the_codebook_moves_and_the_residuals_do_not_matter_to_it_where_there_is_none() -> None:
    codes = torch.zeros(0, 3, requires_grad=True)
    assert losses.codebook_loss(codes, torch.zeros(0, 3)) == 0


def test_a_cell_that_a_defect_grazes_is_not_judged() -> None:
    logits = torch.tensor([[[0.0, 0.0], [100.0, 0.0]]])
    shares = torch.tensor([[[0.0, 1.0], [0.1, 0.0]]])
    found = losses.cell_loss(logits, shares, least=0.2, weight=4.0)
    assert found == pytest.approx((2 + 4) * math.log(2) / 4)


def test_the_loss_of_parts_by_hand() -> None:
    assert losses.part_loss(torch.tensor([0.0, 0.0]), _bools(0, 1)) == pytest.approx(math.log(2))
