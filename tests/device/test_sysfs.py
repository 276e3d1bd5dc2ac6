"""Heat, throttling, clocks, processor, memory and power mode, read from fake trees."""

from __future__ import annotations

from pathlib import Path

import pytest

import edge_resad.device.power_mode as power_mode_module
from edge_resad.device.power_mode import PowerMode, ask_nvpmodel, name_in, power_mode
from edge_resad.device.procfs import memory, module, processor
from edge_resad.device.sysfs import GpuClock, Throttling, gpu_clock, throttling, zones
from tests.device.trees import ORIN_NANO, PC, plant


def test_zones_come_hottest_first_with_their_limits(tmp_path: Path) -> None:
    gpu, cpu = zones(plant(tmp_path, ORIN_NANO))
    assert (gpu.name, gpu.celsius, gpu.slows_c, gpu.off_c) == ("gpu-thermal", 53.0, 99.0, None)
    assert (cpu.name, cpu.celsius, cpu.slows_c, cpu.off_c) == ("cpu-thermal", 51.5, 99.0, 104.5)


def test_a_sensor_without_power_is_no_zone(tmp_path: Path) -> None:
    names = {zone.name for zone in zones(plant(tmp_path, ORIN_NANO))}
    assert names.isdisjoint({"cv0-thermal", "PMIC-Die"})


def test_a_machine_without_sensors_has_no_zones(tmp_path: Path) -> None:
    assert zones(tmp_path) == ()
    assert throttling(tmp_path) == Throttling(now=(), over_current=0, hot_cores=0)
    assert gpu_clock(tmp_path) is None
    assert memory(tmp_path) is None
    assert module(tmp_path) is None
    assert power_mode(tmp_path, ask=lambda: "") is None


def test_an_alert_that_is_on_is_throttling_and_a_fan_is_not(tmp_path: Path) -> None:
    plant(tmp_path, ORIN_NANO, {"sys/class/thermal/cooling_device1/cur_state": "1\n"})
    assert throttling(tmp_path).now == ("gpu-throttle-alert",)
    plant(tmp_path, ORIN_NANO)
    assert throttling(tmp_path).now == ()


def test_over_currents_of_all_channels_and_slowed_cores_are_counted(tmp_path: Path) -> None:
    plant(
        tmp_path, ORIN_NANO, {"sys/class/hwmon/hwmon1/oc1_event_cnt": "2", "sys/class/hwmon/hwmon1/oc3_event_cnt": "5"}
    )
    plant(tmp_path, {"sys/devices/system/cpu/cpu0/thermal_throttle/core_throttle_count": "3"})
    assert throttling(tmp_path) == Throttling(now=(), over_current=7, hot_cores=3)


def test_the_gpus_clock_and_load_are_found_among_the_other_engines(tmp_path: Path) -> None:
    found = gpu_clock(plant(tmp_path, ORIN_NANO))
    assert found is not None
    assert found.name == "gpu"
    assert (found.now_mhz, found.most_mhz, found.load_percent) == pytest.approx((306, 1020, 34.5))


@pytest.mark.parametrize("folder", ["17000000.ga10b", "17000000.gv11b", "gpu-gpc-0"])
def test_a_gpu_without_a_node_in_the_device_tree_is_known_by_its_folder(tmp_path: Path, folder: str) -> None:
    plant(tmp_path, {f"sys/class/devfreq/{folder}/cur_freq": "612000000"})
    assert gpu_clock(tmp_path) == GpuClock(name=folder, now_mhz=612.0, most_mhz=None, load_percent=None)


def test_a_plain_pc_has_zones_and_no_gpu_clock(tmp_path: Path) -> None:
    plant(tmp_path, PC)
    assert [(zone.name, zone.slows_c) for zone in zones(tmp_path)] == [("x86_pkg_temp", None)]
    assert gpu_clock(tmp_path) is None


@pytest.mark.parametrize(
    ("flags", "has_int8"),
    [("fpu avx2", False), ("fpu avx512_vnni", True), ("avx_vnni", True), ("avx_vnni_like", False)],
)
def test_a_processor_says_whether_it_multiplies_8_bit_numbers(tmp_path: Path, flags: str, has_int8: bool) -> None:
    plant(tmp_path, {"proc/cpuinfo": f"model name\t: Some CPU\nflags\t\t: {flags}\n"})
    found = processor(tmp_path)
    assert (found.name, found.has_int8) == ("Some CPU", has_int8)
    assert found.cores >= 1


def test_arms_dot_product_counts_as_8_bit_instructions(tmp_path: Path) -> None:
    assert processor(plant(tmp_path, ORIN_NANO)).has_int8


def test_memory_is_in_megabytes(tmp_path: Path) -> None:
    found = memory(plant(tmp_path, ORIN_NANO))
    assert found is not None
    assert (round(found.total_mb), round(found.free_mb), found.swap_mb) == (7990, 5120, 0.0)


def test_a_module_is_named_without_the_device_trees_zero(tmp_path: Path) -> None:
    assert module(plant(tmp_path, ORIN_NANO)) == "NVIDIA Jetson Orin Nano Engineering Reference Developer Kit Super"


@pytest.mark.parametrize(
    ("answer", "name"),
    [
        ("NV Power Mode: MAXN_SUPER\n2\n", "MAXN_SUPER"),
        ("NVPM WARN: fan mode is not set!\nNV Power Mode: MODE_15W\n0\n", "15W"),
        ("NV Fan Mode:quiet\nNV Power Mode: 7W\n1\n", "7W"),
        ("NVPM ERROR: failed to read PARAM\n", None),
        ("", None),
    ],
)
def test_a_power_mode_is_read_by_its_name(answer: str, name: str | None) -> None:
    assert name_in(answer) == name


def test_the_tools_word_on_the_mode_counts_more_than_its_file(tmp_path: Path) -> None:
    plant(tmp_path, ORIN_NANO)
    known = ("15W", "25W", "MAXN_SUPER")
    assert power_mode(tmp_path, ask=lambda: "NV Power Mode: 15W\n0\n") == PowerMode(name="15W", known=known)
    assert power_mode(tmp_path, ask=lambda: "") == PowerMode(name="25W", known=known)


def test_a_machine_without_the_tool_gives_no_answer(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert ask_nvpmodel() == ""


def test_the_tool_is_asked_where_it_is_there(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    tool = tmp_path / "nvpmodel"
    tool.write_text('#!/bin/sh\n[ "$1" = -q ] && printf "NV Power Mode: 25W\\n1\\n"\n')
    tool.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(power_mode_module, "ASK_S", 60.0)  # a machine that is busy is no tool that hangs
    assert name_in(ask_nvpmodel()) == "25W"
