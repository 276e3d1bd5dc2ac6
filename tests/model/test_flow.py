"""A flow inverts itself, knows its own volume, and folded for a device it gives the same numbers."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

torch = pytest.importorskip("torch", reason="torch is the workstation's alone: pip install 'edge-resad[workstation]'")

from edge_resad.model.flow import Flow, FlowBlock, random_rotation  # noqa: E402 - after the skip
from edge_resad.model.folded_flow import FoldedFlow  # noqa: E402
from edge_resad.model.likelihood import abnormal_probability, log_likelihood  # noqa: E402
from edge_resad.model.position import position_axes, position_code  # noqa: E402

if TYPE_CHECKING:
    from torch import Tensor

CASES = pytest.mark.parametrize(("channels", "condition"), [(6, 8), (5, 8), (6, 0), (7, 0)])


def _flow(channels: int, condition: int, blocks: int = 3) -> Flow:
    """A flow away from its start, so that every weight counts."""
    random = torch.Generator().manual_seed(1)
    flow = Flow(channels, condition, blocks, random)
    with torch.no_grad():
        for block in flow.blocks:
            assert isinstance(block, FlowBlock)
            for weight in (*block.hidden.parameters(), *block.out.parameters(), block.offset):
                weight.copy_(torch.randn(weight.shape, generator=random))
            block.raw_scale.add_(torch.randn(channels, generator=random))
    return flow.requires_grad_(False)


def _rows(count: int, channels: int, seed: int = 0) -> Tensor:
    rows: Tensor = torch.randn(count, channels, generator=torch.Generator().manual_seed(seed))
    return rows


@CASES
def test_a_flow_inverts_itself(channels: int, condition: int) -> None:
    flow, x = _flow(channels, condition).double(), _rows(20, channels).double()
    given = _rows(20, condition, 1).double() if condition else None
    z, _ = flow(x, given)
    assert (z - x).abs().max() > 0.1, "a flow that changes nothing shows nothing"
    torch.testing.assert_close(flow.inverse(z, given), x, atol=1e-4, rtol=0)  # rotations are kept in 32 bits


@CASES
def test_the_log_determinant_is_that_of_the_jacobian(channels: int, condition: int) -> None:
    flow, x = _flow(channels, condition).double(), _rows(4, channels).double()
    given = _rows(4, condition, 1).double() if condition else None
    _, log_det = flow(x, given)
    for index in range(len(x)):
        one = None if given is None else given[index : index + 1]
        jacobian = torch.autograd.functional.jacobian(
            lambda row, one=one: flow(row[None], one)[0][0],
            x[index],
        )
        torch.testing.assert_close(torch.linalg.slogdet(jacobian).logabsdet, log_det[index])


def test_a_condition_of_every_row_or_of_its_position_is_the_same() -> None:
    flow, x, code = _flow(6, 8), _rows(30, 6), _rows(5, 8, 1)
    position = torch.randint(0, 5, (30,), generator=torch.Generator().manual_seed(2))
    for found, expected in zip(flow(x, code, position), flow(x, code[position]), strict=True):
        torch.testing.assert_close(found, expected)


@CASES
@pytest.mark.parametrize("blocks", [1, 3])
def test_a_folded_flow_gives_the_same_numbers(channels: int, condition: int, blocks: int) -> None:
    flow, grid = _flow(channels, condition, blocks).double(), (3, 4)
    rows = _rows(2 * 12, channels).double().reshape(2, 12, channels)
    code = position_code(condition, *grid).double().repeat(2, 1) if condition else None
    z, log_det = flow(rows.flatten(0, 1), code)
    likelihood, abnormal = FoldedFlow(flow, grid)(rows)
    torch.testing.assert_close(likelihood.flatten(), log_likelihood(z, log_det))
    torch.testing.assert_close(abnormal.flatten(), abnormal_probability(z))


def test_the_classifier_sees_the_mean_of_z_alone() -> None:
    z, log_det = _rows(50, 9), _rows(50, 1, 1)[:, 0]
    both = torch.stack([log_likelihood(z, log_det), log_likelihood(z, log_det, center=1.0)], 1)
    torch.testing.assert_close(abnormal_probability(z), both.softmax(1)[:, 1])


@pytest.mark.parametrize("channels", [1, 2, 5, 40])
def test_a_rotation_keeps_lengths_and_turns_nothing_over(channels: int) -> None:
    rotation = random_rotation(channels, torch.Generator().manual_seed(3))
    torch.testing.assert_close(rotation @ rotation.T, torch.eye(channels), atol=1e-5, rtol=0)
    assert torch.linalg.det(rotation) == pytest.approx(1, abs=1e-4)


def test_the_same_seed_draws_the_same_rotation_and_it_is_not_learnt() -> None:
    first, second = (random_rotation(6, torch.Generator().manual_seed(3)) for _ in range(2))
    torch.testing.assert_close(first, second, rtol=0, atol=0)
    flow = _flow(6, 0)
    assert "blocks.0.rotation" in flow.state_dict()
    assert "blocks.0.rotation" not in dict(flow.named_parameters())


def test_a_position_code_is_what_column_and_row_say_in_sum() -> None:
    columns, rows = position_axes(16, 3, 5)
    torch.testing.assert_close(position_code(16, 3, 5)[2 * 5 + 4], columns[4] + rows[2])
    with pytest.raises(ValueError, match="multiple of 4"):
        position_code(6, 2, 2)
