"""The machine's own health: faults begin and end with hysteresis, and are said once."""

from __future__ import annotations

import logging
import threading
from dataclasses import replace
from pathlib import Path

import pytest

from edge_resad.device.faults import Faults
from edge_resad.device.machine import CALM_LOOKS, Machine, MachineHealth, MachineLook, look_at
from edge_resad.device.sysfs import Zone
from tests.device.trees import ORIN_NANO, PC, plant

WAIT_S = 60.0
WELL = MachineLook(
    hottest=Zone(name="gpu-thermal", celsius=60.0, slows_c=99.0, off_c=None),
    near_c=39.0,
    throttled_now=(),
    throttled_times=0,
    gpu=None,
    cpu_mhz=None,
    memory_free_mb=4000.0,
    disk_free_mb=20_000.0,
)


def at(celsius: float) -> MachineLook:
    zone = Zone(name="gpu-thermal", celsius=celsius, slows_c=99.0, off_c=None)
    return replace(WELL, hottest=zone, near_c=99.0 - celsius)


def health() -> MachineHealth:
    return MachineHealth(low_memory_mb=200.0, low_disk_mb=500.0)


def test_a_jetson_and_a_pc_are_seen(tmp_path: Path) -> None:
    jetson = look_at(tmp_path, plant(tmp_path / "jetson", ORIN_NANO))
    assert jetson.hottest is not None
    assert jetson.hottest.name == "gpu-thermal"
    assert jetson.near_c == pytest.approx(46.0)
    assert jetson.figures["gpu_mhz"] == pytest.approx(306.0)
    assert jetson.figures["cpu_mhz"] == pytest.approx(1728.0)
    assert jetson.figures["memory_free_mb"] == pytest.approx(5120.0)
    assert jetson.figures["disk_free_mb"] > 0
    pc = look_at(tmp_path, plant(tmp_path / "pc", PC))
    assert pc.near_c == pytest.approx(85.0 - 61.0)
    assert pc.figures.keys().isdisjoint({"gpu_mhz", "cpu_mhz"})


def test_nothing_is_known_of_a_machine_that_says_nothing(tmp_path: Path) -> None:
    nothing = look_at(tmp_path / "no disk", tmp_path)
    assert nothing.figures == {"throttled": 0.0}
    assert health().step(nothing) == {}


def test_heat_begins_near_the_limit_and_ends_well_below_it() -> None:
    watched = health()
    said = [list(watched.step(at(celsius))) for celsius in (60, 93, 95, 93, 90, 88, 93)]
    assert said == [[], [], ["hot"], ["hot"], ["hot"], [], []]


@pytest.mark.parametrize(
    "slowed", [replace(WELL, throttled_now=("gpu-throttle-alert",)), replace(WELL, throttled_times=1)]
)
def test_throttling_is_said_when_it_is_seen_and_over_when_it_was_not_for_a_while(slowed: MachineLook) -> None:
    watched = health()
    assert watched.step(WELL) == {}
    assert "clocks are lowered" in watched.step(slowed)["throttled"]
    after = replace(WELL, throttled_times=slowed.throttled_times)
    said = ["throttled" in watched.step(after) for _ in range(CALM_LOOKS + 1)]
    assert said == [True] * (CALM_LOOKS - 1) + [False, False]


def test_what_was_throttled_before_the_station_began_is_not_its_business() -> None:
    assert health().step(replace(WELL, throttled_times=7)) == {}


def test_too_little_room_begins_and_ends_apart() -> None:
    shares, watched = (1.1, 0.9, 1.1, 1.3, 1.1), health()
    said = [list(watched.step(replace(WELL, memory_free_mb=200.0 * share))) for share in shares]
    assert said == [[], ["low_memory"], ["low_memory"], [], []]
    said = [list(watched.step(replace(WELL, disk_free_mb=500.0 * share))) for share in shares]
    assert said == [[], ["low_disk"], ["low_disk"], [], []]


def test_a_machine_in_trouble_is_said_once_and_its_figures_at_every_look(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    looks, done, told = [at(60), at(97), at(97), at(60)], threading.Event(), list[float]()
    states = list[tuple[str, ...]]()

    def look(folder: Path) -> MachineLook:
        return looks.pop(0) if len(looks) > 1 else looks[0]

    def say(faults: tuple[str, ...]) -> None:
        states.append(faults)
        if len(states) == 3:
            done.set()

    faults = Faults("the machine", None, say)
    with (
        caplog.at_level(logging.INFO),
        Machine(tmp_path, faults, health(), every_s=0.001, tell=lambda f: told.append(f["hottest_c"]), look=look),
    ):
        assert done.wait(WAIT_S)
    assert states == [(), ("hot",), ()]
    assert told[:4] == [60.0, 97.0, 97.0, 60.0]
    assert [record.getMessage() for record in caplog.records] == [
        "the machine: gpu-thermal has 97 °C. Cool it, or clocks are lowered.",
        "the machine: no longer hot",
    ]


def test_a_kernel_that_cannot_be_asked_is_said_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    tries, done = list[int](), threading.Event()

    def look(folder: Path) -> MachineLook:
        tries.append(1)
        if len(tries) == 3:
            done.set()
        raise OSError("no such sensor")

    with Machine(tmp_path, Faults("the machine", None), health(), every_s=0.001, look=look):
        assert done.wait(WAIT_S)
    assert caplog.text.count("cannot be looked at") == 1
