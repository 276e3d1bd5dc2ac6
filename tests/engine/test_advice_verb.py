"""`edge-resad advise` and `enrol --pick`: the picks in words, as JSON and in a bank."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import cv2
import pytest
from typer.testing import CliRunner

from edge_resad.bank import load_bank
from edge_resad.cli import app
from edge_resad.demo.products import draw


@pytest.fixture(scope="module")
def parts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Five good flanges, and three parts of another kind."""
    folder = tmp_path_factory.mktemp("parts")
    for number in range(8):
        family, seed = ("flange", number) if number < 5 else ("cap", number)
        assert cv2.imwrite(str(folder / f"{number}.png"), draw(family, seed, size=256).image)
    return folder


def _run(*arguments: str | Path) -> str:
    done = CliRunner().invoke(app, [str(argument) for argument in arguments])
    assert done.exit_code == 0, done.output
    return done.output


def test_advise_prints_a_line_a_pick_and_the_part_that_would_add_most(parts: Path) -> None:
    lines = _run("advise", parts, "-k", "3").splitlines()
    assert [line.split()[0] for line in lines[:4]] == ["1.", "2.", "3.", "next"]
    assert all("times as far as from all parts" in line for line in lines[:4])
    assert lines[4].startswith("5 other good parts: ")


def test_advise_speaks_json(parts: Path) -> None:
    told = json.loads(_run("advise", parts, "-k", "2", "--json", "--augment", "off"))
    assert len({pick["image"] for pick in told["picks"]} | {told["next"]["image"]}) == 3
    assert (told["compared"], told["others"]["judged"]) == (8, 6)
    assert set(told["others"]["failed"]) <= {str(file) for file in parts.iterdir()}


def test_enrol_with_a_pick_enrols_what_advise_picks(parts: Path, tmp_path: Path) -> None:
    picks = [Path(pick["image"]) for pick in json.loads(_run("advise", parts, "-k", "2", "--json"))["picks"]]
    said = _run("enrol", parts, "--pick", "2", "-o", tmp_path / "part.npz")
    assert "2 good parts" in said
    digests = tuple(hashlib.sha256(file.read_bytes()).hexdigest() for file in picks)
    assert load_bank(tmp_path / "part.npz").info.references == digests


def test_enrol_says_which_augmentation_it_chose_and_keeps_it_in_the_bank(parts: Path, tmp_path: Path) -> None:
    said = _run("enrol", *(parts / f"{number}.png" for number in range(3)), "--augment", "on", "-o", tmp_path / "b.npz")
    assert "augmentation: rotations. As asked for: on." in said
    assert load_bank(tmp_path / "b.npz").info.augmentation.mode == "rotations"
