"""`--precision` of every verb: a bank remembers what it was made in, and nothing judges it in another."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import pytest
from typer.testing import CliRunner

from edge_resad.bank import load_bank
from edge_resad.cli import app
from edge_resad.demo.products import draw
from edge_resad.errors import BankError, EdgeResadError, EngineError


@pytest.fixture(scope="module")
def line(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Good parts, parts to inspect, a labelled product, and a bank in INT8."""
    folder = tmp_path_factory.mktemp("line")
    for seed in range(4):
        _draw(folder / f"good/{seed}.png", seed)
        _draw(folder / f"data/flange/train/good/{seed}.png", seed)
    for seed in (50, 51, 52):
        _draw(folder / f"parts/{seed}-fine.png", seed)
        _draw(folder / f"data/flange/test/good/{seed}.png", seed)
        _draw(folder / f"data/flange/test/scratch/{seed}.png", seed, "scratch")
    _draw(folder / "parts/scratched.png", 60, "scratch")
    _run("enrol", folder / "good", "-o", folder / "int8.bank", "--precision", "int8")
    return folder


def _draw(path: Path, seed: int, defect: str | None = None) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    assert cv2.imwrite(str(path), draw("flange", seed, size=256, defect=defect, severity=3).image)


def _run(*arguments: str | Path) -> str:
    done = CliRunner().invoke(app, [str(argument) for argument in arguments])
    assert done.exit_code == 0, done.output
    return done.output


def _refusal(*arguments: str | Path) -> str:
    done = CliRunner().invoke(app, [str(argument) for argument in arguments])
    assert isinstance(done.exception, BankError), done.output
    return str(done.exception)


def test_a_bank_remembers_the_precision_that_it_was_made_in(line: Path) -> None:
    assert load_bank(line / "int8.bank").info.precision == "int8"


def test_inspect_takes_the_banks_own_precision(line: Path) -> None:
    said = [
        json.loads(text) for text in _run("inspect", line / "parts", "-b", line / "int8.bank", "--json").splitlines()
    ]
    assert [one["verdict"] for one in said] == ["pass", "pass", "pass", "fail"]


def test_inspect_refuses_another_precision_with_the_command_that_helps(line: Path) -> None:
    said = _refusal("inspect", line / "parts", "-b", line / "int8.bank", "--precision", "fp16")
    assert "made in int8, the engine runs fp16" in said
    assert f"edge-resad enrol GOOD_PARTS -o {line / 'int8.bank'} --precision fp16" in said


def test_a_station_takes_the_banks_own_precision_and_refuses_another(line: Path) -> None:
    station = line / "station.toml"
    lines = ['[station]\ndevice="press-7"', f'[camera]\nsource="folder:{line / "parts"}"']
    lines += [f'[inspection]\nbank="{line / "int8.bank"}"', f'[spool]\npath="{line / "spool.db"}"']
    station.write_text("\n".join(lines))
    _run("run", station, "--quiet")
    assert "made in int8, the engine runs fp32" in _refusal("run", station, "--quiet", "--precision", "fp32")
    station.write_text("\n".join([*lines, '[engine]\nprecision="fp16"']))
    assert "made in int8, the engine runs fp16" in _refusal("run", station, "--quiet")


def test_advise_judges_in_the_precision_that_was_asked_for(line: Path) -> None:
    worst = [
        json.loads(_run("advise", line / "good", "-k", "3", "--json", "--precision", precision))["others"]["worst"]
        for precision in ("fp32", "fp16", "int8")
    ]
    assert len(set(worst)) == 3
    assert all(0.3 < one < 1.5 for one in worst)


@pytest.mark.parametrize("verb", [["enrol", "good", "-o", "x.bank"], ["inspect", "parts", "-b", "int8.bank"]])
def test_tensorrt_without_engines_is_one_sentence_with_the_command(line: Path, verb: list[str], tmp_path: Path) -> None:
    named = [str(line / word) if "." in word or word in ("good", "parts") else word for word in verb]
    done = CliRunner().invoke(app, [*named, "--provider", "tensorrt", "--engines", str(tmp_path / "nowhere")])
    assert isinstance(done.exception, EngineError), done.output
    assert "edge-resad build" in str(done.exception)
    assert not (line / "x.bank").exists()


def test_engines_for_another_provider_are_a_mistake_that_is_said(line: Path) -> None:
    asked = ["inspect", str(line / "parts"), "-b", str(line / "int8.bank"), "--engines", str(line)]
    done = CliRunner().invoke(app, asked)
    assert done.exit_code == 2
    assert "Add --provider tensorrt" in " ".join(done.output.replace("│", " ").split())


def test_evaluate_refuses_a_folder_in_which_nothing_can_be_measured(line: Path) -> None:
    done = CliRunner().invoke(app, ["evaluate", str(line / "good"), "--seeds", "1"])
    assert isinstance(done.exception, EdgeResadError)
    assert "nothing can be measured" in str(done.exception)


def test_evaluate_says_in_what_it_judged(line: Path) -> None:
    for precision in ("fp16", "int8"):
        said = json.loads(_run("evaluate", line / "data", "--seeds", "1", "--json", "--precision", precision))
        assert said["precision"] == precision
        assert said["mean"]["image_auroc"] == 1.0
