"""The residual network sees the nearest reference, found by the quick way, and gives a logit a cell."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

torch = pytest.importorskip("torch", reason="torch is the workstation's alone: pip install 'edge-resad[workstation]'")

from edge_resad.model.residual_net import _largest, compare  # noqa: E402 - after the skip

if TYPE_CHECKING:
    from torch import Tensor


def _unit(count: int, channels: int, seed: int) -> Tensor:
    rows: Tensor = torch.randn(count, channels, generator=torch.Generator().manual_seed(seed))
    unit: Tensor = torch.nn.functional.normalize(rows, dim=1)
    return unit


@pytest.mark.parametrize("references", [1, 50, 64, 256, 300])
def test_the_nearest_reference_is_the_nearest_of_all(references: int) -> None:
    rows, bank = _unit(40, 6, seed=0), _unit(references, 6, seed=1)
    seen, distance = compare(rows, bank, torch.tensor(0.5))
    nearest = (rows @ bank.T).max(1)
    torch.testing.assert_close(distance, 1 - nearest.values)
    torch.testing.assert_close(seen.distance, distance / 0.5)
    torch.testing.assert_close(seen.residual, (rows - bank[nearest.indices]) * 6**0.5)


def test_of_equal_references_the_first_counts() -> None:
    rows = _unit(16, 6, seed=0)
    bank = torch.cat([rows, rows, rows, rows, rows[[0]].expand(64, -1)])  # each in every group but the last
    assert _largest(rows @ bank.T)[1].tolist() == list(range(16))


def test_a_row_that_is_its_own_reference_leaves_no_residual() -> None:
    rows = _unit(64, 6, seed=0)
    seen, distance = compare(rows, rows, torch.tensor(1.0))
    assert seen.residual.abs().max() == 0
    assert distance.abs().max() < 1e-6
