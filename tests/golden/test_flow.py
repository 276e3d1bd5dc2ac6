"""Flows with and without a condition, of even and odd width, compute what the reference implementation's compute."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

torch = pytest.importorskip("torch", reason="torch is the workstation's alone: pip install 'edge-resad[workstation]'")

from edge_resad.model.flow import CLAMP, Flow, FlowBlock  # noqa: E402 - after the skip
from edge_resad.model.likelihood import log_likelihood  # noqa: E402
from tests.golden.numbers import assert_golden, golden, load_flow  # noqa: E402

if TYPE_CHECKING:
    from torch import Tensor


@pytest.fixture(params=[("flow_cond", 4, 2), ("flow_cond_odd", 4, 1), ("flow_uncond", 0, 3)], ids=lambda item: item[0])
def case(request: pytest.FixtureRequest) -> tuple[dict[str, Tensor], Flow, Tensor | None]:
    name, condition, blocks = request.param
    numbers = golden(name)
    flow = load_flow(Flow(numbers["x"].shape[1], condition, blocks), numbers)
    return numbers, flow, numbers["cond"] if condition else None


def test_z_and_the_log_determinant(case: tuple[dict[str, Tensor], Flow, Tensor | None]) -> None:
    numbers, flow, condition = case
    z, log_det = flow(numbers["x"], condition)
    assert float(numbers["clamp"]) == pytest.approx(CLAMP)
    assert_golden(z, numbers["z"])
    assert_golden(log_det, numbers["logdet"])


def test_likelihoods(case: tuple[dict[str, Tensor], Flow, Tensor | None]) -> None:
    numbers, flow, condition = case
    z, log_det = flow(numbers["x"], condition)
    assert_golden(log_likelihood(z, log_det), numbers["logp_perdim"])
    assert_golden(log_likelihood(z, log_det) * z.shape[1], numbers["logp_total"])
    assert_golden(log_likelihood(z, log_det, center=1.0), numbers["logp_a_perdim"])


def test_a_fresh_block_starts_at_the_references_scale(case: tuple[dict[str, Tensor], Flow, Tensor | None]) -> None:
    numbers, flow, _ = case
    fresh = FlowBlock(flow.channels, flow.condition)
    assert_golden(fresh.raw_scale[None], numbers["init_gscale"])
    assert_golden(fresh.scale(), torch.ones(flow.channels))
