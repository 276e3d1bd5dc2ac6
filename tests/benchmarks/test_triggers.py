"""The benchmark of triggers runs whole stations, knows every part that it announced, and shows how long each took."""

from __future__ import annotations

import json
import random
from datetime import date
from itertools import islice

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.in_a_row import in_a_row
from benchmarks.triggers.__main__ import Request, measured
from benchmarks.triggers.moments import InStep, at_random, before_pictures
from benchmarks.triggers.report import figures, gathered, render, sentences, tables
from benchmarks.triggers.station import WARM_UP, Run, on_one_engine
from edge_resad.bank import save_bank
from edge_resad.bench.line import draw_parts
from edge_resad.bundle import open_bundle
from edge_resad.demo import products
from edge_resad.device.histogram import Histogram
from edge_resad.device.pipeline import Latency
from edge_resad.device.settings import StationFile
from edge_resad.engine.enrolment import enrol
from edge_resad.engine.inspector import Inspector
from tests.fakes import FakeClock, FakeStop

FPS = 30.0


def a_run(*latencies: list[Latency | None], fired: int = 0, verdicts: int = 0) -> Run:
    return Run(stages={}, fired=fired, verdicts=verdicts, not_inspected={}, latencies=latencies)


def took(trigger_ms: float) -> Latency:
    return Latency(waiting_ms=1.0, inspecting_ms=10.0, trigger_ms=trigger_ms)


# What is asked of whom


@pytest.mark.parametrize("begins", [100.0, 100.017, 100.03])
def test_cameras_of_one_rate_take_their_pictures_at_the_same_moments_whenever_they_began(begins: float) -> None:
    clock = FakeClock(begins)
    pace = InStep(FPS, FakeStop(clock), clock)
    moments = []
    for _ in range(4):
        assert pace.wait()
        moments.append(clock.now)
    first = np.floor(begins * FPS) + 1
    assert moments == pytest.approx([(first + number) / FPS for number in range(4)])


def test_a_camera_that_was_held_up_leaves_pictures_out_and_is_in_step_again() -> None:
    clock = FakeClock(100.0)
    pace = InStep(FPS, FakeStop(clock), clock)
    assert pace.wait()
    clock.now += 1.01
    assert pace.wait()
    assert clock.now * FPS == pytest.approx(round(clock.now * FPS))
    assert clock.now == pytest.approx(101.0 + 2 / FPS)


def test_a_camera_that_is_told_to_stop_waits_no_more() -> None:
    clock = FakeClock()
    stop = FakeStop(clock)
    stop.set()
    assert not InStep(FPS, stop, clock).wait()


def test_triggers_come_so_long_before_pictures_and_never_two_before_one() -> None:
    moments = list(islice(before_pictures(100.01, 8.0, random.Random(1), fps=FPS, lead_s=0.012), 400))
    pictures = (np.array(moments) + 0.012) * FPS
    assert pictures == pytest.approx(np.round(pictures))
    assert np.diff(np.round(pictures)).min() >= 2
    assert len(moments) / (moments[-1] - 100.01) == pytest.approx(8.0, rel=0.1)


def test_triggers_at_random_are_as_many_as_were_asked_for() -> None:
    moments = list(islice(at_random(100.0, 8.0, random.Random(1)), 4000))
    assert min(np.diff(moments)) > 0
    assert len(moments) / (moments[-1] - 100.0) == pytest.approx(8.0, rel=0.05)


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> StationFile:
    folder = tmp_path_factory.mktemp("bank")
    references = draw_parts(products, "flange", (256, 256)).references
    save_bank(enrol(open_bundle(), references, product="flange", augment="off").bank, folder / "bank.npz")
    return StationFile.model_validate(
        {
            "station": {"device": "bench"},
            "camera": {"source": "/dev/video0"},
            "inspection": {"bank": str(folder / "bank.npz")},
            "spool": {"path": str(folder / "spool.db")},
        }
    )


def test_the_second_inspector_runs_on_the_engine_of_the_first(told: StationFile) -> None:
    opens = on_one_engine()
    with opens(told) as first, opens(told) as second:
        assert isinstance(first, Inspector)
        assert isinstance(second, Inspector)
        assert first._engine is second._engine
    with opens(told) as anew:
        assert anew.inspect(draw_parts(products, "flange", (256, 256))[0]).score > 0


def test_a_judge_in_a_row_says_the_same_and_is_nobody_who_makes_parts_ready(told: StationFile) -> None:
    part = draw_parts(products, "flange", (256, 256))[0]
    opens = on_one_engine()
    with opens(told) as judge, in_a_row(opens)(told) as hidden:
        assert isinstance(judge, Inspector)
        assert not isinstance(hidden, Inspector)
        assert hidden.inspect(part) == judge.inspect(part)
        assert np.array_equal(hidden.score_map, judge.score_map)
        assert not hasattr(hidden, "make_ready")


# What is made of it


@given(st.lists(st.floats(min_value=1e-4, max_value=0.3)))
def test_wider_buckets_hold_every_duration_once_and_where_it_is(durations_s: list[float]) -> None:
    histogram = Histogram()
    for seconds in durations_s:
        histogram.record(seconds)
    found = gathered([(1e3 * middle, count) for middle, count in histogram.buckets()])
    assert sum(found.values()) == len(durations_s)
    assert list(found) == list(range(min(found), max(found) + 1)) if found else not durations_s
    middles = np.array([1e3 * middle for middle, count in histogram.buckets() for _ in range(count)])
    for number, count in found.items():
        assert count == np.sum((middles >= 10 * number) & (middles < 10 * (number + 1)))


def test_of_two_parts_at_one_moment_the_one_that_took_longer_is_the_second() -> None:
    warm_up: list[Latency | None] = [took(90.0)] * WARM_UP
    one, other = [*warm_up, took(20.0), took(30.0), None], [*warm_up, took(30.0), took(20.0), took(99.0)]
    assert a_run(one, other).pairs() == [(took(20.0), took(30.0))] * 2


def test_a_part_that_nobody_knows_of_does_not_add_up() -> None:
    assert a_run([], fired=3, verdicts=3).adds_up
    assert not a_run([], fired=3, verdicts=2).adds_up


def test_how_much_sooner_is_told_of_runs_that_followed_each_other() -> None:
    def run(first_ms: float, second_ms: float) -> Run:
        return a_run([took(first_ms)] * (WARM_UP + 3), [took(second_ms)] * (WARM_UP + 3))

    found = figures({"row": [run(20, 40), run(20, 50), run(20, 41)], "ahead": [run(21, 36), run(22, 44), run(20, 42)]})
    assert found["sooner_ms"] == {
        "first": {"median": -1.0, "least": -2.0, "most": 0.0},
        "second": {"median": 4.0, "least": -1.0, "most": 6.0},
    }


# All of it


@pytest.mark.timeout(300)
@pytest.mark.parametrize("cameras", [1, 2])
def test_stations_judge_every_part_that_a_trigger_announces_and_the_histogram_has_them_all(
    cameras: int,
) -> None:
    request = Request(
        cameras=cameras, seconds=2.5, rounds=1, rate=8.0, fps=FPS, capture_ms=8.0, size=(320, 240), precision="int8"
    )
    runs = measured(request)
    about = {"machine": "a machine", "size": [320, 240], "precision": "int8", "fps": FPS, "rate": 8.0}
    found = json.loads(json.dumps({**about, **figures(runs)}))
    assert list(found["kinds"]) == (["capture_ms", "no_capture_ms"] if cameras == 1 else ["row", "ahead"])
    for kind, row in found["kinds"].items():
        (run,) = runs[kind]
        assert row["adds_up"]
        assert row["fired"] == row["verdicts"] + sum(row["not_inspected"].values()) > 2 * WARM_UP * cameras
        counted = len(run.pairs()) if cameras == 2 else sum(one is not None for one in run.latencies[0][WARM_UP:])
        assert sum(count for _, count in row["buckets_ms"]) == counted > 0
        times = row["times_ms"]
        whole = times["second" if cameras == 2 else "trigger"]
        assert whole["min"] >= times["engine"]["min"] + 8.0 * (kind != "no_capture_ms")
        assert f"{row['fired']} triggers = {row['verdicts']} verdicts" in " ".join(sentences(found))
    assert ("sooner_ms" in found) == (cameras == 2)
    assert len(tables(found)) == 2
    page = render(found, runs, day=date(2026, 11, 28))
    assert page.count('<svg class="chart"') == 2
    assert "a machine" in page
