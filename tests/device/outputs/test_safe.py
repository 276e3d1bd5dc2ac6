"""Outputs are made safe from outside the station: each is said, and none that hangs is waited for."""

from __future__ import annotations

import threading
import time
from pathlib import Path

import gpiod
import pytest
from typer.testing import CliRunner

import edge_resad.device.outputs.output as output_module
import edge_resad.device.outputs.safe as safe_module
from edge_resad.cli import app
from edge_resad.device.outputs import Output, Outputs, Wiring, modbus, terminal_of
from edge_resad.device.outputs.safe import make_safe
from edge_resad.device.outputs.terminal import Pin
from edge_resad.device.settings import load_station
from edge_resad.errors import OutputError
from tests.device.outputs.fakes import FakeTerminal
from tests.device.outputs.test_gpio import CHIP, Kernel
from tests.device.outputs.test_trial import file_of
from tests.mqtt_peers import eventually
from tests.plc import PATIENCE_S, Plc


@pytest.fixture(autouse=True)
def _in_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """An output has the time of a busy machine."""
    monkeypatch.setattr(safe_module, "PATIENCE_S", PATIENCE_S)
    monkeypatch.setattr(output_module, "JUDGING_S", PATIENCE_S)
    monkeypatch.setattr(output_module, "EXIT_S", PATIENCE_S)
    monkeypatch.setattr(output_module, "JOIN_S", PATIENCE_S)


def coil(plc: Plc, name: str, address: int, **keys: str) -> str:
    more = "".join(f"{key} = {value}\n" for key, value in keys.items())
    where = f'host = "127.0.0.1"\nport = {plc.server.port}'
    return f'[[output]]\nname = "{name}"\nkind = "modbus"\n{where}\ncoil = {address}\n{more}'


def pin(name: str, number: int, **keys: str) -> str:
    more = "".join(f"{key} = {value}\n" for key, value in keys.items())
    return f'[[output]]\nname = "{name}"\nkind = "gpio"\nchip = "{CHIP}"\npin = {number}\n{more}'


def test_every_output_is_set_to_its_own_safe_level_and_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    kernel = Kernel()
    monkeypatch.setattr(gpiod, "Chip", kernel.chip)
    with Plc() as plc:
        path = file_of(
            tmp_path,
            coil(plc, "gate", 7),
            coil(plc, "horn", 8, safe='"idle"'),
            coil(plc, "alive", 9, on='["heartbeat"]'),
            pin("flap", 2, active_low="true"),
        )
        done = CliRunner().invoke(app, ["output", "safe", str(path)])
        assert done.exit_code == 0, done.output
        assert done.output.splitlines() == [
            "gate: active, as while nobody judges", "horn: idle, as while nobody judges",
            "alive: idle, as while nobody judges", "flap: active, as while nobody judges",
        ]  # fmt: skip
        assert sorted(plc.coils) == [(7, True), (8, False), (9, False)]
    line = kernel.lines[2]
    assert (line.levels, line.consumer) == ([True], None)  # and given back, for the program ends
    assert line.settings is not None
    assert line.settings.active_low


def test_an_output_that_a_clean_stop_has_left_is_not_changed(tmp_path: Path) -> None:
    with Plc() as plc:
        path = file_of(tmp_path, coil(plc, "gate", 7), coil(plc, "horn", 8, safe='"idle"'))
        told = load_station(path).outputs
        wired = [Wiring(name=one.name, on=frozenset(one.on), safe_active=one.safe_active) for one in told]
        with Outputs([Output(wiring, terminal_of(one)) for wiring, one in zip(wired, told, strict=True)]) as outputs:
            outputs.alive({"cam0": True})
            plc.wait_for(lambda: plc.edges(7)[-1:] == [False])
        stopped = (plc.edges(7), plc.edges(8))
        writes = len(plc.coils)
        assert CliRunner().invoke(app, ["output", "safe", str(path)]).exit_code == 0
        assert (plc.edges(7), plc.edges(8)) == stopped
        assert len(plc.coils) == writes + 2


def test_one_that_cannot_be_set_is_said_with_its_reason_and_the_others_are_set(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kernel = Kernel()
    kernel.lines[1].consumer = "edge-resad/flap"
    monkeypatch.setattr(gpiod, "Chip", kernel.chip)
    with Plc() as plc, Plc() as away:
        away.stop()
        path = file_of(tmp_path, coil(away, "far", 7), pin("flap", 1), coil(plc, "gate", 7))
        done = CliRunner().invoke(app, ["output", "safe", str(path)])
        assert plc.coils == [(7, True)]
    far, flap, gate = done.output.splitlines()
    assert "does not answer" in far
    assert "flap: pin 1 of /dev/gpiochip0 is in use by edge-resad/flap. Stop the station that runs" in flap
    assert gate == "gate: active, as while nobody judges"
    assert isinstance(done.exception, OutputError)
    with pytest.raises(OutputError, match=r"2 of 3 outputs could not be set to their safe level: far, flap\."):
        raise done.exception


def test_a_plc_that_takes_requests_and_answers_none_is_not_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(modbus, "TIMEOUT_S", 0.5)
    with Plc() as hanging:
        hanging.hang()
        path = file_of(tmp_path, coil(hanging, "far", 7), coil(hanging, "gate", 8))
        began = time.monotonic()
        done = CliRunner().invoke(app, ["output", "safe", str(path)])
        assert time.monotonic() - began < PATIENCE_S / 2
    assert done.output.count("does not answer") == 2
    assert done.exit_code == 1


def test_a_terminal_that_never_comes_back_keeps_nobody() -> None:
    released, good = threading.Event(), FakeTerminal()

    class Hanging(FakeTerminal):
        def open(self, value: int) -> Pin:
            released.wait(PATIENCE_S)
            return super().open(value)

    class Broken(FakeTerminal):
        def open(self, value: int) -> Pin:
            raise ZeroDivisionError

    others = {"odd": (Broken(), True), "gate": (good, True)}
    try:
        far, *_ = make_safe({"far": (Hanging(), True), **others}, patience_s=0.2)
        assert eventually(lambda: (good.shown, good.closed) == ([1], 1))
    finally:
        released.set()
    assert (far.name, far.is_safe, far.says) == ("far", False, "no answer within 0.2 s.")
    odd, gate = make_safe(others, patience_s=PATIENCE_S)
    assert (odd.name, odd.is_safe, odd.says) == ("odd", False, "failed with ZeroDivisionError. Report it.")
    assert (gate.name, gate.is_safe) == ("gate", True)


def test_a_station_without_outputs_has_nothing_to_be_made_safe(tmp_path: Path) -> None:
    done = CliRunner().invoke(app, ["output", "safe", str(file_of(tmp_path))])
    assert (done.exit_code, done.output) == (0, f"{tmp_path / 'station.toml'} has no outputs.\n")
