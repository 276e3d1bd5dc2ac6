"""What a copy between host and GPU takes: pageable and pinned memory, and mapped memory that needs none.

`python -m benchmarks.copies`; `--json` prints one object. Sizes are those of the package's detector: a picture, a map,
a bank.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge_resad.bundle import GraphSpec, open_bundle
from edge_resad.engine.cuda import Cuda, HostBuffer, Stream
from edge_resad.errors import EdgeResadError

WARM_UP = 20
PERCENTS = {"p50": 50, "p99": 99}


def sizes() -> dict[str, int]:
    """What a station copies, bytes: to the GPU for every part, from it for every part, and for every new bank."""
    detector: GraphSpec = open_bundle().graphs("fp32").detector

    def total(wanted: Callable[[str], bool]) -> int:
        specs = [spec for spec in (*detector.inputs, *detector.outputs) if wanted(spec.name)]
        return sum(int(np.prod(spec.shape)) * np.dtype(spec.dtype).itemsize for spec in specs)

    return {
        "picture": total(lambda name: name == "image"),
        "map": total(lambda name: name == "map"),
        "bank": total(lambda name: name.startswith("bank")),
    }


def measure(turns: int) -> dict[str, dict[str, dict[str, float]]]:
    """Microseconds by what is copied and how, until the copy is done.

    Raises:
        EngineError: there is no GPU, or no pycuda.
    """
    with ExitStack() as opening:
        cuda = opening.enter_context(Cuda())
        stream = cuda.stream()
        opening.callback(stream.close)
        return {what: _of(size, cuda, stream, turns) for what, size in sizes().items()}


def _of(size: int, cuda: Cuda, stream: Stream, turns: int) -> dict[str, dict[str, float]]:
    import pycuda.driver as driver  # it is there: Cuda has it

    with ExitStack() as opening:

        def host(*, mapped: bool) -> HostBuffer:
            buffer = cuda.host_buffer(size, mapped=mapped)
            opening.callback(buffer.close)
            return buffer

        pinned, mapped = host(mapped=False), host(mapped=True)
        pageable: NDArray[np.uint8] = np.zeros(size, np.uint8)
        device, other = cuda.device_buffer(size), cuda.device_buffer(size)
        opening.callback(device.close)
        opening.callback(other.close)
        opening.callback(stream.synchronize)
        ways: Mapping[str, Callable[[], None]] = {
            "pageable to the GPU": lambda: driver.memcpy_htod(device.address, pageable),
            "pinned to the GPU": lambda: stream.upload(device.address, pinned.bytes),
            "from the GPU to pageable": lambda: driver.memcpy_dtoh(pageable, device.address),
            "from the GPU to pinned": lambda: stream.download(pinned.bytes, device.address),
            "within the GPU": lambda: stream.copy(other.address, device.address, size),
            "mapped, read by the GPU": lambda: stream.copy(device.address, mapped.address, size),
            "mapped, written by the GPU": lambda: stream.copy(mapped.address, device.address, size),
        }
        return {name: _timed(way, stream, turns) for name, way in ways.items()}


def _timed(way: Callable[[], None], stream: Stream, turns: int) -> dict[str, float]:
    took = []
    for turn in range(WARM_UP + turns):
        start = time.perf_counter()
        way()
        stream.synchronize()
        if turn >= WARM_UP:
            took.append(1e6 * (time.perf_counter() - start))
    return {
        "min": round(min(took), 2),
        **{name: round(float(np.percentile(took, percent)), 2) for name, percent in PERCENTS.items()},
        "mean": round(statistics.fmean(took), 2),
    }


def table(found: Mapping[str, Mapping[str, Mapping[str, float]]]) -> str:
    """p50 and p99 of every way, a column for each thing that is copied."""
    bytes_of = sizes()
    lines = [
        "| | " + " | ".join(f"{what}, {bytes_of[what]:,} bytes" for what in found) + " |",
        "|---" * (1 + len(found)) + "|",
    ]
    for way in next(iter(found.values())):
        cells = (f"{ways[way]['p50']:.1f} / {ways[way]['p99']:.1f}" for ways in found.values())
        lines.append(f"| {way} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def main(arguments: list[str] | None = None) -> None:
    """Measure this machine's GPU."""
    parser = argparse.ArgumentParser(description="Copy times between host and GPU, microseconds.")
    parser.add_argument("--turns", type=int, default=500, help="copies of each kind, after a warm-up")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    given = parser.parse_args(arguments)
    try:
        found = measure(given.turns)
    except EdgeResadError as error:
        raise SystemExit(f"this benchmark needs a GPU, and {error}") from None
    answer: dict[str, Any] = {"bytes": sizes(), "us": found, "turns": given.turns}
    print(json.dumps(answer) if given.json else f"microseconds, p50 / p99 of {given.turns}\n\n{table(found)}")


if __name__ == "__main__":
    main()
