"""The residual network learns what a defect looks like beside its references, on products it never saw."""

from __future__ import annotations

import csv
import os
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
from edge_resad.model.net_settings import NetSettings
from edge_resad.model.residual_net import Comparison
from edge_resad.train import checkpoint
from edge_resad.train.course import Draws
from edge_resad.train.features import ClassFeatures, FeatureCache
from edge_resad.train.loop import train
from edge_resad.train.net_course import NetBatch, NetCourse, _turn
from edge_resad.train.run import Best
from edge_resad.train.team import Team
from tests.train import tiny

CHECKOUT = Path(__file__).resolve().parent.parent.parent
NET = NetSettings(width=4, hidden=4, top_cells=2, share=1.0, epochs=3, batch=4, visits=2, lr=1e-2, shots=(2, 3))
PROFILE = replace(tiny.PROFILE, head=None, net=NET)


def run(folder: Path, out: Path, *, seed: int = 1, net: NetSettings = NET, **more: Any) -> Best:
    profile = replace(PROFILE, net=net)
    cache = FeatureCache(folder.parent / "cache", profile, backbone=tiny.Colours())
    return train(profile, tiny.split_of(folder), out, cache, Draws(seed=seed, shots=net.shots), **more)


def course(features: list[ClassFeatures], net: NetSettings = NET, team: Team | None = None) -> NetCourse:
    made = NetCourse(replace(PROFILE, net=net), Draws(seed=1, shots=net.shots), team or Team())
    made.check(features)
    return made


@pytest.fixture(scope="module")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny.draw_set(tmp_path_factory.mktemp("net") / "set", products=6)


@pytest.fixture
def features(drawn: Path) -> list[ClassFeatures]:
    cache = FeatureCache(drawn.parent / "cache", PROFILE, backbone=tiny.Colours())
    return [cache.of(one) for one in tiny.split_of(drawn).seen]


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


def test_it_finds_defects_of_a_product_that_it_never_saw(drawn: Path, tmp_path: Path) -> None:
    alone = replace(NET, epochs=12, visits=8, share=5.0)  # what the network says outweighs the distance
    best = run(drawn, tmp_path, net=alone)
    with (tmp_path / "log.csv").open(newline="") as file:
        losses = [float(row["cells"]) for row in csv.DictReader(file)]
    assert losses[-1] < losses[0] / 3
    assert best.image_auroc is not None
    assert best.image_auroc > 0.9


def test_the_same_seed_gives_the_same_bits_and_what_was_killed_ends_with_them_too(drawn: Path, tmp_path: Path) -> None:
    class Killed(Exception):
        pass

    def die(what: str, done: int, total: int) -> None:
        if what.startswith("epoch 3") and done == 2:
            raise Killed

    run(drawn, tmp_path / "through")
    with pytest.raises(Killed):
        run(drawn, tmp_path / "killed", progress=die)
    run(drawn, tmp_path / "killed")
    run(drawn, tmp_path / "another", seed=2)
    through, killed, another = (
        checkpoint.load(tmp_path / name / "last.pt")[0] for name in ("through", "killed", "another")
    )
    assert through["steps"] == killed["steps"] == 3 * 2 * 5
    for name, value in through["head"].items():
        assert torch.equal(killed["head"][name], value), name
        assert not torch.equal(another["head"][name], value), name


def test_the_checkpoint_gives_the_network_back(drawn: Path, tmp_path: Path) -> None:
    run(drawn, tmp_path)
    net, profile, about = checkpoint.load_net(tmp_path / "best.pt")
    assert profile == PROFILE
    assert about["best"]["epoch"] in (1, 2, 3)
    state, _ = checkpoint.load(tmp_path / "best.pt")
    assert all(torch.equal(value, state["head"][name]) for name, value in net.state_dict().items())
    with pytest.raises(TrainingError, match=r"Expected a head of ResAD's"):
        checkpoint.load_head(tmp_path / "best.pt")


def test_a_batch_is_half_defective_and_never_holds_its_own_references(features: list[ClassFeatures]) -> None:
    batches = course(features).batches(features, np.random.default_rng(0))
    assert sorted(batch.product for batch in batches) == sorted([*range(5)] * 2)
    for batch in batches:
        defective = features[batch.product].is_defective[batch.image]
        assert defective.tolist() == [True, True, False, False]
        assert not set(batch.references) & set(batch.image)
        assert not features[batch.product].is_defective[batch.references].any()
        assert len(batch.references) in (2, 3)
    assert {batch.quarter_turns for batch in batches} == {0, 1, 2, 3}
    assert {batch.mirrored for batch in batches} == {False, True}


def test_good_parts_lie_at_1_from_each_other_on_average(features: list[ClassFeatures]) -> None:
    learner = course(features)
    shown = learner.show(features[0], np.array([0, 1, 2]))
    others = learner.show(features[0], np.array([1, 2]))
    far = [
        (1 - learner._units(features[0], np.array([0]))[level][0] @ bank.T).amin(1).mean() * norm[0]
        for level, (bank, norm) in enumerate(zip(others.banks, shown.level_norm, strict=True))
    ]
    assert [bank.shape[0] for bank in shown.banks] == [3 * 64, 3 * 16]
    shared = learner.show(features[0], np.array([0, 1, 2]), copies=4)
    assert [bank.shape[0] for bank in shared.banks] == [tap.capacity // 4 for tap in PROFILE.taps]
    assert all(0.5 < float(one) < 2 for one in far)
    for bank in shown.banks:
        torch.testing.assert_close(bank.norm(dim=1), torch.ones(len(bank)))


def test_a_product_to_learn_from_needs_masks_and_good_parts(features: list[ClassFeatures]) -> None:
    blind = replace(features[0], outlined=np.zeros_like(features[0].outlined) | ~features[0].is_defective)
    with pytest.raises(TrainingError, match=f"{blind.name} has no defect with a mask.*--leave-out"):
        course([blind])
    with pytest.raises(TrainingError, match="fewer than 3 good parts"):
        course([replace(features[0], train=slice(0, 2))])


def test_single_references_say_too_little(drawn: Path, tmp_path: Path, features: list[ClassFeatures]) -> None:
    with pytest.raises(TrainingError, match="--shots of 2 or more"):
        run(drawn, tmp_path, net=replace(NET, shots=(1, 4)))
    made = NetCourse(PROFILE, Draws(shots=(2,)), Team())
    with pytest.raises(TrainingError, match="fewer than 2 good parts to show"):
        made.check(features, [replace(features[0], train=slice(0, 1))])


def test_what_the_network_sees_is_turned_as_the_masks_are(features: list[ClassFeatures]) -> None:
    learner = course(features)
    marked = torch.zeros(2, 8, 8, 1)
    marked[0, 1, 2], marked[1, 6, 3] = 1.0, 2.0
    for turns, mirrored in ((0, False), (1, False), (3, True)):
        batch = NetBatch(0, np.arange(2), 1, np.arange(2), turns, mirrored)
        level = Comparison(marked.reshape(128, 1), marked.reshape(128))
        found = learner._turned(level, batch, 2)
        expected = torch.rot90(marked, turns, (1, 2)).flip(2) if mirrored else torch.rot90(marked, turns, (1, 2))
        assert torch.equal(found.residual.reshape(2, 8, 8, 1), expected)
        assert torch.equal(found.distance.reshape(2, 8, 8, 1), expected)
        assert torch.equal(_turn(marked, batch), expected)


def test_processes_that_cannot_share_a_batch_are_refused(features: list[ClassFeatures]) -> None:
    with pytest.raises(TrainingError, match=r"a batch of 6 images.*4 processes.*multiple of 8"):
        course(features, replace(NET, batch=6), Team(0, 4))


def test_the_learning_rate_rises_and_falls(features: list[ClassFeatures]) -> None:
    learner = course(features, replace(NET, epochs=10))
    rates = []
    for epoch in range(10):
        rates.append(learner.start(epoch, features)["lr"])
        for batch in learner.batches(features, np.random.default_rng(epoch)):
            learner.learn(features, batch, torch.Generator())
    assert rates[1] == pytest.approx(NET.lr, rel=0.02)
    assert rates[0] == pytest.approx(NET.lr / 25)
    assert rates[1:] == sorted(rates[1:], reverse=True)
    assert learner.start(10, features)["lr"] < NET.lr / 1000


MEMBER = """
import sys
from pathlib import Path
import torch
from edge_resad.train.team import team_of_this_run
from tests.train import test_net_course

torch.set_num_threads(1)
with team_of_this_run("cpu") as team:
    test_net_course.run(Path(sys.argv[1]), Path(sys.argv[2]), team=team)
"""


def test_two_processes_learn_what_one_does(drawn: Path, tmp_path: Path) -> None:
    script = tmp_path / "member.py"
    script.write_text(MEMBER)
    launch = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", str(script)]
    done = subprocess.run(
        [sys.executable, *launch, str(drawn), str(tmp_path / "two")],
        cwd=tmp_path, env={**os.environ, "PYTHONPATH": str(CHECKOUT), "OMP_NUM_THREADS": "1"},
        capture_output=True, text=True, timeout=100,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    run(drawn, tmp_path / "one")
    two, one = (checkpoint.load(tmp_path / name / "last.pt")[0]["head"] for name in ("two", "one"))
    for name, value in one.items():
        torch.testing.assert_close(two[name], value, atol=1e-4, rtol=1e-3)
