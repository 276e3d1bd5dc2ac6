"""Whole optimiser steps are the reference implementation's, and so is how many of them a batch makes."""

from __future__ import annotations

from dataclasses import replace

import pytest

torch = pytest.importorskip("torch", reason="torch is the workstation's alone: pip install 'edge-resad[workstation]'")

from edge_resad.model.flow import Flow, FlowBlock  # noqa: E402 - after the skip
from edge_resad.model.head import ResADHead  # noqa: E402
from edge_resad.model.head_settings import RESAD_PP, RESAD_PP_IMAGEBIND, HeadSettings  # noqa: E402
from edge_resad.model.profile import PAPER, PAPER_COMPAT  # noqa: E402
from edge_resad.train.step import Stage, Trainer, chunks, labels_on_grid  # noqa: E402
from tests.golden.numbers import assert_golden, golden, load_flow, parts_of, rows_of, small_profile  # noqa: E402


@pytest.mark.parametrize(
    ("name", "stage", "settings"),
    [
        ("step_stage1", 1, replace(RESAD_PP, position_dims=4)),
        ("step_stage2", 2, replace(RESAD_PP, position_dims=4)),
        ("step_ib_stage2", 2, replace(RESAD_PP_IMAGEBIND, labels="nearest")),
    ],
)
def test_a_step_of_the_flow(name: str, stage: Stage, settings: HeadSettings) -> None:
    numbers = golden(name)
    settings = replace(
        settings, blocks=1, lr=float(numbers["lr"]), weight_decay=float(numbers["weight_decay"]), flow_chunk=32
    )
    trainer = Trainer(ResADHead(small_profile(settings, [6], [4])))
    trainer.boundaries[0] = float(numbers["boundary_before"])
    flow = trainer.head.flows[0]
    assert isinstance(flow, Flow)
    load_flow(flow, numbers, "before_")

    abnormal = labels_on_grid(numbers["mask_full"][:, 0], 4, "nearest")
    assert_golden(abnormal.reshape(-1, 4, 4), numbers["mask_down"])
    said = trainer.flow_step([rows_of(numbers["e"])], [abnormal], stage, torch.Generator().manual_seed(0))

    assert said["flow"] == pytest.approx(float(numbers["returned_loss"]), rel=1e-5)
    assert said["flow_steps_0"] == float(numbers["returned_steps"])
    assert_golden(trainer.boundaries[0], numbers["boundary_after"])
    (block,) = flow.blocks
    assert isinstance(block, FlowBlock)
    for part, found in parts_of(block).items():
        assert_golden(found, numbers[f"after_b0_{part}"].reshape(found.shape))


def test_as_released_the_coarsest_level_takes_no_step() -> None:
    numbers = golden("flow_minibatch_counts")
    assert PAPER_COMPAT.head is not None
    settings = PAPER_COMPAT.head
    assert (settings.batch, settings.flow_chunk) == (int(numbers["batch_size"]), int(numbers["n_batch"]))
    rows = [settings.batch * PAPER_COMPAT.grid(tap) ** 2 for tap in PAPER_COMPAT.taps]
    assert [len(chunks(count, settings)) for count in rows] == numbers["calls_per_level"].tolist()


def test_by_default_every_row_of_every_level_is_learnt_from() -> None:
    assert PAPER.head is not None
    for tap, steps in zip(PAPER.taps, (13, 4, 1), strict=True):
        rows = PAPER.head.batch * PAPER.grid(tap) ** 2
        parts = chunks(rows, PAPER.head)
        assert len(parts) == steps
        assert sum(part.stop - part.start for part in parts) == rows
