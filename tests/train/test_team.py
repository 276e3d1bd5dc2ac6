"""Two processes that train one head: what one of them knows afterwards, the other knows too."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import pytest

pytest.importorskip("torch", reason="torch is the workstation's alone: pip install 'edge-resad[workstation]'")

import torch

from edge_resad.errors import TrainingError
from edge_resad.model.head import ResADHead
from edge_resad.model.quantizer import Quantizer
from edge_resad.train import checkpoint
from edge_resad.train.step import Trainer, chunks
from edge_resad.train.team import Team, team_of_this_run
from tests.train import tiny

CHECKOUT = Path(__file__).resolve().parent.parent.parent

Rows = list[torch.Tensor]
JOINT: dict[str, Any] = {
    "constraintor": "ortho_mlp", "occ": "v1", "likelihood": "plain", "flow_chunk": 4096, "boundary_momentum": 0.9,
}  # fmt: skip
"""Nothing in it depends on a member's share: no batch norm, means over all patches, a chunk of all rows."""
VARIANTS: dict[str, dict[str, Any]] = {"as it is": {}, "moving averages": {"codebook": "ema"}, "joint": JOINT}


def trainer(team: Team, **changes: Any) -> Trainer:
    settings = replace(tiny.SETTINGS, **{"flow_chunk": 64, **changes})
    return Trainer(ResADHead(replace(tiny.PROFILE, head=settings), seed=3), team)


def batch(defective: bool) -> tuple[Rows, Rows]:
    """Four images' residuals; two of them, both of one member, with a defect."""
    random = torch.Generator().manual_seed(0)
    residuals = [torch.rand(4, grid**2, 6, generator=random) for grid in (8, 4)]
    abnormal = [torch.zeros(4, grid**2, dtype=torch.bool) for grid in (8, 4)]
    for labels in abnormal if defective else ():
        labels[::2, :3] = True
    return residuals, abnormal


def steps(team: Team, name: str, count: int = 2) -> Trainer:
    """Some steps with this member's share of the batch."""
    learner, shuffle = trainer(team, **VARIANTS[name]), torch.Generator().manual_seed(5)
    residuals, abnormal = batch(defective=name != "joint")
    for _ in range(count):
        own = slice(team.rank, None, team.size)
        learner.step([one[own] for one in residuals], [one[own] for one in abnormal], 2, shuffle)
    return learner


MEMBER = """
import sys
from pathlib import Path
import torch
from edge_resad.train.team import team_of_this_run
from tests.train import tiny
from tests.train.test_team import VARIANTS, steps

folder = Path(sys.argv[1])
torch.set_num_threads(1)
with team_of_this_run("cpu") as team:
    said = team.mean({"rank": float(team.rank)})
    state = {name: steps(team, name).state_dict() for name in VARIANTS}
    state["seeded"] = steps(team, "moving averages", count=1).state_dict()
    torch.save({"said": said, "told": team.told(f"rank {team.rank}"), **state}, folder / f"rank{team.rank}.pt")
    best = tiny.run(folder / "set", folder / "out", team=team, settings={"epochs": 2})
    (folder / f"best{team.rank}").write_text(str(best))
"""


@pytest.fixture(scope="module")
def members(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What two processes left in a folder."""
    folder = tmp_path_factory.mktemp("team")
    tiny.draw_set(folder / "set", products=2)
    script = folder / "member.py"
    script.write_text(MEMBER)
    launch = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", str(script), str(folder)]
    environment = {**os.environ, "PYTHONPATH": str(CHECKOUT), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, *launch], cwd=folder, env=environment, capture_output=True, text=True, timeout=100
    )
    assert done.returncode == 0, done.stderr
    return folder


def _states(folder: Path) -> list[dict[str, Any]]:
    return [torch.load(folder / f"rank{rank}.pt", weights_only=True) for rank in range(2)]


@pytest.mark.parametrize("name", VARIANTS)
def test_both_have_the_same_head_and_boundaries_to_the_bit(members: Path, name: str) -> None:
    first, second = (state[name] for state in _states(members))
    for tensor, value in first["head"].items():
        assert torch.equal(second["head"][tensor], value), tensor
    assert torch.equal(second["boundaries"], first["boundaries"])
    assert first["boundaries"].abs().min() > 0


def test_where_no_share_decides_two_learn_what_one_learns_from_all(members: Path) -> None:
    found, alone = _states(members)[0]["joint"], steps(Team(), "joint")
    start = trainer(Team(), **JOINT).head.state_dict()
    for tensor, value in alone.head.state_dict().items():
        torch.testing.assert_close(found["head"][tensor], value, atol=2e-5, rtol=1e-4)
        moved = not torch.equal(value, start[tensor])
        assert moved or not tensor.endswith(("weight", "codes")), f"{tensor} did not move, which compares nothing"


def test_codes_that_start_from_k_means_start_from_those_of_rank_0(members: Path) -> None:
    found, learner = _states(members)[1]["seeded"]["head"], trainer(Team(), codebook="ema")
    residuals, abnormal = batch(defective=True)
    shuffle = torch.Generator().manual_seed(5)
    for level, (rows, labels) in enumerate(zip(residuals, abnormal, strict=True)):
        quantizer = cast(Quantizer, learner.head.quantizers[level])
        quantizer.seed_from(rows[::2][~labels[::2]], shuffle)
        torch.testing.assert_close(found[f"quantizers.{level}.codes"], quantizer.codes.data, atol=0.02, rtol=0)
        assert bool(found[f"quantizers.{level}.is_seeded"])


def test_figures_are_means_over_both_and_what_rank_0_tells_all_hear(members: Path) -> None:
    for state in _states(members):
        assert state["said"] == {"rank": 0.5}
        assert state["told"] == "rank 0"


def test_a_training_of_two_leaves_one_log_and_one_checkpoint(members: Path) -> None:
    assert (members / "best0").read_text() == (members / "best1").read_text()
    assert (members / "out/log.csv").read_text().count("\n") == 3
    about = checkpoint.load(members / "out/last.pt")[1]
    assert (about["processes"], about["epoch"]) == (2, 2)


def test_a_team_takes_as_many_flow_steps_as_one_process() -> None:
    settings = trainer(Team(), flow_chunk=128).settings
    assert len(chunks(1000, settings)) == len(chunks(500, settings, members=2))


def test_a_batch_that_cannot_be_shared_is_refused(tmp_path: Path) -> None:
    tiny.draw_set(tmp_path / "set", products=2)
    with pytest.raises(TrainingError, match="a batch of 12, which 13 processes cannot share"):
        tiny.run(tmp_path / "set", tmp_path / "out", team=Team(0, 13))


@pytest.mark.parametrize(("device", "said"), [("tpu", "There are auto, cpu and cuda"), ("cuda", "torch sees no GPU")])
def test_a_device_that_is_not_there_is_said_in_a_sentence(
    device: str, said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(TrainingError, match=said), team_of_this_run(device):
        pass
