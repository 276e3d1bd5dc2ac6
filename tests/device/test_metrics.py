"""Figures for Prometheus: text that says what the station counted, in a file that is never half."""

from __future__ import annotations

import re
import threading
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from edge_resad.device.machine import MachineLook
from edge_resad.device.metrics import BOUNDS_S, MetricsFile, pictures_text, prometheus_text
from edge_resad.device.outputs import OutputStatus
from edge_resad.device.pipeline import Latency, Tally
from edge_resad.device.pressure import Pressure
from edge_resad.device.settings import load_station
from edge_resad.device.stages import Stages
from edge_resad.device.station import run_station
from edge_resad.device.sysfs import Zone
from edge_resad.errors import SettingsError
from tests.fakes import FakeCamera, FakeJudge

RESULTS = ("fired", "late", "failed")
LABELS, CAMERA = {"device": "press-7"}, {"camera": "top", "product": "flange"}
SAMPLE = re.compile(r'edge_resad_[a-z_]+\{([a-z]+="[^"\n]*",?)+\} [-+.e\d]+')


def text(stages: Stages | None = None, **more: Any) -> str:
    tally = Tally(passed=5, failed=2, alerts=1, not_inspected=Counter({"too_old": 3}))
    counts: dict[str, Any] = {"waiting": 4, "lost": 0, "log_lines_lost": 0, **more}
    return prometheus_text(LABELS, [(CAMERA, tally)], stages or Stages(), **counts)


def samples(said: str) -> dict[str, float]:
    """Name and labels without the station's own -> value."""
    found = {}
    for line in said.splitlines():
        if not line.startswith("#"):
            name, _, value = line.rpartition(" ")
            own = name.replace('device="press-7"', "").replace('camera="top",product="flange"', "")
            found[own.replace("{,", "{").replace("{,", "{").replace("{}", "")] = float(value)
    return found


def test_every_part_is_in_one_of_the_counters() -> None:
    found = samples(text(waiting=4))
    assert found['edge_resad_parts_total{status="passed"}'] == 5
    assert found['edge_resad_parts_total{status="failed"}'] == 2
    assert found['edge_resad_parts_total{status="not_inspected"}'] == 3
    assert found['edge_resad_not_inspected_total{reason="too_old"}'] == 3
    assert (found["edge_resad_alerts_total"], found["edge_resad_spool_waiting_messages"]) == (1, 4)


def test_charts_and_machine_are_there_where_somebody_looks() -> None:
    look = MachineLook(
        hottest=Zone(name="gpu-thermal", celsius=61.5, slows_c=99.0, off_c=None), near_c=37.5, throttled_now=(),
        throttled_times=0, gpu=None, cpu_mhz=1728.0, memory_free_mb=1234.5, disk_free_mb=None,
    )  # fmt: skip
    found = samples(text(drift=[(CAMERA, {"scores": 0.25, "rejects": 0.0})], machine=look, revivals=2))
    assert found['edge_resad_drift_share{chart="scores"}'] == 0.25
    assert found["edge_resad_machine_celsius"] == 61.5
    assert found["edge_resad_machine_celsius_to_limit"] == 37.5
    assert found["edge_resad_machine_throttled"] == 0
    assert found["edge_resad_machine_cpu_hertz"] == 1.728e9
    assert found["edge_resad_machine_memory_free_bytes"] == 1234.5e6
    assert found["edge_resad_engine_revivals_total"] == 2
    assert not any("disk_free" in name or "gpu_hertz" in name for name in found)
    assert "drift_share" not in text()


def test_a_camera_with_a_queue_says_how_many_parts_wait_and_whether_its_inspection_is_behind() -> None:
    pressure = Pressure(waiting=2, most=8, is_behind=True)
    found = samples(text(pressures=[({"camera": "side"}, pressure)]))
    names = ("waiting_parts", "waiting_parts_most", "inspection_behind")
    assert [found[f'edge_resad_{name}{{camera="side"}}'] for name in names] == [2, 8, 1]
    assert "waiting_parts" not in text()


def test_a_stage_is_a_histogram_whose_buckets_add_up() -> None:
    stages = Stages()
    for engine_ms in (3.0, 4.0, 30.0, 20_000.0):
        stages.count(
            Latency(waiting_ms=0.1, inspecting_ms=engine_ms), {"engine_ms": engine_ms}, signal_ms=0.05, outputs_ms=0.1
        )
    found = samples(text(stages))
    counts = [found[f'edge_resad_stage_seconds_bucket{{stage="engine",le="{bound:g}"}}'] for bound in BOUNDS_S]
    assert counts == sorted(counts)
    assert found['edge_resad_stage_seconds_bucket{stage="engine",le="0.005"}'] == 2
    assert found['edge_resad_stage_seconds_bucket{stage="engine",le="0.05"}'] == counts[-1] == 3
    assert found['edge_resad_stage_seconds_bucket{stage="engine",le="+Inf"}'] == 4
    assert found['edge_resad_stage_seconds_count{stage="engine"}'] == 4
    assert found['edge_resad_stage_seconds_sum{stage="engine"}'] == pytest.approx(20.037)
    assert found['edge_resad_stage_max_seconds{stage="engine"}'] == pytest.approx(20.0)
    assert found['edge_resad_stage_quantile_seconds{stage="engine",quantile="0.5"}'] == pytest.approx(0.004, rel=0.01)


def test_an_output_says_its_signals_and_whether_it_can_be_set() -> None:
    well = OutputStatus(name="reject", fired=7, late=2, failed=1, waiting=0, problem=None)
    away = replace(well, name="gate", problem="nobody answers.")
    found = samples(text(outputs=[well, away]))
    signals = [found[f'edge_resad_output_signals_total{{output="reject",result="{one}"}}'] for one in RESULTS]
    assert signals == [7, 2, 1]
    assert [found[f'edge_resad_output_ok{{output="{name}"}}'] for name in ("reject", "gate")] == [1, 0]


def test_every_line_is_what_prometheus_reads() -> None:
    stages = Stages()
    stages.count(Latency(waiting_ms=0.1, inspecting_ms=5.0), {"engine_ms": 4.0}, signal_ms=0.05, outputs_ms=0.1)
    said = text(stages)
    assert said.endswith("\n")
    lines = said.splitlines()
    assert [line for line in lines if not line.startswith(("# HELP ", "# TYPE ")) and not SAMPLE.fullmatch(line)] == []
    typed = [line.split()[2] for line in lines if line.startswith("# TYPE ")]
    assert len(typed) == len(set(typed))
    assert {line.split()[3] for line in lines if line.startswith("# TYPE ")} == {"counter", "gauge", "histogram"}


def test_a_label_cannot_break_out_of_its_quotes() -> None:
    said = prometheus_text({"device": 'a"b\\c\nd'}, [({}, Tally())], Stages(), waiting=0, lost=0, log_lines_lost=0)
    assert r'device="a\"b\\c\nd"' in said


def test_the_file_is_written_at_the_start_and_once_more_at_the_end(tmp_path: Path) -> None:
    file, composed = tmp_path / "press-7.prom", threading.Semaphore(0)
    says = iter(("first\n", "last\n"))

    def compose() -> str:
        composed.release()
        return next(says)

    with MetricsFile(file, compose, every_s=3600):
        assert composed.acquire(timeout=60)
    assert file.read_text() == "last\n"


def test_a_folder_that_refuses_is_said_once_and_stops_nothing(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "file").touch()
    composed = threading.Semaphore(0)

    def compose() -> str:
        composed.release()
        return "text\n"

    with MetricsFile(tmp_path / "file" / "press-7.prom", compose, every_s=0.001) as metrics:
        for _ in range(3):
            assert composed.acquire(timeout=60)
    assert metrics.problem is not None
    assert caplog.text.count("takes no metrics") == 1


def test_a_station_leaves_its_figures_in_the_file_that_its_settings_name(tmp_path: Path) -> None:
    told = tmp_path / "station.toml"
    told.write_text(
        '[station]\ndevice = "press-7"\n[camera]\nsource = "synthetic"\n[inspection]\nbank = "bank.npz"\n'
        '[metrics]\nprometheus_file = "press-7.prom"\n'
    )
    run_station(
        load_station(told),
        stop=threading.Event(),
        open_source=lambda _settings, _halt: FakeCamera([50, 200, 50]),
        open_judge=lambda _settings: FakeJudge(),
    )
    said = (tmp_path / "press-7.prom").read_text()
    assert 'device="press-7"' in said
    assert re.search(r'parts_total\{.*status="passed"\} 2\n', said)
    assert re.search(r'stage_seconds_count\{.*stage="total"\} 3\n', said)


def test_a_file_that_node_exporter_would_pass_over_is_refused(tmp_path: Path) -> None:
    told = tmp_path / "station.toml"
    told.write_text(
        '[station]\ndevice = "press-7"\n[camera]\nsource = "synthetic"\n[inspection]\nbank = "bank.npz"\n'
        '[metrics]\nprometheus_file = "press-7.txt"\n'
    )
    with pytest.raises(SettingsError, match=r"expected a name that ends with \.prom"):
        load_station(told)


def test_pictures_are_counted_by_kind_and_by_what_kept_them_from_being_kept() -> None:
    said = pictures_text({"device": "press-7"}, {"reject": 2, "pass": 1}, {"behind": 3})
    assert 'edge_resad_pictures_kept_total{device="press-7",kind="pass"} 1\n' in said
    assert 'edge_resad_pictures_kept_total{device="press-7",kind="reject"} 2\n' in said
    assert 'edge_resad_pictures_not_kept_total{device="press-7",reason="behind"} 3\n' in said
