"""One step of training moves what it should, says what it did, and can be repeated and resumed."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

torch = pytest.importorskip("torch", reason="torch is the workstation's alone: pip install 'edge-resad[workstation]'")

from edge_resad.model.head import ResADHead  # noqa: E402 - after the skip
from edge_resad.model.profile import EDGE_RESAD, PAPER  # noqa: E402
from edge_resad.model.wide_resnet import WideResNet50  # noqa: E402
from edge_resad.train.step import Trainer, chunks, labels_on_grid  # noqa: E402

if TYPE_CHECKING:
    from torch import Generator, Tensor

LEVELS = (0, 1)


def _trainer(**changes: Any) -> Trainer:
    head = EDGE_RESAD.head
    assert head is not None
    settings = replace(head, **{"codes": 16, "blocks": 2, "flow_chunk": 128, **changes})
    return Trainer(ResADHead(replace(EDGE_RESAD, head=settings, size=64)))


def _batch(trainer: Trainer, images: int = 4, defective: bool = True) -> tuple[list[Tensor], list[Tensor]]:
    """Small residuals where parts are good and large ones on a square defect of every second image."""
    random = torch.Generator().manual_seed(0)
    masks = torch.zeros(images, 64, 64)
    if defective:
        masks[::2, 16:40, 8:32] = 1
    residuals, labels = [], []
    for tap, grid in zip(trainer.head.profile.taps, trainer.head.grids, strict=True):
        label = labels_on_grid(masks, grid, "nearest")
        rows = torch.rand(images, grid**2, tap.channels, generator=random) * (0.1 + label[:, :, None])
        residuals.append(rows)
        labels.append(label)
    return residuals, labels


def _shuffle() -> Generator:
    generator: Generator = torch.Generator().manual_seed(7)
    return generator


VARIANTS: dict[str, dict[str, Any]] = {
    "as it is": {},
    "with moving averages": {"codebook": "ema"},
    "without a codebook": {"alpha": None},
    "without a constraintor": {"constraintor": None},
    "unconditional": {"position_dims": 0},
    "as in the first paper": {
        "alpha": None, "occ": "v1", "likelihood": "plain", "abnormal_center": False, "background": "hinge",
        "boundary_momentum": 0.0,
    },
    "as on ImageBind": {
        "constraintor": "ortho_mlp", "orthogonality": 0.5, "likelihood": "plain", "position_dims": 0,
    },
    "with the paper's form of the loss": {"occ": "v1_paper"},
    "one-sided": {"occ": "one_sided"},
    "linear": {"occ": "linear"},
}  # fmt: skip


@pytest.mark.parametrize("changes", VARIANTS.values(), ids=VARIANTS.keys())
def test_a_step_moves_every_part_and_says_finite_numbers(changes: dict[str, Any]) -> None:
    trainer = _trainer(**changes)
    before = {name: value.clone() for name, value in trainer.head.named_parameters()}
    said = trainer.step(*_batch(trainer), stage=2, generator=_shuffle())
    unmoved = [name for name, value in trainer.head.named_parameters() if torch.equal(value, before[name])]
    assert unmoved == []
    assert all(math.isfinite(value) for value in said.values())
    assert (said["flow_steps_0"], said["flow_steps_1"]) == (2, 1)


def test_a_step_says_the_shell_and_how_the_codebook_is_used() -> None:
    said = _trainer().step(*(_batch(_trainer())), stage=2, generator=_shuffle())
    for level in LEVELS:
        assert 0 < said[f"r_max_{level}"] <= 0.4 + 1e-6
        assert 1 <= said[f"perplexity_{level}"] <= said[f"codes_used_{level}"] <= 16
        assert said[f"boundary_{level}"] < 0


@pytest.mark.parametrize("stage", [1, 2])
def test_losses_fall_within_a_few_steps(stage: Any) -> None:
    trainer = _trainer()
    batch = _batch(trainer, defective=stage == 2)
    said = [trainer.step(*batch, stage=stage, generator=_shuffle()) for _ in range(15)]
    assert said[-1]["flow"] < said[0]["flow"]
    assert said[-1]["occ"] < said[0]["occ"]


def test_the_same_seeds_make_the_same_steps() -> None:
    states = []
    for _ in range(2):
        trainer = _trainer()
        shuffle = _shuffle()
        for _ in range(2):
            trainer.step(*_batch(trainer), stage=2, generator=shuffle)
        states.append(trainer.head.state_dict())
    assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])


def test_training_goes_on_where_it_stopped() -> None:
    through, first = _trainer(), _trainer()
    for trainer in (through, first):
        trainer.step(*_batch(trainer), stage=2, generator=_shuffle())
    second = _trainer()
    second.load_state_dict(first.state_dict())
    for trainer in (through, second):
        trainer.step(*_batch(trainer), stage=2, generator=_shuffle())
    assert torch.equal(through.boundaries, second.boundaries)
    expected, found = through.head.state_dict(), second.head.state_dict()
    assert all(torch.equal(found[name], expected[name]) for name in expected)


def test_a_batch_without_good_patches_is_survived() -> None:
    trainer = _trainer()
    residuals, labels = _batch(trainer)
    said = trainer.step(residuals, [torch.ones_like(label) for label in labels], stage=2, generator=_shuffle())
    assert all(math.isfinite(value) for value in said.values())
    assert trainer.boundaries.tolist() == [0, 0]


def test_as_released_a_level_with_fewer_rows_than_a_chunk_does_not_learn_and_by_default_it_does() -> None:
    for drops, steps in ((True, 0), (False, 1)):
        trainer = _trainer(drop_remainder=drops)
        before = {name: value.clone() for name, value in trainer.head.flows[1].named_parameters()}
        said = trainer.step(*_batch(trainer), stage=2, generator=_shuffle())
        assert said["flow_steps_1"] == steps
        has_moved = any(not torch.equal(v, before[name]) for name, v in trainer.head.flows[1].named_parameters())
        assert has_moved is not drops


def test_chunks_cover_every_row_once() -> None:
    settings = _trainer().settings
    covered = [row for part in chunks(300, settings) for row in range(part.start, part.stop)]
    assert covered == list(range(300))
    assert [part.stop - part.start for part in chunks(300, settings)] == [128, 128, 44]
    assert [part.stop for part in chunks(300, replace(settings, drop_remainder=True))] == [128, 256]


def test_a_learning_rate_is_set_for_all_optimisers() -> None:
    trainer = _trainer()
    trainer.set_lr(0.5)
    rates = {group["lr"] for optimizer in trainer.optimizers.values() for group in optimizer.param_groups}
    assert rates == {0.5}
    assert trainer.optimizers.keys() == {"codebook", "constraintor", "flow"}


def test_any_non_zero_mask_is_a_defect() -> None:
    masks = torch.zeros(1, 64, 64)
    masks[0, 8, 16] = 7
    assert labels_on_grid(masks, 8, "nearest").nonzero().tolist() == [[0, 8 + 2]]


def test_the_papers_profile_learns_one_step_and_judges() -> None:
    """Two images of 224 pixels through random WideResNet50, everything as published but 2 of 10 blocks, for time."""
    assert PAPER.head is not None
    profile = replace(PAPER, head=replace(PAPER.head, blocks=2))
    head = ResADHead(profile)
    trainer = Trainer(head)
    random = torch.Generator().manual_seed(0)
    backbone = WideResNet50([tap.layer for tap in profile.taps]).eval()
    images = torch.randn(3, 3, 224, 224, generator=random)
    with torch.no_grad():
        features = [feature.flatten(2).mT for feature in backbone(images)]
    queries, bank = [rows[:2] for rows in features], [rows[2] for rows in features]
    masks = torch.zeros(2, 224, 224)
    masks[1, 64:160, 64:160] = 1
    labels = [labels_on_grid(masks, grid, "nearest") for grid in head.grids]

    said = trainer.step(head.residuals(queries, [bank]), labels, stage=2, generator=_shuffle())
    assert all(math.isfinite(value) for value in said.values())
    assert [said[f"flow_steps_{level}"] for level in range(3)] == [1, 1, 1]

    head.eval()
    with torch.no_grad():
        scores = head.scorer.of_a_set(*head(queries, [bank]))
        score_map, score = head.folded()([rows[:1] for rows in queries], bank, torch.zeros(3))
    assert scores.merged.shape == (2, 224, 224)
    assert score_map.shape == (1, 224, 224)
    assert scores.merged.isfinite().all()
    assert score.isfinite().all()
