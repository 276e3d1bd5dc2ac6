"""Engines that do not fit this machine or this bundle are refused with the command that builds them again."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path
from typing import Any

import pytest

from edge_resad.bundle import (
    Bundle,
    open_bundle,
)
from edge_resad.engine.engine_file import (
    SCHEMA_VERSION,
    BuiltGraph,
    Engines,
    EngineSet,
    Settings,
    engine_folder,
    open_engines,
    sidecar_of,
    write_whole,
)
from edge_resad.engine.host import Gpu, Host
from edge_resad.engine.tensorrt_api import TensorRT
from edge_resad.errors import EngineError

ORIN = Gpu(name="Orin", sm="SM87", cuda="12.6", driver_cuda="12.6")
THOR = Gpu(name="Thor", sm="SM110", cuda="13.0", driver_cuda="13.0")
HERE = Host(gpu=ORIN, l4t="36.4.3")
TENSORRT = TensorRT(module=None, name="tensorrt", version="10.3.0")


@pytest.fixture(scope="module")
def bundle() -> Bundle:
    return open_bundle()


def graph(name: str, content: bytes) -> BuiltGraph:
    return BuiltGraph(
        file=f"{name}.fp16.plan",
        sha256=hashlib.sha256(content).hexdigest(),
        size=len(content),
        onnx=f"{name}.fp16.onnx",
        onnx_sha256="0" * 64,
        inputs=(),
        outputs=(),
        weights_bytes=None,
        seconds=61.0,
        timing_cache_used=True,
    )


def written(folder: Path, bundle: Bundle, **changes: Any) -> Path:
    """Engines of that bundle, built on an Orin by TensorRT 10.3.0, but for the changes."""
    about = EngineSet(
        schema_version=SCHEMA_VERSION,
        bundle_id=bundle.manifest.bundle_id,
        precision="fp16",
        rung="fp16",
        refused=(),
        calibration_sha256=None,
        encoder=graph("encoder", b"encoder"),
        detector=graph("detector", b"detector"),
        tensorrt="tensorrt",
        tensorrt_version="10.3.0",
        settings=Settings(),
        host=HERE,
        producer="0",
    ).model_copy(update=changes)
    folder.mkdir(exist_ok=True)
    for name in ("encoder", "detector"):
        (folder / f"{name}.fp16.plan").write_bytes(name.encode())
    write_whole(sidecar_of(folder, "fp16"), about.model_dump_json().encode())
    return folder


def opened(bundle: Bundle, folder: Path, host: Host = HERE, tensorrt: TensorRT = TENSORRT) -> Engines:
    return open_engines(bundle, "fp16", folder, host=host, tensorrt=tensorrt)


def test_engines_that_fit_are_opened(bundle: Bundle, tmp_path: Path) -> None:
    folder = written(tmp_path / "engines", bundle)
    found = opened(bundle, folder)
    assert found.file(found.about.encoder).read_bytes() == b"encoder"


def test_a_machine_that_knows_nothing_of_its_gpu_refuses_nothing_for_it(bundle: Bundle, tmp_path: Path) -> None:
    assert opened(bundle, written(tmp_path / "engines", bundle), host=Host(gpu=None, l4t=None))


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"bundle_id": "f" * 64}, "they were built from bundle ffffffffffff, this is "),
        ({"tensorrt_version": "10.7.0"}, "they were built by tensorrt 10.7.0, this machine has tensorrt 10.3.0"),
        ({"tensorrt": "tensorrt_rtx"}, "they were built by tensorrt_rtx 10.3.0, this machine has tensorrt 10.3.0"),
        ({"host": Host(gpu=THOR, l4t=None)}, r"they were built on Thor (SM110), this is Orin (SM87)"),
        ({"settings": Settings(sm="SM86"), "host": Host(gpu=None, l4t=None)}, "built for SM86, this is Orin (SM87)"),
    ],
)
def test_engines_of_something_else_are_refused(
    bundle: Bundle, tmp_path: Path, changes: dict[str, Any], said: str
) -> None:
    folder = written(tmp_path / "engines", bundle, **changes)
    command = f"Build them again: edge-resad build --bundle {bundle.path} --precision fp16 --out {folder}"
    with pytest.raises(EngineError, match=f"{re.escape(said)}.*{re.escape(command)}$"):
        opened(bundle, folder)


@pytest.mark.parametrize("content", [None, b"", b"encoder, but longer"])
def test_a_damaged_plan_is_refused(bundle: Bundle, tmp_path: Path, content: bytes | None) -> None:
    folder = written(tmp_path / "engines", bundle)
    plan = folder / "encoder.fp16.plan"
    plan.unlink() if content is None else plan.write_bytes(content)
    with pytest.raises(EngineError, match=r"encoder\.fp16\.plan (?:is damaged|cannot be read).*Build them again"):
        opened(bundle, folder)


@pytest.mark.parametrize("text", ["", "[]", "{", "\x00", '{"schema_version": 2}', '{"schema_version": 99}'])
def test_a_damaged_sidecar_is_refused(bundle: Bundle, tmp_path: Path, text: str) -> None:
    folder = written(tmp_path / "engines", bundle)
    sidecar_of(folder, "fp16").write_text(text)
    with pytest.raises(EngineError, match=r"(?:damaged or not ours|has schema).*Build again: edge-resad build"):
        opened(bundle, folder)


def test_no_engines_at_all_is_one_sentence(bundle: Bundle, tmp_path: Path) -> None:
    with pytest.raises(EngineError, match=r"no engines at .*fp16\.json is missing.*Build them: edge-resad build"):
        opened(bundle, tmp_path)


def test_engines_lie_in_the_users_cache_unless_one_says_otherwise(bundle: Bundle) -> None:
    name = bundle.manifest.bundle_id[:12]
    assert engine_folder(bundle, {"XDG_CACHE_HOME": "/cache"}) == Path("/cache/edge-resad/engines") / name
    assert engine_folder(bundle, {}) == Path("~/.cache/edge-resad/engines").expanduser() / name


def test_a_file_that_cannot_be_moved_in_leaves_no_scratch(tmp_path: Path) -> None:
    (tmp_path / "x.plan").mkdir()
    with pytest.raises(EngineError, match=r"cannot write .*x\.plan: .*--out"):
        write_whole(tmp_path / "x.plan", b"content")
    assert [file.name for file in tmp_path.iterdir()] == ["x.plan"]
