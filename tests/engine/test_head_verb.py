"""`enrol --head` and `advise --head`: what judges, said where there is a choice."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import pytest
from typer.testing import CliRunner

pytest.importorskip("torch", reason="makes a bundle, which takes a workstation: pip install 'edge-resad[workstation]'")
pytest.importorskip("onnx", reason="makes a bundle, which takes a workstation: pip install 'edge-resad[workstation]'")

from edge_resad.bank import load_bank
from edge_resad.cli import app
from edge_resad.demo.products import draw
from edge_resad.errors import BankError
from tests.learned import PROFILE, learned_bundle


@pytest.fixture(scope="module")
def line(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Five good flanges in a folder, a bundle with a learned head, and one without."""
    from export.build import build_bundle

    folder = tmp_path_factory.mktemp("line")
    learned_bundle(folder)
    build_bundle(PROFILE, folder / "nearest")
    (folder / "good").mkdir()
    for number in range(5):
        assert cv2.imwrite(str(folder / "good" / f"{number}.png"), draw("flange", number, size=128).image)
    return folder


def _run(*arguments: str | Path) -> str:
    done = CliRunner().invoke(app, [str(argument) for argument in arguments])
    assert done.exit_code == 0, done.output
    return done.output


def test_enrol_keeps_the_head_that_was_asked_for_and_says_it(line: Path, tmp_path: Path) -> None:
    bank = tmp_path / "flange.bank"
    said = _run("enrol", line / "good", "-o", bank, "--bundle", line / "bundle", "--head", "resad")
    assert "head: resad" in said.splitlines()
    assert load_bank(bank).info.head == "resad"


def test_enrol_takes_the_bundles_own_choice_where_nobody_asks(line: Path, tmp_path: Path) -> None:
    bank = tmp_path / "flange.bank"
    assert "head: fused" in _run("enrol", line / "good", "-o", bank, "--bundle", line / "bundle").splitlines()
    assert load_bank(bank).info.head == "fused"


def test_enrol_says_nothing_of_heads_where_there_is_no_choice(line: Path, tmp_path: Path) -> None:
    said = _run("enrol", line / "good", "-o", tmp_path / "flange.bank", "--bundle", line / "nearest")
    assert "head:" not in said


def test_a_head_that_the_bundle_lacks_is_refused_and_writes_no_bank(line: Path, tmp_path: Path) -> None:
    asked = ["enrol", line / "good", "-o", tmp_path / "flange.bank", "--bundle", line / "nearest", "--head", "fused"]
    done = CliRunner().invoke(app, [str(argument) for argument in asked])
    assert isinstance(done.exception, BankError)
    assert "has no head 'fused', only nn" in str(done.exception)
    assert list(tmp_path.iterdir()) == []


def test_advise_judges_the_other_parts_by_the_head_that_was_asked_for(line: Path) -> None:
    worst = {
        head: json.loads(
            _run("advise", line / "good", "-k", "3", "--json", "--bundle", line / "bundle", "--head", head)
        )
        for head in ("nn", "resad")
    }
    assert worst["nn"]["picks"] == worst["resad"]["picks"]
    assert worst["nn"]["others"]["worst"] != worst["resad"]["others"]["worst"]


def test_a_threshold_set_by_hand_leaves_the_rest_of_a_bank_alone(line: Path, tmp_path: Path) -> None:
    bank = tmp_path / "flange.bank"
    _run("enrol", line / "good", "-o", bank, "--bundle", line / "bundle")
    before = load_bank(bank)
    _run("threshold", bank, "--set", "2.5")
    after = load_bank(bank)
    assert after.info.threshold.score == 2.5
    assert after.info.fusion == before.info.fusion
