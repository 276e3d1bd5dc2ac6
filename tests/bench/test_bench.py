"""A bench of this machine: the product's own path, every figure there, and nothing said about how fast."""

from __future__ import annotations

import io
import json
import re
import subprocess
import sys
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from datetime import date
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

import edge_resad.bench.bench as bench_module
from edge_resad.bench.bench import WARM_UP, Figures, Request, run_bench
from edge_resad.bench.first import ColdStart, cold_start
from edge_resad.bench.line import PreparedLine
from edge_resad.bench.page import render, write_bench_page
from edge_resad.bench.report import as_json, as_table
from edge_resad.demo import products
from edge_resad.device.frame import Frame
from edge_resad.errors import BankError, EngineError

CHECKOUT = Path(__file__).parents[2]
SIZE = (96, 64)
STAGES = ["waiting", "resize", "engine", "decide", "outputs", "signal", "total"]


pytestmark = pytest.mark.timeout(600)  # each bench takes half a minute on a machine with nothing else to do


def short_bench() -> Figures:
    return run_bench(Request(size=SIZE, frames=40, precision="int8"), products)


@pytest.fixture(scope="module")
def figures() -> Figures:
    """A short bench, whole, in a process where nobody else holds anything: no worker of pytest, no test before."""
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        return pool.submit(short_bench).result()


class SomeInTurn(PreparedLine):
    """Shows its first parts each when the one before is done, and then those at its rate."""

    def read(self) -> Frame | None:
        if self.live and self._taken < 4:
            assert self._free.acquire(timeout=60)
        return super().read()


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a process of its own for the cold start."""
    monkeypatch.setattr(bench_module, "_cold", lambda *_: ColdStart(seconds=1.0, peak_rss_mb=100.0, stages_ms={}))
    monkeypatch.setattr(bench_module, "BARE", 1)
    monkeypatch.setattr(bench_module, "STATION_ROUND", 4)


def test_every_part_after_the_warm_up_is_in_every_stage(figures: Figures) -> None:
    assert list(figures.stages) == STAGES
    assert {histogram.count for histogram in figures.stages.values()} == {40}
    assert figures.overhead.count == figures.parts == 40
    assert figures.summary.parts == 40 + WARM_UP
    assert not figures.summary.not_inspected


def test_a_part_of_the_line_is_defective_and_goes_the_way_of_an_alert(figures: Figures) -> None:
    assert (figures.summary.failed, figures.summary.alerts) == (1, 1)


def test_a_part_takes_at_least_as_long_as_its_engine(figures: Figures) -> None:
    assert figures.stages["total"].least_s >= figures.stages["engine"].least_s
    assert figures.stages["total"].sum_s == pytest.approx(
        figures.overhead.sum_s + figures.stages["engine"].sum_s, rel=1e-6
    )
    assert figures.stages["signal"].sum_s == pytest.approx(
        figures.overhead_to_signal.sum_s + figures.stages["engine"].sum_s, rel=1e-6
    )
    assert figures.overhead_to_signal.sum_s < figures.overhead.sum_s


def test_the_precision_that_was_asked_for_is_the_one_that_ran(figures: Figures) -> None:
    assert figures.precision == "int8"


def test_an_inspection_keeps_no_memory(figures: Figures) -> None:
    assert figures.allocation.kept_bytes < 16


def test_what_a_whole_station_allocates_is_counted_apart(figures: Figures) -> None:
    station = figures.station_allocation
    assert station.temporary_bytes > figures.allocation.temporary_bytes  # a verdict's message and line of the log
    assert station.kept_bytes < 96  # 10 MB an hour at 30 parts a second; 0 to 48 were seen in 30 runs
    told = json.loads(json.dumps(as_json(figures)))
    assert told["station_allocation"].keys() == told["allocation"].keys()


def test_the_first_part_of_a_fresh_process_has_stages_too(figures: Figures) -> None:
    assert list(figures.cold.stages_ms) == STAGES
    told = as_json(figures)
    assert told["cold_stages_ms"].keys() == told["first_part_stages_ms"].keys() == set(STAGES)  # type: ignore[attr-defined]
    assert told["first_part_ms"] == told["first_part_stages_ms"]["total"]  # type: ignore[index]
    assert figures.cold.stages_ms["total"] >= figures.cold.stages_ms["engine"]


def test_what_the_station_opens_it_closes(figures: Figures) -> None:
    held = figures.held
    assert list(held) == ["before", "warm", "end", "after"]
    assert held["after"].handles == held["before"].handles
    assert held["after"].threads == held["before"].threads


def test_the_json_names_what_the_latency_benchmark_names_likewise(figures: Figures) -> None:
    told: dict[str, Any] = json.loads(json.dumps(as_json(figures)))
    for name in ("end_to_end_ms", "engine_ms"):
        assert {"min", "p50", "p99"} <= told[name].keys()
    assert {"precision", "cold_start_s", "peak_rss_mb", "machine"} <= told.keys()
    assert list(told["stages_ms"]) == STAGES
    assert told["parts"] == 40
    assert told["rss_mb_per_h"] is None  # over so short a time it would say nothing


def test_caches_that_fill_at_the_beginning_are_no_growth(figures: Figures) -> None:
    filling = [(float(second), 100.0 + second) for second in range(30)]
    level = [(float(second), 130.0 + second / 3600) for second in range(30, 100)]
    assert replace(figures, memory=(*filling, *level)).rss_mb_per_h == pytest.approx(1.0)


def test_percentiles_do_not_fall(figures: Figures) -> None:
    for row in as_json(figures)["stages_ms"].values():  # type: ignore[attr-defined]
        assert row["min"] <= row["p50"] <= row["p95"] <= row["p99"] <= row["max"]


def test_the_table_has_a_row_for_every_stage_and_says_the_rest_in_sentences(figures: Figures) -> None:
    told = io.StringIO()
    Console(width=120, file=told).print(as_table(figures))
    text = told.getvalue()
    assert [name for name in (*STAGES, "bare engine") if not re.search(rf"{name}\s.*\d", text)] == []
    assert "40 parts of 96 x 64, one part after the other, int8 on cpu" in text
    assert "cold start" in text
    assert re.search(r"stage .* max .* cold ", text)
    assert "allocated per part by the whole station: " in text
    assert "around the engine" in text


def test_the_page_shows_the_histogram_and_needs_no_network(figures: Figures, tmp_path: Path) -> None:
    page = write_bench_page(figures, tmp_path / "page.html", day=date(2026, 11, 25)).read_text(encoding="utf-8")
    assert page.count('<svg class="chart"') == 2
    assert len(re.findall('class="bar"', page)) > 2
    assert "25 November 2026" in page
    assert "://" not in page
    assert "<script" not in page


def test_the_page_and_the_json_show_memory_over_time(figures: Figures) -> None:
    figures = replace(figures, memory=tuple((0.5 * number, 200.0 + number / 1e3) for number in range(240)))
    page = render(figures, day=date(2026, 11, 25))
    assert page.count('<svg class="chart"') == 3
    assert re.search(r'aria-label="12 points, in MB">.*<polyline class="trend"', page)
    assert as_json(figures)["memory_mb"][:2] == [[4.8, 200.01], [14.8, 200.03]]  # type: ignore[index]


def test_a_page_of_a_machine_with_signs_in_its_name_stays_a_page(figures: Figures) -> None:
    page = render(replace(figures, machine="<b>CPU</b> & more"), day=date(2026, 11, 25))
    assert "<b>CPU</b>" not in page
    assert "&lt;b&gt;CPU&lt;/b&gt; &amp; more" in page


@pytest.mark.usefixtures("quick")
def test_at_a_rate_what_a_newer_frame_overwrites_is_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bench_module, "WARM_UP", 1)
    monkeypatch.setattr(bench_module, "PreparedLine", SomeInTurn)
    figures = run_bench(Request(size=SIZE, frames=60, rate=400, precision="int8"), products)
    summary = figures.summary
    assert summary.parts == 60 + 1
    assert summary.passed + summary.failed + sum(summary.not_inspected.values()) == summary.parts


@pytest.mark.usefixtures("quick")
def test_a_run_that_ends_in_its_warm_up_says_what_to_give(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bench_module, "WARM_UP", 10_000)
    monkeypatch.setattr(bench_module, "_engine_alone", lambda *_: None)
    with pytest.raises(EngineError, match=r"of the warm-up\. Give more --frames or --minutes"):
        run_bench(Request(size=SIZE, minutes=0.01, precision="int8"), products)


def test_a_bank_that_is_not_there_is_said() -> None:
    with pytest.raises(BankError):
        run_bench(Request(bank=Path("nowhere.npz"), size=SIZE), products)


def test_a_fresh_process_without_a_verdict_is_said_with_its_own_words(tmp_path: Path) -> None:
    settings = tmp_path / "cold.json"
    settings.write_text(
        json.dumps(
            {
                "station": {"device": "bench"},
                "camera": {"source": f"folder:{tmp_path}"},
                "inspection": {"bank": str(tmp_path / "nowhere.npz")},
                "spool": {"path": str(tmp_path / "spool.db")},
            }
        )
    )
    with pytest.raises(EngineError, match=r"a fresh process came to no verdict: .*nowhere\.npz"):
        cold_start(settings, starts=1)


@pytest.mark.parametrize("option", [["--engines", "engines"], ["--io-memory", "mapped"]])
def test_what_is_tensorrts_needs_tensorrt(option: list[str]) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "edge_resad", "bench", *option],
        cwd=CHECKOUT, capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    assert done.returncode == 2
    assert "Add --provider tensorrt" in " ".join(done.stderr.replace("│", " ").split())


@pytest.mark.parametrize("size", ["1280", "0x0", "20x5000", "axb", "99999x99999"])
def test_a_size_that_is_none_is_refused(size: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "edge_resad", "bench", "--size", size],
        cwd=CHECKOUT, capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    assert done.returncode == 2
    assert "is no size" in done.stderr
