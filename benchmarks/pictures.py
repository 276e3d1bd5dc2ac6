"""What keeping pictures costs the line, and what a kept picture weighs.

`python -m benchmarks.pictures` hands parts at a steady rate to the call that the line makes, in short blocks with and
without pictures by turns, and measures that call; and it encodes frames in the ways there are.
"""

from __future__ import annotations

import json
import platform
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Annotated, Any

import cv2
import numpy as np
import typer
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

from edge_resad.bundle import open_bundle
from edge_resad.decision import Verdict
from edge_resad.demo.products import draw
from edge_resad.device.frame import Frame
from edge_resad.device.pictures.album import Album
from edge_resad.device.pictures.pictures import HEAT_SIDE, QUALITY, Pictures
from edge_resad.device.pipeline import Inspection, Latency
from edge_resad.engine.enrolment import enrol
from edge_resad.engine.inspector import Inspector
from edge_resad.overlay import encoded, small_overlay

SIZES = {"1280x720": (1280, 720), "1920x1080": (1920, 1080), "2448x2048": (2448, 2048)}
NOISE = 3.0  # gray levels, a camera's: a drawn part alone is too easy to encode
SIDE = 1024  # pixels of a drawn part, as a camera would show it
PARTS = 20  # whose scores are compared
ANOTHER = "another photograph"
BLOCK = 40  # parts
WAYS: dict[str, tuple[str, list[int]]] = {
    "png": (".png", []),
    "jpeg 90": (".jpg", [cv2.IMWRITE_JPEG_QUALITY, 90]),
    "jpeg 95": (".jpg", [cv2.IMWRITE_JPEG_QUALITY, 95]),
    "jpeg 95 4:4:4, kept": (".jpg", QUALITY),
}


def main(
    parts: Annotated[int, typer.Option(min=BLOCK, help="Parts each way.")] = 400,
    rate: Annotated[float, typer.Option(min=1, help="Parts a second.")] = 30.0,
    rejects: Annotated[float, typer.Option(min=0, max=1, help="Share of the parts that fail.")] = 0.05,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Measure pictures: what the line pays for them, their bytes, what a start with 100 000 of them takes."""
    found: dict[str, Any] = {
        "machine": platform.machine(),
        "line": {name: _line(size, parts, rate, rejects) for name, size in SIZES.items()},
        "encoding": {name: dict(_encodings(size)) for name, size in SIZES.items()},
        "score": _scores(),
        "restart_s": _restart(100_000),
    }
    if as_json:
        print(json.dumps(found))
        return
    console = Console()
    console.print(_line_table(found["line"], rate, rejects))
    console.print(_encoding_table(found["encoding"]))
    console.print(_score_table(found["score"]))
    console.print(f"a start with 100 000 pictures: {found['restart_s']:.2f} s in the thread that writes")


def _line(size: tuple[int, int], parts: int, rate: float, rejects: float) -> dict[str, Any]:
    """The line's call, with and without pictures in turn; microseconds."""
    part = _photograph("flange", 1, size=size)
    score_map = np.zeros((56, 56), np.float32)
    score_map[20:30, 20:30] = 2.0
    with tempfile.TemporaryDirectory() as folder:
        keeps = Pictures(Path(folder) / "on", max_bytes=10**9, min_free_bytes=0)
        off = Pictures(
            Path(folder) / "off", max_bytes=10**9, min_free_bytes=0, rejects=False, passes=0.0, not_inspected=False
        )
        took: dict[str, list[float]] = {"with": [], "without": []}
        failed = 0
        with keeps, off:
            keeps.flush(60.0)
            for block in range(2 * (parts // BLOCK)):
                pictures, times = (keeps, took["with"]) if block % 2 else (off, took["without"])
                for number in range(BLOCK):
                    fails = int((number + 1) * rejects) > int(number * rejects)
                    failed += fails and pictures is keeps
                    inspection = _inspection(part, fails, number)
                    due = time.perf_counter() + 1 / rate
                    start = time.perf_counter()
                    pictures.keep(inspection, score_map, event_ids=("bench-1",))
                    times.append(1e6 * (time.perf_counter() - start))
                    time.sleep(max(0.0, due - time.perf_counter()))
            keeps.flush(60.0)
            size_bytes = sum(file.stat().st_size for file in (Path(folder) / "on").rglob("*.jpg"))
        kept = keeps.kept.total()
        return {
            **{name: _percentiles(times) for name, times in took.items()},
            "rejects": failed,
            "kept": dict(keeps.kept),
            "not_kept": dict(keeps.not_kept),
            "bytes_a_picture": round(size_bytes / max(1, kept)),
        }


def _encodings(size: tuple[int, int]) -> Iterator[tuple[str, dict[str, float]]]:
    image = _photograph("flange", 1, size=size)
    score_map = np.zeros((56, 56), np.float32)
    score_map[20:30, 20:30] = 2.0
    for name, (suffix, how) in WAYS.items():

        def encode(suffix: str = suffix, how: list[int] = how) -> bytes:
            return bytes(cv2.imencode(suffix, image, how)[1])

        yield name, _timed(encode)
    yield (
        "heat, kept",
        _timed(lambda: encoded(small_overlay(image, score_map, threshold=1.0, polygons=[], side=HEAT_SIDE))),
    )


def _timed(encode: Callable[[], bytes]) -> dict[str, float]:
    times = []
    for _ in range(5):
        start = time.perf_counter()
        content = encode()
        times.append(time.perf_counter() - start)
    return {"ms": round(1e3 * min(times), 1), "bytes": len(content)}


def _scores() -> dict[str, dict[str, float]]:
    """How far a score moves by the frame's encoding, and by another photograph of the part; shares of the threshold."""
    bundle = open_bundle()
    bank = enrol(bundle, [_photograph("flange", seed) for seed in range(4)], product="flange").bank
    moved: dict[str, list[float]] = {ANOTHER: [], **{name: [] for name in WAYS}}
    with Inspector(bundle, bank) as inspector:
        for seed in range(100, 100 + PARTS):
            defect = None if seed % 2 else "scratch"
            frame = _photograph("flange", seed, defect)
            before = inspector.inspect(frame)
            others = {ANOTHER: _photograph("flange", seed, defect, noise=1000 + seed)}
            for name, (suffix, how) in WAYS.items():
                back = cv2.imdecode(cv2.imencode(suffix, frame, how)[1], cv2.IMREAD_COLOR)
                others[name] = np.ascontiguousarray(back, np.uint8)
            for name, other in others.items():
                moved[name].append((inspector.inspect(other).score - before.score) / before.threshold)
    return {
        name: {"mean": round(float(np.mean(shifts)), 4), "most": round(float(np.max(np.abs(shifts))), 4)}
        for name, shifts in moved.items()
    }


def _restart(count: int) -> float:
    with tempfile.TemporaryDirectory() as folder:
        album = Album(Path(folder), max_bytes=10**12, min_free_bytes=0)
        album.read()
        for number in range(count):
            (Path(folder) / "passes" / f"{number:010d}-bench-{number}.jpg").write_bytes(b"frame")
        start = time.perf_counter()
        Album(Path(folder), max_bytes=10**12, min_free_bytes=0).read()
        return time.perf_counter() - start


def _photograph(
    family: str, seed: int, defect: str | None = None, *, size: tuple[int, int] = (SIDE, SIDE), noise: int | None = None
) -> NDArray[np.uint8]:
    """A drawn part with a camera's noise, which is another one at every photograph."""
    part = draw(family, seed, size=SIDE, defect=defect, severity=2).image
    drawn = cv2.resize(part, size, interpolation=cv2.INTER_CUBIC) if size != (SIDE, SIDE) else part
    grain = np.random.default_rng(seed if noise is None else noise).normal(0, NOISE, drawn.shape)
    return np.asarray(np.clip(drawn + grain, 0, 255), np.uint8)


def _inspection(image: NDArray[np.uint8], fails: bool, number: int) -> Inspection:
    score = 2.0 if fails else 0.5
    verdict = Verdict(status="fail" if fails else "pass", score=score, threshold=1.0, regions=())
    frame = Frame(image=image, frame_id=number, captured_mono=time.monotonic(), captured_wall=time.time())
    latency = Latency(waiting_ms=0.0, inspecting_ms=0.0)
    return Inspection(frame=frame, verdict=verdict, not_inspected=None, latency=latency)


def _percentiles(times: list[float]) -> dict[str, float]:
    return {f"p{percent:g}": round(float(np.percentile(times, percent)), 1) for percent in (50, 99, 100)}


def _line_table(found: dict[str, Any], rate: float, rejects: float) -> Table:
    table = Table(
        title=f"the line's call, µs: p50 / p99 / most, {rate:g} parts/s, {rejects:.0%} rejects, 1 % passes kept"
    )
    for column in ("frame", "without", "with", "kept", "not kept", "KB a picture"):
        table.add_column(column, justify="right" if column != "frame" else "left")
    for name, row in found.items():
        says = [" / ".join(f"{value:g}" for value in row[side].values()) for side in ("without", "with")]
        counts = [str(sum(row[key].values())) for key in ("kept", "not_kept")]
        table.add_row(name, *says, *counts, f"{row['bytes_a_picture'] / 1e3:.0f}")
    return table


def _encoding_table(found: dict[str, Any]) -> Table:
    table = Table(title="encoding: ms, MB")
    table.add_column("as")
    for name in found:
        table.add_column(name, justify="right")
    for way in next(iter(found.values())):
        table.add_row(way, *(f"{row[way]['ms']:.1f}, {row[way]['bytes'] / 1e6:.2f}" for row in found.values()))
    return table


def _score_table(found: dict[str, dict[str, float]]) -> Table:
    table = Table(title=f"how far the score of {PARTS} parts moves, share of the threshold")
    for column in ("by", "mean", "most"):
        table.add_column(column, justify="right" if column != "by" else "left")
    for name, row in found.items():
        table.add_row(name, f"{row['mean']:+.1%}", f"{row['most']:.1%}")
    return table


if __name__ == "__main__":
    typer.run(main)
