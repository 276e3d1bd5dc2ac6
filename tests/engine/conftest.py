"""What tests of the engine room share."""

from __future__ import annotations

import gc
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.engine.fake_gpu import fake_tensorrt
from tests.engine.fake_gpu.driver import FakeDriver, load_driver
from tests.engine.fake_gpu.pycuda_build import CannotBuild


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
