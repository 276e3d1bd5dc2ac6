"""What a process holds and how warm it gets, as the kernel says it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from edge_resad.bench.watch import Watch, held, slope_per_hour, usual

CHECKOUT = Path(__file__).resolve().parents[2]


def machine(root: Path, *, milli_celsius: int, over_current: int = 0, alert: int = 0) -> None:
    for file, text in {
        "sys/class/thermal/thermal_zone0/type": "tj-thermal",
        "sys/class/thermal/thermal_zone0/temp": str(milli_celsius),
        "sys/class/thermal/cooling_device0/type": "gpu-throttle-alert",
        "sys/class/thermal/cooling_device0/cur_state": str(alert),
        "sys/class/hwmon/hwmon1/oc1_event_cnt": str(over_current),
    }.items():
        (root / file).parent.mkdir(parents=True, exist_ok=True)
        (root / file).write_text(text)


_OPENS_AND_BEGINS = """
import sys, threading
from edge_resad.bench.watch import held
before, release = held(), threading.Event()
thread = threading.Thread(target=release.wait)
with open(sys.argv[1], "w"):
    thread.start()
    during = held()
    release.set()
    thread.join()
print(during.handles - before.handles, during.threads - before.threads)
"""


def test_an_open_file_is_a_handle_and_a_thread_a_thread(tmp_path: Path) -> None:
    command = [sys.executable, "-c", _OPENS_AND_BEGINS, str(tmp_path / "file")]  # where nobody else opens anything
    done = subprocess.run(command, cwd=CHECKOUT, capture_output=True, text=True, check=True)
    assert done.stdout == "1 1\n"


def test_memory_is_what_the_kernel_counts_in_pages(tmp_path: Path) -> None:
    (tmp_path / "proc/self").mkdir(parents=True)
    (tmp_path / "proc/self/statm").write_text("9000 250 100 1 0 500 0\n")
    assert held(tmp_path).rss_mb == pytest.approx(250 * os.sysconf("SC_PAGE_SIZE") / 1e6)


def test_what_the_kernel_does_not_say_is_not_known(tmp_path: Path) -> None:
    assert (held(tmp_path).rss_mb, held(tmp_path).handles, held(tmp_path).threads) == (None, None, None)
    with Watch(tmp_path) as watch:
        watch.look()
    assert watch.memory == []
    assert (watch.heat.warmest_c, watch.heat.alerts) == (None, ())


def test_a_steady_growth_has_its_slope() -> None:
    samples = [(second, 100 + 2 * second / 3600) for second in range(0, 120, 5)]
    assert slope_per_hour(samples) == pytest.approx(2.0)


def test_ups_and_downs_around_a_level_have_none() -> None:
    samples = [(second, 100 + (1 if second % 10 else -1)) for second in range(0, 120, 5)]
    assert abs(slope_per_hour([*samples, *[(240 - second, value) for second, value in samples[::-1]]]) or 0) < 1e-6


def test_less_than_a_minute_says_nothing() -> None:
    assert slope_per_hour([(0.0, 100.0), (10.0, 101.0), (59.0, 105.0)]) is None
    assert slope_per_hour([]) is None


def test_the_warmest_moment_stays_and_what_slowed_the_machine_is_counted_from_the_beginning(tmp_path: Path) -> None:
    machine(tmp_path, milli_celsius=50_000, over_current=7)
    with Watch(tmp_path, every_s=3600) as watch:
        machine(tmp_path, milli_celsius=93_500, over_current=9, alert=1)
        watch.look()
        machine(tmp_path, milli_celsius=60_000, over_current=9)
    heat = watch.heat
    assert (heat.warmest_c, heat.where) == (93.5, "tj-thermal")
    assert heat.alerts == ("gpu-throttle-alert",)
    assert heat.over_current == 2


def test_what_is_held_for_a_moment_is_no_growth() -> None:
    level = [(0.5 * number, 100.0 + (14.0 if number % 9 == 0 else 0.0)) for number in range(600)]
    assert usual(level) == [(10 * span + 4.75, 100.0) for span in range(30)]
    late = [(second, value + (14.0 if second > 290 and second % 2 == 1 else 0.0)) for second, value in level]
    assert abs(slope_per_hour(usual(late)) or 0) < 1e-6
    assert usual([]) == []
