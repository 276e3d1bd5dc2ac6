"""ONNX Runtime computes in memory of ours, the same memory for every frame."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from edge_resad.bundle import TensorSpec, open_bundle
from edge_resad.engine.onnx_runtime import OnnxRuntimeEngine, products_overflow
from edge_resad.errors import BundleError, SettingsError

CHECKOUT = Path(__file__).resolve().parents[2]
BUNDLE = open_bundle()
ENCODER = BUNDLE.graphs("fp32").encoder
FILE = BUNDLE.file(ENCODER)


@pytest.mark.parametrize(
    ("flags", "overflow"),
    [("fpu avx2 avx512f", True), ("avx2 avx512f avx512_vnni", False), ("avx2 avx_vnni", False), ("", True)],
)
def test_a_cpu_without_vnni_is_asked_for_products_that_do_not_overflow(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, flags: str, overflow: bool
) -> None:
    cpuinfo = tmp_path / "cpuinfo"
    cpuinfo.write_text(f"processor : 0\nflags\t\t: {flags}\nbugs : none\n")
    monkeypatch.setattr("platform.machine", lambda: "x86_64")
    assert products_overflow(cpuinfo) is overflow


def test_an_arm_cpu_needs_no_such_care(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("platform.machine", lambda: "aarch64")
    assert products_overflow(tmp_path / "nowhere") is False


def test_outputs_stay_where_they_are_and_follow_the_input() -> None:
    random = np.random.default_rng(0)
    with OnnxRuntimeEngine(FILE, ENCODER) as engine:
        feature = engine.outputs["feature_0"]
        engine.run()
        black = feature.copy()
        np.copyto(engine.inputs["image"], random.integers(0, 256, engine.inputs["image"].shape, dtype=np.uint8))
        engine.run()
        assert engine.outputs["feature_0"] is feature
        assert not np.allclose(feature, black)


def test_the_same_image_gives_the_same_bits() -> None:
    with OnnxRuntimeEngine(FILE, ENCODER) as engine:
        engine.run()
        first = {name: output.copy() for name, output in engine.outputs.items()}
        engine.run()
        for name, output in engine.outputs.items():
            assert np.array_equal(output, first[name])


def test_two_engines_do_not_share_memory() -> None:
    with OnnxRuntimeEngine(FILE, ENCODER) as one, OnnxRuntimeEngine(FILE, ENCODER) as other:
        assert not np.shares_memory(one.inputs["image"], other.inputs["image"])
        assert not np.shares_memory(one.outputs["feature_0"], other.outputs["feature_0"])


def test_buffers_have_the_shapes_of_the_manifest() -> None:
    with OnnxRuntimeEngine(FILE, ENCODER) as engine:
        assert {name: buffer.shape for name, buffer in engine.inputs.items()} == {
            spec.name: spec.shape for spec in ENCODER.inputs
        }
        assert {name: buffer.shape for name, buffer in engine.outputs.items()} == {
            spec.name: spec.shape for spec in ENCODER.outputs
        }


def test_a_file_that_is_no_graph_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "encoder.fp32.onnx"
    file.write_bytes(b"not a graph")
    with pytest.raises(BundleError, match=r"cannot load .*encoder\.fp32\.onnx.*Export the bundle again"):
        OnnxRuntimeEngine(file, ENCODER).__enter__()


def test_a_graph_of_an_opset_that_nobody_knows_is_refused(tmp_path: Path) -> None:
    onnx = pytest.importorskip("onnx", reason="onnx is the workstation's alone: pip install 'edge-resad[workstation]'")
    model = onnx.load(FILE)
    model.opset_import[0].version = 99
    onnx.save(model, tmp_path / "encoder.fp32.onnx")
    with pytest.raises(BundleError, match=r"cannot load .*encoder\.fp32\.onnx.*opset.*Export the bundle again"):
        OnnxRuntimeEngine(tmp_path / "encoder.fp32.onnx", ENCODER).__enter__()


def test_a_graph_that_is_not_what_its_manifest_says_is_refused() -> None:
    other = ENCODER.model_copy(update={"inputs": (TensorSpec(name="image", shape=(8, 8, 3), dtype="uint8"),)})
    with pytest.raises(BundleError, match="its manifest says"):
        OnnxRuntimeEngine(FILE, other).__enter__()


def test_a_provider_that_is_not_installed_is_named_beside_those_that_are(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("onnxruntime.get_available_providers", lambda: ["CPUExecutionProvider"])
    with pytest.raises(SettingsError, match=r"provider is 'cuda'.*it has cpu"):
        OnnxRuntimeEngine(FILE, ENCODER, provider="cuda").__enter__()


def test_onnx_runtime_keeps_no_diary_of_what_we_run(tmp_path: Path) -> None:
    script = """
import numpy as np
from edge_resad.bundle import open_bundle
from edge_resad.engine.onnx_runtime import OnnxRuntimeEngine
bundle = open_bundle()
graph = bundle.graphs("fp32").encoder
with OnnxRuntimeEngine(bundle.file(graph), graph) as engine:
    engine.run()
"""
    environment = {**os.environ, "HOME": str(tmp_path), "XDG_CACHE_HOME": str(tmp_path / "cache")}
    environment.pop("ORT_DISABLE_TELEMETRY", None)
    subprocess.run([sys.executable, "-c", script], env=environment, cwd=CHECKOUT, check=True, timeout=60)
    assert list(tmp_path.iterdir()) == []
