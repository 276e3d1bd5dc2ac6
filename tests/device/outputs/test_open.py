"""Outputs in the station file: what it may say, and what is made of it."""

from __future__ import annotations

from pathlib import Path

import pytest

from edge_resad.device.outputs import terminal_of, ticks_of
from edge_resad.device.outputs.gpio import GpioTerminal, GpioTicks
from edge_resad.device.outputs.modbus import ModbusTerminal, ModbusTicks, Server
from edge_resad.device.settings import StationFile, load_station
from edge_resad.errors import SettingsError

BEGIN = """
[station]
device = "press-7"
[[camera]]
name = "top"
source = "synthetic"
[inspection]
bank = "bank.npz"
"""
GPIO = '[[output]]\nname = "reject"\nkind = "gpio"\npin = 12\n'
PLC = '[[output]]\nname = "gate"\nkind = "modbus"\nhost = "plc"\n'
BELT = '[encoder]\nkind = "gpio"\npin = "PQ.05"\n'


def loaded(folder: Path, text: str) -> StationFile:
    path = folder / "station.toml"
    path.write_text(BEGIN + text, encoding="utf-8")
    return load_station(path)


def test_a_name_and_a_pin_make_an_output_that_rejects_what_did_not_pass(tmp_path: Path) -> None:
    (told,) = loaded(tmp_path, GPIO).outputs
    assert (told.on, told.cameras, told.safe_active) == (("fail", "not_inspected"), (), True)
    assert terminal_of(told) == GpioTerminal(name="reject", chip="/dev/gpiochip0", pin=12)


def test_a_plc_has_coils_and_registers(tmp_path: Path) -> None:
    coil, register = loaded(
        tmp_path, PLC + "coil = 7\n" + PLC.replace("gate", "alive") + 'holding_register = 3\non = ["heartbeat"]\n'
    ).outputs
    plc = Server(host="plc", port=502, unit=1)
    assert terminal_of(coil) == ModbusTerminal(server=plc, table="coil", address=7)
    assert terminal_of(register) == ModbusTerminal(server=plc, table="register", address=3)
    assert not register.safe_active


def test_an_encoder_is_a_pin_or_a_register(tmp_path: Path) -> None:
    text = '[[encoder]]\nname = "b"\nkind = "modbus"\nhost = "plc"\ninput_register = 4\npoll_ms = 5\n'
    pin, register = loaded(tmp_path, BELT.replace("[encoder]", "[[encoder]]") + text).encoders
    assert ticks_of(pin) == GpioTicks(chip="/dev/gpiochip0", pin="PQ.05")
    assert ticks_of(register) == ModbusTicks(server=Server(host="plc"), register=4, poll_s=0.005)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ('[[output]]\nname = "reject"\nkind = "gpio"\n', "[output] pin is missing"),
        (GPIO + "host = 'plc'\n", 'kind is "gpio" and host is of modbus. Remove host'),
        (PLC, "needs a host, and either coil or holding_register"),
        (PLC + "coil = 1\nholding_register = 2\n", "needs a host, and either coil or holding_register"),
        (PLC + "coil = 1\npin = 2\n", 'kind is "modbus" and pin is of gpio'),
        (GPIO + "on = []\n", "[output] on is []"),
        (GPIO + 'on = ["reject"]\n', '[output] on is "reject", expected list of "fail" or "not_inspected"'),
        (GPIO + 'on = ["heartbeat", "fail"]\n', "Give the heartbeat an output of its own"),
        (GPIO + 'on = ["pass", "fail"]\n', 'Give "pass" an output of its own'),
        (GPIO + 'on = ["pass"]\nsafe = "reject"\n', 'safe is "reject", which would be a pass while nobody judges'),
        (GPIO + "delay_ms = 5\ndelay_counts = 5\n" + BELT, "delay_ms and delay_counts are both set"),
        (
            GPIO + "delay_counts = 5\n",
            "output reject has delay_counts, which need one encoder. Add a section [encoder]",
        ),
        (GPIO + "delay_counts = 5\nencoder = 'b'\n" + BELT, 'need the encoder "b". There are: belt'),
        (GPIO + "encoder = 'belt'\n" + BELT, "encoder is set without delay_counts"),
        (GPIO + GPIO, 'two outputs have the name "reject"'),
        (GPIO + 'cameras = ["side"]\n', 'output reject is for the camera "side", which is none. There are: top'),
        (GPIO + PLC + "coil = -1\n", "[[output]] number 2: coil is -1, expected whole number, 0 to 65535"),
        ('[encoder]\nkind = "gpio"\n', "[encoder] pin is missing"),
        ('[encoder]\nkind = "modbus"\nhost = "plc"\n', "needs a host and an input_register"),
    ],
)
def test_what_cannot_be_wired_is_said(tmp_path: Path, text: str, says: str) -> None:
    with pytest.raises(SettingsError) as refused:
        loaded(tmp_path, text)
    assert says in str(refused.value)


def test_what_the_page_of_outputs_shows_can_be_loaded(tmp_path: Path) -> None:
    page = (Path(__file__).parents[3] / "docs" / "outputs.md").read_text(encoding="utf-8")
    reject, alive = loaded(tmp_path, page.split("```toml\n")[1].split("```")[0]).outputs
    assert (reject.delay_ms, reject.safe_active, alive.on) == (800, True, ("heartbeat",))
