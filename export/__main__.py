"""`python -m export`: write a bundle of a profile, and say what a bundle costs and whether its precisions agree."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Optional

import typer
from rich.console import Console

from edge_resad.bundle import open_bundle
from edge_resad.errors import EdgeResadError
from edge_resad.model.profile import PROFILES
from export.build import build_bundle
from export.cost_report import as_json, as_text, report
from export.head import own_head
from export.ranges import load_ranges, own_ranges

app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False)


@app.callback()
def _export() -> None:
    """From torch to a bundle that a device can trust."""


@app.command()
def bundle(
    out: Annotated[Path, typer.Option(help="Folder of the bundle; replaced as a whole.")],
    profile: Annotated[str, typer.Option(help=f"One of: {', '.join(PROFILES)}.")] = "edge",
    head: Annotated[
        Optional[str],  # noqa: UP045 - typer reads this at run time, on Python 3.10 too
        typer.Option(
            help="File of a trained head, best.pt of edge-resad train; none: the nearest reference alone. Without it, "
            "the profile's head in export/heads where there is one."
        ),
    ] = None,
    ranges: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option(
            help="File of ranges for INT8, from python -m calibration ranges; none: no INT8. Without it, the profile's "
            "in export/calibrated where there are some."
        ),
    ] = None,
) -> None:
    """Export encoder and detector to ONNX in every precision and write them as a bundle."""
    console = Console(stderr=True)
    if profile not in PROFILES:
        console.print(f"no profile {profile!r}. Known: {', '.join(PROFILES)}.", highlight=False)
        raise typer.Exit(2)
    asked = PROFILES[profile]
    file = own_head(asked) if head is None else None if head == "none" else Path(head)
    found = own_ranges(asked) if ranges is None else None if ranges == "none" else Path(ranges)
    limits = load_ranges(found) if found is not None else None
    written = build_bundle(asked, out, file, limits, lambda line: console.print(line, highlight=False))
    size = sum(file.stat().st_size for file in written.path.iterdir()) / 1e6
    heads = ", ".join(written.manifest.heads)
    said = f"wrote {written.path}, {size:.1f} MB, heads {heads}, id {written.manifest.bundle_id[:12]}"
    console.print(said, highlight=False)


@app.command()
def cost(
    bundle: Annotated[
        Optional[Path],  # noqa: UP045
        typer.Option(help="Folder of the bundle. Without it, the one that comes with the package."),
    ] = None,
    precision: Annotated[
        str, typer.Option(help="Which of the bundle's graphs: a precision, or one of TensorRT's rungs.")
    ] = "fp32",
    size: Annotated[
        Optional[int],  # noqa: UP045
        typer.Option(help="Plan: pixels of another image, both sides. The FP32 graph is traced anew; nothing is kept."),
    ] = None,
    capacity: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option(help="Plan: rows of another bank, for every level, finest first: 4096,2048,512."),
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Count a detector's multiplications, bytes and memory, and estimate its time on NVIDIA's modules."""
    try:
        rows = None if capacity is None else [int(count) for count in capacity.split(",")]
    except ValueError:
        raise typer.BadParameter(f"{capacity!r} is not a list of numbers such as 4096,2048,512") from None
    found = report(open_bundle(bundle), precision, size=size, capacities=rows)
    print(as_json(found) if json else as_text(found))


def main() -> None:
    """Run the command line; what an engineer can fix is one line on stderr and exit code 1."""
    try:
        app()
    except EdgeResadError as error:
        print(error, file=sys.stderr)
        raise SystemExit(1) from None


if __name__ == "__main__":
    main()
