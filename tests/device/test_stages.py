"""Stage times over all parts: counted apart, summed up in one line, and none before the first part."""

from __future__ import annotations

import pytest

from edge_resad.device.pipeline import Latency
from edge_resad.device.stages import Stages, StageTimes, said

TIMINGS = {"resize_ms": 1.0, "engine_ms": 8.0, "decide_ms": 0.5}


def counted(*waits_ms: float) -> Stages:
    stages = Stages()
    for waiting_ms in waits_ms:
        stages.count(Latency(waiting_ms=waiting_ms, inspecting_ms=10.0), TIMINGS, signal_ms=0.05, outputs_ms=0.25)
    return stages


def test_before_the_first_part_there_are_no_times() -> None:
    assert Stages().times() == {}
    assert said(Stages().times()) == ""


def test_every_stage_of_a_part_is_counted_in_the_order_of_its_way() -> None:
    times = counted(0.5).times()
    assert list(times) == ["waiting", "resize", "engine", "decide", "outputs", "signal", "total"]
    assert times["engine"].max == pytest.approx(8.0)
    assert times["total"].p50 == pytest.approx(0.5 + 10.0 + 0.25)
    assert times["signal"].p50 == pytest.approx(0.5 + 10.0 + 0.05)


def test_the_tail_is_seen_and_the_median_is_not_moved_by_it() -> None:
    waiting = counted(*[1.0] * 97, 5.0, 5.0, 50.0).times()["waiting"]
    assert waiting.p50 == waiting.p95 == pytest.approx(1.0, rel=0.01)
    assert waiting.p99 == pytest.approx(5.0, rel=0.01)
    assert waiting.max == pytest.approx(50.0)


def test_an_inspector_with_a_stage_of_its_own_has_it_counted() -> None:
    stages = Stages()
    stages.count(
        Latency(waiting_ms=1.0, inspecting_ms=10.0), {"align_ms": 2.0, **TIMINGS}, signal_ms=0.05, outputs_ms=0.25
    )
    assert stages.times()["align"].p50 == pytest.approx(2.0)
    assert list(stages.times())[:3] == ["waiting", "align", "resize"]


def test_stages_within_the_engine_stand_behind_it() -> None:
    stages = Stages()
    inside = {"resize_ms": 1.0, "engine_ms": 8.0, "copy_in_ms": 0.5, "compute_ms": 7.0, "decide_ms": 0.5}
    stages.count(Latency(waiting_ms=1.0, inspecting_ms=10.0), inside, signal_ms=0.05, outputs_ms=0.25)
    order = ["waiting", "resize", "engine", "copy_in", "compute", "decide", "outputs", "signal", "total"]
    assert list(stages.times()) == order


def test_a_judge_without_timings_leaves_its_stages_out() -> None:
    stages = Stages()
    stages.count(Latency(waiting_ms=1.0, inspecting_ms=10.0), {}, signal_ms=0.05, outputs_ms=0.25)
    assert list(stages.times()) == ["waiting", "outputs", "signal", "total"]


def test_after_a_warm_up_all_begins_anew() -> None:
    stages = counted(100.0)
    stages.clear()
    assert stages.times() == {}
    stages.count(Latency(waiting_ms=1.0, inspecting_ms=10.0), TIMINGS, signal_ms=0.05, outputs_ms=0.25)
    assert stages.times()["waiting"].max == pytest.approx(1.0)


def test_the_last_part_can_be_looked_at() -> None:
    assert counted(1.0, 3.0).last_ms["waiting"] == 3.0


def test_the_stages_are_one_line() -> None:
    times = {
        "waiting": StageTimes(p50=0.1, p95=0.204, p99=0.3, max=1.0),
        "engine": StageTimes(p50=12.04, p95=13.0, p99=15.0, max=120.0),
    }
    assert said(times) == "waiting 0.10 0.20 0.30 1.00, engine 12.0 13.0 15.0 120.0"
