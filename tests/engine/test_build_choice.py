"""Between fp16 and INT8 the clock of this GPU decides, within what accuracy may be lost."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

pytest.importorskip("onnx", reason="makes graphs, which takes a workstation: pip install 'edge-resad[workstation]'")

from edge_resad.bundle import Verification, file_digest, write_verification
from edge_resad.engine import auto
from edge_resad.engine.auto import build_quickest, time_detector
from edge_resad.engine.build import build_engines
from edge_resad.engine.child import Refused
from edge_resad.engine.choice import Measured, choose
from edge_resad.engine.engine_file import Engines, Settings
from edge_resad.engine.host import Host
from edge_resad.engine.timing import TimingRequest, time_engine
from edge_resad.errors import EngineError
from tests.engine.fake_gpu.driver import FakeDriver
from tests.engine.rungs import Quantized, bundle_with, float_conv, int8_conv, needs_builder
from tests.engine.small_graph import write_small

NOWHERE = Host(gpu=None, l4t=None)
SM86 = Settings(sm="SM86")
FLOAT = (float_conv(), float_conv())
INT8 = (int8_conv(), int8_conv())


def measured(fp16: float, int8: float, *, int8_good: bool = True, fp16_good: bool = True) -> list[Measured]:
    return [
        Measured(precision="fp16", median_ms=fp16, within_budget=fp16_good),
        Measured(precision="int8", median_ms=int8, within_budget=int8_good),
    ]


@pytest.mark.parametrize(
    ("candidates", "chosen"),
    [
        (measured(2.0, 1.2), "int8"),
        (measured(1.2, 2.0), "fp16"),
        (measured(2.0, 1.96), "fp16"),  # 2 % quicker is not worth what INT8 loses
        (measured(2.0, 1.2, int8_good=False), "fp16"),
        (measured(1.2, 2.0, fp16_good=False), "int8"),
        ([Measured(precision="fp32", median_ms=9.0, within_budget=True)], "fp32"),
    ],
)
def test_the_quicker_of_those_that_are_accurate_enough_is_chosen(candidates: list[Measured], chosen: str) -> None:
    assert choose(candidates).precision == chosen
    assert choose(candidates[::-1]).precision == chosen


def test_the_reason_has_both_times() -> None:
    assert choose(measured(2.0, 1.2)).why == "a detector takes 1.20 ms, fp16 2.00 ms"
    assert choose(measured(2.0, 1.2, int8_good=False)).why.endswith("int8 1.20 ms but is not accurate enough")


def test_where_none_is_accurate_enough_nothing_is_chosen() -> None:
    with pytest.raises(EngineError, match=r"none of fp16, int8 is as accurate.*--precision fp32"):
        choose(measured(2.0, 1.2, fp16_good=False, int8_good=False))


@needs_builder
def test_both_are_built_and_the_timer_decides(tmp_path: Path) -> None:
    bundle = bundle_with(tmp_path / "bundle", {"int8+fp32": INT8, "fp16": FLOAT, "fp32": FLOAT})
    times = {"fp16": 2.0, "int8": 1.0}
    done = build_quickest(
        bundle, tmp_path / "out", settings=SM86, host=NOWHERE, timer=lambda one: times[one.about.precision]
    )
    assert {one: built.engines.about.rung for one, built in done.built.items()} == {"fp16": "fp16", "int8": "int8+fp32"}
    assert done.choice.precision == "int8"
    verified = Verification(
        sha256=file_digest(b""), within_budget=False, beyond_budget=("int8+fp16",), images=1, forced=True
    )
    judged = write_verification(bundle, b"", verified)
    again = build_quickest(judged, tmp_path / "out", settings=SM86, host=NOWHERE, timer=lambda one: 1.0)
    assert [built.fresh for built in again.built.values()] == [False, False]
    assert again.choice.precision == "fp16"


@needs_builder
def test_nothing_is_timed_where_int8_fell_to_the_same_rung(tmp_path: Path) -> None:
    refused = (int8_conv(Quantized(zero_point=1)), int8_conv())
    bundle = bundle_with(tmp_path / "bundle", {"int8+fp16": refused, "fp16": FLOAT})

    def never(engines: Engines) -> float:
        raise AssertionError("timed")

    done = build_quickest(bundle, tmp_path / "out", settings=SM86, host=NOWHERE, timer=never)
    assert (done.choice.precision, done.choice.why) == ("fp16", "TensorRT took no int8 rung, so both would be the same")


@needs_builder
def test_nothing_is_timed_where_the_bundle_leaves_no_choice(tmp_path: Path) -> None:
    bundle = bundle_with(tmp_path / "bundle", {"fp32": FLOAT})
    assert build_quickest(bundle, tmp_path / "out", settings=SM86, host=NOWHERE).choice.precision == "fp32"


def test_without_a_gpu_one_sentence_says_what_to_give_instead(tmp_path: Path) -> None:
    bundle = bundle_with(tmp_path / "bundle", {"int8+fp32": INT8, "fp16": FLOAT})
    with pytest.raises(EngineError, match=r"no GPU is seen here.*--precision fp16, or --precision int8"):
        build_quickest(bundle, tmp_path / "out", settings=SM86, host=NOWHERE)
    assert not (tmp_path / "out").exists()


@needs_builder
def test_the_timer_without_pycuda_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "pycuda.py").write_text("raise ImportError('no pycuda here')")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    bundle = bundle_with(tmp_path / "bundle", {"fp32": FLOAT})
    engines = build_engines(bundle, "fp32", tmp_path / "out", settings=SM86, host=NOWHERE).engines
    with pytest.raises(EngineError, match=r"cannot be timed: pycuda.*\(no pycuda here\).*edge-resad\[jetson\]"):
        time_detector(engines)


def test_an_engine_that_does_not_run_is_one_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(module: str, question: object) -> str:
        raise Refused("incompatible device")

    detector = SimpleNamespace(inputs=(), outputs=())
    engines: Any = SimpleNamespace(about=SimpleNamespace(detector=detector), file=lambda graph: tmp_path / "d.plan")
    monkeypatch.setattr(auto, "ask", refuse)
    with pytest.raises(EngineError, match=r"d\.plan was built and does not run: incompatible device\. Name the"):
        time_detector(engines)


def timed(folder: Path) -> float:
    onnx, graph = write_small(folder)
    plan = folder / "d.plan"
    plan.write_text(json.dumps({"onnx": str(onnx)}))
    request = TimingRequest(plan=plan, inputs=graph.inputs, outputs=graph.outputs, warm_up=3, runs=5)
    return time_engine(request).median_ms


def test_the_time_is_the_median_of_the_runs_after_the_warm_up(trt: Any, tmp_path: Path) -> None:
    trt._behaviour.kernel_us = iter([100_000.0] * 3 + [4000.0, 5000.0, 6000.0, 7000.0, 8000.0])
    assert timed(tmp_path) == pytest.approx(6.0)


@pytest.mark.parametrize(
    ("method", "answer"), [("Runtime.deserialize_cuda_engine", None), ("IExecutionContext.execute_async_v3", False)]
)
def test_a_plan_that_does_not_load_or_run_is_refused(trt: Any, tmp_path: Path, method: str, answer: Any) -> None:
    trt._behaviour.fails = (method, answer)
    with pytest.raises(Refused):
        timed(tmp_path)


def test_a_gpu_that_fails_while_it_is_timed_is_a_sentence(gpu: FakeDriver, trt: Any, tmp_path: Path) -> None:
    gpu.fail("cuMemAlloc", times=0)  # pycuda tries once more
    with pytest.raises(EngineError, match=r"cannot be timed: the GPU failed \(cuMemAlloc failed.*--precision fp16"):
        timed(tmp_path)
