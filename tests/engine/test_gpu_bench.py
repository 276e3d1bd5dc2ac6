"""A bench of TensorRT's engines: those that were named, their stages in its table."""

from __future__ import annotations

from pathlib import Path

import pytest

import edge_resad.bench.bench as bench_module
from edge_resad.bench.bench import Request, run_bench
from edge_resad.bench.first import ColdStart
from edge_resad.bench.report import as_json, rows
from edge_resad.demo import products
from edge_resad.engine.tensorrt import TensorRTEngine


def test_a_bench_runs_the_engines_that_it_is_told_to(engines: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bench_module, "BARE", 1)
    monkeypatch.setattr(  # a process of its own has no fake GPU
        bench_module, "_cold", lambda *_: ColdStart(seconds=1.0, peak_rss_mb=None, stages_ms={})
    )
    monkeypatch.delenv("XDG_CACHE_HOME")
    memories, run = set[str](), TensorRTEngine.run

    def noted(engine: TensorRTEngine) -> None:
        memories.add(engine.io_memory)
        run(engine)

    monkeypatch.setattr(TensorRTEngine, "run", noted)
    figures = run_bench(
        Request(size=(96, 64), frames=5, provider="tensorrt", engines=engines, io_memory="mapped"), products
    )
    assert "mapped" in memories
    assert figures.parts == 5
    assert "compute" in rows(figures)
    assert as_json(figures)["first_part_stages_ms"].keys() >= {"copy_in", "compute", "copy_out"}  # type: ignore[attr-defined]
