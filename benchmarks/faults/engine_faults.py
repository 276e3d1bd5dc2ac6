"""Faults of what computes: it raises, gives nothing, or finds no memory."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from benchmarks.faults.camera_faults import Play
from benchmarks.faults.scene import Outcome, Scene, Stage
from benchmarks.judge_inside import JudgeInside
from edge_resad.bundle import open_bundle
from edge_resad.decision import Verdict
from edge_resad.device.judges import open_inspector
from edge_resad.device.pipeline import Judge
from edge_resad.device.settings import StationFile
from edge_resad.engine.build import build_engines
from edge_resad.errors import EngineError
from tests.engine.fake_gpu.driver import FakeDriver, load_driver
from tests.engine.fake_gpu.pycuda_build import CannotBuild

FAILS_S = 3.0
HANGS_S = 6.0
ASKED = 2  # times that pycuda asks for memory before it gives up
TENSORRT = (
    "from tests.engine.fake_gpu.fake_tensorrt import *\nfrom tests.engine.fake_gpu.fake_tensorrt import __version__"
)


class Engine:
    """The station's own inspector, which fails when it is told to."""

    def __init__(self) -> None:
        self.fails_until = 0.0  # monotonic seconds
        self.fails_once = False
        self.hangs_until = 0.0
        self.opened = 0

    @contextmanager
    def open(self, settings: StationFile) -> Iterator[Judge]:
        """Another inspector."""
        with open_inspector(settings) as judge:
            self.opened += 1
            yield FailingJudge(self, judge)


class FailingJudge(JudgeInside):
    """One opening of it."""

    def __init__(self, engine: Engine, judge: Judge) -> None:
        super().__init__(judge)
        self._engine = engine

    def inspect(self, frame: NDArray[np.uint8], /) -> Verdict:
        """Judge, or fail."""
        engine = self._engine
        time.sleep(max(0.0, engine.hangs_until - time.monotonic()))
        if engine.fails_once or time.monotonic() < engine.fails_until:
            engine.fails_once = False
            raise EngineError("the GPU failed at the engine detector.plan: cuLaunchKernel failed: unknown error.")
        return super().inspect(frame)


def raises_once(stage: Stage) -> Outcome:
    """One part on which it fails."""
    engine = Engine()
    with Scene(stage, "engine-once", open_judge=engine.open) as scene:
        scene.until_judged()
        engine.fails_once = True
        scene.begin()
        scene.until(lambda: not engine.fails_once)
        scene.end()
        return scene.outcome("engine raises once", recovered_s=scene.until_recovered())


def raises_for_a_while(stage: Stage) -> Outcome:
    """Every part, whoever opens it again."""
    engine = Engine()
    with Scene(stage, "engine-always", open_judge=engine.open) as scene:
        scene.until_judged()
        engine.fails_until = time.monotonic() + FAILS_S
        scene.begin()
        scene.last_for(FAILS_S)
        scene.end()
        recovered_s = scene.until_recovered()
        happened = f"the engine is opened again, {engine.opened - 1} times"
        return scene.outcome("engine raises for 3 s", recovered_s=recovered_s, happened=happened)


def hangs(stage: Stage) -> Outcome:
    """A part on which it hangs for a while, as a GPU does that is reset."""
    engine = Engine()
    with Scene(stage, "engine-hangs", open_judge=engine.open) as scene:
        scene.until_judged()
        engine.hangs_until = time.monotonic() + HANGS_S
        scene.begin()
        scene.last_for(HANGS_S)
        scene.end()
        return scene.outcome(f"engine hangs for {HANGS_S:.0f} s", recovered_s=scene.until_recovered())


def finds_no_memory(stage: Stage) -> Outcome:
    """Two starts for which the GPU has none: the product's own TensorRT engine on a fake GPU."""
    fault = "no GPU memory at the first two starts (fake GPU)"
    with _fake_gpu(stage) as gpu:
        if isinstance(gpu, CannotBuild):
            return Outcome(fault=fault, skipped=str(gpu))
        gpu.fail("cuMemAlloc", times=2 * ASKED)
        with Scene(replace(stage, bank=stage.fp32_bank), "engine-memory", sections=_engines(stage)) as scene:
            scene.begin()
            scene.until(lambda: gpu.counts["cuMemAlloc"] > 2 * ASKED)
            scene.end()
            return scene.outcome(fault, recovered_s=scene.until_recovered())


def launches_nothing(stage: Stage) -> Outcome:
    """The GPU's driver takes no CUDA graph for a while: the product's own TensorRT engine on a fake GPU."""
    fault = "GPU launches nothing for 3 s (fake GPU)"
    with _fake_gpu(stage) as gpu:
        if isinstance(gpu, CannotBuild):
            return Outcome(fault=fault, skipped=str(gpu))
        with Scene(replace(stage, bank=stage.fp32_bank), "engine-launch", sections=_engines(stage)) as scene:
            scene.until_judged()
            gpu.fail("cuGraphLaunch", times=0)
            scene.begin()
            scene.last_for(FAILS_S)
            gpu.heal()
            scene.end()
            recovered_s = scene.until_recovered()
            return scene.outcome(fault, recovered_s=recovered_s, words=("not inspected",))


def tensorrt_gives_false(stage: Stage) -> Outcome:
    """TensorRT refuses to run the engine for a while: the product's own TensorRT engine on a fake GPU."""
    fault = "TensorRT returns False for 3 s (fake GPU)"
    with _fake_gpu(stage) as gpu:
        if isinstance(gpu, CannotBuild):
            return Outcome(fault=fault, skipped=str(gpu))
        from tests.engine.fake_gpu import fake_tensorrt

        behaviour = fake_tensorrt._behaviour
        gpu.fail("cuStreamBeginCapture")  # without a CUDA graph every run asks TensorRT
        with Scene(replace(stage, bank=stage.fp32_bank), "engine-tensorrt", sections=_engines(stage)) as scene:
            scene.until_judged()
            behaviour.fails = ("IExecutionContext.execute_async_v3", False)
            scene.begin()
            scene.last_for(FAILS_S)
            behaviour.fails = None
            scene.end()
            recovered_s = scene.until_recovered()
            return scene.outcome(fault, recovered_s=recovered_s, words=("not inspected",))


def _engines(stage: Stage) -> dict[str, dict[str, object]]:
    return {"engine": {"provider": "tensorrt", "engines": str(stage.folder / "engines")}}


@contextmanager
def _fake_gpu(stage: Stage) -> Iterator[FakeDriver | CannotBuild]:
    """A GPU with engines of the package's detector, or why there is none."""
    try:
        gpu = load_driver()
    except CannotBuild as reason:
        yield reason
        return
    from tests.engine.fake_gpu import fake_tensorrt

    with _in_place_of_jetpack(stage, gpu):
        fake_tensorrt._behaviour.reset()
        gpu.reset()
        build_engines(open_bundle(), "fp32", stage.folder / "engines")
        yield gpu


@contextmanager
def _in_place_of_jetpack(stage: Stage, gpu: FakeDriver) -> Iterator[None]:
    """Whoever imports tensorrt and pycuda gets the fakes, in this process and in its children."""
    import os

    from tests.engine.fake_gpu import fake_tensorrt

    path = stage.folder / "path"
    path.mkdir(exist_ok=True)
    (path / "tensorrt.py").write_text(TENSORRT)
    before, environment = dict(sys.modules), os.environ.get("PYTHONPATH")
    sys.modules.update({**gpu.modules, "tensorrt": fake_tensorrt})
    os.environ["PYTHONPATH"] = str(path)
    try:
        yield
    finally:
        for name in (*gpu.modules, "tensorrt"):
            sys.modules.pop(name, None)
            if name in before:
                sys.modules[name] = before[name]
        if environment is None:
            del os.environ["PYTHONPATH"]
        else:
            os.environ["PYTHONPATH"] = environment


ENGINE_FAULTS: dict[str, Play] = {
    "engine-once": raises_once,
    "engine-always": raises_for_a_while,
    "engine-hangs": hangs,
    "engine-memory": finds_no_memory,
    "engine-launch": launches_nothing,
    "engine-tensorrt": tensorrt_gives_false,
}
