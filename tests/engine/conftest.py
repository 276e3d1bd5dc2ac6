"""What tests of the engine room share."""

from __future__ import annotations

import gc
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from edge_resad.bundle import open_bundle
from edge_resad.engine.build import build_engines
from edge_resad.engine.cuda import Cuda
from edge_resad.engine.engine_file import engine_folder
from edge_resad.engine.tensorrt_api import TensorRT, find_tensorrt
from edge_resad.errors import EngineError
from tests.engine.fake_gpu import fake_tensorrt
from tests.engine.fake_gpu.driver import FakeDriver, load_driver
from tests.engine.fake_gpu.pycuda_build import CannotBuild

TENSORRT = (
    "from tests.engine.fake_gpu.fake_tensorrt import *\nfrom tests.engine.fake_gpu.fake_tensorrt import __version__"
)


@pytest.fixture
def tensorrt_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Where to write a module that this process and its children take for JetPack's TensorRT."""
    folder = tmp_path / "path"
    folder.mkdir()
    monkeypatch.syspath_prepend(str(folder))
    monkeypatch.setenv("PYTHONPATH", str(folder))
    monkeypatch.delitem(sys.modules, "tensorrt", raising=False)
    yield folder / "tensorrt.py"
    sys.modules.pop("tensorrt", None)


@pytest.fixture
def gpu(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeDriver]:
    """The fake CUDA driver under the real pycuda. Whatever a test does, everything is given back in the end."""
    try:
        driver = load_driver()
    except CannotBuild as reason:
        pytest.skip(str(reason))
    for name, module in driver.modules.items():
        monkeypatch.setitem(sys.modules, name, module)
    driver.reset()
    yield driver
    gc.collect()
    assert driver.problems == []
    assert (driver.live, driver.stack) == (0, 0)


@pytest.fixture
def trt(gpu: FakeDriver, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """The fake TensorRT on the fake driver, in the place of JetPack's."""
    monkeypatch.setitem(sys.modules, "tensorrt", fake_tensorrt)
    fake_tensorrt._behaviour.reset()
    yield fake_tensorrt
    gc.collect()
    assert +fake_tensorrt._alive == {}


@pytest.fixture(params=["fake", pytest.param("real", marks=pytest.mark.gpu)])
def card(request: pytest.FixtureRequest) -> FakeDriver | None:
    """A GPU: the fake one, and a real one, which is None, where there is one."""
    if request.param == "fake":
        fake: FakeDriver = request.getfixturevalue("gpu")
        return fake
    if load_driver.cache_info().currsize:
        pytest.skip("a fake CUDA driver is loaded in this process: run pytest -m gpu by itself")
    try:
        with Cuda():
            return None
    except EngineError as reason:
        pytest.skip(str(reason))


@pytest.fixture
def tensorrt(card: FakeDriver | None, request: pytest.FixtureRequest) -> TensorRT:
    """What runs on that card: the fake TensorRT, also in children of this process, or the real one."""
    if card is not None:
        request.getfixturevalue("tensorrt_file").write_text(TENSORRT)
        request.getfixturevalue("trt")
    try:
        return find_tensorrt()
    except EngineError as reason:
        pytest.skip(str(reason))


@pytest.fixture
def engines(tensorrt: TensorRT, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Engines of the shipped bundle in FP32, built for that card where they lie by default."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    build_engines(open_bundle(), "fp32")
    return engine_folder(open_bundle())
