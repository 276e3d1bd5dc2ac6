"""The TensorRT engine: right numbers at its own addresses, nothing allocated a run, nothing left by any failure."""

from __future__ import annotations

import json
import logging
import threading
import tracemalloc
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("onnx", reason="makes graphs, which takes a workstation: pip install 'edge-resad[workstation]'")

from edge_resad.bundle import TensorSpec
from edge_resad.engine.builder import BuildRequest, build_plan
from edge_resad.engine.device_copies import MOST, SPARE
from edge_resad.engine.engine import Constants, IoMemory
from edge_resad.engine.engine_file import Settings
from edge_resad.engine.golden import Golden
from edge_resad.engine.tensorrt import TensorRTEngine
from edge_resad.engine.tensorrt_api import TensorRT, find_tensorrt
from edge_resad.errors import EngineError
from tests.engine.fake_gpu.driver import FakeDriver
from tests.engine.small_graph import INPUTS, OUTPUTS, ROWS, SIDE, small_map, write_small

Opener = Callable[..., TensorRTEngine]
RANDOM = np.random.default_rng(0)
IMAGES = RANDOM.integers(0, 256, (4, SIDE, SIDE, 3), dtype=np.uint8)
BANK = RANDOM.random((ROWS, 3), np.float32) * 255
OTHER = RANDOM.random((ROWS, 3), np.float32) * 255


@pytest.fixture
def plan(tmp_path: Path) -> Path:
    """A plan of the fake TensorRT."""
    onnx, _ = write_small(tmp_path)
    file = tmp_path / "detector.fp32.plan"
    file.write_text(json.dumps({"onnx": str(onnx)}))
    return file


@pytest.fixture
def opener(trt: Any, plan: Path) -> Opener:
    """Engines on the fake TensorRT and the fake driver."""
    return partial(opened, plan)


@pytest.fixture
def either(card: FakeDriver | None, tensorrt: TensorRT, request: pytest.FixtureRequest, tmp_path: Path) -> Opener:
    """The same engines on the fakes, and on a real GPU where there is one."""
    if card is not None:
        fake: Opener = request.getfixturevalue("opener")
        return fake
    onnx, graph = write_small(tmp_path)
    build_plan(
        BuildRequest(
            onnx=onnx, plan=tmp_path / "real.plan", inputs=graph.inputs, outputs=graph.outputs, settings=Settings(),
            timing_cache=tmp_path / "timing.cache",
        ),
        tensorrt,
    )  # fmt: skip
    return partial(opened, tmp_path / "real.plan")


def opened(
    plan: Path,
    *,
    inputs: tuple[TensorSpec, ...] = INPUTS,
    outputs: tuple[TensorSpec, ...] = OUTPUTS,
    io_memory: IoMemory = "auto",
    golden: Golden | None = None,
) -> TensorRTEngine:
    return TensorRTEngine(
        plan, inputs, outputs,
        tensorrt=find_tensorrt(), rebuild="edge-resad build", io_memory=io_memory, golden=golden,
    )  # fmt: skip


def load(engine: TensorRTEngine, bank: np.ndarray[Any, Any] = BANK, norm: float = 2.0) -> None:
    engine.write("bank_0", bank)
    engine.write("level_norm", np.full((1, 2), norm, np.float32))


def judge(engine: TensorRTEngine, image: np.ndarray[Any, Any]) -> tuple[np.ndarray[Any, Any], float]:
    np.copyto(engine.inputs["image"], image)
    engine.run()
    return engine.outputs["map"].copy(), float(engine.outputs["score"])


def lifecycle(opener: Opener, **settings: Any) -> None:
    with opener(**settings) as engine:
        load(engine)
        for image in IMAGES:
            found, score = judge(engine, image)
            expected = small_map(image, BANK, 2.0)
            np.testing.assert_allclose(found, expected, rtol=1e-5)
            assert score == pytest.approx(expected.max())


@pytest.mark.parametrize("io_memory", ["auto", "device", "mapped"])
def test_it_gives_what_the_graph_gives_for_every_image(either: Opener, io_memory: IoMemory) -> None:
    lifecycle(either, io_memory=io_memory)


def test_it_opens_and_closes_again_and_again(opener: Opener, gpu: FakeDriver) -> None:
    for _ in range(3):
        lifecycle(opener)
        assert (gpu.live, gpu.stack) == (0, 0)


def test_two_engines_share_a_thread(either: Opener) -> None:
    with either() as one, either() as other:
        load(one)
        load(other, OTHER)
        np.testing.assert_allclose(judge(one, IMAGES[0])[0], small_map(IMAGES[0], BANK, 2.0), rtol=1e-5)
        np.testing.assert_allclose(judge(other, IMAGES[0])[0], small_map(IMAGES[0], OTHER, 2.0), rtol=1e-5)
        np.testing.assert_allclose(judge(one, IMAGES[1])[0], small_map(IMAGES[1], BANK, 2.0), rtol=1e-5)


def test_a_run_calls_the_driver_for_what_it_needs_and_allocates_nothing(opener: Opener, gpu: FakeDriver) -> None:
    with opener() as engine:
        load(engine)
        judge(engine, IMAGES[0])
        before = len(gpu.log)
        for image in IMAGES:
            judge(engine, image)
        assert gpu.log[before:] == 4 * [
            "cuEventRecord", "cuMemcpyHtoDAsync", "cuEventRecord", "cuGraphLaunch", "cuEventRecord",
            "cuMemcpyDtoHAsync", "cuEventRecord", "cuStreamSynchronize", *3 * ["cuEventElapsedTime"],
        ]  # fmt: skip


def test_nothing_grows_with_the_runs(opener: Opener) -> None:
    with opener() as engine:
        judge(engine, IMAGES[0])
        tracemalloc.start()
        try:
            for _ in range(50):
                engine.run()
            ours = tracemalloc.take_snapshot().filter_traces([tracemalloc.Filter(True, "*/edge_resad/engine/*")])
        finally:
            tracemalloc.stop()
    assert sum(trace.size for trace in ours.traces) < 1000


def test_mapped_memory_saves_the_copies(opener: Opener, gpu: FakeDriver) -> None:
    with opener(io_memory="mapped") as engine:
        load(engine)
        judge(engine, IMAGES[0])
        before = gpu.counts
        judge(engine, IMAGES[1])
        assert not (gpu.counts - before).keys() & {"cuMemcpyHtoDAsync", "cuMemcpyDtoHAsync"}
        assert engine.io_memory == "mapped"


@pytest.mark.parametrize(("copy_us", "mapped_us", "chosen"), [(400, 100, "mapped"), (100, 900, "device")])
def test_where_the_gpu_shares_the_hosts_memory_auto_takes_the_quicker(
    opener: Opener, gpu: FakeDriver, trt: Any, copy_us: float, mapped_us: float, chosen: str
) -> None:
    gpu.be_integrated(copy_us)
    trt._behaviour.mapped_us = mapped_us
    with opener() as engine:
        assert engine.io_memory == chosen
        load(engine)
        np.testing.assert_allclose(judge(engine, IMAGES[0])[0], small_map(IMAGES[0], BANK, 2.0), rtol=1e-5)


def test_a_gpu_with_memory_of_its_own_gets_copies(opener: Opener) -> None:
    with opener() as engine:
        assert engine.io_memory == "device"


def test_a_bank_is_uploaded_once(opener: Opener, gpu: FakeDriver) -> None:
    with opener() as engine:
        judge(engine, IMAGES[0])
        load(engine)
        before = gpu.counts["cuMemcpyHtoDAsync"]
        judge(engine, IMAGES[0])
        assert gpu.counts["cuMemcpyHtoDAsync"] - before == 3  # bank, level_norm, image
        judge(engine, IMAGES[1])
        assert gpu.counts["cuMemcpyHtoDAsync"] - before == 4


def constants(bank: np.ndarray[Any, Any], norm: float = 2.0) -> Constants:
    return Constants({"bank_0": bank, "level_norm": np.full((1, 2), norm, np.float32)})


def test_banks_take_turns(either: Opener) -> None:
    banks = {norm: constants(bank, norm) for norm, bank in ((2.0, BANK), (3.0, OTHER), (4.0, BANK[::-1].copy()))}
    with either() as engine:
        for norm in (2.0, 3.0, 4.0, 3.0, 2.0):
            engine.put(banks[norm])
            expected = small_map(IMAGES[0], banks[norm].by_input["bank_0"], norm)
            np.testing.assert_allclose(judge(engine, IMAGES[0])[0], expected, rtol=1e-5)


def test_a_bank_that_is_in_use_takes_the_way_to_the_gpu_once(opener: Opener, gpu: FakeDriver) -> None:
    banks = [constants(BANK), constants(OTHER), constants(BANK, 3.0)]
    with opener() as engine:
        for one in banks:
            engine.put(one)
        before = gpu.counts
        for one in (*banks, *banks):
            engine.put(one)
            judge(engine, IMAGES[0])
        called = gpu.counts - before
    assert (called["cuMemcpyHtoDAsync"], called["cuMemcpyDtoDAsync"], called["cuMemAlloc"]) == (6, 6, 0)  # 6 images


def test_room_of_banks_that_nobody_has_any_more_is_used_again(opener: Opener, gpu: FakeDriver) -> None:
    with opener() as engine:
        before = gpu.counts["cuMemAlloc"]
        for turn in range(10):
            one = constants(BANK, 1.0 + turn)
            engine.put(one)
            np.testing.assert_allclose(judge(engine, IMAGES[0])[0], small_map(IMAGES[0], BANK, 1.0 + turn), rtol=1e-5)
        assert gpu.counts["cuMemAlloc"] == before


def test_of_too_many_banks_the_one_used_longest_ago_goes_the_way_again(opener: Opener, gpu: FakeDriver) -> None:
    banks = [constants(BANK, 1.0 + number) for number in range(MOST + 1)]
    with opener() as engine:
        before = gpu.counts
        for one in banks:
            engine.put(one)
        assert (gpu.counts - before)["cuMemAlloc"] == MOST - SPARE
        before = gpu.counts
        engine.put(banks[-1])
        assert not gpu.counts - before
        engine.put(banks[0])
        assert (gpu.counts - before)["cuMemcpyHtoDAsync"] == 1
        np.testing.assert_allclose(judge(engine, IMAGES[0])[0], small_map(IMAGES[0], BANK, 1.0), rtol=1e-5)


def test_a_bank_that_the_gpu_did_not_take_is_put_once_more(opener: Opener, gpu: FakeDriver) -> None:
    one = constants(BANK)
    with opener() as engine:
        gpu.fail("cuMemcpyHtoDAsync")
        with pytest.raises(EngineError, match=r"the GPU failed .*cuMemcpyHtoDAsync failed"):
            engine.put(one)
        engine.put(one)
        np.testing.assert_allclose(judge(engine, IMAGES[0])[0], small_map(IMAGES[0], BANK, 2.0), rtol=1e-5)


def test_a_bank_whose_copy_at_the_gpu_failed_is_copied_by_the_next_run(opener: Opener, gpu: FakeDriver) -> None:
    one = constants(BANK)
    with opener() as engine:
        engine.put(one)
        gpu.fail("cuMemcpyDtoDAsync")
        with pytest.raises(EngineError, match=r"the GPU failed .*cuMemcpyDtoDAsync failed"):
            engine.run()
        np.testing.assert_allclose(judge(engine, IMAGES[0])[0], small_map(IMAGES[0], BANK, 2.0), rtol=1e-5)


def test_a_new_bank_holds_from_the_next_run_on(either: Opener) -> None:
    with either() as engine:
        load(engine)
        judge(engine, IMAGES[0])
        load(engine, OTHER, 3.0)
        np.testing.assert_allclose(judge(engine, IMAGES[0])[0], small_map(IMAGES[0], OTHER, 3.0), rtol=1e-5)


def test_a_bank_whose_upload_failed_is_uploaded_by_the_next_run(opener: Opener, gpu: FakeDriver) -> None:
    with opener() as engine:
        load(engine)
        gpu.fail("cuMemcpyHtoDAsync", nth=2)
        with pytest.raises(EngineError, match=r"the GPU failed .*cuMemcpyHtoDAsync failed: it was told to fail"):
            engine.run()
        np.testing.assert_allclose(judge(engine, IMAGES[0])[0], small_map(IMAGES[0], BANK, 2.0), rtol=1e-5)


def test_a_bank_cannot_be_written_past_the_engine(either: Opener) -> None:
    with either() as engine, pytest.raises(ValueError, match="read-only"):
        engine.inputs["bank_0"][0] = 1


def test_what_was_never_written_is_zero(either: Opener) -> None:
    with either() as engine:
        assert not judge(engine, IMAGES[0])[0].any()


def test_the_stages_are_timed_by_the_gpu(opener: Opener) -> None:
    with opener() as engine:
        load(engine)
        engine.run()
        engine.run()
        assert engine.timings == pytest.approx({"copy_in_ms": 0.01, "compute_ms": 1.0, "copy_out_ms": 0.01}, rel=0.01)


def test_a_run_is_one_launch_of_a_graph_that_was_captured_after_warming_up(opener: Opener, trt: Any) -> None:
    with opener() as engine:
        enqueued = trt._behaviour.calls.count("IExecutionContext.execute_async_v3")
        engine.run()
        assert engine.captured
        assert enqueued > 3
        assert trt._behaviour.calls.count("IExecutionContext.execute_async_v3") == enqueued


@pytest.mark.parametrize("name", ["cuStreamBeginCapture", "cuStreamEndCapture", "cuGraphInstantiateWithFlags"])
def test_without_a_graph_it_runs_all_the_same_and_says_why(
    opener: Opener, gpu: FakeDriver, name: str, caplog: pytest.LogCaptureFixture
) -> None:
    gpu.fail(name)
    with opener() as engine:
        assert not engine.captured
        load(engine)
        np.testing.assert_allclose(judge(engine, IMAGES[0])[0], small_map(IMAGES[0], BANK, 2.0), rtol=1e-5)
    said = [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]
    assert len(said) == 1
    assert "detector.fp32.plan runs without a CUDA graph" in said[0]
    assert f"{name}" in said[0]


def test_whichever_call_of_the_driver_fails_everything_is_given_back(opener: Opener, gpu: FakeDriver, trt: Any) -> None:
    gpu.fail_call(0)
    lifecycle(opener, io_memory="mapped")
    survived = 0
    for number in range(1, gpu.calls + 1):
        gpu.fail_call(number)
        try:
            lifecycle(opener, io_memory="mapped")
            survived += 1
        except EngineError:
            pass
        gpu.fail_call(0)
        assert (gpu.live, gpu.stack, gpu.problems) == (0, 0, []), f"after call {number} failed"
        assert +trt._alive == {}, f"after call {number} failed"
    assert survived <= 5  # those that capture, and the last wait


TALL, FLOAT = (INPUTS[0].model_copy(update=update) for update in ({"shape": (9, 8, 3)}, {"dtype": "float32"}))
QUESTIONS = ("name", "mode", "dtype", "shape", "location", "format")
METHODS = {
    "Runtime.deserialize_cuda_engine": (None, "it does not load the plan"),
    "ICudaEngine.create_execution_context": (None, "it makes no execution context, most often for want of memory"),
    "IExecutionContext.set_tensor_address": (False, "it does not take an address for bank_0"),
    "IExecutionContext.execute_async_v3": (False, "it does not run"),
}


@pytest.mark.parametrize(("method", "answer"), METHODS.items())
def test_an_answer_of_none_or_false_is_a_sentence(opener: Opener, trt: Any, method: str, answer: Any) -> None:
    trt._behaviour.fails = (method, answer[0])
    with pytest.raises(EngineError, match=rf"TensorRT does not run the engine .*plan: {answer[1]}.*--force"):
        opener().__enter__()


@pytest.mark.parametrize(
    "method",
    [
        *METHODS,
        *(f"ICudaEngine.get_tensor_{what}" for what in QUESTIONS),
    ],
)
def test_an_exception_of_tensorrt_is_a_sentence_and_leaves_nothing_behind(
    opener: Opener, trt: Any, method: str
) -> None:
    trt._behaviour.fails = (method, RuntimeError("from inside"))
    with pytest.raises(
        EngineError, match=r"TensorRT does not run the engine .*it raises RuntimeError: from inside\. Bu"
    ):
        opener().__enter__()


def test_a_run_that_tensorrt_refuses_is_a_sentence_and_the_next_one_may_go_well(
    opener: Opener, gpu: FakeDriver, trt: Any
) -> None:
    gpu.fail("cuStreamBeginCapture")  # without a graph every run asks TensorRT
    with opener() as engine:
        trt._behaviour.fails = ("IExecutionContext.execute_async_v3", False)
        with pytest.raises(EngineError, match="it does not run"):
            engine.run()
        trt._behaviour.fails = None
        load(engine)
        np.testing.assert_allclose(judge(engine, IMAGES[0])[0], small_map(IMAGES[0], BANK, 2.0), rtol=1e-5)


def test_a_plan_that_is_none_does_not_load(either: Opener, tmp_path: Path) -> None:
    for file in tmp_path.glob("*.plan"):
        file.write_bytes(b"from another version")
    with pytest.raises(EngineError, match=r"TensorRT does not run the engine .*Build it again: edge-resad build"):
        either().__enter__()


def test_it_opens_after_it_did_not_open(either: Opener) -> None:
    with pytest.raises(EngineError):
        either(inputs=INPUTS[:2]).__enter__()
    lifecycle(either)


def test_a_run_is_captured_and_timed(either: Opener) -> None:
    with either() as engine:
        load(engine)
        engine.run()
        assert engine.captured
        assert all(0 <= took < 1000 for took in engine.timings.values())
        assert engine.timings["compute_ms"] > 0


def test_a_plan_that_does_not_load_says_what_tensorrt_says(opener: Opener, plan: Path) -> None:
    plan.write_bytes(b"from another version")
    with pytest.raises(EngineError, match=r"magicTagRead == kMAGIC_TAG failed\. Build it again: edge-resad build"):
        opener().__enter__()


def test_a_plan_that_is_not_there_is_a_sentence(opener: Opener, plan: Path) -> None:
    plan.unlink()
    with pytest.raises(EngineError, match="cannot be read"):
        opener().__enter__()


@pytest.mark.parametrize(
    ("inputs", "outputs", "said"),
    [
        (INPUTS[:2], OUTPUTS, "level_norm: .* instead of None"),
        (INPUTS, OUTPUTS[:1], "score: .* instead of None"),
        ((TALL, *INPUTS[1:]), OUTPUTS, r"image: .*\(8, 8, 3\).*\(9, 8, 3\)"),
        ((FLOAT, *INPUTS[1:]), OUTPUTS, "image: .*uint8.*float32"),
        ((*INPUTS[:2], OUTPUTS[1]), (INPUTS[2], OUTPUTS[0]), "'output'.*instead of .*'input'"),
    ],
)  # fmt: skip
def test_tensors_that_are_not_the_bundles_are_refused(
    opener: Opener, inputs: tuple[TensorSpec, ...], outputs: tuple[TensorSpec, ...], said: str
) -> None:
    with pytest.raises(EngineError, match=rf"its tensors are not those of the bundle: .*{said}"):
        opener(inputs=inputs, outputs=outputs).__enter__()


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (lambda output: output * np.float32("nan"), "its map holds values that are no numbers"),
        (lambda output: output * 0, "its map is zero throughout"),
    ],
)
def test_an_engine_that_computes_nonsense_is_broken(opener: Opener, trt: Any, spoil: Any, said: str) -> None:
    trt._behaviour.spoil = spoil
    with pytest.raises(EngineError, match=rf"is broken: {said}\. Build it again: edge-resad build --force"):
        opener().__enter__()


def test_an_engine_that_sees_no_image_is_broken(opener: Opener, trt: Any) -> None:
    trt._behaviour.blind = True
    with pytest.raises(EngineError, match="is broken: it gives the same for every image"):
        opener().__enter__()


def golden() -> Golden:
    norm = np.ones((1, 2), np.float32)
    found = small_map(IMAGES[0], BANK, 1.0)
    return Golden(
        inputs={"image": IMAGES[0], "bank_0": BANK, "level_norm": norm},
        outputs={"map": found, "score": np.asarray(found.max())},
    )


def test_an_engine_that_gives_what_is_known_opens(either: Opener) -> None:
    with either(golden=golden()) as engine:
        assert not engine.inputs["image"].any()
        assert not engine.inputs["bank_0"].any()
        assert not judge(engine, IMAGES[0])[0].any()  # nothing of the test's bank is left


def test_an_engine_that_gives_something_else_is_broken(either: Opener) -> None:
    known = golden()
    off = replace(known, outputs={**known.outputs, "score": known.outputs["score"] * np.float32(1.1)})
    with pytest.raises(EngineError, match=r"is broken: its score is off by 9\.1% .* at most 2% is allowed"):
        either(golden=off).__enter__()


def test_another_thread_may_not_run_it(either: Opener) -> None:
    failed: list[BaseException] = []
    with either() as engine:

        def elsewhere() -> None:
            try:
                engine.run()
            except RuntimeError as error:
                failed.append(error)

        thread = threading.Thread(target=elsewhere)
        thread.start()
        thread.join(60)
    assert "the thread that entered it" in str(failed[0])


def test_its_buffers_are_gone_when_it_is_closed(either: Opener) -> None:
    with either() as engine:
        pass
    assert (dict(engine.inputs), dict(engine.outputs)) == ({}, {})
