"""Which TensorRT and which machine: found, or said in a sentence what is missing."""

from __future__ import annotations

import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from edge_resad.engine.host import Gpu, gpu_of_pycuda, this_host
from edge_resad.engine.tensorrt_api import Log, find_tensorrt, first_reason, recording_logger
from edge_resad.errors import EngineError


def module(name: str, version: str) -> ModuleType:
    made = ModuleType(name)
    made.__dict__["__version__"] = version
    return made


@pytest.fixture
def installed(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Set which TensorRT modules this Python has."""

    def install(**versions: str | None) -> None:
        for name in ("tensorrt", "tensorrt_rtx"):
            version = versions.get(name)
            monkeypatch.setitem(sys.modules, name, module(name, version) if version else None)

    return install


@pytest.mark.parametrize("version", ["10.3.0", "10.13.3.9", "10.16.2.10", "11.4.1"])
def test_jetpacks_tensorrt_comes_first(installed: Any, version: str) -> None:
    installed(tensorrt=version, tensorrt_rtx="1.7.1.116")
    assert str(find_tensorrt()) == f"tensorrt {version}"


def test_tensorrt_rtx_is_taken_where_there_is_no_other(installed: Any) -> None:
    installed(tensorrt_rtx="1.7.1.116")
    assert find_tensorrt().name == "tensorrt_rtx"


@pytest.mark.parametrize("version", ["8.5.2", "8.6.2", "10.2.0"])
def test_an_old_tensorrt_is_refused(installed: Any, version: str) -> None:
    installed(tensorrt=version)
    with pytest.raises(EngineError, match=rf"TensorRT {version} is too old: .*10\.3 or newer.*JetPack 6\.1"):
        find_tensorrt()


def test_no_tensorrt_says_what_to_install(installed: Any) -> None:
    installed()
    with pytest.raises(EngineError, match=r"not installed.*python3-libnvinfer.*--system-site-packages.*trt-test"):
        find_tensorrt()


@pytest.mark.parametrize(
    "body", ["raise ImportError('libnvinfer.so.10: cannot open')", "import libnvdla_nowhere", "raise OSError('libnv')"]
)
def test_a_tensorrt_that_does_not_load_says_why(tensorrt_file: Path, body: str) -> None:
    tensorrt_file.write_text(body)
    with pytest.raises(EngineError, match=r"tensorrt is installed but does not load: .*libnv"):
        find_tensorrt()


def test_the_log_keeps_errors_apart_and_leaves_out_chatter() -> None:
    trt = SimpleNamespace(ILogger=type("ILogger", (), {"INTERNAL_ERROR": 0, "ERROR": 1, "INFO": 3, "VERBOSE": 4}))
    log = Log()
    logger = recording_logger(trt, log)
    for severity, text in ((4, "chatter"), (3, "Total Weights Memory: 5"), (1, "no"), (0, "no at all")):
        logger.log(severity, text)
    assert (log.lines, log.errors) == (["Total Weights Memory: 5"], ["no", "no at all"])


@pytest.mark.parametrize(
    ("errors", "reason"),
    [
        (["4: [network.cpp::validate::3810] Error Code 4: Something new"], None),
        (["IBuilder::buildSerializedNetwork: Error Code 4: API Usage Error (No output. In validate at /_src/n.cpp:3)"],
         "No output"),
        (["ModelImporter.cpp:140: While parsing node number 0 [Conv -> \"y\"]:",
          "ModelImporter.cpp:142: --- Begin node ---\nNode name: ",
          "ModelImporter.cpp:151: ERROR: o.cpp:1929 In function f:\n[6] Assertion failed: ok(x): No such thing."],
         "No such thing"),
        ([], "it gave no reason"),
    ],
)  # fmt: skip
def test_the_reason_is_tensorrts_own_without_its_source_files(errors: list[str], reason: str | None) -> None:
    assert first_reason(errors) == (reason or errors[0])


@pytest.mark.parametrize(
    ("text", "release"),
    [
        ("# R36 (release), REVISION: 4.3, GCID: 38968081, BOARD: generic, EABI: aarch64, DATE: Wed Jan  8", "36.4.3"),
        ("# R39 (release), REVISION: 2.0, GCID: 1, BOARD: generic", "39.2.0"),
        ("something else", None),
        (None, None),
    ],
)
def test_a_jetson_says_its_release(tmp_path: Path, text: str | None, release: str | None) -> None:
    file = tmp_path / "nv_tegra_release"
    if text is not None:
        file.write_text(text)
    assert this_host(l4t_file=file, ask_gpu=lambda: None).l4t == release


class FakeDriver(ModuleType):
    """pycuda.driver of a machine with an Orin, or of one whose driver fails."""

    Error = type("Error", (Exception,), {})

    def __init__(self, *, fails: bool) -> None:
        super().__init__("pycuda.driver")
        self.fails = fails

    def init(self) -> None:
        if self.fails:
            raise self.Error("cuInit failed: no CUDA-capable device is detected")

    def Device(self, number: int) -> SimpleNamespace:
        return SimpleNamespace(name=lambda: "Orin", compute_capability=lambda: (8, 7))

    def get_driver_version(self) -> int:
        return 12060

    def get_version(self) -> tuple[int, int, int]:
        return (12, 6, 0)


@pytest.mark.parametrize(
    ("fails", "found"), [(False, Gpu(name="Orin", sm="SM87", cuda="12.6", driver_cuda="12.6")), (True, None)]
)
def test_a_gpu_says_what_it_is(monkeypatch: pytest.MonkeyPatch, fails: bool, found: Gpu | None) -> None:
    package, driver = ModuleType("pycuda"), FakeDriver(fails=fails)
    package.__dict__["driver"] = driver
    monkeypatch.setitem(sys.modules, "pycuda", package)
    monkeypatch.setitem(sys.modules, "pycuda.driver", driver)
    assert gpu_of_pycuda() == found


def test_without_pycuda_no_gpu_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pycuda", None)
    assert gpu_of_pycuda() is None
