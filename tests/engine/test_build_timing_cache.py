"""What JetPack's TensorRT has and TensorRT-RTX lacks, and the other way round: a stand-in with the names of 10.3."""

from __future__ import annotations

from pathlib import Path

import pytest

pytest.importorskip("onnx", reason="makes graphs, which takes a workstation: pip install 'edge-resad[workstation]'")

from edge_resad.bundle import Bundle
from edge_resad.engine.build import build_engines
from edge_resad.engine.engine_file import EngineSet, Settings
from edge_resad.engine.host import Host
from edge_resad.errors import EngineError
from tests.engine.rungs import bundle_with

NOWHERE = Host(gpu=None, l4t=None)
TENSORRT_10_3 = """
import enum, pathlib
__version__ = "10.3.0"
BuilderFlag = enum.Enum("BuilderFlag", "TF32")
MemoryPoolType = enum.Enum("MemoryPoolType", "WORKSPACE")
DataType = enum.Enum("DataType", "FLOAT UINT8")
NetworkDefinitionCreationFlag = enum.IntEnum("NetworkDefinitionCreationFlag", "STRONGLY_TYPED")
class ILogger:
    INTERNAL_ERROR, ERROR, WARNING, INFO, VERBOSE = range(5)
class Tensor:
    shape, dtype = (1, 32, 16, 16), DataType.FLOAT
    def __init__(self, name):
        self.name = name
class Network:
    num_inputs = num_outputs = 1
    def get_input(self, index):
        return Tensor("x")
    def get_output(self, index):
        return Tensor("y")
class OnnxParser:
    def __init__(self, network, logger):
        pass
    def parse_from_file(self, file):
        return pathlib.Path(file).is_file()
class Cache(bytes):
    def serialize(self):
        return bytes(self)
class Config:
    __slots__ = "cache", "builder_optimization_level"
    def clear_flag(self, flag):
        assert flag is BuilderFlag.TF32
    def set_memory_pool_limit(self, pool, size):
        assert (pool, size) == (MemoryPoolType.WORKSPACE, 256 << 20)
    def create_timing_cache(self, content):
        return None if content == b"damaged" else Cache(content)
    def set_timing_cache(self, cache, ignore_mismatch):
        assert ignore_mismatch is False
        self.cache = cache
        return cache != b"of another GPU"
    def get_timing_cache(self):
        return self.cache
class Builder:
    def __init__(self, logger):
        self.logger = logger
    def create_network(self, flags):
        assert flags == 1 << int(NetworkDefinitionCreationFlag.STRONGLY_TYPED)
        return Network()
    def create_builder_config(self):
        return Config()
    def build_serialized_network(self, network, config):
        config.cache = Cache(config.cache + b"measured.")
        self.logger.log(ILogger.INFO, "Total Weights Memory: 12345 bytes")
        return b"plan"
"""


@pytest.fixture
def bundle(tmp_path: Path, tensorrt_file: Path) -> Bundle:
    """Of one small rung, on a machine with that TensorRT."""
    tensorrt_file.write_text(TENSORRT_10_3)
    return bundle_with(tmp_path / "bundle", {"fp32": (b"encoder", b"detector")})


def build(bundle: Bundle, out: Path, settings: Settings | None = None) -> EngineSet:
    asked = settings or Settings()
    return build_engines(bundle, "fp32", out, settings=asked, host=NOWHERE, force=True).engines.about


def test_what_was_measured_is_used_by_the_next_graph_and_the_next_build(bundle: Bundle, tmp_path: Path) -> None:
    out = tmp_path / "out"
    first = build(bundle, out)
    assert (first.encoder.timing_cache_used, first.detector.timing_cache_used) == (False, True)
    assert build(bundle, out).encoder.timing_cache_used
    assert (out / "timing.cache").read_bytes() == b"measured." * 4
    assert first.detector.weights_bytes == 12345
    assert first.tensorrt_version == "10.3.0"


@pytest.mark.parametrize("content", [b"damaged", b"of another GPU"])
def test_a_timing_cache_that_does_not_fit_is_begun_anew(bundle: Bundle, tmp_path: Path, content: bytes) -> None:
    out = tmp_path / "out"
    out.mkdir()
    (out / "timing.cache").write_bytes(content)
    about = build(bundle, out)
    assert (about.encoder.timing_cache_used, about.detector.timing_cache_used) == (False, True)
    assert (out / "timing.cache").read_bytes() == b"measured." * 2


def test_settings_reach_the_builder(bundle: Bundle, tmp_path: Path) -> None:
    asked = Settings(workspace_mb=256, optimization_level=3)
    assert build(bundle, tmp_path / "out", asked).settings == asked


def test_a_tensorrt_that_builds_for_its_own_gpu_alone_refuses_a_target(bundle: Bundle, tmp_path: Path) -> None:
    with pytest.raises(
        EngineError, match=r"tensorrt 10\.3\.0 builds for the GPU of this machine alone: leave --sm SM86"
    ):
        build(bundle, tmp_path / "out", Settings(sm="SM86"))
