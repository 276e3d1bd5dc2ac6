"""A PLC for tests: a real Modbus/TCP server in a thread, which remembers what was written and can hang or go away."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable
from types import TracebackType
from typing import Any

from pymodbus.constants import ExcCodes
from pymodbus.server import ModbusTcpServer
from pymodbus.simulator import DataType, SimData, SimDevice

from edge_resad.device.outputs.modbus import Server
from tests.mqtt_peers import free_port

PATIENCE_S = 60.0
_WRITE_COIL, _READ_INPUT, _WRITE_REGISTER = 5, 4, 6


class Plc:
    """Coils 0 to 63, holding and input registers 0 to 63 of unit 1."""

    def __init__(self) -> None:
        self.coils: list[tuple[int, bool]] = []  # address and value of every write, in order
        self.writes: list[tuple[float, int, bool]] = []  # the same with when, monotonic seconds
        self.registers: list[tuple[int, int]] = []
        self.requests = 0
        self.count = 0  # what every input register says
        self._port = free_port()  # its own also while it is away
        self._news = threading.Condition()
        self._answers = True
        self._loop: asyncio.AbstractEventLoop | None = None
        self._server: Any = None
        self._thread: threading.Thread | None = None

    @property
    def server(self) -> Server:
        return Server(host="127.0.0.1", port=self._port)

    def __enter__(self) -> Plc:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None, /
    ) -> None:
        self.stop()

    def start(self) -> None:
        """Listen; after a stop at the same port as before."""
        listening = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._serve(listening)), name="plc", daemon=True)
        self._thread.start()
        assert listening.wait(PATIENCE_S)

    def stop(self) -> None:
        """Go away, with every connection."""
        self._answers = True
        if self._loop is not None and self._server is not None and self._thread is not None:
            asyncio.run_coroutine_threadsafe(self._server.shutdown(), self._loop)
            self._thread.join(PATIENCE_S)
            assert not self._thread.is_alive()
        self._loop = self._server = self._thread = None

    def hang(self) -> None:
        """Take requests and answer none."""
        self._answers = False

    def answer(self) -> None:
        """Hang no longer."""
        self._answers = True

    def wait_for(self, happened: Callable[[], bool]) -> None:
        """Wait until it has happened; whatever happens here makes it look again."""
        with self._news:
            assert self._news.wait_for(happened, PATIENCE_S), f"coils {self.coils}, registers {self.registers}"

    def edges(self, address: int) -> list[bool]:
        """The values that a coil has had, each once: what a PLC's program sees."""
        seen: list[bool] = []
        for written, value in self.coils:
            if written == address and seen[-1:] != [value]:
                seen.append(value)
        return seen

    async def _serve(self, listening: threading.Event) -> None:
        bits = [SimData(0, count=64, values=False, datatype=DataType.BITS)]
        words = [SimData(0, count=64, values=0, datatype=DataType.REGISTERS)]
        device = SimDevice(id=1, simdata=(bits, bits, words, words), action=self._asked)
        self._loop = asyncio.get_running_loop()
        self._server = ModbusTcpServer(device, address=("127.0.0.1", self._port))
        await self._server.serve_forever(background=True)
        transport: Any = self._server.transport
        self._port = transport.sockets[0].getsockname()[1]
        listening.set()
        await self._server.serving

    async def _asked(
        self, function: int, start: int, address: int, count: int, now: list[int], values: Any
    ) -> ExcCodes | None:
        with self._news:
            self.requests += 1
            self._news.notify_all()
        while not self._answers:
            await asyncio.sleep(0.01)
        if function == _READ_INPUT:
            now[address - start] = self.count & 0xFFFF
        with self._news:
            if values is not None and function == _WRITE_COIL:
                self.coils.append((address, bool(values[0])))
                self.writes.append((time.monotonic(), address, bool(values[0])))
            if values is not None and function == _WRITE_REGISTER:
                self.registers.append((address, values[0]))
            self._news.notify_all()
        return None
