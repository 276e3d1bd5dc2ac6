"""How long from a frame in memory to its verdict, on one thread; beside a peer's model where one is given.

Ours, in every precision that is asked for, and the peer run in processes of their own on the same CPU, one at a time,
in short blocks A B B A, so that a drift of the machine meets all. Frames are good parts of the demo line, the product
in regular running.
"""

from __future__ import annotations

import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Optional

import cv2
import numpy as np
import typer
from rich.console import Console
from rich.table import Table

from edge_resad.bank import save_bank
from edge_resad.bundle import Precision, open_bundle
from edge_resad.demo.products import draw
from edge_resad.engine.enrolment import enrol

SIDE = Path(__file__).with_name("side.py")
CHECKOUT = Path(__file__).resolve().parent.parent
SIZES = {"256x256": (256, 256), "1280x720": (1280, 720)}  # name -> width, height of the frames
WARM_UP = 5  # frames a side and size
COLD_STARTS = 5


@dataclass(frozen=True)
class Side:
    """A running side; see side.py."""

    name: str
    process: subprocess.Popen[str]
    blocks: dict[str, list[dict[str, list[float]]]] = field(default_factory=lambda: {size: [] for size in SIZES})

    def ask(self, size: str, count: int) -> dict[str, list[float]]:
        """Judge `count` frames of this size, and wait for the milliseconds."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(f"{size} {count}\n")
        self.process.stdin.flush()
        answer = self.process.stdout.readline()
        if not answer:
            raise SystemExit(f"the side {self.name} ended with {self.process.wait()}; its own words stand above")
        milliseconds: dict[str, list[float]] = json.loads(answer)
        return milliseconds

    def summary(self, size: str, what: str = "end_to_end_ms") -> dict[str, float]:
        """p50: median of the blocks' medians; p99: of all frames; min: the frame that nobody disturbed."""
        blocks = [block[what] for block in self.blocks[size]]
        return {
            "p50": round(statistics.median(statistics.median(block) for block in blocks), 3),
            "p99": round(float(np.percentile(np.concatenate(blocks), 99)), 3),
            "min": round(min(map(min, blocks)), 3),
        }


def main(
    precision: Annotated[
        Optional[list[str]],  # noqa: UP045 - typer takes no list of a Literal
        typer.Option(help="fp32, fp16 or int8; several times: beside each other. fp32 without it."),
    ] = None,
    peer: Annotated[Optional[Path], typer.Option(help="anomalib's model.onnx.")] = None,  # noqa: UP045
    peer_openvino: Annotated[Optional[Path], typer.Option(help="anomalib's OpenVINO model.xml.")] = None,  # noqa: UP045
    peer_python: Annotated[str, typer.Option(help="Interpreter with the peer's runtime.")] = sys.executable,
    frames: Annotated[int, typer.Option(min=20, help="Frames a side and size.")] = 200,
    block: Annotated[int, typer.Option(min=1, help="Frames a block.")] = 10,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Measure latency, cold start and memory of the shipped bundle on this machine."""
    models = {"onnxruntime": peer, "openvino": peer_openvino}
    if peer is None and peer_openvino is None:
        print("no peer to compare with: see docs/benchmarks.md, then give --peer MODEL.onnx", file=sys.stderr)
    with tempfile.TemporaryDirectory() as folder:
        banks, frames_file, picture = _prepare(Path(folder), _precisions(precision))
        with ExitStack() as running:
            sides = {
                name: running.enter_context(_side("ours", sys.executable, bank, frames_file))
                for name, bank in banks.items()
            }
            for kind, model in models.items():
                if model is not None:
                    sides[kind] = running.enter_context(_side(kind, peer_python, model, frames_file))
            _take_turns(list(sides.values()), rounds=-(-frames // block), block=block)
        cold, memory = _cold_start(next(iter(banks.values())), picture)
    results = _results(sides, list(banks), cold, memory)
    if as_json:
        print(json.dumps(results))
    else:
        _print_table(sides, next(iter(banks)), results)


def _precisions(asked: Sequence[str] | None) -> list[Precision]:
    held = {str(name): name for name in open_bundle().manifest.precisions}
    unknown = [name for name in asked or () if name not in held]
    if unknown:
        raise typer.BadParameter(f"the bundle has no {unknown[0]}: choose of {', '.join(held)}")
    return [held[name] for name in dict.fromkeys(asked or ["fp32"])]


def _prepare(folder: Path, precisions: Sequence[Precision]) -> tuple[dict[str, Path], Path, Path]:
    """A bank of four good parts in every precision, frames of others in every size, a picture for the cold start."""
    references = [draw("flange", seed, size=256).image for seed in range(4)]
    banks = {str(precision): folder / f"flange.{precision}.bank" for precision in precisions}
    for precision in precisions:
        bank = enrol(open_bundle(), references, product="flange", precision=precision).bank
        save_bank(bank, banks[precision])
    parts = [draw("flange", seed, size=256).image for seed in range(100, 108)]
    frames_file = folder / "frames.npz"
    stacks: dict[str, Any] = {
        name: np.stack([np.asarray(cv2.resize(part, size), np.uint8) for part in parts]) for name, size in SIZES.items()
    }
    np.savez(frames_file, **stacks)
    picture = folder / "part.png"
    cv2.imwrite(str(picture), parts[0])
    return banks, frames_file, picture


@contextmanager
def _side(name: str, python: str, model: Path, frames_file: Path) -> Iterator[Side]:
    cpu = max(os.sched_getaffinity(0))
    one_thread = {f"{library}_NUM_THREADS": "1" for library in ("OMP", "MKL", "OPENBLAS")}
    process = subprocess.Popen(
        [python, str(SIDE), name, str(model.absolute()), str(frames_file), str(cpu)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, **one_thread, **({"PYTHONPATH": str(CHECKOUT)} if name == "ours" else {})},
    )
    try:
        yield Side(name, process)
    finally:
        process.kill()
        process.communicate()


def _take_turns(sides: Sequence[Side], rounds: int, block: int) -> None:
    """A B, B A, A B, ...: only one side computes at a time."""
    for size in SIZES:
        for side in sides:
            side.ask(size, WARM_UP)
        for turn in range(rounds):
            for side in sides if turn % 2 == 0 else reversed(sides):
                side.blocks[size].append(side.ask(size, block))


# The command itself, and then its peak memory on stderr: /proc tells this process's own, while wait4 would count the
# memory of the benchmark from which it was forked.
_INSPECT = """
import sys
from pathlib import Path
from edge_resad.cli import main
try:
    main()
finally:
    status = Path("/proc/self/status").read_text()
    print(status.partition("VmHWM:")[2].split()[0], file=sys.stderr)
"""


def _cold_start(bank: Path, picture: Path) -> tuple[float, float]:
    """Seconds from a process's start to its first verdict, MiB of memory at its highest; medians."""
    seconds, megabytes = [], []
    command = [sys.executable, "-c", _INSPECT, "inspect", str(picture), "--bank", str(bank)]
    for _ in range(COLD_STARTS):
        start = time.perf_counter()
        with subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=CHECKOUT
        ) as process:
            assert process.stdout is not None
            assert process.stderr is not None
            process.stdout.readline()
            seconds.append(time.perf_counter() - start)
            process.stdout.read()
            said = process.stderr.read()
        if process.returncode != 0:
            raise SystemExit(f"edge-resad inspect ended with {process.returncode}: {said}")
        megabytes.append(int(said.split()[-1]) / 1024)
    return statistics.median(seconds), statistics.median(megabytes)


def _results(sides: dict[str, Side], precisions: Sequence[str], cold: float, memory: float) -> dict[str, Any]:
    def at(size: str, precision: str) -> dict[str, Any]:
        mine = sides[precision].summary(size)
        found: dict[str, Any] = {"end_to_end_ms": mine, "engine_ms": sides[precision].summary(size, "engine_ms")}
        for kind, suffix in (("onnxruntime", ""), ("openvino", "_openvino")):
            theirs = sides[kind].summary(size) if kind in sides else None
            found[f"peer{suffix}_ms"] = theirs
            found[f"ratio{suffix}"] = round(theirs["p50"] / mine["p50"], 3) if theirs else None
            found[f"ratio{suffix}_of_min"] = round(theirs["min"] / mine["min"], 3) if theirs else None
        return found

    first, *others = SIZES
    return {
        **at(first, precisions[0]),
        **{name: at(name, precisions[0]) for name in others},
        "precision": precisions[0],
        "precisions": {name: {size: at(size, name) for size in SIZES} for name in precisions},
        "cold_start_s": round(cold, 3),
        "peak_rss_mb": round(memory, 1),
        "machine": _machine(),
    }


def _machine() -> str:
    names = [line for line in _lines("/proc/cpuinfo") if line.startswith(("model name", "Model"))]
    cpu = names[0].partition(":")[2].strip() if names else platform.machine()
    return f"{cpu}, {len(os.sched_getaffinity(0))} CPUs, load {os.getloadavg()[0]:.1f}"


def _lines(path: str) -> list[str]:
    try:
        return Path(path).read_text(encoding="utf-8").splitlines()
    except OSError:
        return []


def _print_table(sides: dict[str, Side], first: str, results: dict[str, Any]) -> None:
    titles = {"onnxruntime": "peer, ONNX Runtime", "openvino": "peer, OpenVINO"}
    table = Table(title="frame in memory to verdict, one thread, ms")
    for column in ("frame", "", "min", "p50", "p99", f"times {first} (p50)"):
        table.add_column(column, justify="left" if column in ("frame", "") else "right")
    for size in SIZES:
        mine = sides[first].summary(size)["p50"]
        for kind, side in sides.items():
            found = side.summary(size)
            row = [f"{found[name]:.2f}" for name in ("min", "p50", "p99")]
            table.add_row(size, titles.get(kind, f"edge-resad {kind}"), *row, f"{found['p50'] / mine:.2f}")
    console = Console()
    console.print(table)
    console.print(f"engine alone, {first}: {results['engine_ms']['p50']:.2f} ms (p50)")
    console.print(f"cold start {results['cold_start_s']:.2f} s, peak memory {results['peak_rss_mb']:.0f} MiB")
    console.print(results["machine"], highlight=False)


if __name__ == "__main__":
    typer.run(main)
