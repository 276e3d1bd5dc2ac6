"""Training learns what it should, repeats itself bit by bit, survives a kill and chooses by held out classes alone."""

from __future__ import annotations

import csv
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("torch", reason="torch is the workstation's alone: pip install 'edge-resad[workstation]'")

import torch

from edge_resad.errors import TrainingError
from edge_resad.model.head import ResADHead
from edge_resad.train import checkpoint
from edge_resad.train.course import Draws
from edge_resad.train.features import FeatureCache
from edge_resad.train.loop import EpochSaid, train
from edge_resad.train.selection import HeldOutScore, judge_held_out
from edge_resad.train.split import Split
from tests.train import tiny

CHECKOUT = Path(__file__).resolve().parent.parent.parent


@pytest.fixture(scope="module")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny.draw_set(tmp_path_factory.mktemp("tiny") / "set")


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


def _tensors(path: Path) -> dict[str, torch.Tensor]:
    state, about = checkpoint.load(path)
    del about["versions"]
    return {"about": about, **dict(_flat(state))}


def _flat(state: Any, name: str = "") -> list[tuple[str, Any]]:
    if isinstance(state, dict):
        return [pair for key, value in state.items() for pair in _flat(value, f"{name}/{key}")]
    return [(name, state)]


def _assert_same(one: Path, other: Path) -> None:
    """Every tensor and figure of two checkpoints, to the bit."""
    found, expected = _tensors(one), _tensors(other)
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        same = torch.equal(found[name], value) if isinstance(value, torch.Tensor) else found[name] == value
        assert same, name


def _log(out: Path) -> list[dict[str, str]]:
    """Without the seconds, which no training repeats."""
    with (out / "log.csv").open(newline="") as file:
        return [{name: value for name, value in row.items() if name != "seconds"} for row in csv.DictReader(file)]


def test_a_head_learns_what_a_defect_is_on_products_it_never_saw(drawn: Path, tmp_path: Path) -> None:
    cache = FeatureCache(drawn.parent / "cache", tiny.PROFILE, backbone=tiny.Colours())
    held_out = [cache.of(one) for one in tiny.split_of(drawn).held_out]
    untrained = judge_held_out(ResADHead(tiny.PROFILE, 1), held_out, shots=2, seed=1)
    best = tiny.run(drawn, tmp_path, settings={"epochs": 30, "stage1_epochs": 5})
    head, _ = checkpoint.load_head(tmp_path / "best.pt")
    trained = judge_held_out(head, held_out, shots=2, seed=1)
    assert trained == (best.image_auroc, best.pixel_auroc)
    assert trained.score > untrained.score + 0.15
    assert trained.score > 0.85


def test_the_same_seed_gives_the_same_bits_and_another_one_others(drawn: Path, tmp_path: Path) -> None:
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        tiny.run(drawn, tmp_path / name, seed=seed, shots=(1, 3), settings={"epochs": 2})
    _assert_same(tmp_path / "b/last.pt", tmp_path / "a/last.pt")
    assert _log(tmp_path / "b") == _log(tmp_path / "a")
    assert _log(tmp_path / "c") != _log(tmp_path / "a")


KILLED = """
import os, signal, sys
from pathlib import Path
import torch
from tests.train import tiny

torch.set_num_threads(1)
def die_in_the_third_epoch(what: str, done: int, total: int) -> None:
    if what.startswith("epoch 3") and done == 2:
        os.kill(os.getpid(), signal.SIGKILL)

tiny.run(Path(sys.argv[1]), Path(sys.argv[2]), shots=(1, 3), progress=die_in_the_third_epoch)
"""


def test_a_killed_training_goes_on_and_ends_with_the_same_bits(drawn: Path, tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", KILLED, str(drawn), str(tmp_path / "killed")],
        cwd=CHECKOUT, capture_output=True, text=True, timeout=100,
    )  # fmt: skip
    assert done.returncode == -signal.SIGKILL, done.stderr
    assert checkpoint.load(tmp_path / "killed/last.pt")[1]["epoch"] == 2
    epochs: list[int] = []
    tiny.run(drawn, tmp_path / "killed", shots=(1, 3), epoch_done=lambda said: epochs.append(said.epoch))
    assert epochs == [3, 4]
    tiny.run(drawn, tmp_path / "through", shots=(1, 3))
    for name in ("last.pt", "best.pt"):
        _assert_same(tmp_path / "killed" / name, tmp_path / "through" / name)
    assert _log(tmp_path / "killed") == _log(tmp_path / "through")


def test_what_a_killed_process_wrote_behind_its_checkpoint_is_dropped(drawn: Path, tmp_path: Path) -> None:
    tiny.run(drawn, tmp_path, settings={"epochs": 2})
    kept = (tmp_path / "log.csv").read_bytes()
    with (tmp_path / "log.csv").open("a") as file:
        file.write("3,2,0.01,0.")  # torn
    (tmp_path / ".last.pt.part").write_bytes(b"torn")
    tiny.run(drawn, tmp_path, settings={"epochs": 2})
    assert (tmp_path / "log.csv").read_bytes() == kept


def test_a_training_that_is_done_is_done(drawn: Path, tmp_path: Path) -> None:
    best = tiny.run(drawn, tmp_path, settings={"epochs": 2})
    before = (tmp_path / "last.pt").read_bytes()
    epochs: list[EpochSaid] = []
    assert tiny.run(drawn, tmp_path, settings={"epochs": 2}, epoch_done=epochs.append) == best
    assert epochs == []
    assert (tmp_path / "last.pt").read_bytes() == before


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"settings": {"epochs": 1, "lr": 0.5}}, r"last\.pt was trained with profile head lr 0\.01, but 0\.5 is asked"),
        ({"settings": {"epochs": 1, "residual": "signed"}}, "head residual squared, but signed is asked for"),
        ({"seed": 9}, "trained with seed 1, but 9 is asked for"),
        ({"hold_out": ("p1",)}, "trained with held_out p0 .* but None is asked for"),
    ],
    ids=["learning rate", "residual", "seed", "held out"],
)  # fmt: skip
def test_a_checkpoint_of_other_settings_is_refused(
    drawn: Path, tmp_path: Path, changes: dict[str, Any], said: str
) -> None:
    tiny.run(drawn, tmp_path, settings={"epochs": 1})
    with pytest.raises(TrainingError, match=said):
        tiny.run(drawn, tmp_path, **{"settings": {"epochs": 1}, **changes})


@pytest.mark.parametrize("content", [b"", b"torn"])
def test_a_damaged_checkpoint_is_said_in_a_sentence(drawn: Path, tmp_path: Path, content: bytes) -> None:
    (tmp_path / "last.pt").write_bytes(content)
    with pytest.raises(TrainingError, match=r"last\.pt is not what edge-resad train writes, or is damaged"):
        tiny.run(drawn, tmp_path)


def test_the_best_head_is_that_of_the_epoch_which_held_out_classes_like_most(drawn: Path, tmp_path: Path) -> None:
    told: list[EpochSaid] = []
    best = tiny.run(drawn, tmp_path, hold_out=("p0", "p2"), settings={"epochs": 5}, epoch_done=told.append)
    scores = [said.held_out.score for said in told if said.held_out]
    assert best.epoch == 1 + int(np.argmax(scores))
    assert [said.epoch for said in told if said.is_best][-1] == best.epoch
    about = checkpoint.load_head(tmp_path / "best.pt")[1]
    assert about["epoch"] == best.epoch
    assert about["settings"]["seen"].keys() == {"p1", "p3"}
    assert about["settings"]["held_out"].keys() == {"p0", "p2"}


def test_without_held_out_classes_the_last_epoch_is_the_best(drawn: Path, tmp_path: Path) -> None:
    cache = FeatureCache(drawn.parent / "cache", tiny.PROFILE, backbone=tiny.Colours())
    split = Split(tiny.split_of(drawn).seen, ())
    best = train(tiny.PROFILE, split, tmp_path, cache, Draws(shots=(2,)))
    assert best == (4, None, None)
    _assert_heads_equal(tmp_path / "best.pt", tmp_path / "last.pt")


def _assert_heads_equal(one: Path, other: Path) -> None:
    first, second = (checkpoint.load(path)[0]["head"] for path in (one, other))
    assert all(torch.equal(first[name], second[name]) for name in second)


def test_a_checkpoint_says_what_made_it(drawn: Path, tmp_path: Path) -> None:
    tiny.run(drawn, tmp_path, settings={"epochs": 1})
    state, about = checkpoint.load(tmp_path / "last.pt")
    assert checkpoint.profile_of(about["settings"]["profile"]) == replace(
        tiny.PROFILE, head=replace(tiny.SETTINGS, epochs=1)
    )
    assert len(about["settings"]["backbone_sha256"]) == 64
    assert about["versions"].keys() == {"edge_resad", "torch", "numpy", "python"}
    assert (about["epoch"], about["step"]) == (1, 2)
    assert any(name.endswith("rotation") for name in state["head"])
    assert state["optimizers"].keys() == {"codebook", "constraintor", "flow"}


def test_the_log_has_a_line_an_epoch_with_losses_codes_shells_and_held_out_scores(drawn: Path, tmp_path: Path) -> None:
    tiny.run(drawn, tmp_path, settings={"epochs": 3, "lr_milestones": (2,)})
    rows = _log(tmp_path)
    assert [(row["epoch"], row["stage"]) for row in rows] == [("1", "1"), ("2", "2"), ("3", "2")]
    assert [float(row["lr"]) for row in rows] == pytest.approx([1e-2, 1e-2, 1e-3])
    wanted = {"codebook", "occ", "flow", "r_max_0", "r_max_1", "codes_used_0", "perplexity_1", "boundary_0"}
    assert wanted <= rows[0].keys()
    assert 0 <= float(rows[2]["held_out_pixel_auroc"]) <= 1


def test_without_tensorboard_there_are_no_event_files(
    drawn: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "tensorboard", None)
    tiny.run(drawn, tmp_path, settings={"epochs": 1})
    assert {path.name for path in tmp_path.iterdir()} == {"best.pt", "last.pt", "log.csv"}


def test_with_tensorboard_there_are_event_files(drawn: Path, tmp_path: Path) -> None:
    pytest.importorskip("tensorboard", reason="event files are written where TensorBoard is installed")
    tiny.run(drawn, tmp_path, settings={"epochs": 1})
    assert list((tmp_path / "events").glob("events.out.*"))


def test_a_loss_that_is_no_number_ends_training_in_a_sentence(drawn: Path, tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match=r"no longer a number.*smaller --lr"):
        tiny.run(drawn, tmp_path, settings={"lr": 1e30})
    assert not (tmp_path / "last.pt").exists()


def test_a_head_whose_scores_are_no_numbers_is_not_kept(drawn: Path) -> None:
    cache = FeatureCache(drawn.parent / "cache", tiny.PROFILE, backbone=tiny.Colours())
    head = ResADHead(tiny.PROFILE)
    torch.nn.init.constant_(next(head.flows.parameters()), float("nan"))
    held_out = [cache.of(one) for one in tiny.split_of(drawn).held_out]
    with pytest.raises(TrainingError, match="what the head says of p0 is no number"):
        judge_held_out(head, held_out, shots=2, seed=1)


def test_products_without_outlined_defects_are_refused(tmp_path: Path) -> None:
    tiny.draw_set(tmp_path / "set", products=2)
    for mask in (tmp_path / "set/p1/ground_truth/scratch").iterdir():
        mask.unlink()
    with pytest.raises(TrainingError, match=r"\(p1\) has a defect with a mask"):
        tiny.run(tmp_path / "set", tmp_path / "out")


def test_a_disk_that_refuses_is_said_in_a_sentence(drawn: Path, tmp_path: Path) -> None:
    (tmp_path / "out").write_text("a file")
    with pytest.raises(TrainingError, match=r"cannot write .*out"):
        tiny.run(drawn, tmp_path / "out", settings={"epochs": 1})


def test_held_out_classes_are_judged_with_the_same_references_in_any_order(drawn: Path) -> None:
    cache = FeatureCache(drawn.parent / "cache", tiny.PROFILE, backbone=tiny.Colours())
    features = [cache.of(one) for one in tiny.split_of(drawn, hold_out=("p0", "p1")).held_out]
    head = ResADHead(tiny.PROFILE, 1)
    once, again = (judge_held_out(head, order, shots=1, seed=3) for order in (features, features[::-1]))
    assert once == pytest.approx(again)
    assert HeldOutScore(0.9, None).score == 0.9
    assert HeldOutScore(0.9, 0.5).score == pytest.approx(0.7)
