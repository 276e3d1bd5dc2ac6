"""`edge-resad train`: trains, goes on, and says in one sentence why it cannot."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

pytest.importorskip("torch", reason="torch is the workstation's alone: pip install 'edge-resad[workstation]'")

import torch

from edge_resad import cli
from edge_resad.train import checkpoint
from tests.train import tiny


def _main(arguments: Sequence[object], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> str:
    """What the command printed; where it failed, its one sentence."""
    monkeypatch.setattr(sys, "argv", ["edge-resad", "train", *map(str, arguments)])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    printed = capsys.readouterr()
    if ended.value.code in (0, None):
        return printed.out
    assert ended.value.code == 1
    assert printed.err.count("edge-resad: ") == 1
    return printed.err.splitlines()[-1]


def test_the_products_own_profile_is_trained_and_gone_on_from(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for index in range(2):
        tiny.draw_class(tmp_path / f"set/p{index}", index, train=2, good=1, defects=1)
    command = [
        tmp_path / "set", "--profile", "edge-resad", "--out", tmp_path / "out", "--cache", tmp_path / "cache",
        "--epochs", 2, "--batch", 2,
        "--shots", 1, "--hold-out", "p1", "--device", "cpu", "--seed", 3,
    ]  # fmt: skip
    torch.set_num_threads(1)
    said = _main(command, monkeypatch, capsys).splitlines()
    assert said[0] == "classes learned from: 1; held out: p1"
    assert [line.partition(":")[0] for line in said[1:3]] == ["epoch 1, stage 1", "epoch 2, stage 2"]
    assert "held out image AUROC" in said[1]
    assert said[1].endswith("the best so far")
    assert said[3].startswith(f"{tmp_path / 'out/best.pt'}: epoch ")
    head, about = checkpoint.load_head(tmp_path / "out/best.pt")
    assert (head.profile.name, head.settings.batch, about["settings"]["seed"]) == ("edge-resad", 2, 3)

    again = _main(command, monkeypatch, capsys).splitlines()
    assert again == [said[0], said[3]]
    refused = _main([*command, "--lr", 0.5], monkeypatch, capsys)
    assert "was trained with profile head lr 0.001, but 0.5 is asked for" in refused


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--profile", "vgg"], "no profile with a learned head is called vgg. There are edge, edge-resad, paper"),
        (["--profile", "paper"], "--backbone-weights FILE"),
        (["--profile", "paper", "--backbone-weights", "nowhere.pth"], "cannot read weights from nowhere.pth"),
        (["--backbone-weights", "some.pth"], "come with its package"),
        (["--hold-out", "bottle"], "no product is called bottle. There are p0, p1"),
        (["--device", "tpu"], "no device is called tpu"),
        (["--cache-gb", "0.001", "--shots", "2"], "may hold 0.001 GB"),
    ],
    ids=" ".join,
)
def test_what_cannot_be_is_one_sentence(
    arguments: list[str], said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    tiny.draw_set(tmp_path / "set", products=2)
    command = [tmp_path / "set", "--out", tmp_path / "out", "--cache", tmp_path / "cache", *arguments]
    assert said in _main(command, monkeypatch, capsys)


def test_a_folder_without_classes_is_one_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert "no inspection class below" in _main([tmp_path, "--out", tmp_path / "out"], monkeypatch, capsys)


def test_without_torch_the_sentence_says_how_to_get_it(tmp_path: Path) -> None:
    script = "import sys; sys.modules['torch'] = None; from edge_resad.cli import main; main()"
    done = subprocess.run(
        [sys.executable, "-c", script, "train", str(tmp_path), "--out", str(tmp_path / "out")],
        capture_output=True, text=True, timeout=100, cwd=Path(__file__).resolve().parent.parent.parent,
    )  # fmt: skip
    assert done.returncode == 1
    assert done.stderr.splitlines() == [
        "edge-resad: training needs torch, which is not installed here. It is the workstation's: "
        "pip install 'edge-resad[workstation]'"
    ]
