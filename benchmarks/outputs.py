"""How long a verdict takes to the line: to a pin that costs nothing, and to a coil at a Modbus server on loopback.

The server runs in a process of its own and stamps a coil when its request arrives, with the monotonic clock that both
processes share. `busy` is the worst that the station's thread can do after a verdict: pure Python without a pause, so
that the output's thread has to wait for the interpreter.
"""

from __future__ import annotations

import asyncio
import json
import multiprocessing
import threading
import time
from multiprocessing.connection import Connection
from typing import Annotated, Any

import numpy as np
import typer
from rich.console import Console
from rich.table import Table

from benchmarks.latency import _machine as machine
from edge_resad.decision import Verdict
from edge_resad.device.frame import Frame
from edge_resad.device.outputs import Output, Outputs, Wiring
from edge_resad.device.outputs.modbus import ModbusTerminal, Server
from edge_resad.device.outputs.terminal import Pin, Terminal
from edge_resad.device.pipeline import Inspection, Latency

PULSE_S = 0.004
BUSY_S = 0.02  # of Python after a verdict
PATIENCE_S = 5.0
_WRITE_COIL = 5
TITLES = {
    "call": "the call in the station's thread",
    "pin": "verdict to pin",
    "pin_busy": "verdict to pin, station busy",
    "coil": "verdict to coil",
    "coil_busy": "verdict to coil, station busy",
}


class StampingPin:
    """A pin that stamps when it becomes active, and is its own terminal."""

    is_local = True
    refresh_s = None

    def __init__(self) -> None:
        self.active_at = 0.0
        self.was_active = threading.Event()  # and is idle again

    def open(self, value: int) -> Pin:
        return self

    def set(self, value: int) -> None:
        if value:
            self.active_at = time.monotonic()
        else:
            self.was_active.set()

    def close(self) -> None: ...


def main(
    signals: Annotated[int, typer.Option(min=10, help="Verdicts of each kind.")] = 500,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Measure what is between a verdict and the line."""
    where, taken = machine(), dict[str, list[float]]()
    taken["pin"], taken["call"] = _to_pin(signals, busy_s=0.0)
    taken["pin_busy"], _ = _to_pin(signals, busy_s=BUSY_S)
    taken["coil"] = _to_coil(signals, busy_s=0.0)
    taken["coil_busy"] = _to_coil(signals, busy_s=BUSY_S)
    results: dict[str, Any] = {"signals": signals, "machine": where}
    for name in TITLES:
        p50, p99 = np.percentile(1e6 * np.array(taken[name]), (50, 99))
        results[f"{name}_us"] = {"p50": round(float(p50), 1), "p99": round(float(p99), 1)}
    if as_json:
        print(json.dumps(results))
    else:
        _print_table(results)


def _to_pin(signals: int, *, busy_s: float) -> tuple[list[float], list[float]]:
    """Seconds from the verdict to the pin, and those that the call took."""
    pin, latencies, calls = StampingPin(), list[float](), list[float]()
    with _outputs(pin) as outputs:
        outputs.alive({"cam0": True})
        for _ in range(signals):
            pin.was_active.clear()
            failed = _failed_part()
            began = time.monotonic()
            outputs.judged(failed)
            calls.append(time.monotonic() - began)
            _be_busy(busy_s)
            if not pin.was_active.wait(PATIENCE_S):
                raise RuntimeError("the pin was never set")
            latencies.append(pin.active_at - began)
    return latencies, calls


def _to_coil(signals: int, *, busy_s: float) -> list[float]:
    """Seconds from the verdict to its coil's request at the server."""
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=_serve, args=(theirs,), daemon=True)
    process.start()
    try:
        terminal = ModbusTerminal(server=Server(host="127.0.0.1", port=_received(ours)), table="coil", address=0)
        latencies = []
        with _outputs(terminal) as outputs:
            outputs.alive({"cam0": True})
            _received(ours)  # idle at the start
            for _ in range(signals):
                failed = _failed_part()
                began = time.monotonic()
                outputs.judged(failed)
                _be_busy(busy_s)
                latencies.append(_received(ours) - began)
                _received(ours)  # that it is idle again
        return latencies
    finally:
        process.terminate()
        process.join()


def _outputs(terminal: Terminal) -> Outputs:
    wiring = Wiring(name="reject", on=frozenset({"fail"}), pulse_s=PULSE_S, safe_active=False)
    return Outputs([Output(wiring, terminal)])


def _failed_part() -> Inspection:
    now = time.monotonic()
    image = np.zeros((4, 4, 3), np.uint8)
    return Inspection(
        frame=Frame(image=image, frame_id=0, captured_mono=now, captured_wall=time.time()),
        verdict=Verdict(status="fail", score=2.0, threshold=1.0, regions=()),
        not_inspected=None,
        latency=Latency(waiting_ms=0.0, inspecting_ms=0.0),
        camera="cam0",
    )


def _be_busy(seconds: float) -> None:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        pass


def _received(pipe: Connection) -> Any:
    if not pipe.poll(PATIENCE_S * 4):
        raise RuntimeError("the Modbus server says nothing")
    return pipe.recv()


def _serve(pipe: Connection) -> None:
    from pymodbus.server import ModbusTcpServer
    from pymodbus.simulator import DataType, SimData, SimDevice

    shown: bool | None = None

    async def asked(function: int, start: int, address: int, count: int, now: list[int], values: Any) -> None:
        nonlocal shown
        if function == _WRITE_COIL and values is not None and values[0] != shown:  # not what is only written again
            shown = values[0]
            pipe.send(time.monotonic())

    async def serve() -> None:
        bits = [SimData(0, count=16, values=False, datatype=DataType.BITS)]
        words = [SimData(0, count=1, values=0, datatype=DataType.REGISTERS)]
        device = SimDevice(id=1, simdata=(bits, bits, words, words), action=asked)
        server: Any = ModbusTcpServer(device, address=("127.0.0.1", 0))
        await server.serve_forever(background=True)
        pipe.send(server.transport.sockets[0].getsockname()[1])
        await server.serving

    asyncio.run(serve())


def _print_table(results: dict[str, Any]) -> None:
    table = Table(title=f"{results['signals']} failed parts, microseconds")
    for column in ("", "p50", "p99"):
        table.add_column(column, justify="right" if column else "left")
    for name, title in TITLES.items():
        found = results[f"{name}_us"]
        table.add_row(title, f"{found['p50']:.0f}", f"{found['p99']:.0f}")
    console = Console()
    console.print(table)
    console.print(results["machine"], highlight=False)


if __name__ == "__main__":
    typer.run(main)
