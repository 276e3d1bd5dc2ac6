"""A trained head of ResAD's goes through the same protocol as a bundle."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch", reason="torch is the workstation's alone: pip install 'edge-resad[workstation]'")

from edge_resad.datasets.find import find_classes
from edge_resad.errors import TrainingError
from edge_resad.evaluation.protocol import evaluate
from edge_resad.model.net_settings import NetSettings
from edge_resad.train import checkpoint
from edge_resad.train.head_scorer import HeadScorer, _in_frame
from tests.train import tiny


def test_a_trained_head_finds_defects_of_a_product_it_never_saw(tmp_path: Path) -> None:
    drawn = tiny.draw_set(tmp_path / "set")
    tiny.run(drawn, tmp_path / "out", settings={"epochs": 30, "stage1_epochs": 5})
    scorer = HeadScorer(tmp_path / "out/best.pt", backbone=tiny.Colours())
    unseen = [one for one in find_classes(drawn) if one.name == "p0"]
    results = evaluate(unseen, scorer, shots=3, seeds=[0])
    assert (results.mean("image_auroc") or 0) > 0.85


def test_a_head_that_learned_from_other_features_is_refused(tmp_path: Path) -> None:
    tiny.run(tiny.draw_set(tmp_path / "set", products=2), tmp_path / "out", settings={"epochs": 1})
    other = tiny.Colours()
    other.weight.data *= 2
    with pytest.raises(TrainingError, match=r"trained on features of another tiny.*--backbone-weights FILE"):
        HeadScorer(tmp_path / "out/best.pt", backbone=other)


def test_the_map_of_a_pictures_middle_is_put_where_it_belongs() -> None:
    found = np.arange(1, 5, dtype=np.float32).reshape(2, 2)
    assert _in_frame(found, (20, 40)).tolist() == [[1, 1, 2, 1], [1, 3, 4, 1]]
    assert _in_frame(found, (40, 20))[1:3].tolist() == found.tolist()
    assert _in_frame(found, (30, 30)).tolist() == found.tolist()


def test_a_checkpoint_of_another_kind_of_head_is_refused(tmp_path: Path) -> None:
    told = {**checkpoint.as_json(tiny.PROFILE), "head": None, "net": {**vars(NetSettings())}}
    checkpoint.save(tmp_path / "net.pt", {"head": {}}, {"settings": {"profile": told}})
    with pytest.raises(TrainingError, match=r"holds the residual network of profile tiny\. Expected a head of ResAD"):
        HeadScorer(tmp_path / "net.pt", backbone=tiny.Colours())
