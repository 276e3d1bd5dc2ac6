"""The wires to the line: whether pins and PLCs are there and let themselves be asked. Sets nothing."""

from __future__ import annotations

from collections.abc import Iterator

from edge_resad.device.doctor.case import Case
from edge_resad.device.doctor.check import Check, ok, problem, warning
from edge_resad.device.gpio_trigger import Pin
from edge_resad.device.outputs import terminal_of, ticks_of
from edge_resad.device.outputs.gpio import GpioTerminal, GpioTicks
from edge_resad.device.outputs.modbus import ModbusTerminal, ModbusTicks, Server, knock
from edge_resad.errors import OutputError


def outputs(case: Case) -> Iterator[Check]:
    """Every output, encoder and trigger of the station file."""
    if case.station is None:
        return
    for output in case.station.outputs:
        yield _wire(case, f"output {output.name}", terminal_of(output))
    for encoder in case.station.encoders:
        yield _wire(case, f"encoder {encoder.name}", ticks_of(encoder))
    for camera in case.station.cameras:
        if camera.trigger.kind == "gpio":
            assert camera.trigger.line is not None  # the settings see to it
            yield _wire(case, f"trigger {camera.name}", Pin(chip=camera.trigger.chip, line=camera.trigger.line))


def _wire(case: Case, name: str, wire: object) -> Check:
    try:
        if isinstance(wire, GpioTerminal | GpioTicks):
            return ok(name, case.look_at_pin(wire.chip, wire.pin))
        if isinstance(wire, Pin):
            return ok(name, case.look_at_pin(wire.chip, wire.line))
        if isinstance(wire, ModbusTerminal):
            return _plc(name, wire.server, knock(wire.server, wire.table, wire.address))
        assert isinstance(wire, ModbusTicks)
        return _plc(name, wire.server, knock(wire.server, "input", wire.register))
    except OutputError as error:
        return problem(name, str(error).rstrip("."))


def _plc(name: str, server: Server, against: str | None) -> Check:
    if against is None:
        return ok(name, f"{server} answers")
    return warning(name, f"{against.rstrip('.')}; it may be one that can be written and not read")
