"""What a batch holds, what its products are compared with, and how training's epochs are laid out."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch", reason="torch is the workstation's alone: pip install 'edge-resad[workstation]'")

import torch

from edge_resad.datasets.find import find_classes
from edge_resad.errors import ImageError, TrainingError
from edge_resad.model.head import ResADHead
from edge_resad.model.head_settings import RESAD_PP, RESAD_PP_IMAGEBIND, RESAD_V1
from edge_resad.train.batches import draw_batches, images_of, residuals_of
from edge_resad.train.course import Draws
from edge_resad.train.features import ClassFeatures, FeatureCache
from edge_resad.train.loop import train
from edge_resad.train.schedule import lasting, lr_at, stage_at
from edge_resad.train.split import split_classes
from tests.train import tiny


@pytest.fixture(scope="module")
def features(tmp_path_factory: pytest.TempPathFactory) -> list[ClassFeatures]:
    """Two products; one scratch of the second was not outlined."""
    folder = tmp_path_factory.mktemp("batches")
    tiny.draw_set(folder / "set", products=2)
    (folder / "set/p1/ground_truth/scratch/0_mask.png").unlink()
    cache = FeatureCache(folder / "cache", tiny.PROFILE, backbone=tiny.Colours())
    return [cache.of(one) for one in find_classes(folder / "set")]


def _random() -> np.random.Generator:
    return np.random.default_rng(0)


def test_stage_1_learns_from_good_parts_of_training_alone(features: list[ClassFeatures]) -> None:
    assert [images_of(one, 1).tolist() for one in features] == [list(range(8))] * 2


def test_stage_2_leaves_out_defects_that_nobody_outlined(features: list[ClassFeatures]) -> None:
    first, second = (images_of(one, 2).tolist() for one in features)
    assert first == list(range(20))
    assert second == [index for index in range(20) if index != 14]


def test_an_epoch_takes_every_image_once_but_those_that_fill_no_batch(features: list[ClassFeatures]) -> None:
    batches = draw_batches(features, 2, batch=10, shots=[2], random=_random())
    taken = tiny.places(batches)
    assert [len(one.image) for one in batches] == [10, 10, 10]  # of 39
    assert len(set(taken)) == 30
    assert taken != sorted(taken)


def test_references_are_good_distinct_and_not_in_the_batch(features: list[ClassFeatures]) -> None:
    for batch in draw_batches(features, 2, batch=8, shots=[3], random=_random()):
        assert batch.references.keys() == set(batch.product.tolist())
        for index, images in batch.references.items():
            assert len(set(images.tolist())) == 3
            assert set(images.tolist()) <= set(range(8))
            assert not set(images.tolist()) & set(batch.image[batch.product == index].tolist())


def test_a_product_with_too_few_good_parts_shows_those_it_has(features: list[ClassFeatures]) -> None:
    (batch,) = draw_batches(features, 1, batch=100, shots=[12], random=_random())
    assert [sorted(images.tolist()) for images in batch.references.values()] == [list(range(8))] * 2


def test_the_number_of_references_varies_where_several_are_given(features: list[ClassFeatures]) -> None:
    batches = draw_batches(features, 2, batch=4, shots=[1, 2, 4], random=_random())
    assert {len(images) for one in batches for images in one.references.values()} == {1, 2, 4}


def test_processes_share_a_batch_evenly_and_compare_with_the_same_references(features: list[ClassFeatures]) -> None:
    for batch in draw_batches(features, 2, batch=11, shots=[2], random=_random(), multiple=2):
        shares = [batch.share(rank, 2) for rank in range(2)]
        assert [len(one.image) for one in shares] == [5, 5]
        assert sorted(tiny.places(shares)) == sorted(tiny.places([batch]))
        for share in shares:
            assert share.references.keys() == set(share.product.tolist())
            assert all(share.references[index] is batch.references[index] for index in share.references)


def test_every_image_meets_its_own_products_references_and_has_its_own_mask(features: list[ClassFeatures]) -> None:
    head = ResADHead(tiny.PROFILE)
    batch = draw_batches(features, 2, batch=20, shots=[2], random=_random())[0]
    residuals, abnormal = residuals_of(head, features, batch)
    assert [tuple(level.shape) for level in residuals] == [(20, 64, 6), (20, 16, 6)]
    for place, (product, image) in enumerate(tiny.places([batch])):
        one = features[product]
        rows = [torch.from_numpy(level).float() for level in one.take(np.array([image]))]
        references = one.take(batch.references[product])
        bank = [torch.from_numpy(level).float().flatten(0, 1) for level in references]
        expected = head.residuals(rows, [bank])
        for level in range(2):
            torch.testing.assert_close(residuals[level][place], expected[level][0], atol=1e-5, rtol=1e-4)
            assert bool(abnormal[level][place].any()) is bool(one.is_defective[image])


def test_the_papers_schedule_is_kept_over_any_number_of_epochs() -> None:
    assert lasting(RESAD_PP, 100) == RESAD_PP
    short = lasting(RESAD_PP, 20)
    assert (short.stage1_epochs, short.lr_milestones) == (2, (14, 18))
    assert lasting(RESAD_PP_IMAGEBIND, 20).stage1_epochs == 1
    assert lasting(RESAD_V1, 20).stage1_epochs == 0
    assert [stage_at(short, epoch) for epoch in range(4)] == [1, 1, 2, 2]
    rates = [lr_at(short, epoch) / short.lr for epoch in (0, 13, 14, 17, 18, 19)]
    assert rates == pytest.approx([1, 1, 0.1, 0.1, 0.01, 0.01])


def test_a_share_of_the_classes_is_held_out_by_the_seed(tmp_path: Path) -> None:
    classes = find_classes(tiny.draw_set(tmp_path, products=6))
    drawn = {tuple(split_classes(classes, share=0.3, seed=seed).held_out_names) for seed in range(8)}
    assert len(drawn) > 2
    assert {len(names) for names in drawn} == {2}
    split = split_classes(classes, share=0.3, seed=0)
    assert {one.name for one in (*split.seen, *split.held_out)} == {one.name for one in classes}
    assert split == split_classes(classes, share=0.3, seed=0)
    assert split_classes(classes, share=0).held_out == ()


def test_classes_that_are_reported_on_are_never_opened(tmp_path: Path) -> None:
    tiny.draw_set(tmp_path / "set")
    for file in (tmp_path / "set/p3").rglob("*.png"):
        file.write_bytes(b"not to be looked at")
    with pytest.raises(ImageError):
        tiny.run(tmp_path / "set", tmp_path / "out")
    classes = find_classes(tmp_path / "set")
    drawn = [split_classes(classes, leave_out=["p3"], share=0.4, seed=seed) for seed in range(20)]
    assert all("p3" not in one.held_out_names for one in drawn)
    split = split_classes(classes, leave_out=["p3"], hold_out=["p0"])
    assert [one.name for one in (*split.seen, *split.held_out)] == ["p1", "p2", "p0"]
    cache = FeatureCache(tmp_path / "cache", tiny.PROFILE, backbone=tiny.Colours())
    best = train(tiny.PROFILE, split, tmp_path / "out", cache, Draws(shots=(2,)))
    assert best.epoch > 0


def test_left_out_wins_over_held_out(tmp_path: Path) -> None:
    classes = find_classes(tiny.draw_set(tmp_path))
    split = split_classes(classes, hold_out=["p[01]"], leave_out=["p1"])
    assert split.held_out_names == ["p0"]
    assert [one.name for one in split.seen] == ["p2", "p3"]


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ({"hold_out": ["bottle"]}, "no product is called bottle. There are p0, p1"),
        ({"hold_out": ["p*"]}, "of 2 products none is left to learn from: 2 are held out"),
        ({"leave_out": ["*"], "share": 0.0}, "none is left to learn from: 0 are held out, 2 are left out"),
    ],
    ids=["unknown", "all held out", "all left out"],
)
def test_a_split_that_cannot_be_is_said_in_a_sentence(tmp_path: Path, more: dict[str, object], said: str) -> None:
    classes = find_classes(tiny.draw_set(tmp_path, products=2))
    with pytest.raises(TrainingError, match=said.replace("*", r"\*")):
        split_classes(classes, **more)  # type: ignore[arg-type]


def test_a_held_out_class_without_defects_is_refused(tmp_path: Path) -> None:
    tiny.draw_set(tmp_path, products=2)
    tiny.draw_class(tmp_path / "good", 9, defects=0)
    classes = find_classes(tmp_path)
    with pytest.raises(TrainingError, match="good is held out to choose the model, but has no good or no defective"):
        split_classes(classes, hold_out=["good"])
    assert "good" not in split_classes(classes, share=0.9).held_out_names
