"""`python -m benchmarks.changeover`: from the wish for another product to its first part, and what the pieces cost.

Products change at stations that run, asked by a command, by the clock and by the code on the part. Every picture is a
part: parts that are neither judged nor said to be not inspected are lost, and then the exit code is 1.
"""

from __future__ import annotations

import json
import logging
import tempfile
from pathlib import Path
from typing import Annotated, Any

import cv2
import typer
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from benchmarks.changeover.line import Run, asked, coded, milliseconds
from benchmarks.changeover.parts import Kind, Size
from benchmarks.changeover.pieces import alignments, likenesses, readings, swaps
from benchmarks.latency import _machine as machine

SIZES: tuple[Size, ...] = ((640, 480), (1280, 720), (1920, 1080), (2448, 2048))
KINDS: tuple[Kind, ...] = ("qr", "barcode")
TITLES = {
    "command": "a command, from when it is sent",
    "program": "edge-resad product use, from its start",
    "schedule": "the schedule, from the full minute",
    "read": "the code, from its picture",
    "ready": "the code, its product held ready",
    "same": "(the same code as before)",
}


def main(
    changes: Annotated[int, typer.Option(min=1, help="Changeovers of each kind.")] = 20,
    minutes: Annotated[int, typer.Option(min=0, help="Full minutes at which the schedule changes the product.")] = 3,
    rate: Annotated[float, typer.Option(min=0.5, help="Parts a second.")] = 10.0,
    times: Annotated[int, typer.Option(min=10, help="Runs of each piece.")] = 100,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Change products at stations that run, then measure the pieces."""
    results = measured(changes=changes, minutes=minutes, rate=rate, times=times, sizes=SIZES)
    if as_json:
        print(json.dumps(results))
    else:
        _print_tables(results)
    if any(run["lost"] or run["wrong_product"] or run["engines"] != 1 for run in results["stations"].values()):
        raise SystemExit(1)


def measured(*, changes: int, minutes: int, rate: float, times: int, sizes: tuple[Size, ...]) -> dict[str, Any]:
    """All that is measured. sizes: of pictures; the stations' have the first."""
    logging.getLogger("edge_resad").setLevel(logging.ERROR)  # that products change is what is measured
    size, where = sizes[0], machine()
    with tempfile.TemporaryDirectory(prefix="edge-resad-changeover-") as folder, _progress() as progress:
        scratch = Path(folder)
        step = progress.add_task("asked by command and by the clock", total=None)
        runs = {"asked": asked(_made(scratch / "a"), size=size, rate=rate, changes=changes, minutes=minutes)}
        for kind in KINDS:
            progress.update(step, description=f"asked by {kind}")
            runs[kind] = coded(_made(scratch / kind), kind, size=size, rate=rate, changes=changes)
        progress.update(step, description="the pieces")
        threads = cv2.getNumThreads()
        cv2.setNumThreads(1)  # one core, whichever machine it is
        try:
            pieces = {
                "swap": swaps(_made(scratch / "swaps"), size, times),
                "align": {f"{width}x{height}": alignments((width, height), times) for width, height in sizes},
                "likeness": likenesses(),
                "read": {
                    kind: {f"{width}x{height}": readings(kind, (width, height), times) for width, height in sizes}
                    for kind in KINDS
                },
            }
        finally:
            cv2.setNumThreads(threads)
    stations = {name: _row(run) for name, run in runs.items()}
    return {"machine": where, "rate": rate, "size": f"{size[0]}x{size[1]}", "stations": stations, **pieces}


def _made(folder: Path) -> Path:
    folder.mkdir()
    return folder


def _progress() -> Progress:
    return Progress(console=Console(stderr=True), transient=True)


def _row(run: Run) -> dict[str, Any]:
    old = run.old_meanwhile or [0]
    return {
        "took_ms": {way: milliseconds(took) for way, took in run.took_s.items()},
        "old_meanwhile": {"mean": round(sum(old) / len(old), 1), "most": max(old)},
        "in_line_ms": milliseconds(run.in_line_s),
        "shown": run.shown, "judged": run.judged, "not_inspected": run.not_inspected, "lost": run.lost,
        "wrong_product": run.wrong_product, "engines": run.engines,
    }  # fmt: skip


def _print_tables(results: dict[str, Any]) -> None:
    console = Console()
    title = f"changeovers at {results['rate']:g} parts/s of {results['size']}, ms"
    table = Table("", "changes", "min / p50 / p99", "longest", title=title)
    for name, run in results["stations"].items():
        for way, found in run["took_ms"].items():
            if found["count"]:
                says = TITLES[way] if name == "asked" else f"{name}: {TITLES[way]}"
                table.add_row(says, str(found["count"]), _times(found, 0), f"{found['longest']:.0f}")
    console.print(table)
    for name, run in results["stations"].items():
        reasons = "".join(f", {count} {reason}" for reason, count in run["not_inspected"].items())
        says = f"{name}: {run['shown']} parts, {run['judged']} judged{reasons}, {run['lost']} lost, "
        says += f"{run['wrong_product']} by a wrong product; engines opened: {run['engines']}"
        if name == "asked":
            old, line = run["old_meanwhile"], run["in_line_ms"]
            says += f"; judged by the product before, after the request: mean {old['mean']:g}, at most {old['most']}; "
            says += f"in the line's thread, ms: {_times(line, 2)}, longest {line['longest']:.2f}"
        console.print(says, highlight=False)
    table = Table("regions", "read and prepare", "the swap alone", "longest", title="the swap, ms: min / p50 / p99")
    for regions, found in results["swap"].items():
        change = found["change_ms"]
        table.add_row(regions, _times(found["prepare_ms"]), _times(change, 2), f"{change['longest']:.2f}")
    console.print(table)
    table = Table("picture", "by correlation", "off, px", "by features too", "right, refused", title="alignment, ms")
    for size, found in results["align"].items():
        near, far = found["near"], found["features"]
        off = "-" if near["off_px"] is None else f"{near['off_px']['p50']:.2f}, at most {near['off_px']['most']:.2f}"
        asked_too = ("-", "-")
        if far["count"]:
            asked_too = (_times(far), f"{far['right']}, {far['refused']} of {far['count']}")
        table.add_row(size, _times(near), off, *asked_too)
    console.print(table)
    like = results["likeness"]
    console.print(
        f"likeness to a good part: of good and defective ones {like['own_least']:.2f} and more, of other products "
        f"{like['other_most']:.2f} and less",
        highlight=False,
    )
    table = Table("code", "picture", "with a code", "right", "without one", title="reading codes, ms: min / p50 / p99")
    for kind, sizes in results["read"].items():
        for size, found in sizes.items():
            code = found["code"]
            table.add_row(kind, size, _times(code), f"{code['right']} of {code['count']}", _times(found["none"]))
    console.print(table)
    console.print(results["machine"], highlight=False)


def _times(found: dict[str, Any], digits: int = 1) -> str:
    return " / ".join(f"{found[key]:.{digits}f}" for key in ("min", "p50", "p99"))


if __name__ == "__main__":
    typer.run(main)
