"""The outputs that a station file describes."""

from __future__ import annotations

from edge_resad.device.outputs.encoder import Encoder, Ticks
from edge_resad.device.outputs.gpio import GpioTerminal, GpioTicks
from edge_resad.device.outputs.modbus import ModbusTerminal, ModbusTicks, Server
from edge_resad.device.outputs.output import Output
from edge_resad.device.outputs.outputs import Outputs
from edge_resad.device.outputs.terminal import Terminal
from edge_resad.device.outputs.wiring import Wiring
from edge_resad.device.settings import EncoderSection, OutputSection, StationFile


def open_outputs(settings: StationFile) -> Outputs:
    """All outputs of a station, not yet entered."""
    told_of = {told.name: told for told in settings.encoders}
    encoders: dict[str, Encoder] = {}  # those that an output needs
    outputs = []
    for told in settings.outputs:
        encoder = None
        if told.delay_counts is not None:
            name = told.encoder or settings.encoders[0].name
            encoder = encoders.setdefault(name, Encoder(ticks_of(told_of[name]), name=name))
        outputs.append(Output(_wiring(told), terminal_of(told), encoder=encoder))
    return Outputs(outputs, [*encoders.values()])


def terminal_of(told: OutputSection) -> Terminal:
    """Where an output's wire begins."""
    if told.kind == "gpio":
        assert told.pin is not None  # or the station file would have been refused
        return GpioTerminal(name=told.name, chip=told.chip, pin=told.pin, active_low=told.active_low)
    assert told.host is not None
    server = Server(host=told.host, port=told.port, unit=told.unit)
    if told.coil is not None:
        return ModbusTerminal(server=server, table="coil", address=told.coil)
    assert told.holding_register is not None
    return ModbusTerminal(server=server, table="register", address=told.holding_register)


def ticks_of(told: EncoderSection) -> Ticks:
    """What an encoder counts."""
    if told.kind == "gpio":
        assert told.pin is not None  # or the station file would have been refused
        return GpioTicks(chip=told.chip, pin=told.pin, active_low=told.active_low)
    assert told.host is not None
    assert told.input_register is not None
    server = Server(host=told.host, port=told.port, unit=told.unit)
    return ModbusTicks(server=server, register=told.input_register, poll_s=1e-3 * told.poll_ms)


def _wiring(told: OutputSection) -> Wiring:
    return Wiring(
        name=told.name,
        on=frozenset(told.on),
        cameras=frozenset(told.cameras),
        pulse_s=1e-3 * told.pulse_ms,
        delay_s=1e-3 * told.delay_ms,
        delay_counts=told.delay_counts,
        safe_active=told.safe_active,
    )
