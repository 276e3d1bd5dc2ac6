"""A station on TensorRT's engines: warm while nothing comes, its stages those of the GPU, and a GPU that fails."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Literal

import pytest

from edge_resad.bank import save_bank
from edge_resad.device.frame import Clock, Frame
from edge_resad.device.pipeline import Inspection
from edge_resad.device.settings import StationFile
from edge_resad.device.station import run_station
from edge_resad.device.summary import StationSummary
from edge_resad.engine.tensorrt import TensorRTEngine
from tests.device.test_station import settings
from tests.engine.fake_gpu.driver import FakeDriver
from tests.fakes import FakeCamera
from tests.products import bank_of, part

Then = Literal["next", "wait", "end"]
SOON_S = 60.0  # much longer than anything here takes

pytestmark = pytest.mark.usefixtures("engines")


class Line(FakeCamera):
    """Shows a part when it may, until it is stopped."""

    def __init__(self, stop: threading.Event) -> None:
        super().__init__([])
        self.may_show = threading.Semaphore(1)
        self._stop = stop

    def read(self) -> Frame | None:
        assert self.may_show.acquire(timeout=SOON_S)
        if self._stop.is_set():
            return None
        clock, taken = Clock(), self._taken
        self._taken += 1
        return Frame(
            image=part("flange", 50), frame_id=taken, captured_mono=clock.monotonic(), captured_wall=clock.wall()
        )


class Station:
    """A station on the engines, which shows its parts to a test one after the other."""

    def __init__(self, folder: Path) -> None:
        self.seen: list[Inspection] = []
        self.line = Line(stop := threading.Event())
        self._stop = stop
        save_bank(bank_of("flange"), folder / "bank.npz")
        self._told = settings(
            folder,
            inspection={"bank": str(folder / "bank.npz")},
            engine={"provider": "tensorrt"},
            metrics={"prometheus_file": str(folder / "station.prom")},
            watch={"frozen_s": 0.0},
        )

    def run(self, then: Callable[[], Then]) -> StationSummary:
        """then: asked after each part."""

        def on_inspection(inspection: Inspection) -> None:
            self.seen.append(inspection)
            what = then()
            if what == "end":
                self._stop.set()
            if what != "wait":
                self.line.may_show.release()

        def open_line(_told: StationFile, _halt: threading.Event) -> Line:
            return self.line

        return run_station(self._told, stop=self._stop, open_source=open_line, on_inspection=on_inspection)

    @property
    def fates(self) -> list[str]:
        """What became of each part."""
        return [one.not_inspected or (one.verdict.status if one.verdict else "") for one in self.seen]


@pytest.fixture
def station(tmp_path: Path) -> Station:
    return Station(tmp_path)


def test_what_the_gpus_clock_says_is_in_summary_and_metrics(station: Station, tmp_path: Path) -> None:
    summary = station.run(lambda: "end" if len(station.seen) == 3 else "next")
    assert summary.passed == 3
    stages = ["resize", "engine", "copy_in", "compute", "copy_out", "decide"]
    assert list(summary.stages)[1:-2] == stages
    assert ", compute " in str(summary)
    metrics = (tmp_path / "station.prom").read_text(encoding="utf-8")
    counts = [line for line in metrics.splitlines() if line.startswith("edge_resad_stage_seconds_count")]
    assert [
        stage for stage in stages if not any(f'stage="{stage}"' in line and line.endswith(" 3") for line in counts)
    ] == []


def test_while_no_part_comes_the_gpu_is_kept_warm_and_no_verdict_changes(
    station: Station, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, idle = TensorRTEngine.run, list[int]()

    def counted(engine: TensorRTEngine) -> None:
        run(engine)
        if len(station.seen) == 1:  # and the next part is not shown before the third time
            idle.append(1)
            if len(idle) == 3:
                station.line.may_show.release()

    monkeypatch.setattr(TensorRTEngine, "run", counted)
    summary = station.run(lambda: "wait" if len(station.seen) == 1 else "end")
    assert len(idle) >= 3
    assert summary.passed == 2
    first, second = (one.verdict for one in station.seen)
    assert first == second


def test_a_gpu_that_launches_nothing_costs_parts_until_it_does(
    station: Station, card: FakeDriver | None, caplog: pytest.LogCaptureFixture
) -> None:
    if card is None:
        pytest.skip("a real GPU does not fail when it is told to")
    caplog.set_level(logging.INFO)
    refused = 0

    def then() -> Then:
        nonlocal refused
        refused += station.fates[-1] == "inspector_error"
        if len(station.seen) == 1:
            card.fail("cuGraphLaunch", times=0)
        if refused == 6:  # it was opened again by then, and that failed too
            card.heal()
        return "end" if refused and station.fates[-1] == "pass" else "next"

    summary = station.run(then)
    assert station.fates[0] == station.fates[-1] == "pass"
    assert set(station.fates[1:-1]) == {"inspector_error"}
    assert summary.failed == 0
    said = [record.getMessage() for record in caplog.records]
    assert any("the engine cannot be opened (the GPU failed at the engine" in line for line in said)
    assert "the engine is open again" in said


def test_a_gpu_without_memory_is_waited_for(
    station: Station, card: FakeDriver | None, caplog: pytest.LogCaptureFixture
) -> None:
    if card is None:
        pytest.skip("a real GPU does not fail when it is told to")
    card.fail("cuMemAlloc", times=2)  # pycuda collects garbage and asks once more
    summary = station.run(lambda: "end")
    assert summary.passed == 1
    said = [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]
    assert any("the engine finds no memory" in line and "tried again after 1 s" in line for line in said)
