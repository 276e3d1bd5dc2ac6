"""pycuda behind our interface: what is opened is given back in order, whatever fails on the way."""

from __future__ import annotations

import sys
import threading
from contextlib import ExitStack

import numpy as np
import pytest

from edge_resad.engine.cuda import Cuda
from edge_resad.engine.libcuda import CudaFailure, Libcuda
from edge_resad.errors import EngineError
from tests.engine.fake_gpu.driver import FakeDriver


def lifecycle() -> float:
    """Everything that there is, once; a copy there and back, by a graph and without."""
    with ExitStack() as opening:
        cuda = opening.enter_context(Cuda())
        stream = cuda.stream()
        opening.callback(stream.close)
        start, end = cuda.event(), cuda.event()
        opening.callback(start.close)
        opening.callback(end.close)
        staged, device = cuda.device_buffer(64), cuda.device_buffer(64)
        opening.callback(staged.close)
        opening.callback(device.close)
        there, back = cuda.host_buffer(64), cuda.host_buffer(64, mapped=True)
        opening.callback(there.close)
        opening.callback(back.close)
        there.bytes[:] = np.arange(64)
        opening.callback(stream.synchronize)
        stream.record(start)
        stream.upload(staged.address, there.bytes)
        stream.copy(device.address, staged.address, 64)
        stream.synchronize()
        graph = stream.capture(lambda: stream.download(back.bytes, device.address))
        opening.callback(graph.close)
        opening.callback(stream.synchronize)
        assert not back.bytes.any()
        graph.launch()
        stream.record(end)
        stream.synchronize()
        assert (back.bytes == np.arange(64)).all()
        return end.ms_since(start)


def test_what_is_copied_to_the_gpu_comes_back_and_takes_its_time(card: FakeDriver | None) -> None:
    took_ms = lifecycle()
    assert took_ms > 0
    if card is not None:
        assert took_ms == pytest.approx(0.03)  # three copies of 10 microseconds


@pytest.mark.usefixtures("card")
def test_it_opens_again_and_again() -> None:
    for _ in range(3):
        lifecycle()


def test_whichever_call_fails_everything_is_given_back(gpu: FakeDriver) -> None:
    lifecycle()
    for number in range(1, gpu.calls + 1):
        gpu.fail_call(number)
        with pytest.raises((EngineError, CudaFailure, gpu.modules["pycuda.driver"].Error)):
            lifecycle()
        gpu.fail_call(0)
        assert (gpu.live, gpu.stack, gpu.problems) == (0, 0, []), f"after call {number} failed"


def test_the_context_is_the_primary_one_and_its_thread_keeps_none_afterwards(gpu: FakeDriver) -> None:
    with Cuda(), Cuda():
        assert gpu.stack == 1
    assert gpu.stack == 0
    assert gpu.counts["cuDevicePrimaryCtxRetain"] == gpu.counts["cuDevicePrimaryCtxRelease"] == 2


def test_a_context_that_another_library_made_current_is_current_again(gpu: FakeDriver) -> None:
    driver = gpu.modules["pycuda.driver"]
    driver.init()
    theirs = driver.Device(0).retain_primary_context()
    theirs.push()
    with Cuda() as cuda:
        cuda.device_buffer(8).close()
    assert gpu.stack == 1
    driver.mem_alloc(8).free()
    theirs.pop()
    with Cuda():
        pass
    theirs.detach()
    driver_left = gpu.stack
    gpu.drop_stack()
    assert driver_left == 1  # pycuda's own detach leaves it; ours does not


@pytest.mark.usefixtures("card")
def test_memory_that_the_gpus_kernels_reach_has_an_address_there() -> None:
    with Cuda() as cuda:
        buffer = cuda.host_buffer(64, mapped=True)
        assert buffer.address
        buffer.close()


def test_only_the_expected_context_is_taken_from_the_stack(gpu: FakeDriver) -> None:
    with Cuda():
        Libcuda().pop(1234)
        assert gpu.stack == 1


@pytest.mark.usefixtures("card")
def test_a_stream_is_usable_after_a_capture_that_failed() -> None:
    def forbidden() -> None:
        raise RuntimeError("half-way")

    with Cuda() as cuda, ExitStack() as opening:
        stream = cuda.stream()
        opening.callback(stream.close)
        with pytest.raises(RuntimeError, match="half-way"):
            stream.capture(forbidden)
        stream.synchronize()


@pytest.mark.parametrize("name", ["cuStreamBeginCapture", "cuStreamEndCapture", "cuGraphInstantiateWithFlags"])
def test_a_capture_that_the_driver_refuses_says_which_call(gpu: FakeDriver, name: str) -> None:
    with Cuda() as cuda, ExitStack() as opening:
        stream = cuda.stream()
        opening.callback(stream.close)
        gpu.fail(name)
        with pytest.raises(CudaFailure, match=rf"{name}\w* failed: it was told to fail"):
            stream.capture(lambda: None)


def test_a_gpu_that_does_not_start_is_one_sentence(gpu: FakeDriver) -> None:
    gpu.fail("cuInit")
    with pytest.raises(EngineError, match=r"the GPU does not start \(cuInit failed: it was told to fail\).*provider ="):
        Cuda().__enter__()


def test_a_context_that_cannot_be_made_current_is_given_back(gpu: FakeDriver) -> None:
    gpu.fail("cuCtxPushCurrent")
    with pytest.raises(EngineError, match="cuCtxPushCurrent failed"):
        Cuda().__enter__()
    assert gpu.counts["cuDevicePrimaryCtxRelease"] == 1


def test_without_pycuda_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pycuda", None)
    with pytest.raises(EngineError, match=r"pycuda, which .* does not load here .*pip install 'edge-resad\[jetson\]'"):
        Cuda().__enter__()


@pytest.mark.usefixtures("card")
def test_each_thread_has_its_own_stack_of_contexts() -> None:
    failed: list[BaseException] = []

    def elsewhere() -> None:
        try:
            lifecycle()
        except BaseException as error:
            failed.append(error)

    with Cuda():
        thread = threading.Thread(target=elsewhere)
        thread.start()
        thread.join(60)
    assert failed == []
