"""`edge-resad build`: what was built, how big it is, and why nothing better."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from typer.testing import CliRunner

pytest.importorskip("onnx", reason="makes graphs, which takes a workstation: pip install 'edge-resad[workstation]'")

from edge_resad.bundle import Bundle
from edge_resad.cli import app
from edge_resad.errors import EngineError
from tests.engine.rungs import Quantized, bundle_with, float_conv, int8_conv, needs_builder


def run(bundle: Bundle, *arguments: str | Path) -> str:
    words = ["build", "--bundle", bundle.path, *arguments]
    done = CliRunner().invoke(app, [str(word) for word in words])
    if isinstance(done.exception, EngineError):
        raise done.exception
    assert done.exit_code == 0, done.output
    return done.output


@needs_builder
def test_build_says_rung_sizes_times_and_why_not_a_better_rung(tmp_path: Path) -> None:
    refused = (int8_conv(), int8_conv(Quantized(zero_point=3)))
    bundle = bundle_with(tmp_path / "bundle", {"int8+fp16": refused, "int8+fp32": (int8_conv(), int8_conv())})
    out = tmp_path / "out"
    said = run(bundle, "--precision", "int8", "--out", out, "--sm", "SM86").splitlines()
    assert re.fullmatch(rf"int8: rung int8\+fp32, tensorrt_rtx [\d.]+, in {re.escape(str(out))}", said[0])
    assert re.fullmatch(r"  encoder +\d\.\d\d MB, \d+\.\d s, weights 0\.01 MB", said[1])
    assert re.fullmatch(r"  detector +\d\.\d\d MB, \d+\.\d s, weights 0\.01 MB", said[2])
    assert said[3].startswith("  not int8+fp16: detector: Non-zero zero point is not supported")
    assert len(said) == 4
    again = run(bundle, "--precision", "int8", "--out", out, "--sm", "SM86").splitlines()
    assert again[0] == f"{said[0]}, already built"
    forced = run(bundle, "--precision", "int8", "--out", out, "--sm", "SM86", "--force").splitlines()
    assert forced[0] == said[0]


@needs_builder
def test_build_without_a_precision_says_which_to_run(tmp_path: Path) -> None:
    bundle = bundle_with(tmp_path / "bundle", {"fp32": (float_conv(), float_conv())})
    said = run(bundle, "--out", tmp_path / "out", "--sm", "SM86").splitlines()
    assert said[0].startswith("fp32: rung fp32, ")
    assert said[-1] == "run fp32: the bundle leaves no choice"


@needs_builder
def test_engines_go_to_the_users_cache_where_nobody_says_otherwise(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    bundle = bundle_with(tmp_path / "bundle", {"fp32": (float_conv(), float_conv())})
    run(bundle, "--precision", "fp32", "--sm", "SM86", "--workspace-mb", "512", "--optimization-level", "1")
    folder = tmp_path / "cache" / "edge-resad" / "engines" / bundle.manifest.bundle_id[:12]
    assert (folder / "fp32.json").is_file()


@pytest.mark.parametrize(
    "wrong", [["--workspace-mb", "0"], ["--optimization-level", "6"], ["--precision", "fp8"], ["--sm"]]
)
def test_a_wrong_option_is_a_usage_error(wrong: list[str]) -> None:
    assert CliRunner().invoke(app, ["build", *wrong]).exit_code == 2
