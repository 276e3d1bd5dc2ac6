"""What every test of the device has: time, where a busy machine looks like a disk or a PLC that hangs, and a machine
that is well."""

from __future__ import annotations

from functools import partial

import pytest

from edge_resad.device import gpio_trigger, metrics, open_station, spool, verdict_log
from edge_resad.device.commands import commands
from edge_resad.device.drift import drift
from edge_resad.device.machine import Machine, MachineLook
from edge_resad.device.outputs import encoder, modbus
from edge_resad.device.pictures import pictures
from edge_resad.device.sparkplug import sparkplug

PATIENCE_S = 60.0
WELL = MachineLook(
    hottest=None,
    near_c=None,
    throttled_now=(),
    throttled_times=0,
    gpu=None,
    cpu_mhz=None,
    memory_free_mb=None,
    disk_free_mb=None,
)


@pytest.fixture(autouse=True)
def _patience(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine that is busy with other tests hangs as little as its disk. Whoever tests what hangs sets this back."""
    monkeypatch.setattr(pictures, "CLOSE_S", PATIENCE_S)
    monkeypatch.setattr(drift, "LEAVE_S", PATIENCE_S)
    monkeypatch.setattr(metrics, "CLOSE_S", PATIENCE_S)
    monkeypatch.setattr(verdict_log, "CLOSE_S", PATIENCE_S)
    monkeypatch.setattr(modbus, "TIMEOUT_S", PATIENCE_S)
    monkeypatch.setattr(encoder, "JOIN_S", PATIENCE_S)
    monkeypatch.setattr(gpio_trigger, "LEAVE_S", PATIENCE_S)
    monkeypatch.setattr(spool, "_CLOSE_S", PATIENCE_S)
    monkeypatch.setattr(commands, "FLUSH_S", PATIENCE_S)
    monkeypatch.setattr(commands, "CLOSE_S", PATIENCE_S)
    monkeypatch.setattr(sparkplug, "CLOSE_S", PATIENCE_S)


@pytest.fixture(autouse=True)
def _well(monkeypatch: pytest.MonkeyPatch) -> None:
    """What else runs on the machine of a test, its heat and its disk are no alerts of a station under test."""
    monkeypatch.setattr(open_station, "Machine", partial(Machine, look=lambda _folder: WELL))
