"""A PLC by Modbus/TCP: a coil or register that is set, a register that counts, and whether anybody answers."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

from edge_resad.device.outputs.terminal import Pin
from edge_resad.errors import OutputError

TIMEOUT_S = 0.5  # for a connection, and for an answer
REFRESH_S = 1.0

Table = Literal["coil", "register"]
_Ask = Callable[[Any], Any]  # what is asked of a client, and its answer
_REFUSALS = {1: "it lacks the function", 2: "it has no such address", 3: "it does not take the value", 4: "it failed"}


@dataclass(frozen=True, kw_only=True)
class Server:
    """A Modbus server, as a rule a PLC."""

    host: str
    port: int = 502
    unit: int = 1

    def __str__(self) -> str:
        return f"the Modbus server {self.host}:{self.port}"


@dataclass(frozen=True, kw_only=True)
class ModbusTerminal:
    """A coil, or a holding register, that is set."""

    server: Server
    table: Table
    address: int  # as it is on the wire, from 0

    is_local = False
    refresh_s = (
        REFRESH_S  # so that a PLC that started anew has it, and a dead connection is noticed before it is needed
    )

    def open(self, value: int) -> Pin:
        """Connect and show a value."""
        pin = _ModbusPin(_Line(self.server), self.table, self.address)
        try:
            pin.set(value)
        except OutputError:
            pin.close()
            raise
        return pin


class _ModbusPin:
    """A coil or register of a server that answers."""

    def __init__(self, line: _Line, table: Table, address: int) -> None:
        self._line = line
        self._table = table
        self._address = address

    def set(self, value: int) -> None:
        """Write, and wait until the server has it."""
        unit = self._line.server.unit
        if self._table == "coil":
            self._line.ask(
                lambda client: client.write_coil(self._address, bool(value & 1), device_id=unit),
                f"coil {self._address} of unit {unit}",
            )
        else:
            self._line.ask(
                lambda client: client.write_register(self._address, value & 0xFFFF, device_id=unit),
                f"holding register {self._address} of unit {unit}",
            )

    def close(self) -> None:
        """Hang up."""
        self._line.close()


@dataclass(frozen=True, kw_only=True)
class ModbusTicks:
    """An input register that counts, such as one of a high-speed counter."""

    server: Server
    register: int  # as it is on the wire, from 0
    poll_s: float = 0.01

    is_local = False
    size = 2**16  # where it begins anew

    def open(self) -> ModbusReader:
        """Connect."""
        line = _Line(self.server, mends=False)  # who closes it may have started anew, and the register with it
        return ModbusReader(line, self.register, self.poll_s)


class ModbusReader:
    """Asks for the register again and again."""

    def __init__(self, line: _Line, register: int, poll_s: float) -> None:
        self._line = line
        self._register = register
        self._poll_s = poll_s
        self._next = time.monotonic()

    def read(self) -> tuple[float, int] | None:
        """When the register was read, and what it says."""
        now = time.monotonic()
        if self._next > now:
            time.sleep(self._next - now)
        began = time.monotonic()
        self._next = max(self._next + self._poll_s, began)
        unit = self._line.server.unit
        answer = self._line.ask(
            lambda client: client.read_input_registers(self._register, count=1, device_id=unit),
            f"input register {self._register} of unit {unit}",
        )
        return (began + time.monotonic()) / 2, answer.registers[0]

    def close(self) -> None:
        """Hang up."""
        self._line.close()


def knock(server: Server, table: Table | Literal["input"], address: int) -> str | None:
    """Ask for a coil or register without changing it; what the server has against being asked, None where nothing.

    Raises:
        OutputError: nobody answers.
    """
    asked: dict[str, _Ask] = {
        "coil": lambda client: client.read_coils(address, count=1, device_id=server.unit),
        "register": lambda client: client.read_holding_registers(address, count=1, device_id=server.unit),
        "input": lambda client: client.read_input_registers(address, count=1, device_id=server.unit),
    }
    line = _Line(server)
    try:
        line.ask(asked[table], f"{table} {address}")
    except _RefusedError as refused:
        return str(refused)
    finally:
        line.close()
    return None


class _RefusedError(OutputError):
    """The server answers, and says no."""


class _Line:
    """A connection, made when it is needed; one that breaks is made anew at once, one that hangs is given up."""

    def __init__(self, server: Server, *, mends: bool = True) -> None:
        """mends: False lets whoever asks know that the connection broke."""
        self.server = server
        self._mends = mends
        self._client: Any = None

    def ask(self, what: _Ask, named: str) -> Any:
        """The answer to a request. Raises OutputError where there is none, or a refusal."""
        _pymodbus()
        from pymodbus.exceptions import ConnectionException, ModbusException

        was_open = self._client is not None
        try:
            try:
                answer = what(self._connected())
            except ConnectionException:  # closed while it idled, as PLCs do: that costs a new connection, no signal
                if not was_open or not self._mends:
                    raise
                self.close()
                answer = what(self._connected())
        except (ModbusException, OSError) as error:
            self.close()
            raise OutputError(
                f"{self.server} does not answer. Check that it runs, its network and [output] host and port."
            ) from error
        if answer.isError():
            code = answer.exception_code
            why = _REFUSALS.get(code, f"exception {code}")
            raise _RefusedError(f"{self.server} refuses {named}: {why}. Check its address map, and unit.")
        return answer

    def close(self) -> None:
        """Hang up."""
        if self._client is not None:
            self._client.close()
            self._client = None

    def _connected(self) -> Any:
        if self._client is None:
            from pymodbus.client import ModbusTcpClient
            from pymodbus.exceptions import ConnectionException

            # retries=0: a gate that opens seconds later hits another part
            client: Any = ModbusTcpClient(self.server.host, port=self.server.port, timeout=TIMEOUT_S, retries=0)
            if not client.connect():
                raise ConnectionException(f"nobody at {self.server.host}:{self.server.port}")
            self._client = client
        return self._client


def _pymodbus() -> None:
    """Make sure that it is there, and that it leaves the log to us: it repeats itself with every try."""
    try:
        import pymodbus  # noqa: F401
    except ImportError as missing:
        raise OutputError(
            "an output or encoder is a PLC's, and pymodbus is not installed. Run: pip install 'edge-resad[modbus]'"
        ) from missing
    logging.getLogger("pymodbus.logging").setLevel(logging.CRITICAL)
