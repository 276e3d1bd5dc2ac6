"""An engine that fails part after part is opened again, with pauses, and no part is passed meanwhile."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack

import numpy as np
import pytest

from edge_resad.device.pipeline import Alarm, Inspection, Judge, Line
from edge_resad.device.revival import PATIENCE, STARTS, Revival, is_out_of_memory
from edge_resad.errors import EngineError
from tests.fakes import FakeClock, FakeJudge, frame

GOOD, BREAKS = 10, 255


class Engines:
    """Opens judges, as often as its list of errors lets it."""

    def __init__(self, *errors: Exception | None) -> None:
        self.opened = self.closed = 0
        self._errors = list(errors)

    def __call__(self, stack: ExitStack) -> Sequence[Judge]:
        error = self._errors.pop(0) if self._errors else None
        if error is not None:
            raise error
        self.opened += 1
        stack.callback(self._close)
        return [FakeJudge(), FakeJudge()]

    def _close(self) -> None:
        self.closed += 1


class Station:
    """One camera's line with a revival behind it."""

    def __init__(self, revival: Revival, clock: FakeClock) -> None:
        self.revival = revival
        self.clock = clock
        self.line = Line(revival.judges[0], Alarm(1, 1), clock=clock)

    def part(self, brightness: int, camera: str = "cam0") -> str | None:
        found = self.line.step(frame(brightness=brightness, captured_mono=self.clock.now))
        seen = Inspection(
            frame=found.frame, verdict=found.verdict, not_inspected=found.not_inspected, latency=found.latency,
            camera=camera,
        )  # fmt: skip
        if self.revival.step(seen):
            self.line.put(self.revival.judges[0])
        return found.not_inspected


def never(seconds: float) -> bool:
    raise AssertionError(f"nobody should wait for {seconds} s")


def test_an_engine_that_fails_again_and_again_is_opened_anew_and_judges(caplog: pytest.LogCaptureFixture) -> None:
    clock, engines = FakeClock(), Engines()
    with Revival(engines, wait=never, clock=clock) as revival:
        station = Station(revival, clock)
        assert [station.part(BREAKS) for _ in range(PATIENCE)] == ["inspector_error"] * PATIENCE
        assert (engines.opened, engines.closed, revival.revivals) == (2, 1, 1)
        assert station.part(GOOD) is None
    assert engines.closed == 2
    assert "failed on 5 parts in a row" in caplog.text


def test_failures_with_good_parts_between_them_are_no_reason() -> None:
    clock, engines = FakeClock(), Engines()
    with Revival(engines, wait=never, clock=clock) as revival:
        station = Station(revival, clock)
        for _ in range(3):
            for _ in range(PATIENCE - 1):
                station.part(BREAKS)
            station.part(GOOD)
        assert engines.opened == 1


def test_a_camera_that_fails_is_seen_beside_one_that_does_not() -> None:
    clock, engines = FakeClock(), Engines()
    with Revival(engines, wait=never, clock=clock) as revival:
        station = Station(revival, clock)
        for _ in range(PATIENCE):
            station.part(GOOD, "cam1")
            station.part(BREAKS, "cam0")
        assert engines.opened == 2


def test_an_engine_that_cannot_be_opened_is_tried_with_growing_pauses_while_parts_are_not_inspected() -> None:
    clock, refused = FakeClock(), EngineError("the GPU is gone")
    engines = Engines(None, *[refused] * 4)
    with Revival(engines, wait=never, clock=clock) as revival:
        station = Station(revival, clock)
        for _ in range(PATIENCE):
            station.part(BREAKS)
        tried_at, tries = [clock.now], revival.revivals
        while engines.opened == 1:
            clock.now += 0.25
            assert station.part(GOOD) == "inspector_error"
            if revival.revivals > tries:
                tried_at, tries = [*tried_at, clock.now], revival.revivals
        assert station.part(GOOD) is None
    pauses = np.diff(tried_at)
    assert len(pauses) == 4
    assert pauses[0] <= 1.25
    assert pauses[-1] >= 4.0


def test_an_engine_that_fails_at_once_after_each_revival_is_not_opened_without_end() -> None:
    clock, engines = FakeClock(), Engines()
    with Revival(engines, wait=never, clock=clock) as revival:
        station = Station(revival, clock)
        for _ in range(1200):  # a minute of 20 parts a second
            clock.now += 0.05
            station.part(BREAKS)
        assert 3 <= revival.revivals <= 9


def test_a_start_without_memory_is_said_and_tried_again(caplog: pytest.LogCaptureFixture) -> None:
    waited = list[float]()
    engines = Engines(MemoryError(), EngineError("CUDA error: out of memory"))

    def wait(seconds: float) -> bool:
        waited.append(seconds)
        return False

    with Revival(engines, wait=wait, clock=FakeClock()) as revival:
        assert len(revival.judges) == 2
    assert len(waited) == 2
    assert caplog.text.count("the engine finds no memory") == 2


def test_a_start_without_memory_ends_in_one_sentence(caplog: pytest.LogCaptureFixture) -> None:
    engines = Engines(*[MemoryError()] * STARTS)
    with pytest.raises(EngineError, match="Stop what else runs here"), Revival(engines, wait=lambda _: False):
        pass
    with pytest.raises(EngineError, match="no memory"), Revival(Engines(MemoryError()), wait=lambda _: True):
        pass


def test_any_other_error_at_the_start_is_the_operators() -> None:
    engines = Engines(EngineError("no such engine"))
    with pytest.raises(EngineError, match="no such engine"), Revival(engines, wait=never):
        pass


def test_out_of_memory_is_known_by_what_libraries_say() -> None:
    error = EngineError("the engine cannot be opened")
    error.__cause__ = RuntimeError("cuMemAlloc failed: out of memory")
    assert is_out_of_memory(error)
    assert not is_out_of_memory(EngineError("the engine is of another TensorRT"))
