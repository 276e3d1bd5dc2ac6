"""Engines are built from the best rung that TensorRT takes, whole or not at all."""

from __future__ import annotations

import fcntl
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("onnx", reason="makes graphs, which takes a workstation: pip install 'edge-resad[workstation]'")

from edge_resad.bundle import Bundle
from edge_resad.engine.build import build_engines
from edge_resad.engine.engine_file import Settings, open_engines, sidecar_of
from edge_resad.engine.host import Host
from edge_resad.errors import EngineError
from tests.engine.rungs import Quantized, bundle_with, float_conv, int8_conv, needs_builder

pytestmark = needs_builder

CHECKOUT = Path(__file__).resolve().parent.parent.parent
NOWHERE = Host(gpu=None, l4t=None)
SM86 = Settings(sm="SM86")
FLOAT = (float_conv(), float_conv())
INT8 = (int8_conv(), int8_conv())
ZERO_POINT = int8_conv(Quantized(zero_point=3))
INT32_BIAS = int8_conv(Quantized(int32_bias=True))
DYNAMIC = int8_conv(Quantized(shape=("N", 32, 16, 16)))


@pytest.fixture
def out(tmp_path: Path) -> Path:
    return tmp_path / "engines"


def left_in(folder: Path) -> set[str]:
    return {file.name for file in folder.rglob("*")} - {".lock"}


WHOLE = {"encoder.fp32.plan", "detector.fp32.plan", "fp32.json"}


def test_both_engines_are_built_and_open_again(tmp_path: Path, out: Path) -> None:
    bundle = bundle_with(tmp_path / "bundle", {"fp32": FLOAT})
    built = build_engines(bundle, "fp32", out, settings=SM86, host=NOWHERE)
    assert built.fresh
    assert left_in(out) == WHOLE
    opened = open_engines(bundle, "fp32", out, host=NOWHERE)
    assert opened == built.engines
    assert opened.file(opened.about.detector).stat().st_size == opened.about.detector.size > 10_000
    assert opened.about.rung == "fp32"
    assert opened.about.refused == ()
    assert opened.about.tensorrt == "tensorrt_rtx"
    assert not opened.about.encoder.timing_cache_used


def test_int8_is_really_chosen_as_the_memory_of_its_weights_shows(tmp_path: Path, out: Path) -> None:
    bundle = bundle_with(tmp_path / "bundle", {"int8+fp32": INT8, "fp32": FLOAT})
    as_int8 = build_engines(bundle, "int8", out, settings=SM86, host=NOWHERE).engines.about.detector.weights_bytes
    as_float = build_engines(bundle, "fp32", out, settings=SM86, host=NOWHERE).engines.about.detector.weights_bytes
    assert as_float is not None
    assert as_int8 is not None
    assert as_float >= 32 * 32 * 9 * 4
    assert as_int8 < 0.35 * as_float


@pytest.mark.parametrize(
    ("graph", "said"),
    [
        (ZERO_POINT, "Non-zero zero point is not supported"),
        (INT32_BIAS, "input has type Int32 but must have type FP8, FP4, Int4, Int8, or UInt8"),
        (DYNAMIC, r"its input x has the shape \(-1, 32, 16, 16\).*every size must be fixed"),
        (b"not a graph" * 20, "Failed to parse the ONNX model"),
    ],
)
def test_what_tensorrt_refuses_reaches_the_user_as_its_own_sentence(
    tmp_path: Path, out: Path, graph: bytes, said: str
) -> None:
    bundle = bundle_with(tmp_path / "bundle", {"fp32": (float_conv(), graph)})
    with pytest.raises(EngineError, match=rf"TensorRT refuses every fp32 graph.*\(fp32: detector: .*{said}") as refusal:
        build_engines(bundle, "fp32", out, settings=SM86, host=NOWHERE)
    assert "\n" not in str(refusal.value)
    assert ".cpp" not in str(refusal.value)
    assert left_in(out) == set()


def test_a_refused_rung_gives_way_to_the_next_and_is_recorded(tmp_path: Path, out: Path) -> None:
    bundle = bundle_with(
        tmp_path / "bundle",
        {"int8+fp16": (int8_conv(), ZERO_POINT), "int8+fp32": (INT32_BIAS, int8_conv()), "fp32": FLOAT},
    )
    about = build_engines(bundle, "int8", out, settings=SM86, host=NOWHERE).engines.about
    assert about.rung == "fp32"
    assert [(one.rung, one.graph) for one in about.refused] == [
        ("int8+fp16", "detector"),
        ("int8+fp32", "encoder"),
        ("fp16", None),
    ]
    assert "zero point" in about.refused[0].reason
    assert "Int32" in about.refused[1].reason
    assert "does not hold" in about.refused[2].reason
    assert about.encoder.onnx == "encoder.fp32.onnx"
    assert (about.encoder.weights_bytes, about.detector.weights_bytes) == (37120, 37120)


def test_a_graph_that_is_not_what_the_manifest_says_is_refused(tmp_path: Path, out: Path) -> None:
    made = bundle_with(tmp_path / "bundle", {"fp32": FLOAT})
    pair = made.manifest.rungs["fp32"]
    wide = pair.encoder.inputs[0].model_copy(update={"shape": (1, 32, 99, 16)})
    encoder = pair.encoder.model_copy(update={"inputs": (wide,)})
    rungs = {"fp32": pair.model_copy(update={"encoder": encoder})}
    lying = Bundle(path=made.path, manifest=made.manifest.model_copy(update={"rungs": rungs}))
    with pytest.raises(EngineError, match=r"encoder: its inputs are .*16, 16.*the manifest says .*99, 16"):
        build_engines(lying, "fp32", out, settings=SM86, host=NOWHERE)


def test_a_precision_that_the_bundle_lacks_is_no_silent_fp32(tmp_path: Path, out: Path) -> None:
    bundle = bundle_with(tmp_path / "bundle", {"fp32": FLOAT})
    with pytest.raises(EngineError, match="holds no int8 graphs for TensorRT, only fp32"):
        build_engines(bundle, "int8", out, settings=SM86, host=NOWHERE)


def test_what_is_built_and_fits_is_not_built_again_unless_forced(tmp_path: Path, out: Path) -> None:
    bundle = bundle_with(tmp_path / "bundle", {"fp32": FLOAT})
    first = build_engines(bundle, "fp32", out, settings=SM86, host=NOWHERE)
    again = build_engines(bundle, "fp32", out, settings=SM86, host=NOWHERE)
    assert (again.fresh, again.engines) == (False, first.engines)
    forced = build_engines(bundle, "fp32", out, settings=SM86, host=NOWHERE, force=True)
    assert forced.fresh
    assert forced.engines.about.detector.sha256 == first.engines.about.detector.sha256  # from another process


def test_progress_names_rung_and_graph(tmp_path: Path, out: Path) -> None:
    bundle = bundle_with(tmp_path / "bundle", {"fp16": (ZERO_POINT, float_conv()), "fp32": FLOAT})
    said: list[tuple[str, int, int]] = []
    build_engines(bundle, "fp16", out, settings=SM86, host=NOWHERE, progress=lambda *step: said.append(step))
    assert said == [("fp16 encoder", 0, 4), ("fp32 encoder", 1, 4), ("fp32 detector", 2, 4)]


def test_other_settings_build_again(tmp_path: Path, out: Path) -> None:
    bundle = bundle_with(tmp_path / "bundle", {"fp32": FLOAT})
    build_engines(bundle, "fp32", out, settings=SM86, host=NOWHERE)
    other = Settings(sm="SM89", workspace_mb=256, optimization_level=2)
    built = build_engines(bundle, "fp32", out, settings=other, host=NOWHERE)
    assert built.fresh
    assert built.engines.about.settings == other


def test_a_failed_build_leaves_the_engines_that_were_there(tmp_path: Path, out: Path) -> None:
    bundle = bundle_with(tmp_path / "bundle", {"fp32": FLOAT})
    first = build_engines(bundle, "fp32", out, settings=SM86, host=NOWHERE)
    broken = bundle_with(tmp_path / "broken", {"fp32": (float_conv(), ZERO_POINT)})
    with pytest.raises(EngineError, match="zero point"):
        build_engines(broken, "fp32", out, settings=SM86, host=NOWHERE)
    assert open_engines(bundle, "fp32", out, host=NOWHERE) == first.engines
    assert left_in(out) == WHOLE


def test_what_a_killed_build_left_is_removed_by_the_next(tmp_path: Path, out: Path) -> None:
    bundle = bundle_with(tmp_path / "bundle", {"fp32": FLOAT})
    (out / ".building").mkdir(parents=True)
    (out / ".building" / ".encoder.fp32.plan.part").write_bytes(b"half")
    (out / ".fp32.json.part").write_bytes(b"{")
    build_engines(bundle, "fp32", out, settings=SM86, host=NOWHERE)
    assert left_in(out) == WHOLE


def test_one_build_at_a_time_works_in_a_folder(tmp_path: Path, out: Path) -> None:
    bundle = bundle_with(tmp_path / "bundle", {"fp32": FLOAT})
    out.mkdir()
    with (out / ".lock").open("w") as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        with pytest.raises(EngineError, match="another build is at work"):
            build_engines(bundle, "fp32", out, settings=SM86, host=NOWHERE)
    assert build_engines(bundle, "fp32", out, settings=SM86, host=NOWHERE).fresh


def test_an_unknown_target_names_those_that_are_known(tmp_path: Path, out: Path) -> None:
    bundle = bundle_with(tmp_path / "bundle", {"fp32": FLOAT})
    with pytest.raises(EngineError, match=r"cannot build for SM87, only for .*SM86"):
        build_engines(bundle, "fp32", out, settings=Settings(sm="SM87"), host=NOWHERE)


def test_a_workspace_too_small_is_tensorrts_refusal(tmp_path: Path, out: Path) -> None:
    bundle = bundle_with(tmp_path / "bundle", {"fp32": FLOAT})
    with pytest.raises(EngineError, match=r"no tactics.*workspace.*give the builder more --workspace-mb"):
        build_engines(bundle, "fp32", out, settings=Settings(sm="SM86", workspace_mb=1), host=NOWHERE)


def test_a_folder_that_cannot_be_made_is_one_sentence(tmp_path: Path) -> None:
    bundle = bundle_with(tmp_path / "bundle", {"fp32": FLOAT})
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(EngineError, match=r"cannot write .*Not a directory"):
        build_engines(bundle, "fp32", tmp_path / "file" / "engines", settings=SM86, host=NOWHERE)


def test_a_full_disk_is_one_sentence_and_leaves_nothing(tmp_path: Path, out: Path) -> None:
    bundle = bundle_with(tmp_path / "bundle", {"fp32": FLOAT})
    words = ["-m", "edge_resad", "build", "--bundle", bundle.path, "--out", out, "--precision", "fp32", "--sm", "SM86"]
    done = subprocess.run(
        ["sh", "-c", 'ulimit -f 200; exec "$@"', "sh", sys.executable, *map(str, words)],  # 100 kB a file
        cwd=CHECKOUT, capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    assert done.returncode == 1
    assert done.stderr.startswith("edge-resad: cannot write ")
    assert "File too large" in done.stderr
    assert done.stderr.count("\n") == 1
    assert left_in(out) == set()


FAKE = f"""
import os, signal, sys
__version__ = "10.3.0"
class ILogger:
    pass
class Builder:
    def __init__(self, logger):
        print("what a library prints is no answer", flush=True)
        {{then}}
assert {str(CHECKOUT)!r} in sys.path
"""


def test_a_builder_that_is_killed_is_a_refusal_and_leaves_nothing(
    tmp_path: Path, out: Path, tensorrt_file: Path
) -> None:
    tensorrt_file.write_text(FAKE.format(then="os.kill(os.getpid(), signal.SIGKILL)"))
    bundle = bundle_with(tmp_path / "bundle", {"int8+fp16": INT8, "fp32": FLOAT})
    with pytest.raises(EngineError, match=r"int8\+fp16: encoder: .*killed by SIGKILL, most often for want of memory"):
        build_engines(bundle, "int8", out, host=NOWHERE)
    assert left_in(out) == set()


def test_a_builder_without_a_driver_is_one_sentence(tmp_path: Path, out: Path, tensorrt_file: Path) -> None:
    tensorrt_file.write_text(FAKE.format(then="raise TypeError('factory function returned nullptr')"))
    bundle = bundle_with(tmp_path / "bundle", {"fp32": FLOAT})
    with pytest.raises(
        EngineError, match=r"TensorRT does not start here: factory function returned nullptr\. It needs"
    ):
        build_engines(bundle, "fp32", out, host=NOWHERE)


def test_a_bug_in_the_builder_keeps_its_traceback(tmp_path: Path, out: Path, tensorrt_file: Path) -> None:
    tensorrt_file.write_text(FAKE.format(then="raise KeyError('a bug')"))
    bundle = bundle_with(tmp_path / "bundle", {"fp32": FLOAT})
    with pytest.raises(RuntimeError, match=r"(?s)Traceback.*KeyError: 'a bug'"):
        build_engines(bundle, "fp32", out, host=NOWHERE)


def test_a_build_that_is_killed_from_outside_leaves_nothing_half_written(
    tmp_path: Path, out: Path, tensorrt_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    marker = tmp_path / "at work"
    os.mkfifo(marker)
    tensorrt_file.write_text(FAKE.format(then=f"open({str(marker)!r}, 'w').write(str(os.getpid())); signal.pause()"))
    bundle = bundle_with(tmp_path / "bundle", {"fp32": FLOAT})
    words = ["-m", "edge_resad", "build", "--bundle", bundle.path, "--out", out, "--precision", "fp32"]
    paths = os.pathsep.join((str(CHECKOUT), os.environ["PYTHONPATH"]))
    building = subprocess.Popen(
        [sys.executable, *map(str, words)], cwd=tmp_path, env={**os.environ, "PYTHONPATH": paths}
    )
    child = int(marker.read_text())  # waits until the builder is at work
    building.kill()
    building.wait(timeout=60)
    sys.modules.pop("tensorrt", None)
    monkeypatch.delenv("PYTHONPATH")
    monkeypatch.setattr(sys, "path", [entry for entry in sys.path if entry != str(tensorrt_file.parent)])
    with pytest.raises(EngineError, match="another build is at work"):  # its builder lives on
        build_engines(bundle, "fp32", out, settings=SM86, host=NOWHERE)
    os.kill(child, signal.SIGKILL)
    with (out / ".lock").open() as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # waits until it is gone
    assert build_engines(bundle, "fp32", out, settings=SM86, host=NOWHERE).fresh
    assert left_in(out) == WHOLE


def test_the_sidecar_says_what_was_built_from_what(tmp_path: Path, out: Path) -> None:
    bundle = bundle_with(tmp_path / "bundle", {"fp32": FLOAT})
    host = Host(gpu=None, l4t="36.4.3")
    build_engines(bundle, "fp32", out, settings=SM86, host=host)
    said = json.loads(sidecar_of(out, "fp32").read_text())
    assert said["bundle_id"] == bundle.manifest.bundle_id
    assert said["host"] == {"gpu": None, "l4t": "36.4.3"}
    assert said["detector"]["onnx_sha256"] == bundle.manifest.rungs["fp32"].detector.sha256
    assert said["detector"]["inputs"] == [{"name": "x", "shape": [1, 32, 16, 16], "dtype": "float32"}]
